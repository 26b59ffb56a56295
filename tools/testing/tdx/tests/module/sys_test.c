// SPDX-License-Identifier: GPL-2.0-only
/* TDH.SYS.*: bring-up in order, and what happens out of order. */
#include "tests/module/machine.h"

#define INV TDX_OPERAND_INVALID

static uint64_t config_with(struct machine *machine, const struct tdx_tdmr_info *tdmr)
{
	return machine_call(machine, 0, TDH_SYS_CONFIG, machine_put_tdmrs(machine, tdmr, 1), 1,
			    MACHINE_GLOBAL_HKID, 0)
		.rax;
}

static void bring_up_on_two_packages_ok(void)
{
	struct machine *machine = machine_new(4, 2);

	machine_boot(machine);
	KTAP_EXPECT_EQ(machine->m->sys_state, SYS_READY);
	machine_free(machine);
}

static void leaves_out_of_order_fail(void)
{
	struct machine *machine = machine_new(2, 1);
	struct tdx_tdmr_info tdmr = machine_tdmr();

	EXPECT_CALL(TDX_SYS_LP_INIT_NOT_PENDING, machine, 0, TDH_SYS_LP_INIT, 0, 0, 0, 0);
	EXPECT_CALL(TDX_SYS_CONFIG_NOT_PENDING, machine, 0, TDH_SYS_CONFIG, 0, 1, 1, 0);
	EXPECT_CALL(TDX_SYS_KEY_CONFIG_NOT_PENDING, machine, 0, TDH_SYS_KEY_CONFIG, 0, 0, 0, 0);
	EXPECT_CALL(TDX_SYS_NOT_READY, machine, 0, TDH_SYS_TDMR_INIT, 0, 0, 0, 0);
	EXPECT_CALL(TDX_SYS_NOT_READY, machine, 0, TDH_MNG_CREATE, 0, 0, 0, 0);
	EXPECT_CALL(TDX_SYS_LP_INIT_NOT_DONE, machine, 0, TDH_SYS_RD, 0, 0x0a00000300000008, 0, 0);

	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_SYS_INIT, 1, 0, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_SYS_INIT, 0, 0, 0, 0);
	EXPECT_CALL(TDX_SYS_INIT_NOT_PENDING, machine, 0, TDH_SYS_INIT, 0, 0, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_SYS_LP_INIT, 0, 0, 0, 0);
	EXPECT_CALL(TDX_SYS_LP_INIT_DONE, machine, 0, TDH_SYS_LP_INIT, 0, 0, 0, 0);
	/* One LP is missing. */
	EXPECT_STATUS(TDX_SYS_CONFIG_NOT_PENDING, config_with(machine, &tdmr));
	EXPECT_CALL(TDX_SUCCESS, machine, 1, TDH_SYS_LP_INIT, 0, 0, 0, 0);
	EXPECT_STATUS(TDX_SUCCESS, config_with(machine, &tdmr));
	EXPECT_CALL(TDX_SYS_LP_INIT_NOT_PENDING, machine, 1, TDH_SYS_LP_INIT, 0, 0, 0, 0);
	EXPECT_STATUS(TDX_SYS_CONFIG_NOT_PENDING, config_with(machine, &tdmr));
	machine_free(machine);
}

static void global_lock_busy_fails(void)
{
	struct machine *machine = machine_new(2, 1);

	KTAP_EXPECT(sharex_try_shared(&machine->m->sys_lock));
	EXPECT_CALL(TDX_SYS_BUSY, machine, 0, TDH_SYS_INIT, 0, 0, 0, 0);
	EXPECT_CALL(TDX_SYS_BUSY, machine, 0, TDH_SYS_CONFIG, 0, 0, 0, 0);
	EXPECT_CALL(TDX_SYS_BUSY, machine, 0, TDH_SYS_KEY_CONFIG, 0, 0, 0, 0);
	/* LP.INIT shares it, so that all LPs may run it at once. */
	EXPECT_CALL(TDX_SYS_LP_INIT_NOT_PENDING, machine, 0, TDH_SYS_LP_INIT, 0, 0, 0, 0);
	sharex_unlock_shared(&machine->m->sys_lock);
	KTAP_EXPECT(sharex_try_exclusive(&machine->m->sys_lock));
	EXPECT_CALL(TDX_SYS_BUSY, machine, 0, TDH_SYS_LP_INIT, 0, 0, 0, 0);
	sharex_unlock_exclusive(&machine->m->sys_lock);
	machine_free(machine);
}

