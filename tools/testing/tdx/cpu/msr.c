// SPDX-License-Identifier: GPL-2.0-only
/*
 * MSRs that TCG lacks: the VMX capabilities, and what makes Linux look for TDX.
 *
 * A control MSR holds the bits that must be 1 in its low half and those that
 * may be 1, the former included, in its high half. What may be 1 is what KVM knows how to use; the
 * VM-entry and VM-exit controls come in pairs, which KVM checks.
 */
#include "cpu/vmcs.h"
#include "cpu/vmx_spec.h"
#include "cpu/vmxr.h"

#define CTLS(must, may) ((uint64_t)(may) << 32 | (must))

#define PIN_MUST 0x00000016
#define PIN_MAY                                                                                    \
	(PIN_MUST | VMXR_BIT(0) /* external-interrupt exiting */ | VMXR_BIT(3) /* NMI exiting */ | \
	 VMXR_BIT(5) /* virtual NMIs */ | VMXR_BIT(6) /* preemption timer */ |                     \
	 VMXR_BIT(7) /* posted interrupts */)

#define PROC_MUST 0x0401e172
#define PROC_TRUE_MUST 0x04006172
#define PROC_MAY                                                                                  \
	(PROC_MUST | VMXR_BIT(2) /* interrupt window */ | VMXR_BIT(3) /* TSC offsetting */ |      \
	 VMXR_BIT(7) /* HLT */ | VMXR_BIT(9) /* INVLPG */ | VMXR_BIT(10) /* MWAIT */ |            \
	 VMXR_BIT(11) /* RDPMC */ | VMXR_BIT(12) /* RDTSC */ | VMXR_BIT(15) /* CR3 load */ |      \
	 VMXR_BIT(16) /* CR3 store */ | VMXR_BIT(19) /* CR8 load */ |                             \
	 VMXR_BIT(20) /* CR8 store */ | VMXR_BIT(21) /* TPR shadow */ |                           \
	 VMXR_BIT(22) /* NMI window */ | VMXR_BIT(23) /* MOV DR */ | VMXR_BIT(24) /* all I/O */ | \
	 VMXR_BIT(25) /* I/O bitmaps */ | VMXR_BIT(27) /* monitor trap flag */ |                  \
	 VMXR_BIT(28) /* MSR bitmaps */ | VMXR_BIT(29) /* MONITOR */ | VMXR_BIT(30) /* PAUSE */ | \
	 VMXR_BIT(31) /* secondary controls */)

#define PROC2_MAY                                                                             \
	(VMXR_BIT(0) /* virtualize APIC accesses */ | VMXR_BIT(1) /* EPT */ |                 \
	 VMXR_BIT(2) /* descriptor tables */ | VMXR_BIT(3) /* RDTSCP */ |                     \
	 VMXR_BIT(4) /* virtualize x2APIC mode */ | VMXR_BIT(5) /* VPID */ |                  \
	 VMXR_BIT(6) /* WBINVD */ | VMXR_BIT(7) /* unrestricted guest */ |                    \
	 VMXR_BIT(8) /* APIC-register virtualization */ |                                     \
	 VMXR_BIT(9) /* virtual-interrupt delivery */ | VMXR_BIT(10) /* PAUSE loop */ |       \
	 VMXR_BIT(11) /* RDRAND */ | VMXR_BIT(12) /* INVPCID */ | VMXR_BIT(16) /* RDSEED */ | \
	 VMXR_BIT(17) /* page-modification log */ | VMXR_BIT(20) /* XSAVES */ |               \
	 VMXR_BIT(25) /* TSC scaling */)

#define EXIT_MUST 0x00036dff
#define EXIT_TRUE_MUST 0x00036dfb
#define EXIT_MAY                                                                       \
	(EXIT_MUST | VMXR_BIT(9) /* 64-bit host */ |                                   \
	 VMXR_BIT(12) /* load IA32_PERF_GLOBAL_CTRL */ |                               \
	 VMXR_BIT(15) /* acknowledge interrupt */ | VMXR_BIT(18) /* save IA32_PAT */ | \
	 VMXR_BIT(19) /* load IA32_PAT */ | VMXR_BIT(20) /* save IA32_EFER */ |        \
	 VMXR_BIT(21) /* load IA32_EFER */ | VMXR_BIT(22) /* save preemption timer */)

#define ENTRY_MUST 0x000011ff
#define ENTRY_TRUE_MUST 0x000011fb
#define ENTRY_MAY                                                                           \
	(ENTRY_MUST | VMXR_BIT(9) /* IA-32e mode guest */ |                                 \
	 VMXR_BIT(13) /* load IA32_PERF_GLOBAL_CTRL */ | VMXR_BIT(14) /* load IA32_PAT */ | \
	 VMXR_BIT(15) /* load IA32_EFER */)

/*
 * Immune to what TDX capable CPUs are immune to. Without RDCL_NO, KVM looks for
 * address bits to spare for its L1TF mitigation and warns that there are none.
 */
#define ARCH_CAPABILITIES                                                                         \
	(VMXR_BIT(0) /* RDCL_NO */ | VMXR_BIT(3) /* SKIP_L1DFL_VMENTRY */ |                       \
	 VMXR_BIT(5) /* MDS_NO */ | VMXR_BIT(6) /* PSCHANGE_MC_NO */ | VMXR_BIT(8) /* TAA_NO */ | \
	 VMXR_BIT(13) /* SBDR_SSDP_NO */ | VMXR_BIT(14) /* FBSDP_NO */ |                          \
	 VMXR_BIT(15) /* PSDP_NO */ | VMXR_BIT(24) /* PBRSB_NO */ | VMXR_BIT(26) /* GDS_NO */ |   \
	 VMXR_BIT(27) /* RFDS_NO */)

