// SPDX-License-Identifier: GPL-2.0-only
/*
 * Folios of 2 MiB that user space has mapped, as the memory of an ordinary guest,
 * which faults by KVM_PRE_FAULT_MEMORY: faults, holes, poison.
 */
#include <setjmp.h>
#include <signal.h>

#include "tdx_init_mem_gmem_user.h"

#define NR_PAGES (2 * FOLIO_PAGES)

/* Of an ordinary VM, memory is bound low: its vCPU knows of 36 bits of address. */
#define USER_GPA TD_GPA

FIXTURE(mapped)
{
	struct gmem_user u;
	unsigned int nr_huge;
};

FIXTURE_SETUP(mapped)
{
	if (gmem_user_lacks(true))
		SKIP(return, "%s", gmem_user_lacks(true));

	self->nr_huge = gmem_nr_huge();
	gmem_user_create(&self->u, NR_PAGES, true, USER_GPA);
	ASSERT_EQ(0, gmem_bind(&self->u.g, GMEM_SLOT, 0, NR_PAGES));
}

FIXTURE_TEARDOWN(mapped)
{
	gmem_user_destroy(&self->u);
	gmem_expect_nr_huge(_metadata, self->nr_huge, 0);
	td_audit(_metadata);
}

/* One folio in user space: its pages are where one folio has them. */
static bool mapped_is_one_folio(const struct gmem *g, unsigned int first)
{
	u64 base = gmem_user_hpa(g, first);
	unsigned int page;

	if (!base || base % FOLIO_SIZE)
		return false;
	for (page = 1; page < FOLIO_PAGES; page++) {
		if (gmem_user_hpa(g, first + page) != base + page * (u64)PAGE_SIZE)
			return false;
	}

	return true;
}

TD_TEST_F(mapped, user_writes_stay)
{
	const struct gmem *g = &self->u.g;

	gmem_user_expect_zero(_metadata, g, 0, NR_PAGES);
	gmem_user_write(g, 0, NR_PAGES);
	gmem_expect_nr_huge(_metadata, self->nr_huge, 2);
	EXPECT_TRUE(mapped_is_one_folio(g, 0));
	EXPECT_TRUE(mapped_is_one_folio(g, FOLIO_PAGES));
	gmem_user_expect_source(_metadata, g, 0, NR_PAGES);
}

/* How the guest has its memory mapped. */
static void expect_guest_maps(struct __test_metadata *_metadata, const struct gmem_user *u,
			      unsigned int huge, unsigned int small)
{
	u64 got_huge = vm_get_stat(u->vm, pages_2m), got_small = vm_get_stat(u->vm, pages_4k);

	EXPECT_TRUE(got_huge == huge && got_small == small)
	{
		TH_LOG("the guest maps %lu pages of 2 MiB and %lu of 4 KiB, want %u and %u",
		       got_huge, got_small, huge, small);
	}
}

TD_TEST_F(mapped, guest_maps_whole_folios)
{
	const struct gmem *g = &self->u.g;

	ASSERT_EQ(0, gmem_fault(g, self->u.vcpu, 0, NR_PAGES));
	gmem_expect_nr_huge(_metadata, self->nr_huge, 2);
	expect_guest_maps(_metadata, &self->u, 2, 0);
	gmem_user_expect_zero(_metadata, g, 0, NR_PAGES);
}

TD_TEST_F(mapped, guest_fault_keeps_user_writes)
{
	const struct gmem *g = &self->u.g;

	gmem_user_write(g, 0, NR_PAGES);
	ASSERT_EQ(0, gmem_fault(g, self->u.vcpu, 0, NR_PAGES));
	expect_guest_maps(_metadata, &self->u, 2, 0);
	gmem_user_expect_source(_metadata, g, 0, NR_PAGES);
}

/* As those of fixture hole, for who has the memory mapped. */
FIXTURE(mapped_hole)
{
	struct gmem_user u;
	unsigned int nr_huge;
};