static void config_bad_operands_fail(void)
{
	struct machine *machine = machine_new(2, 1);
	struct tdx_tdmr_info tdmr = machine_tdmr();
	uint64_t array = machine_put_tdmrs(machine, &tdmr, 1);
	uint64_t *pa = machine_ram(machine, array);

	machine_init_lps(machine);
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_SYS_CONFIG, array + 8, 1, 1, 0);
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_SYS_CONFIG, WITH_KEYID(array, 1), 1, 1, 0);
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_SYS_CONFIG, TDX_1G, 1, 1, 0);
	EXPECT_CALL(INV + OP_RDX, machine, 0, TDH_SYS_CONFIG, array, 0, 1, 0);
	EXPECT_CALL(INV + OP_RDX, machine, 0, TDH_SYS_CONFIG, array, 65, 1, 0);
	EXPECT_CALL(INV + OP_R8, machine, 0, TDH_SYS_CONFIG, array, 1, 0, 0);
	EXPECT_CALL(INV + OP_R8, machine, 0, TDH_SYS_CONFIG, array, 1, MACHINE_NR_HKIDS + 1, 0);
	EXPECT_CALL(INV + OP_R8, machine, 0, TDH_SYS_CONFIG, array, 1, 0x10001, 0);
	pa[0] += 8;
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_SYS_CONFIG, array, 1, 1, 0);
	machine_free(machine);
}

/* A TDMR_INFO with one thing wrong. */
struct tdmr_case {
	uint64_t want;
	void (*spoil)(struct tdx_tdmr_info *tdmr);
};

#define SPOIL(name, ...)                             \
	static void name(struct tdx_tdmr_info *tdmr) \
	{                                            \
		__VA_ARGS__;                         \
	}

SPOIL(size_overflows, tdmr->base = TDX_1G; tdmr->size = -TDX_1G)
SPOIL(base_unaligned, tdmr->base = TDX_2M)
SPOIL(size_zero, tdmr->size = 0)
SPOIL(size_unaligned, tdmr->size += TDX_2M)
SPOIL(base_with_keyid, tdmr->base = BIT_U64(MACHINE_KEYID_SHIFT))
/* clang-format off */
SPOIL(reserved_with_hole, tdmr->reserved[3] = tdmr->reserved[1]; tdmr->reserved[1].size = 0;
	tdmr->reserved[1].offset = 0)
SPOIL(reserved_descending, tdmr->reserved[2] = tdmr->reserved[1]; tdmr->reserved[1].size = 0x1000;
	tdmr->reserved[1].offset = 0)
/* clang-format on */
SPOIL(reserved_unaligned, tdmr->reserved[1].offset += 8; tdmr->reserved[1].size -= 8)
SPOIL(reserved_outside, tdmr->reserved[1].size += 0x1000)
SPOIL(pamt_4k_too_small, tdmr->pamt[2].size -= 0x1000)
SPOIL(pamt_2m_unaligned, tdmr->pamt[1].base += 8)
SPOIL(pamt_1g_with_keyid, tdmr->pamt[0].base |= BIT_U64(MACHINE_KEYID_SHIFT))
SPOIL(pamt_in_usable_memory, tdmr->pamt[2].base = 0x10000000)
SPOIL(pamt_overlap_each_other, tdmr->pamt[2].base = tdmr->pamt[1].base)
SPOIL(pamt_outside_cmrs, tdmr->pamt[0].base = 0)
SPOIL(usable_outside_cmrs, tdmr->reserved[0].size -= 0x1000)

