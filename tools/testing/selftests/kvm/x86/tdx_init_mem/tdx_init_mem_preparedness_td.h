/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which pages of a TD are cleared, and when.  The emulated host shows what is in them.
 */
#ifndef TDX_INIT_MEM_PREPAREDNESS_TD_H
#define TDX_INIT_MEM_PREPAREDNESS_TD_H

#include <signal.h>

#include "tdx_init_mem_gmem_dirt.h"
#include "tdx_init_mem_gmem_td.h"

#define NR_PAGES (2 * FOLIO_PAGES)

/* Immovable memory is dirtied on one CPU, which is to get it back. */
#define TEST_CPU 0

#define HALF (FOLIO_PAGES / 2)

/* A TD in whose private memory the emulated host, and the tests, can look. */
FIXTURE(td)
{
	struct gmem_td t;
	struct td_populate populate;
};

FIXTURE_VARIANT(td)
{
	bool huge;
};

FIXTURE_VARIANT_ADD(td, with_4k_folios) { false };
FIXTURE_VARIANT_ADD(td, with_2m_folios) { true };

FIXTURE_SETUP(td)
{
	if (gmem_td_lacks(variant->huge))
		SKIP(return, "%s", gmem_td_lacks(variant->huge));

	tdx_emul_reset();
	tdx_task_pin(TEST_CPU);
	gmem_dirty(NR_PAGES, variant->huge);
	gmem_td_create(&self->t, NR_PAGES, variant->huge, GMEM_GPA);
	self->t.g.sparse = true;
	ASSERT_EQ(0, gmem_bind(&self->t.g, GMEM_SLOT, 0, NR_PAGES));
}

FIXTURE_TEARDOWN(td)
{
	tdx_emul_reset();
	tdx_task_finish(&self->populate.task);
	gmem_td_destroy(&self->t);
	td_audit(_metadata);
}

/* Pages that wait for the guest to accept them, and show it nothing of the host's. */
static void expect_augmented(struct __test_metadata *_metadata, const struct gmem_td *t,
			     unsigned int first, unsigned int nr)
{
	int dirty = NO_PAGE;
	unsigned int page;

	EXPECT_EQ(NO_PAGE, gmem_not_in_state(&t->g, t->tdr, first, nr, TDX_SEPT_PENDING))
	{
		TH_LOG("that page of %u+%u was not augmented", first, nr);
	}
	for (page = first; page < first + nr && dirty == NO_PAGE; page++) {
		u64 hpa = gmem_hpa(&t->g, t->tdr, page);

		if (gmem_is_used(&t->g, page) && hpa && gmem_host_not_zero(hpa, 1) != NO_PAGE)
			dirty = page;
	}
	EXPECT_EQ(NO_PAGE, dirty)
	{
		TH_LOG("that page of %u+%u was augmented, but not cleared", first, nr);
	}
}

static void fault(struct __test_metadata *_metadata, struct gmem_td *t, unsigned int first,
		  unsigned int nr)
{
	EXPECT_EQ(0, gmem_fault(&t->g, t->td.vcpu, first, nr))
	{
		TH_LOG("KVM_PRE_FAULT_MEMORY of pages %u+%u", first, nr);
	}
}

TD_TEST_F(td, augmented_page_is_cleared)
{
	struct gmem_td *t = &self->t;

	gmem_td_finalize(_metadata, t);
	fault(_metadata, t, 0, NR_PAGES);
	expect_augmented(_metadata, t, 0, NR_PAGES);
}

/* The rest of the folio, which is dirty, comes after. */
TD_TEST_F(td, populated_half_stays_and_rest_is_cleared)
{
	struct gmem_td *t = &self->t;

	ASSERT_EQ(0, gmem_add(&t->g, t->td.vcpu, 0, HALF));
	gmem_td_finalize(_metadata, t);
	fault(_metadata, t, HALF, FOLIO_PAGES - HALF);
	gmem_expect_source(_metadata, t, 0, HALF);
	expect_augmented(_metadata, t, HALF, FOLIO_PAGES - HALF);
}

