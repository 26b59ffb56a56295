// SPDX-License-Identifier: GPL-2.0-only
/* Update of the module while TDs live: SYS.SHUTDOWN, P-SEAMLDR, SYS.UPDATE. */
#include "tests/module/machine.h"

#define INV TDX_OPERAND_INVALID
#define GPA 0x1000ULL
#define HV 1
#define FEATURES0 0x0a00000300000008
#define MODULE_HV 0x8900000100000000

static struct machine *machine_new_preserving(void)
{
	struct tdxm_platform platform = machine_platform(2, 1);
	struct machine *machine;

	platform.td_preserving = true;
	machine = machine_new_on(&platform);
	machine_boot(machine);
	return machine;
}

/* SEAMLDR_PARAMS of an update that the loader accepts. */
static uint64_t put_params(struct machine *machine)
{
	uint64_t hpa = machine_page(machine);
	uint32_t *p = machine_ram(machine, hpa);
	uint64_t *q = machine_ram(machine, hpa);

	p[1] = 1;		      /* scenario: update */
	q[1] = machine_page(machine); /* signature structure */
	q[15] = 2;		      /* pages */
	q[16] = machine_page(machine);
	q[17] = machine_page(machine);
	return hpa;
}

static uint64_t install(struct machine *machine, unsigned int lp, uint64_t params)
{
	return machine_call(machine, lp, TDX_RAX_SEAMLDR | SEAMLDR_INSTALL, params, 0, 0, 0).rax;
}

static void shut_down(struct machine *machine)
{
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_SYS_SHUTDOWN, HV, 0, 0, 0);
}

static void install_everywhere(struct machine *machine)
{
	uint64_t params = put_params(machine);
	unsigned int lp;

	for (lp = 0; lp < machine->platform.nr_lps; lp++)
		EXPECT_STATUS(SEAMLDR_SUCCESS, install(machine, lp, params));
}

static void update(struct machine *machine)
{
	shut_down(machine);
	install_everywhere(machine);
	machine_init_lps(machine);
	EXPECT_CALL(TDX_SUCCESS, machine, 1, TDH_SYS_UPDATE, 0, 0, 0, 0);
}

static void what_linux_looks_at_tells_that_it_is_there(void)
{
	struct machine *machine = machine_new_preserving();
	uint64_t hpa = machine_page(machine);
	uint32_t *info = machine_ram(machine, hpa);

	KTAP_EXPECT(EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_SYS_RD, 0, FEATURES0, 0, 0).r8 & 2);
	KTAP_EXPECT_EQ(EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_SYS_RD, 0, MODULE_HV, 0, 0).r8, HV);
	EXPECT_CALL(SEAMLDR_SUCCESS, machine, 0, TDX_RAX_SEAMLDR | SEAMLDR_INFO, hpa, 0, 0, 0);
	KTAP_EXPECT_EQ(info[0], 0);
	KTAP_EXPECT_EQ(info[2], 0x8086);
	KTAP_EXPECT(info[7]);
	machine_free(machine);
}

static void td_survives_update_ok(void)
{
	struct machine *machine = machine_new_preserving();
	struct test_td td = td_new(machine, 2, STAGE_SEPT), other;
	uint64_t hpa = td_add_page(&td, GPA);

	td_advance(&td, STAGE_RUNNABLE);
	update(machine);

	KTAP_EXPECT_EQ(machine_page_type(machine, hpa), PT_REG);
	EXPECT_CALL(TDX_EXIT_REASON_TDCALL, machine, 0, TDH_VP_ENTER, td.vcpu.tdvpr, 0, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 1, TDH_MEM_PAGE_AUG, 2 * GPA, td.tdr,
		    machine_page(machine), 0);
	/* Keys are still taken, and the global one still is. */
	EXPECT_CALL(TDX_HKID_NOT_FREE, machine, 0, TDH_MNG_CREATE, machine_page(machine), td.hkid,
		    0, 0);
	EXPECT_CALL(TDX_HKID_NOT_FREE, machine, 0, TDH_MNG_CREATE, machine_page(machine),
		    MACHINE_GLOBAL_HKID, 0, 0);
	machine_forget_findings(machine);
	other = td_new(machine, 3, STAGE_RUNNABLE);
	td_free(&other);
	machine_free(machine);
}

