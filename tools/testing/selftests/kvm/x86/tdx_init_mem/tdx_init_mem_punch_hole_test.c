// SPDX-License-Identifier: GPL-2.0-only
/*
 * PUNCH_HOLE against KVM_TDX_INIT_MEM_REGION.  Whatever the order, a page is
 * mapped afterwards if and only if the last operation on it was an add, every
 * page can be added again, and the TD can be finalized.
 */
#include <sched.h>
#include <semaphore.h>

#include "tdx_init_mem.h"
#include "tdx_init_mem_punch_hole_single.h"

/*
 * A hole while populate waits for its source page, with all its locks.
 * Whether the hole waits too depends on the kernel and is reported; a
 * decoupled kernel must let it pass.
 */
#define PARKED_FIRST 4
#define PARKED_PAGES 4
#define PARKED_AT 5

FIXTURE(parked)
{
	struct td td;
	struct tdx_park park;
	struct td_populate populate;
	struct tdx_task hole;
};

FIXTURE_VARIANT(parked)
{
	unsigned int first;
	unsigned int nr;
};

#define HOLE(_name) FIXTURE_VARIANT_ADD(parked, _name)

HOLE(hole_at_same_page) { PARKED_AT, 1 };
HOLE(hole_at_same_range) { PARKED_FIRST, PARKED_PAGES };
HOLE(hole_at_left_neighbour) { PARKED_AT - 1, 1 };
HOLE(hole_at_right_neighbour) { PARKED_AT + 1, 1 };
HOLE(hole_elsewhere) { 12, 2 };
HOLE(hole_over_whole_file) { 0, TD_NR_PAGES };

FIXTURE_SETUP(parked)
{
	if (tdx_park_lacks())
		SKIP(return, "%s", tdx_park_lacks());

	td_create(&self->td);
	tdx_park_init(&self->park, PARKED_PAGES, PARKED_AT - PARKED_FIRST);
}

FIXTURE_TEARDOWN(parked)
{
	tdx_park_destroy(&self->park);
	tdx_task_finish(&self->populate.task);
	tdx_task_finish(&self->hole);
	td_destroy(&self->td);
	td_audit(_metadata);
}

struct hole {
	struct td *td;
	unsigned int first;
	unsigned int nr;
};

static int hole_fn(void *arg)
{
	struct hole *hole = arg;

	return td_punch(hole->td, hole->first, hole->nr);
}

/* A page left out of the populated range, so that it must stay empty. */
static bool parked_is_never_added(unsigned int page)
{
	return page >= PARKED_FIRST + PARKED_PAGES && page < 12;
}

static void parked_expect(struct __test_metadata *_metadata, struct td *td, const struct hole *hole,
			  bool hole_was_first)
{
	unsigned int page;

	for (page = 0; page < TD_NR_PAGES; page++) {
		bool punched = page >= hole->first && page < hole->first + hole->nr;
		bool later = page >= PARKED_AT && page < PARKED_FIRST + PARKED_PAGES;
		enum td_page want = TD_PAGE_WAS_MAPPED;
		enum td_page got = td_probe(td, page);

		if (parked_is_never_added(page) || (punched && !later))
			want = TD_PAGE_WAS_EMPTY;
		else if (punched && !hole_was_first && got != TD_PAGE_BROKEN)
			want = got; /* the two came in either order */

		EXPECT_EQ(want, got)
		{
			TH_LOG("page %u after a hole at %u+%u: want %s, got %s", page, hole->first,
			       hole->nr, td_page_name(want), td_page_name(got));
		}
	}
}

TD_TEST_F(parked, completes_after_release)
{
	struct hole hole = { &self->td, variant->first, variant->nr };
	enum tdx_task_state state;

	ASSERT_EQ(0, td_add(&self->td, 0, PARKED_FIRST));
	ASSERT_EQ(0, td_add(&self->td, 12, 4));

	td_populate_start(&self->populate, &self->td, self->park.mem, PARKED_FIRST, PARKED_PAGES);
	ASSERT_TRUE(tdx_park_wait(&self->park));

	tdx_task_start(&self->hole, "hole", hole_fn, &hole);
	if (tdx_host_is_decoupled()) {
		EXPECT_TRUE(tdx_task_wait(&self->hole))
		{
			TH_LOG("a hole must not wait for the source page of populate");
		}
	}
	state = tdx_task_settle(&self->hole);
	td_report_settled(&self->hole, state);

	tdx_park_release(&self->park);
	EXPECT_RESULT(0, tdx_task_finish(&self->populate.task));
	EXPECT_RESULT(0, tdx_task_finish(&self->hole));
	EXPECT_EQ(0, self->populate.region.nr_pages);

	parked_expect(_metadata, &self->td, &hole, state == TDX_TASK_DONE);
	td_complete(_metadata, &self->td);
}

/*
 * Both at full speed.  Each round adds all pages one by one while a hole is
 * punched; from what the adds answered follows what must be mapped.
 */
#define STORM_ROUNDS 24

