// SPDX-License-Identifier: GPL-2.0-only
/* MSR and CPUID tables: what Linux and KVM derive from them. */
#include "cpu/vmx_spec.h"
#include "cpu/vmxr.h"
#include "tests/ktap.h"

static uint64_t rdmsr(uint32_t index)
{
	uint64_t value = 0;

	KTAP_EXPECT_EQ(vmxr_rdmsr(index, &value), VMXR_MSR_DONE);
	return value;
}

/* KVM's adjust_vmx_controls(): can all these bits be set? */
static bool may_set(uint32_t msr, uint32_t bits)
{
	return !(bits & ~(rdmsr(msr) >> 32));
}

static void unknown_msr_is_left_to_tcg(void)
{
	uint64_t value;

	KTAP_EXPECT_EQ(vmxr_rdmsr(0x10, &value), VMXR_MSR_NOT_OURS);
	KTAP_EXPECT_EQ(vmxr_wrmsr(0xc0000080), VMXR_MSR_NOT_OURS);
	KTAP_EXPECT_EQ(vmxr_rdmsr(VMXR_MSR_ALWAYS_GP, &value), VMXR_MSR_NOT_OURS);
}

static void read_only_msrs_refuse_writes(void)
{
	for (uint32_t index = MSR_VMX_BASIC; index <= MSR_VMX_VMFUNC; index++)
		KTAP_EXPECT_EQ(vmxr_wrmsr(index), VMXR_MSR_GP);
	KTAP_EXPECT_EQ(vmxr_wrmsr(MSR_FEAT_CTL), VMXR_MSR_GP);
	KTAP_EXPECT_EQ(vmxr_wrmsr(MSR_MKTME_KEYID_PARTITIONING), VMXR_MSR_GP);
	/* the microcode revision is read by writing 0 first */
	KTAP_EXPECT_EQ(vmxr_wrmsr(MSR_BIOS_SIGN_ID), VMXR_MSR_DONE);
}

static void keyids_fit_into_their_bits(void)
{
	uint64_t tme = rdmsr(MSR_TME_ACTIVATE);
	uint64_t parts = rdmsr(MSR_MKTME_KEYID_PARTITIONING);
	uint64_t keyids = 1 + (uint32_t)parts + (parts >> 32);

	KTAP_EXPECT(parts >> 32);
	KTAP_EXPECT_EQ(tme & 3, 3);
	KTAP_EXPECT(keyids <= VMXR_BIT((tme >> 32) & 0xf));
}

static void must_be_bits_may_be(void)
{
	static const uint32_t ctls[] = {
		MSR_VMX_PINBASED_CTLS,	     MSR_VMX_PROCBASED_CTLS,  MSR_VMX_EXIT_CTLS,
		MSR_VMX_ENTRY_CTLS,	     MSR_VMX_PROCBASED_CTLS2, MSR_VMX_TRUE_PINBASED_CTLS,
		MSR_VMX_TRUE_PROCBASED_CTLS, MSR_VMX_TRUE_EXIT_CTLS,  MSR_VMX_TRUE_ENTRY_CTLS,
	};

	for (size_t i = 0; i < sizeof(ctls) / sizeof(ctls[0]); i++)
		KTAP_EXPECT(may_set(ctls[i], (uint32_t)rdmsr(ctls[i])));
}

static void true_controls_allow_no_less(void)
{
	static const uint32_t pairs[][2] = {
		{ MSR_VMX_PINBASED_CTLS, MSR_VMX_TRUE_PINBASED_CTLS },
		{ MSR_VMX_PROCBASED_CTLS, MSR_VMX_TRUE_PROCBASED_CTLS },
		{ MSR_VMX_EXIT_CTLS, MSR_VMX_TRUE_EXIT_CTLS },
		{ MSR_VMX_ENTRY_CTLS, MSR_VMX_TRUE_ENTRY_CTLS },
	};

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		uint64_t plain = rdmsr(pairs[i][0]), relaxed = rdmsr(pairs[i][1]);

		KTAP_EXPECT_EQ(plain >> 32, relaxed >> 32);
		KTAP_EXPECT(!((uint32_t)relaxed & ~(uint32_t)plain));
	}
}

static void apicv_is_complete(void)
{
	/* TPR shadow, secondary controls; then register virtualization, delivery, x2APIC */
	KTAP_EXPECT(may_set(MSR_VMX_PROCBASED_CTLS, VMXR_BIT(21) | VMXR_BIT(31)));
	KTAP_EXPECT(may_set(MSR_VMX_PROCBASED_CTLS2, VMXR_BIT(4) | VMXR_BIT(8) | VMXR_BIT(9)));
	/* posted interrupts, acknowledge interrupt on exit */
	KTAP_EXPECT(may_set(MSR_VMX_PINBASED_CTLS, VMXR_BIT(7)));
	KTAP_EXPECT(may_set(MSR_VMX_EXIT_CTLS, VMXR_BIT(15)));
}

