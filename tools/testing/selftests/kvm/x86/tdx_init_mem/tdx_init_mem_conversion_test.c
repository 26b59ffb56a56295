// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_SET_MEMORY_ATTRIBUTES against KVM_TDX_INIT_MEM_REGION.  A page that becomes
 * shared leaves the TD, and none is added while it is; to be private again is to be
 * allowed to be added again.  Whatever the order, a shared page is never mapped.
 */
#include "tdx_init_mem.h"
#include "tdx_init_mem_oracle.h"

#define OTHER_SLOT (TD_SLOT + 1)
#define OTHER_PAGES 4
/* Right behind the first slot, in terms of its pages. */
#define OTHER_FIRST TD_NR_PAGES
#define NO_SLOT_FIRST (OTHER_FIRST + 2 * OTHER_PAGES)

struct conversion {
	struct td td;
	struct td_slot other;
	struct td_oracle oracle;
};

static void conversion_create(struct conversion *c)
{
	td_create(&c->td);
	td_slot_create(&c->other, &c->td, OTHER_SLOT, td_gpa(OTHER_FIRST), OTHER_PAGES);
	td_oracle_init(&c->oracle, &c->td);
}

static void conversion_destroy(struct conversion *c)
{
	td_destroy(&c->td);
	td_slot_free(&c->other);
}

static int to_shared(struct conversion *c, unsigned int page, unsigned int nr)
{
	return td_oracle_convert(&c->oracle, page, nr, false);
}

static int to_private(struct conversion *c, unsigned int page, unsigned int nr)
{
	return td_oracle_convert(&c->oracle, page, nr, true);
}

static int add(struct conversion *c, unsigned int page, unsigned int nr)
{
	return td_oracle_add(&c->oracle, page, nr);
}

/*
 * What populate says to a page that was in the TD.  Up to 6.19 to have been is as
 * good as to be, until there is a hole.
 */
static const struct tdx_errno again_errno[TDX_ERRNO_MAX] = {
	TDX_ERRNO(EEXIST),
	TDX_ERRNO_SINCE(7, 0, TDX_NO_ERROR),
};
static const struct tdx_errno again_shared_errno[TDX_ERRNO_MAX] = {
	TDX_ERRNO(EEXIST),
	TDX_ERRNO_SINCE(7, 0, EINVAL),
};

static void expect_errno(struct __test_metadata *_metadata, const struct tdx_errno *errs, int r,
			 const char *what)
{
	EXPECT_TRUE(tdx_errno_allows(errs, -r))
	{
		TH_LOG("INIT_MEM_REGION of a page that %s: want %s, got %s", what,
		       tdx_errno_name(tdx_errno_wanted(errs)), tdx_errno_name(r));
	}
}

/* The pages are what they may be, also if all are private; and each can be had. */
static void expect_and_complete(struct __test_metadata *_metadata, struct conversion *c)
{
	td_oracle_expect(_metadata, &c->oracle);
	EXPECT_EQ(0, to_private(c, 0, TD_NR_PAGES));
	td_oracle_expect(_metadata, &c->oracle);
	EXPECT_FALSE(vm_tdx_is_dead(c->td.vm));
	td_complete(_metadata, &c->td);
}

/* One thing after the other. */
FIXTURE(conversion)
{
	struct conversion c;
};

FIXTURE_SETUP(conversion)
{
	conversion_create(&self->c);
}

FIXTURE_TEARDOWN(conversion)
{
	conversion_destroy(&self->c);
	td_audit(_metadata);
}

TD_TEST_F(conversion, to_shared_unmaps_its_pages_only)
{
	struct conversion *c = &self->c;

	ASSERT_EQ(0, add(c, 0, TD_NR_PAGES));
	EXPECT_EQ(0, to_shared(c, 5, 3));
	expect_and_complete(_metadata, c);
}

TD_TEST_F(conversion, to_shared_of_partly_populated_range_ok)
{
	struct conversion *c = &self->c;

	ASSERT_EQ(0, add(c, 0, 4));
	ASSERT_EQ(0, add(c, 8, 2));
	EXPECT_EQ(0, to_shared(c, 2, 7));
	td_oracle_expect(_metadata, &c->oracle);

	/* What never was there can be added after that, as if nothing had been. */
	EXPECT_EQ(0, to_private(c, 2, 7));
	EXPECT_EQ(0, add(c, 4, 4));
	expect_and_complete(_metadata, c);
}

