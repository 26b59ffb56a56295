/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Model of what a TDX capable CPU has and TCG lacks: VMX root operation, its
 * capability MSRs, a few CPUID bits, MOVDIR64B, and the decoding of all the
 * instructions concerned.
 *
 * Pure C without global state. Guest state reaches the model through struct
 * vmxr_regs and struct vmxr_ops, so that a unit test can play the machine.
 * VMX non-root operation is not modelled: TD vCPUs belong to the TDX module.
 */
#ifndef VMXR_H
#define VMXR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* General purpose registers, numbered as instructions encode them. */
enum vmxr_gpr {
	VMXR_RAX,
	VMXR_RCX,
	VMXR_RDX,
	VMXR_RBX,
	VMXR_RSP,
	VMXR_RBP,
	VMXR_RSI,
	VMXR_RDI,
	VMXR_R8,
	VMXR_R9,
	VMXR_R10,
	VMXR_R11,
	VMXR_R12,
	VMXR_R13,
	VMXR_R14,
	VMXR_R15,
	VMXR_NR_GPRS,
	VMXR_RIP = VMXR_NR_GPRS, /* only as the base of an address */
	VMXR_NO_REG,
};

/* rip is the address of the instruction that executes. */
struct vmxr_regs {
	uint64_t gpr[VMXR_NR_GPRS];
	uint64_t rip;
	uint64_t fs_base;
	uint64_t gs_base;
};

/*
 * struct vmxr_ops - what the CPU model needs from its surroundings
 *
 * phys_* access guest-physical RAM, virt_* go through the page tables of the
 * executing vCPU; all return false when the range is not there. gap records
 * something that the model lacks and that ought to fail the run; it takes a
 * line without a newline, the same line any number of times.
 */
struct vmxr_ops {
	bool (*phys_read)(void *opaque, uint64_t hpa, void *buf, size_t len);
	bool (*phys_write)(void *opaque, uint64_t hpa, const void *buf, size_t len);
	bool (*virt_read)(void *opaque, uint64_t gva, void *buf, size_t len);
	bool (*virt_write)(void *opaque, uint64_t gva, const void *buf, size_t len);
	void (*gap)(void *opaque, const char *line);
};

enum vmxr_segment {
	VMXR_SEG_FLAT, /* base 0 in 64-bit mode */
	VMXR_SEG_FS,
	VMXR_SEG_GS,
};

struct vmxr_mem {
	enum vmxr_segment segment;
	enum vmxr_gpr base;
	enum vmxr_gpr index;
	uint8_t scale;
	int64_t disp;
};

enum vmxr_kind {
	VMXR_NOT_OURS,
	VMXR_CPUID,
	VMXR_RDMSR,
	VMXR_WRMSR,
	VMXR_MOV_TO_CR4,
	VMXR_MOV_FROM_CR4,
	VMXR_MOVDIR64B,
	VMXR_VMXON,
	VMXR_VMXOFF,
	VMXR_VMCLEAR,
	VMXR_VMPTRLD,
	VMXR_VMPTRST,
	VMXR_VMREAD,
	VMXR_VMWRITE,
	VMXR_INVEPT,
	VMXR_INVVPID,
	VMXR_VMLAUNCH,
	VMXR_VMRESUME,
	VMXR_VMCALL,
	VMXR_SEAMCALL,
	VMXR_NR_KINDS,
};

/*
 * struct vmxr_insn - a decoded instruction
 * @reg:	ModRM.reg: field of VMREAD/VMWRITE, type of INVEPT/INVVPID, address
 *		of MOVDIR64B; the general register of MOV CR4
 * @rm:		ModRM.r/m as register, when @rm_is_mem is false
 * @mem:	ModRM.r/m as memory, when @rm_is_mem is true
 */
struct vmxr_insn {
	enum vmxr_kind kind;
	uint8_t len;
	enum vmxr_gpr reg;
	bool rm_is_mem;
	enum vmxr_gpr rm;
	struct vmxr_mem mem;
};

/* Longest x86 instruction, and the bytes to fetch for one plus its successor. */
#define VMXR_MAX_INSN_LEN 15
#define VMXR_FETCH_LEN (2 * VMXR_MAX_INSN_LEN)

/*
 * vmxr_prefilter - may this be an instruction of ours?
 *
 * Cheap enough for every instruction that is translated. @len may be shorter
 * than the instruction (TCG stops at the byte that makes it illegal), in which
 * case the answer errs on the side of true.
 */
bool vmxr_prefilter(const uint8_t *bytes, size_t len);

/* vmxr_decode - decode one 64-bit instruction; kind VMXR_NOT_OURS when it is not one of ours */
void vmxr_decode(const uint8_t *bytes, size_t len, struct vmxr_insn *insn);

