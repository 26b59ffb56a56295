/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Each kind of memory as a source: those that can be read have their contents in the TD
 * and are let go of, those that cannot stop populate at their first page.
 */
#ifndef TDX_INIT_MEM_SOURCE_KINDS_H
#define TDX_INIT_MEM_SOURCE_KINDS_H

#include "tdx_init_mem_source_populate.h"
#include "tdx/tdx_memcg.h"

/* What a page can be read from. */
FIXTURE(kind)
{
	struct source s;
};

/*
 * @flags:	what the kernel calls such pages, or they are not of the kind
 */
FIXTURE_VARIANT(kind)
{
	source_make_fn *make;
	u64 flags;
};

/* clang-format off */
#define KIND(_name, _flags) FIXTURE_VARIANT_ADD(kind, _name) { source_##_name, _flags }
	/* clang-format on */

#define KPF(_flag) BIT_ULL(KPF_##_flag)

KIND(anonymous, KPF(ANON));
KIND(never_written, KPF(ZERO_PAGE));
KIND(huge, KPF(ANON) | KPF(THP));
KIND(huge_never_written, KPF(ZERO_PAGE));
KIND(hugetlb, KPF(HUGE));
KIND(shmem, KPF(SWAPBACKED));
KIND(memfd_sealed, KPF(SWAPBACKED));
KIND(tmpfs_shared, KPF(SWAPBACKED));
KIND(tmpfs_private, KPF(SWAPBACKED));
KIND(tmpfs_private_written, KPF(SWAPBACKED));
KIND(file_ends_in_last_page, KPF(SWAPBACKED));
KIND(read_only, KPF(ANON));
KIND(executable, 0);
KIND(same_page, KPF(SWAPBACKED));
KIND(two_mappings, KPF(SWAPBACKED));
KIND(shared_half, KPF(ANON));
KIND(forked, KPF(ANON));
KIND(write_protected, KPF(ANON));
KIND(swapped_out, KPF(ANON));
KIND(guest_memfd, 0);

FIXTURE_SETUP(kind)
{
	const char *lack = source_begin(&self->s, variant->make);

	if (lack)
		SKIP(return, "%s", lack);
}

FIXTURE_TEARDOWN(kind)
{
	source_end(&self->s);
	td_audit(_metadata);
}

static void kind_expect(struct __test_metadata *_metadata, const struct source *s, u64 flags)
{
	unsigned int page;
	u64 got;

	for (page = 0; page < SOURCE_PAGES; page++) {
		got = source_page_flags(s, page);
		EXPECT_TRUE(!got || (got & flags) == flags)
		{
			TH_LOG("page %u of the source: want 0x%lx in kpageflags, got 0x%lx", page,
			       flags, got);
		}
	}
}

TD_TEST_F(kind, contents_are_those_of_the_source)
{
	struct kvm_tdx_init_mem_region region;

	EXPECT_EQ(0, source_populate(&self->s, &region))
	{
		TH_LOG("page %lld of the source: %s", SOURCE_PAGES - region.nr_pages,
		       tdx_errno_name(errno));
	}
	source_expect_progress(_metadata, &self->s, &region, SOURCE_PAGES);
	source_expect(_metadata, &self->s, SOURCE_PAGES);
	kind_expect(_metadata, &self->s, variant->flags);
	td_complete(_metadata, &self->s.td);
}

/*
 * What is not held on to.  Zero pages are nobody's, those of a program are charged
 * to whoever ran it first, the memory of the slot stays, and one page for all is
 * too few to be missed.
 */
FIXTURE(let_go)
{
	struct source s;
	struct tdx_memcg memcg;
};

/*
 * @in_use:	pages in use, to which each one is added that is held on to
 */
FIXTURE_VARIANT(let_go)
{
	source_make_fn *make;
	long (*in_use)(const struct tdx_memcg *memcg);
};

static long hugetlb_in_use(const struct tdx_memcg __always_unused *memcg)
{
	long pages = source_read_number(SOURCE_HUGETLB "nr_hugepages") -
		     source_read_number(SOURCE_HUGETLB "free_hugepages");

	return pages * (SOURCE_HUGE_SIZE / PAGE_SIZE);
}

