// SPDX-License-Identifier: GPL-2.0-only
/* TDH.MEM.*: private memory of a TD. */
#include "module/model.h"

/* With neither migration nor import, a TD is only ever built or running. */
#define MEM_OPS (OPS_MASK(TD_INITIALIZED) | OPS_MASK(TD_RUNNABLE))
#define SEPT_ADD_ALLOW_EXISTING BIT_U64(0)

/* Locks the TDR named by RDX; RCX and RDX are outputs from here on. */
static uint64_t mem_begin(struct tdxm_call *call, uint64_t tdr, unsigned int ops)
{
	uint64_t status;

	call->out.rcx = 0;
	call->out.rdx = 0;
	status = tdxm_td_lock_explicit(call, tdr);
	return status ? status : tdxm_td_check(call, ops);
}

static uint64_t state_incorrect(struct tdxm_call *call)
{
	return tdxm_sept_details(call, TDX_EPT_ENTRY_STATE_INCORRECT + OP_RCX);
}

static void set_entry(struct tdxm_call *call, enum tdx_sept_state state, uint64_t hpa)
{
	tdxm_septe_store(call->walk.entry, tdxm_septe_make(state, hpa));
}

uint64_t tdxm_mem_sept_add_check(struct tdxm_call *call)
{
	uint64_t tdr = call->in.rdx & ~SEPT_ADD_ALLOW_EXISTING;
	uint64_t page = call->in.r8 & ~BIT_U64(63);
	uint64_t status = mem_begin(call, tdr, MEM_OPS);

	if (!status)
		status = tdxm_gpa_check(call, call->in.rcx, 1, call->td->root_level);
	if (!status)
		status = tdxm_sept_walk_lock(call);
	if (status)
		return status;

	if (call->walk.state != SEPT_FREE && call->walk.state != SEPT_NL_MAPPED)
		return state_incorrect(call);
	if (call->in.r8 == ~0ULL)
		return TDX_OPERAND_INVALID + OP_R8;
	if (call->walk.state == SEPT_NL_MAPPED) {
		call->no_effect = true;
		return call->in.rdx & SEPT_ADD_ALLOW_EXISTING ? TDX_SUCCESS : state_incorrect(call);
	}
	return tdxm_page_lock_4k(call, RES_PAGE, page, PT_NDA, &call->page);
}

void tdxm_mem_sept_add_commit(struct tdxm_call *call)
{
	struct tdxm_sept_page *table = tdxm_sept_page_alloc();

	tdxm_object_add(&call->m->objects, &table->object);
	tdxm_page_assign(call->m, &call->page, PT_EPT, call->td->tdr_hpa, &table->object);
	call->td->chldcnt++;
	set_entry(call, SEPT_NL_MAPPED, call->page.hpa);
}

uint64_t tdxm_mem_page_add_check(struct tdxm_call *call)
{
	uint64_t status = mem_begin(call, call->in.rdx, OPS_MASK(TD_INITIALIZED));

	if (!status)
		status = tdxm_gpa_check(call, call->in.rcx, 0, 0);
	if (!status)
		status = tdxm_sept_walk(call);
	if (status)
		return status;
	if (call->walk.state != SEPT_FREE)
		return state_incorrect(call);

	status = tdxm_shared_hpa_check(call, call->in.r9, TDX_PAGE_SIZE, OP_R9);
	if (!status)
		status = tdxm_shared_read(call, call->in.r9, call->buf, sizeof(call->buf), OP_R9,
					  "source page");
	if (!status)
		status = tdxm_page_lock_4k(call, RES_PAGE, call->in.r8, PT_NDA, &call->page);
	return status;
}

void tdxm_mem_page_add_commit(struct tdxm_call *call)
{
	struct tdxm *m = call->m;

	/* MODEL: no encryption; the host would read the same bytes. */
	if (!m->ops.mem_write(m->opaque, call->page.hpa, call->buf, sizeof(call->buf)))
		tdxm_bug("TDMR page that is no RAM");
	tdxm_page_assign(m, &call->page, PT_REG, call->td->tdr_hpa, NULL);
	call->td->chldcnt++;
	tdxm_mrtd_page_add(call->td, call->walk.gpa);
	set_entry(call, SEPT_MAPPED, call->page.hpa);
}

uint64_t tdxm_mem_page_aug_check(struct tdxm_call *call)
{
	uint64_t status = mem_begin(call, call->in.rdx, MEM_OPS);

	if (!status)
		status = tdxm_gpa_check(call, call->in.rcx, 0, 1);
	if (!status)
		status = tdxm_sept_walk_lock(call);
	if (status)
		return status;
	if (call->walk.state != SEPT_FREE)
		return state_incorrect(call);
	if (call->walk.level)
		return tdxm_page_lock_2m_nda(call, RES_PAGE, call->in.r8, &call->page);
	return tdxm_page_lock_4k(call, RES_PAGE, call->in.r8, PT_NDA, &call->page);
}

