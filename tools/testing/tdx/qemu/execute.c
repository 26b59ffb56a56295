// SPDX-License-Identifier: GPL-2.0-only
/*
 * Instructions that TCG lacks: VMX, SEAMCALL, MOVDIR64B. They are executed
 * here, then skipped. Returning from the callback instead lets TCG raise #UD,
 * which is what must happen outside of VMX operation or of CPL 0.
 *
 * TCG evaluates the flags lazily, and a plugin cannot set them. So the
 * instruction that reads the flags is executed here as well; Linux places it
 * right behind.
 */
#include <string.h>

#include "qemu/tdxq.h"

/*
 * RIP of the instruction. Within a block QEMU updates RIP now and then only,
 * but a block does not leave its page, so the page is always right.
 */
uint64_t tdxq_rip(struct tdxq_vcpu *vcpu, const struct tdxq_site *site)
{
	return (tdxq_read_reg(vcpu, TDXQ_REG_RIP) & ~TDXQ_PAGE_OFFSET) | site->offset;
}

/* Bytes of the instruction and of its successor, as far as they are mapped. */
static size_t fetch(struct tdxq *q, uint64_t rip, uint8_t bytes[VMXR_FETCH_LEN])
{
	size_t to_page_end = TDXQ_PAGE_SIZE - (rip & TDXQ_PAGE_OFFSET);

	if (tdxq_cpu_ops.virt_read(q, rip, bytes, VMXR_FETCH_LEN))
		return VMXR_FETCH_LEN;
	if (to_page_end < VMXR_FETCH_LEN && tdxq_cpu_ops.virt_read(q, rip, bytes, to_page_end))
		return to_page_end;
	return 0;
}

static void load_regs(struct tdxq_vcpu *vcpu, uint64_t rip, struct vmxr_regs *regs)
{
	for (size_t i = 0; i < VMXR_NR_GPRS; i++)
		regs->gpr[i] = tdxq_read_gpr(vcpu, (enum vmxr_gpr)i);
	regs->rip = rip;
	regs->fs_base = tdxq_read_reg(vcpu, TDXQ_REG_FS_BASE);
	regs->gs_base = tdxq_read_reg(vcpu, TDXQ_REG_GS_BASE);
}

static void store_regs(struct tdxq_vcpu *vcpu, const struct vmxr_regs *old,
		       const struct vmxr_regs *new)
{
	for (size_t i = 0; i < VMXR_NR_GPRS; i++) {
		if (old->gpr[i] != new->gpr[i])
			tdxq_write_gpr(vcpu, (enum vmxr_gpr)i, new->gpr[i]);
	}
}

/* SEAMCALL takes the registers in a structure of its own, without RSP. */
static const struct {
	enum vmxr_gpr gpr;
	size_t offset;
} seamcall_regs[] = {
	{ VMXR_RAX, offsetof(struct tdxm_regs, rax) },
	{ VMXR_RBX, offsetof(struct tdxm_regs, rbx) },
	{ VMXR_RCX, offsetof(struct tdxm_regs, rcx) },
	{ VMXR_RDX, offsetof(struct tdxm_regs, rdx) },
	{ VMXR_RSI, offsetof(struct tdxm_regs, rsi) },
	{ VMXR_RDI, offsetof(struct tdxm_regs, rdi) },
	{ VMXR_RBP, offsetof(struct tdxm_regs, rbp) },
	{ VMXR_R8, offsetof(struct tdxm_regs, r8) },
	{ VMXR_R9, offsetof(struct tdxm_regs, r9) },
	{ VMXR_R10, offsetof(struct tdxm_regs, r10) },
	{ VMXR_R11, offsetof(struct tdxm_regs, r11) },
	{ VMXR_R12, offsetof(struct tdxm_regs, r12) },
	{ VMXR_R13, offsetof(struct tdxm_regs, r13) },
	{ VMXR_R14, offsetof(struct tdxm_regs, r14) },
	{ VMXR_R15, offsetof(struct tdxm_regs, r15) },
};

static uint64_t *seamcall_reg(struct tdxm_regs *regs, size_t i)
{
	return (uint64_t *)((char *)regs + seamcall_regs[i].offset);
}

static enum tdxm_outcome seamcall(struct tdxq *q, unsigned int lp, struct vmxr_regs *regs)
{
	struct tdxm *module = tdxq_module(q);
	enum tdxm_outcome outcome;
	struct tdxm_regs in, out;