static void every_leaf_is_refused_after_shutdown(void)
{
	struct machine *machine = machine_new_preserving();
	unsigned int number;

	shut_down(machine);
	for (number = 0; number < 80; number++) {
		if (number == TDH_SYS_LP_SHUTDOWN)
			continue;
		if (!EXPECT_CALL(TDX_SYS_SHUTDOWN, machine, 0, number, 0, 0, 0, 0).rax)
			printf("# leaf %u\n", number);
	}
	EXPECT_CALL(INV + OP_RAX, machine, 0, BIT_U64(24), 0, 0, 0, 0);
	machine_free(machine);
}

static void shutdown_refusals(void)
{
	struct machine *machine = machine_new_preserving();

	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_SYS_SHUTDOWN, HV - 1, 0, 0, 0);
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_SYS_SHUTDOWN, HV + 1, 0, 0, 0);
	KTAP_EXPECT(sharex_try_shared(&machine->m->sys_lock));
	/* The operand is looked at before the lock. */
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_SYS_SHUTDOWN, HV + 1, 0, 0, 0);
	EXPECT_CALL(TDX_SYS_BUSY, machine, 0, TDH_SYS_SHUTDOWN, HV, 0, 0, 0);
	sharex_unlock_shared(&machine->m->sys_lock);
	machine_free(machine);
}

/* Tries to shut the module down while another call is inside. */
static void interlope(struct machine *machine, uint64_t hpa)
{
	(void)hpa;
	machine->on_read = NULL;
	EXPECT_CALL(TDX_SYS_BUSY, machine, 1, TDH_SYS_SHUTDOWN, HV, 0, 0, 0);
}

static void shutdown_while_a_call_is_inside_fails_and_changes_nothing(void)
{
	struct machine *machine = machine_new_preserving();
	struct test_td td = td_new(machine, 2, STAGE_SEPT);

	machine->on_read = interlope;
	td_add_page(&td, GPA);
	KTAP_EXPECT(!machine->on_read);
	td_advance(&td, STAGE_RUNNABLE);
	shut_down(machine);
	machine_free(machine);
}

static void shutdown_that_is_made_to_fail_changes_nothing(void)
{
	struct machine *machine = machine_new_preserving();
	struct tdxm_rule rule = {
		.action = TDXM_FAIL,
		.leaf = TDH_SYS_SHUTDOWN,
		.first = 1,
		.count = 1,
		.status = TDX_SYS_BUSY,
	};
	uint32_t id;

	KTAP_EXPECT(!tdxm_arm(machine->m, &rule, &id));
	EXPECT_CALL(TDX_SYS_BUSY, machine, 0, TDH_SYS_SHUTDOWN, HV, 0, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_SYS_RD, 0, FEATURES0, 0, 0);
	shut_down(machine);
	machine_free(machine);
}

static void nobody_calls_the_module_during_install(void)
{
	struct machine *machine = machine_new_preserving();
	uint64_t params = put_params(machine);
	struct tdxm_regs regs = { .rax = TDH_SYS_RD, .rdx = FEATURES0 };

	shut_down(machine);
	EXPECT_STATUS(SEAMLDR_SUCCESS, install(machine, 0, params));
	KTAP_EXPECT_EQ(tdxm_seamcall(machine->m, 1, 1, &regs), TDXM_VMFAIL_INVALID);
	/* Once per LP. */
	EXPECT_STATUS(SEAMLDR_EBADCALL, install(machine, 0, params));
	EXPECT_STATUS(SEAMLDR_SUCCESS, install(machine, 1, params));
	EXPECT_CALL(TDX_SYS_NOT_READY, machine, 0, TDH_MNG_CREATE, 0, 0, 0, 0);
	EXPECT_CALL(TDX_SYS_LP_INIT_NOT_DONE, machine, 0, TDH_SYS_RD, 0, FEATURES0, 0, 0);
	machine_free(machine);
}