/* Only what was shared changes, and that is not mapped. */
TD_TEST_F(conversion, to_private_of_mixed_range_unmaps_nothing)
{
	struct conversion *c = &self->c;

	ASSERT_EQ(0, add(c, 0, 8));
	ASSERT_EQ(0, to_shared(c, 4, 2));
	EXPECT_EQ(0, to_private(c, 0, TD_NR_PAGES));
	expect_and_complete(_metadata, c);
}

TD_TEST_F(conversion, shared_page_is_refused)
{
	struct conversion *c = &self->c;

	ASSERT_EQ(0, add(c, 0, 1));
	ASSERT_EQ(0, to_shared(c, 0, 2));
	EXPECT_EQ(-EINVAL, add(c, 1, 1));
	expect_errno(_metadata, again_shared_errno, add(c, 0, 1), "was added and is shared");
	expect_and_complete(_metadata, c);
}

TD_TEST_F(conversion, page_is_added_again_after_there_and_back)
{
	struct conversion *c = &self->c;

	ASSERT_EQ(0, add(c, 0, 2));
	ASSERT_EQ(0, to_shared(c, 0, 2));
	ASSERT_EQ(0, to_private(c, 0, 2));
	expect_errno(_metadata, again_errno, add(c, 0, 1), "was added, shared, and is private");
	td_oracle_expect(_metadata, &c->oracle);

	ASSERT_EQ(0, td_oracle_punch(&c->oracle, 0, 2));
	EXPECT_EQ(0, add(c, 0, 2));
	expect_and_complete(_metadata, c);
}

/* The shared half is not that of populate; what is written there does not matter. */
TD_TEST_F(conversion, added_again_it_has_the_new_contents)
{
	struct conversion *c = &self->c;

	ASSERT_EQ(0, add(c, 0, 2));
	ASSERT_EQ(0, to_shared(c, 0, 2));
	memset(c->td.shared, 0xee, TD_SIZE);
	ASSERT_EQ(0, to_private(c, 0, 2));
	ASSERT_EQ(0, td_oracle_punch(&c->oracle, 0, 2));
	memset(c->td.source, 0x77, 2 * PAGE_SIZE);
	EXPECT_EQ(0, add(c, 0, 2));
	expect_and_complete(_metadata, c);
}

TD_TEST_F(conversion, of_another_slot_unmaps_that_only)
{
	struct conversion *c = &self->c;
	unsigned int page;

	ASSERT_EQ(0, add(c, 0, TD_NR_PAGES));
	ASSERT_EQ(0, td_add(&c->td, OTHER_FIRST, OTHER_PAGES));
	EXPECT_EQ(0, to_shared(c, OTHER_FIRST + 1, OTHER_PAGES - 1));
	for (page = OTHER_FIRST + 1; page < OTHER_FIRST + OTHER_PAGES; page++)
		expect_errno(_metadata, again_shared_errno, td_add(&c->td, page, 1),
			     "was added and is shared");
	EXPECT_EQ(TD_PAGE_WAS_MAPPED, td_probe(&c->td, OTHER_FIRST));
	expect_and_complete(_metadata, c);
}

TD_TEST_F(conversion, over_two_slots_unmaps_both)
{
	unsigned int nr = TD_NR_PAGES / 2 + OTHER_PAGES / 2;
	struct conversion *c = &self->c;

	ASSERT_EQ(0, add(c, 0, TD_NR_PAGES));
	ASSERT_EQ(0, td_add(&c->td, OTHER_FIRST, OTHER_PAGES));
	EXPECT_EQ(0, to_shared(c, TD_NR_PAGES / 2, nr));
	expect_errno(_metadata, again_shared_errno, td_add(&c->td, OTHER_FIRST, 1),
		     "was added and is shared");
	EXPECT_EQ(TD_PAGE_WAS_MAPPED, td_probe(&c->td, OTHER_FIRST + OTHER_PAGES - 1));
	expect_and_complete(_metadata, c);
}

/* Attributes are of addresses; a slot comes to have them. */
TD_TEST_F(conversion, without_slot_is_remembered)
{
	struct conversion *c = &self->c;
	struct td_slot slot;

	EXPECT_EQ(0, to_private(c, NO_SLOT_FIRST, OTHER_PAGES));
	EXPECT_EQ(0, to_shared(c, NO_SLOT_FIRST + 1, 1));

	slot.size = OTHER_PAGES * PAGE_SIZE;
	slot.shared = td_mmap(slot.size);
	slot.gmem = vm_create_guest_memfd(c->td.vm, slot.size, 0);
	vm_set_user_memory_region2(c->td.vm, OTHER_SLOT + 1, KVM_MEM_GUEST_MEMFD,
				   td_gpa(NO_SLOT_FIRST), slot.size, slot.shared, slot.gmem, 0);
	EXPECT_EQ(0, td_add(&c->td, NO_SLOT_FIRST, 1));
	EXPECT_EQ(-EINVAL, td_add(&c->td, NO_SLOT_FIRST + 1, 1));
	expect_and_complete(_metadata, c);
	td_slot_free(&slot);
}

