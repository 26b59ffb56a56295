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

#define TDXM_MODEL_VERSION "0.2"

#define TDXM_MAX_LPS 64
#define TDXM_MAX_CMRS 32

/* Severity of a log line. */
enum tdxm_log_level {
	TDXM_LOG_GUEST_ERROR,	/* the kernel broke a rule that the module checks */
	TDXM_LOG_SANITIZER,	/* the kernel did harm that the module would not report */
	TDXM_LOG_UNIMPLEMENTED, /* a leaf or field that the model lacks */
	TDXM_LOG_INFO,
};

/* General purpose registers at the SEAMCALL, in and out. */
struct tdxm_regs {
	uint64_t rax, rbx, rcx, rdx, rsi, rdi, rbp;
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
};

/* What an LP knows and the model does not. All zero unless said otherwise. */
enum tdxm_lp_state {
	TDXM_LP_NO_ENTROPY,  /* RDRAND gives nothing at the moment */
	TDXM_LP_INTERRUPTED, /* an interrupt of the host is pending */
	TDXM_LP_TSC_ADJUST,  /* IA32_TSC_ADJUST */
	TDXM_LP_LIMIT_CPUID, /* IA32_MISC_ENABLE bit 22 */
};

/*
 * struct tdxm_event - one completed SEAMCALL
 * @leaf:	name, never NULL
 * @out:	registers afterwards, the status in RAX
 * @start_ns:	when it began, by now_ns, and
 * @end_ns:	when its locks were gone
 * @busy:	name of the resource that was not free, or NULL
 * @injected:	the status was asked for by a rule
 */
struct tdxm_event {
	unsigned int lp;
	const char *leaf;
	struct tdxm_regs in, out;
	uint64_t start_ns;
	uint64_t end_ns;
	const char *busy;
	bool injected;
};

/*
 * struct tdxm_ops - what the model needs from its surroundings
 *
 * mem_read/mem_write access len bytes of guest-physical RAM at hpa (a host
 * physical address of the machine under emulation, KeyID bits stripped) and
 * return false when any byte of the range is not RAM. They may be called from
 * several threads at once. log takes one line without a newline. now_ns is a
 * monotonic clock in nanoseconds.
 *
 * Optional, NULL otherwise: delay lets ns nanoseconds pass while the call holds
 * its locks, else leaves take no time; lp_state answers an LP's enum
 * tdxm_lp_state, in that LP's call only; completed is told each SEAMCALL;
 * page_owned is told from when on a store by the host to len bytes at hpa is to be
 * passed to tdxm_host_store(), and when it is fine again; backtrace puts up to max
 * program counters of the guest that makes the call under way into pc, innermost
 * first, and returns how many.
 */