static void loader_takes_one_lp_at_a_time(void)
{
	struct machine *machine = machine_new_preserving();
	struct tdxm_regs regs = { .rax = TDX_RAX_SEAMLDR | SEAMLDR_INFO };

	KTAP_EXPECT(sharex_try_exclusive(&machine->m->seamldr.lock));
	KTAP_EXPECT_EQ(tdxm_seamcall(machine->m, 1, 1, &regs), TDXM_VMFAIL_INVALID);
	sharex_unlock_exclusive(&machine->m->seamldr.lock);
	machine_free(machine);
}

static void install_refusals(void)
{
	struct machine *machine = machine_new_preserving();
	uint64_t good = put_params(machine), bad = put_params(machine);
	uint32_t *p = machine_ram(machine, bad);
	uint64_t *q = machine_ram(machine, bad);

	/* Not shut down: there is nothing to hand over. The old module goes on. */
	EXPECT_STATUS(SEAMLDR_SUCCESS, install(machine, 0, good));
	EXPECT_STATUS(SEAMLDR_EBADHANDOFF, install(machine, 1, good));
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_SYS_RD, 0, FEATURES0, 0, 0);

	shut_down(machine);
	/* Only the last LP looks at the parameters. */
#define REFUSED(params)                                                        \
	({                                                                     \
		EXPECT_STATUS(SEAMLDR_SUCCESS, install(machine, 0, params));   \
		EXPECT_STATUS(SEAMLDR_EBADPARAM, install(machine, 1, params)); \
	})
	REFUSED(bad + 8);
	REFUSED(WITH_KEYID(bad, 1));
	REFUSED(TDX_1G);
	p[0] = 1;
	REFUSED(bad);
	p[0] = 0;
	p[1] = 2;
	REFUSED(bad);
	p[1] = 1;
	q[14] = 1;
	REFUSED(bad);
	q[14] = 0;
	q[15] = 0;
	REFUSED(bad);
	q[15] = 497;
	REFUSED(bad);
	q[15] = 2;
	q[17] |= 1;
	REFUSED(bad);
	q[17] &= ~1ULL;
	q[1] |= 1;
	REFUSED(bad);
	q[1] &= ~1ULL;
	machine->lp_state[1][TDXM_LP_NO_ENTROPY] = 1;
	EXPECT_STATUS(SEAMLDR_SUCCESS, install(machine, 0, bad));
	EXPECT_STATUS(SEAMLDR_ENOENTROPY, install(machine, 1, bad));
	machine->lp_state[1][TDXM_LP_NO_ENTROPY] = 0;
	/* Still shut down, and one that works still works. */
	EXPECT_CALL(TDX_SYS_SHUTDOWN, machine, 0, TDH_SYS_RD, 0, FEATURES0, 0, 0);
	install_everywhere(machine);
	machine_free(machine);
}

static void load_and_unknown_leaves_are_found(void)
{
	struct machine *machine = machine_new_preserving();
	uint64_t params = put_params(machine);
	uint32_t *p = machine_ram(machine, params);
	struct tdxm_regs regs = { .rax = TDX_RAX_SEAMLDR | 2 };

	shut_down(machine);
	p[1] = 0;
	REFUSED(params);
	KTAP_EXPECT_EQ(machine_findings(machine).unimplemented, 1);
	machine_forget_findings(machine);
	KTAP_EXPECT_EQ(tdxm_seamcall(machine->m, 0, 1, &regs), TDXM_DONE);
	EXPECT_STATUS(SEAMLDR_EBADPARAM, regs.rax);
	KTAP_EXPECT_EQ(machine_findings(machine).unimplemented, 1);
	machine_forget_findings(machine);
	machine_free(machine);
}

