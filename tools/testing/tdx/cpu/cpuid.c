// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPUID: bits of a TDX capable CPU on top of what TCG reports, and the leaves
 * by which a program recognises the emulated host.
 */
#include <stdbool.h>

#include "cpu/vmx_spec.h"
#include "cpu/vmxr.h"
#include "module/tdxm.h"
#include "tdx/tdx_emul_abi.h"

#define ANY_SUBLEAF UINT32_MAX

/* out = (out & ~clear) | set */
static const struct {
	uint32_t leaf;
	uint32_t subleaf;
	enum vmxr_cpuid_reg reg;
	uint32_t clear;
	uint32_t set;
} fixes[] = {
	/* VMX; self-snoop, which TDX demands for its caches */
	{ 0x00000001, ANY_SUBLEAF, VMXR_ECX, 0, VMXR_BIT(5) },
	{ 0x00000001, ANY_SUBLEAF, VMXR_EDX, 0, VMXR_BIT(27) },
	/* TME, MOVDIR64B */
	{ 0x00000007, 0, VMXR_ECX, 0, VMXR_BIT(13) | VMXR_BIT(28) },
	/* IA32_ARCH_CAPABILITIES */
	{ 0x00000007, 0, VMXR_EDX, 0, VMXR_BIT(29) },
	/* MODEL: TCG translates 40 bits only, but no RAM lies above them */
	{ 0x80000008, ANY_SUBLEAF, VMXR_EAX, 0xff, VMXR_MAXPHYADDR },
	/* the highest leaf of the range, and the signature */
	{ TDX_EMUL_LEAF_SIGNATURE, ANY_SUBLEAF, VMXR_EAX, UINT32_MAX, TDX_EMUL_LEAF_CONTROL },
	{ TDX_EMUL_LEAF_SIGNATURE, ANY_SUBLEAF, VMXR_EBX, UINT32_MAX, TDX_EMUL_SIGNATURE_EBX },
	{ TDX_EMUL_LEAF_SIGNATURE, ANY_SUBLEAF, VMXR_ECX, UINT32_MAX, TDX_EMUL_SIGNATURE_ECX },
	{ TDX_EMUL_LEAF_SIGNATURE, ANY_SUBLEAF, VMXR_EDX, UINT32_MAX, TDX_EMUL_SIGNATURE_EDX },
	/* control ABI; the model's version, major in the upper half */
	{ TDX_EMUL_LEAF_VERSION, ANY_SUBLEAF, VMXR_EAX, UINT32_MAX, TDX_EMUL_ABI_VERSION },
	{ TDX_EMUL_LEAF_VERSION, ANY_SUBLEAF, VMXR_EBX, UINT32_MAX, 0 },
	{ TDX_EMUL_LEAF_VERSION, ANY_SUBLEAF, VMXR_ECX, UINT32_MAX, 0 },
	{ TDX_EMUL_LEAF_VERSION, ANY_SUBLEAF, VMXR_EDX, UINT32_MAX, 0 },
};

#define NR_FIXES (sizeof(fixes) / sizeof(fixes[0]))

static bool applies(size_t i, uint32_t leaf, uint32_t subleaf)
{
	return fixes[i].leaf == leaf &&
	       (fixes[i].subleaf == ANY_SUBLEAF || fixes[i].subleaf == subleaf);
}

/* "major.minor" as major << 16 | minor */
static uint32_t model_version(void)
{
	const char *p = TDXM_MODEL_VERSION;
	uint32_t version = 0, part = 0;

	for (; *p; p++) {
		if (*p == '.') {
			version = part << 16;
			part = 0;
		} else {
			part = part * 10 + (uint32_t)(*p - '0');
		}
	}
	return version | part;
}

bool vmxr_cpuid_differs(uint32_t leaf, uint32_t subleaf)
{
	for (size_t i = 0; i < NR_FIXES; i++) {
		if (applies(i, leaf, subleaf))
			return true;
	}
	return false;
}

void vmxr_cpuid_fix(uint32_t leaf, uint32_t subleaf, uint32_t out[VMXR_NR_CPUID_REGS])
{
	for (size_t i = 0; i < NR_FIXES; i++) {
		if (applies(i, leaf, subleaf))
			out[fixes[i].reg] = (out[fixes[i].reg] & ~fixes[i].clear) | fixes[i].set;
	}
	if (leaf == TDX_EMUL_LEAF_VERSION)
		out[VMXR_EBX] = model_version();
}