/*
 * @left:	folios of which a part remains
 * @guest_huge:	that the guest maps as such, once it has all pages again: one with
 *		a hole it gets page by page, lest a neighbour fills the hole
 */
FIXTURE_VARIANT(mapped_hole)
{
	unsigned int first;
	unsigned int nr;
	unsigned int left;
	unsigned int guest_huge;
};

#define MAPPED_HOLE(_name) FIXTURE_VARIANT_ADD(mapped_hole, _name)

MAPPED_HOLE(one_page_inside) { 200, 1, 2, 1 };
MAPPED_HOLE(first_page) { 0, 1, 2, 1 };
MAPPED_HOLE(last_page) { 511, 1, 2, 1 };
MAPPED_HOLE(all_but_first) { 1, 511, 2, 1 };
MAPPED_HOLE(across_both_folios) { 500, 24, 2, 0 };
MAPPED_HOLE(whole_folio) { 0, 512, 1, 2 };
MAPPED_HOLE(one_folio_and_a_part) { 0, 700, 1, 1 };

FIXTURE_SETUP(mapped_hole)
{
	if (gmem_user_lacks(true))
		SKIP(return, "%s", gmem_user_lacks(true));

	self->nr_huge = gmem_nr_huge();
	gmem_user_create(&self->u, NR_PAGES, true, USER_GPA);
	ASSERT_EQ(0, gmem_bind(&self->u.g, GMEM_SLOT, 0, NR_PAGES));
	gmem_user_write(&self->u.g, 0, NR_PAGES);
	ASSERT_EQ(0, gmem_fault(&self->u.g, self->u.vcpu, 0, NR_PAGES));
	expect_guest_maps(_metadata, &self->u, 2, 0);
}

FIXTURE_TEARDOWN(mapped_hole)
{
	gmem_user_destroy(&self->u);
	gmem_expect_nr_huge(_metadata, self->nr_huge, 0);
	td_audit(_metadata);
}

static void mapped_expect_others(struct __test_metadata *_metadata, const struct gmem *g,
				 unsigned int first, unsigned int nr)
{
	gmem_user_expect_source(_metadata, g, 0, first);
	gmem_user_expect_source(_metadata, g, first + nr, NR_PAGES - first - nr);
}

TD_TEST_F(mapped_hole, is_unmapped_from_user_and_guest)
{
	const struct gmem *g = &self->u.g;
	unsigned int page;

	ASSERT_EQ(0, gmem_punch(g, variant->first, variant->nr));
	for (page = variant->first; page < variant->first + variant->nr; page++) {
		EXPECT_EQ(0, gmem_user_hpa(g, page))
		{
			TH_LOG("user space still has page %u", page);
		}
	}
	/* A huge mapping of which a part went is gone as a whole. */
	EXPECT_EQ(variant->first + variant->nr > FOLIO_PAGES ? 0 : 1,
		  vm_get_stat(self->u.vm, pages_2m));
	gmem_expect_nr_huge(_metadata, self->nr_huge, variant->left);
}

TD_TEST_F(mapped_hole, reads_back_as_zero)
{
	const struct gmem *g = &self->u.g;

	ASSERT_EQ(0, gmem_punch(g, variant->first, variant->nr));
	gmem_user_expect_zero(_metadata, g, variant->first, variant->nr);
	mapped_expect_others(_metadata, g, variant->first, variant->nr);

	/* A page like any other from then on. */
	gmem_fill(&self->u.g, variant->first, variant->nr, 2);
	gmem_user_write(g, variant->first, variant->nr);
	gmem_user_expect_source(_metadata, g, 0, NR_PAGES);
	gmem_expect_nr_huge(_metadata, self->nr_huge, 2);
}

TD_TEST_F(mapped_hole, filled_by_guest_fault_reads_as_zero)
{
	const struct gmem *g = &self->u.g;

	ASSERT_EQ(0, gmem_punch(g, variant->first, variant->nr));
	ASSERT_EQ(0, gmem_fault(g, self->u.vcpu, 0, NR_PAGES));
	expect_guest_maps(_metadata, &self->u, variant->guest_huge,
			  NR_PAGES - variant->guest_huge * FOLIO_PAGES);
	gmem_user_expect_zero(_metadata, g, variant->first, variant->nr);
	mapped_expect_others(_metadata, g, variant->first, variant->nr);
}

