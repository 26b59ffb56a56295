// SPDX-License-Identifier: GPL-2.0-only
/* SYS.RD and MNG.RD, in the way Linux walks them. */
#include "tests/module/machine.h"

#define CPUID_VALUES 0x9410000300000000ULL
#define TSC_OFFSET 0x110000000000000aULL

static uint64_t sys_rd(struct machine *machine, uint64_t id)
{
	return EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_SYS_RD, 0, id, 0, 0).r8;
}

/* Every field that Linux 6.16 to 7.3 reads at boot, and what it insists on. */
static void global_fields_of_linux_ok(void)
{
	static const struct {
		uint64_t id, want;
	} field[] = {
		{ 0x0800000100000003, 5 },     { 0x0800000100000004, 1 },
		{ 0x0800000100000005, 24 },    { 0x0a00000300000008, 0x140400 },
		{ 0x9100000100000008, 64 },    { 0x9100000100000009, 16 },
		{ 0x9100000100000010, 16 },    { 0x9100000100000011, 16 },
		{ 0x9100000100000012, 16 },    { 0x9800000100000000, 4096 },
		{ 0x9800000100000100, 24576 }, { 0x9800000100000200, 24576 },
		{ 0x1900000300000001, 0 },     { 0x1900000300000002, TDX_XFAM_FIXED0 },
		{ 0x1900000300000003, 3 },     { 0x9900000100000004, TDXM_NUM_CPUID_CONFIG },
		{ 0x9900000100000008, 576 },   { 0x9900000300000409, 0xffffffff80000008 },
	};
	struct machine *machine = machine_new_booted();
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(field); i++) {
		if (!KTAP_EXPECT_EQ(sys_rd(machine, field[i].id), field[i].want))
			printf("# field 0x%" PRIx64 "\n", field[i].id);
	}
	KTAP_EXPECT(sys_rd(machine, 0x1900000300000000) & TDX_ATTR_SEPT_VE_DISABLE);
	for (i = 0; i < TDXM_NUM_CPUID_CONFIG; i++) {
		sys_rd(machine, 0x9900000300000400 + i);
		sys_rd(machine, 0x9900000300000500 + 2 * i);
		sys_rd(machine, 0x9900000300000500 + 2 * i + 1);
	}
	/* Leaf 0x80000008: EAX 7:0 and EBX 9 may be chosen. */
	KTAP_EXPECT_EQ(sys_rd(machine, 0x9900000300000500 + 2 * 9), 0x00000200000000ff);
	machine_free(machine);
}

static void global_walk_by_next_id_ends(void)
{
	struct machine *machine = machine_new_booted();
	struct tdxm_regs regs = EXPECT_CALL(TDX_METADATA_FIRST_FIELD_ID_IN_CONTEXT, machine, 0,
					    TDH_SYS_RD, 0, ~0ULL, 0, 0);
	unsigned int count = 0;

	while (regs.rdx != ~0ULL && count++ < 1000)
		regs = EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_SYS_RD, 0, regs.rdx, 0, 0);
	KTAP_EXPECT_EQ(count, 18 + 3 * TDXM_NUM_CPUID_CONFIG);
	machine_free(machine);
}

static void bad_ids_fail(void)
{
	static const uint64_t id[] = {
		0x0a00000700000008 | BIT_U64(34), /* several elements */
		0x0a00000300000008 | BIT_U64(38), /* several fields */
		0x0a00000300000008 | BIT_U64(24), /* reserved */
		0x0a00000300000008 | BIT_U64(62),	    0x0a00000300000009,
		0x9900000300000400 + TDXM_NUM_CPUID_CONFIG,
	};
	struct machine *machine = machine_new_booted();
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(id); i++)
		KTAP_EXPECT_EQ(EXPECT_CALL(TDX_METADATA_FIELD_ID_INCORRECT, machine, 0, TDH_SYS_RD,
					   0, id[i], 77, 0)
				       .r8,
			       0);
	/* The run fails for them, and not for what is left out on purpose. */
	KTAP_EXPECT_EQ(machine_findings(machine).unimplemented, ARRAY_LEN(id));
	machine_forget_findings(machine);
	EXPECT_CALL(TDX_METADATA_FIELD_ID_INCORRECT, machine, 0, TDH_SYS_RD, 0, 0x8900000100000000,
		    0, 0);
	machine_free(machine);
}

/* The id as KVM builds it. */
static uint64_t cpuid_id(uint32_t leaf, int subleaf)
{
	return CPUID_VALUES | (leaf >> 31) << 16 | (leaf & 0x7f) << 9 |
	       (subleaf < 0 ? 0x1fe : (uint64_t)subleaf << 1);
}

