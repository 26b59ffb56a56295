// SPDX-License-Identifier: GPL-2.0-only
/* What KVM does to build a TD and to take it down, for the unit tests. */
#include "tests/module/machine.h"

struct tdx_td_params td_default_params(void)
{
	return (struct tdx_td_params) {
		.attributes = TDX_ATTR_DEBUG,
		.xfam = TDX_XFAM_FIXED1,
		.max_vcpus = 4,
		.eptp_controls = 6 | 3 << 3,
		.config_flags = TDX_CONFIG_FLAGS_NO_RBP_MOD,
		.tsc_frequency = 40,
	};
}

static void create(struct test_td *td)
{
	td->tdr = machine_page(td->machine);
	EXPECT_CALL(TDX_SUCCESS, td->machine, 0, TDH_MNG_CREATE, td->tdr, td->hkid, 0, 0);
}

static void configure_keys(struct test_td *td)
{
	unsigned int i;

	for (i = 0; i < td->machine->platform.nr_packages; i++)
		EXPECT_CALL(TDX_SUCCESS, td->machine, i, TDH_MNG_KEY_CONFIG, td->tdr, 0, 0, 0);
}

static void add_tdcs(struct test_td *td)
{
	unsigned int i;

	for (i = 0; i < TDX_TDCS_PAGES; i++) {
		td->tdcx[i] = machine_page(td->machine);
		EXPECT_CALL(TDX_SUCCESS, td->machine, 0, TDH_MNG_ADDCX, td->tdcx[i], td->tdr, 0, 0);
	}
}

static void initialize(struct test_td *td)
{
	struct tdx_td_params params = td_default_params();

	memcpy(machine_ram(td->machine, td->params), &params, sizeof(params));
	EXPECT_CALL(TDX_SUCCESS, td->machine, 0, TDH_MNG_INIT, td->tdr, td->params, 0, 0);
}

struct test_vcpu td_new_vcpu(struct test_td *td)
{
	struct test_vcpu vcpu = { .tdvpr = machine_page(td->machine) };
	unsigned int i;

	EXPECT_CALL(TDX_SUCCESS, td->machine, 0, TDH_VP_CREATE, vcpu.tdvpr, td->tdr, 0, 0);
	for (i = 0; i < ARRAY_LEN(vcpu.tdcx); i++) {
		vcpu.tdcx[i] = machine_page(td->machine);
		EXPECT_CALL(TDX_SUCCESS, td->machine, 0, TDH_VP_ADDCX, vcpu.tdcx[i], vcpu.tdvpr, 0,
			    0);
	}
	return vcpu;
}

static void add_vcpu(struct test_td *td)
{
	td->vcpu = td_new_vcpu(td);
	EXPECT_CALL(TDX_SUCCESS, td->machine, 0, TDH_VP_INIT | 1 << TDX_RAX_VERSION_SHIFT,
		    td->vcpu.tdvpr, 0, 0, 0);
}

static void add_page_tables(struct test_td *td)
{
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(td->sept); i++) {
		td->sept[i] = machine_page(td->machine);
		EXPECT_CALL(TDX_SUCCESS, td->machine, 0, TDH_MEM_SEPT_ADD, 3 - i, td->tdr,
			    td->sept[i], 0);
	}
}

static void finalize(struct test_td *td)
{
	EXPECT_CALL(TDX_SUCCESS, td->machine, 0, TDH_MR_FINALIZE, td->tdr, 0, 0, 0);
}

typedef void (*step_fn)(struct test_td *td);

void td_advance(struct test_td *td, enum td_stage stage)
{
	static const step_fn step[] = {
		[STAGE_CREATED] = create,    [STAGE_KEYED] = configure_keys,
		[STAGE_ADDCX] = add_tdcs,    [STAGE_INITIALIZED] = initialize,
		[STAGE_VCPU] = add_vcpu,     [STAGE_SEPT] = add_page_tables,
		[STAGE_RUNNABLE] = finalize,
	};

	while (td->stage < stage)
		step[++td->stage](td);
}

struct test_td td_new(struct machine *machine, uint64_t hkid, enum td_stage stage)
{
	struct test_td td = {
		.machine = machine,
		.hkid = hkid,
		.params = machine_page(machine),
		.source = machine_page(machine),
	};

	create(&td);
	td_advance(&td, stage);
	return td;
}

uint64_t td_add_page(struct test_td *td, uint64_t gpa)
{
	uint64_t hpa = machine_page(td->machine);

	EXPECT_CALL(TDX_SUCCESS, td->machine, 0, TDH_MEM_PAGE_ADD, gpa, td->tdr, hpa, td->source);
	return hpa;
}

void td_release_key(struct test_td *td)
{
	struct machine *machine = td->machine;
	unsigned int i;

	if (td->stage >= STAGE_VCPU && vcpu_model(td, &td->vcpu)->assoc_lp != TDXM_NO_LP)
		EXPECT_CALL(TDX_SUCCESS, machine, vcpu_model(td, &td->vcpu)->assoc_lp, TDH_VP_FLUSH,
			    td->vcpu.tdvpr, 0, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MNG_VPFLUSHDONE, td->tdr, 0, 0, 0);
	for (i = 0; i < machine->platform.nr_packages; i++)
		EXPECT_CALL(TDX_SUCCESS, machine, i, TDH_PHYMEM_CACHE_WB, 0, 0, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MNG_KEY_FREEID, td->tdr, 0, 0, 0);
}

void td_reclaim(struct test_td *td, uint64_t hpa)
{
	struct tdxm_regs regs =
		EXPECT_CALL(TDX_SUCCESS, td->machine, 0, TDH_PHYMEM_PAGE_RECLAIM, hpa, 0, 0, 0);

	KTAP_EXPECT_EQ(regs.rdx, hpa == td->tdr ? 0 : td->tdr);
}

void td_free(struct test_td *td)
{
	struct machine *machine = td->machine;
	unsigned int i;

	td_release_key(td);
	for (i = 0; td->stage >= STAGE_SEPT && i < ARRAY_LEN(td->sept); i++)
		td_reclaim(td, td->sept[i]);
	if (td->stage >= STAGE_VCPU) {
		for (i = 0; i < ARRAY_LEN(td->vcpu.tdcx); i++)
			td_reclaim(td, td->vcpu.tdcx[i]);
		td_reclaim(td, td->vcpu.tdvpr);
	}
	for (i = 0; td->stage >= STAGE_ADDCX && i < ARRAY_LEN(td->tdcx); i++)
		td_reclaim(td, td->tdcx[i]);
	KTAP_EXPECT_EQ(td_model(td)->chldcnt, 0);
	td_reclaim(td, td->tdr);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_PHYMEM_PAGE_WBINVD,
		    WITH_KEYID(td->tdr, MACHINE_GLOBAL_HKID), 0, 0, 0);
}

void td_kill(struct test_td *td)
{
	td_model(td)->fatal = true;
}

struct tdxm_td *td_model(struct test_td *td)
{
	return (struct tdxm_td *)tdxm_pamt_find(td->machine->m, td->tdr)->object;
}

struct tdxm_vcpu *vcpu_model(struct test_td *td, struct test_vcpu *vcpu)
{
	return (struct tdxm_vcpu *)tdxm_pamt_find(td->machine->m, vcpu->tdvpr)->object;
}