const char *vmxr_kind_name(enum vmxr_kind kind);

/* vmxr_mem_addr - linear address of a memory operand */
uint64_t vmxr_mem_addr(const struct vmxr_insn *insn, const struct vmxr_regs *regs);

/* RFLAGS bits that VMX instructions and SEAMCALL define. */
#define VMXR_FLAG_CF 0x0001
#define VMXR_FLAG_PF 0x0004
#define VMXR_FLAG_AF 0x0010
#define VMXR_FLAG_ZF 0x0040
#define VMXR_FLAG_SF 0x0080
#define VMXR_FLAG_OF 0x0800

/* What the instruction behind an emulated one does with the flags. */
enum vmxr_consumer_kind {
	VMXR_IGNORES_FLAGS,
	VMXR_BRANCHES,	  /* Jcc */
	VMXR_SETS_BYTE,	  /* SETcc on a register */
	VMXR_READS_FLAGS, /* any other reader */
};

/*
 * struct vmxr_consumer - a possible reader of the flags
 * @cond:	condition code, the low four bits of the opcode
 * @disp:	branch displacement, counted from the end of the instruction
 * @rm:		register of SETcc, low byte
 */
struct vmxr_consumer {
	enum vmxr_consumer_kind kind;
	uint8_t len;
	uint8_t cond;
	int64_t disp;
	enum vmxr_gpr rm;
};

void vmxr_decode_consumer(const uint8_t *bytes, size_t len, struct vmxr_consumer *consumer);
bool vmxr_cond_holds(uint8_t cond, uint32_t flags);

/*
 * struct vmxr_cpu - VMX state of one logical processor; all zero at reset
 * @vmxe:	CR4.VMXE, which TCG cannot hold
 * @in_vmx:	between VMXON and VMXOFF
 * @vmxon_region: its physical address
 * @has_vmcs:	a current VMCS exists
 * @vmcs:	its physical address
 */
struct vmxr_cpu {
	bool vmxe;
	bool in_vmx;
	uint64_t vmxon_region;
	bool has_vmcs;
	uint64_t vmcs;
};

/*
 * enum vmxr_outcome - how an instruction ended
 *
 * The three VMX outcomes and VMXR_DONE move on to the next instruction; DONE
 * leaves the flags alone. UD and GP raise the exception, FAULT is an operand
 * that is not mapped.
 */
enum vmxr_outcome {
	VMXR_DONE,
	VMXR_SUCCEED,
	VMXR_FAIL_INVALID,
	VMXR_FAIL_VALID,
	VMXR_UD,
	VMXR_GP,
	VMXR_FAULT,
};

uint32_t vmxr_outcome_flags(enum vmxr_outcome outcome);

/* vmxr_execute - execute one VMX instruction (VMXR_VMXON .. VMXR_VMCALL) at CPL 0 */
enum vmxr_outcome vmxr_execute(struct vmxr_cpu *cpu, const struct vmxr_insn *insn,
			       struct vmxr_regs *regs, const struct vmxr_ops *ops, void *opaque);

/* vmxr_movdir64b - copy 64 bytes; the only store that resets TD-private memory */
enum vmxr_outcome vmxr_movdir64b(const struct vmxr_insn *insn, const struct vmxr_regs *regs,
				 const struct vmxr_ops *ops, void *opaque);

/*
 * MSRs. NOT_OURS leaves the access to TCG. A write to an MSR of the model
 * raises #GP, IA32_FEAT_CTL because it is locked, or does nothing (DONE).
 */
enum vmxr_msr_outcome {
	VMXR_MSR_NOT_OURS,
	VMXR_MSR_DONE,
	VMXR_MSR_GP,
};

enum vmxr_msr_outcome vmxr_rdmsr(uint32_t index, uint64_t *value);
enum vmxr_msr_outcome vmxr_wrmsr(uint32_t index);

/* An MSR number that raises #GP in TCG, too, whatever the access. */
#define VMXR_MSR_ALWAYS_GP 0x8ff

/* CPUID output in the order EAX, EBX, ECX, EDX. */
enum vmxr_cpuid_reg {
	VMXR_EAX,
	VMXR_EBX,
	VMXR_ECX,
	VMXR_EDX,
	VMXR_NR_CPUID_REGS
};

/* vmxr_cpuid_differs - does this leaf need vmxr_cpuid_fix() after TCG answered it? */
bool vmxr_cpuid_differs(uint32_t leaf, uint32_t subleaf);
void vmxr_cpuid_fix(uint32_t leaf, uint32_t subleaf, uint32_t out[VMXR_NR_CPUID_REGS]);

#endif /* VMXR_H */
