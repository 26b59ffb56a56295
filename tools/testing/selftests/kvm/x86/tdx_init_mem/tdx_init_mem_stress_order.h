/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Is there an order of a page's operations that explains their results?
 *
 * An operation takes effect between its start and its end, those of a thread one
 * after the other.  All orders that this leaves are tried, of which there are few:
 * as many operations overlap as there are threads.
 */
#ifndef TDX_INIT_MEM_STRESS_ORDER_H
#define TDX_INIT_MEM_STRESS_ORDER_H

#include "tdx_init_mem_stress_model.h"

/* Operations of a thread between two times that nothing is under way. */
#define STRESS_ROUND 24

/* The threads, and who lets go of a file that was replaced. */
#define STRESS_LISTS (STRESS_MAX_THREADS + 1)
#define STRESS_RELEASE STRESS_MAX_THREADS

#define STRESS_MAX_STATES 64

/* States that a page may be in. */
struct stress_states {
	unsigned int nr;
	union stress_state states[STRESS_MAX_STATES];
};

static inline void stress_states_add(struct stress_states *states, union stress_state state)
{
	unsigned int i;

	for (i = 0; i < states->nr; i++) {
		if (states->states[i].all == state.all)
			return;
	}
	TEST_ASSERT(states->nr < STRESS_MAX_STATES, "More than %u states", STRESS_MAX_STATES);
	states->states[states->nr++] = state;
}

/* An operation as the page saw it, by the errno for it. */
struct stress_seen {
	const struct stress_event *event;
	int err;
	u64 start;
	u64 end;
};

struct stress_list {
	unsigned int nr;
	struct stress_seen seen[STRESS_ROUND];
};

/* What is tried at most; far more than a round can need. */
#define STRESS_VISITED BIT(16)
/* Of steps and state; what is left of 64 counts searches. */
#define STRESS_KEY_BITS (7 * STRESS_LISTS + STRESS_STATE_BITS)

/* How far each list is, in steps of which an operation has two: to look, and to act. */
struct stress_position {
	u8 steps[STRESS_LISTS];
};

struct stress_search {
	unsigned int page;
	struct stress_list lists[STRESS_LISTS];
	struct stress_states *ends;
	unsigned int replaced; /* steps of the list until the file is replaced */
	unsigned int replacer;

	/* Steps, states and the search that came by; those of former searches are void. */
	unsigned int nr_visited;
	unsigned int number;
	u64 visited[STRESS_VISITED];

	/* The longest way that led nowhere. */
	unsigned int best;
	struct stress_position best_at;
	union stress_state best_state;
};

static inline bool stress_visit(struct stress_search *search, const struct stress_position *at,
				union stress_state state)
{
	u64 key = (u64)search->number << STRESS_KEY_BITS | (u64)state.all << (7 * STRESS_LISTS), i;
	unsigned int list;

	for (list = 0; list < STRESS_LISTS; list++)
		key |= (u64)at->steps[list] << (7 * list);

	for (i = key * 0x9e3779b97f4a7c15 >> 40;; i++) {
		u64 *slot = &search->visited[i % STRESS_VISITED];

		if (*slot == key)
			return false;
		if (*slot >> STRESS_KEY_BITS == search->number)
			continue;
		TEST_ASSERT(++search->nr_visited < STRESS_VISITED / 2, "Too many orders to try");
		*slot = key;
		return true;
	}
}

/* Nobody who isn't done yet was done before it started. */
static inline bool stress_may_be_next(const struct stress_search *search,
				      const struct stress_position *at, unsigned int next)
{
	const struct stress_seen *seen = &search->lists[next].seen[at->steps[next] / 2];
	unsigned int list;

	for (list = 0; list < STRESS_LISTS; list++) {
		unsigned int step = at->steps[list];

		if (list != next && step < 2 * search->lists[list].nr &&
		    search->lists[list].seen[step / 2].end < seen->start)
			return false;
	}

	return next != STRESS_RELEASE || at->steps[search->replacer] >= search->replaced;
}

static inline void stress_try(struct stress_search *search, struct stress_position at,
			      union stress_state state);

/* The next step of @list, if what the operation said fits the state. */
static inline void stress_try_list(struct stress_search *search, struct stress_position at,
				   union stress_state state, unsigned int list)
{
	const struct stress_seen *seen = &search->lists[list].seen[at.steps[list] / 2];
	const struct stress_event *event = seen->event;
	bool looks = !(at.steps[list]++ % 2);

	if (list == STRESS_RELEASE) {
		if (looks)
			stress_release(&state);
	} else if (looks) {
		stress_begin(&state, list);
	} else if (stress_is_interrupted(event, seen->err)) {
		state.saw_hidden &= ~BIT(list);
		state.saw_file &= ~BIT(list);
		/*
		 * Where KVM gets the page once more to map it, it is prepared by
		 * then, so that it can't be added before a hole: up to 6.18.
		 */
		if (stress_minds_preparedness() && state.slot_file) {
			stress_try(search, at, state);
			state.prepared |= BIT(state.slot_file - 1);
		}
	} else if (!stress_allows(stress_end(&state, &event->op, list), seen->err)) {
		return;
	}

	stress_try(search, at, state);
}

static inline void stress_try(struct stress_search *search, struct stress_position at,
			      union stress_state state)
{
	unsigned int list, sum = 0;
	bool ended = true;

	if (!stress_visit(search, &at, state))
		return;

