// SPDX-License-Identifier: GPL-2.0-only
/* TDH.PHYMEM.*: pages whatever their owner, and caches. */
#include <string.h>

#include "module/model.h"

static uint64_t owner_of(const struct tdxm_page *page)
{
	return atomic_load(&page->entry->type) == PT_TDR ? 0 : page->entry->owner;
}

static void report_page(struct tdxm_call *call)
{
	call->out.rcx = atomic_load(&call->page.entry->type);
	call->out.rdx = owner_of(&call->page);
	call->out.r8 = call->page.level;
	call->out.r9 = 0;
	call->out.r10 = 0;
	call->out.r11 = 0;
}

static void clear_report(struct tdxm_call *call)
{
	call->out.rcx = 0;
	call->out.rdx = 0;
	call->out.r8 = 0;
	call->out.r9 = 0;
	call->out.r10 = 0;
	call->out.r11 = 0;
}

static uint64_t reclaim_tdr_check(struct tdxm_call *call)
{
	struct tdxm_td *td = (struct tdxm_td *)call->page.entry->object;

	call->td = td;
	if (td->lifecycle != TD_TEARDOWN)
		return TDX_LIFECYCLE_STATE_INCORRECT;
	return td->chldcnt ? TDX_TD_ASSOCIATED_PAGES_EXIST : TDX_SUCCESS;
}

static uint64_t reclaim_child_check(struct tdxm_call *call)
{
	uint64_t status = tdxm_td_lock_owner(call, call->page.entry->owner);

	if (status)
		return status;
	return call->td->lifecycle == TD_TEARDOWN ? TDX_SUCCESS : TDX_LIFECYCLE_STATE_INCORRECT;
}

uint64_t tdxm_phymem_page_reclaim_check(struct tdxm_call *call)
{
	unsigned int type;
	uint64_t status;

	clear_report(call);
	status = tdxm_page_lock_any(call, RES_PAGE, call->in.rcx, &call->page);
	if (status)
		return status;

	type = atomic_load(&call->page.entry->type);
	if (type == PT_NDA || type == PT_RSVD)
		return TDX_PAGE_METADATA_INCORRECT + OP_RCX;
	report_page(call);
	if (call->in.rcx & (TDX_LEVEL_SIZE(call->page.level) - 1))
		return TDX_OPERAND_INVALID + OP_RCX;
	return type == PT_TDR ? reclaim_tdr_check(call) : reclaim_child_check(call);
}

void tdxm_phymem_page_reclaim_commit(struct tdxm_call *call)
{
	struct tdxm *m = call->m;

	if (atomic_load(&call->page.entry->type) == PT_TDR) {
		/* The module itself wrote the TDR, with the global KeyID. */
		tdxm_page_set_stale(m, &call->page, m->global_hkid);
	} else {
		call->td->chldcnt -= TDX_LEVEL_SIZE(call->page.level) / TDX_PAGE_SIZE;
	}
	tdxm_page_release(m, &call->page);
}

uint64_t tdxm_phymem_page_rdmd_check(struct tdxm_call *call)
{
	unsigned int type;
	uint64_t status;

	clear_report(call);
	status = tdxm_page_lock_any(call, RES_PAGE, call->in.rcx, &call->page);
	if (status)
		return status;
	report_page(call);
	type = call->out.rcx;
	if (type == PT_REG || type == PT_EPT)
		call->out.r9 = atomic_load(&call->page.entry->bepoch);
	return TDX_SUCCESS;
}

uint64_t tdxm_phymem_page_wbinvd_check(struct tdxm_call *call)
{
	struct tdxm *m = call->m;
	uint64_t hpa = call->in.rcx & (BIT_U64(m->keyid_shift) - 1);

	return tdxm_page_lock_4k(call, RES_PAGE, hpa, PT_NDA, &call->page);
}

