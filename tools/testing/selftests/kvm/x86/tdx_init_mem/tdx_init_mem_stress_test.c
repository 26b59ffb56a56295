// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random programs of all that may happen to the memory of a TD that is being
 * built, run by one thread, from the seed TDX_INIT_MEM_SEED.  Each result is
 * predicted; a program that fails is cut down to what it takes to fail.
 */
#include "tdx_init_mem_stress_check.h"

/* Of one program, on a TD of its own. */
#define ALONE_STEPS 64

/*
 * A program of one thread, and what the model says.
 * @ends:	the program is followed by stress_epilogue
 */
struct alone {
	struct tdx_task task;
	struct stress_run run;
	const struct stress_op *ops;
	unsigned int nr;
	bool ends;
	union stress_state pages[STRESS_PAGES];
	struct mrtd_stream stream;
	struct failure failure;
	u64 refused;
};

static void alone_predict(struct alone *alone, unsigned int step, const struct stress_event *event)
{
	const struct tdx_errno *errs;
	union stress_state state;
	unsigned int page;
	char op[STRESS_OP_TEXT];
	int err;

	for (page = 0; page < STRESS_PAGES; page++) {
		if (!stress_concerns(event, page, &err))
			continue;

		state = alone->pages[page];
		stress_begin(&state, 0);
		errs = stress_end(&state, &event->op, 0);
		if (event->op.kind == STRESS_REPLACE_FILE)
			stress_release(&state);
		if (stress_allows(errs, err)) {
			alone->pages[page] = state;
			continue;
		}

		stress_print_op(&event->op, op, sizeof(op));
		failure_set(&alone->failure, step, "%s page %u: want %s, got %s%s", op, page,
			    tdx_errno_name(errs ? tdx_errno_wanted(errs) : 0), tdx_errno_name(err),
			    vm_tdx_is_dead(alone->run.tds[0].td.vm) ? ", VM is dead" : "");
	}
}

static void alone_check_pages(struct alone *alone, unsigned int step)
{
	unsigned int page, want, got;

	for (page = 0; page < TD_NR_PAGES; page++) {
		want = alone->pages[page].owner;
		got = stress_look(&alone->run, 0, page);
		if (want != got)
			failure_set(&alone->failure, step, "page %u afterwards: want %s, got %s",
				    page, stress_owner_name(want), stress_owner_name(got));
	}
}

static void alone_measure(struct alone *alone, const struct stress_event *event)
{
	const struct stress_op *op = &event->op;
	u32 flags = op->flags ? KVM_TDX_MEASURE_MEMORY_REGION : 0;
	unsigned int page;

	if (op->kind != STRESS_ADD || event->wrong)
		return;
	for (page = op->first; page < op->first + event->done; page++)
		mrtd_append_page(&alone->stream, td_gpa(page),
				 stress_source(&alone->run.tds[0], 0, page), flags);
}

static void alone_check_mrtd(struct alone *alone, unsigned int step)
{
	u8 want[MRTD_SIZE], got[MRTD_SIZE];

	if (mrtd_lacks())
		return;

	mrtd_of_stream(&alone->stream, want);
	if (tdx_emul_mrtd(alone->run.tds[0].tdr, got) || memcmp(want, got, sizeof(want)))
		failure_set(&alone->failure, step, "MRTD isn't that of the calls");
}

static void alone_step(struct alone *alone, unsigned int step, const struct stress_op *op)
{
	struct stress_event event;

	stress_carry_out(&alone->run, op, 0, &event);
	alone->refused += !!event.err;
	if (event.wrong)
		failure_set(&alone->failure, step, "%s", event.wrong);

	alone_predict(alone, step, &event);
	if (alone->failure.text[0])
		return;

	alone_measure(alone, &event);
	check_calls(&alone->run, &alone->failure, step);
	if (alone->run.emulated)
		alone_check_pages(alone, step);
}

static int alone_fn(void *arg)
{
	struct alone *alone = arg;
	unsigned int i, end = alone->nr + (alone->ends ? ARRAY_SIZE(stress_epilogue) : 0);

	for (i = 0; i < end && !alone->failure.text[0]; i++)
		alone_step(alone, i,
			   i < alone->nr ? &alone->ops[i] : &stress_epilogue[i - alone->nr]);

	check_alive(&alone->run, &alone->failure, i);
	alone_check_mrtd(alone, i);
	return 0;
}