/*
 * Bindings that a folio does not fit: the guest gets small pages of it.  The
 * slots' user addresses fit, so that only guest_memfd can be the reason.
 */
FIXTURE(guest)
{
	struct gmem_user u;
	unsigned int nr_huge;
};

/* @huge: folios; @guest_huge: of which the guest has a mapping */
FIXTURE_VARIANT(guest)
{
	unsigned int gfn;
	unsigned int first;
	unsigned int nr;
	bool later; /* bound after user space has written to all pages */
	unsigned int huge;
	unsigned int guest_huge;
};

#define GUEST(_name) FIXTURE_VARIANT_ADD(guest, _name)

/* clang-format off */
GUEST(aligned) { 0, 0, NR_PAGES, false, 2, 2 };
GUEST(aligned_later) { 0, 0, NR_PAGES, true, 2, 2 };
GUEST(gfn_not_congruent) { 1, 0, NR_PAGES, false, 0, 0 };
GUEST(gfn_not_congruent_later) { 1, 0, NR_PAGES, true, 2, 0 };
GUEST(gfn_half_a_folio_off_later) { 256, 0, NR_PAGES, true, 2, 0 };
GUEST(slot_starts_inside) { 0, 1, NR_PAGES - 1, false, 1, 1 };
GUEST(slot_starts_inside_later) { 0, 1, NR_PAGES - 1, true, 2, 1 };
GUEST(slot_ends_inside_later) { 0, 0, NR_PAGES - 1, true, 2, 1 };
/* clang-format on */

FIXTURE_SETUP(guest)
{
	struct gmem_user *u = &self->u;

	if (gmem_user_lacks(true))
		SKIP(return, "%s", gmem_user_lacks(true));

	self->nr_huge = gmem_nr_huge();
	gmem_user_create(u, NR_PAGES, true, USER_GPA + variant->gfn * (u64)PAGE_SIZE);
	if (variant->later)
		gmem_user_write(&u->g, 0, NR_PAGES);
	ASSERT_EQ(0, gmem_bind(&u->g, GMEM_SLOT, variant->first, variant->nr));
}

FIXTURE_TEARDOWN(guest)
{
	gmem_user_destroy(&self->u);
	gmem_expect_nr_huge(_metadata, self->nr_huge, 0);
	td_audit(_metadata);
}

TD_TEST_F(guest, mapping_is_huge_where_folio_and_slot_allow)
{
	const struct gmem *g = &self->u.g;

	if (!variant->later)
		gmem_user_write(g, 0, NR_PAGES);
	ASSERT_EQ(0, gmem_fault(g, self->u.vcpu, variant->first, variant->nr));

	gmem_expect_nr_huge(_metadata, self->nr_huge, variant->huge);
	expect_guest_maps(_metadata, &self->u, variant->guest_huge,
			  variant->nr - variant->guest_huge * FOLIO_PAGES);
	gmem_user_expect_source(_metadata, g, 0, NR_PAGES);
}

/*
 * A page of a file breaks.  Only that one is lost; in 4 KiB folios it was
 * always so.  The kernel splits a folio of 2 MiB, unless somebody pins it: that
 * case is left out, since the allocator then hands out the broken page again.
 */
#define BAD_PAGE 77

FIXTURE(poison)
{
	struct gmem_user u;
	unsigned int nr_huge;
};

FIXTURE_VARIANT(poison)
{
	bool huge;
};

FIXTURE_VARIANT_ADD(poison, with_4k_folios) { false };
FIXTURE_VARIANT_ADD(poison, with_2m_folios) { true };

static sigjmp_buf poison_retreat;

static void poison_handler(int __always_unused signo)
{
	siglongjmp(poison_retreat, 1);
}

