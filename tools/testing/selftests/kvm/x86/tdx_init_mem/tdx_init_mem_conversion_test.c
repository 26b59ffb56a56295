// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_SET_MEMORY_ATTRIBUTES against KVM_TDX_INIT_MEM_REGION.  A page that becomes
 * shared leaves the TD, and none is added while it is; to be private again is to be
 * allowed to be added again.  Whatever the order, a shared page is never mapped.
 */
#include "tdx_init_mem_conversion.h"
#include "tdx_init_mem_conversion_single.h"

/* Ranges that are converted while populate is at a page of its own. */
#define RACE_FIRST 4
#define RACE_PAGES 6
#define RACE_AT 6
#define RACE_END (RACE_FIRST + RACE_PAGES)

struct race {
	struct conversion c;
	struct td_populate populate;
	struct tdx_task task;
	unsigned int at; /* the page that it is at */
	unsigned int first, nr;
	bool back;
};

static int race_convert(void *arg)
{
	struct race *race = arg;
	int r = to_shared(&race->c, race->first, race->nr);

	if (!r && race->back)
		r = to_private(&race->c, race->first, race->nr);

	return r;
}

static void race_set(struct race *race, unsigned int first, unsigned int nr)
{
	race->at = RACE_AT;
	race->first = first;
	race->nr = nr;
}

static bool race_has(const struct race *race, unsigned int page)
{
	return page >= race->first && page < race->first + race->nr;
}

/* The first page from @page on that populate does not get past, once it was converted. */
static unsigned int race_stop(const struct race *race, unsigned int page)
{
	while (page < RACE_END && (race->back || !race_has(race, page)))
		page++;

	return page;
}

/*
 * Populate came to its end, or to a page that is shared by now.  Returns how far.
 * @sure: that page is the one, if there is any
 */
static unsigned int race_expect_stop(struct __test_metadata *_metadata, struct race *race, int r,
				     bool sure)
{
	unsigned int end = RACE_END - race->populate.region.nr_pages;
	unsigned int want = race_stop(race, race->at);
	bool stopped = r == -EINVAL && race_has(race, end) && end >= race->at && end < RACE_END;
	bool good = sure ? end == want : end == RACE_END || stopped;

	EXPECT_TRUE(good && r == (end < RACE_END ? -EINVAL : 0))
	{
		TH_LOG("populate of %u+%u, parked or held at %u, %u+%u to shared%s: %s", RACE_FIRST,
		       RACE_PAGES, race->at, race->first, race->nr, race->back ? " and back" : "",
		       sure ? "meanwhile" : "at some time");
		TH_LOG("  want %s at page %u, got %s at page %u",
		       sure && want < RACE_END ? "EINVAL" : "success", want, tdx_errno_name(r),
		       end);
	}
	EXPECT_EQ(td_gpa(end), race->populate.region.gpa);
	return end;
}

/* Pages before and behind the ones that populate is at. */
static void race_begin(struct __test_metadata *_metadata, struct race *race)
{
	ASSERT_EQ(0, add(&race->c, 0, 2));
	ASSERT_EQ(0, add(&race->c, 12, 2));
}

/*
 * Populate waits for its source page.  Whether the conversion waits, too, depends
 * on the kernel and is reported; a decoupled kernel must let it pass.
 */
FIXTURE(parked)
{
	struct race race;
	struct tdx_park park;
};

FIXTURE_VARIANT(parked)
{
	unsigned int first;
	unsigned int nr;
};

#define PARKED(_name) FIXTURE_VARIANT_ADD(parked, _name)

PARKED(page_waited_for) { RACE_AT, 1 };
PARKED(pages_added_by_this_call) { RACE_FIRST, RACE_AT - RACE_FIRST };
PARKED(page_to_come) { RACE_AT + 2, 1 };
PARKED(whole_region) { RACE_FIRST, RACE_PAGES };
PARKED(whole_slot) { 0, TD_NR_PAGES };
PARKED(neighbours_in_slot) { RACE_END, 4 };
PARKED(neighbouring_slot) { OTHER_FIRST, OTHER_PAGES };

