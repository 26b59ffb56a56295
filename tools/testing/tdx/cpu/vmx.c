// SPDX-License-Identifier: GPL-2.0-only
/*
 * VMX root operation: the instructions that a hypervisor executes, short of
 * running a guest. Each handler checks in the order of the SDM's operation
 * sections and changes state only after the last check.
 */
#include <stdio.h>

#include "cpu/vmcs.h"
#include "cpu/vmx_spec.h"
#include "cpu/vmxr.h"

/* One execution: what every handler needs. */
struct run {
	struct vmxr_cpu *cpu;
	const struct vmxr_insn *insn;
	struct vmxr_regs *regs;
	const struct vmxr_ops *ops;
	void *opaque;
};

uint32_t vmxr_outcome_flags(enum vmxr_outcome outcome)
{
	switch (outcome) {
	case VMXR_FAIL_INVALID:
		return VMXR_FLAG_CF;
	case VMXR_FAIL_VALID:
		return VMXR_FLAG_ZF;
	default:
		return 0;
	}
}

/* VMfail(error): VMfailValid with a current VMCS, VMfailInvalid without. */
static enum vmxr_outcome vm_fail(const struct run *run, enum vmxr_error error)
{
	if (!run->cpu->has_vmcs)
		return VMXR_FAIL_INVALID;
	if (!vmxr_vmcs_write(run->cpu->vmcs, vmxr_field_find(VMXR_FIELD_INSTRUCTION_ERROR),
			     VMXR_FIELD_INSTRUCTION_ERROR, error, run->ops, run->opaque))
		return VMXR_FAULT;
	return VMXR_FAIL_VALID;
}

static bool read_mem(const struct run *run, void *buf, size_t len)
{
	return run->ops->virt_read(run->opaque, vmxr_mem_addr(run->insn, run->regs), buf, len);
}

static bool write_mem(const struct run *run, const void *buf, size_t len)
{
	return run->ops->virt_write(run->opaque, vmxr_mem_addr(run->insn, run->regs), buf, len);
}

static bool valid_region(uint64_t hpa)
{
	return !(hpa & (VMXR_VMCS_SIZE - 1)) && !(hpa >> VMXR_MAXPHYADDR);
}

/* First word of a region: revision id in 30:0, shadow-VMCS indicator in 31. */
static bool has_revision(const struct run *run, uint64_t hpa, bool *match)
{
	uint32_t id;

	if (!run->ops->phys_read(run->opaque, hpa + VMXR_VMCS_REVISION_OFFSET, &id, sizeof(id)))
		return false;
	*match = id == VMXR_VMCS_REVISION;
	return true;
}

static enum vmxr_outcome vmxon(const struct run *run)
{
	uint64_t region;
	bool match;

	if (!run->cpu->vmxe)
		return VMXR_UD;
	if (run->cpu->in_vmx)
		return vm_fail(run, VMXR_ERR_VMXON_IN_ROOT);
	if (!read_mem(run, &region, sizeof(region)))
		return VMXR_FAULT;
	if (!valid_region(region) || !has_revision(run, region, &match) || !match)
		return VMXR_FAIL_INVALID;

	run->cpu->in_vmx = true;
	run->cpu->vmxon_region = region;
	run->cpu->has_vmcs = false;
	return VMXR_SUCCEED;
}

static enum vmxr_outcome vmxoff(const struct run *run)
{
	run->cpu->in_vmx = false;
	run->cpu->has_vmcs = false;
	return VMXR_SUCCEED;
}

static enum vmxr_outcome vmclear(const struct run *run)
{
	uint32_t launched = 0;
	uint64_t vmcs;

	if (!read_mem(run, &vmcs, sizeof(vmcs)))
		return VMXR_FAULT;
	if (!valid_region(vmcs))
		return vm_fail(run, VMXR_ERR_VMCLEAR_ADDRESS);
	if (vmcs == run->cpu->vmxon_region)
		return vm_fail(run, VMXR_ERR_VMCLEAR_VMXON_POINTER);
	if (!run->ops->phys_write(run->opaque, vmcs + VMXR_VMCS_LAUNCHED_OFFSET, &launched,
				  sizeof(launched)))
		return VMXR_FAULT;
	if (run->cpu->has_vmcs && run->cpu->vmcs == vmcs)
		run->cpu->has_vmcs = false;
	return VMXR_SUCCEED;
}

static enum vmxr_outcome vmptrld(const struct run *run)
{
	uint64_t vmcs;
	bool match;

	if (!read_mem(run, &vmcs, sizeof(vmcs)))
		return VMXR_FAULT;
	if (!valid_region(vmcs))
		return vm_fail(run, VMXR_ERR_VMPTRLD_ADDRESS);
	if (vmcs == run->cpu->vmxon_region)
		return vm_fail(run, VMXR_ERR_VMPTRLD_VMXON_POINTER);
	if (!has_revision(run, vmcs, &match) || !match)
		return vm_fail(run, VMXR_ERR_VMPTRLD_REVISION);
	run->cpu->has_vmcs = true;
	run->cpu->vmcs = vmcs;
	return VMXR_SUCCEED;
}

static enum vmxr_outcome vmptrst(const struct run *run)
{
	uint64_t vmcs = run->cpu->has_vmcs ? run->cpu->vmcs : UINT64_MAX;

	return write_mem(run, &vmcs, sizeof(vmcs)) ? VMXR_SUCCEED : VMXR_FAULT;
}

static void unknown_field(const struct run *run, uint64_t encoding)
{
	char line[64];

	snprintf(line, sizeof(line), "%s of unknown VMCS field 0x%llx",
		 vmxr_kind_name(run->insn->kind), (unsigned long long)encoding);
	run->ops->gap(run->opaque, line);
}

