/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The control channel of the emulated TDX host: steer its TDX module, and look
 * into it.  tdx_emul_abi.h has the requests and their meaning; here they are
 * functions that return 0 or a negative errno, -EOPNOTSUPP on any other host.
 *
 * A test that steers starts from tdx_emul_reset() and ends with it.
 */
#ifndef SELFTEST_KVM_TDX_EMUL_H
#define SELFTEST_KVM_TDX_EMUL_H

#include <linux/types.h>
#include <stdbool.h>

#include "tdx/tdx_emul_abi.h"

/* What the module speaks of, as far as the tests do. */
#define TDH_MNG_ADDCX 1
#define TDH_MEM_PAGE_ADD 2
#define TDH_MEM_SEPT_ADD 3
#define TDH_VP_ADDCX 4
#define TDH_MEM_RANGE_BLOCK 7
#define TDH_MNG_KEY_CONFIG 8
#define TDH_MNG_CREATE 9
#define TDH_VP_CREATE 10
#define TDH_MNG_RD 11
#define TDH_MR_EXTEND 16
#define TDH_MR_FINALIZE 17
#define TDH_VP_FLUSH 18
#define TDH_MNG_VPFLUSHDONE 19
#define TDH_MNG_KEY_FREEID 20
#define TDH_MNG_INIT 21
#define TDH_VP_INIT 22
#define TDH_PHYMEM_PAGE_RECLAIM 28
#define TDH_MEM_PAGE_REMOVE 29
#define TDH_MEM_TRACK 38
#define TDH_PHYMEM_CACHE_WB 40
#define TDH_PHYMEM_PAGE_WBINVD 41
#define TDH_VP_WR 43

#define TDX_SUCCESS 0ull
#define TDX_OPERAND_INVALID 0xc000010000000000ull
#define TDX_OPERAND_BUSY 0x8000020000000000ull
#define TDX_RND_NO_ENTROPY 0x8000020300000000ull
#define TDX_INTERRUPTED_RESUMABLE 0x8000000300000000ull
#define TDX_KEY_GENERATION_FAILED 0x8000080000000000ull

/* Operands in the details of a status. */
#define TDX_OPERAND_RCX 1
#define TDX_OPERAND_RDX 2

#define TDX_SEPT_FREE 0
#define TDX_SEPT_PENDING 2
#define TDX_SEPT_MAPPED 4
#define TDX_SEPT_NL_MAPPED 132

#define TDX_PAGE_NDA 0
#define TDX_PAGE_REG 3
#define TDX_PAGE_TDR 4
#define TDX_PAGE_EPT 8

#define TDX_TD_KEYS_CONFIGURED 1
#define TDX_TD_INITIALIZED 1
#define TDX_TD_RUNNABLE 2

/* Registers of a request, in and out. */
struct tdx_emul_regs {
	u64 rax, rbx, rcx, rdx, rsi, rdi;
	u64 r8, r9, r10, r11, r12, r13, r14, r15;
};

/* CPUID with all of @regs: a request as it stands, for tests of the channel itself. */
void tdx_emul_cpuid(struct tdx_emul_regs *regs);

/* Why the host cannot be steered, or NULL. */
const char *tdx_emul_lacks(void);

/*
 * Which calls of a leaf are held or failed; zero is a good default.
 * @size:	0 for any call, also one without a gpa
 * @first:	which matching call comes first, 0 and 1 mean the next
 * @count:	how many from there on, 0 for all
 * @timeout_ms:	of one hold, 0 for the common deadline
 */
struct tdx_emul_rule {
	unsigned int action;
	unsigned int leaf;
	u64 tdr;
	u64 gpa;
	u64 size;
	u64 first;
	u64 count;
	u64 status;
	u64 timeout_ms;
};

struct tdx_emul_rule_state {
	u64 held;
	u64 matches;
	u64 hits;
	u64 timeouts;
};

int tdx_emul_arm(const struct tdx_emul_rule *rule, u64 *id);
int tdx_emul_release(u64 id);
/* Id 0 means all rules. */
int tdx_emul_disarm(u64 id);
int tdx_emul_rule_state(u64 id, struct tdx_emul_rule_state *state);

/* Polls until the rule holds @nr calls; false after the common deadline. */
bool tdx_emul_wait_held(u64 id, unsigned int nr);

/* Polls until the rule has hit @nr calls or more; false after the common deadline. */
bool tdx_emul_wait_hits(u64 id, unsigned int nr);

/*
 * Holds the @call-th call of @leaf for the TD that was created last, and no other, by
 * TDX_EMUL_HOLD_ENTRY or TDX_EMUL_HOLD_LOCKED; returns the rule.  A host that refuses
 * fails the test.
 * @timeout_ms:	of the hold, 0 for the common deadline
 */
u64 tdx_emul_hold(unsigned int action, unsigned int leaf, unsigned int call, u64 timeout_ms);

/* No rules, no busy once, the latency of the start of this program. */
void tdx_emul_reset(void);

/* Calls since power-on with a status of which the bits in @mask are as in @status. */
int tdx_emul_count_masked(unsigned int leaf, u64 status, u64 mask, u64 *count);

/* The same with exactly this status, but for its details. */
u64 tdx_emul_count(unsigned int leaf, u64 status);

struct tdx_emul_td {
	u64 tdr;
	u64 serial;
	u64 hkid;
	unsigned int lifecycle;
	unsigned int op_state;
	bool fatal;
	u64 pages; /* besides the TDR */
	u64 vcpus;
	u64 epoch;
};

/* The @n-th living TD in order of creation. */
int tdx_emul_td(unsigned int n, struct tdx_emul_td *td);
/* The TD that was created last: in a test, its own. */
int tdx_emul_newest_td(struct tdx_emul_td *td);
/* The TD with this TDR, as it is now. */
int tdx_emul_find_td(u64 tdr, struct tdx_emul_td *td);

struct tdx_emul_sept {
	unsigned int level;
	unsigned int state;
	u64 hpa;
};

int tdx_emul_sept(u64 tdr, u64 gpa, unsigned int level, struct tdx_emul_sept *sept);

struct tdx_emul_page {
	unsigned int type;
	u64 tdr;
	unsigned int level;
	u64 bepoch;
};

int tdx_emul_page(u64 hpa, struct tdx_emul_page *page);

#define TDX_EMUL_READ_SIZE 64
#define TDX_EMUL_MRTD_SIZE 48

/* TDX_EMUL_READ_SIZE bytes of a mapped page. */
int tdx_emul_read(u64 tdr, u64 gpa, void *buf);
/* The same of memory at @hpa, aligned to as much, whoever owns it. */
int tdx_emul_read_host(u64 hpa, void *buf);
int tdx_emul_mrtd(u64 tdr, void *mrtd);

struct tdx_emul_audit {
	u64 tds;
	u64 keyids;
	u64 pages;
	u64 findings;
	u64 suspended;
};

int tdx_emul_audit(struct tdx_emul_audit *audit);

int tdx_emul_latency(u64 percent, u64 *former);
int tdx_emul_busy_once(bool on);

/* Remembers what the host holds, to be called at the start of a program. */
void tdx_emul_begin(void);

/*
 * Polls until the host holds no more than at the start, since KVM may destroy a
 * VM after close() returned.  False after the common deadline, or at once for a
 * finding of the sanitizer; @excess then says what there is more.
 */
bool tdx_emul_is_clean(char *excess, size_t size);

/* The same without waiting. */
bool tdx_emul_is_clean_now(char *excess, size_t size);

#endif /* SELFTEST_KVM_TDX_EMUL_H */