struct storm;

struct storm_puncher {
	struct tdx_task task;
	struct storm *storm;
	u64 random;
};

struct storm {
	struct td td;
	pthread_barrier_t barrier;
	struct tdx_task adder;
	struct storm_puncher punchers[2];
	int results[TD_NR_PAGES];
	u64 random;
	bool stop;
};

FIXTURE(storm)
{
	struct storm s;
};

FIXTURE_SETUP(storm)
{
	td_create(&self->s.td);
	pthread_barrier_init(&self->s.barrier, NULL, 2);
	self->s.random = tdx_host_seed();
	printf("# seed %lu\n", self->s.random);
}

FIXTURE_TEARDOWN(storm)
{
	tdx_task_finish(&self->s.adder);
	tdx_task_finish(&self->s.punchers[0].task);
	tdx_task_finish(&self->s.punchers[1].task);
	td_destroy(&self->s.td);
	td_audit(_metadata);
}

static unsigned int storm_random(u64 *state, unsigned int limit)
{
	return (td_random(state) >> 32) % limit;
}

static int storm_add_each(void *arg)
{
	struct storm *s = arg;
	unsigned int page;

	pthread_barrier_wait(&s->barrier);
	for (page = 0; page < TD_NR_PAGES; page++)
		s->results[page] = td_add(&s->td, page, 1);

	return 0;
}

static void storm_check_round(struct __test_metadata *_metadata, struct storm *s, bool mapped,
			      unsigned int first, unsigned int nr)
{
	unsigned int page;

	for (page = 0; page < TD_NR_PAGES; page++) {
		bool punched = page >= first && page < first + nr;
		bool said_mapped = td_says_mapped(&s->td, s->results[page]);
		enum td_page want = TD_PAGE_WAS_MAPPED;
		enum td_page got = td_probe(&s->td, page);
		bool sane = said_mapped ? mapped : !s->results[page] && (!mapped || punched);

		EXPECT_TRUE(sane)
		{
			TH_LOG("page %u, %s, hole at %u+%u: add returned %s", page,
			       mapped ? "mapped" : "empty", first, nr,
			       tdx_errno_name(s->results[page]));
		}

		if (punched && said_mapped)
			want = TD_PAGE_WAS_EMPTY; /* the hole came last */
		else if (punched && !mapped && got != TD_PAGE_BROKEN)
			want = got; /* the two came in either order */

		EXPECT_EQ(want, got)
		{
			TH_LOG("page %u, was %s, hole at %u+%u, add returned %s: want %s, got %s",
			       page, mapped ? "mapped" : "empty", first, nr,
			       tdx_errno_name(s->results[page]), td_page_name(want),
			       td_page_name(got));
		}
	}
}

TD_TEST_F(storm, page_is_mapped_iff_added_last)
{
	struct storm *s = &self->s;
	unsigned int round;

	for (round = 0; round < STORM_ROUNDS && !_metadata->exit_code; round++) {
		bool mapped = round & 1;
		unsigned int first = storm_random(&s->random, TD_NR_PAGES);
		unsigned int nr = 1 + storm_random(&s->random, TD_NR_PAGES - first);

		if (!mapped)
			ASSERT_EQ(0, td_punch(&s->td, 0, TD_NR_PAGES));

		tdx_task_start(&s->adder, "adder", storm_add_each, s);
		pthread_barrier_wait(&s->barrier);
		EXPECT_RESULT(0, td_punch(&s->td, first, nr));
		tdx_task_finish(&s->adder);
		storm_check_round(_metadata, s, mapped, first, nr);
	}

	td_complete(_metadata, &s->td);
}

#define STORM_ADDS 48

static bool storm_stopped(struct storm *s)
{
	return __atomic_load_n(&s->stop, __ATOMIC_ACQUIRE);
}

static int storm_punch_until_stopped(void *arg)
{
	struct storm_puncher *puncher = arg;
	struct storm *s = puncher->storm;

	while (!storm_stopped(s)) {
		unsigned int first = storm_random(&puncher->random, TD_NR_PAGES);
		unsigned int nr = 1 + storm_random(&puncher->random, TD_NR_PAGES - first);
		int r = td_punch(&s->td, first, nr);

		if (r)
			return r;
	}

	return 0;
}

static int storm_add_ranges(void *arg)
{
	struct storm *s = arg;
	u64 random = s->random;
	unsigned int i;

	for (i = 0; i < STORM_ADDS; i++) {
		unsigned int first = storm_random(&random, TD_NR_PAGES);
		unsigned int nr = 1 + storm_random(&random, TD_NR_PAGES - first);
		int r = td_add(&s->td, first, nr);

		if (r && !td_says_mapped(&s->td, r))
			return r;
	}

	return 0;
}

