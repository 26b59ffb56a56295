/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Conversions and populate one after the other: exactly what each does to pages,
 * attributes and what is said afterwards.
 */
#ifndef TDX_INIT_MEM_CONVERSION_SINGLE_H
#define TDX_INIT_MEM_CONVERSION_SINGLE_H

#include "tdx_init_mem_conversion.h"

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
	EXPECT_RESULT(0, to_shared(c, 5, 3));
	expect_and_complete(_metadata, c);
}

TD_TEST_F(conversion, to_shared_of_partly_populated_range_ok)
{
	struct conversion *c = &self->c;

	ASSERT_EQ(0, add(c, 0, 4));
	ASSERT_EQ(0, add(c, 8, 2));
	EXPECT_RESULT(0, to_shared(c, 2, 7));
	td_oracle_expect(_metadata, &c->oracle);

	/* What never was there can be added after that, as if nothing had been. */
	EXPECT_RESULT(0, to_private(c, 2, 7));
	EXPECT_RESULT(0, add(c, 4, 4));
	expect_and_complete(_metadata, c);
}

/* Only what was shared changes, and that is not mapped. */
TD_TEST_F(conversion, to_private_of_mixed_range_unmaps_nothing)
{
	struct conversion *c = &self->c;

	ASSERT_EQ(0, add(c, 0, 8));
	ASSERT_EQ(0, to_shared(c, 4, 2));
	EXPECT_RESULT(0, to_private(c, 0, TD_NR_PAGES));
	expect_and_complete(_metadata, c);
}

TD_TEST_F(conversion, shared_page_is_refused)
{
	struct conversion *c = &self->c;

	ASSERT_EQ(0, add(c, 0, 1));
	ASSERT_EQ(0, to_shared(c, 0, 2));
	EXPECT_RESULT(-EINVAL, add(c, 1, 1));
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
	EXPECT_RESULT(0, add(c, 0, 2));
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
	EXPECT_RESULT(0, add(c, 0, 2));
	expect_and_complete(_metadata, c);
}

TD_TEST_F(conversion, of_another_slot_unmaps_that_only)
{
	struct conversion *c = &self->c;
	unsigned int page;

	ASSERT_EQ(0, add(c, 0, TD_NR_PAGES));
	ASSERT_EQ(0, td_add(&c->td, OTHER_FIRST, OTHER_PAGES));
	EXPECT_RESULT(0, to_shared(c, OTHER_FIRST + 1, OTHER_PAGES - 1));
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
	EXPECT_RESULT(0, to_shared(c, TD_NR_PAGES / 2, nr));
	expect_errno(_metadata, again_shared_errno, td_add(&c->td, OTHER_FIRST, 1),
		     "was added and is shared");
	EXPECT_EQ(TD_PAGE_WAS_MAPPED, td_probe(&c->td, OTHER_FIRST + OTHER_PAGES - 1));
	expect_and_complete(_metadata, c);
}

/* KVM keeps books of each 2 MiB of a slot: on those of both ends, and of none between. */
#define WIDE_GPA (2 * TD_GPA)
#define WIDE_PAGES (4 * 512u)
#define WIDE_FIRST 300u
#define WIDE_NR (2 * 512u)

TD_TEST_F(conversion, across_2m_unmaps_its_pages_only)
{
	static const unsigned int pages[] = {
		0,
		WIDE_FIRST - 1,
		WIDE_FIRST,
		511,
		512,
		WIDE_PAGES / 2,
		WIDE_FIRST + WIDE_NR - 1,
		WIDE_FIRST + WIDE_NR,
		WIDE_PAGES - 1,
	};
	struct conversion *c = &self->c;
	struct td_slot slot;
	unsigned int i;

	td_slot_create(&slot, &c->td, OTHER_SLOT + 1, WIDE_GPA, WIDE_PAGES);
	for (i = 0; i < ARRAY_SIZE(pages); i++)
		ASSERT_EQ(0, td_slot_add(&c->td, &slot, pages[i]));

	vm_mem_set_shared(c->td.vm, WIDE_GPA + WIDE_FIRST * PAGE_SIZE, WIDE_NR * PAGE_SIZE);
	for (i = 0; i < ARRAY_SIZE(pages); i++) {
		bool shared = pages[i] >= WIDE_FIRST && pages[i] < WIDE_FIRST + WIDE_NR;
		int r = td_slot_add(&c->td, &slot, pages[i]);

		EXPECT_TRUE(shared ? tdx_errno_allows(again_shared_errno, -r) :
				     td_says_mapped(&c->td, r))
		{
			TH_LOG("page %u, %u+%u are shared: adding it again says %s", pages[i],
			       WIDE_FIRST, WIDE_NR, tdx_errno_name(r));
		}
	}

	vm_mem_set_private(c->td.vm, WIDE_GPA + WIDE_FIRST * PAGE_SIZE, WIDE_NR * PAGE_SIZE);
	for (i = 0; i < ARRAY_SIZE(pages); i++) {
		if (pages[i] >= WIDE_FIRST && pages[i] < WIDE_FIRST + WIDE_NR)
			expect_errno(_metadata, again_errno, td_slot_add(&c->td, &slot, pages[i]),
				     "was added, shared and made private");
	}
	td_complete(_metadata, &c->td);
	td_slot_free(&slot);
}

/* Attributes are of addresses; a slot comes to have them. */
TD_TEST_F(conversion, without_slot_is_remembered)
{
	struct conversion *c = &self->c;
	struct td_slot slot;

	EXPECT_RESULT(0, to_private(c, NO_SLOT_FIRST, OTHER_PAGES));
	EXPECT_RESULT(0, to_shared(c, NO_SLOT_FIRST + 1, 1));

	slot.size = OTHER_PAGES * PAGE_SIZE;
	slot.shared = td_mmap(slot.size);
	slot.gmem = vm_create_guest_memfd(c->td.vm, slot.size, 0);
	vm_set_user_memory_region2(c->td.vm, OTHER_SLOT + 1, KVM_MEM_GUEST_MEMFD,
				   td_gpa(NO_SLOT_FIRST), slot.size, slot.shared, slot.gmem, 0);
	EXPECT_RESULT(0, td_add(&c->td, NO_SLOT_FIRST, 1));
	EXPECT_RESULT(-EINVAL, td_add(&c->td, NO_SLOT_FIRST + 1, 1));
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
	EXPECT_RESULT(0, add(c, 2, 1));
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
	EXPECT_RESULT(0, to_shared(c, 1, 2));
	if (c->oracle.tdr)
		td_oracle_expect(_metadata, &c->oracle);
	EXPECT_RESULT(-EINVAL, add(c, 1, 1));
	EXPECT_RESULT(0, to_private(c, 1, 2));
	EXPECT_RESULT(-EINVAL, add(c, 1, 1));
	if (c->oracle.tdr)
		td_oracle_expect(_metadata, &c->oracle);

	EXPECT_ERRNO(0, __vcpu_ioctl(c->td.vcpu, KVM_PRE_FAULT_MEMORY, &range));
	if (c->oracle.tdr) {
		EXPECT_RESULT(0, tdx_emul_sept(c->oracle.tdr, td_gpa(1), 0, &sept));
		EXPECT_EQ(TDX_SEPT_PENDING, sept.state);
	}
	EXPECT_FALSE(vm_tdx_is_dead(c->td.vm));
}

#endif /* TDX_INIT_MEM_CONVERSION_SINGLE_H */