static bool read_cpuid(struct test_td *td, uint32_t leaf, int subleaf,
		       struct tdx_cpuid_value *value)
{
	uint64_t id = cpuid_id(leaf, subleaf);
	struct tdxm_regs regs = machine_call(td->machine, 0, TDH_MNG_RD, td->tdr, id, 0, 0);

	if (regs.rax)
		return false;
	value->eax = regs.r8;
	value->ebx = regs.r8 >> 32;
	regs = EXPECT_CALL(TDX_SUCCESS, td->machine, 0, TDH_MNG_RD, td->tdr, id + 1, 0, 0);
	value->ecx = regs.r8;
	value->edx = regs.r8 >> 32;
	return true;
}

/* KVM_TDX_GET_CPUID: one leaf without, else with sub-leaves until the first that fails. */
static unsigned int read_cpuid_leaf(struct test_td *td, uint32_t leaf)
{
	struct tdx_cpuid_value value;
	unsigned int subleaf = 0;

	if (read_cpuid(td, leaf, -1, &value))
		return 1;
	while (subleaf < 256 && read_cpuid(td, leaf, subleaf, &value))
		subleaf++;
	return subleaf;
}

static void cpuid_walk_of_kvm_ok(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_INITIALIZED);
	struct tdx_cpuid_value value = { 0 };
	unsigned int entries = 0;
	uint32_t leaf, level;

	KTAP_EXPECT(read_cpuid(&td, 0, -1, &value));
	level = value.eax;
	KTAP_EXPECT(level < 0x80);
	for (leaf = 0; leaf <= level; leaf++)
		entries += read_cpuid_leaf(&td, leaf);
	KTAP_EXPECT(read_cpuid(&td, 0x80000000, -1, &value));
	level = value.eax;
	for (leaf = 0x80000000; leaf <= level; leaf++)
		entries += read_cpuid_leaf(&td, leaf);
	KTAP_EXPECT(entries > 30 && entries < 256);

	/* KVM wants x2APIC for a TD. */
	KTAP_EXPECT(read_cpuid(&td, 1, -1, &value));
	KTAP_EXPECT(value.ecx & 1 << 21);
	KTAP_EXPECT_EQ(value.eax, MACHINE_NATIVE_CPUID_1_EAX);
	KTAP_EXPECT(read_cpuid(&td, 0x80000008, -1, &value));
	KTAP_EXPECT_EQ(value.eax >> 16 & 0xff, 48);
	machine_free(machine);
}

static void cpuid_shows_what_was_configured_ok(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_ADDCX);
	struct tdx_td_params params = td_default_params();
	struct tdx_cpuid_value value = { 0 };

	params.xfam = 0xe7;
	params.cpuid[0] =
		(struct tdx_cpuid_value) { MACHINE_NATIVE_CPUID_1_EAX, 0x40000, 1 << 24, 1 << 12 };
	params.cpuid[5].ebx = 1 << 16;
	params.cpuid[12] = (struct tdx_cpuid_value) { 1, 2, 1 << 8, 0 };
	params.cpuid[13] = (struct tdx_cpuid_value) { 3, 4, 2 << 8 | 1, 0 };
	memcpy(machine_ram(machine, td.params), &params, sizeof(params));
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MNG_INIT, td.tdr, td.params, 0, 0);

	KTAP_EXPECT(read_cpuid(&td, 1, -1, &value));
	KTAP_EXPECT(value.ecx & 1 << 24 && value.edx & 1 << 12);
	KTAP_EXPECT_EQ(value.ebx & 0xff0000, 0x40000);
	KTAP_EXPECT(read_cpuid(&td, 7, 0, &value) && value.ebx & 1 << 16);
	KTAP_EXPECT(read_cpuid(&td, 0x1f, 1, &value) && value.ebx == 4);
	KTAP_EXPECT(read_cpuid(&td, 0xd, 0, &value) && value.eax == 0xe7);
	KTAP_EXPECT_EQ(value.ebx, 2688);
	machine_free(machine);
}

