// SPDX-License-Identifier: GPL-2.0-only
/*
 * Holes in folios of 2 MiB that KVM_TDX_INIT_MEM_REGION has filled, or is filling:
 * every page of a folio lives a life of its own, and the last one frees it.
 */
#include "tdx_init_mem_gmem_td.h"

#define NR_PAGES (2 * FOLIO_PAGES)

/* A hole in populated folios. */
FIXTURE(hole)
{
	struct gmem_td t;
	unsigned int nr_huge;
	u64 hpas[NR_PAGES];
};

/* @left: folios of which a part remains */
FIXTURE_VARIANT(hole)
{
	unsigned int first;
	unsigned int nr;
	unsigned int left;
};

#define HOLE(_name) FIXTURE_VARIANT_ADD(hole, _name)

HOLE(one_page_inside) { 192, 1, 2 };
HOLE(first_page) { 0, 1, 2 };
HOLE(last_page) { 511, 1, 2 };
HOLE(first_half) { 0, 256, 2 };
HOLE(last_half) { 256, 256, 2 };
HOLE(all_but_first) { 1, 511, 2 };
HOLE(all_but_last) { 0, 511, 2 };
HOLE(across_both_folios) { 480, 64, 2 };
HOLE(whole_folio) { 0, 512, 1 };
HOLE(one_folio_and_a_part) { 0, 704, 1 };
HOLE(whole_file) { 0, NR_PAGES, 0 };

FIXTURE_SETUP(hole)
{
	struct gmem_td *t = &self->t;
	unsigned int page;

	if (gmem_td_lacks(true))
		SKIP(return, "%s", gmem_td_lacks(true));

	gmem_folios_create(_metadata, t, &self->nr_huge);
	ASSERT_EQ(0, gmem_add(&t->g, t->td.vcpu, 0, NR_PAGES));
	gmem_expect_nr_huge(_metadata, self->nr_huge, 2);
	for (page = 0; page < NR_PAGES; page++)
		self->hpas[page] = gmem_hpa(&t->g, t->tdr, page);
}

FIXTURE_TEARDOWN(hole)
{
	gmem_folios_destroy(_metadata, &self->t, self->nr_huge);
}

/* The first page of a range that is elsewhere than before. */
static int hole_moved(const FIXTURE_DATA(hole) * self, unsigned int first, unsigned int nr)
{
	unsigned int page;

	for (page = first; page < first + nr; page++) {
		if (gmem_is_used(&self->t.g, page) &&
		    gmem_hpa(&self->t.g, self->t.tdr, page) != self->hpas[page])
			return page;
	}

	return NO_PAGE;
}

/* The first page of a range that a TD still owns. */
static int hole_still_owned(const FIXTURE_DATA(hole) * self, unsigned int first, unsigned int nr)
{
	struct tdx_emul_page owner;
	unsigned int page;

	for (page = first; page < first + nr; page++) {
		if (!gmem_is_used(&self->t.g, page))
			continue;
		if (tdx_emul_page(self->hpas[page], &owner) || owner.type != TDX_PAGE_NDA)
			return page;
	}

	return NO_PAGE;
}

static void hole_expect_others(struct __test_metadata *_metadata, const FIXTURE_DATA(hole) * self,
			       unsigned int first, unsigned int nr)
{
	unsigned int end = first + nr;

	gmem_expect_source(_metadata, &self->t, 0, first);
	gmem_expect_source(_metadata, &self->t, end, NR_PAGES - end);
	EXPECT_EQ(NO_PAGE, hole_moved(self, 0, first));
	EXPECT_EQ(NO_PAGE, hole_moved(self, end, NR_PAGES - end));
}

static void hole_punch(struct __test_metadata *_metadata, FIXTURE_DATA(hole) * self,
		       const FIXTURE_VARIANT(hole) * variant)
{
	struct gmem_td *t = &self->t;

	ASSERT_EQ(0, gmem_punch(&t->g, variant->first, variant->nr));
	gmem_expect_free(_metadata, t, variant->first, variant->nr);
	EXPECT_EQ(NO_PAGE, hole_still_owned(self, variant->first, variant->nr));
	hole_expect_others(_metadata, self, variant->first, variant->nr);
	gmem_expect_nr_huge(_metadata, self->nr_huge, variant->left);
}

