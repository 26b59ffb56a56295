/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside of the model: the module's global state, one call, and the dispatcher's
 * leaf table. Included by module/ only.
 */
#ifndef TDXM_MODEL_H
#define TDXM_MODEL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "module/finding.h"
#include "module/history.h"
#include "module/locks.h"
#include "module/mishap.h"
#include "module/object.h"
#include "module/leaf_status.h"
#include "module/pamt.h"
#include "module/seamldr.h"
#include "module/sanitize.h"
#include "module/sept.h"
#include "module/status.h"
#include "module/steer.h"
#include "module/td.h"
#include "module/tdx_spec.h"
#include "module/tdxm.h"

struct tdxm_lp_counts;

struct tdxm_tdmr {
	struct sharex lock;
	struct tdx_tdmr_info info;
	_Atomic uint64_t next; /* first address not initialised yet */
	struct tdxm_pamt_gib **gib;
};

struct tdxm_kot_entry {
	_Atomic unsigned int state;  /* enum tdx_kot_state */
	_Atomic uint32_t wb_pending; /* packages that still have to write back */
};

/*
 * Cache write-back of one package, under its lock.
 * @next_block:	where an interrupted one goes on, 0 if none is interrupted
 * @flushed:	bitmap of the KeyIDs that were FLUSHED when it started
 */
struct tdxm_wbt {
	unsigned int next_block;
	uint64_t flushed[TDX_MAX_HKIDS / 64];
};

struct tdxm_finding_entry;
struct tdxm_suspended;

struct tdxm {
	struct tdxm_platform platform;
	struct tdxm_ops ops;
	void *opaque;
	uint64_t power_on_ns;
	unsigned int keyid_shift; /* bit of a PA where the KeyID starts */
	uint32_t all_packages;	  /* bitmap */

	/* Under sys_lock; atomic because the dispatcher looks without it. */
	struct sharex sys_lock;
	_Atomic unsigned int sys_state; /* enum tdx_sys_state */
	_Atomic bool lp_init[TDXM_MAX_LPS];
	_Atomic unsigned int num_lp_init;
	uint32_t packages_configured;
	uint16_t global_hkid;
	uint64_t tsc_adjust; /* of the LP that ran SYS.INIT; all others must agree */
	bool handoff_valid;  /* SYS.SHUTDOWN left the state of all TDs for SYS.UPDATE */
	_Atomic unsigned int calls_inside; /* suspended ones too */
	struct tdxm_seamldr seamldr;

	/* Written by SYS.CONFIG, constant from there on. */
	unsigned int num_tdmrs;
	struct tdxm_tdmr tdmr[TDX_MAX_TDMRS];

	struct sharex kot_lock;
	struct tdxm_kot_entry kot[TDX_MAX_HKIDS];
	struct sharex wbt_lock[TDX_MAX_PACKAGES];
	struct tdxm_wbt wbt[TDX_MAX_PACKAGES];
	struct sharex ket_lock[TDX_MAX_PACKAGES];

	struct tdxm_object_list objects;
	_Atomic uint64_t td_serial;	 /* TDs created so far */
	_Atomic uint64_t owned_pages;	 /* 4K pages of all TDs, TDRs included */
	_Atomic unsigned int wb_mishaps; /* enum tdxm_mishap, of CACHE.WB */

	struct tdxm_steer steer;
	_Atomic unsigned int latency; /* percent of the modelled times */

	struct tdxm_lp_counts *counts[TDXM_MAX_LPS];
	pthread_mutex_t findings_mutex;
	struct tdxm_finding_entry *findings;
	unsigned int num_findings; /* kept, of all kinds */
};

struct tdxm_leaf;

/*
 * One SEAMCALL. @in is what the kernel passed, @out what it gets back; a leaf
 * touches only those registers of @out that it returns. The rest is what the
 * checks found, for the effects.
 */
struct tdxm_call {
	struct tdxm *m;
	unsigned int lp;
	const struct tdxm_leaf *leaf;
	unsigned int version;
	enum tdxm_lock_class lock_class;
	struct tdxm_regs in, out;

	struct tdxm_held held[TDXM_MAX_HELD];
	unsigned int nr_held;

	struct tdxm_td *td;
	struct tdxm_page tdr_page;
	struct tdxm_vcpu *vcpu;
	struct tdxm_page tdvpr_page;
	struct tdxm_page page;
	struct tdxm_walk walk;
	struct tdxm_tdmr *tdmr;
	const struct tdxm_field *field;
	uint64_t value;
	uint64_t completion; /* what a success returns in RAX, if not TDX_SUCCESS */
	bool no_effect;	     /* success, but there is nothing to do */
	bool injected;	     /* the status is not the model's own */
	uint64_t start_ns;
	const char *busy; /* resource that was not free, for the trace */
	union {
		uint8_t buf[4096];
		struct tdx_td_params params;
	};
};

/*
 * struct tdxm_leaf - a row of the leaf table
 * @max_version:	highest version that the real module accepts
 * @model_version:	highest version that the model has
 * @locks:	row of the lock matrix, for version 0 and for later ones
 * @check:	every check, and every lock, in architectural order; changes nothing
 *		but output registers
 * @commit:	the effects; cannot fail. NULL for a leaf that only reads
 * @undo:	the checks passed, but there will be no commit: give back what they
 *		reserved. NULL for most
 */