static void info_refusals(void)
{
	struct machine *machine = machine_new_preserving();
	uint64_t info = TDX_RAX_SEAMLDR | SEAMLDR_INFO;

	EXPECT_CALL(SEAMLDR_EBADPARAM, machine, 0, info, 128, 0, 0, 0);
	EXPECT_CALL(SEAMLDR_EBADPARAM, machine, 0, info, WITH_KEYID(0x1000, 3), 0, 0, 0);
	EXPECT_CALL(SEAMLDR_EBADPARAM, machine, 0, info, TDX_1G, 0, 0, 0);
	machine_free(machine);
}

static void updates_run_out(void)
{
	struct machine *machine = machine_new_preserving();
	uint64_t params = put_params(machine), hpa = machine_page(machine);
	uint32_t *info = machine_ram(machine, hpa);
	unsigned int left;

	EXPECT_CALL(SEAMLDR_SUCCESS, machine, 0, TDX_RAX_SEAMLDR | SEAMLDR_INFO, hpa, 0, 0, 0);
	for (left = info[7]; left; left--)
		update(machine);
	EXPECT_CALL(SEAMLDR_SUCCESS, machine, 0, TDX_RAX_SEAMLDR | SEAMLDR_INFO, hpa, 0, 0, 0);
	KTAP_EXPECT_EQ(info[7], 0);
	shut_down(machine);
	EXPECT_STATUS(SEAMLDR_SUCCESS, install(machine, 0, params));
	EXPECT_STATUS(SEAMLDR_EBADCALL, install(machine, 1, params));
	machine_free(machine);
}

static void update_refusals(void)
{
	struct machine *machine = machine_new_preserving();
	struct tdxm_regs regs;
	uint64_t params;

	EXPECT_CALL(TDX_SYS_STATE_INCORRECT, machine, 0, TDH_SYS_UPDATE, 0, 0, 0, 0);
	shut_down(machine);
	install_everywhere(machine);
	EXPECT_CALL(TDX_SYS_STATE_INCORRECT, machine, 0, TDH_SYS_UPDATE, 0, 0, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_SYS_INIT, 0, 0, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_SYS_LP_INIT, 0, 0, 0, 0);
	/* One LP is missing. */
	EXPECT_CALL(TDX_SYS_STATE_INCORRECT, machine, 0, TDH_SYS_UPDATE, 0, 0, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 1, TDH_SYS_LP_INIT, 0, 0, 0, 0);
	KTAP_EXPECT(sharex_try_shared(&machine->m->sys_lock));
	EXPECT_CALL(TDX_SYS_BUSY, machine, 0, TDH_SYS_UPDATE, 0, 0, 0, 0);
	sharex_unlock_shared(&machine->m->sys_lock);

	/* R9 and R10 are operands of version 1 only. */
	regs = (struct tdxm_regs) { .rax = TDH_SYS_UPDATE | 1 << 16, .r9 = 4 };
	KTAP_EXPECT_EQ(tdxm_seamcall(machine->m, 0, 1, &regs), TDXM_DONE);
	EXPECT_STATUS(INV + OP_R9, regs.rax);
	regs = (struct tdxm_regs) { .rax = TDH_SYS_UPDATE | 1 << 16, .r9 = 2, .r10 = 1 };
	KTAP_EXPECT_EQ(tdxm_seamcall(machine->m, 0, 1, &regs), TDXM_DONE);
	EXPECT_STATUS(INV + OP_R10, regs.rax);
	regs = (struct tdxm_regs) { .rax = TDH_SYS_UPDATE, .r9 = 4, .r10 = 1 };
	KTAP_EXPECT_EQ(tdxm_seamcall(machine->m, 0, 1, &regs), TDXM_DONE);
	EXPECT_STATUS(TDX_SUCCESS, regs.rax);
	EXPECT_CALL(TDX_SYS_STATE_INCORRECT, machine, 0, TDH_SYS_UPDATE, 0, 0, 0, 0);
	/* What was handed over once is gone. */
	params = put_params(machine);
	EXPECT_STATUS(SEAMLDR_SUCCESS, install(machine, 0, params));
	EXPECT_STATUS(SEAMLDR_EBADHANDOFF, install(machine, 1, params));
	machine_free(machine);
}