/*
 * The second time there is nothing there.  In the folios that stayed, the pages
 * are where they were.
 */
TD_TEST_F(hole, removes_its_pages_only_and_can_be_filled)
{
	struct gmem_td *t = &self->t;
	unsigned int page;

	hole_punch(_metadata, self, variant);
	hole_punch(_metadata, self, variant);

	gmem_fill(&t->g, variant->first, variant->nr, 2);
	EXPECT_RESULT(0, gmem_add(&t->g, t->td.vcpu, variant->first, variant->nr));
	gmem_expect_source(_metadata, t, variant->first, variant->nr);
	gmem_expect_nr_huge(_metadata, self->nr_huge, 2);
	hole_expect_others(_metadata, self, variant->first, variant->nr);
	for (page = 0; page < NR_PAGES; page += FOLIO_PAGES) {
		EXPECT_TRUE(gmem_is_one_folio(&t->g, t->tdr, page, FOLIO_PAGES))
		{
			TH_LOG("pages %u+%u are not in one folio", page, FOLIO_PAGES);
		}
	}
	gmem_td_finalize(_metadata, t);
}

TD_TEST_F(hole, after_finalize_removes_its_pages_only)
{
	gmem_td_finalize(_metadata, &self->t);
	hole_punch(_metadata, self, variant);
	EXPECT_FALSE(vm_tdx_is_dead(self->t.td.vm));
}

/* A folio goes piece by piece: @size pages each, @stride pieces on each time. */
FIXTURE(pieces)
{
	struct gmem_td t;
	unsigned int nr_huge;
};

FIXTURE_VARIANT(pieces)
{
	unsigned int size;
	unsigned int stride;
};

FIXTURE_VARIANT_ADD(pieces, single_pages_in_disorder) { 1, 205 };
FIXTURE_VARIANT_ADD(pieces, of_64_pages_in_disorder) { 64, 3 };
FIXTURE_VARIANT_ADD(pieces, halves) { 256, 1 };

FIXTURE_SETUP(pieces)
{
	if (gmem_td_lacks(true))
		SKIP(return, "%s", gmem_td_lacks(true));

	gmem_folios_create(_metadata, &self->t, &self->nr_huge);
	self->t.g.sparse = false;
}

FIXTURE_TEARDOWN(pieces)
{
	gmem_folios_destroy(_metadata, &self->t, self->nr_huge);
}

TD_TEST_F(pieces, last_one_frees_the_folio)
{
	unsigned int nr = FOLIO_PAGES / variant->size, i;
	struct gmem_td *t = &self->t;

	ASSERT_EQ(0, gmem_add(&t->g, t->td.vcpu, 0, NR_PAGES));
	for (i = 0; i < nr; i++) {
		unsigned int piece = i * variant->stride % nr;

		gmem_expect_nr_huge(_metadata, self->nr_huge, 2);
		ASSERT_EQ(0, gmem_punch(&t->g, piece * variant->size, variant->size));
	}
	gmem_expect_nr_huge(_metadata, self->nr_huge, 1);
	gmem_expect_free(_metadata, t, 0, FOLIO_PAGES);
	gmem_expect_source(_metadata, t, FOLIO_PAGES, FOLIO_PAGES);

	gmem_fill(&t->g, 0, FOLIO_PAGES, 2);
	EXPECT_RESULT(0, gmem_add(&t->g, t->td.vcpu, 0, FOLIO_PAGES));
	gmem_expect_nr_huge(_metadata, self->nr_huge, 2);
	gmem_expect_source(_metadata, t, 0, NR_PAGES);
	gmem_td_finalize(_metadata, t);
}

/* What is freed, and by whom, without variants. */
FIXTURE(freed)
{
	struct gmem_td t;
	unsigned int nr_huge;
};

FIXTURE_SETUP(freed)
{
	if (gmem_td_lacks(true))
		SKIP(return, "%s", gmem_td_lacks(true));

	gmem_folios_create(_metadata, &self->t, &self->nr_huge);
}

FIXTURE_TEARDOWN(freed)
{
	gmem_folios_destroy(_metadata, &self->t, self->nr_huge);
}