/* On a TD of its own; true if all went well. */
static bool alone_run(struct alone *alone, const struct stress_op *ops, unsigned int nr, bool ends)
{
	unsigned int page;

	*alone = (struct alone) { .ops = ops, .nr = nr, .ends = ends };
	stress_run_create(&alone->run, 1);
	for (page = 0; page < STRESS_PAGES; page++)
		alone->pages[page] = stress_state_of_new(page, false);

	tdx_task_start(&alone->task, "alone", alone_fn, alone);
	tdx_task_finish(&alone->task);
	stress_run_destroy(&alone->run);
	check_left(&alone->failure, nr);
	free(alone->stream.bytes);
	return !alone->failure.text[0];
}

static void program_print(const char *name, const struct stress_op *ops, unsigned int nr)
{
	char text[STRESS_OP_TEXT];
	unsigned int i;

	printf("# REPLAY(%s) { {\n", name);
	for (i = 0; i < nr; i++) {
		stress_print_op(&ops[i], text, sizeof(text));
		printf("# \t%s\n", text);
	}
	printf("# } };\n");
}

/* Bounds on how often, and how long, a program that fails is tried again. */
#define SHORTEN_RUNS 120
#define SHORTEN_MS 25000

struct shortener {
	struct alone alone;
	bool ends;
	unsigned int runs;
	u64 deadline;
	struct failure failure;
};

static bool shortener_fails(struct shortener *s, const struct stress_op *ops, unsigned int nr)
{
	s->runs++;
	/* What the run before left behind is not this one's fault. */
	tdx_emul_begin();
	if (alone_run(&s->alone, ops, nr, s->ends))
		return false;

	s->failure = s->alone.failure;
	return true;
}

static bool shortener_goes_on(const struct shortener *s)
{
	return s->runs < SHORTEN_RUNS && tdx_now_ms() < s->deadline;
}

/* The number of steps after which the program fails, without the ones that follow. */
static unsigned int shorten_to_prefix(struct shortener *s, const struct stress_op *ops,
				      unsigned int nr)
{
	unsigned int low = 0, middle;

	while (low < nr && shortener_goes_on(s)) {
		middle = (low + nr) / 2;
		if (shortener_fails(s, ops, middle))
			nr = middle;
		else
			low = middle + 1;
	}

	return nr;
}

/* Takes away what doesn't matter, until every step does. */
static unsigned int shorten_to_core(struct shortener *s, struct stress_op *ops, unsigned int nr)
{
	struct stress_op without[ALONE_STEPS];
	unsigned int before, i;

	do {
		before = nr;
		for (i = nr; i-- && shortener_goes_on(s);) {
			memcpy(without, ops, i * sizeof(*ops));
			memcpy(without + i, ops + i + 1, (nr - i - 1) * sizeof(*ops));
			if (shortener_fails(s, without, nr - 1))
				memcpy(ops, without, --nr * sizeof(*ops));
		}
	} while (nr < before);

	return nr;
}

#define LAST_OPS 5

static void report_step(struct __test_metadata *_metadata, const struct failure *failure,
			unsigned int nr)
{
	if (failure->step < nr)
		TH_LOG("  step %u of %u: %s", failure->step, nr, failure->text);
	else
		TH_LOG("  after %u steps: %s", nr, failure->text);
}