FIXTURE_SETUP(parked)
{
	unsigned int page;

	if (tdx_park_lacks())
		SKIP(return, "%s", tdx_park_lacks());

	conversion_create(&self->race.c);
	tdx_park_init(&self->park, RACE_PAGES, RACE_AT - RACE_FIRST);
	for (page = RACE_FIRST; page < RACE_END; page++)
		memcpy(page == RACE_AT ? self->park.content :
					 self->park.mem + (page - RACE_FIRST) * PAGE_SIZE,
		       td_source(&self->race.c.td, page), PAGE_SIZE);
	race_set(&self->race, variant->first, variant->nr);
}

FIXTURE_TEARDOWN(parked)
{
	tdx_park_destroy(&self->park);
	tdx_task_finish(&self->race.populate.task);
	tdx_task_finish(&self->race.task);
	conversion_destroy(&self->race.c);
	td_audit(_metadata);
}

static void parked_run(struct __test_metadata *_metadata, FIXTURE_DATA(parked) * self)
{
	struct race *race = &self->race;
	struct td_oracle *oracle = &race->c.oracle;
	enum tdx_task_state state;
	unsigned int end;
	u64 began;
	int r;

	race_begin(_metadata, race);
	began = td_oracle_tick(oracle);
	td_populate_start(&race->populate, &race->c.td, self->park.mem, RACE_FIRST, RACE_PAGES);
	ASSERT_TRUE(tdx_park_wait(&self->park));
	td_oracle_end(oracle, began, TD_ADDED, RACE_FIRST, RACE_AT - RACE_FIRST);

	tdx_task_start(&race->task, "convert", race_convert, race);
	if (tdx_host_is_decoupled()) {
		EXPECT_TRUE(tdx_task_wait(&race->task))
		{
			TH_LOG("a conversion must not wait for the source page of populate");
		}
	}
	state = tdx_task_settle(&race->task);
	td_report_settled(&race->task, state);
	if (state == TDX_TASK_DONE)
		began = td_oracle_tick(oracle);

	tdx_park_release(&self->park);
	r = tdx_task_finish(&race->populate.task);
	EXPECT_RESULT(0, tdx_task_finish(&race->task));
	end = race_expect_stop(_metadata, race, r, state == TDX_TASK_DONE);
	td_oracle_end(oracle, began, TD_ADDED, RACE_AT, end - RACE_AT);

	expect_and_complete(_metadata, &race->c);
}

TD_TEST_F(parked, to_shared_stops_populate_at_its_pages)
{
	parked_run(_metadata, self);
}

TD_TEST_F(parked, to_shared_and_back_stops_nothing)
{
	self->race.back = true;
	parked_run(_metadata, self);
}

/*
 * Populate is in the module, with whatever locks it needs there.  Nothing is said
 * about who waits for whom, but both come to their end.
 */
#define TEST_CPU 0
#define HELD_CPU 1
/* The conversion may spin on the CPU of whoever were to release the call. */
#define HOLD_MS 3000

FIXTURE(held)
{
	struct race race;
	u64 rule;
};

FIXTURE_VARIANT(held)
{
	unsigned int leaf;
	unsigned int action;
	unsigned int first;
	unsigned int nr;
};

#define HELD(_name) FIXTURE_VARIANT_ADD(held, _name)
#define ADD TDH_MEM_PAGE_ADD
#define EXTEND TDH_MR_EXTEND
#define SEPT TDH_MEM_SEPT_ADD
#define BEFORE TDX_EMUL_HOLD_ENTRY
#define IN TDX_EMUL_HOLD_LOCKED

HELD(before_page_add_of_it) { ADD, BEFORE, RACE_AT, 1 };
HELD(before_page_add_of_region) { ADD, BEFORE, RACE_FIRST, RACE_PAGES };
HELD(in_page_add_of_it) { ADD, IN, RACE_AT, 1 };
HELD(in_page_add_of_region) { ADD, IN, RACE_FIRST, RACE_PAGES };
HELD(before_mr_extend_of_it) { EXTEND, BEFORE, RACE_AT, 1 };
HELD(before_mr_extend_of_region) { EXTEND, BEFORE, RACE_FIRST, RACE_PAGES };
HELD(in_mr_extend_of_it) { EXTEND, IN, RACE_AT, 1 };
HELD(in_mr_extend_of_region) { EXTEND, IN, RACE_FIRST, RACE_PAGES };
HELD(before_sept_add_of_it) { SEPT, BEFORE, RACE_FIRST, 1 };
HELD(before_sept_add_of_region) { SEPT, BEFORE, RACE_FIRST, RACE_PAGES };
HELD(in_sept_add_of_it) { SEPT, IN, RACE_FIRST, 1 };
HELD(in_sept_add_of_region) { SEPT, IN, RACE_FIRST, RACE_PAGES };