/* Pages that nobody has filled do not keep a folio. */
TD_TEST_F(freed, folio_by_hole_at_last_filled_page)
{
	struct gmem_td *t = &self->t;

	ASSERT_EQ(0, gmem_add(&t->g, t->td.vcpu, 32, 1));
	ASSERT_EQ(0, gmem_add(&t->g, t->td.vcpu, 384, 1));
	gmem_expect_nr_huge(_metadata, self->nr_huge, 1);
	ASSERT_EQ(0, gmem_punch(&t->g, 32, 1));
	gmem_expect_nr_huge(_metadata, self->nr_huge, 1);
	gmem_expect_source(_metadata, t, 384, 1);
	ASSERT_EQ(0, gmem_punch(&t->g, 384, 1));
	gmem_expect_nr_huge(_metadata, self->nr_huge, 0);
	gmem_td_finalize(_metadata, t);
}

/* The last of them may be those that the folio begins with. */
TD_TEST_F(freed, folio_by_hole_at_its_beginning)
{
	struct gmem_td *t = &self->t;

	ASSERT_EQ(0, gmem_add(&t->g, t->td.vcpu, 0, 2));
	ASSERT_EQ(0, gmem_add(&t->g, t->td.vcpu, 384, 1));
	ASSERT_EQ(0, gmem_punch(&t->g, 384, 1));
	gmem_expect_nr_huge(_metadata, self->nr_huge, 1);
	gmem_expect_source(_metadata, t, 0, 2);
	ASSERT_EQ(0, gmem_punch(&t->g, 0, 2));
	gmem_expect_nr_huge(_metadata, self->nr_huge, 0);
	gmem_td_finalize(_metadata, t);
}

#define LEAK_ROUNDS 40

/* Gone from the file is not free: each round would lose a folio. */
TD_TEST_F(freed, folios_are_free_memory)
{
	struct gmem_td *t = &self->t;
	unsigned int round, before = 0, after;

	for (round = 0; round <= LEAK_ROUNDS; round++) {
		ASSERT_EQ(0, gmem_add(&t->g, t->td.vcpu, 0, 2));
		ASSERT_EQ(0, gmem_allocate(&t->g, FOLIO_PAGES, FOLIO_PAGES));
		ASSERT_EQ(0, gmem_punch(&t->g, 0, 1));
		ASSERT_EQ(0, gmem_punch(&t->g, 1, FOLIO_PAGES - 1));
		ASSERT_EQ(0, gmem_punch(&t->g, FOLIO_PAGES, FOLIO_PAGES));
		/* The first round brings the page tables. */
		if (!round)
			before = gmem_meminfo("MemFree");
	}
	after = gmem_meminfo("MemFree");
	EXPECT_GT(LEAK_ROUNDS / 2, (int)(before - after))
	{
		TH_LOG("after %u rounds %d folios less are free", LEAK_ROUNDS,
		       (int)(before - after));
	}
}

/*
 * A hole while a page is being populated, which is RACED_PAGE: the TDX module holds
 * the SEAMCALL, or the source page is missing.  A hold ends by itself, since the
 * hole may wait for it with the CPU of the test.
 */
#define RACED_PAGE 64
#define TEST_CPU 0
#define HELD_CPU 1
#define HOLD_MS 200
#define RACED_HOLES 2

enum raced_stop {
	AT_PAGE_ADD,
	IN_PAGE_ADD,
	AT_MR_EXTEND,
	IN_MR_EXTEND,
	AT_SOURCE,
};

static const struct {
	unsigned int action;
	unsigned int leaf;
} raced_stops[] = {
	[AT_PAGE_ADD] = { TDX_EMUL_HOLD_ENTRY, TDH_MEM_PAGE_ADD },
	[IN_PAGE_ADD] = { TDX_EMUL_HOLD_LOCKED, TDH_MEM_PAGE_ADD },
	[AT_MR_EXTEND] = { TDX_EMUL_HOLD_ENTRY, TDH_MR_EXTEND },
	[IN_MR_EXTEND] = { TDX_EMUL_HOLD_LOCKED, TDH_MR_EXTEND },
};