static void ept_has_what_tdx_demands(void)
{
	uint64_t cap = rdmsr(MSR_VMX_EPT_VPID_CAP);

	KTAP_EXPECT(may_set(MSR_VMX_PROCBASED_CTLS2, VMXR_BIT(1) | VMXR_BIT(5)));
	/* 4 levels, write-back, 2M, 1G, INVEPT, A/D */
	KTAP_EXPECT_EQ(cap & 0x334040, 0x334040);
}

static void entry_and_exit_controls_come_in_pairs(void)
{
	/* load PERF_GLOBAL_CTRL, PAT, EFER, BNDCFGS, RTIT_CTL, CET: KVM checks them */
	static const struct {
		uint32_t entry, exit;
	} pairs[] = {
		{ 1U << 13, 1U << 12 }, { 1U << 14, 1U << 19 }, { 1U << 15, 1U << 21 },
		{ 1U << 16, 1U << 23 }, { 1U << 18, 1U << 25 }, { 1U << 20, 1U << 28 },
	};

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		KTAP_EXPECT_EQ(may_set(MSR_VMX_ENTRY_CTLS, pairs[i].entry),
			       may_set(MSR_VMX_EXIT_CTLS, pairs[i].exit));
}

static void cpuid_adds_and_keeps(void)
{
	uint32_t out[VMXR_NR_CPUID_REGS] = { 1, 2, 4, 8 };

	KTAP_EXPECT(vmxr_cpuid_differs(1, 99));
	vmxr_cpuid_fix(1, 99, out);
	KTAP_EXPECT_EQ(out[VMXR_EAX], 1);
	KTAP_EXPECT_EQ(out[VMXR_EBX], 2);
	KTAP_EXPECT_EQ(out[VMXR_ECX], 4 | 1U << 5);
	KTAP_EXPECT_EQ(out[VMXR_EDX], 8 | 1U << 27);
}

static void cpuid_respects_subleaves(void)
{
	uint32_t out[VMXR_NR_CPUID_REGS] = { 0 };

	KTAP_EXPECT(vmxr_cpuid_differs(7, 0));
	KTAP_EXPECT(!vmxr_cpuid_differs(7, 1));
	KTAP_EXPECT(!vmxr_cpuid_differs(0, 0));
	vmxr_cpuid_fix(7, 1, out);
	KTAP_EXPECT_EQ(out[VMXR_ECX], 0);
	vmxr_cpuid_fix(7, 0, out);
	KTAP_EXPECT(out[VMXR_ECX] & 1U << 28);
}

static void cpuid_replaces_the_address_width(void)
{
	uint32_t out[VMXR_NR_CPUID_REGS] = { 0x00003928 };

	vmxr_cpuid_fix(0x80000008, 0, out);
	KTAP_EXPECT_EQ(out[VMXR_EAX], 0x3934);
}

static void emulator_identifies_itself(void)
{
	uint32_t out[VMXR_NR_CPUID_REGS] = { 0xff, 0xff, 0xff, 0xff };
	char text[12];

	vmxr_cpuid_fix(0x5ea00000, 0, out);
	memcpy(text, &out[VMXR_EBX], sizeof(text));
	KTAP_EXPECT(!memcmp(text, "TDXINITMEMUL", sizeof(text)));
	/* The highest leaf is that of requests, which is no matter of CPUID bits. */
	KTAP_EXPECT_EQ(out[VMXR_EAX], 0x5ea00002);
	vmxr_cpuid_fix(0x5ea00001, 0, out);
	KTAP_EXPECT_EQ(out[VMXR_EAX], 1);
	KTAP_EXPECT(!vmxr_cpuid_differs(0x5ea00002, 0));
}

#define CASE(name)                         \
	{                                  \
		"vmxr.tables." #name, name \
	}

static const struct ktap_case cases[] = {
	CASE(unknown_msr_is_left_to_tcg),
	CASE(read_only_msrs_refuse_writes),
	CASE(keyids_fit_into_their_bits),
	CASE(must_be_bits_may_be),
	CASE(true_controls_allow_no_less),
	CASE(apicv_is_complete),
	CASE(ept_has_what_tdx_demands),
	CASE(entry_and_exit_controls_come_in_pairs),
	CASE(cpuid_adds_and_keeps),
	CASE(cpuid_respects_subleaves),
	CASE(cpuid_replaces_the_address_width),
	CASE(emulator_identifies_itself),
};

KTAP_MAIN(cases)