/* The TDMRs belong to living TDs: the only way on is SYS.UPDATE. */
static void config_instead_of_update_fails(void)
{
	struct machine *machine = machine_new_preserving();
	struct tdx_tdmr_info tdmr = machine_tdmr();
	uint64_t array = machine_put_tdmrs(machine, &tdmr, 1);
	struct test_td td = td_new(machine, 2, STAGE_RUNNABLE);

	shut_down(machine);
	install_everywhere(machine);
	machine_init_lps(machine);
	EXPECT_CALL(TDX_SYS_CONFIG_NOT_PENDING, machine, 0, TDH_SYS_CONFIG, array, 1,
		    MACHINE_GLOBAL_HKID, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_SYS_UPDATE, 0, 0, 0, 0);
	td_free(&td);
	machine_free(machine);
}

static void update_without_handoff_fails(void)
{
	struct machine *machine = machine_new(2, 1);

	machine_init_lps(machine);
	EXPECT_CALL(TDX_SYS_INVALID_HANDOFF, machine, 0, TDH_SYS_UPDATE, 0, 0, 0, 0);
	machine_free(machine);
}

static void interrupted_write_back_does_not_survive(void)
{
	struct machine *machine = machine_new_preserving();
	struct test_td td = td_new(machine, 2, STAGE_KEYED);

	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MNG_VPFLUSHDONE, td.tdr, 0, 0, 0);
	machine->lp_state[0][TDXM_LP_INTERRUPTED] = 1;
	EXPECT_CALL(TDX_INTERRUPTED_RESUMABLE, machine, 0, TDH_PHYMEM_CACHE_WB, 0, 0, 0, 0);
	machine->lp_state[0][TDXM_LP_INTERRUPTED] = 0;
	update(machine);
	EXPECT_CALL(TDX_WBCACHE_RESUME_ERROR, machine, 0, TDH_PHYMEM_CACHE_WB, 1, 0, 0, 0);
	EXPECT_CALL(TDX_WBCACHE_NOT_COMPLETE, machine, 0, TDH_MNG_KEY_FREEID, td.tdr, 0, 0, 0);
	machine_forget_findings(machine);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_PHYMEM_CACHE_WB, 0, 0, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MNG_KEY_FREEID, td.tdr, 0, 0, 0);
	machine_free(machine);
}

static const struct ktap_case cases[] = {
	{ "update.what_linux_looks_at_tells_that_it_is_there",
	  what_linux_looks_at_tells_that_it_is_there },
	{ "update.td_survives_update_ok", td_survives_update_ok },
	{ "update.every_leaf_is_refused_after_shutdown", every_leaf_is_refused_after_shutdown },
	{ "update.shutdown_refusals", shutdown_refusals },
	{ "update.shutdown_while_a_call_is_inside_fails_and_changes_nothing",
	  shutdown_while_a_call_is_inside_fails_and_changes_nothing },
	{ "update.shutdown_that_is_made_to_fail_changes_nothing",
	  shutdown_that_is_made_to_fail_changes_nothing },
	{ "update.nobody_calls_the_module_during_install", nobody_calls_the_module_during_install },
	{ "update.loader_takes_one_lp_at_a_time", loader_takes_one_lp_at_a_time },
	{ "update.install_refusals", install_refusals },
	{ "update.load_and_unknown_leaves_are_found", load_and_unknown_leaves_are_found },
	{ "update.info_refusals", info_refusals },
	{ "update.updates_run_out", updates_run_out },
	{ "update.update_refusals", update_refusals },
	{ "update.config_instead_of_update_fails", config_instead_of_update_fails },
	{ "update.update_without_handoff_fails", update_without_handoff_fails },
	{ "update.interrupted_write_back_does_not_survive",
	  interrupted_write_back_does_not_survive },
};

KTAP_MAIN(cases)
