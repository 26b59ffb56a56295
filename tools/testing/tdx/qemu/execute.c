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

#include "qemu/backtrace.h"
#include "qemu/tdxq.h"
#include "qemu/watch.h"

/*
 * RIP of the instruction. Within a block QEMU updates RIP now and then only,
 * but a block does not leave its page, so the page is always right.
 */
uint64_t tdxq_rip(struct tdxq_vcpu *vcpu, const struct tdxq_site *site)
{
	return (tdxq_read_reg(vcpu, TDXQ_REG_RIP) & ~TDXQ_PAGE_OFFSET) | site->offset;
}

/*
 * Bytes of the instruction and of its successor, as far as they are mapped. The
 * block under way has its page, so the way through the page tables can be spared.
 */
static size_t fetch(const struct tdxq_site *site, uint64_t rip, uint8_t bytes[VMXR_FETCH_LEN])
{
	size_t to_page_end = TDXQ_PAGE_SIZE - (rip & TDXQ_PAGE_OFFSET);
	struct tdxq *q = site->q;

	if (site->code && to_page_end >= VMXR_FETCH_LEN) {
		memcpy(bytes, site->code, VMXR_FETCH_LEN);
		return VMXR_FETCH_LEN;
	}
	if (tdxq_cpu_ops.virt_read(q, rip, bytes, VMXR_FETCH_LEN))
		return VMXR_FETCH_LEN;
	if (to_page_end < VMXR_FETCH_LEN && tdxq_cpu_ops.virt_read(q, rip, bytes, to_page_end))
		return to_page_end;
	return 0;
}

/*
 * Registers as the instruction found them, and as it leaves them. A read costs
 * more than most of what is done with it, so only those that matter are read.
 */
struct context {
	struct tdxq *q;
	unsigned int lp;
	uint32_t loaded; /* bitmap of GPRs */
	struct vmxr_regs old, new;
};

static void load_gpr(struct context *context, enum vmxr_gpr gpr)
{
	if (context->loaded & 1u << gpr)
		return;
	context->loaded |= 1u << gpr;
	context->old.gpr[gpr] = tdxq_read_gpr(&context->q->vcpu[context->lp], gpr);
	context->new.gpr[gpr] = context->old.gpr[gpr];
}

static void load_all(struct context *context)
{
	struct tdxq_vcpu *vcpu = &context->q->vcpu[context->lp];

	for (unsigned int i = 0; i < VMXR_NR_GPRS; i++)
		load_gpr(context, (enum vmxr_gpr)i);
	context->new.fs_base = tdxq_read_reg(vcpu, TDXQ_REG_FS_BASE);
	context->new.gs_base = tdxq_read_reg(vcpu, TDXQ_REG_GS_BASE);
}

static void store_regs(const struct context *context)
{
	for (unsigned int i = 0; i < VMXR_NR_GPRS; i++) {
		if (context->old.gpr[i] != context->new.gpr[i])
			tdxq_write_gpr(&context->q->vcpu[context->lp], (enum vmxr_gpr)i,
				       context->new.gpr[i]);
	}
}

/*
 * SEAMCALL takes the registers in a structure of its own, without RSP. Those from
 * @NR_COMMON on belong to TDH.VP.ENTER alone.
 */
#define NR_COMMON 7
static const struct {
	enum vmxr_gpr gpr;
	size_t offset;
} seamcall_regs[] = {
	{ VMXR_RAX, offsetof(struct tdxm_regs, rax) },
	{ VMXR_RCX, offsetof(struct tdxm_regs, rcx) },
	{ VMXR_RDX, offsetof(struct tdxm_regs, rdx) },
	{ VMXR_R8, offsetof(struct tdxm_regs, r8) },
	{ VMXR_R9, offsetof(struct tdxm_regs, r9) },
	{ VMXR_R10, offsetof(struct tdxm_regs, r10) },
	{ VMXR_R11, offsetof(struct tdxm_regs, r11) },
	{ VMXR_RBX, offsetof(struct tdxm_regs, rbx) },
	{ VMXR_RSI, offsetof(struct tdxm_regs, rsi) },
	{ VMXR_RDI, offsetof(struct tdxm_regs, rdi) },
	{ VMXR_RBP, offsetof(struct tdxm_regs, rbp) },
	{ VMXR_R12, offsetof(struct tdxm_regs, r12) },
	{ VMXR_R13, offsetof(struct tdxm_regs, r13) },
	{ VMXR_R14, offsetof(struct tdxm_regs, r14) },
	{ VMXR_R15, offsetof(struct tdxm_regs, r15) },
};

static uint64_t *seamcall_reg(struct tdxm_regs *regs, size_t i)
{
	return (uint64_t *)((char *)regs + seamcall_regs[i].offset);
}

