// SPDX-License-Identifier: GPL-2.0-only
/*
 * What has to be done after an instruction that TCG executes: correct the
 * output of CPUID, or give back an operand that was replaced to raise #GP.
 *
 * It is done before anything else looks at the registers, that is before the
 * next instruction, or on entry to the handler of the exception or interrupt
 * that comes first; neither changes a general purpose register. A check in
 * every block would be simplest, but costs more than all the rest. So the
 * next instruction must be in the same block, or near the edge of a page,
 * where blocks end; a block that ends elsewhere is translated once more.
 */
#include <string.h>

#include "qemu/tdxq.h"
#include "tdx/tdx_emul_abi.h"

#define CPUID_LEN 2

static void set_pending(struct tdxq *q, unsigned int vcpu_index, uint64_t rip)
{
	if (qemu_plugin_u64_get(q->pending, vcpu_index))
		tdxq_gapf(q, "work left at %#llx was forgotten",
			  (unsigned long long)q->vcpu[vcpu_index].after.rip);
	q->vcpu[vcpu_index].after.rip = rip;
	qemu_plugin_u64_set(q->pending, vcpu_index, 1);
}

void tdxq_replace_operand(struct tdxq *q, unsigned int vcpu_index, enum vmxr_gpr gpr,
			  uint64_t value, uint64_t rip)
{
	struct tdxq_vcpu *vcpu = &q->vcpu[vcpu_index];

	vcpu->after.kind = TDXQ_AFTER_GP;
	vcpu->after.gpr = gpr;
	vcpu->after.value = tdxq_read_gpr(vcpu, gpr);
	tdxq_write_gpr(vcpu, gpr, value);
	set_pending(q, vcpu_index, rip);
}

static void do_request(struct tdxq *q, struct tdxq_vcpu *vcpu)
{
	uint64_t old[VMXR_NR_GPRS], new[VMXR_NR_GPRS];

	for (size_t i = 0; i < VMXR_NR_GPRS; i++)
		old[i] = tdxq_read_gpr(vcpu, (enum vmxr_gpr)i);
	memcpy(new, old, sizeof(new));
	new[VMXR_RAX] = vcpu->after.leaf;
	new[VMXR_RCX] = vcpu->after.subleaf;
	new[VMXR_RBX] = vcpu->after.rbx;
	new[VMXR_RDX] = vcpu->after.rdx;
	tdxq_control(q, new);
	for (size_t i = 0; i < VMXR_NR_GPRS; i++) {
		if (new[i] != old[i])
			tdxq_write_gpr(vcpu, (enum vmxr_gpr)i, new[i]);
	}
}

static void fix_cpuid(struct tdxq *q, struct tdxq_vcpu *vcpu)
{
	static const enum vmxr_gpr gprs[VMXR_NR_CPUID_REGS] = {
		[VMXR_EAX] = VMXR_RAX,
		[VMXR_EBX] = VMXR_RBX,
		[VMXR_ECX] = VMXR_RCX,
		[VMXR_EDX] = VMXR_RDX,
	};
	uint32_t out[VMXR_NR_CPUID_REGS];

	for (size_t i = 0; i < VMXR_NR_CPUID_REGS; i++)
		out[i] = (uint32_t)tdxq_read_gpr(vcpu, gprs[i]);
	if (vcpu->after.leaf == 1)
		g_atomic_int_set(&q->cpuid_1_eax, (gint)out[VMXR_EAX]);
	vmxr_cpuid_fix(vcpu->after.leaf, vcpu->after.subleaf, out);
	for (size_t i = 0; i < VMXR_NR_CPUID_REGS; i++)
		tdxq_write_gpr(vcpu, gprs[i], out[i]);
}

void tdxq_after(unsigned int vcpu_index, void *userdata)
{
	struct tdxq *q = userdata;
	struct tdxq_vcpu *vcpu = &q->vcpu[vcpu_index];

	qemu_plugin_u64_set(q->pending, vcpu_index, 0);
	switch (vcpu->after.kind) {
	case TDXQ_AFTER_CPUID:
		fix_cpuid(q, vcpu);
		break;
	case TDXQ_AFTER_CONTROL:
		do_request(q, vcpu);
		break;
	case TDXQ_AFTER_GP:
		tdxq_write_gpr(vcpu, vcpu->after.gpr, vcpu->after.value);
		break;
	}
}