struct tdxm_leaf {
	uint16_t number;
	const char *name;
	uint8_t max_version;
	uint8_t model_version;
	enum tdxm_lock_class locks[2];
	bool before_ready; /* allowed before the system is READY */
	uint64_t (*check)(struct tdxm_call *call);
	void (*commit)(struct tdxm_call *call);
	void (*undo)(struct tdxm_call *call);
};

const struct tdxm_leaf *tdxm_leaf_find(unsigned int number);

/* Leaf code, by source file. */
#define TDXM_DECLARE_LEAF(leaf)                               \
	uint64_t tdxm_##leaf##_check(struct tdxm_call *call); \
	void tdxm_##leaf##_commit(struct tdxm_call *call)

TDXM_DECLARE_LEAF(sys_init);
TDXM_DECLARE_LEAF(sys_lp_init);
TDXM_DECLARE_LEAF(sys_config);
TDXM_DECLARE_LEAF(sys_key_config);
TDXM_DECLARE_LEAF(sys_tdmr_init);
TDXM_DECLARE_LEAF(sys_shutdown);
TDXM_DECLARE_LEAF(sys_update);
TDXM_DECLARE_LEAF(mng_create);
TDXM_DECLARE_LEAF(mng_key_config);
TDXM_DECLARE_LEAF(mng_addcx);
TDXM_DECLARE_LEAF(mng_init);
TDXM_DECLARE_LEAF(mng_vpflushdone);
TDXM_DECLARE_LEAF(mng_key_freeid);
TDXM_DECLARE_LEAF(vp_create);
TDXM_DECLARE_LEAF(vp_addcx);
TDXM_DECLARE_LEAF(vp_init);
TDXM_DECLARE_LEAF(vp_flush);
TDXM_DECLARE_LEAF(vp_wr);
TDXM_DECLARE_LEAF(vp_enter);
TDXM_DECLARE_LEAF(mem_sept_add);
TDXM_DECLARE_LEAF(mem_page_add);
TDXM_DECLARE_LEAF(mem_page_aug);
TDXM_DECLARE_LEAF(mem_range_block);
TDXM_DECLARE_LEAF(mem_track);
TDXM_DECLARE_LEAF(mem_page_remove);
TDXM_DECLARE_LEAF(mr_extend);
TDXM_DECLARE_LEAF(mr_finalize);
TDXM_DECLARE_LEAF(phymem_page_reclaim);
TDXM_DECLARE_LEAF(phymem_page_wbinvd);
TDXM_DECLARE_LEAF(phymem_cache_wb);

/* Leaves that only read, or refuse. */
uint64_t tdxm_sys_rd_check(struct tdxm_call *call);
uint64_t tdxm_sys_disable_check(struct tdxm_call *call);
uint64_t tdxm_mng_rd_check(struct tdxm_call *call);
uint64_t tdxm_vp_rd_check(struct tdxm_call *call);
uint64_t tdxm_phymem_page_rdmd_check(struct tdxm_call *call);

/* Give back what a check reserved. */
void tdxm_sys_shutdown_undo(struct tdxm_call *call);
void tdxm_vp_init_undo(struct tdxm_call *call);

#undef TDXM_DECLARE_LEAF

/* FEATURES0 as this platform offers it. */
uint64_t tdxm_features0(const struct tdxm *m);
/* IA32_TSC_ADJUST of this LP is what SYS.INIT found. */
uint64_t tdxm_tsc_adjust_check(const struct tdxm_call *call);

/* Address operands that name host memory: INV+operand. @align is a power of two. */
uint64_t tdxm_shared_hpa_check(struct tdxm_call *call, uint64_t hpa, uint64_t align,
			       enum tdx_operand operand);
/* Read it; memory that is no RAM answers INV+operand. Reports TD-owned memory. */
uint64_t tdxm_shared_read(struct tdxm_call *call, uint64_t hpa, void *buf, size_t len,
			  enum tdx_operand operand, const char *what);

/* phymem.c: a KeyID is free, so an interrupted write-back is not about it any more */
void tdxm_wb_forget_key(struct tdxm *m, unsigned int hkid);

/* latency.c */
void tdxm_latency_init(struct tdxm *m);
/* Let the modelled time of the call pass, as far as it has not passed already. */
void tdxm_latency_spend(struct tdxm_call *call);

/* What the surroundings say of this LP; zero is the usual state of everything. */
uint64_t tdxm_lp_state(const struct tdxm_call *call, enum tdxm_lp_state what);

bool tdxm_hkid_is_private(const struct tdxm *m, uint64_t hkid);
unsigned int tdxm_package(const struct tdxm_call *call);

/* report.c */
__attribute__((format(printf, 3, 4))) void tdxm_log(struct tdxm *m, enum tdxm_log_level level,
						    const char *fmt, ...);
bool tdxm_counts_init(struct tdxm *m);
/* Count one completed call, which took @ns; returns how often this LP saw the pair. */
uint64_t tdxm_counts_add(struct tdxm *m, unsigned int lp, unsigned int leaf, uint64_t status,
			 uint64_t ns);
void tdxm_report_free(struct tdxm *m);

/* The model broke its own invariant: say so and stop at once. */
_Noreturn void tdxm_bug(const char *what);

#endif /* TDXM_MODEL_H */
