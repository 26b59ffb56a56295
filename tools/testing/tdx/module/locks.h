/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The lock matrix: which resource a leaf takes, in which mode, and which
 * operand id a contended one reports. Leaf code asks for a resource and never
 * names a mode, so that the table alone decides about contention.
 */
#ifndef TDXM_LOCKS_H
#define TDXM_LOCKS_H

#include <stdbool.h>
#include <stdint.h>

#include "module/sharex.h"

struct tdxm_call;

enum tdxm_resource {
	RES_SYS, /* global system lock */
	RES_KOT, /* key ownership table */
	RES_WBT, /* cache write-back table of a package */
	RES_KET, /* key programming (PCONFIG) of a package */
	RES_TDMR,
	RES_TDR,
	RES_OP_STATE,
	RES_SEPT_TREE,
	RES_SEPT_ENTRY,
	RES_PAGE, /* the page that a leaf takes, frees or asks about */
	RES_TDVPR,
	RES_EPOCH,
	RES_COUNT,
};

enum tdxm_lock_mode {
	LOCK_NONE,
	LOCK_SHARED,
	LOCK_EXCLUSIVE
};

struct tdxm_lock_cell {
	uint8_t mode;
	uint8_t operand; /* enum tdx_operand: register that names the page, or OP_TDR */
};

struct tdxm_lock_row {
	struct tdxm_lock_cell cell[RES_COUNT];
};

/* Rows of the matrix; leaves with equal locks share one. */
enum tdxm_lock_class {
	LOCKS_NONE,
	LOCKS_SYS,
	LOCKS_SYS_LP,
	LOCKS_SYS_KEY,
	LOCKS_TDMR_INIT,
	LOCKS_MNG_CREATE,
	LOCKS_MNG_KEY_CONFIG,
	LOCKS_MNG_ADDCX,
	LOCKS_TDR_EXCLUSIVE,
	LOCKS_MNG_RD,
	LOCKS_MNG_KEY_RELEASE,
	LOCKS_VP_CREATE,
	LOCKS_VP_ADDCX,
	LOCKS_VP_INIT_V0,
	LOCKS_VP_INIT_V1,
	LOCKS_VP_RDWR,
	LOCKS_VP_FLUSH,
	LOCKS_VP_ENTER,
	LOCKS_SEPT_ADD,
	LOCKS_PAGE_ADD,
	LOCKS_RANGE_BLOCK,
	LOCKS_TRACK,
	LOCKS_PAGE_REMOVE,
	LOCKS_MR_EXTEND,
	LOCKS_RECLAIM,
	LOCKS_PHYMEM_READ,
	LOCKS_CACHE_WB,
	LOCKS_CLASS_COUNT,
};

extern const struct tdxm_lock_row tdxm_lock_table[LOCKS_CLASS_COUNT];

/* What a call holds, to be dropped when it returns. */
struct tdxm_held {
	union {
		struct sharex *sharex;
		_Atomic uint64_t *septe;
	};
	uint8_t resource; /* enum tdxm_resource */
	uint8_t mode;
	bool is_septe;
};

/* Deepest: two PAMT paths of three locks each, and six of a TD. */
#define TDXM_MAX_HELD 16

const struct tdxm_lock_cell *tdxm_lock_cell(const struct tdxm_call *call, enum tdxm_resource res);
/* Take @lock as the matrix says: TDX_SUCCESS, or the busy status of the resource. */
uint64_t tdxm_lock(struct tdxm_call *call, enum tdxm_resource res, struct sharex *lock);
/* The same in a mode other than the table's: inner nodes of a PAMT path. */
uint64_t tdxm_lock_mode(struct tdxm_call *call, enum tdxm_resource res, struct sharex *lock,
			enum tdxm_lock_mode mode);
uint64_t tdxm_lock_upgrade(struct tdxm_call *call, struct sharex *lock);
uint64_t tdxm_lock_septe(struct tdxm_call *call, _Atomic uint64_t *septe);
/* Drop one resource before the end of the call (VP.ENTER), or everything. */
void tdxm_unlock(struct tdxm_call *call, enum tdxm_resource res);
void tdxm_unlock_all(struct tdxm_call *call);

#endif /* TDXM_LOCKS_H */