TD_TEST_F(td, populated_pages_stay_between_cleared_ones)
{
	struct gmem_td *t = &self->t;
	unsigned int page;

	t->g.sparse = false;
	for (page = 0; page < FOLIO_PAGES; page += 2)
		ASSERT_EQ(0, gmem_add(&t->g, t->td.vcpu, page, 1));
	gmem_td_finalize(_metadata, t);
	fault(_metadata, t, 0, FOLIO_PAGES);
	for (page = 0; page < FOLIO_PAGES; page += 2) {
		gmem_expect_source(_metadata, t, page, 1);
		expect_augmented(_metadata, t, page + 1, 1);
	}
}

/* Nothing to be done, however often. */
TD_TEST_F(td, populated_page_is_never_cleared_again)
{
	struct gmem_td *t = &self->t;
	unsigned int i;

	ASSERT_EQ(0, gmem_add(&t->g, t->td.vcpu, 0, FOLIO_PAGES));
	ASSERT_EQ(0, gmem_allocate(&t->g, 0, NR_PAGES));
	gmem_expect_source(_metadata, t, 0, FOLIO_PAGES);
	gmem_td_finalize(_metadata, t);
	for (i = 0; i < 2; i++)
		fault(_metadata, t, 0, NR_PAGES);
	gmem_expect_source(_metadata, t, 0, FOLIO_PAGES);
	expect_augmented(_metadata, t, FOLIO_PAGES, FOLIO_PAGES);
}

/* fallocate() alone promises nothing about contents. */
TD_TEST_F(td, allocated_page_is_cleared)
{
	struct gmem_td *t = &self->t;

	ASSERT_EQ(0, gmem_allocate(&t->g, 0, NR_PAGES));
	ASSERT_EQ(0, gmem_add(&t->g, t->td.vcpu, 0, 1));
	gmem_td_finalize(_metadata, t);
	fault(_metadata, t, 1, NR_PAGES - 1);
	expect_augmented(_metadata, t, 1, NR_PAGES - 1);
	gmem_expect_source(_metadata, t, 0, 1);
}

/* What was in a page that was punched is seen by nobody. */
TD_TEST_F(td, punched_page_is_cleared)
{
	struct gmem_td *t = &self->t;

	ASSERT_EQ(0, gmem_add(&t->g, t->td.vcpu, 0, FOLIO_PAGES));
	ASSERT_EQ(0, gmem_punch(&t->g, 32, 96));
	gmem_td_finalize(_metadata, t);
	fault(_metadata, t, 32, 96);
	expect_augmented(_metadata, t, 32, 96);
	gmem_expect_source(_metadata, t, 0, 32);
	gmem_expect_source(_metadata, t, 128, FOLIO_PAGES - 128);
}

TD_TEST_F(td, augmented_page_that_was_punched_is_cleared)
{
	struct gmem_td *t = &self->t;

	ASSERT_EQ(0, gmem_add(&t->g, t->td.vcpu, 0, FOLIO_PAGES));
	gmem_td_finalize(_metadata, t);
	ASSERT_EQ(0, gmem_punch(&t->g, 32, 96));
	fault(_metadata, t, 32, 64);
	ASSERT_EQ(0, gmem_punch(&t->g, 64, 32));
	fault(_metadata, t, 32, 96);
	expect_augmented(_metadata, t, 32, 96);
	gmem_expect_source(_metadata, t, 0, 32);
	gmem_expect_source(_metadata, t, 128, FOLIO_PAGES - 128);
}

