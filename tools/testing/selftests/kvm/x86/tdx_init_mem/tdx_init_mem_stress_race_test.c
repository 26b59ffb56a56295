// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random programs of all that may happen to the memory of a TD that is being
 * built, run by several threads, from the seed TDX_INIT_MEM_SEED.  For each page
 * there must be an order of the operations that explains their results, and what
 * is in the page in the end.
 */
#include "tdx_init_mem_stress_check.h"
#include "tdx_init_mem_stress_order.h"

/* Of one program, on TDs of its own. */
#define TOGETHER_ROUNDS 4

/* Threads that run their programs until all of them are through: a round. */
struct together;

struct together_thread {
	struct tdx_task task;
	struct together *together;
	unsigned int number;
	unsigned int nr;
	struct stress_op ops[STRESS_ROUND];
};

struct together {
	struct stress_run run;
	unsigned int nr_threads;
	struct together_thread threads[STRESS_MAX_THREADS];
	struct stress_log logs[STRESS_MAX_THREADS];
	pthread_barrier_t barrier;
	struct stress_states states[STRESS_MAX_TDS][STRESS_PAGES];
	struct stress_search *search;
	struct failure failure;
	u64 failed_ops;
};

static int together_fn(void *arg)
{
	struct together_thread *thread = arg;
	struct together *together = thread->together;
	struct stress_log *log = &together->logs[thread->number];

	pthread_barrier_wait(&together->barrier);
	for (log->nr = 0; log->nr < thread->nr; log->nr++)
		stress_carry_out(&together->run, &thread->ops[log->nr], thread->number,
				 &log->events[log->nr]);

	return 0;
}

/* No more calls are interrupted than signals were sent. */
static void together_check_signals(struct together *t, unsigned int round, unsigned int victim)
{
	unsigned int thread, i, sent = 0, interrupted = 0;

	for (thread = 0; thread < t->nr_threads; thread++) {
		for (i = 0; i < t->logs[thread].nr; i++) {
			const struct stress_event *event = &t->logs[thread].events[i];

			sent += event->op.kind == STRESS_SIGNAL && event->op.whose == victim;
			interrupted += event->err == EINTR && thread == victim;
			t->failed_ops += !victim && event->err;
			if (event->wrong)
				failure_set(&t->failure, round, "%s", event->wrong);
		}
	}
	if (interrupted > sent)
		failure_set(&t->failure, round, "thread %u: %u calls say EINTR after %u signals",
			    victim, interrupted, sent);
}

static void together_explain(struct together *t, unsigned int round, unsigned int td,
			     unsigned int page)
{
	struct stress_states *states = &t->states[td][page];
	struct stress_states ends = {}, all;
	unsigned int i, owner;
	char text[256];

	all = stress_explain(t->search, states, t->logs, t->nr_threads, td, page);
	if (!all.nr)
		failure_set(&t->failure, round, "TD %u, page %u: no order explains the results%s",
			    td, page, vm_tdx_is_dead(t->run.tds[td].td.vm) ? ", VM is dead" : "");

	owner = t->run.emulated && page < TD_NR_PAGES ? stress_look(&t->run, td, page) : 0;
	for (i = 0; i < all.nr; i++) {
		if (!t->run.emulated || page >= TD_NR_PAGES || all.states[i].owner == owner)
			stress_states_add(&ends, all.states[i]);
	}
	if (!ends.nr)
		failure_set(&t->failure, round,
			    "TD %u, page %u is %s: not after any order that explains the results",
			    td, page, stress_owner_name(owner));

	if (!ends.nr) {
		stress_print_state(states->states[0], text, sizeof(text));
		printf("# before: %s%s\n", text, states->nr > 1 ? ", or else" : "");
		stress_print_seen(t->search);
		stress_print_state(all.nr ? all.states[0] : t->search->best_state, text,
				   sizeof(text));
		printf("# %s: %s\n", all.nr ? "to be after it" : "explained up to", text);
		return;
	}
	*states = ends;
}

/* Run what the threads have, and judge it. */
static void together_run_round(struct together *t, unsigned int round)
{
	unsigned int i, td, page;

	pthread_barrier_init(&t->barrier, NULL, t->nr_threads + 1);
	for (i = 0; i < t->nr_threads; i++) {
		t->run.tasks[i] = &t->threads[i].task;
		tdx_task_start(&t->threads[i].task, "together", together_fn, &t->threads[i]);
	}
	pthread_barrier_wait(&t->barrier);
	for (i = 0; i < t->nr_threads; i++)
		tdx_task_finish(&t->threads[i].task);
	pthread_barrier_destroy(&t->barrier);

	for (i = 0; i < t->nr_threads; i++)
		together_check_signals(t, round, i);
	for (td = 0; td < t->run.nr_tds; td++) {
		for (page = 0; page < STRESS_PAGES && !t->failure.text[0]; page++)
			together_explain(t, round, td, page);
	}
}