static const char *held_lacks(void)
{
	if (tdx_emul_lacks())
		return tdx_emul_lacks();

	return sysconf(_SC_NPROCESSORS_ONLN) <= HELD_CPU ? "one CPU only" : NULL;
}

FIXTURE_SETUP(held)
{
	if (held_lacks())
		SKIP(return, "%s", held_lacks());

	tdx_emul_reset();
	tdx_task_pin(TEST_CPU);
	conversion_create(&self->race.c);
	race_set(&self->race, variant->first, variant->nr);
}

FIXTURE_TEARDOWN(held)
{
	tdx_emul_reset();
	tdx_task_finish(&self->race.populate.task);
	tdx_task_finish(&self->race.task);
	conversion_destroy(&self->race.c);
	td_audit(_metadata);
}

static int held_populate(void *arg)
{
	tdx_task_pin(HELD_CPU);
	return td_populate_fn(arg);
}

static void held_run(struct __test_metadata *_metadata, FIXTURE_DATA(held) * self,
		     const FIXTURE_VARIANT(held) * variant)
{
	struct race *race = &self->race;
	struct td_oracle *oracle = &race->c.oracle;
	struct tdx_emul_rule rule = {
		.action = variant->action,
		.leaf = variant->leaf,
		.tdr = oracle->tdr,
		.gpa = td_gpa(RACE_AT),
		.size = PAGE_SIZE,
		.count = 1,
		.timeout_ms = HOLD_MS,
	};
	unsigned int end;
	u64 began;
	int r;

	/* Page tables are built for the first page only. */
	if (variant->leaf == TDH_MEM_SEPT_ADD) {
		race->at = RACE_FIRST;
		rule.size = 0;
	} else {
		race_begin(_metadata, race);
	}

	ASSERT_EQ(0, tdx_emul_arm(&rule, &self->rule));
	began = td_oracle_tick(oracle);
	td_populate_prepare(&race->populate, &race->c.td, td_source(&race->c.td, RACE_FIRST),
			    RACE_FIRST, RACE_PAGES);
	race->populate.flags = KVM_TDX_MEASURE_MEMORY_REGION;
	tdx_task_start(&race->populate.task, "populate", held_populate, &race->populate);
	ASSERT_TRUE(tdx_emul_wait_held(self->rule, 1));

	tdx_task_start(&race->task, "convert", race_convert, race);
	td_report_settled(&race->task, tdx_task_settle(&race->task));

	EXPECT_RESULT(0, tdx_emul_release(self->rule));
	r = tdx_task_finish(&race->populate.task);
	EXPECT_RESULT(0, tdx_task_finish(&race->task));
	end = race_expect_stop(_metadata, race, r, false);
	td_oracle_end(oracle, began, TD_ADDED, RACE_FIRST, end - RACE_FIRST);

	expect_and_complete(_metadata, &race->c);
}

TD_TEST_F(held, to_shared_comes_to_its_end)
{
	held_run(_metadata, self, variant);
}

TD_TEST_F(held, to_shared_and_back_comes_to_its_end)
{
	self->race.back = true;
	held_run(_metadata, self, variant);
}

/* All at full speed; from what was done follows what the pages may be. */
#define STORM_ADDS 96
#define STORM_ROUNDS 4

struct storm_thread {
	struct tdx_task task;
	struct storm *storm;
	u64 random;
};

struct storm {
	struct conversion c;
	struct storm_thread adder, converter, puncher;
	bool stop;
};

FIXTURE(storm)
{
	struct storm s;
};

FIXTURE_VARIANT(storm)
{
	bool holes;
};

