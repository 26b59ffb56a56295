// SPDX-License-Identifier: GPL-2.0-only
/* TDH.MNG.*: creation, keys, TDCS, TD_PARAMS, release. */
#include "tests/module/machine.h"

#define INV TDX_OPERAND_INVALID
#define BUSY TDX_OPERAND_BUSY

static void create_refusals(void)
{
	struct machine *machine = machine_new_booted();
	uint64_t page = machine_page(machine);
	struct test_td td = td_new(machine, 3, STAGE_CREATED);
	struct sharex *kot = &machine->m->kot_lock;

	EXPECT_CALL(INV + OP_RDX, machine, 0, TDH_MNG_CREATE, page, 0, 0, 0);
	EXPECT_CALL(INV + OP_RDX, machine, 0, TDH_MNG_CREATE, page, MACHINE_NR_HKIDS + 1, 0, 0);
	EXPECT_CALL(INV + OP_RDX, machine, 0, TDH_MNG_CREATE, page, 0x10002, 0, 0);
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_MNG_CREATE, page + 1, 2, 0, 0);
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_MNG_CREATE, WITH_KEYID(page, 2), 2, 0, 0);
	EXPECT_CALL(TDX_OPERAND_ADDR_RANGE_ERROR + OP_RCX, machine, 0, TDH_MNG_CREATE, TDX_1G, 2, 0,
		    0);
	EXPECT_CALL(TDX_PAGE_METADATA_INCORRECT + OP_RCX, machine, 0, TDH_MNG_CREATE, 0, 2, 0, 0);
	KTAP_EXPECT(sharex_try_shared(kot));
	EXPECT_CALL(BUSY + OP_KOT, machine, 0, TDH_MNG_CREATE, page, 2, 0, 0);
	sharex_unlock_shared(kot);

	EXPECT_CALL(TDX_HKID_NOT_FREE, machine, 0, TDH_MNG_CREATE, page, MACHINE_GLOBAL_HKID, 0, 0);
	EXPECT_CALL(TDX_HKID_NOT_FREE, machine, 0, TDH_MNG_CREATE, page, td.hkid, 0, 0);
	KTAP_EXPECT_EQ(machine_findings(machine).sanitizer, 2);
	machine_forget_findings(machine);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MNG_CREATE, page, 2, 0, 0);
	KTAP_EXPECT_EQ(machine_page_type(machine, page), PT_TDR);
	machine_free(machine);
}

static void key_config_refusals(void)
{
	struct machine *machine = machine_new(4, 2);
	struct test_td td;

	machine_boot(machine);
	td = td_new(machine, 2, STAGE_CREATED);
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_MNG_KEY_CONFIG, td.tdr | 1, 0, 0, 0);
	EXPECT_CALL(TDX_PAGE_METADATA_INCORRECT + OP_RCX, machine, 0, TDH_MNG_KEY_CONFIG, td.source,
		    0, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MNG_KEY_CONFIG, td.tdr, 0, 0, 0);
	EXPECT_CALL(TDX_KEY_CONFIGURED, machine, 2, TDH_MNG_KEY_CONFIG, td.tdr, 0, 0, 0);
	EXPECT_CALL(TDX_TD_KEYS_NOT_CONFIGURED, machine, 0, TDH_MNG_ADDCX, machine_page(machine),
		    td.tdr, 0, 0);
	KTAP_EXPECT(sharex_try_exclusive(&machine->m->ket_lock[1]));
	EXPECT_CALL(BUSY + OP_KET, machine, 1, TDH_MNG_KEY_CONFIG, td.tdr, 0, 0, 0);
	sharex_unlock_exclusive(&machine->m->ket_lock[1]);
	EXPECT_CALL(TDX_SUCCESS, machine, 1, TDH_MNG_KEY_CONFIG, td.tdr, 0, 0, 0);
	EXPECT_CALL(TDX_LIFECYCLE_STATE_INCORRECT, machine, 1, TDH_MNG_KEY_CONFIG, td.tdr, 0, 0, 0);
	machine_free(machine);
}

static void addcx_refusals(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_ADDCX);
	uint64_t page = machine_page(machine);
	unsigned int i;

	EXPECT_CALL(INV + OP_RDX, machine, 0, TDH_MNG_ADDCX, page, td.tdr | 1, 0, 0);
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_MNG_ADDCX, page | 1, td.tdr, 0, 0);
	EXPECT_CALL(TDX_PAGE_METADATA_INCORRECT + OP_RCX, machine, 0, TDH_MNG_ADDCX, 0, td.tdr, 0,
		    0);
	for (i = TDX_TDCS_PAGES; i < TDX_TDCS_MAX_PAGES; i++)
		EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MNG_ADDCX, machine_page(machine), td.tdr,
			    0, 0);
	EXPECT_CALL(TDX_TDCX_NUM_INCORRECT, machine, 0, TDH_MNG_ADDCX, page, td.tdr, 0, 0);

	td = td_new(machine, 3, STAGE_INITIALIZED);
	EXPECT_CALL(TDX_OP_STATE_INCORRECT + TD_INITIALIZED, machine, 0, TDH_MNG_ADDCX, page,
		    td.tdr, 0, 0);
	machine_free(machine);
}