/* Populate after a hole, and what the hole left out is what it was. */
TD_TEST_F(td, punched_page_can_be_populated_again)
{
	struct gmem_td *t = &self->t;

	ASSERT_EQ(0, gmem_add(&t->g, t->td.vcpu, 0, FOLIO_PAGES));
	ASSERT_EQ(0, gmem_punch(&t->g, 32, 96));
	gmem_fill(&t->g, 32, 64, 2);
	EXPECT_RESULT(0, gmem_add(&t->g, t->td.vcpu, 32, 64));
	gmem_td_finalize(_metadata, t);
	fault(_metadata, t, 96, 32);
	gmem_expect_source(_metadata, t, 0, 96);
	expect_augmented(_metadata, t, 96, 32);
	gmem_expect_source(_metadata, t, 128, FOLIO_PAGES - 128);
}

/* A second add of a page that is there, by kernel. */
TD_TEST_F(td, second_add_is_refused_and_changes_nothing)
{
	struct gmem_td *t = &self->t;

	ASSERT_EQ(0, gmem_add(&t->g, t->td.vcpu, 0, HALF));
	gmem_fill(&t->g, 32, 1, 2);
	EXPECT_TRUE(td_says_mapped(&t->td, gmem_add(&t->g, t->td.vcpu, 32, 1)));
	gmem_fill(&t->g, 32, 1, 1);
	gmem_expect_source(_metadata, t, 0, HALF);

	/* The next page of the same folio is none of its business. */
	EXPECT_RESULT(0, gmem_add(&t->g, t->td.vcpu, HALF, HALF));
	gmem_expect_source(_metadata, t, 0, FOLIO_PAGES);
	gmem_td_finalize(_metadata, t);
}

/* The page left the TD, and guest_memfd kept it: up to 6.18 it counts as filled. */
TD_TEST_F(td, add_after_conversion_is_as_documented)
{
	static const struct tdx_errno errs[TDX_ERRNO_MAX] = {
		TDX_ERRNO(EEXIST),
		TDX_ERRNO_SINCE(7, 0, TDX_NO_ERROR),
	};
	struct gmem_td *t = &self->t;
	u64 gpa = gmem_gpa(&t->g, 32);
	int r;

	ASSERT_EQ(0, gmem_add(&t->g, t->td.vcpu, 0, HALF));
	vm_mem_set_shared(t->td.vm, gpa, PAGE_SIZE);
	gmem_expect_free(_metadata, t, 32, 1);
	vm_mem_set_private(t->td.vm, gpa, PAGE_SIZE);

	gmem_fill(&t->g, 32, 1, 2);
	r = gmem_add(&t->g, t->td.vcpu, 32, 1);
	EXPECT_TRUE(tdx_errno_allows(errs, -r))
	{
		TH_LOG("want %s, got %s", tdx_errno_name(tdx_errno_wanted(errs)),
		       tdx_errno_name(r));
	}
	if (r) {
		ASSERT_EQ(0, gmem_punch(&t->g, 32, 1));
		ASSERT_EQ(0, gmem_add(&t->g, t->td.vcpu, 32, 1));
	}
	gmem_expect_source(_metadata, t, 0, HALF);
	gmem_td_finalize(_metadata, t);
}

/* A page whose source is missing was not added. */
static void add_without_source(struct __test_metadata *_metadata, struct gmem_td *t,
			       unsigned int page)
{
	ASSERT_EQ(0, mprotect(gmem_source(&t->g, page), PAGE_SIZE, PROT_NONE));
	EXPECT_RESULT(-EFAULT, gmem_add(&t->g, t->td.vcpu, page, 1));
	ASSERT_EQ(0, mprotect(gmem_source(&t->g, page), PAGE_SIZE, PROT_READ | PROT_WRITE));
}

TD_TEST_F(td, page_without_source_is_cleared_later)
{
	struct gmem_td *t = &self->t;

	ASSERT_EQ(0, gmem_add(&t->g, t->td.vcpu, 0, 32));
	add_without_source(_metadata, t, 32);
	gmem_td_finalize(_metadata, t);
	fault(_metadata, t, 32, 1);
	expect_augmented(_metadata, t, 32, 1);
	gmem_expect_source(_metadata, t, 0, 32);
}