/* clang-format off */
#define LET_GO(_name, _in_use)							\
	FIXTURE_VARIANT_ADD(let_go, _name) { source_##_name, _in_use }
/* clang-format on */

LET_GO(anonymous, tdx_memcg_pages);
LET_GO(huge, tdx_memcg_pages);
LET_GO(hugetlb, hugetlb_in_use);
LET_GO(shmem, tdx_memcg_pages);
LET_GO(tmpfs_shared, tdx_memcg_pages);
LET_GO(tmpfs_private_written, tdx_memcg_pages);
LET_GO(two_mappings, tdx_memcg_pages);
LET_GO(forked, tdx_memcg_pages);
LET_GO(write_protected, tdx_memcg_pages);
LET_GO(swapped_out, tdx_memcg_pages);
LET_GO(guest_memfd, tdx_memcg_pages);

FIXTURE_SETUP(let_go)
{
	const char *lack;

	/* A memory cgroup has pages in store for each CPU. */
	tdx_task_pin(0);
	if (!tdx_memcg_enter(&self->memcg))
		SKIP(return, "no memory cgroup to be had");

	lack = source_begin(&self->s, variant->make);
	if (lack)
		SKIP(tdx_memcg_leave(&self->memcg); return, "%s", lack);
}

FIXTURE_TEARDOWN(let_go)
{
	source_end(&self->s);
	tdx_memcg_leave(&self->memcg);
	td_audit(_metadata);
}

/* One page of each call held on to is twice as many as are too many. */
#define LET_GO_ROUNDS 64
#define LET_GO_PAGES 2
#define LET_GO_LIMIT (LET_GO_ROUNDS * SOURCE_PAGES / LET_GO_PAGES / 2)

TD_TEST_F(let_go, however_often)
{
	struct kvm_tdx_init_mem_region region;
	struct source *s = &self->s;
	unsigned int round, page;
	long before = 0, more;

	for (round = 0; round <= LET_GO_ROUNDS; round++) {
		source_unmake(s);
		if (round == 1)
			before = variant->in_use(&self->memcg);
		ASSERT_EQ(NULL, variant->make(s));
		for (page = 0; page < SOURCE_PAGES; page += LET_GO_PAGES)
			ASSERT_EQ(0, source_populate_some(s, &region, page, LET_GO_PAGES));
		ASSERT_EQ(0, td_punch(&s->td, 0, SOURCE_PAGES));
	}

	source_unmake(s);
	more = variant->in_use(&self->memcg) - before;
	printf("# %ld pages more are in use\n", more);
	EXPECT_GT(LET_GO_LIMIT, more)
	{
		TH_LOG("%d sources of %d pages are gone, %ld pages more are in use", LET_GO_ROUNDS,
		       SOURCE_PAGES, more);
	}
}

/* What a page cannot be read from; the pages before it are added. */
FIXTURE(unfit)
{
	struct source s;
};

FIXTURE_VARIANT(unfit)
{
	source_make_fn *make;
};

/* clang-format off */
#define UNFIT(_name) FIXTURE_VARIANT_ADD(unfit, _name) { source_##_name }
/* clang-format on */

UNFIT(unmapped);
UNFIT(no_access);
UNFIT(guard);
UNFIT(past_end_of_file);
UNFIT(truncated);

FIXTURE_SETUP(unfit)
{
	const char *lack = source_begin(&self->s, variant->make);

	if (lack)
		SKIP(return, "%s", lack);
}

FIXTURE_TEARDOWN(unfit)
{
	source_end(&self->s);
	td_audit(_metadata);
}

TD_TEST_F(unfit, stops_there_with_efault)
{
	struct kvm_tdx_init_mem_region region;
	struct source *s = &self->s;

	EXPECT_RESULT(-EFAULT, source_populate(s, &region));
	source_expect_progress(_metadata, s, &region, SOURCE_SEAM);
	source_expect(_metadata, s, SOURCE_SEAM);

	/* Any other source may go on where this one ends. */
	region.source_addr = (uintptr_t)td_source(&s->td, SOURCE_SEAM);
	EXPECT_EQ(0, __vm_tdx_init_mem_region(s->td.vcpu, &region, 0))
	{
		TH_LOG("resuming from another source: %s", tdx_errno_name(errno));
	}
	memcpy(s->content + SOURCE_SEAM * PAGE_SIZE, td_source(&s->td, SOURCE_SEAM),
	       (SOURCE_PAGES - SOURCE_SEAM) * PAGE_SIZE);
	source_expect(_metadata, s, SOURCE_PAGES);
	td_complete(_metadata, &s->td);
}

#endif /* TDX_INIT_MEM_SOURCE_KINDS_H */