TD_TEST_F(storm, two_punchers_and_ranges_ok)
{
	struct storm *s = &self->s;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(s->punchers); i++) {
		struct storm_puncher *puncher = &s->punchers[i];

		/* The adder takes the seed itself. */
		puncher->storm = s;
		puncher->random = s->random + 1 + i;
		tdx_task_start(&puncher->task, "puncher", storm_punch_until_stopped, puncher);
	}
	tdx_task_start(&s->adder, "adder", storm_add_ranges, s);

	EXPECT_RESULT(0, tdx_task_finish(&s->adder));
	__atomic_store_n(&s->stop, true, __ATOMIC_RELEASE);
	for (i = 0; i < ARRAY_SIZE(s->punchers); i++)
		EXPECT_RESULT(0, tdx_task_finish(&s->punchers[i].task));

	EXPECT_RESULT(0, td_punch(&s->td, 0, TD_NR_PAGES));
	hole_expect(_metadata, &s->td, 0, TD_NR_PAGES);
	td_complete(_metadata, &s->td);
}

/*
 * Populate loses its CPU in the middle of a page, wherever that is, and does not
 * get it back before a hole took the page away, or waits for a lock.  Between the
 * lookup of a page and its mapping there is no other way to be late on purpose.
 */
#define PREEMPTED_ROUNDS 400
#define PREEMPTED_CPU 1
#define PREEMPTED_MAX_US 1000
#define PREEMPTED_MS 3

struct preempted {
	struct td td;
	struct tdx_task adder;
	struct tdx_task hog;
	sem_t go;
	u64 random;
	bool punched;
	bool stop;
};

FIXTURE(preempted)
{
	struct preempted p;
};

static int preempted_set_fifo(int policy)
{
	const struct sched_param param = { .sched_priority = policy == SCHED_FIFO ? 1 : 0 };

	return sched_setscheduler(0, policy, &param) ? -errno : 0;
}

static const char *preempted_lacks(void)
{
	if (sysconf(_SC_NPROCESSORS_ONLN) <= PREEMPTED_CPU)
		return "one CPU only";
	if (preempted_set_fifo(SCHED_FIFO))
		return "no real-time priority";

	preempted_set_fifo(SCHED_OTHER);
	return NULL;
}

FIXTURE_SETUP(preempted)
{
	if (preempted_lacks())
		SKIP(return, "%s", preempted_lacks());

	tdx_task_pin(0);
	td_create(&self->p.td);
	sem_init(&self->p.go, 0, 0);
	self->p.random = tdx_host_seed();
	printf("# seed %lu\n", self->p.random);
}

static void preempted_stop(struct preempted *p)
{
	__atomic_store_n(&p->stop, true, __ATOMIC_RELEASE);
	sem_post(&p->go);
}

FIXTURE_TEARDOWN(preempted)
{
	preempted_stop(&self->p);
	tdx_task_finish(&self->p.adder);
	tdx_task_finish(&self->p.hog);
	td_destroy(&self->p.td);
	td_audit(_metadata);
}

static bool preempted_is(const bool *flag)
{
	return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
}

static int preempted_add_until_stopped(void *arg)
{
	struct preempted *p = arg;
	unsigned int page;
	int r;

	tdx_task_pin(PREEMPTED_CPU);
	for (page = 0; !preempted_is(&p->stop); page = (page + 1) % TD_NR_PAGES) {
		r = td_add(&p->td, page, 1);
		if (r && !td_says_mapped(&p->td, r))
			return r;
	}

	return 0;
}

/* Takes the CPU at once, and keeps it for one hole, unless that waits for populate. */
static int preempted_hog(void *arg)
{
	struct preempted *p = arg;
	u64 deadline;

	tdx_task_pin(PREEMPTED_CPU);
	preempted_set_fifo(SCHED_FIFO);
	for (;;) {
		sem_wait(&p->go);
		if (preempted_is(&p->stop))
			return 0;
		deadline = tdx_now_ms() + PREEMPTED_MS;
		while (!preempted_is(&p->punched) && tdx_now_ms() <= deadline)
			;
	}
}

TD_TEST_F(preempted, populate_notices_the_hole)
{
	struct preempted *p = &self->p;
	unsigned int round;

	tdx_task_start(&p->hog, "hog", preempted_hog, p);
	tdx_task_start(&p->adder, "adder", preempted_add_until_stopped, p);

	for (round = 0; round < PREEMPTED_ROUNDS && !tdx_task_is_done(&p->adder); round++) {
		usleep(storm_random(&p->random, PREEMPTED_MAX_US));
		__atomic_store_n(&p->punched, false, __ATOMIC_RELEASE);
		sem_post(&p->go);
		EXPECT_RESULT(0, td_punch(&p->td, 0, TD_NR_PAGES));
		__atomic_store_n(&p->punched, true, __ATOMIC_RELEASE);
	}

	preempted_stop(p);
	EXPECT_RESULT(0, tdx_task_finish(&p->adder));
	EXPECT_RESULT(0, td_punch(&p->td, 0, TD_NR_PAGES));
	hole_expect(_metadata, &p->td, 0, TD_NR_PAGES);
	td_complete(_metadata, &p->td);
}

#include "tdx_init_mem_main.h"
