// SPDX-License-Identifier: GPL-2.0-only
/* The lock matrix and the book-keeping of what a call holds. */
#include "module/locks.h"
#include "module/model.h"

/* clang-format off */
#define S(op) { LOCK_SHARED, op }
#define E(op) { LOCK_EXCLUSIVE, op }
/* clang-format on */

/* One row per class; the operand is what a contended resource reports. */
const struct tdxm_lock_row tdxm_lock_table[LOCKS_CLASS_COUNT] = {
	[LOCKS_NONE] = { .cell = {} },
	[LOCKS_SYS] = { .cell = { [RES_SYS] = E(0) } },
	[LOCKS_SYS_LP] = { .cell = { [RES_SYS] = S(0) } },
	[LOCKS_SYS_KEY] = { .cell = { [RES_SYS] = E(0), [RES_KET] = E(OP_KET) } },
	[LOCKS_TDMR_INIT] = { .cell = { [RES_TDMR] = E(OP_RCX) } },
	[LOCKS_MNG_CREATE] = { .cell = { [RES_PAGE] = E(OP_RCX), [RES_KOT] = E(OP_KOT) } },
	[LOCKS_MNG_KEY_CONFIG] = { .cell = { [RES_TDR] = E(OP_RCX), [RES_KET] = E(OP_KET) } },
	[LOCKS_MNG_ADDCX] = { .cell = { [RES_TDR] = E(OP_RDX), [RES_PAGE] = E(OP_RCX) } },
	/* MNG.INIT, MR.FINALIZE */
	[LOCKS_TDR_EXCLUSIVE] = { .cell = { [RES_TDR] = E(OP_RCX) } },
	[LOCKS_MNG_RD] = { .cell = { [RES_TDR] = S(OP_RCX), [RES_OP_STATE] = S(OP_OP_STATE) } },
	/* MNG.VPFLUSHDONE, MNG.KEY.FREEID */
	[LOCKS_MNG_KEY_RELEASE] = { .cell = { [RES_TDR] = E(OP_RCX), [RES_KOT] = E(OP_KOT) } },
	[LOCKS_VP_CREATE] = { .cell = { [RES_TDR] = S(OP_RDX),
					[RES_OP_STATE] = S(OP_OP_STATE),
					[RES_PAGE] = E(OP_RCX) } },
	[LOCKS_VP_ADDCX] = { .cell = { [RES_TDVPR] = E(OP_RDX),
				       [RES_TDR] = S(OP_TDR),
				       [RES_OP_STATE] = S(OP_OP_STATE),
				       [RES_PAGE] = E(OP_RCX) } },
	[LOCKS_VP_INIT_V0] = { .cell = { [RES_TDVPR] = E(OP_RCX),
					 [RES_TDR] = S(OP_TDR),
					 [RES_OP_STATE] = S(OP_OP_STATE) } },
	[LOCKS_VP_INIT_V1] = { .cell = { [RES_TDVPR] = E(OP_RCX),
					 [RES_TDR] = E(OP_TDR),
					 [RES_OP_STATE] = S(OP_OP_STATE) } },
	[LOCKS_VP_RDWR] = { .cell = { [RES_TDVPR] = S(OP_RCX),
				      [RES_TDR] = S(OP_TDR),
				      [RES_OP_STATE] = S(OP_OP_STATE) } },
	[LOCKS_VP_FLUSH] = { .cell = { [RES_TDVPR] = E(OP_RCX), [RES_TDR] = S(OP_TDR) } },
	[LOCKS_VP_ENTER] = { .cell = { [RES_TDVPR] = S(OP_RCX),
				       [RES_TDR] = S(OP_TDR),
				       [RES_OP_STATE] = S(OP_OP_STATE),
				       [RES_EPOCH] = S(OP_TD_EPOCH) } },
	/* MEM.SEPT.ADD, MEM.PAGE.AUG */
	[LOCKS_SEPT_ADD] = { .cell = { [RES_TDR] = S(OP_RDX),
				       [RES_OP_STATE] = S(OP_OP_STATE),
				       [RES_SEPT_TREE] = S(OP_SEPT_TREE),
				       [RES_SEPT_ENTRY] = E(OP_RCX),
				       [RES_PAGE] = E(OP_R8) } },
	[LOCKS_PAGE_ADD] = { .cell = { [RES_TDR] = E(OP_RDX), [RES_PAGE] = E(OP_R8) } },
	[LOCKS_RANGE_BLOCK] = { .cell = { [RES_TDR] = S(OP_RDX),
					  [RES_OP_STATE] = S(OP_OP_STATE),
					  [RES_SEPT_TREE] = E(OP_SEPT_TREE),
					  [RES_SEPT_ENTRY] = E(OP_RCX) } },
	[LOCKS_TRACK] = { .cell = { [RES_TDR] = S(OP_RCX),
				    [RES_OP_STATE] = S(OP_OP_STATE),
				    [RES_EPOCH] = E(OP_TD_EPOCH) } },
	[LOCKS_PAGE_REMOVE] = { .cell = { [RES_TDR] = S(OP_RDX),
					  [RES_OP_STATE] = S(OP_OP_STATE),
					  [RES_SEPT_TREE] = S(OP_SEPT_TREE),
					  [RES_SEPT_ENTRY] = E(OP_RCX),
					  [RES_PAGE] = E(OP_RCX) } },
	[LOCKS_MR_EXTEND] = { .cell = { [RES_TDR] = E(OP_RDX) } },
	[LOCKS_RECLAIM] = { .cell = { [RES_PAGE] = E(OP_RCX), [RES_TDR] = S(OP_TDR) } },
	/* PHYMEM.PAGE.WBINVD, PHYMEM.PAGE.RDMD */
	[LOCKS_PHYMEM_READ] = { .cell = { [RES_PAGE] = S(OP_RCX) } },
	[LOCKS_CACHE_WB] = { .cell = { [RES_WBT] = E(OP_WBCACHE), [RES_KOT] = S(OP_KOT) } },
};