FIXTURE_SETUP(poison)
{
	const struct sigaction action = { .sa_handler = poison_handler };

	if (gmem_user_lacks(variant->huge))
		SKIP(return, "%s", gmem_user_lacks(variant->huge));

	ASSERT_EQ(0, sigaction(SIGBUS, &action, NULL));
	self->nr_huge = gmem_nr_huge();
	gmem_user_create(&self->u, NR_PAGES, variant->huge, USER_GPA);
	ASSERT_EQ(0, gmem_bind(&self->u.g, GMEM_SLOT, 0, NR_PAGES));
	gmem_user_write(&self->u.g, 0, NR_PAGES);
	gmem_expect_nr_huge(_metadata, self->nr_huge, variant->huge ? 2 : 0);
}

FIXTURE_TEARDOWN(poison)
{
	gmem_user_destroy(&self->u);
	gmem_expect_nr_huge(_metadata, self->nr_huge, 0);
	td_audit(_metadata);
}

/* Who has the page mapped is told by SIGBUS, unless the split unmapped it before. */
static void poison_page(const struct gmem *g, unsigned int page)
{
	if (!sigsetjmp(poison_retreat, 1))
		madvise(gmem_user_page(g, page), PAGE_SIZE, MADV_HWPOISON);
}

/* What a page contains, or that it cannot be read. */
static bool poison_reads(const struct gmem *g, unsigned int page, u64 *word)
{
	if (sigsetjmp(poison_retreat, 1))
		return false;

	*word = READ_ONCE(*gmem_user_page(g, page));
	return true;
}

TD_TEST_F(poison, loses_its_page_only)
{
	const struct gmem *g = &self->u.g;
	struct kvm_vcpu *vcpu = self->u.vcpu;
	u64 word = 0;

	ASSERT_EQ(0, gmem_fault(g, vcpu, 0, NR_PAGES));
	poison_page(g, BAD_PAGE);
	gmem_expect_nr_huge(_metadata, self->nr_huge, variant->huge ? 1 : 0);

	EXPECT_RESULT(-EHWPOISON, gmem_fault(g, vcpu, BAD_PAGE, 1));
	EXPECT_FALSE(poison_reads(g, BAD_PAGE, &word))
	{
		TH_LOG("the broken page reads as 0x%lx", word);
	}
	EXPECT_RESULT(0, gmem_fault(g, vcpu, 0, BAD_PAGE));
	EXPECT_RESULT(0, gmem_fault(g, vcpu, BAD_PAGE + 1, NR_PAGES - BAD_PAGE - 1));
	gmem_user_expect_source(_metadata, g, 0, BAD_PAGE);
	gmem_user_expect_source(_metadata, g, BAD_PAGE + 1, NR_PAGES - BAD_PAGE - 1);
	/* No mapping of the guest reaches over it. */
	EXPECT_EQ(variant->huge ? 1 : 0, vm_get_stat(self->u.vm, pages_2m));
}

TD_TEST_F(poison, hole_brings_a_good_page)
{
	const struct gmem *g = &self->u.g;
	struct kvm_vcpu *vcpu = self->u.vcpu;
	u64 word = 1;

	poison_page(g, BAD_PAGE);
	EXPECT_RESULT(-EHWPOISON, gmem_fault(g, vcpu, BAD_PAGE, 1));
	ASSERT_EQ(0, gmem_punch(g, 0, FOLIO_PAGES));
	EXPECT_RESULT(0, gmem_fault(g, vcpu, 0, FOLIO_PAGES));

	/* Who was told remembers, whatever becomes of the file. */
	ASSERT_EQ(0, madvise(gmem_user_page(g, BAD_PAGE), PAGE_SIZE, MADV_DONTNEED));
	ASSERT_TRUE(poison_reads(g, BAD_PAGE, &word));
	EXPECT_EQ(0, word);
	gmem_user_expect_zero(_metadata, g, 0, FOLIO_PAGES);
	gmem_user_expect_source(_metadata, g, FOLIO_PAGES, FOLIO_PAGES);
}

#include "tdx_init_mem_main.h"
