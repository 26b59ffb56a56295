// SPDX-License-Identifier: GPL-2.0-only
/*
 * RDMSR, WRMSR and MOV to or from CR4, where TCG's answer is not that of a TDX
 * capable CPU. They are executed here, then skipped. Where #GP is due, an
 * operand is replaced by one that makes TCG raise it, at the right place and
 * in the right way; see after.c for how it comes back.
 */
#include "cpu/vmx_spec.h"
#include "qemu/tdxq.h"

/* TCG refuses to change this one in 64-bit mode, by #GP. */
#define CR4_LA57 VMXR_BIT(12)

static bool rdmsr(struct tdxq_vcpu *vcpu)
{
	uint64_t value;

	if (vmxr_rdmsr((uint32_t)tdxq_read_gpr(vcpu, VMXR_RCX), &value) != VMXR_MSR_DONE ||
	    !tdxq_in_long_mode(vcpu) || tdxq_cpl(vcpu))
		return false;
	tdxq_write_gpr(vcpu, VMXR_RAX, (uint32_t)value);
	tdxq_write_gpr(vcpu, VMXR_RDX, value >> 32);
	return true;
}

static bool wrmsr(struct tdxq_vcpu *vcpu, unsigned int vcpu_index, const struct tdxq_site *site)
{
	enum vmxr_msr_outcome outcome = vmxr_wrmsr((uint32_t)tdxq_read_gpr(vcpu, VMXR_RCX));

	if (outcome == VMXR_MSR_NOT_OURS || !tdxq_in_long_mode(vcpu) || tdxq_cpl(vcpu))
		return false;
	if (outcome == VMXR_MSR_DONE)
		return true;
	tdxq_replace_operand(site->q, vcpu_index, VMXR_RCX, VMXR_MSR_ALWAYS_GP,
			     tdxq_rip(vcpu, site));
	return false;
}

/* What #GP is due for. VMX operation fixes VMXE to 1. */
static bool cr4_is_bad(const struct tdxq_vcpu *vcpu, uint64_t value)
{
	return (value & ~VMXR_CR4_DEFINED) || (vcpu->cpu.in_vmx && !(value & VMXR_CR4_VMXE));
}

/* TCG takes VMXE for reserved. A value that has nothing to do with it is TCG's business. */
static bool to_cr4(struct tdxq_vcpu *vcpu, unsigned int vcpu_index, const struct tdxq_site *site)
{
	enum vmxr_gpr gpr = site->insn.reg;
	uint64_t value = tdxq_read_gpr(vcpu, gpr);
	bool vmxe = value & VMXR_CR4_VMXE;

	if ((!vmxe && !vcpu->cpu.vmxe) || !tdxq_in_long_mode(vcpu) || tdxq_cpl(vcpu))
		return false;
	if (cr4_is_bad(vcpu, value)) {
		tdxq_replace_operand(site->q, vcpu_index, gpr,
				     tdxq_read_reg(vcpu, TDXQ_REG_CR4) ^ CR4_LA57,
				     tdxq_rip(vcpu, site));
		return false;
	}
	vcpu->cpu.vmxe = vmxe;
	tdxq_write_reg(vcpu, TDXQ_REG_CR4, value & ~VMXR_CR4_VMXE);
	return true;
}

static bool from_cr4(struct tdxq_vcpu *vcpu, enum vmxr_gpr gpr)
{
	if (!vcpu->cpu.vmxe || tdxq_cpl(vcpu))
		return false;
	tdxq_write_gpr(vcpu, gpr, tdxq_read_reg(vcpu, TDXQ_REG_CR4) | VMXR_CR4_VMXE);
	return true;
}

static bool execute(struct tdxq_vcpu *vcpu, unsigned int vcpu_index, const struct tdxq_site *site)
{
	switch (site->insn.kind) {
	case VMXR_RDMSR:
		return rdmsr(vcpu);
	case VMXR_WRMSR:
		return wrmsr(vcpu, vcpu_index, site);
	case VMXR_MOV_TO_CR4:
		return to_cr4(vcpu, vcpu_index, site);
	case VMXR_MOV_FROM_CR4:
		return from_cr4(vcpu, site->insn.reg);
	default:
		return false;
	}
}

void tdxq_system(unsigned int vcpu_index, void *userdata)
{
	struct tdxq_site *site = userdata;
	struct tdxq_vcpu *vcpu = &site->q->vcpu[vcpu_index];

	if (execute(vcpu, vcpu_index, site))
		qemu_plugin_set_pc(tdxq_rip(vcpu, site) + site->insn.len);
}