static void config_bad_tdmr_fails(void)
{
	static const struct tdmr_case bad[] = {
		{ TDX_INVALID_TDMR, size_overflows },
		{ TDX_INVALID_TDMR, base_unaligned },
		{ TDX_INVALID_TDMR, size_zero },
		{ TDX_INVALID_TDMR, size_unaligned },
		{ TDX_INVALID_TDMR, base_with_keyid },
		{ TDX_NON_ORDERED_RESERVED_IN_TDMR + (3 << 8), reserved_with_hole },
		{ TDX_NON_ORDERED_RESERVED_IN_TDMR + (1 << 8), reserved_descending },
		{ TDX_INVALID_RESERVED_IN_TDMR + (1 << 8), reserved_unaligned },
		{ TDX_INVALID_RESERVED_IN_TDMR + (1 << 8), reserved_outside },
		{ TDX_INVALID_PAMT, pamt_4k_too_small },
		{ TDX_INVALID_PAMT + (1 << 8), pamt_2m_unaligned },
		{ TDX_INVALID_PAMT + (2 << 8), pamt_1g_with_keyid },
		{ TDX_PAMT_OVERLAP, pamt_in_usable_memory },
		{ TDX_PAMT_OVERLAP, pamt_overlap_each_other },
		{ TDX_PAMT_OUTSIDE_CMRS + (2 << 8), pamt_outside_cmrs },
		{ TDX_TDMR_OUTSIDE_CMRS, usable_outside_cmrs },
	};
	struct machine *machine = machine_new(2, 1);
	struct tdx_tdmr_info tdmr = machine_tdmr();
	unsigned int i;

	machine_init_lps(machine);
	for (i = 0; i < ARRAY_LEN(bad); i++) {
		tdmr = machine_tdmr();
		bad[i].spoil(&tdmr);
		if (!EXPECT_STATUS(bad[i].want, config_with(machine, &tdmr)))
			printf("# row %u\n", i);
	}
	/* All or nothing: the same call with good TDMRs still works. */
	tdmr = machine_tdmr();
	EXPECT_STATUS(TDX_SUCCESS, config_with(machine, &tdmr));
	machine_free(machine);
}

/* The one trace that a refused SYS.CONFIG leaves. */
static void keyid_of_config_with_bad_tdmr_stays_reserved(void)
{
	struct machine *machine = machine_new(2, 1);
	struct tdx_tdmr_info tdmr = machine_tdmr();
	uint64_t array;

	tdmr.size = 0;
	array = machine_put_tdmrs(machine, &tdmr, 1);
	machine_init_lps(machine);
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_SYS_CONFIG, array | 8, 1, 6, 0);
	EXPECT_CALL(TDX_INVALID_TDMR, machine, 0, TDH_SYS_CONFIG, array, 1, 5, 0);
	tdmr = machine_tdmr();
	EXPECT_STATUS(TDX_SUCCESS, config_with(machine, &tdmr));
	KTAP_EXPECT_EQ(machine->m->kot[MACHINE_GLOBAL_HKID].state, KOT_RESERVED);
	KTAP_EXPECT_EQ(machine->m->kot[5].state, KOT_RESERVED);
	KTAP_EXPECT_EQ(machine->m->kot[6].state, KOT_FREE);
	machine_free(machine);
}

static void config_two_tdmrs_in_wrong_order_fails(void)
{
	struct machine *machine = machine_new(2, 1);
	struct tdx_tdmr_info tdmr[2] = { machine_tdmr(), machine_tdmr() };

	machine_init_lps(machine);
	EXPECT_CALL(TDX_NON_ORDERED_TDMR + 1, machine, 0, TDH_SYS_CONFIG,
		    machine_put_tdmrs(machine, tdmr, 2), 2, 1, 0);
	machine_free(machine);
}

static void key_config_once_per_package(void)
{
	struct machine *machine = machine_new(4, 2);
	struct tdx_tdmr_info tdmr = machine_tdmr();

	machine_init_lps(machine);
	EXPECT_STATUS(TDX_SUCCESS, config_with(machine, &tdmr));
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_SYS_KEY_CONFIG, 0, 0, 0, 0);
	EXPECT_CALL(TDX_KEY_CONFIGURED, machine, 2, TDH_SYS_KEY_CONFIG, 0, 0, 0, 0);
	KTAP_EXPECT(sharex_try_exclusive(&machine->m->ket_lock[1]));
	EXPECT_CALL(TDX_OPERAND_BUSY + OP_KET, machine, 1, TDH_SYS_KEY_CONFIG, 0, 0, 0, 0);
	sharex_unlock_exclusive(&machine->m->ket_lock[1]);
	EXPECT_CALL(TDX_SUCCESS, machine, 1, TDH_SYS_KEY_CONFIG, 0, 0, 0, 0);
	EXPECT_CALL(TDX_SYS_KEY_CONFIG_NOT_PENDING, machine, 1, TDH_SYS_KEY_CONFIG, 0, 0, 0, 0);
	machine_free(machine);
}

