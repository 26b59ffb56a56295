// SPDX-License-Identifier: GPL-2.0-only
/*
 * The first KVM_TDX_INIT_MEM_REGION of a vCPU with its allocations failing, those for
 * page tables before all.
 *
 *	scripts/tdx-init-mem run --kernel v6.18 --test fault_populate
 *
 * In a program of its own: up to 6.18 nobody looks whether kvm_mmu_reload() has found
 * the memory for a root.  KVM then takes INVALID_PAGE for one, and the host oopses with
 * mmu_lock held.
 */
#include "tdx_init_mem_alloc.h"

struct populate {
	struct td td;
	struct kvm_tdx_init_mem_region region;
};

FIXTURE(populate)
{
	struct populate p;
};

FIXTURE_VARIANT(populate)
{
	bool runs_out;
};

FIXTURE_VARIANT_ADD(populate, memory_runs_out) { .runs_out = true };
FIXTURE_VARIANT_ADD(populate, each_fails_in_turn) { .runs_out = false };

FIXTURE_SETUP(populate)
{
	self->p.td.gmem = -1;
	if (tdx_fault_lacks())
		SKIP(return, "%s", tdx_fault_lacks());

	td_create(&self->p.td);
	self->p.region = td_region(&self->p.td, 0, TD_NR_PAGES);
	tdx_fault_begin();
}

FIXTURE_TEARDOWN(populate)
{
	tdx_fault_end();
	td_destroy(&self->p.td);
	td_audit(_metadata);
}

/* Goes on where the last go stopped. */
static int populate_fn(void *arg)
{
	struct populate *p = arg;
	int r = __vm_tdx_init_mem_region(p->td.vcpu, &p->region, KVM_TDX_MEASURE_MEMORY_REGION);

	return r ? -errno : 0;
}

static void populate_check(struct __test_metadata *_metadata, void *arg, int r)
{
	struct populate *p = arg;
	u64 done = TD_NR_PAGES - p->region.nr_pages;

	EXPECT_EQ(!r, done == TD_NR_PAGES);
	EXPECT_EQ(td_gpa(done), p->region.gpa);
	EXPECT_EQ((uintptr_t)td_source(&p->td, done), p->region.source_addr);
	if (r)
		return;

	/* It could do without what was refused: on with another TD. */
	td_destroy(&p->td);
	td_create(&p->td);
	p->region = td_region(&p->td, 0, TD_NR_PAGES);
}

TD_TEST_F(populate, resumes_and_completes)
{
	const struct alloc_op op = {
		.name = "KVM_TDX_INIT_MEM_REGION",
		.fn = populate_fn,
		.check = populate_check,
	};
	struct populate *p = &self->p;
	struct td *td = &p->td;
	struct alloc_goes goes;
	unsigned int page;

	ASSERT_EQ(0, alloc_fail(_metadata, &op, variant->runs_out, p, &goes));
	EXPECT_LT(0, goes.nr_refused);
	EXPECT_EQ(0, p->region.nr_pages);
	for (page = 0; page < TD_NR_PAGES; page++)
		EXPECT_EQ(TD_PAGE_WAS_MAPPED, td_probe(td, page));
	td_complete(_metadata, td);
}

#define TD_DISRUPTS "kernels up to 6.18 oops"
#include "tdx_init_mem_main.h"