static const char *const raced_names[] = {
	[AT_PAGE_ADD] = "before PAGE.ADD",	[IN_PAGE_ADD] = "in PAGE.ADD",
	[AT_MR_EXTEND] = "before MR.EXTEND",	[IN_MR_EXTEND] = "in MR.EXTEND",
	[AT_SOURCE] = "waiting for its source",
};

struct raced_hole {
	unsigned int first;
	unsigned int nr;
};

struct raced {
	struct gmem_td t;
	unsigned int nr_huge;
	struct tdx_park park;
	struct td_populate populate;
	struct tdx_task puncher;
	const struct raced_hole *holes;
};

FIXTURE(raced)
{
	struct raced r;
};

/* @alone: no other page of the folio is populated */
FIXTURE_VARIANT(raced)
{
	struct raced_hole holes[RACED_HOLES];
	bool alone;
};

#define RACED(_name) FIXTURE_VARIANT_ADD(raced, _name)

#define ALL_OTHERS                                           \
	{ 0, RACED_PAGE },                                   \
	{                                                    \
		RACED_PAGE + 1, FOLIO_PAGES - RACED_PAGE - 1 \
	}

/* clang-format off */
RACED(hole_at_same_page) { { { RACED_PAGE, 1 } }, false };
RACED(hole_at_neighbour) { { { RACED_PAGE + 1, 1 } }, false };
RACED(hole_over_all_others) { { ALL_OTHERS }, false };
RACED(hole_over_folio) { { { 0, FOLIO_PAGES } }, false };
RACED(hole_at_other_folio) { { { FOLIO_PAGES, FOLIO_PAGES } }, false };
RACED(hole_over_empty_others) { { ALL_OTHERS }, true };
/* clang-format on */

FIXTURE_SETUP(raced)
{
	struct raced *r = &self->r;

	if (gmem_td_lacks(true))
		SKIP(return, "%s", gmem_td_lacks(true));
	if (tdx_park_lacks())
		SKIP(return, "%s", tdx_park_lacks());
	if (sysconf(_SC_NPROCESSORS_ONLN) <= HELD_CPU)
		SKIP(return, "one CPU only, which a held call keeps busy");

	tdx_emul_reset();
	tdx_task_pin(TEST_CPU);
	gmem_folios_create(_metadata, &r->t, &r->nr_huge);
	r->holes = variant->holes;
}

FIXTURE_TEARDOWN(raced)
{
	struct raced *r = &self->r;

	tdx_emul_reset();
	tdx_park_destroy(&r->park);
	tdx_task_finish(&r->populate.task);
	tdx_task_finish(&r->puncher);
	gmem_folios_destroy(_metadata, &r->t, r->nr_huge);
}

static int raced_punch_fn(void *arg)
{
	struct raced *r = arg;
	unsigned int i;

	for (i = 0; i < RACED_HOLES && r->holes[i].nr; i++) {
		int err = gmem_punch(&r->t.g, r->holes[i].first, r->holes[i].nr);

		if (err)
			return err;
	}

	return 0;
}

static int raced_populate_fn(void *arg)
{
	tdx_task_pin(HELD_CPU);
	return td_populate_fn(arg);
}

/* Until populate stands where it is to stand, or could not. */
static bool raced_stop(struct raced *r, enum raced_stop stop)
{
	struct kvm_tdx_init_mem_region *region = &r->populate.region;
	const struct tdx_emul_rule rule = {
		.action = raced_stops[stop].action,
		.leaf = raced_stops[stop].leaf,
		.tdr = r->t.tdr,
		.count = 1,
		.timeout_ms = HOLD_MS,
	};
	u64 id = 0;

	r->populate.vcpu = r->t.td.vcpu;
	r->populate.argument = region;
	r->populate.flags = KVM_TDX_MEASURE_MEMORY_REGION;
	*region = (struct kvm_tdx_init_mem_region) {
		.source_addr = (uintptr_t)gmem_source(&r->t.g, RACED_PAGE),
		.gpa = gmem_gpa(&r->t.g, RACED_PAGE),
		.nr_pages = 1,
	};

	if (stop == AT_SOURCE) {
		tdx_park_init(&r->park, 1, 0);
		memcpy(r->park.content, gmem_source(&r->t.g, RACED_PAGE), PAGE_SIZE);
		region->source_addr = (uintptr_t)r->park.page;
	} else if (tdx_emul_arm(&rule, &id)) {
		return false;
	}

	tdx_task_start(&r->populate.task, "populate", raced_populate_fn, &r->populate);
	return stop == AT_SOURCE ? tdx_park_wait(&r->park) : tdx_emul_wait_held(id, 1);
}