FIXTURE_VARIANT_ADD(storm, without_holes) { .holes = false };
FIXTURE_VARIANT_ADD(storm, with_holes) { .holes = true };

FIXTURE_SETUP(storm)
{
	conversion_create(&self->s.c);
}

FIXTURE_TEARDOWN(storm)
{
	__atomic_store_n(&self->s.stop, true, __ATOMIC_RELEASE);
	tdx_task_finish(&self->s.adder.task);
	tdx_task_finish(&self->s.converter.task);
	tdx_task_finish(&self->s.puncher.task);
	conversion_destroy(&self->s.c);
	td_audit(_metadata);
}

static unsigned int storm_range(struct storm_thread *thread, unsigned int *nr)
{
	unsigned int first = (td_random(&thread->random) >> 32) % TD_NR_PAGES;

	*nr = 1 + (td_random(&thread->random) >> 32) % (TD_NR_PAGES - first);
	return first;
}

static bool storm_goes_on(const struct storm *s)
{
	return !__atomic_load_n(&s->stop, __ATOMIC_ACQUIRE);
}

static int storm_add(void *arg)
{
	struct storm_thread *thread = arg;
	struct conversion *c = &thread->storm->c;
	unsigned int i, first, nr;
	int r;

	for (i = 0; i < STORM_ADDS; i++) {
		first = storm_range(thread, &nr);
		r = add(c, first, nr);
		/* It met a page that is there, or one that is shared. */
		if (r && r != -EINVAL && !td_says_mapped(&c->td, r))
			return r;
	}

	return 0;
}

static int storm_convert(void *arg)
{
	struct storm_thread *thread = arg;
	struct conversion *c = &thread->storm->c;
	unsigned int first, nr;
	int r = 0;

	while (!r && storm_goes_on(thread->storm)) {
		first = storm_range(thread, &nr);
		r = td_oracle_convert(&c->oracle, first, nr, td_random(&thread->random) & 1);
	}

	return r;
}

static int storm_punch(void *arg)
{
	struct storm_thread *thread = arg;
	unsigned int first, nr;
	int r = 0;

	while (!r && storm_goes_on(thread->storm)) {
		first = storm_range(thread, &nr);
		r = td_oracle_punch(&thread->storm->c.oracle, first, nr);
	}

	return r;
}

static void storm_start(struct storm *s, struct storm_thread *thread, const char *name,
			int (*fn)(void *arg))
{
	thread->storm = s;
	tdx_task_start(&thread->task, name, fn, thread);
}

static void storm_run(struct __test_metadata *_metadata, struct storm *s, bool holes)
{
	s->stop = false;
	storm_start(s, &s->converter, "converter", storm_convert);
	if (holes)
		storm_start(s, &s->puncher, "puncher", storm_punch);
	storm_start(s, &s->adder, "adder", storm_add);

	EXPECT_RESULT(0, tdx_task_finish(&s->adder.task));
	__atomic_store_n(&s->stop, true, __ATOMIC_RELEASE);
	EXPECT_RESULT(0, tdx_task_finish(&s->converter.task));
	EXPECT_RESULT(0, tdx_task_finish(&s->puncher.task));
}

TD_TEST_F(storm, pages_are_as_the_history_allows)
{
	struct storm *s = &self->s;
	struct conversion *c = &s->c;
	unsigned int round;

	s->adder.random = tdx_host_seed();
	s->converter.random = s->adder.random + 1;
	s->puncher.random = s->adder.random + 2;
	printf("# seed %lu\n", s->adder.random);

	for (round = 0; round < STORM_ROUNDS && !_metadata->exit_code; round++) {
		storm_run(_metadata, s, variant->holes);
		td_oracle_expect(_metadata, &c->oracle);
		EXPECT_RESULT(0, to_private(c, 0, TD_NR_PAGES));
		td_oracle_expect(_metadata, &c->oracle);
		EXPECT_RESULT(0, td_oracle_punch(&c->oracle, 0, TD_NR_PAGES));
	}

	EXPECT_RESULT(0, add(c, 0, TD_NR_PAGES));
	expect_and_complete(_metadata, c);
}

#include "tdx_init_mem_main.h"