void tdxm_mem_page_aug_commit(struct tdxm_call *call)
{
	tdxm_page_assign(call->m, &call->page, PT_REG, call->td->tdr_hpa, NULL);
	call->td->chldcnt += TDX_LEVEL_SIZE(call->page.level) / TDX_PAGE_SIZE;
	set_entry(call, SEPT_PENDING, call->page.hpa);
}

static bool is_blocked(enum tdx_sept_state state)
{
	return state == SEPT_BLOCKED || state == SEPT_PENDING_BLOCKED || state == SEPT_NL_BLOCKED;
}

uint64_t tdxm_mem_range_block_check(struct tdxm_call *call)
{
	uint64_t status = mem_begin(call, call->in.rdx, MEM_OPS);

	if (!status)
		status = tdxm_gpa_check(call, call->in.rcx, 0, call->td->root_level);
	if (!status)
		status = tdxm_sept_walk_lock(call);
	if (status)
		return status;
	if (is_blocked(call->walk.state))
		return tdxm_sept_details(call, TDX_GPA_RANGE_ALREADY_BLOCKED + OP_RCX);
	if (call->walk.state == SEPT_FREE)
		return state_incorrect(call);
	return TDX_SUCCESS;
}

void tdxm_mem_range_block_commit(struct tdxm_call *call)
{
	static const struct {
		enum tdx_sept_state from, to;
	} blocked[] = {
		{ SEPT_MAPPED, SEPT_BLOCKED },
		{ SEPT_PENDING, SEPT_PENDING_BLOCKED },
		{ SEPT_NL_MAPPED, SEPT_NL_BLOCKED },
	};
	const struct tdxm_walk *walk = &call->walk;
	uint64_t hpa = walk->value & SEPTE_HPA;
	/* The epoch is that of the leaf page, or of the EPT page below. */
	unsigned int level = tdxm_sept_state_is_leaf(walk->state) ? walk->level : 0;
	struct tdxm_pamt_entry *entry = tdxm_pamt_find_level(call->m, hpa, level);
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(blocked); i++) {
		if (blocked[i].from == walk->state)
			set_entry(call, blocked[i].to, hpa);
	}
	atomic_store(&entry->bepoch, atomic_load(&call->td->epoch));
}

uint64_t tdxm_mem_track_check(struct tdxm_call *call)
{
	struct tdxm_td *td;
	uint64_t status = tdxm_td_lock_explicit(call, call->in.rcx);

	if (!status)
		status = tdxm_td_check(call, MEM_OPS);
	td = call->td;
	if (!status)
		status = tdxm_lock(call, RES_EPOCH, &td->epoch_lock);
	if (status)
		return status;
	if (td->refcount[1 - (td->epoch & 1)])
		return TDX_PREVIOUS_TLB_EPOCH_BUSY;
	return TDX_SUCCESS;
}

void tdxm_mem_track_commit(struct tdxm_call *call)
{
	call->td->epoch++;
}

/* No VCPU can still have a translation from before the block. */
static bool is_tracked(struct tdxm_td *td, uint64_t bepoch)
{
	uint64_t epoch = td->epoch;

	return bepoch + 1 < epoch || (bepoch + 1 == epoch && !td->refcount[bepoch & 1]);
}

static uint64_t blocked_and_tracked(struct tdxm_call *call)
{
	if (!is_blocked(call->walk.state))
		return tdxm_sept_details(call, TDX_GPA_RANGE_NOT_BLOCKED + OP_RCX);
	if (!is_tracked(call->td, atomic_load(&call->page.entry->bepoch)))
		return TDX_TLB_TRACKING_NOT_DONE + OP_RCX;
	return TDX_SUCCESS;
}

uint64_t tdxm_mem_page_remove_check(struct tdxm_call *call)
{
	struct tdxm_walk *walk = &call->walk;
	uint64_t status = mem_begin(call, call->in.rdx, MEM_OPS);

	if (!status)
		status = tdxm_gpa_check(call, call->in.rcx, 0, 2);
	if (!status)
		status = tdxm_sept_walk_lock(call);
	if (status)
		return status;
	if (!tdxm_sept_state_is_leaf(walk->state))
		return state_incorrect(call);

	call->page = (struct tdxm_page) {
		.hpa = walk->value & SEPTE_HPA,
		.level = walk->level,
		.entry = tdxm_pamt_find_level(call->m, walk->value & SEPTE_HPA, walk->level),
	};
	status = tdxm_lock(call, RES_PAGE, &call->page.entry->lock);
	if (status)
		return status;
	if (call->td->op_state == TD_RUNNABLE)
		return blocked_and_tracked(call);
	return TDX_SUCCESS;
}

void tdxm_mem_page_remove_commit(struct tdxm_call *call)
{
	struct tdxm_page *page = &call->page;

	set_entry(call, SEPT_FREE, 0);
	call->td->chldcnt -= TDX_LEVEL_SIZE(page->level) / TDX_PAGE_SIZE;
	tdxm_page_set_stale(call->m, page, call->td->hkid);
	tdxm_page_release(call->m, page);
	call->out.rcx = page->hpa;
	call->out.rdx = 0;
}