static int find_field(const struct run *run, uint64_t encoding)
{
	int index = encoding > UINT32_MAX ? -1 : vmxr_field_find((uint32_t)encoding);

	if (index < 0)
		unknown_field(run, encoding);
	return index;
}

static enum vmxr_outcome vmread(const struct run *run)
{
	uint64_t encoding = run->regs->gpr[run->insn->reg];
	uint64_t value;
	int index;

	if (!run->cpu->has_vmcs)
		return VMXR_FAIL_INVALID;
	index = find_field(run, encoding);
	if (index < 0)
		return vm_fail(run, VMXR_ERR_UNSUPPORTED_FIELD);
	if (!vmxr_vmcs_read(run->cpu->vmcs, index, (uint32_t)encoding, &value, run->ops,
			    run->opaque))
		return VMXR_FAULT;
	if (!run->insn->rm_is_mem)
		run->regs->gpr[run->insn->rm] = value;
	else if (!write_mem(run, &value, sizeof(value)))
		return VMXR_FAULT;
	return VMXR_SUCCEED;
}

static enum vmxr_outcome vmwrite(const struct run *run)
{
	uint64_t encoding = run->regs->gpr[run->insn->reg];
	uint64_t value;
	int index;

	if (!run->cpu->has_vmcs)
		return VMXR_FAIL_INVALID;
	if (!run->insn->rm_is_mem)
		value = run->regs->gpr[run->insn->rm];
	else if (!read_mem(run, &value, sizeof(value)))
		return VMXR_FAULT;
	index = find_field(run, encoding);
	if (index < 0)
		return vm_fail(run, VMXR_ERR_UNSUPPORTED_FIELD);
	if (vmxr_field_is_read_only((uint32_t)encoding))
		return vm_fail(run, VMXR_ERR_READ_ONLY_FIELD);
	if (!vmxr_vmcs_write(run->cpu->vmcs, index, (uint32_t)encoding, value, run->ops,
			     run->opaque))
		return VMXR_FAULT;
	return VMXR_SUCCEED;
}

/*
 * MODEL: there is nothing to invalidate, since no guest runs on VMX. The
 * operands are checked all the same.
 */
static enum vmxr_outcome invept(const struct run *run)
{
	uint64_t type = run->regs->gpr[run->insn->reg];
	uint64_t desc[2];

	if (!read_mem(run, desc, sizeof(desc)))
		return VMXR_FAULT;
	if (type < 1 || type > 2 || (type == 1 && (desc[0] >> VMXR_MAXPHYADDR || desc[1])))
		return vm_fail(run, VMXR_ERR_INVALIDATION_OPERAND);
	return VMXR_SUCCEED;
}

static enum vmxr_outcome invvpid(const struct run *run)
{
	uint64_t type = run->regs->gpr[run->insn->reg];
	uint64_t desc[2];

	if (!read_mem(run, desc, sizeof(desc)))
		return VMXR_FAULT;
	/* Type 2 is "all contexts"; each other type names a VPID, which is not 0. */
	if (type > 3 || (type != 2 && (!(desc[0] & 0xffff) || desc[0] >> 16)))
		return vm_fail(run, VMXR_ERR_INVALIDATION_OPERAND);
	return VMXR_SUCCEED;
}

/* MODEL: a plain VMX guest cannot run; every entry fails its control checks. */
static enum vmxr_outcome vm_entry(const struct run *run)
{
	char line[64];

	snprintf(line, sizeof(line), "%s: VMX non-root operation", vmxr_kind_name(run->insn->kind));
	run->ops->gap(run->opaque, line);
	return vm_fail(run, VMXR_ERR_ENTRY_CONTROLS);
}

static enum vmxr_outcome vmcall(const struct run *run)
{
	return vm_fail(run, VMXR_ERR_VMCALL_IN_ROOT);
}

static enum vmxr_outcome (*const handlers[VMXR_NR_KINDS])(const struct run *run) = {
	[VMXR_VMXON] = vmxon,	    [VMXR_VMXOFF] = vmxoff,	[VMXR_VMCLEAR] = vmclear,
	[VMXR_VMPTRLD] = vmptrld,   [VMXR_VMPTRST] = vmptrst,	[VMXR_VMREAD] = vmread,
	[VMXR_VMWRITE] = vmwrite,   [VMXR_INVEPT] = invept,	[VMXR_INVVPID] = invvpid,
	[VMXR_VMLAUNCH] = vm_entry, [VMXR_VMRESUME] = vm_entry, [VMXR_VMCALL] = vmcall,
};

enum vmxr_outcome vmxr_execute(struct vmxr_cpu *cpu, const struct vmxr_insn *insn,
			       struct vmxr_regs *regs, const struct vmxr_ops *ops, void *opaque)
{
	const struct run run = { cpu, insn, regs, ops, opaque };

	if (insn->kind >= VMXR_NR_KINDS || !handlers[insn->kind])
		return VMXR_UD;
	if (!cpu->in_vmx && insn->kind != VMXR_VMXON)
		return VMXR_UD;
	return handlers[insn->kind](&run);
}

enum vmxr_outcome vmxr_movdir64b(const struct vmxr_insn *insn, const struct vmxr_regs *regs,
				 const struct vmxr_ops *ops, void *opaque)
{
	uint64_t dest = regs->gpr[insn->reg];
	uint8_t line[64];

	if (dest & (sizeof(line) - 1))
		return VMXR_GP;
	if (!ops->virt_read(opaque, vmxr_mem_addr(insn, regs), line, sizeof(line)) ||
	    !ops->virt_write(opaque, dest, line, sizeof(line)))
		return VMXR_FAULT;
	return VMXR_DONE;
}