TD_TEST_F(td, page_without_source_can_be_populated_later)
{
	struct gmem_td *t = &self->t;

	ASSERT_EQ(0, gmem_add(&t->g, t->td.vcpu, 0, 32));
	add_without_source(_metadata, t, 32);
	EXPECT_RESULT(0, gmem_add(&t->g, t->td.vcpu, 32, HALF));
	gmem_expect_source(_metadata, t, 0, 32 + HALF);
	gmem_td_finalize(_metadata, t);
}

/* Exists to interrupt system calls, which an ignored signal does not. */
static void signal_handler(int __always_unused signo)
{
}

/*
 * A page that the module does not take: up to 6.18 KVM says so at once, later it
 * tries until a signal comes.  Either way the page is not there.
 */
static int add_while_busy(struct __test_metadata *_metadata, FIXTURE_DATA(td) * self,
			  unsigned int page)
{
	const struct sigaction action = { .sa_handler = signal_handler };
	const struct tdx_emul_rule rule = {
		.action = TDX_EMUL_FAIL,
		.leaf = TDH_MEM_PAGE_ADD,
		.tdr = self->t.tdr,
		.status = TDX_OPERAND_BUSY + TDX_OPERAND_RDX,
	};
	struct td_populate *populate = &self->populate;
	struct gmem_td *t = &self->t;
	u64 id;
	int r;

	EXPECT_EQ(0, sigaction(SIGUSR1, &action, NULL));
	EXPECT_RESULT(0, tdx_emul_arm(&rule, &id));
	populate->vcpu = t->td.vcpu;
	populate->argument = &populate->region;
	populate->region = (struct kvm_tdx_init_mem_region) {
		.source_addr = (uintptr_t)gmem_source(&t->g, page),
		.gpa = gmem_gpa(&t->g, page),
		.nr_pages = 1,
	};
	tdx_task_start(&populate->task, "populate", td_populate_fn, populate);
	EXPECT_TRUE(tdx_emul_wait_hits(id, 1));
	pthread_kill(populate->task.thread, SIGUSR1);
	r = tdx_task_finish(&populate->task);
	EXPECT_RESULT(0, tdx_emul_disarm(id));
	EXPECT_TRUE(r == -EBUSY || r == -EINTR)
	{
		TH_LOG("a page that is always busy: want EBUSY or EINTR, got %s",
		       tdx_errno_name(r));
	}
	gmem_expect_free(_metadata, t, page, 1);
	return r;
}

/* Up to 6.18 KVM then takes the page for one that is there, until it is punched. */
static void forget_failed_add(struct __test_metadata *_metadata, const struct gmem_td *t,
			      unsigned int page, int r)
{
	if (r == -EBUSY && !tdx_host_is_decoupled())
		ASSERT_EQ(0, gmem_punch(&t->g, page, 1));
}

TD_TEST_F(td, page_that_failed_is_cleared_later)
{
	struct gmem_td *t = &self->t;

	ASSERT_EQ(0, gmem_add(&t->g, t->td.vcpu, 0, 32));
	forget_failed_add(_metadata, t, 32, add_while_busy(_metadata, self, 32));
	gmem_td_finalize(_metadata, t);
	fault(_metadata, t, 32, 1);
	expect_augmented(_metadata, t, 32, 1);
	gmem_expect_source(_metadata, t, 0, 32);
}

TD_TEST_F(td, page_that_failed_can_be_populated_later)
{
	struct gmem_td *t = &self->t;

	ASSERT_EQ(0, gmem_add(&t->g, t->td.vcpu, 0, 32));
	forget_failed_add(_metadata, t, 32, add_while_busy(_metadata, self, 32));
	EXPECT_RESULT(0, gmem_add(&t->g, t->td.vcpu, 32, HALF));
	gmem_expect_source(_metadata, t, 0, 32 + HALF);
	gmem_td_finalize(_metadata, t);
}

#endif /* TDX_INIT_MEM_PREPAREDNESS_TD_H */