struct tdxm_ops {
	bool (*mem_read)(void *opaque, uint64_t hpa, void *buf, size_t len);
	bool (*mem_write)(void *opaque, uint64_t hpa, const void *buf, size_t len);
	void (*log)(void *opaque, enum tdxm_log_level level, const char *line);
	uint64_t (*now_ns)(void *opaque);
	void (*delay)(void *opaque, uint64_t ns);
	uint64_t (*lp_state)(void *opaque, unsigned int lp, enum tdxm_lp_state what);
	void (*completed)(void *opaque, const struct tdxm_event *event);
	void (*page_owned)(void *opaque, uint64_t hpa, uint64_t len, bool owned);
	size_t (*backtrace)(void *opaque, uint64_t *pc, size_t max);
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
 * @lp_package:	package of each LP, below nr_packages; from 8 on it is one that the
 *		module has no room for
 * @maxphyaddr:	physical address width in bits as the kernel computes it
 *		(x86_phys_bits), KeyID bits on top included
 * @keyid_bits:	how many of those bits hold the KeyID when the kernel composes
 *		an HPA with a KeyID (PHYMEM.PAGE.WBINVD)
 * @nr_mktme:	NUM_MKTME of IA32_MKTME_KEYID_PARTITIONING
 * @nr_tdx_keyids: NUM_TDX of the same MSR; first private KeyID is nr_mktme + 1
 * @native_cpuid_1_eax: CPUID(1).EAX, given to TD vCPUs and checked by MNG.INIT
 * @la57:	5-level EPT offered by the CPU
 * @tsc_khz:	native TSC frequency
 * @td_preserving: the module can be updated while TDs live (FEATURES0 bit 1): offers
 *		TDH.SYS.SHUTDOWN, TDH.SYS.UPDATE and the P-SEAMLDR
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
	bool td_preserving;
	unsigned int nr_cmrs;
	struct tdxm_cmr cmr[TDXM_MAX_CMRS];
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
 *
 * A call that a rule holds answers TDXM_AGAIN and is suspended, locks and all,
 * until it is executed again with the same context and registers. An interrupt
 * may come in between, with SEAMCALLs of its own; hence context, a value that
 * tells apart all who may be in the middle of one: the stack pointer, say.
 */
enum tdxm_outcome tdxm_seamcall(struct tdxm *tdxm, unsigned int lp, uint64_t context,
				struct tdxm_regs *regs);

/*
 * Modelled time of the leaves, during which they hold their locks, in percent;
 * 100 is the default, 0 means as fast as they are. Returns the former value.
 */
#define TDXM_MAX_LATENCY 100000
unsigned int tdxm_set_latency(struct tdxm *tdxm, unsigned int percent);

/*
 * Statistics for the report at the end of a run. A call is counted when it
 * completes. tdxm_for_each_count() walks all (leaf, status) pairs seen, status
 * with its details bits 31:0 cleared.
 */
#define TDXM_LEAF_SEAMLDR 0x10000 /* plus the number of a P-SEAMLDR leaf */

struct tdxm_count {
	uint32_t leaf;
	const char *leaf_name; /* "TDH.MEM.PAGE.ADD", or "unknown" */
	uint64_t status;
	const char *status_name; /* "TDX_OPERAND_BUSY", or "unknown" */
	uint64_t count;
	uint64_t ns; /* time from first to last instruction, all calls together */
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

/* One or more equal calls about a page; see struct tdxm_finding. */
struct tdxm_history_event {
	uint16_t leaf;
	uint16_t lp;
	uint32_t count;
	uint64_t time_ns; /* of the first, since power-on */
	uint64_t tdr;	  /* of the TD that the call named, 0 if none */
	uint64_t status;
};

#define TDXM_MAX_HISTORY 8
#define TDXM_MAX_BACKTRACE 24
#define TDXM_NO_PAGE (~UINT64_C(0))
#define TDXM_NO_LP (-1)

/*
 * struct tdxm_finding - one finding, and the circumstances of its first time
 * @rule:	short id of what is broken, "unimplemented" for that kind
 * @severity:	"corrupts", "refused" or "leaks"; NULL unless of the sanitizer
 * @invariant:	what should hold, as a sentence; NULL likewise
 * @count:	how often it happened
 * @hpa:	page that it is about, or TDXM_NO_PAGE
 * @lp:		whose SEAMCALL or store it was, or TDXM_NO_LP
 * @time_ns:	since power-on
 * @history:	last calls that had to do with the page, oldest first
 * @backtrace:	program counters of the guest, innermost first
 */
struct tdxm_finding {
	enum tdxm_finding_kind kind;
	const char *rule;
	const char *severity;
	const char *invariant;
	const char *text;
	uint64_t count;
	uint64_t hpa;
	int lp;
	uint64_t time_ns;
	const struct tdxm_history_event *history;
	size_t nr_history;
	const uint64_t *backtrace;
	size_t nr_backtrace;
};

void tdxm_for_each_finding(struct tdxm *tdxm,
			   void (*fn)(void *arg, const struct tdxm_finding *finding), void *arg);

/*
 * The host, as LP lp or as a device (TDXM_NO_LP), stores to a page that
 * page_owned() named. pc: where in the guest, as for backtrace.
 */
void tdxm_host_store(struct tdxm *tdxm, int lp, uint64_t hpa, const uint64_t *pc, size_t nr_pc);

/* Does the leaf in RAX take more than RCX, RDX and R8 to R11? */
bool tdxm_leaf_uses_all_regs(uint64_t rax);

/* Name of a leaf number, with TDXM_LEAF_SEAMLDR or not, or of a status; never NULL. */
const char *tdxm_leaf_name(uint64_t leaf);
const char *tdxm_status_name(uint64_t status);

#endif /* TDXM_H */