	if (!module)
		return TDXM_VMFAIL_INVALID;
	for (size_t i = 0; i < G_N_ELEMENTS(seamcall_regs); i++)
		*seamcall_reg(&in, i) = regs->gpr[seamcall_regs[i].gpr];
	out = in;
	outcome = tdxm_seamcall(module, lp, &out);
	tdxq_trace_seamcall(q, lp, &in, &out, outcome);
	if (outcome == TDXM_DONE) {
		for (size_t i = 0; i < G_N_ELEMENTS(seamcall_regs); i++)
			regs->gpr[seamcall_regs[i].gpr] = *seamcall_reg(&out, i);
	}
	return outcome;
}

/*
 * Execute what follows an instruction that set the flags, as far as it reads
 * them, and return where to go on. What does not read them is left to TCG.
 */
static uint64_t consume_flags(struct tdxq *q, const struct vmxr_insn *insn, const uint8_t *bytes,
			      size_t len, uint64_t rip, uint32_t flags, struct vmxr_regs *regs)
{
	struct vmxr_consumer next;

	vmxr_decode_consumer(bytes, len, &next);
	switch (next.kind) {
	case VMXR_BRANCHES:
		rip += next.len;
		return vmxr_cond_holds(next.cond, flags) ? rip + (uint64_t)next.disp : rip;
	case VMXR_SETS_BYTE:
		regs->gpr[next.rm] = (regs->gpr[next.rm] & ~UINT64_C(0xff)) |
				     vmxr_cond_holds(next.cond, flags);
		return rip + next.len;
	case VMXR_READS_FLAGS:
		/* Neither Jcc nor SETcc, or it cannot be decoded at all. */
		tdxq_gapf(q, "flags of %s are read in an unknown way", vmxr_kind_name(insn->kind));
		break;
	case VMXR_IGNORES_FLAGS:
		break;
	}
	return rip;
}

/* How the instruction ended, in terms of the CPU model. */
static enum vmxr_outcome run(struct tdxq *q, unsigned int lp, const struct vmxr_insn *insn,
			     struct vmxr_regs *regs, bool *again)
{
	struct vmxr_cpu *cpu = &q->vcpu[lp].cpu;

	switch (insn->kind) {
	case VMXR_SEAMCALL:
		if (!cpu->in_vmx)
			return VMXR_UD;
		switch (seamcall(q, lp, regs)) {
		case TDXM_DONE:
			return VMXR_SUCCEED;
		case TDXM_VMFAIL_INVALID:
			return VMXR_FAIL_INVALID;
		case TDXM_AGAIN:
			*again = true;
			return VMXR_DONE;
		}
		return VMXR_UD;
	case VMXR_MOVDIR64B:
		return vmxr_movdir64b(insn, regs, &tdxq_cpu_ops, q);
	default:
		return vmxr_execute(cpu, insn, regs, &tdxq_cpu_ops, q);
	}
}

void tdxq_execute(unsigned int vcpu_index, void *userdata)
{
	struct tdxq_site *site = userdata;
	struct tdxq *q = site->q;
	struct tdxq_vcpu *vcpu = &q->vcpu[vcpu_index];
	uint8_t bytes[VMXR_FETCH_LEN];
	struct vmxr_regs old, new;
	enum vmxr_outcome outcome;
	struct vmxr_insn insn;
	bool again = false;
	uint64_t rip;
	size_t len;

	if (!tdxq_in_long_mode(vcpu))
		return;
	rip = tdxq_rip(vcpu, site);
	len = fetch(q, rip, bytes);
	vmxr_decode(bytes, len, &insn);
	if (insn.kind == VMXR_NOT_OURS)
		return;
	if (tdxq_cpl(vcpu)) {
		/* The others are privileged; this one CPUID offers to user space, too. */
		if (insn.kind == VMXR_MOVDIR64B)
			tdxq_gapf(q, "%s in user mode", vmxr_kind_name(insn.kind));
		return;
	}

	load_regs(vcpu, rip, &old);
	new = old;
	outcome = run(q, vcpu_index, &insn, &new, &again);
	if (again)
		qemu_plugin_set_pc(rip);

	switch (outcome) {
	case VMXR_GP:
	case VMXR_FAULT:
		/* MODEL: a plugin cannot raise these; TCG raises #UD in their place */
		tdxq_gapf(q, "%s raises %s", vmxr_kind_name(insn.kind),
			  outcome == VMXR_GP ? "#GP" : "#PF");
		return;
	case VMXR_UD:
		return;
	case VMXR_DONE:
		rip += insn.len;
		break;
	default:
		rip = consume_flags(q, &insn, bytes + insn.len, len - insn.len, rip + insn.len,
				    vmxr_outcome_flags(outcome), &new);
		break;
	}
	store_regs(vcpu, &old, &new);
	qemu_plugin_set_pc(rip);
}
