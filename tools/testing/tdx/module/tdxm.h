/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Model of the Intel TDX module: the interface between the model and whoever
 * executes SEAMCALL instructions for it (the QEMU plugin, a unit test).
 *
 * The model is pure C. It keeps no global state, knows nothing of QEMU, and
 * reaches guest memory and the log only through struct tdxm_ops. Any number
 * of logical processors (LPs) may call tdxm_seamcall() at the same time, each
 * from its own thread; one LP never runs two calls at once.
 */
#ifndef TDXM_H
#define TDXM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TDXM_MODEL_VERSION "0.1"

#define TDXM_MAX_LPS 64
#define TDXM_MAX_CMRS 32

/* Severity of a log line. */
enum tdxm_log_level {
	TDXM_LOG_GUEST_ERROR,	/* the kernel broke a rule that the module checks */
	TDXM_LOG_SANITIZER,	/* the kernel did harm that the module would not report */
	TDXM_LOG_UNIMPLEMENTED, /* a leaf or field that the model lacks */
	TDXM_LOG_INFO,
};

/*
 * struct tdxm_ops - what the model needs from its surroundings
 *
 * mem_read/mem_write access len bytes of guest-physical RAM at hpa (a host
 * physical address of the machine under emulation, KeyID bits stripped) and
 * return false when any byte of the range is not RAM. They may be called from
 * several threads at once. log takes one line without a newline. now_ns is a
 * monotonic clock in nanoseconds. All are mandatory.
 */
struct tdxm_ops {
	bool (*mem_read)(void *opaque, uint64_t hpa, void *buf, size_t len);
	bool (*mem_write)(void *opaque, uint64_t hpa, const void *buf, size_t len);
	void (*log)(void *opaque, enum tdxm_log_level level, const char *line);
	uint64_t (*now_ns)(void *opaque);
};

/* A convertible memory range, 4 KiB granular, in bytes. */
struct tdxm_cmr {
	uint64_t base;
	uint64_t size;
};

/*
 * struct tdxm_platform - the machine that the module finds itself on
 * @nr_lps:	logical processors, 1..TDXM_MAX_LPS; LP numbers are 0..nr_lps-1
 * @nr_packages: packages, 1..8
 * @lp_package:	package of each LP
 * @maxphyaddr:	physical address width in bits as the kernel computes it
 *		(x86_phys_bits), KeyID bits on top included
 * @keyid_bits:	how many of those bits hold the KeyID when the kernel composes
 *		an HPA with a KeyID (PHYMEM.PAGE.WBINVD)
 * @nr_mktme:	NUM_MKTME of IA32_MKTME_KEYID_PARTITIONING
 * @nr_tdx_keyids: NUM_TDX of the same MSR; first private KeyID is nr_mktme + 1
 * @native_cpuid_1_eax: CPUID(1).EAX, given to TD vCPUs and checked by MNG.INIT
 * @la57:	5-level EPT offered by the CPU
 * @tsc_khz:	native TSC frequency
 */
struct tdxm_platform {
	unsigned int nr_lps;
	unsigned int nr_packages;
	uint8_t lp_package[TDXM_MAX_LPS];
	unsigned int maxphyaddr;
	unsigned int keyid_bits;
	unsigned int nr_mktme;
	unsigned int nr_tdx_keyids;
	uint32_t native_cpuid_1_eax;
	bool la57;
	uint64_t tsc_khz;
	unsigned int nr_cmrs;
	struct tdxm_cmr cmr[TDXM_MAX_CMRS];
};

/* General purpose registers at the SEAMCALL, in and out. */
struct tdxm_regs {
	uint64_t rax, rbx, rcx, rdx, rsi, rdi, rbp;
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
};

/* What the executing CPU has to do after a call. */
enum tdxm_outcome {
	TDXM_DONE,	     /* regs hold the results, CF = 0, go on behind the instruction */
	TDXM_VMFAIL_INVALID, /* CF = 1, no register changes */
	TDXM_AGAIN,	     /* execute the same instruction again, interrupts may come first */
};

struct tdxm;

/*
 * tdxm_create - power on a module
 * Returns NULL, with the reason logged, when the platform is inconsistent or
 * memory is short. The caller keeps ops and opaque alive until tdxm_destroy().
 */
struct tdxm *tdxm_create(const struct tdxm_platform *platform, const struct tdxm_ops *ops,
			 void *opaque);
void tdxm_destroy(struct tdxm *tdxm);

/*
 * tdxm_seamcall - execute one SEAMCALL on LP lp
 *
 * The caller has checked what the CPU checks (VMX root operation, CPL 0).
 * Only the registers that the leaf names as output are written.
 */
enum tdxm_outcome tdxm_seamcall(struct tdxm *tdxm, unsigned int lp, struct tdxm_regs *regs);

/*
 * Statistics for the report at the end of a run. A call is counted when it
 * completes. tdxm_for_each_count() walks all (leaf, status) pairs seen, status
 * with its details bits 31:0 cleared.
 */
struct tdxm_count {
	uint32_t leaf;
	const char *leaf_name; /* "TDH.MEM.PAGE.ADD", or "unknown" */
	uint64_t status;
	const char *status_name; /* "TDX_OPERAND_BUSY", or "unknown" */
	uint64_t count;
};

void tdxm_for_each_count(struct tdxm *tdxm, void (*fn)(void *arg, const struct tdxm_count *count),
			 void *arg);

/*
 * Findings: what must fail the run at its end. A text is logged once, however
 * often it happens.
 */
enum tdxm_finding_kind {
	TDXM_FINDING_UNIMPLEMENTED, /* leaf or field that the model lacks */
	TDXM_FINDING_SANITIZER,	    /* broken invariant of the kernel under test */
};

struct tdxm_finding {
	enum tdxm_finding_kind kind;
	const char *text;
	uint64_t count;
};

void tdxm_for_each_finding(struct tdxm *tdxm,
			   void (*fn)(void *arg, const struct tdxm_finding *finding), void *arg);

/* Name of a leaf number (RAX bits 15:0) or of a status; never NULL. */
const char *tdxm_leaf_name(uint64_t leaf);
const char *tdxm_status_name(uint64_t status);

#endif /* TDXM_H */