/* XSAVE components appear one by one, each where the standard format has it. */
static void cpuid_of_xsave_follows_xfam(void)
{
	static const struct {
		uint64_t xfam;
		int subleaf;
		uint32_t size, offset; /* 0: the sub-leaf does not exist */
	} row[] = {
		{ 0x03, 2, 0, 0 },	   { 0x07, 2, 256, 576 },	{ 0x07, 5, 0, 0 },
		{ 0xe7, 5, 64, 1088 },	   { 0xe7, 6, 512, 1152 },	{ 0xe7, 7, 1024, 1664 },
		{ 0xe7, 3, 0, 0 },	   { 0xe7, 9, 0, 0 },		{ 0x203, 9, 8, 2688 },
		{ 0x60003, 17, 64, 2752 }, { 0x60003, 18, 8192, 2816 },
	};
	struct machine *machine = machine_new_booted();
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(row); i++) {
		struct test_td td = td_new(machine, 2 + i, STAGE_ADDCX);
		struct tdx_td_params params = td_default_params();
		struct tdx_cpuid_value value = { 0 };
		bool exists;

		params.xfam = row[i].xfam;
		memcpy(machine_ram(machine, td.params), &params, sizeof(params));
		EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MNG_INIT, td.tdr, td.params, 0, 0);
		exists = read_cpuid(&td, 0xd, row[i].subleaf, &value);
		KTAP_EXPECT_EQ(exists, !!row[i].size);
		KTAP_EXPECT_EQ(value.eax, row[i].size);
		KTAP_EXPECT_EQ(value.ebx, row[i].offset);
	}
	machine_free(machine);
}

static void init_with(struct test_td *td, const struct tdx_td_params *params)
{
	memcpy(machine_ram(td->machine, td->params), params, sizeof(*params));
	EXPECT_CALL(TDX_SUCCESS, td->machine, 0, TDH_MNG_INIT, td->tdr, td->params, 0, 0);
}

static void cpuid_computes_widths_and_frequency(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td narrow = td_new(machine, 2, STAGE_ADDCX);
	struct test_td wide = td_new(machine, 3, STAGE_ADDCX);
	struct tdx_td_params params = td_default_params();
	struct tdx_cpuid_value value = { 0 };

	params.cpuid[9].eax = 46;
	params.xfam = 0x1803;
	params.tsc_frequency = 77;
	init_with(&narrow, &params);
	KTAP_EXPECT(read_cpuid(&narrow, 0x80000008, -1, &value));
	KTAP_EXPECT_EQ(value.eax, 48 << 16 | 48 << 8 | 46);
	KTAP_EXPECT(read_cpuid(&narrow, 0xd, 1, &value));
	KTAP_EXPECT_EQ(value.ecx, 0x1800); /* CET is a supervisor component */
	KTAP_EXPECT(read_cpuid(&narrow, 0xd, 0, &value));
	KTAP_EXPECT_EQ(value.eax, 3);
	KTAP_EXPECT(read_cpuid(&narrow, 0x15, -1, &value));
	KTAP_EXPECT_EQ(value.ebx, 77);

	params = td_default_params();
	params.eptp_controls = 6 | 4 << 3;
	params.config_flags |= TDX_CONFIG_FLAGS_GPAW;
	init_with(&wide, &params);
	KTAP_EXPECT(read_cpuid(&wide, 0x80000008, -1, &value));
	/* Not configured: the platform's own width. */
	KTAP_EXPECT_EQ(value.eax, 52 << 16 | 57 << 8 | 52);
	machine_free(machine);
}

static void td_fields_of_kvm_ok(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_INITIALIZED);
	struct tdxm_regs regs;

	regs = EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MNG_RD, td.tdr, TSC_OFFSET + 1, 0, 0);
	KTAP_EXPECT_EQ(regs.r8, 1ULL << 48);
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MNG_RD, td.tdr, TSC_OFFSET, 0, 0);
	regs = EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MNG_RD | 1 << TDX_RAX_VERSION_SHIFT, td.tdr,
			   TSC_OFFSET, 0, 0);
	KTAP_EXPECT_EQ(regs.rdx, 0x111000030000000b);
	/* The helper's TD is a debug one. */
	regs = EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MNG_RD, td.tdr, 0x8010000300000004, 0, 0);
	KTAP_EXPECT_EQ(regs.r8, TDX_TDCS_PAGES);
	machine_free(machine);
}

/* Version 1 walks the fields of a TD, and of a VCPU, from the first to the last. */
static void walk(struct machine *machine, uint64_t leaf, uint64_t page, unsigned int want)
{
	struct tdxm_regs regs;
	unsigned int count = 0;

	leaf |= 1 << TDX_RAX_VERSION_SHIFT;
	regs = EXPECT_CALL(TDX_METADATA_FIRST_FIELD_ID_IN_CONTEXT, machine, 0, leaf, page, ~0ULL, 0,
			   0);
	for (; regs.rdx != ~0ULL && count < 100; count++)
		regs = EXPECT_CALL(TDX_SUCCESS, machine, 0, leaf, page, regs.rdx, 0, 0);
	KTAP_EXPECT_EQ(count, want);
	/* All ones is no field in version 0. */
	EXPECT_CALL(TDX_METADATA_FIELD_ID_INCORRECT, machine, 0, leaf & 0xffff, page, ~0ULL, 0, 0);
	machine_forget_findings(machine);
}