#define SPOIL(name, statement)                         \
	static void name(struct tdx_td_params *params) \
	{                                              \
		statement;                             \
	}

SPOIL(attributes_unknown, params->attributes |= BIT_U64(5))
SPOIL(attributes_migratable, params->attributes |= BIT_U64(29))
SPOIL(xfam_without_sse, params->xfam = 1)
SPOIL(xfam_unknown, params->xfam |= BIT_U64(40))
SPOIL(xfam_avx512_without_avx, params->xfam |= 0xe0)
SPOIL(xfam_half_of_avx512, params->xfam |= 0x24)
SPOIL(xfam_half_of_cet, params->xfam |= BIT_U64(11))
SPOIL(xfam_half_of_amx, params->xfam |= BIT_U64(18))
SPOIL(no_vcpus, params->max_vcpus = 0)
SPOIL(too_many_vcpus, params->max_vcpus = 577)
SPOIL(l2_vms, params->num_l2_vms = 1)
SPOIL(reserved_20, params->reserved20[3] = 1)
SPOIL(config_flags_unknown, params->config_flags |= BIT_U64(8))
SPOIL(eptp_uncached, params->eptp_controls = 3 << 3)
SPOIL(eptp_three_levels, params->eptp_controls = 6 | 2 << 3)
SPOIL(eptp_dirty_bits, params->eptp_controls |= BIT_U64(6))
SPOIL(gpaw_with_four_levels, params->config_flags |= TDX_CONFIG_FLAGS_GPAW)
SPOIL(tsc_too_slow, params->tsc_frequency = 3)
SPOIL(tsc_too_fast, params->tsc_frequency = 401)
SPOIL(reserved_42, params->reserved42[0] = 1)
SPOIL(reserved_232, params->reserved232[23] = 1)
SPOIL(msr_config, params->msr_config_ctls = 2)
SPOIL(cpuid_1_eax, params->cpuid[0].eax = 0x306a9)
SPOIL(cpuid_1_not_configurable, params->cpuid[0].edx = 1)
SPOIL(cpuid_7_hle_without_rtm, params->cpuid[5].ebx = BIT_U64(4))
SPOIL(cpuid_gpa_width, params->cpuid[9].eax = 48 << 16)
SPOIL(cpuid_1f_gap, params->cpuid[13].ecx = 2 << 8)
SPOIL(cpuid_unused_slot, params->cpuid[47].edx = 1)
SPOIL(arch_capabilities, params->arch_capabilities = 1)

/* In the order in which they are checked. */
static const struct {
	uint64_t want;
	void (*spoil)(struct tdx_td_params *params);
	uint64_t rcx;
} bad[] = {
	{ INV + OP_ATTRIBUTES, attributes_unknown, 0 },
	{ INV + OP_ATTRIBUTES, attributes_migratable, 0 },
	{ INV + OP_XFAM, xfam_without_sse, 0 },
	{ INV + OP_XFAM, xfam_unknown, 0 },
	{ INV + OP_XFAM, xfam_avx512_without_avx, 0 },
	{ INV + OP_XFAM, xfam_half_of_avx512, 0 },
	{ INV + OP_XFAM, xfam_half_of_cet, 0 },
	{ INV + OP_XFAM, xfam_half_of_amx, 0 },
	{ INV + OP_MAX_VCPUS, no_vcpus, 0 },
	{ INV + OP_MAX_VCPUS, too_many_vcpus, 0 },
	{ INV + OP_NUM_L2_VMS, l2_vms, 0 },
	{ INV + OP_RDX, reserved_20, 0 },
	{ INV + OP_CONFIG_FLAGS, config_flags_unknown, 0 },
	{ INV + OP_EPTP_CONTROLS, eptp_uncached, 0 },
	{ INV + OP_EPTP_CONTROLS, eptp_three_levels, 0 },
	{ INV + OP_EPTP_CONTROLS, eptp_dirty_bits, 0 },
	{ INV + OP_EPTP_CONTROLS, gpaw_with_four_levels, 0 },
	{ INV + OP_TSC_FREQUENCY, tsc_too_slow, 0 },
	{ INV + OP_TSC_FREQUENCY, tsc_too_fast, 0 },
	{ INV + OP_RDX, reserved_42, 0 },
	{ INV + OP_RDX, reserved_232, 0 },
	{ INV + OP_RDX, msr_config, 0 },
	{ INV + OP_CPUID_CONFIG, cpuid_1_eax, 0xffffffff00000001 },
	{ INV + OP_CPUID_CONFIG, cpuid_1_not_configurable, 0xffffffff00000001 },
	{ INV + OP_CPUID_CONFIG, cpuid_7_hle_without_rtm, 7 },
	{ INV + OP_CPUID_CONFIG, cpuid_gpa_width, 0xffffffff80000008 },
	{ TDX_CPUID_LEAF_1F_FORMAT_UNRECOGNIZED, cpuid_1f_gap, 0x1f },
	{ INV + OP_RDX, cpuid_unused_slot, 0 },
	{ INV + OP_ARCH_CAPABILITIES, arch_capabilities, 0 },
};

