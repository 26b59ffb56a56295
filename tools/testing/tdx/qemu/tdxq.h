/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The QEMU plugin: glue between QEMU's vCPUs and the models of the CPU and of
 * the TDX module. Only this directory knows the plugin interface.
 *
 * An instruction that TCG lacks is executed here and skipped (execute.c), so
 * are RDMSR, WRMSR and MOV CR4 where they concern the models (system.c). CPUID
 * is corrected after TCG executed it (after.c).
 */
#ifndef TDXQ_H
#define TDXQ_H

#include <stdio.h>

#include <glib.h>

#include "cpu/vmxr.h"
#include "module/tdxm.h"
#include "qemu/plugin_api.h"

/* What remains to be done once the instruction under way has ended. */
enum tdxq_after_kind {
	TDXQ_AFTER_CPUID,
	TDXQ_AFTER_CONTROL, /* CPUID was a request, see control.c */
	TDXQ_AFTER_GP,	    /* an operand was replaced to raise #GP */
};

/*
 * struct tdxq_after - work left behind by an instruction
 * @rip:	where execution is then: behind CPUID, or at the faulting instruction
 * @leaf:	of CPUID, with @subleaf
 * @gpr:	register that gets @value back
 * @rbx:	with @rdx, arguments of a request that CPUID overwrites
 */
struct tdxq_after {
	enum tdxq_after_kind kind;
	uint64_t rip;
	uint32_t leaf;
	uint32_t subleaf;
	enum vmxr_gpr gpr;
	uint64_t value;
	uint64_t rbx;
	uint64_t rdx;
};

/* Registers besides the general purpose ones. */
enum tdxq_reg {
	TDXQ_REG_RIP,
	TDXQ_REG_CS,
	TDXQ_REG_FS_BASE,
	TDXQ_REG_GS_BASE,
	TDXQ_REG_CR4,
	TDXQ_REG_EFER,
	TDXQ_NR_REGS,
};

/*
 * struct tdxq_vcpu - one vCPU, touched by its own thread only
 * @split_rip:	last CPUID that had its block translated once more, see after.c
 * @buf:	for register access
 */
struct tdxq_vcpu {
	struct vmxr_cpu cpu;
	struct tdxq_after after;
	uint64_t split_rip;
	struct qemu_plugin_register *gpr[VMXR_NR_GPRS];
	struct qemu_plugin_register *reg[TDXQ_NR_REGS];
	GByteArray *buf;
};

struct tdxq_options {
	const char *report;
	const char *trace;
	unsigned int latency; /* percent of the modelled times */
	bool busy_once;
};

/* Guest RAM in ascending order, as found by probing. */
#define TDXQ_MAX_RAM_RANGES 2

/*
 * struct tdxq - the plugin
 * @pending:	per vCPU, non-zero while its struct tdxq_after holds work
 * @lock:	protects @sites and @findings; innermost, QEMU may hold locks of its own
 * @power_lock:	protects the creation of @module, which reads guest memory
 * @sites:	instructions of interest by place and bytes
 * @findings:	text -> count, of the CPU model
 */
struct tdxq {
	struct tdxq_options options;
	unsigned int nr_vcpus;
	struct tdxq_vcpu vcpu[TDXM_MAX_LPS];
	qemu_plugin_u64 pending;
	GMutex lock;
	GHashTable *sites;
	GHashTable *findings;
	GMutex power_lock;
	struct tdxm *module;
	gint cpuid_1_eax; /* of this CPU, as a vCPU last saw it */
	struct tdxm_cmr ram[TDXQ_MAX_RAM_RANGES];
	unsigned int nr_ram;
	FILE *trace;
	uint64_t start_ns;
};

/* regs.c: registers of the vCPU that executes */
bool tdxq_regs_init(struct tdxq_vcpu *vcpu);
uint64_t tdxq_read_gpr(struct tdxq_vcpu *vcpu, enum vmxr_gpr gpr);
void tdxq_write_gpr(struct tdxq_vcpu *vcpu, enum vmxr_gpr gpr, uint64_t value);
uint64_t tdxq_read_reg(struct tdxq_vcpu *vcpu, enum tdxq_reg reg);
void tdxq_write_reg(struct tdxq_vcpu *vcpu, enum tdxq_reg reg, uint64_t value);
/* 64-bit mode with paging, the only mode that the models know; firmware runs in others */
bool tdxq_in_long_mode(struct tdxq_vcpu *vcpu);
unsigned int tdxq_cpl(struct tdxq_vcpu *vcpu);

/* memory.c: guest memory, in callbacks of a vCPU only */
extern const struct vmxr_ops tdxq_cpu_ops;
extern const struct tdxm_ops tdxq_module_ops;
uint64_t tdxq_now_ns(void *opaque);
void tdxq_find_ram(struct tdxq *q);

/* machine.c: the module, powered on by the first SEAMCALL; NULL when it cannot be */
struct tdxm *tdxq_module(struct tdxq *q);

/*
 * A place in the guest's code that needs attention.
 * @offset:	within its page. Blocks are shared between all virtual addresses of
 *		their physical page, so that no more of the address is known.
 * @code:	its bytes in this process, up to the end of the page; NULL if unknown
 * @insn:	decoded, unless TCG cannot decode it and shows too few bytes
 */
struct tdxq_site {
	struct tdxq *q;
	const uint8_t *code;
	uint16_t offset;
	struct vmxr_insn insn;
};

#define TDXQ_PAGE_SIZE UINT64_C(0x1000)
#define TDXQ_PAGE_OFFSET (TDXQ_PAGE_SIZE - 1)

/* translate.c: choose the callbacks of a block */
void tdxq_translate(struct qemu_plugin_tb *tb, void *userdata);

/* execute.c: callback for an instruction that TCG lacks */
void tdxq_execute(unsigned int vcpu_index, void *site);
uint64_t tdxq_rip(struct tdxq_vcpu *vcpu, const struct tdxq_site *site);

/* system.c: callback for RDMSR, WRMSR, MOV CR4 */
void tdxq_system(unsigned int vcpu_index, void *site);

/* after.c: callbacks before CPUID, and after it */
void tdxq_before_cpuid(unsigned int vcpu_index, void *site);
void tdxq_before_last_cpuid(unsigned int vcpu_index, void *site);
void tdxq_after(unsigned int vcpu_index, void *q);
void tdxq_after_block(unsigned int vcpu_index, void *q);
void tdxq_discontinuity(unsigned int vcpu_index, enum qemu_plugin_discon_type type,
			uint64_t from_pc, uint64_t to_pc, void *q);
/* Have the instruction at rip fault: TCG sees value in gpr, the handler does not. */
void tdxq_replace_operand(struct tdxq *q, unsigned int vcpu_index, enum vmxr_gpr gpr,
			  uint64_t value, uint64_t rip);

/* control.c: a request; the registers are its arguments, then its results */
void tdxq_control(struct tdxq *q, uint64_t gpr[VMXR_NR_GPRS]);

/* findings.c */
void tdxq_gap(struct tdxq *q, const char *line);
void tdxq_gapf(struct tdxq *q, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* report.c, trace.c */
void tdxq_report(struct tdxq *q);
bool tdxq_trace_open(struct tdxq *q);
void tdxq_trace_line(struct tdxq *q, const char *line);
void tdxq_trace_seamcall(void *q, const struct tdxm_event *event);
void tdxq_trace_close(struct tdxq *q);

/* options.c */
bool tdxq_parse_options(struct tdxq_options *options, int argc, char **argv);

#endif /* TDXQ_H */