	for (list = 0; list < STRESS_LISTS; list++) {
		sum += at.steps[list];
		if (at.steps[list] == 2 * search->lists[list].nr)
			continue;
		ended = false;
		if (stress_may_be_next(search, &at, list))
			stress_try_list(search, at, state, list);
	}

	if (ended)
		stress_states_add(search->ends, state);
	if (sum >= search->best) {
		search->best = sum;
		search->best_at = at;
		search->best_state = state;
	}
}

/* The events of a thread in one round. */
struct stress_log {
	unsigned int nr;
	struct stress_event events[STRESS_ROUND];
};

static inline void stress_see(struct stress_search *search, const struct stress_event *event,
			      unsigned int list, int err)
{
	struct stress_list *seen = &search->lists[list];

	seen->seen[seen->nr++] = (struct stress_seen) {
		.event = event,
		.err = err,
		.start = event->start,
		.end = event->end,
	};
}

/*
 * Who is at work on a file keeps it alive, and so does who begins until it is gone.
 * Hence the file may outlive close() by what overlaps it, and what overlaps that.
 */
static inline u64 stress_last_use(const struct stress_log *logs, unsigned int nr_threads,
				  const struct stress_event *close)
{
	unsigned int thread, i;
	u64 end = close->end;
	bool more;

	do {
		more = false;
		for (thread = 0; thread < nr_threads; thread++) {
			for (i = 0; i < logs[thread].nr; i++) {
				const struct stress_event *event = &logs[thread].events[i];

				if (event->start < end && event->end > end) {
					end = event->end;
					more = true;
				}
			}
		}
	} while (more);

	return end;
}

static inline void stress_search_init(struct stress_search *search, const struct stress_log *logs,
				      unsigned int nr_threads, unsigned int td, unsigned int page)
{
	unsigned int thread, i;
	int err;

	for (i = 0; i < STRESS_LISTS; i++)
		search->lists[i].nr = 0;
	search->page = page;
	search->replacer = 0;
	search->replaced = 0;
	search->best = 0;
	search->nr_visited = 0;
	if (++search->number == BIT(64 - STRESS_KEY_BITS)) {
		memset(search->visited, 0, sizeof(search->visited));
		search->number = 1;
	}

	for (thread = 0; thread < nr_threads; thread++) {
		for (i = 0; i < logs[thread].nr; i++) {
			const struct stress_event *event = &logs[thread].events[i];

			if (event->op.td != td || !stress_concerns(event, page, &err))
				continue;
			stress_see(search, event, thread, err);
			if (event->op.kind != STRESS_REPLACE_FILE)
				continue;

			search->replacer = thread;
			search->replaced = 2 * search->lists[thread].nr;
			stress_see(search, event, STRESS_RELEASE, 0);
			search->lists[STRESS_RELEASE].seen[0].end =
				stress_last_use(logs, nr_threads, event);
		}
	}
}

/*
 * What the page may be after these events if it may have been in @states before;
 * nothing at all if no order explains them.
 */
static inline struct stress_states stress_explain(struct stress_search *search,
						  const struct stress_states *states,
						  const struct stress_log *logs,
						  unsigned int nr_threads, unsigned int td,
						  unsigned int page)
{
	struct stress_states ends = {};
	unsigned int i;

	stress_search_init(search, logs, nr_threads, td, page);
	search->ends = &ends;
	for (i = 0; i < states->nr; i++)
		stress_try(search, (struct stress_position) {}, states->states[i]);

	return ends;
}

static inline void stress_print_state(union stress_state state, char *text, size_t size)
{
	static const char *const places[] = { "no slot", "slot", "slot elsewhere", "?" };
	char owner[32] = "empty";

	if (state.owner)
		snprintf(owner, sizeof(owner), "mapped from thread %u", state.owner - 1);
	snprintf(text, size, "%s, %s, %s%s%s%s, prepared in file 0:%u 1:%u, hidden from 0x%x%s",
		 owner, state.is_private ? "private" : "shared", places[state.slot],
		 state.slot == STRESS_NOWHERE ? "" :
		 !state.slot_file	      ? " with its file closed" :
		 state.slot_file == 1	      ? " with file 0" :
						" with file 1",
		 !state.fd_open ? ", descriptor closed" :
		 state.fd_file	? ", descriptor of file 1" :
				  ", descriptor of file 0",
		 state.finalized ? ", finalized" : "", state.prepared & 1, state.prepared >> 1,
		 state.hidden, state.vcpu_ready ? "" : ", second vCPU not initialized");
}

/* All that the page saw, by time; marked is what was to be next where it can't go on. */
static inline void stress_print_seen(const struct stress_search *search)
{
	unsigned int at[STRESS_LISTS] = {}, list, first;
	const struct stress_seen *seen;
	char op[STRESS_OP_TEXT];

	for (;;) {
		first = STRESS_LISTS;
		for (list = 0; list < STRESS_MAX_THREADS; list++) {
			if (at[list] < search->lists[list].nr &&
			    (first == STRESS_LISTS ||
			     search->lists[list].seen[at[list]].start <
				     search->lists[first].seen[at[first]].start))
				first = list;
		}
		if (first == STRESS_LISTS)
			return;

		seen = &search->lists[first].seen[at[first]];
		stress_print_op(&seen->event->op, op, sizeof(op));
		printf("# %c %4lu-%-4lu thread %u %s /* %s */\n",
		       at[first] == search->best_at.steps[first] / 2 ? '>' : ' ', seen->start,
		       seen->end, first, op, tdx_errno_name(seen->err));
		at[first]++;
	}
}

#endif /* TDX_INIT_MEM_STRESS_ORDER_H */