static void together_make(struct together *t, u64 program, unsigned int round)
{
	unsigned int i;

	for (i = 0; i < t->nr_threads; i++) {
		struct stress_maker maker = {
			.random = stress_seed(program, 1 + round, i),
			.nr_threads = t->nr_threads,
			.nr_tds = t->run.nr_tds,
			.replaces = i ? 0 : GENMASK(t->run.nr_tds - 1, 0),
			.finalizes = program & 1 && round == TOGETHER_ROUNDS - 1 &&
				     stress_may_meet(STRESS_FINALIZE),
		};
		struct together_thread *thread = &t->threads[i];

		thread->together = t;
		thread->number = i;
		thread->nr = STRESS_ROUND;
		stress_make(&maker, thread->ops, STRESS_ROUND);
	}
}

/* What one thread can bring each TD to afterwards. */
static void together_end(struct together *t)
{
	struct together_thread *thread = &t->threads[0];
	unsigned int td, i;

	t->nr_threads = 1;
	for (td = 0; td < t->run.nr_tds && !t->failure.text[0]; td++) {
		thread->nr = ARRAY_SIZE(stress_epilogue);
		for (i = 0; i < thread->nr; i++) {
			thread->ops[i] = stress_epilogue[i];
			thread->ops[i].td = td;
		}
		together_run_round(t, TOGETHER_ROUNDS + td);
	}
}

static void together_create(struct together *t, unsigned int nr_threads, unsigned int nr_tds)
{
	bool vcpu_ready = !stress_may_meet(STRESS_INIT_VCPU);
	unsigned int td, page;

	t->nr_threads = nr_threads;
	stress_run_create(&t->run, nr_tds);
	for (td = 0; td < nr_tds; td++) {
		if (vcpu_ready)
			vm_tdx_init_vcpu(t->run.tds[td].vcpus[1]);
		for (page = 0; page < STRESS_PAGES; page++) {
			t->states[td][page] = (struct stress_states) {};
			stress_states_add(&t->states[td][page],
					  stress_state_of_new(page, vcpu_ready));
		}
	}
}

static void together_run(struct together *t, u64 program, unsigned int nr_threads,
			 unsigned int nr_tds)
{
	unsigned int round;

	together_create(t, nr_threads, nr_tds);
	for (round = 0; round < TOGETHER_ROUNDS && !t->failure.text[0]; round++) {
		together_make(t, program, round);
		together_run_round(t, round);
	}
	together_end(t);

	check_calls(&t->run, &t->failure, round);
	check_alive(&t->run, &t->failure, round);
	stress_run_destroy(&t->run);
	check_left(&t->failure, round);
}

FIXTURE(together)
{
	struct together t;
};

FIXTURE_VARIANT(together)
{
	unsigned int nr_threads;
	unsigned int nr_tds;
};

FIXTURE_VARIANT_ADD(together, two_threads) { .nr_threads = 2, .nr_tds = 1 };
FIXTURE_VARIANT_ADD(together, three_threads) { .nr_threads = 3, .nr_tds = 1 };
FIXTURE_VARIANT_ADD(together, three_threads_two_tds) { .nr_threads = 3, .nr_tds = 2 };

FIXTURE_SETUP(together)
{
	self->t.search = td_mmap(sizeof(*self->t.search));
}

FIXTURE_TEARDOWN(together)
{
	munmap(self->t.search, sizeof(*self->t.search));
	td_audit(_metadata);
}

STRESS_TEST_F(together, some_order_explains_every_result)
{
	struct budget budget = budget_of_case();
	u64 program, added = 0, steps = variant->nr_threads * TOGETHER_ROUNDS * STRESS_ROUND;

	for (program = 0; budget_spend(&budget, steps); program++) {
		together_run(&self->t, program, variant->nr_threads, variant->nr_tds);
		EXPECT_STREQ("", self->t.failure.text)
		{
			TH_LOG("seed %lu, program %lu, again by: %s --seed %lu --test stress_race",
			       tdx_host_seed(), program, STRESS_AGAIN, tdx_host_seed());
			TH_LOG("  round %u: %s", self->t.failure.step, self->t.failure.text);
		}
		if (self->t.failure.text[0])
			return;
		added += self->t.run.added;
	}

	printf("# seed %lu: %lu programs of %lu steps in %lu ms, %lu pages added, %lu refusals\n",
	       tdx_host_seed(), program, steps, tdx_now_ms() - budget.start, added,
	       self->t.failed_ops);
	EXPECT_LT(0ull, added);
	EXPECT_LT(0ull, self->t.failed_ops);
}

/* Results that were made up. */
#define HISTORY_EVENTS 5

/* Stands for what a page says that is mapped. */
#define ESAYSMAPPED 9999

struct history_event {
	unsigned int thread;
	struct stress_op op;
	int err;
	u64 start;
	u64 end;
};

FIXTURE(history)
{
	struct stress_search *search;
	struct stress_log logs[STRESS_MAX_THREADS];
};

FIXTURE_VARIANT(history)
{
	bool explained;
	struct history_event events[HISTORY_EVENTS];
};

#define HISTORY(_name) FIXTURE_VARIANT_ADD(history, _name)
#define ADD                                 \
	{                                   \
		.kind = STRESS_ADD, .nr = 1 \
	}