static void tdmr_init_by_gib_ok(void)
{
	struct machine *machine = machine_new(1, 1);
	struct tdx_tdmr_info tdmr = machine_tdmr();
	struct tdxm_regs out;
	unsigned int i;

	machine_init_lps(machine);
	EXPECT_STATUS(TDX_SUCCESS, config_with(machine, &tdmr));
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_SYS_KEY_CONFIG, 0, 0, 0, 0);
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_SYS_TDMR_INIT, TDX_1G, 0, 0, 0);
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_SYS_TDMR_INIT, TDX_2M, 0, 0, 0);
	KTAP_EXPECT(sharex_try_exclusive(&machine->m->tdmr[0].lock));
	EXPECT_CALL(TDX_OPERAND_BUSY + OP_RCX, machine, 0, TDH_SYS_TDMR_INIT, 0, 0, 0, 0);
	sharex_unlock_exclusive(&machine->m->tdmr[0].lock);
	for (i = 1; i < 256; i++) {
		out = EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_SYS_TDMR_INIT, 0, 0, 0, 0);
		KTAP_EXPECT_EQ(out.rdx, 0);
	}
	/* Not usable before the whole GiB is done. */
	EXPECT_CALL(TDX_OPERAND_ADDR_RANGE_ERROR + OP_RCX, machine, 0, TDH_MNG_CREATE,
		    MACHINE_FIRST_PAGE, 2, 0, 0);
	KTAP_EXPECT_EQ(EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_SYS_TDMR_INIT, 0, 0, 0, 0).rdx,
		       TDX_1G);
	KTAP_EXPECT_EQ(EXPECT_CALL(TDX_TDMR_ALREADY_INITIALIZED, machine, 0, TDH_SYS_TDMR_INIT, 0,
				   7, 0, 0)
			       .rdx,
		       0);
	KTAP_EXPECT_EQ(machine_page_type(machine, 0xff000), PT_RSVD);
	KTAP_EXPECT_EQ(machine_page_type(machine, 0x100000), PT_NDA);
	KTAP_EXPECT_EQ(machine_page_type(machine, MACHINE_PAMT), PT_RSVD);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MNG_CREATE, MACHINE_FIRST_PAGE, 2, 0, 0);
	machine_free(machine);
}

static void shutdown_and_disable_are_not_offered(void)
{
	struct machine *machine = machine_new_booted();

	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_SYS_SHUTDOWN, 1, 0, 0, 0);
	EXPECT_CALL(INV + OP_RAX, machine, 0, TDH_SYS_DISABLE, 0, 0, 0, 0);
	machine_free(machine);
}

static void create_refuses_bad_platform(void)
{
	struct machine *machine = machine_new(1, 1);
	struct tdxm_platform platform = machine->platform;

	platform.nr_tdx_keyids = 1;
	KTAP_EXPECT(!tdxm_create(&platform, &machine->m->ops, machine));
	platform = machine->platform;
	platform.nr_lps = TDXM_MAX_LPS + 1;
	KTAP_EXPECT(!tdxm_create(&platform, &machine->m->ops, machine));
	platform = machine->platform;
	platform.cmr[0].base += 1;
	KTAP_EXPECT(!tdxm_create(&platform, &machine->m->ops, machine));
	/* A package between the last one and the limit of the module is a mistake. */
	platform = machine->platform;
	platform.lp_package[0] = 1;
	KTAP_EXPECT(!tdxm_create(&platform, &machine->m->ops, machine));
	tdxm_destroy(NULL);
	machine_free(machine);
}

static const struct ktap_case cases[] = {
	{ "sys.bring_up_on_two_packages_ok", bring_up_on_two_packages_ok },
	{ "sys.leaves_out_of_order_fail", leaves_out_of_order_fail },
	{ "sys.global_lock_busy_fails", global_lock_busy_fails },
	{ "sys.config_bad_operands_fail", config_bad_operands_fail },
	{ "sys.config_bad_tdmr_fails", config_bad_tdmr_fails },
	{ "sys.keyid_of_config_with_bad_tdmr_stays_reserved",
	  keyid_of_config_with_bad_tdmr_stays_reserved },
	{ "sys.config_two_tdmrs_in_wrong_order_fails", config_two_tdmrs_in_wrong_order_fails },
	{ "sys.key_config_once_per_package", key_config_once_per_package },
	{ "sys.tdmr_init_by_gib_ok", tdmr_init_by_gib_ok },
	{ "sys.shutdown_and_disable_are_not_offered", shutdown_and_disable_are_not_offered },
	{ "sys.create_refuses_bad_platform", create_refuses_bad_platform },
};

KTAP_MAIN(cases)
