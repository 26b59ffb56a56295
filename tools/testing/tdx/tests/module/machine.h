/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A machine for the model's unit tests: RAM is an array, the kernel is the test.
 * Helpers that bring a TD to a given stage assert on the way.
 */
#ifndef TESTS_MACHINE_H
#define TESTS_MACHINE_H

#include "module/model.h"
#include "tests/ktap.h"

#define MACHINE_RAM TDX_1G
/* What SYS.CONFIG gets: one TDMR, with holes where there is no CMR and for the PAMT. */
#define MACHINE_LOW_HOLE 0x100000ULL
#define MACHINE_PAMT 0x3f000000ULL
#define MACHINE_FIRST_PAGE 0x1000000ULL
#define MACHINE_GLOBAL_HKID 1
#define MACHINE_NR_HKIDS 16 /* private, 1..16 */
#define MACHINE_KEYID_SHIFT 46
#define WITH_KEYID(hpa, hkid) ((hpa) | (uint64_t)(hkid) << MACHINE_KEYID_SHIFT)
#define MACHINE_NATIVE_CPUID_1_EAX 0xa06d1

#define MACHINE_LP_STATES (TDXM_LP_LIMIT_CPUID + 1)

struct machine {
	struct tdxm *m;
	uint8_t *ram;
	uint64_t next_page;
	struct tdxm_platform platform;
	/* What LPs answer when the model asks. */
	uint64_t lp_state[TDXM_MAX_LPS][MACHINE_LP_STATES];
	/* Called in the middle of a SEAMCALL that reads RAM, with its locks held. */
	void (*on_read)(struct machine *machine, uint64_t hpa);
	/* Pages that the host must not store to, as the model said. */
	uint8_t *watched;
	/* What the guest answers when it is asked where it is. */
	uint64_t backtrace[TDXM_MAX_BACKTRACE];
	size_t nr_backtrace;
	/* The case leaves a lock or a call behind: machine_free() does not verify the model. */
	bool unbalanced;
};

struct machine_findings {
	unsigned int unimplemented, sanitizer;
};

struct tdxm_platform machine_platform(unsigned int nr_lps, unsigned int nr_packages);
/* Powered on; machine_boot() does what Linux does at boot. */
struct machine *machine_new_on(const struct tdxm_platform *platform);
struct machine *machine_new(unsigned int nr_lps, unsigned int nr_packages);
void machine_boot(struct machine *machine);
/* Its first part: SYS.INIT, and SYS.LP.INIT on all LPs. */
void machine_init_lps(struct machine *machine);
struct machine *machine_new_booted(void);
/* Fails the case when the model has findings, or contradicts itself. */
void machine_free(struct machine *machine);
struct machine_findings machine_findings(struct machine *machine);
/* Forget them: the case meant to cause them. */
void machine_forget_findings(struct machine *machine);
/* Expect @count different ones, all of one rule of the sanitizer, and forget them. */
void machine_expect_rule(struct machine *machine, enum tdxm_san_rule rule, unsigned int count);

uint64_t machine_page(struct machine *machine);
uint64_t machine_page_2m(struct machine *machine);
void *machine_ram(struct machine *machine, uint64_t hpa);
/* Put the TDMR structures for SYS.CONFIG into RAM; returns the array's address. */
uint64_t machine_put_tdmrs(struct machine *machine, const struct tdx_tdmr_info *tdmrs,
			   unsigned int count);
struct tdx_tdmr_info machine_tdmr(void);

struct tdxm_regs machine_call(struct machine *machine, unsigned int lp, uint64_t leaf, uint64_t rcx,
			      uint64_t rdx, uint64_t r8, uint64_t r9);
enum tdx_page_type machine_page_type(struct machine *machine, uint64_t hpa);

bool machine_expect_status(uint64_t got, uint64_t want, const char *file, int line,
			   const char *what);
#define EXPECT_STATUS(want, got) machine_expect_status(got, want, __FILE__, __LINE__, #got)
/* EXPECT_CALL(status, machine, lp, leaf, rcx, rdx, r8, r9): evaluates to the registers. */
#define EXPECT_CALL(want, ...)                                                            \
	({                                                                                \
		struct tdxm_regs regs_ = machine_call(__VA_ARGS__);                       \
		machine_expect_status(regs_.rax, want, __FILE__, __LINE__, #__VA_ARGS__); \
		regs_;                                                                    \
	})

/* RCX and RDX of a MEM leaf: the S-EPT entry and its level and state, or both 0. */
static inline void expect_details(struct tdxm_regs regs, uint64_t rcx, uint64_t rdx)
{
	KTAP_EXPECT_EQ(regs.rcx, rcx);
	KTAP_EXPECT_EQ(regs.rdx, rdx);
}

/* How far a TD has come. */
enum td_stage {
	STAGE_CREATED,
	STAGE_KEYED,
	STAGE_ADDCX,
	STAGE_INITIALIZED,
	STAGE_VCPU, /* one VCPU, associated with LP 0 */
	STAGE_SEPT, /* page tables for the first 2M of GPA space */
	STAGE_RUNNABLE,
};

struct test_vcpu {
	uint64_t tdvpr;
	uint64_t tdcx[TDX_TDVPS_PAGES - 1];
};

struct test_td {
	struct machine *machine;
	uint64_t hkid;
	uint64_t tdr;
	uint64_t tdcx[TDX_TDCS_PAGES];
	uint64_t params; /* TD_PARAMS */
	uint64_t source; /* a host page to add from */
	struct test_vcpu vcpu;
	uint64_t sept[3]; /* EPT pages below the root: PDPT, PD, PT */
	enum td_stage stage;
};

struct test_td td_new(struct machine *machine, uint64_t hkid, enum td_stage stage);
void td_advance(struct test_td *td, enum td_stage stage);
struct tdx_td_params td_default_params(void);
/* VP.CREATE and VP.ADDCX, not VP.INIT. */
struct test_vcpu td_new_vcpu(struct test_td *td);
/* PAGE.ADD of a fresh page; returns its hpa. */
uint64_t td_add_page(struct test_td *td, uint64_t gpa);
/* Flush @lp's association of the VCPU, free the KeyID, reclaim every page of the helper. */
void td_release_key(struct test_td *td);
void td_reclaim(struct test_td *td, uint64_t hpa);
void td_free(struct test_td *td);
/* Mark it fatal, as a TD exit with status bit 61 does; no guest runs here that could cause one. */
void td_kill(struct test_td *td);
struct tdxm_td *td_model(struct test_td *td);
struct tdxm_vcpu *vcpu_model(struct test_td *td, struct test_vcpu *vcpu);

#endif /* TESTS_MACHINE_H */
