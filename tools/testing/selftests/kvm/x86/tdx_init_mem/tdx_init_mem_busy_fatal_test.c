// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where KVM has no answer to TDX_OPERAND_BUSY it gives up on the VM, with a
 * warning (KVM_BUG_ON).  Two ioctls of user space may not bring it there.
 *
 *	scripts/tdx-init-mem run --kernel v6.18 --test busy_fatal
 *
 * The warning is once per boot and place; a VM dies each time.
 */
#include "tdx_init_mem_busy.h"

FIXTURE(fatal)
{
	struct busy busy;
};

FIXTURE_VARIANT(fatal)
{
	struct busy_race race;
};

#define FATAL(_name) FIXTURE_VARIANT_ADD(fatal, _name)

/* Up to 6.18 VP.CREATE is busy; gone since 15945e9ec195 (6.19), all locks of the VM. */
FATAL(init_vcpu_while_adding)
{
	.race = {
		.holder = &busy_add,
		.holder_leaf = TDH_MEM_PAGE_ADD,
		.victim = &busy_init_vcpu,
	},
};

/*
 * RANGE.BLOCK is tried twice, which is enough for a vCPU that must leave the TD,
 * not for a TDR that is held otherwise.  The invalidate lock is that of another
 * file; mmu_lock it must be.  PAGE.ADD is under it since 6b5b71ffabf9 (6.19).
 */
FATAL(punch_while_adding_elsewhere)
{
	.race = {
		.holder = &busy_add,
		.holder_leaf = TDH_MEM_PAGE_ADD,
		.victim = &busy_punch_other,
	},
};

/* VP.INIT is under mmu_lock since 9a89894f30d5 (6.19). */
FATAL(punch_while_init_vcpu)
{
	.race = {
		.holder = &busy_init_vcpu,
		.holder_leaf = TDH_VP_INIT,
		.victim = &busy_punch_other,
	},
};

/*
 * MR.EXTEND and MR.FINALIZE are not, as of 7.3; the series has a patch for each.
 * Since 6.19 the page is freed though the TD still owns it.
 */
FATAL(punch_while_measuring_elsewhere)
{
	.race = {
		.holder = &busy_measure,
		.holder_leaf = TDH_MR_EXTEND,
		.victim = &busy_punch_other,
	},
};

FATAL(punch_while_finalizing)
{
	.race = {
		.holder = &busy_finalize,
		.holder_leaf = TDH_MR_FINALIZE,
		.victim = &busy_punch_other,
	},
};

FIXTURE_SETUP(fatal)
{
	busy_create(&self->busy);
}

/* What a dead VM leaves behind in the host stays: the last case asks for it, once. */
FIXTURE_TEARDOWN(fatal)
{
	struct tdx_audit_report report;

	busy_destroy(&self->busy);
	tdx_audit_scan(&report);
	td_audit_expect(_metadata, &report);
}

TD_TEST_F(fatal, both_succeed)
{
	struct busy_outcome outcome;

	busy_race(&self->busy, &variant->race, &outcome);
	busy_expect_fine(_metadata, &variant->race, &outcome);
}

#define TD_DISRUPTS "kernels up to 7.3 free memory of a TD"
#include "tdx_init_mem_main.h"