static bool raced_is_punched(const struct raced *r, unsigned int page)
{
	unsigned int i;

	for (i = 0; i < RACED_HOLES; i++) {
		if (page >= r->holes[i].first && page < r->holes[i].first + r->holes[i].nr)
			return true;
	}

	return false;
}

/* All pages but one are there iff no hole was there; that one may be if it came last. */
static void raced_expect(struct __test_metadata *_metadata, const struct raced *r, bool alone)
{
	const struct gmem *g = &r->t.g;
	bool punched = raced_is_punched(r, RACED_PAGE);
	unsigned int page;

	for (page = 0; page < NR_PAGES; page++) {
		if (!gmem_is_used(g, page))
			continue;

		bool same = gmem_not_source(g, r->t.tdr, page, 1) == NO_PAGE;
		bool free = !same && gmem_not_free(g, r->t.tdr, page, 1) == NO_PAGE;
		bool want = !alone && !raced_is_punched(r, page);

		if (page == RACED_PAGE)
			want = punched ? same : true;
		EXPECT_TRUE(want ? same : free)
		{
			TH_LOG("page %u: want it %s; it is %s", page, want ? "mapped" : "removed",
			       same ? "mapped" :
			       free ? "removed" :
				      "something else");
		}
	}
}

static void raced_run(struct __test_metadata *_metadata, struct raced *r, enum raced_stop stop,
		      bool alone)
{
	struct gmem_td *t = &r->t;
	bool there;

	if (!alone) {
		ASSERT_EQ(0, gmem_add(&t->g, t->td.vcpu, 0, RACED_PAGE));
		ASSERT_EQ(0,
			  gmem_add(&t->g, t->td.vcpu, RACED_PAGE + 1, NR_PAGES - RACED_PAGE - 1));
	}

	ASSERT_TRUE(raced_stop(r, stop));
	tdx_task_start(&r->puncher, "puncher", raced_punch_fn, r);
	if (stop == AT_SOURCE) {
		td_report_settled(&r->puncher, tdx_task_settle(&r->puncher));
		tdx_park_release(&r->park);
	}
	EXPECT_RESULT(0, tdx_task_finish(&r->puncher));
	EXPECT_EQ(0, tdx_task_finish(&r->populate.task))
	{
		TH_LOG("populate %s while a hole was punched", raced_names[stop]);
	}

	raced_expect(_metadata, r, alone);

	/* The page can be had again, whatever is left of the folio. */
	there = gmem_not_mapped(&t->g, t->tdr, RACED_PAGE, 1) == NO_PAGE;
	ASSERT_EQ(0, gmem_punch(&t->g, RACED_PAGE, 1));
	gmem_fill(&t->g, RACED_PAGE, 1, 2);
	EXPECT_EQ(0, gmem_add(&t->g, t->td.vcpu, RACED_PAGE, 1))
	{
		TH_LOG("page %u, %s after the race", RACED_PAGE, there ? "mapped" : "removed");
	}
	raced_expect(_metadata, r, alone);
	gmem_td_finalize(_metadata, t);
}

TD_TEST_F(raced, before_page_add_ok)
{
	raced_run(_metadata, &self->r, AT_PAGE_ADD, variant->alone);
}

TD_TEST_F(raced, in_page_add_ok)
{
	raced_run(_metadata, &self->r, IN_PAGE_ADD, variant->alone);
}

TD_TEST_F(raced, before_measuring_ok)
{
	raced_run(_metadata, &self->r, AT_MR_EXTEND, variant->alone);
}

TD_TEST_F(raced, while_measuring_ok)
{
	raced_run(_metadata, &self->r, IN_MR_EXTEND, variant->alone);
}

TD_TEST_F(raced, while_source_is_missing_ok)
{
	raced_run(_metadata, &self->r, AT_SOURCE, variant->alone);
}

#include "tdx_init_mem_main.h"
