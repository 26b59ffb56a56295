/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Holes and populate one after the other: exactly the pages of a hole go, and can be
 * added again.
 */
#ifndef TDX_INIT_MEM_PUNCH_HOLE_SINGLE_H
#define TDX_INIT_MEM_PUNCH_HOLE_SINGLE_H

#include "tdx_init_mem.h"
#include "tdx/tdx_memcg.h"

FIXTURE(hole)
{
	struct td td;
};

FIXTURE_SETUP(hole)
{
	td_create(&self->td);
}

FIXTURE_TEARDOWN(hole)
{
	td_destroy(&self->td);
	td_audit(_metadata);
}

/* Pages of [first, first + nr) were punched, all others are mapped. */
static void hole_expect(struct __test_metadata *_metadata, struct td *td, unsigned int first,
			unsigned int nr)
{
	unsigned int page;

	for (page = 0; page < TD_NR_PAGES; page++) {
		bool punched = page >= first && page < first + nr;
		enum td_page want = punched ? TD_PAGE_WAS_EMPTY : TD_PAGE_WAS_MAPPED;
		enum td_page got = td_probe(td, page);

		EXPECT_EQ(want, got)
		{
			TH_LOG("page %u after a hole at %u+%u: want %s, got %s", page, first, nr,
			       td_page_name(want), td_page_name(got));
		}
	}
}

TD_TEST_F(hole, in_unpopulated_file_ok)
{
	EXPECT_RESULT(0, td_punch(&self->td, 0, TD_NR_PAGES));
	ASSERT_EQ(0, td_add(&self->td, 0, TD_NR_PAGES));
	td_complete(_metadata, &self->td);
}

TD_TEST_F(hole, unmaps_its_pages_only)
{
	ASSERT_EQ(0, td_add(&self->td, 0, TD_NR_PAGES));
	EXPECT_RESULT(0, td_punch(&self->td, 5, 3));
	hole_expect(_metadata, &self->td, 5, 3);
	td_complete(_metadata, &self->td);
}

TD_TEST_F(hole, over_whole_file_unmaps_all)
{
	ASSERT_EQ(0, td_add(&self->td, 0, TD_NR_PAGES));
	EXPECT_RESULT(0, td_punch(&self->td, 0, TD_NR_PAGES));
	hole_expect(_metadata, &self->td, 0, TD_NR_PAGES);
	td_complete(_metadata, &self->td);
}

TD_TEST_F(hole, twice_ok)
{
	ASSERT_EQ(0, td_add(&self->td, 0, TD_NR_PAGES));
	EXPECT_RESULT(0, td_punch(&self->td, 2, 1));
	EXPECT_RESULT(0, td_punch(&self->td, 2, 1));
	hole_expect(_metadata, &self->td, 2, 1);
	td_complete(_metadata, &self->td);
}

/* A page that somebody forgot to let go of stays charged. */
#define GIVE_BACK_ROUNDS 32

TD_TEST_F(hole, gives_its_pages_back)
{
	unsigned int round, nr_pages = GIVE_BACK_ROUNDS * TD_NR_PAGES;
	struct tdx_memcg memcg;
	long before = 0, more;

	if (!tdx_memcg_enter(&memcg))
		SKIP(return, "no memory cgroup to be had");

	for (round = 0; round <= GIVE_BACK_ROUNDS; round++) {
		if (round == 1)
			before = tdx_memcg_pages(&memcg);
		ASSERT_EQ(0, td_add(&self->td, 0, TD_NR_PAGES));
		ASSERT_EQ(0, td_punch(&self->td, 0, TD_NR_PAGES));
	}

	more = tdx_memcg_pages(&memcg) - before;
	EXPECT_GT(nr_pages / 2, more)
	{
		TH_LOG("%u pages were added and punched, %ld more are in use", nr_pages, more);
	}
	tdx_memcg_leave(&memcg);
	td_complete(_metadata, &self->td);
}

TD_TEST_F(hole, after_finalize_ok)
{
	ASSERT_EQ(0, td_add(&self->td, 0, TD_NR_PAGES));
	vm_tdx_finalize(self->td.vm);
	EXPECT_RESULT(0, td_punch(&self->td, 2, 4));
	EXPECT_RESULT(-EINVAL, td_add(&self->td, 2, 1));
	EXPECT_FALSE(vm_tdx_is_dead(self->td.vm));
}

#endif /* TDX_INIT_MEM_PUNCH_HOLE_SINGLE_H */
