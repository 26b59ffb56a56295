// SPDX-License-Identifier: GPL-2.0-only
/*
 * SEAMCALLs that fail, from TDH.MNG.CREATE to TDH.PHYMEM.PAGE.RECLAIM, where KVM has
 * an answer: it asks once more, or tells user space, which may ask once more or close
 * the TD.  Either way nothing is left behind.
 *
 * To every other status KVM answers with a warning, and mostly with the end of the VM:
 * see tdx_init_mem_fault_fatal_test.c.
 */
#include "tdx_init_mem_fault.h"

/*
 * KVM or its wrapper of the SEAMCALL tries again, and nobody notices.  @first: which
 * call of the leaf fails first, @nr: how many do.
 */
FIXTURE(retried)
{
	struct fault f;
};

FIXTURE_VARIANT(retried)
{
	unsigned int leaf;
	u64 status;
	u64 first;
	u64 nr;
};

#define RETRIED(_name) FIXTURE_VARIANT_ADD(retried, _name)

/* clang-format off */
RETRIED(last_addcx_lacks_entropy) { TDH_MNG_ADDCX, TDX_RND_NO_ENTROPY, 6, ENTROPY_TRIES - 1 };
/* Removal is tried twice, the second time with all vCPUs kept out of the TD. */
RETRIED(range_block_busy) { TDH_MEM_RANGE_BLOCK, BUSY(RCX), 1, 1 };
RETRIED(range_block_busy_in_finalized_td) { TDH_MEM_RANGE_BLOCK, BUSY(RCX), 2, 1 };
RETRIED(mem_track_busy) { TDH_MEM_TRACK, BUSY(RCX), 1, 1 };
RETRIED(page_remove_busy) { TDH_MEM_PAGE_REMOVE, BUSY(RCX), 1, 1 };
RETRIED(page_remove_busy_in_finalized_td) { TDH_MEM_PAGE_REMOVE, BUSY(RCX), 2, 1 };
/* clang-format on */

FIXTURE_SETUP(retried)
{
	if (tdx_emul_lacks())
		SKIP(return, "%s", tdx_emul_lacks());

	fault_create(&self->f);
}

FIXTURE_TEARDOWN(retried)
{
	tdx_emul_reset();
	fault_close(&self->f);
	fault_audit(_metadata, &self->f);
}

TD_TEST_F(retried, nobody_notices)
{
	struct fault *f = &self->f;
	u64 rule;

	rule = fault_arm(_metadata, variant->leaf, variant->status, variant->first, variant->nr);
	ASSERT_EQ(0, fault_live(_metadata, f, 0, NR_STEPS));
	EXPECT_FALSE(vm_tdx_is_dead(f->td.vm));
	fault_close(f);
	fault_expect_hits(_metadata, rule, variant->nr);
}

/*
 * User space is told.  @step: who says so; @errs: what.
 */
FIXTURE(told)
{
	struct fault f;
};

FIXTURE_VARIANT(told)
{
	unsigned int step;
	unsigned int leaf;
	u64 status;
	u64 first;
	u64 nr;
	struct tdx_errno errs[TDX_ERRNO_MAX];
};

#define TOLD(_name) FIXTURE_VARIANT_ADD(told, _name)

/* clang-format off */
/* Tried again in the kernel since 6b5b71ffabf9; until then the page is lost as well. */
#define EBUSY_UNTIL_6_18 { TDX_ERRNO(EBUSY), TDX_ERRNO_SINCE(6, 19, TDX_NO_ERROR) }

TOLD(mng_create_lacks_entropy)
	{ STEP_INIT_VM, TDH_MNG_CREATE, TDX_RND_NO_ENTROPY, 1, ENTROPY_TRIES, ERROR(EAGAIN) };
/* Here the TD exists in the module, with none, one, or all but one page. */
TOLD(first_addcx_lacks_entropy)
	{ STEP_INIT_VM, TDH_MNG_ADDCX, TDX_RND_NO_ENTROPY, 1, ENTROPY_TRIES, ERROR(EAGAIN) };
TOLD(second_addcx_lacks_entropy)
	{ STEP_INIT_VM, TDH_MNG_ADDCX, TDX_RND_NO_ENTROPY, 2, ENTROPY_TRIES, ERROR(EAGAIN) };
TOLD(last_addcx_lacks_entropy)
	{ STEP_INIT_VM, TDH_MNG_ADDCX, TDX_RND_NO_ENTROPY, 6, ENTROPY_TRIES, ERROR(EAGAIN) };
TOLD(mng_init_refuses_operand)
	{ STEP_INIT_VM, TDH_MNG_INIT, INVALID(RDX), 1, 1, ERROR(EINVAL) };
TOLD(first_page_add_busy)
	{ STEP_ADD, TDH_MEM_PAGE_ADD, BUSY(RDX), 1, 1, EBUSY_UNTIL_6_18 };
TOLD(last_page_add_busy)
	{ STEP_ADD, TDH_MEM_PAGE_ADD, BUSY(RDX), FAULT_PAGES, 1, EBUSY_UNTIL_6_18 };
TOLD(mr_finalize_busy)
	{ STEP_FINALIZE, TDH_MR_FINALIZE, BUSY(RCX), 1, 1, ERROR(EBUSY) };
/* clang-format on */

FIXTURE_SETUP(told)
{
	if (tdx_emul_lacks())
		SKIP(return, "%s", tdx_emul_lacks());

	fault_create(&self->f);
}

FIXTURE_TEARDOWN(told)
{
	tdx_emul_reset();
	fault_close(&self->f);
	fault_audit(_metadata, &self->f);
}

/* Up to the step that is told. */
static int told_live(struct __test_metadata *_metadata, struct fault *f,
		     const FIXTURE_VARIANT(told) * variant)
{
	u64 rule;
	int r;

	rule = fault_arm(_metadata, variant->leaf, variant->status, variant->first, variant->nr);
	if (fault_live(_metadata, f, 0, variant->step))
		return -EIO;

	r = fault_try(f, variant->step);
	fault_expect(_metadata, f, variant->step, variant->errs, r);
	fault_expect_hits(_metadata, rule, variant->nr);
	EXPECT_FALSE(vm_tdx_is_dead(f->td.vm));
	return r;
}

TD_TEST_F(told, repeated_completes)
{
	static const struct tdx_errno none[TDX_ERRNO_MAX] = { TDX_ERRNO(TDX_NO_ERROR) };
	struct fault *f = &self->f;
	int r = told_live(_metadata, f, variant);

	if (r)
		r = fault_steps[variant->step].fn(f);
	fault_expect(_metadata, f, variant->step, none, r);
	ASSERT_EQ(0, r);
	EXPECT_EQ(0, fault_live(_metadata, f, variant->step + 1, NR_STEPS));
}

/* The audit of the teardown has the last word. */
TD_TEST_F(told, closed_at_once)
{
	told_live(_metadata, &self->f, variant);
}

#include "tdx_init_mem_main.h"