static void init_bad_td_params_fail(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_ADDCX);
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(bad); i++) {
		struct tdx_td_params params = td_default_params();
		struct tdxm_regs regs;

		bad[i].spoil(&params);
		memcpy(machine_ram(machine, td.params), &params, sizeof(params));
		regs = machine_call(machine, 0, TDH_MNG_INIT, td.tdr, td.params, 0, 0);
		if (!EXPECT_STATUS(bad[i].want, regs.rax) || !KTAP_EXPECT_EQ(regs.rcx, bad[i].rcx))
			printf("# row %u\n", i);
	}
	/* A refused INIT may be repeated. */
	td_advance(&td, STAGE_INITIALIZED);
	machine_free(machine);
}

/* Everything from row @first on is wrong. */
static struct tdxm_regs init_with_all_wrong(struct test_td *td, unsigned int first)
{
	struct tdx_td_params params = td_default_params();
	unsigned int i;

	for (i = ARRAY_LEN(bad); i-- > first;)
		bad[i].spoil(&params);
	memcpy(machine_ram(td->machine, td->params), &params, sizeof(params));
	return machine_call(td->machine, 0, TDH_MNG_INIT, td->tdr, td->params, 0, 0);
}

static void td_params_are_checked_in_order(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_ADDCX);
	uint64_t *lp = machine->lp_state[0];
	bool behind_tsc_frequency = false;
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(bad); i++) {
		struct tdxm_regs regs = init_with_all_wrong(&td, i);

		if (!EXPECT_STATUS(bad[i].want, regs.rax) || !KTAP_EXPECT_EQ(regs.rcx, bad[i].rcx))
			printf("# row %u\n", i);
		/* What the LP itself has wrong is found in the middle, and at the very start. */
		behind_tsc_frequency |= bad[i].spoil == reserved_42;
		lp[TDXM_LP_TSC_ADJUST] = 1;
		EXPECT_STATUS(behind_tsc_frequency ? TDX_INCONSISTENT_MSR + TDX_MSR_TSC_ADJUST :
						     bad[i].want,
			      init_with_all_wrong(&td, i).rax);
		lp[TDXM_LP_TSC_ADJUST] = 0;
	}
	lp[TDXM_LP_LIMIT_CPUID] = 1;
	EXPECT_STATUS(TDX_LIMIT_CPUID_MAXVAL_SET, init_with_all_wrong(&td, 0).rax);
	machine_free(machine);
}

static void init_bad_operands_fail(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_KEYED);

	EXPECT_CALL(TDX_TDCS_NOT_ALLOCATED, machine, 0, TDH_MNG_INIT, td.tdr, td.params, 0, 0);
	td_advance(&td, STAGE_ADDCX);
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_MNG_INIT, td.tdr | 1, td.params, 0, 0);
	EXPECT_CALL(INV + OP_RDX, machine, 0, TDH_MNG_INIT, td.tdr, td.params + 512, 0, 0);
	EXPECT_CALL(INV + OP_RDX, machine, 0, TDH_MNG_INIT, td.tdr, WITH_KEYID(td.params, 2), 0, 0);
	EXPECT_CALL(INV + OP_RDX, machine, 0, TDH_MNG_INIT, td.tdr, TDX_1G, 0, 0);
	td_advance(&td, STAGE_INITIALIZED);
	EXPECT_CALL(TDX_OP_STATE_INCORRECT + TD_INITIALIZED, machine, 0, TDH_MNG_INIT, td.tdr,
		    td.params, 0, 0);
	machine_free(machine);
}

