// SPDX-License-Identifier: GPL-2.0-only
/* Finding, locking and checking TDs and their VCPUs. */
#include "module/td.h"

#include <stdlib.h>

#include "module/model.h"

static void td_free(struct tdxm_object *object)
{
	struct tdxm_td *td = (struct tdxm_td *)object;

	pthread_mutex_destroy(&td->mrtd_mutex);
	free(td->root);
	free(td);
}

struct tdxm_td *tdxm_td_alloc(uint64_t tdr_hpa, uint16_t hkid)
{
	struct tdxm_td *td = calloc(1, sizeof(*td));

	if (!td)
		tdxm_bug("out of memory");
	td->object.kind = TDXM_OBJECT_TD;
	td->object.free = td_free;
	pthread_mutex_init(&td->mrtd_mutex, NULL);
	td->tdr_hpa = tdr_hpa;
	td->hkid = hkid;
	return td;
}

static void vcpu_free(struct tdxm_object *object)
{
	free((struct tdxm_vcpu *)object);
}

struct tdxm_vcpu *tdxm_vcpu_alloc(uint64_t tdvpr_hpa)
{
	struct tdxm_vcpu *vcpu = calloc(1, sizeof(*vcpu));

	if (!vcpu)
		tdxm_bug("out of memory");
	vcpu->object.kind = TDXM_OBJECT_VCPU;
	vcpu->object.free = vcpu_free;
	vcpu->tdvpr_hpa = tdvpr_hpa;
	vcpu->num_pages = 1;
	vcpu->assoc_lp = TDXM_NO_LP;
	vcpu->pi_vector = TDXM_NO_PI_VECTOR;
	vcpu->pi_desc = ~0ULL;
	return vcpu;
}

uint64_t tdxm_td_lock_explicit(struct tdxm_call *call, uint64_t hpa)
{
	uint64_t status = tdxm_page_lock_4k(call, RES_TDR, hpa, PT_TDR, &call->tdr_page);

	if (!status)
		call->td = (struct tdxm_td *)call->tdr_page.entry->object;
	return status;
}

uint64_t tdxm_td_lock_owner(struct tdxm_call *call, uint64_t owner)
{
	struct tdxm_pamt_entry *entry = tdxm_pamt_find(call->m, owner);
	uint64_t status;

	if (!entry)
		tdxm_bug("page with an owner outside of the TDMRs");
	/* Implicit: only this one entry, not the path to it. */
	status = tdxm_lock(call, RES_TDR, &entry->lock);
	if (status)
		return status;
	if (atomic_load(&entry->type) != PT_TDR)
		tdxm_bug("page with an owner that is no TDR");
	call->tdr_page = (struct tdxm_page) { owner, 0, entry };
	call->td = (struct tdxm_td *)entry->object;
	return TDX_SUCCESS;
}

uint64_t tdxm_td_check(struct tdxm_call *call, unsigned int ops)
{
	struct tdxm_td *td = call->td;
	uint64_t status;

	if (td->fatal)
		return TDX_TD_FATAL;
	if (td->lifecycle != TD_KEYS_CONFIGURED)
		return TDX_TD_KEYS_NOT_CONFIGURED;
	if (td->num_tdcx < TDX_TDCS_PAGES)
		return TDX_TDCS_NOT_ALLOCATED;
	status = tdxm_lock(call, RES_OP_STATE, &td->op_state_lock);
	if (status)
		return status;
	if (!(OPS_MASK(td->op_state) & ops))
		return TDX_OP_STATE_INCORRECT + td->op_state;
	return TDX_SUCCESS;
}

uint64_t tdxm_vcpu_lock(struct tdxm_call *call, uint64_t hpa)
{
	struct tdxm_page *page = &call->tdvpr_page;
	uint64_t status = tdxm_page_lock_4k(call, RES_TDVPR, hpa, PT_TDVPR, page);

	if (status)
		return status;
	call->vcpu = (struct tdxm_vcpu *)page->entry->object;
	return tdxm_td_lock_owner(call, page->entry->owner);
}

uint64_t tdxm_vcpu_associate(struct tdxm_call *call, bool also_disabled)
{
	struct tdxm_vcpu *vcpu = call->vcpu;
	unsigned int state = vcpu->state;
	int lp = TDXM_NO_LP;

	if (state != VCPU_READY && !(also_disabled && state == VCPU_DISABLED))
		return TDX_VCPU_STATE_INCORRECT + state;
	/* The TDVPR is only shared here: several LPs may try at once. */
	if (atomic_compare_exchange_strong(&vcpu->assoc_lp, &lp, (int)call->lp))
		atomic_fetch_add(&call->td->num_assoc_vcpus, 1);
	else if (lp != (int)call->lp)
		return TDX_VCPU_ASSOCIATED;
	return TDX_SUCCESS;
}