/*
 * Is the place that QEMU tells the one where the work was left? For a fault in
 * the middle of a block QEMU may tell the start of the block, in the same page.
 */
static bool is_place(const struct tdxq_after *after, uint64_t rip)
{
	if (after->kind == TDXQ_AFTER_GP)
		return (after->rip ^ rip) < TDXQ_PAGE_SIZE;
	return after->rip == rip;
}

static void after_at(struct tdxq *q, unsigned int vcpu_index, uint64_t rip)
{
	const struct tdxq_after *after = &q->vcpu[vcpu_index].after;

	if (is_place(after, rip)) {
		tdxq_after(vcpu_index, q);
		return;
	}
	qemu_plugin_u64_set(q->pending, vcpu_index, 0);
	tdxq_gapf(q, "%s at %#llx was not completed",
		  after->kind == TDXQ_AFTER_GP ? "#GP" : "CPUID before",
		  (unsigned long long)after->rip);
}

void tdxq_after_block(unsigned int vcpu_index, void *userdata)
{
	struct tdxq *q = userdata;

	after_at(q, vcpu_index, tdxq_read_reg(&q->vcpu[vcpu_index], TDXQ_REG_RIP));
}

void tdxq_discontinuity(unsigned int vcpu_index, enum qemu_plugin_discon_type type,
			uint64_t from_pc, uint64_t to_pc, void *userdata)
{
	struct tdxq *q = userdata;

	(void)type;
	(void)to_pc;
	if (qemu_plugin_u64_get(q->pending, vcpu_index))
		after_at(q, vcpu_index, from_pc);
}

/* Does this CPUID need a correction? Firmware sees what TCG offers. */
static bool note_cpuid(struct tdxq_vcpu *vcpu)
{
	uint32_t leaf = (uint32_t)tdxq_read_gpr(vcpu, VMXR_RAX);
	uint32_t subleaf = (uint32_t)tdxq_read_gpr(vcpu, VMXR_RCX);

	if (!tdxq_in_long_mode(vcpu)) {
		/* After an INIT, as VMX operation does not leave long mode. */
		memset(&vcpu->cpu, 0, sizeof(vcpu->cpu));
		return false;
	}
	if (leaf != TDX_EMUL_LEAF_CONTROL && !vmxr_cpuid_differs(leaf, subleaf))
		return false;
	vcpu->after.kind = leaf == TDX_EMUL_LEAF_CONTROL ? TDXQ_AFTER_CONTROL : TDXQ_AFTER_CPUID;
	vcpu->after.rbx = tdxq_read_gpr(vcpu, VMXR_RBX);
	vcpu->after.rdx = tdxq_read_gpr(vcpu, VMXR_RDX);
	vcpu->after.leaf = leaf;
	vcpu->after.subleaf = subleaf;
	return true;
}

void tdxq_before_cpuid(unsigned int vcpu_index, void *userdata)
{
	struct tdxq_site *site = userdata;
	struct tdxq_vcpu *vcpu = &site->q->vcpu[vcpu_index];

	/* Not last in its block, or not any more: the next split starts anew. */
	vcpu->split_rip = 0;
	if (note_cpuid(vcpu))
		set_pending(site->q, vcpu_index, tdxq_rip(vcpu, site) + CPUID_LEN);
}

void tdxq_before_last_cpuid(unsigned int vcpu_index, void *userdata)
{
	struct tdxq_site *site = userdata;
	struct tdxq_vcpu *vcpu = &site->q->vcpu[vcpu_index];
	uint64_t rip = tdxq_rip(vcpu, site);

	if (!note_cpuid(vcpu))
		return;
	/* A block that starts here holds the next instruction, too. */
	if (vcpu->split_rip != rip) {
		vcpu->split_rip = rip;
		qemu_plugin_set_pc(rip);
	}
	vcpu->split_rip = 0;
	set_pending(site->q, vcpu_index, rip + CPUID_LEN);
}