static void init_five_levels_on_small_cpu_fails(void)
{
	static const struct {
		bool la57;
		unsigned int maxphyaddr;
	} cpu[] = { { false, 52 }, { true, 48 } };
	struct tdx_td_params params = td_default_params();
	unsigned int i;

	params.eptp_controls = 6 | 4 << 3;
	for (i = 0; i < ARRAY_LEN(cpu); i++) {
		struct tdxm_platform platform = machine_platform(2, 1);
		struct machine *machine;
		struct test_td td;

		platform.la57 = cpu[i].la57;
		platform.maxphyaddr = cpu[i].maxphyaddr;
		machine = machine_new_on(&platform);
		machine_boot(machine);
		td = td_new(machine, 2, STAGE_ADDCX);
		memcpy(machine_ram(machine, td.params), &params, sizeof(params));
		EXPECT_CALL(INV + OP_EPTP_CONTROLS, machine, 0, TDH_MNG_INIT, td.tdr, td.params, 0,
			    0);
		machine_free(machine);
	}
}

static void init_five_levels_with_52_bits_ok(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_ADDCX);
	struct tdx_td_params params = td_default_params();
	unsigned int level;

	params.eptp_controls = 6 | 4 << 3;
	params.config_flags |= TDX_CONFIG_FLAGS_GPAW;
	memcpy(machine_ram(machine, td.params), &params, sizeof(params));
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MNG_INIT, td.tdr, td.params, 0, 0);
	for (level = 4; level; level--)
		EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_SEPT_ADD, BIT_U64(50) | level, td.tdr,
			    machine_page(machine), 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_PAGE_ADD, BIT_U64(50), td.tdr,
		    machine_page(machine), td.source);
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_MEM_PAGE_ADD, BIT_U64(51), td.tdr,
		    machine_page(machine), td.source);
	machine_free(machine);
}

static void release_refusals(void)
{
	struct machine *machine = machine_new(4, 2);
	struct test_td td;

	machine_boot(machine);
	td = td_new(machine, 2, STAGE_VCPU);
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_MNG_VPFLUSHDONE, td.tdr | 1, 0, 0, 0);
	EXPECT_CALL(INV + OP_RCX, machine, 0, TDH_MNG_KEY_FREEID, td.tdr | 1, 0, 0, 0);
	EXPECT_CALL(TDX_FLUSHVP_NOT_DONE, machine, 0, TDH_MNG_VPFLUSHDONE, td.tdr, 0, 0, 0);
	EXPECT_CALL(TDX_LIFECYCLE_STATE_INCORRECT, machine, 0, TDH_MNG_KEY_FREEID, td.tdr, 0, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_VP_FLUSH, td.vcpu.tdvpr, 0, 0, 0);
	KTAP_EXPECT(sharex_try_shared(&machine->m->kot_lock));
	EXPECT_CALL(BUSY + OP_KOT, machine, 0, TDH_MNG_VPFLUSHDONE, td.tdr, 0, 0, 0);
	sharex_unlock_shared(&machine->m->kot_lock);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MNG_VPFLUSHDONE, td.tdr, 0, 0, 0);
	EXPECT_CALL(TDX_LIFECYCLE_STATE_INCORRECT, machine, 0, TDH_MNG_VPFLUSHDONE, td.tdr, 0, 0,
		    0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_PHYMEM_CACHE_WB, 0, 0, 0, 0);
	/* The second package has not written back yet. */
	EXPECT_CALL(TDX_WBCACHE_NOT_COMPLETE, machine, 0, TDH_MNG_KEY_FREEID, td.tdr, 0, 0, 0);
	machine_expect_rule(machine, SAN_KEYID_FREED_EARLY, 1);
	EXPECT_CALL(TDX_SUCCESS, machine, 1, TDH_PHYMEM_CACHE_WB, 0, 0, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MNG_KEY_FREEID, td.tdr, 0, 0, 0);
	EXPECT_CALL(TDX_TD_KEYS_NOT_CONFIGURED, machine, 0, TDH_MNG_RD, td.tdr, 0x110000000000000a,
		    0, 0);
	machine_expect_rule(machine, SAN_CALL_AFTER_TEARDOWN, 1);
	machine_free(machine);
}

static const struct ktap_case cases[] = {
	{ "mng.create_refusals", create_refusals },
	{ "mng.key_config_refusals", key_config_refusals },
	{ "mng.addcx_refusals", addcx_refusals },
	{ "mng.init_bad_td_params_fail", init_bad_td_params_fail },
	{ "mng.td_params_are_checked_in_order", td_params_are_checked_in_order },
	{ "mng.init_bad_operands_fail", init_bad_operands_fail },
	{ "mng.init_five_levels_on_small_cpu_fails", init_five_levels_on_small_cpu_fails },
	{ "mng.init_five_levels_with_52_bits_ok", init_five_levels_with_52_bits_ok },
	{ "mng.release_refusals", release_refusals },
};

KTAP_MAIN(cases)