/* A held call leaves most of the machine to the other vCPUs. */
#define HOLD_US 50

static enum tdxm_outcome seamcall(struct context *context)
{
	struct tdxm *module = tdxq_module(context->q);
	struct tdxm_regs io = { 0 };
	enum tdxm_outcome outcome;
	size_t count;

	if (!module)
		return TDXM_VMFAIL_INVALID;
	/* What they did to a page is told before the page has another state. */
	tdxq_watch_drain(context->q);
	load_gpr(context, VMXR_RAX);
	load_gpr(context, VMXR_RSP);
	count = tdxm_leaf_uses_all_regs(context->new.gpr[VMXR_RAX]) ? G_N_ELEMENTS(seamcall_regs) :
								      NR_COMMON;
	for (size_t i = 0; i < count; i++) {
		load_gpr(context, seamcall_regs[i].gpr);
		*seamcall_reg(&io, i) = context->new.gpr[seamcall_regs[i].gpr];
	}
	outcome = tdxm_seamcall(module, context->lp, context->new.gpr[VMXR_RSP], &io);
	if (outcome == TDXM_DONE) {
		for (size_t i = 0; i < count; i++)
			context->new.gpr[seamcall_regs[i].gpr] = *seamcall_reg(&io, i);
	} else if (outcome == TDXM_AGAIN) {
		g_usleep(HOLD_US);
	}
	return outcome;
}

/*
 * Execute what follows an instruction that set the flags, as far as it reads
 * them, and return where to go on. What does not read them is left to TCG.
 */
static uint64_t consume_flags(struct context *context, const struct vmxr_insn *insn,
			      const uint8_t *bytes, size_t len, uint64_t rip, uint32_t flags)
{
	struct vmxr_consumer next;
	uint64_t *byte;

	vmxr_decode_consumer(bytes, len, &next);
	switch (next.kind) {
	case VMXR_BRANCHES:
		rip += next.len;
		return vmxr_cond_holds(next.cond, flags) ? rip + (uint64_t)next.disp : rip;
	case VMXR_SETS_BYTE:
		load_gpr(context, next.rm);
		byte = &context->new.gpr[next.rm];
		*byte = (*byte & ~UINT64_C(0xff)) | vmxr_cond_holds(next.cond, flags);
		return rip + next.len;
	case VMXR_READS_FLAGS:
		/* Neither Jcc nor SETcc, or it cannot be decoded at all. */
		tdxq_gapf(context->q, "flags of %s are read in an unknown way",
			  vmxr_kind_name(insn->kind));
		break;
	case VMXR_IGNORES_FLAGS:
		break;
	}
	return rip;
}

/* How the instruction ended, in terms of the CPU model. */
static enum vmxr_outcome run(struct context *context, const struct vmxr_insn *insn, bool *again)
{
	struct tdxq *q = context->q;
	struct vmxr_cpu *cpu = &q->vcpu[context->lp].cpu;

	if (insn->kind != VMXR_SEAMCALL)
		load_all(context);
	switch (insn->kind) {
	case VMXR_SEAMCALL:
		if (!cpu->in_vmx)
			return VMXR_UD;
		switch (seamcall(context)) {
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
		return vmxr_movdir64b(insn, &context->new, &tdxq_cpu_ops, q);
	default:
		return vmxr_execute(cpu, insn, &context->new, &tdxq_cpu_ops, q);
	}
}

void tdxq_execute(unsigned int vcpu_index, void *userdata)
{
	struct tdxq_site *site = userdata;
	struct tdxq *q = site->q;
	struct tdxq_vcpu *vcpu = &q->vcpu[vcpu_index];
	struct context context = { .q = q, .lp = vcpu_index };
	uint8_t bytes[VMXR_FETCH_LEN];
	enum vmxr_outcome outcome;
	struct vmxr_insn insn;
	bool again = false;
	uint64_t rip;
	size_t len;

	if (!tdxq_in_long_mode(vcpu))
		return;
	rip = tdxq_rip(vcpu, site);
	len = fetch(site, rip, bytes);
	vmxr_decode(bytes, len, &insn);
	if (insn.kind == VMXR_NOT_OURS)
		return;
	if (tdxq_cpl(vcpu)) {
		/* The others are privileged; this one CPUID offers to user space, too. */
		if (insn.kind == VMXR_MOVDIR64B)
			tdxq_gapf(q, "%s in user mode", vmxr_kind_name(insn.kind));
		return;
	}

	tdxq_backtrace_prepare(q, vcpu_index);
	context.new.rip = rip;
	outcome = run(&context, &insn, &again);
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
		rip = consume_flags(&context, &insn, bytes + insn.len, len - insn.len,
				    rip + insn.len, vmxr_outcome_flags(outcome));
		break;
	}
	store_regs(&context);
	qemu_plugin_set_pc(rip);
}