#define BASIC                                                                           \
	(VMXR_VMCS_REVISION | (uint64_t)VMXR_VMCS_SIZE << 32 |                          \
	 UINT64_C(6) << 50 /* write-back */ | VMXR_BIT(54) /* INS/OUTS information */ | \
	 VMXR_BIT(55) /* true controls */)

/* Preemption timer rate 5, store EFER.LMA, HLT activity state, 4 CR3 targets, zero-length inject */
#define MISC (UINT64_C(5) | VMXR_BIT(5) | VMXR_BIT(6) | UINT64_C(4) << 16 | VMXR_BIT(30))

#define EPT_VPID_CAP                                                                          \
	(VMXR_BIT(0) /* execute-only */ | VMXR_BIT(6) /* 4 levels */ |                        \
	 VMXR_BIT(7) /* 5 levels */ | VMXR_BIT(14) /* write-back */ | VMXR_BIT(16) /* 2M */ | \
	 VMXR_BIT(17) /* 1G */ | VMXR_BIT(20) /* INVEPT */ | VMXR_BIT(21) /* A/D bits */ |    \
	 VMXR_BIT(25) /* single-context INVEPT */ | VMXR_BIT(26) /* all-context INVEPT */ |   \
	 VMXR_BIT(32) /* INVVPID */ | VMXR_BIT(40) /* one address */ |                        \
	 VMXR_BIT(41) /* single context */ | VMXR_BIT(42) /* all contexts */ |                \
	 VMXR_BIT(43) /* single context, retaining globals */)

/* Highest field index in use: 0x204c has index 0x26. */
#define VMCS_ENUM (UINT64_C(0x26) << 1)

/* What a write to one of these MSRs does. */
enum on_write {
	FAULTS,
	IGNORED
};

static const struct {
	uint32_t index;
	uint64_t value;
	enum on_write on_write;
} msrs[] = {
	/* locked, VMX outside SMX */
	{ MSR_FEAT_CTL, 0x5, FAULTS },
	{ MSR_MKTME_KEYID_PARTITIONING, (uint64_t)VMXR_NR_TDX_KEYIDS << 32 | VMXR_NR_MKTME_KEYIDS,
	  FAULTS },
	/* software clears it, executes CPUID, reads it; old revisions taint the kernel */
	{ MSR_BIOS_SIGN_ID, (uint64_t)VMXR_MICROCODE_REVISION << 32, IGNORED },
	{ MSR_ARCH_CAPABILITIES, ARCH_CAPABILITIES, FAULTS },
	{ MSR_VMX_BASIC, BASIC, FAULTS },
	{ MSR_VMX_PINBASED_CTLS, CTLS(PIN_MUST, PIN_MAY), FAULTS },
	{ MSR_VMX_PROCBASED_CTLS, CTLS(PROC_MUST, PROC_MAY), FAULTS },
	{ MSR_VMX_EXIT_CTLS, CTLS(EXIT_MUST, EXIT_MAY), FAULTS },
	{ MSR_VMX_ENTRY_CTLS, CTLS(ENTRY_MUST, ENTRY_MAY), FAULTS },
	{ MSR_VMX_MISC, MISC, FAULTS },
	/* PE, NE, PG fixed to 1 */
	{ MSR_VMX_CR0_FIXED0, 0x80000021, FAULTS },
	{ MSR_VMX_CR0_FIXED1, 0xffffffff, FAULTS },
	/* VMXE fixed to 1 */
	{ MSR_VMX_CR4_FIXED0, VMXR_CR4_VMXE, FAULTS },
	{ MSR_VMX_CR4_FIXED1, VMXR_CR4_DEFINED, FAULTS },
	{ MSR_VMX_VMCS_ENUM, VMCS_ENUM, FAULTS },
	{ MSR_VMX_PROCBASED_CTLS2, CTLS(UINT64_C(0), PROC2_MAY), FAULTS },
	{ MSR_VMX_EPT_VPID_CAP, EPT_VPID_CAP, FAULTS },
	{ MSR_VMX_TRUE_PINBASED_CTLS, CTLS(PIN_MUST, PIN_MAY), FAULTS },
	{ MSR_VMX_TRUE_PROCBASED_CTLS, CTLS(PROC_TRUE_MUST, PROC_MAY), FAULTS },
	{ MSR_VMX_TRUE_EXIT_CTLS, CTLS(EXIT_TRUE_MUST, EXIT_MAY), FAULTS },
	{ MSR_VMX_TRUE_ENTRY_CTLS, CTLS(ENTRY_TRUE_MUST, ENTRY_MAY), FAULTS },
	{ MSR_VMX_VMFUNC, 0, FAULTS },
	/* locked, enabled; KeyID bits in 35:32 */
	{ MSR_TME_ACTIVATE, (uint64_t)VMXR_KEYID_BITS << 32 | 0x3, FAULTS },
};

static int find(uint32_t index)
{
	for (size_t i = 0; i < sizeof(msrs) / sizeof(msrs[0]); i++) {
		if (msrs[i].index == index)
			return (int)i;
	}
	return -1;
}

enum vmxr_msr_outcome vmxr_rdmsr(uint32_t index, uint64_t *value)
{
	int i = find(index);

	if (i < 0)
		return VMXR_MSR_NOT_OURS;
	*value = msrs[i].value;
	return VMXR_MSR_DONE;
}

enum vmxr_msr_outcome vmxr_wrmsr(uint32_t index)
{
	int i = find(index);

	if (i < 0)
		return VMXR_MSR_NOT_OURS;
	return msrs[i].on_write == FAULTS ? VMXR_MSR_GP : VMXR_MSR_DONE;
}