static void td_and_vcpu_walk_by_next_id_ends(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_VCPU);

	walk(machine, TDH_MNG_RD, td.tdr, 17);
	walk(machine, TDH_VP_RD, td.vcpu.tdvpr, 8);
	machine_free(machine);
}

/* Each field that tells about the inside of a TD, for a debug TD in a known state. */
static void debug_fields_ok(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 7, STAGE_RUNNABLE);
	const struct {
		uint64_t id, want;
	} field[] = {
		{ 0x8010000300000004, 6 + 6 + 3 }, /* CHLDCNT: TDCS, TDVPS, S-EPT */
		{ 0x8010000200000005, TD_KEYS_CONFIGURED },
		{ 0x8110000100000001, 7 },
		{ 0x9010000200000001, 1 },
		{ 0x9010000200000002, 1 },
		{ 0x9010000200000004, TD_RUNNABLE },
		{ 0x9210000300000000, 2 },
		{ 0x9210000100000001, 0 },
	};
	unsigned int i;

	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MEM_TRACK, td.tdr, 0, 0, 0);
	for (i = 0; i < ARRAY_LEN(field); i++) {
		if (!KTAP_EXPECT_EQ(EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MNG_RD, td.tdr,
						field[i].id, 0, 0)
					    .r8,
				    field[i].want))
			printf("# field 0x%" PRIx64 "\n", field[i].id);
	}
	machine_free(machine);
}

static void debug_field_of_other_td_fails(void)
{
	struct machine *machine = machine_new_booted();
	struct test_td td = td_new(machine, 2, STAGE_ADDCX);
	struct tdx_td_params params = td_default_params();

	EXPECT_CALL(TDX_OP_STATE_INCORRECT, machine, 0, TDH_MNG_RD, td.tdr, TSC_OFFSET, 0, 0);
	params.attributes = 0;
	memcpy(machine_ram(machine, td.params), &params, sizeof(params));
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MNG_INIT, td.tdr, td.params, 0, 0);
	KTAP_EXPECT_EQ(EXPECT_CALL(TDX_METADATA_FIELD_NOT_READABLE, machine, 0, TDH_MNG_RD, td.tdr,
				   0x8010000300000004, 99, 0)
			       .r8,
		       0);
	EXPECT_CALL(TDX_METADATA_FIELD_ID_INCORRECT, machine, 0, TDH_MNG_RD, td.tdr,
		    cpuid_id(0x3, -1), 0, 0);
	/* "No sub-leaf" goes with sub-leaf 0x7f only. */
	EXPECT_CALL(TDX_SUCCESS, machine, 0, TDH_MNG_RD, td.tdr, cpuid_id(1, -1), 0, 0);
	EXPECT_CALL(TDX_METADATA_FIELD_ID_INCORRECT, machine, 0, TDH_MNG_RD, td.tdr,
		    cpuid_id(1, -1) ^ 2, 0, 0);
	machine_free(machine);
}

static const struct ktap_case cases[] = {
	{ "metadata.global_fields_of_linux_ok", global_fields_of_linux_ok },
	{ "metadata.global_walk_by_next_id_ends", global_walk_by_next_id_ends },
	{ "metadata.bad_ids_fail", bad_ids_fail },
	{ "metadata.cpuid_walk_of_kvm_ok", cpuid_walk_of_kvm_ok },
	{ "metadata.cpuid_shows_what_was_configured_ok", cpuid_shows_what_was_configured_ok },
	{ "metadata.cpuid_of_xsave_follows_xfam", cpuid_of_xsave_follows_xfam },
	{ "metadata.cpuid_computes_widths_and_frequency", cpuid_computes_widths_and_frequency },
	{ "metadata.td_fields_of_kvm_ok", td_fields_of_kvm_ok },
	{ "metadata.td_and_vcpu_walk_by_next_id_ends", td_and_vcpu_walk_by_next_id_ends },
	{ "metadata.debug_fields_ok", debug_fields_ok },
	{ "metadata.debug_field_of_other_td_fails", debug_field_of_other_td_fails },
};

KTAP_MAIN(cases)