void tdxm_phymem_page_wbinvd_commit(struct tdxm_call *call)
{
	uint64_t hkid = call->in.rcx >> call->m->keyid_shift;

	/* Lines of another KeyID stay where they are. */
	if (atomic_load(&call->page.entry->stale_hkid) == hkid + 1)
		tdxm_page_written_back(call->m, &call->page);
}

/*
 * MODEL: blocks of a package's cache. The number is silicon's affair; Linux gives
 * up after ten calls.
 */
#define WB_BLOCKS 4

/* No KeyID of a TD is as high. */
static unsigned int hkid_limit(const struct tdxm *m)
{
	return m->platform.nr_mktme + m->platform.nr_tdx_keyids + 1;
}

static bool kot_has_flushed(const struct tdxm *m)
{
	unsigned int i;

	for (i = 0; i < hkid_limit(m); i++) {
		if (m->kot[i].state == KOT_FLUSHED)
			return true;
	}
	return false;
}

/* Forgets a write-back that was interrupted. */
static void wb_start(struct tdxm *m, struct tdxm_wbt *wbt)
{
	unsigned int i;

	memset(wbt, 0, sizeof(*wbt));
	for (i = 0; i < hkid_limit(m); i++) {
		if (m->kot[i].state == KOT_FLUSHED)
			wbt->flushed[i / 64] |= BIT_U64(i % 64);
	}
}

/*
 * MODEL: a write-back that was interrupted while its last KeyID got free has
 * nothing left to do, and cannot be resumed. KOT is held exclusively, by
 * CACHE.WB shared, so that none is under way.
 */
void tdxm_wb_forget_key(struct tdxm *m, unsigned int hkid)
{
	unsigned int package, i;

	for (package = 0; package < m->platform.nr_packages; package++) {
		struct tdxm_wbt *wbt = &m->wbt[package];
		uint64_t left = 0;

		wbt->flushed[hkid / 64] &= ~BIT_U64(hkid % 64);
		for (i = 0; i < ARRAY_LEN(wbt->flushed); i++)
			left |= wbt->flushed[i];
		if (!left)
			wbt->next_block = 0;
	}
}

static void wb_complete(struct tdxm *m, struct tdxm_wbt *wbt, unsigned int package)
{
	unsigned int i;

	for (i = 0; i < hkid_limit(m); i++) {
		if (wbt->flushed[i / 64] & BIT_U64(i % 64))
			atomic_fetch_and(&m->kot[i].wb_pending, ~(1u << package));
	}
	wbt->next_block = 0;
}

uint64_t tdxm_phymem_cache_wb_check(struct tdxm_call *call)
{
	struct tdxm *m = call->m;
	uint64_t status;

	if (call->in.rcx > 1)
		return TDX_OPERAND_INVALID + OP_RCX;
	status = tdxm_lock(call, RES_WBT, &m->wbt_lock[tdxm_package(call)]);
	if (!status)
		status = tdxm_lock(call, RES_KOT, &m->kot_lock);
	if (status)
		return status;
	if (call->in.rcx)
		return m->wbt[tdxm_package(call)].next_block ? TDX_SUCCESS :
							       TDX_WBCACHE_RESUME_ERROR;
	return kot_has_flushed(m) ? TDX_SUCCESS : TDX_NO_HKID_READY_TO_WBCACHE;
}

void tdxm_phymem_cache_wb_commit(struct tdxm_call *call)
{
	struct tdxm *m = call->m;
	unsigned int package = tdxm_package(call);
	struct tdxm_wbt *wbt = &m->wbt[package];

	if (!call->in.rcx)
		wb_start(m, wbt);
	/* Every call gets at least one block done. */
	while (++wbt->next_block < WB_BLOCKS) {
		if (tdxm_lp_state(call, TDXM_LP_INTERRUPTED)) {
			call->completion = TDX_INTERRUPTED_RESUMABLE;
			return;
		}
	}
	wb_complete(m, wbt, package);
}