#undef S
#undef E

const struct tdxm_lock_cell *tdxm_lock_cell(const struct tdxm_call *call, enum tdxm_resource res)
{
	return &tdxm_lock_table[call->lock_class].cell[res];
}

static const char *const resource_name[RES_COUNT] = {
	[RES_SYS] = "SYS",
	[RES_KOT] = "KOT",
	[RES_WBT] = "WBT",
	[RES_KET] = "KET",
	[RES_TDMR] = "TDMR",
	[RES_TDR] = "TDR",
	[RES_OP_STATE] = "OP_STATE",
	[RES_SEPT_TREE] = "SEPT_TREE",
	[RES_SEPT_ENTRY] = "SEPT_ENTRY",
	[RES_PAGE] = "PAGE",
	[RES_TDVPR] = "TDVPR",
	[RES_EPOCH] = "EPOCH",
};

static uint64_t busy(struct tdxm_call *call, enum tdxm_resource res)
{
	call->busy = resource_name[res];
	if (res == RES_SYS)
		return TDX_SYS_BUSY;
	return TDX_OPERAND_BUSY + tdxm_lock_cell(call, res)->operand;
}

static struct tdxm_held *hold(struct tdxm_call *call, enum tdxm_resource res,
			      enum tdxm_lock_mode mode)
{
	struct tdxm_held *held;

	if (call->nr_held == TDXM_MAX_HELD)
		tdxm_bug("too many locks in one call");
	held = &call->held[call->nr_held++];
	held->resource = res;
	held->mode = mode;
	held->is_septe = false;
	return held;
}

uint64_t tdxm_lock_mode(struct tdxm_call *call, enum tdxm_resource res, struct sharex *lock,
			enum tdxm_lock_mode mode)
{
	if (mode == LOCK_NONE)
		return TDX_SUCCESS;
	if (mode == LOCK_SHARED ? !sharex_try_shared(lock) : !sharex_try_exclusive(lock))
		return busy(call, res);
	hold(call, res, mode)->sharex = lock;
	return TDX_SUCCESS;
}

uint64_t tdxm_lock(struct tdxm_call *call, enum tdxm_resource res, struct sharex *lock)
{
	return tdxm_lock_mode(call, res, lock, tdxm_lock_cell(call, res)->mode);
}

uint64_t tdxm_lock_upgrade(struct tdxm_call *call, struct sharex *lock)
{
	unsigned int i;

	for (i = call->nr_held; i--;) {
		struct tdxm_held *held = &call->held[i];

		if (held->is_septe || held->sharex != lock)
			continue;
		if (!sharex_try_upgrade(lock))
			return busy(call, held->resource);
		held->mode = LOCK_EXCLUSIVE;
		return TDX_SUCCESS;
	}
	tdxm_bug("upgrade of a lock that is not held");
}

uint64_t tdxm_lock_septe(struct tdxm_call *call, _Atomic uint64_t *septe)
{
	struct tdxm_held *held;

	if (tdxm_lock_cell(call, RES_SEPT_ENTRY)->mode == LOCK_NONE)
		return TDX_SUCCESS;
	if (atomic_fetch_or_explicit(septe, SEPTE_TDEL, memory_order_acquire) & SEPTE_TDEL)
		return busy(call, RES_SEPT_ENTRY);
	held = hold(call, RES_SEPT_ENTRY, LOCK_EXCLUSIVE);
	held->septe = septe;
	held->is_septe = true;
	return TDX_SUCCESS;
}

static void release(struct tdxm_held *held)
{
	if (held->is_septe)
		atomic_fetch_and_explicit(held->septe, ~SEPTE_TDEL, memory_order_release);
	else if (held->mode == LOCK_SHARED)
		sharex_unlock_shared(held->sharex);
	else
		sharex_unlock_exclusive(held->sharex);
}

void tdxm_unlock(struct tdxm_call *call, enum tdxm_resource res)
{
	unsigned int i, kept = 0;

	for (i = 0; i < call->nr_held; i++) {
		if (call->held[i].resource == res)
			release(&call->held[i]);
		else
			call->held[kept++] = call->held[i];
	}
	call->nr_held = kept;
}

void tdxm_unlock_all(struct tdxm_call *call)
{
	while (call->nr_held)
		release(&call->held[--call->nr_held]);
}