static void report_program(struct __test_metadata *_metadata, u64 program,
			   const struct failure *failure, struct stress_op *ops, unsigned int nr)
{
	unsigned int end = min_t(unsigned int, failure->step + 1, nr);
	unsigned int last = min_t(unsigned int, end, LAST_OPS);
	struct shortener s = {
		/* What is wrong within the program is to be seen without what follows. */
		.ends = failure->step >= nr,
		.deadline = tdx_now_ms() + SHORTEN_MS,
		.failure = *failure,
	};
	char name[64];

	TH_LOG("seed %lu, program %lu, again by: %s --seed %lu --test stress", tdx_host_seed(),
	       program, STRESS_AGAIN, tdx_host_seed());
	report_step(_metadata, failure, nr);
	snprintf(name, sizeof(name), "seed_%lu_program_%lu_last_steps", tdx_host_seed(), program);
	program_print(name, ops + end - last, last);

	end = shorten_to_prefix(&s, ops, end);
	TH_LOG("the shortest prefix that fails has %u steps: found in %u runs", end, s.runs);
	nr = shorten_to_core(&s, ops, end);
	TH_LOG("%u steps of it are enough: found in %u runs", nr, s.runs);
	report_step(_metadata, &s.failure, nr);
	snprintf(name, sizeof(name), "seed_%lu_program_%lu", tdx_host_seed(), program);
	program_print(name, ops, nr);
}

FIXTURE(alone)
{
	struct alone alone;
};

FIXTURE_SETUP(alone)
{
}

FIXTURE_TEARDOWN(alone)
{
	td_audit(_metadata);
}

STRESS_TEST_F(alone, every_result_is_as_predicted)
{
	struct budget budget = budget_of_case();
	u64 program, refused = 0, added = 0;
	struct stress_op ops[ALONE_STEPS];

	for (program = 0; budget_spend(&budget, ALONE_STEPS); program++) {
		struct stress_maker maker = {
			.random = stress_seed(program, 0, 0),
			.nr_threads = 1,
			.nr_tds = 1,
			.replaces = BIT(0),
			.finalizes = program & 1,
		};

		stress_make(&maker, ops, ALONE_STEPS);
		alone_run(&self->alone, ops, ALONE_STEPS, true);
		EXPECT_STREQ("", self->alone.failure.text)
		{
			report_program(_metadata, program, &self->alone.failure, ops, ALONE_STEPS);
		}
		if (self->alone.failure.text[0])
			return;
		refused += self->alone.refused;
		added += self->alone.run.added;
	}

	printf("# seed %lu: %lu programs of %u steps in %lu ms, %lu pages added, %lu refusals\n",
	       tdx_host_seed(), program, ALONE_STEPS, tdx_now_ms() - budget.start, added, refused);
	EXPECT_LT(0ull, added);
	EXPECT_LT(0ull, refused);
}

/* Programs of one thread that failed on some kernel, as "alone" printed them. */
FIXTURE(replay)
{
	struct alone alone;
};

FIXTURE_VARIANT(replay)
{
	struct stress_op ops[ALONE_STEPS];
};

#define REPLAY(_name) FIXTURE_VARIANT_ADD(replay, _name)

REPLAY(hole_in_the_middle_is_filled_by_two_vcpus) { {
	{ .kind = STRESS_INIT_VCPU },
	{ .kind = STRESS_ADD, .first = 2, .nr = 6, .flags = 1 },
	{ .kind = STRESS_PUNCH, .first = 3, .nr = 3 },
	{ .kind = STRESS_ADD, .vcpu = 1, .first = 1, .nr = 6 },
	{ .kind = STRESS_ADD, .vcpu = 1, .first = 3, .nr = 6 },
} };

REPLAY(file_replaced_under_its_slot) { {
	{ .kind = STRESS_ADD, .nr = 4 },
	{ .kind = STRESS_REPLACE_FILE },
	{ .kind = STRESS_ADD, .first = 4, .nr = 1 },
	{ .kind = STRESS_PUNCH, .nr = 4 },
	{ .kind = STRESS_DELETE_SLOT },
	{ .kind = STRESS_SET_SLOT },
	{ .kind = STRESS_ADD, .nr = 4 },
} };

FIXTURE_SETUP(replay)
{
}

FIXTURE_TEARDOWN(replay)
{
	td_audit(_metadata);
}

STRESS_TEST_F(replay, every_result_is_as_predicted)
{
	unsigned int nr = 0;

	while (nr < ALONE_STEPS && variant->ops[nr].kind != STRESS_END)
		nr++;

	alone_run(&self->alone, variant->ops, nr, true);
	EXPECT_STREQ("", self->alone.failure.text)
	{
		report_step(_metadata, &self->alone.failure, nr);
	}
}

#include "tdx_init_mem_main.h"
