/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The machine that an input plays with: RAM, a module that is up, and the host's
 * own books of what it gave to which TD. The module lives as long as the process;
 * nothing of one input is left when the next one starts.
 */
#ifndef TESTS_FUZZ_WORLD_H
#define TESTS_FUZZ_WORLD_H

#include "module/model.h"

#define WORLD_RAM TDX_1G
#define WORLD_LOW_HOLE 0x100000ULL
#define WORLD_PAMT 0x3f000000ULL
/* Pages for TDs: of 4K in one 2M range, and some whole 2M ranges. */
#define WORLD_POOL 0x1000000ULL
#define WORLD_POOL_PAGES 160
#define WORLD_POOL_2M 0x2000000ULL
#define WORLD_POOL_2M_PAGES 3
/* Pages that stay the host's. */
#define WORLD_TDMRS 0x200000ULL
#define WORLD_PARAMS 0x201000ULL
#define WORLD_SOURCE 0x202000ULL

#define WORLD_NR_LPS 3
#define WORLD_NR_PACKAGES 2
#define WORLD_NR_MKTME 2
#define WORLD_NR_HKIDS 8
#define WORLD_FIRST_HKID (WORLD_NR_MKTME + 1)
#define WORLD_GLOBAL_HKID WORLD_FIRST_HKID
#define WORLD_KEYID_SHIFT 46
#define WITH_KEYID(hpa, hkid) ((hpa) | (uint64_t)(hkid) << WORLD_KEYID_SHIFT)

#define WORLD_MAX_TDS 48
#define WORLD_MAX_PAGES 384
/* Of an input, its last letter and the way down apart; three TDs can be built of them. */
#define WORLD_MAX_CALLS 64
/* Each LP may be in the middle of a call, be interrupted there, and make another one. */
#define WORLD_CONTEXTS (2 * WORLD_NR_LPS)

struct book_td {
	uint64_t tdr;
	uint16_t hkid;
	bool has_hkid; /* not given back yet */
};

struct book_page {
	uint64_t hpa;
	uint64_t tdr; /* 0 for a page that is the host's again, but for its cache lines */
	uint64_t gpa; /* REG and EPT */
	uint16_t hkid;
	uint8_t type;  /* enum tdx_page_type */
	uint8_t level; /* REG: size. EPT: level of the entry that it hangs on */
};

/* A call that a rule holds. */
struct pending {
	bool used;
	struct tdxm_regs regs;
};

struct world {
	struct tdxm *m;
	uint8_t *ram;
	uint64_t clock;
	uint64_t lp_state[TDXM_MAX_LPS][4];	 /* by enum tdxm_lp_state */
	unsigned int writes;			 /* of the model to RAM */
	bool watched[WORLD_RAM / TDX_PAGE_SIZE]; /* host stores there are wrong */
	unsigned int nr_watched;
	uint64_t stray[WORLD_MAX_PAGES]; /* pages from outside of the pools that were given away */
	unsigned int nr_strays;

	struct book_td td[WORLD_MAX_TDS];
	unsigned int nr_tds;
	struct book_page page[WORLD_MAX_PAGES];
	unsigned int nr_pages;
	struct pending pending[WORLD_CONTEXTS];
	unsigned int nr_pending;

	uint64_t digest, assoc; /* of the model's state after the last call, if */
	bool has_digest;
	bool routine;	     /* what KVM does: will succeed, so that a sample is enough */
	uint64_t transcript; /* of all calls and their answers */
	unsigned int nr_calls;
	bool injected; /* the last call's status was asked for */
	bool verbose;  /* print the calls */
};

/* The machine of the defines above, with its module up. */
struct world *world_new(void);
/* @platform, with the module just loaded; NULL when that makes no sense. */
struct world *world_power_on(const struct tdxm_platform *platform);
void world_free(struct world *w);
static inline void *world_at(struct world *w, uint64_t hpa)
{
	return w->ram + hpa;
}

/* The property does not hold: say so, and make libFuzzer keep the input. */
__attribute__((format(printf, 1, 2))) _Noreturn void world_broken(const char *fmt, ...);

#endif /* TESTS_FUZZ_WORLD_H */
