// SPDX-License-Identifier: GPL-2.0-only
/* TDH.MNG.*: life cycle of a TD, but for TD_PARAMS. */
#include "module/metadata.h"
#include "module/model.h"

#define ALL_OPS (~OPS_MASK(TD_UNINITIALIZED))
/* Of the TDCS pages, from 0: the root of the S-EPT, and the one that is filled at random. */
#define TDCX_SEPT_ROOT 3
#define TDCX_RANDOM 5

static struct tdxm_kot_entry *kot_of(const struct tdxm_call *call)
{
	return &call->m->kot[call->td->hkid];
}

uint64_t tdxm_mng_create_check(struct tdxm_call *call)
{
	struct tdxm *m = call->m;
	uint64_t status, hkid = call->in.rdx;

	if (!tdxm_hkid_is_private(m, hkid))
		return TDX_OPERAND_INVALID + OP_RDX;
	status = tdxm_page_lock_4k(call, RES_PAGE, call->in.rcx, PT_NDA, &call->page);
	if (!status)
		status = tdxm_lock(call, RES_KOT, &m->kot_lock);
	if (status)
		return status;
	if (m->kot[hkid].state != KOT_FREE)
		return TDX_HKID_NOT_FREE;
	if (tdxm_lp_state(call, TDXM_LP_NO_ENTROPY))
		return TDX_RND_NO_ENTROPY;
	return TDX_SUCCESS;
}

void tdxm_mng_create_commit(struct tdxm_call *call)
{
	struct tdxm *m = call->m;
	struct tdxm_td *td = tdxm_td_alloc(call->in.rcx, call->in.rdx);

	td->serial = atomic_fetch_add(&m->td_serial, 1) + 1;
	tdxm_object_add(&m->objects, &td->object);
	m->kot[td->hkid].state = KOT_ASSIGNED;
	tdxm_page_assign(m, &call->page, PT_TDR, 0, &td->object);
}

uint64_t tdxm_mng_key_config_check(struct tdxm_call *call)
{
	uint64_t status = tdxm_td_lock_explicit(call, call->in.rcx);

	if (status)
		return status;
	if (call->td->fatal)
		return TDX_TD_FATAL;
	if (call->td->lifecycle != TD_HKID_ASSIGNED)
		return TDX_LIFECYCLE_STATE_INCORRECT;
	if (call->td->packages_configured & 1u << tdxm_package(call))
		return TDX_KEY_CONFIGURED;
	status = tdxm_lock(call, RES_KET, &call->m->ket_lock[tdxm_package(call)]);
	if (!status && tdxm_lp_state(call, TDXM_LP_NO_ENTROPY))
		return TDX_KEY_GENERATION_FAILED;
	return status;
}

void tdxm_mng_key_config_commit(struct tdxm_call *call)
{
	call->td->packages_configured |= 1u << tdxm_package(call);
	if (call->td->packages_configured == call->m->all_packages)
		call->td->lifecycle = TD_KEYS_CONFIGURED;
}

uint64_t tdxm_mng_addcx_check(struct tdxm_call *call)
{
	uint64_t status = tdxm_td_lock_explicit(call, call->in.rdx);
	struct tdxm_td *td = call->td;

	if (status)
		return status;
	if (td->fatal)
		return TDX_TD_FATAL;
	if (td->lifecycle != TD_KEYS_CONFIGURED)
		return TDX_TD_KEYS_NOT_CONFIGURED;
	if (td->num_tdcx >= TDX_TDCS_MAX_PAGES)
		return TDX_TDCX_NUM_INCORRECT;
	if (td->num_tdcx >= TDX_TDCS_PAGES && td->op_state != TD_UNINITIALIZED)
		return TDX_OP_STATE_INCORRECT + td->op_state;
	status = tdxm_page_lock_4k(call, RES_PAGE, call->in.rcx, PT_NDA, &call->page);
	if (!status && td->num_tdcx == TDCX_RANDOM && tdxm_lp_state(call, TDXM_LP_NO_ENTROPY))
		return TDX_RND_NO_ENTROPY;
	return status;
}

void tdxm_mng_addcx_commit(struct tdxm_call *call)
{
	struct tdxm_td *td = call->td;

	if (td->num_tdcx == TDCX_SEPT_ROOT)
		td->root = tdxm_sept_page_alloc();
	td->num_tdcx++;
	td->chldcnt++;
	tdxm_page_assign(call->m, &call->page, PT_TDCX, td->tdr_hpa, NULL);
}

uint64_t tdxm_mng_rd_check(struct tdxm_call *call)
{
	uint64_t status = tdxm_td_lock_explicit(call, call->in.rcx);

	call->out.r8 = 0;
	if (!status)
		status = tdxm_td_check(call, ALL_OPS);
	if (status)
		return status;
	return tdxm_metadata_read(call, TDXM_TD_FIELDS, call->in.rdx, call->version > 0);
}

uint64_t tdxm_mng_vpflushdone_check(struct tdxm_call *call)
{
	uint64_t status = tdxm_td_lock_explicit(call, call->in.rcx);

	if (!status)
		status = tdxm_lock(call, RES_KOT, &call->m->kot_lock);
	if (status)
		return status;
	if (call->td->lifecycle > TD_KEYS_CONFIGURED)
		return TDX_LIFECYCLE_STATE_INCORRECT;
	if (call->td->num_assoc_vcpus)
		return TDX_FLUSHVP_NOT_DONE;
	return TDX_SUCCESS;
}

void tdxm_mng_vpflushdone_commit(struct tdxm_call *call)
{
	struct tdxm_kot_entry *kot = kot_of(call);

	kot->state = KOT_FLUSHED;
	kot->wb_pending = call->m->all_packages;
	call->td->lifecycle = TD_BLOCKED;
}

uint64_t tdxm_mng_key_freeid_check(struct tdxm_call *call)
{
	uint64_t status = tdxm_td_lock_explicit(call, call->in.rcx);

	if (status)
		return status;
	if (call->td->lifecycle != TD_BLOCKED)
		return TDX_LIFECYCLE_STATE_INCORRECT;
	status = tdxm_lock(call, RES_KOT, &call->m->kot_lock);
	if (status)
		return status;
	if (kot_of(call)->wb_pending)
		return TDX_WBCACHE_NOT_COMPLETE;
	return TDX_SUCCESS;
}

void tdxm_mng_key_freeid_commit(struct tdxm_call *call)
{
	kot_of(call)->state = KOT_FREE;
	tdxm_wb_forget_key(call->m, call->td->hkid);
	call->td->lifecycle = TD_TEARDOWN;
}