#define PUNCH                                 \
	{                                     \
		.kind = STRESS_PUNCH, .nr = 1 \
	}

/* clang-format off */
HISTORY(page_added_twice_is_refused) { false, {
	{ 0, ADD, 0, 1, 2 },
	{ 1, ADD, 0, 3, 4 },
} };

HISTORY(page_added_twice_at_once_is_refused) { false, {
	{ 0, ADD, 0, 1, 3 },
	{ 1, ADD, 0, 2, 4 },
} };

HISTORY(one_of_two_adds_says_mapped_ok) { true, {
	{ 0, ADD, ESAYSMAPPED, 1, 3 },
	{ 1, ADD, 0, 2, 4 },
} };

HISTORY(first_of_two_adds_says_mapped_is_refused) { false, {
	{ 0, ADD, ESAYSMAPPED, 1, 2 },
	{ 1, ADD, 0, 3, 4 },
} };

HISTORY(mapped_after_a_hole_is_refused) { false, {
	{ 0, ADD, 0, 1, 2 },
	{ 1, PUNCH, 0, 3, 4 },
	{ 0, ADD, ESAYSMAPPED, 5, 6 },
} };

HISTORY(mapped_during_a_hole_ok) { true, {
	{ 0, ADD, 0, 1, 2 },
	{ 1, PUNCH, 0, 3, 6 },
	{ 0, ADD, ESAYSMAPPED, 4, 5 },
} };

HISTORY(added_twice_during_a_hole_ok) { true, {
	{ 0, ADD, 0, 1, 2 },
	{ 1, PUNCH, 0, 3, 6 },
	{ 0, ADD, 0, 4, 5 },
} };

HISTORY(added_thrice_during_a_hole_is_refused) { false, {
	{ 0, ADD, 0, 1, 2 },
	{ 1, PUNCH, 0, 3, 8 },
	{ 0, ADD, 0, 4, 5 },
	{ 0, ADD, 0, 6, 7 },
} };

HISTORY(source_seen_before_it_was_hidden_ok) { true, {
	{ 0, ADD, EINVAL, 1, 6 },
	{ 1, { .kind = STRESS_HIDE_SOURCE, .nr = 1 }, 0, 2, 3 },
	{ 1, { .kind = STRESS_SHARE, .nr = 1 }, 0, 4, 5 },
} };

HISTORY(added_from_a_hidden_source_is_refused) { false, {
	{ 1, { .kind = STRESS_HIDE_SOURCE, .nr = 1 }, 0, 1, 2 },
	{ 0, ADD, 0, 3, 4 },
} };

HISTORY(added_to_a_file_that_is_kept_alive_ok) { true, {
	{ 1, PUNCH, 0, 1, 6 },
	{ 0, { .kind = STRESS_REPLACE_FILE }, 0, 2, 3 },
	{ 0, ADD, 0, 4, 5 },
} };

HISTORY(added_to_a_file_that_is_gone_is_refused) { false, {
	{ 1, PUNCH, 0, 1, 3 },
	{ 0, { .kind = STRESS_REPLACE_FILE }, 0, 2, 4 },
	{ 0, ADD, 0, 5, 6 },
} };

HISTORY(hole_in_the_file_before_ok) { true, {
	{ 1, ADD, 0, 1, 2 },
	{ 1, PUNCH, 0, 3, 8 },
	{ 0, { .kind = STRESS_REPLACE_FILE }, 0, 4, 5 },
	{ 0, ADD, 0, 6, 7 },
} };

HISTORY(interrupted_at_any_time_ok) { true, {
	{ 0, ADD, EINTR, 1, 2 },
	{ 0, ADD, 0, 3, 4 },
} };

HISTORY(hole_interrupted_is_refused) { false, {
	{ 0, PUNCH, EINTR, 1, 2 },
} };
/* clang-format on */

FIXTURE_SETUP(history)
{
	self->search = td_mmap(sizeof(*self->search));
}

FIXTURE_TEARDOWN(history)
{
	munmap(self->search, sizeof(*self->search));
}

TEST_F(history, is_judged)
{
	struct stress_states states = {}, ends;
	unsigned int i;

	for (i = 0; i < HISTORY_EVENTS && variant->events[i].op.kind != STRESS_END; i++) {
		const struct history_event *event = &variant->events[i];
		struct stress_log *log = &self->logs[event->thread];

		log->events[log->nr++] = (struct stress_event) {
			.op = event->op,
			.thread = event->thread,
			.err = event->err == ESAYSMAPPED ? tdx_errno_wanted(stress_mapped) :
							   event->err,
			.done = event->op.kind == STRESS_ADD && !event->err,
			.start = event->start,
			.end = event->end,
		};
	}

	stress_states_add(&states, stress_state_of_new(0, true));
	ends = stress_explain(self->search, &states, self->logs, STRESS_MAX_THREADS, 0, 0);
	EXPECT_EQ(variant->explained, ends.nr > 0)
	{
		stress_print_seen(self->search);
	}
}

#include "tdx_init_mem_main.h"