/* A conversion that is refused changes neither pages nor attributes. */
TD_TEST_F(conversion, refused_changes_nothing)
{
	static const struct {
		const char *name;
		struct kvm_memory_attributes argument;
	} rows[] = {
		{ "an unaligned address", { .address = TD_GPA + 1, .size = PAGE_SIZE } },
		{ "an unaligned size", { .address = TD_GPA, .size = PAGE_SIZE + 1 } },
		{ "a size of zero", { .address = TD_GPA, .size = 0 } },
		{ "a range that wraps", { .address = TD_GPA, .size = -(u64)PAGE_SIZE } },
		{ "an unknown attribute",
		  { .address = TD_GPA, .size = PAGE_SIZE, .attributes = 1 } },
		{ "an unknown flag", { .address = TD_GPA, .size = PAGE_SIZE, .flags = 1 } },
	};
	struct conversion *c = &self->c;
	unsigned int i;

	ASSERT_EQ(0, add(c, 0, 2));
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct kvm_memory_attributes argument = rows[i].argument;

		int r = __vm_ioctl(c->td.vm, KVM_SET_MEMORY_ATTRIBUTES, &argument);

		EXPECT_TRUE(r && errno == EINVAL)
		{
			TH_LOG("KVM_SET_MEMORY_ATTRIBUTES with %s: want EINVAL, got %s",
			       rows[i].name, tdx_errno_name(r ? errno : 0));
		}
	}
	/* Still private. */
	EXPECT_EQ(0, add(c, 2, 1));
	expect_and_complete(_metadata, c);
}

/* The image is fixed, its pages are not: they go, and empty ones may come back. */
TD_TEST_F(conversion, after_finalize_unmaps_for_good)
{
	struct kvm_pre_fault_memory range = { .gpa = td_gpa(1), .size = PAGE_SIZE };
	struct conversion *c = &self->c;
	struct tdx_emul_sept sept;

	ASSERT_EQ(0, add(c, 0, 4));
	vm_tdx_finalize(c->td.vm);
	EXPECT_EQ(0, to_shared(c, 1, 2));
	if (c->oracle.tdr)
		td_oracle_expect(_metadata, &c->oracle);
	EXPECT_EQ(-EINVAL, add(c, 1, 1));
	EXPECT_EQ(0, to_private(c, 1, 2));
	EXPECT_EQ(-EINVAL, add(c, 1, 1));
	if (c->oracle.tdr)
		td_oracle_expect(_metadata, &c->oracle);

	EXPECT_EQ(0, __vcpu_ioctl(c->td.vcpu, KVM_PRE_FAULT_MEMORY, &range));
	if (c->oracle.tdr) {
		EXPECT_EQ(0, tdx_emul_sept(c->oracle.tdr, td_gpa(1), 0, &sept));
		EXPECT_EQ(TDX_SEPT_PENDING, sept.state);
	}
	EXPECT_FALSE(vm_tdx_is_dead(c->td.vm));
}

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
	EXPECT_EQ(0, tdx_task_finish(&race->task));
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

	EXPECT_EQ(0, tdx_emul_release(self->rule));
	r = tdx_task_finish(&race->populate.task);
	EXPECT_EQ(0, tdx_task_finish(&race->task));
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

	EXPECT_EQ(0, tdx_task_finish(&s->adder.task));
	__atomic_store_n(&s->stop, true, __ATOMIC_RELEASE);
	EXPECT_EQ(0, tdx_task_finish(&s->converter.task));
	EXPECT_EQ(0, tdx_task_finish(&s->puncher.task));
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
		EXPECT_EQ(0, to_private(c, 0, TD_NR_PAGES));
		td_oracle_expect(_metadata, &c->oracle);
		EXPECT_EQ(0, td_oracle_punch(&c->oracle, 0, TD_NR_PAGES));
	}

	EXPECT_EQ(0, add(c, 0, TD_NR_PAGES));
	expect_and_complete(_metadata, c);
}

#include "tdx_init_mem_main.h"
