// SPDX-License-Identifier: GPL-2.0-only
/* What a TD went through that excuses its kernel. */
#include "module/mishap.h"

#include "module/model.h"

/*
 * Go on with the TD that has the page at @hpa. It may be on its way out: objects
 * live as long as the list's mutex is held.
 */
static struct tdxm_td *td_get(struct tdxm *m, uint64_t hpa)
{
	struct tdxm_pamt_entry *entry = tdxm_pamt_find(m, hpa);
	struct tdxm_object *object = NULL;

	pthread_mutex_lock(&m->objects.mutex);
	if (entry && atomic_load(&entry->type) != PT_TDR) {
		entry = tdxm_pamt_find_leaf(m, hpa);
		entry = entry ? tdxm_pamt_find(m, entry->owner) : NULL;
	}
	if (entry && atomic_load(&entry->type) == PT_TDR)
		object = entry->object;
	if (object)
		return (struct tdxm_td *)object;
	pthread_mutex_unlock(&m->objects.mutex);
	return NULL;
}

static void td_put(struct tdxm *m)
{
	pthread_mutex_unlock(&m->objects.mutex);
}

unsigned int tdxm_mishaps(struct tdxm *m, uint64_t hpa)
{
	struct tdxm_td *td = td_get(m, hpa);
	unsigned int mishaps = td ? td->mishaps : 0;

	if (td)
		td_put(m);
	return mishaps;
}

/*
 * Calls that take a TD apart, and MR.EXTEND. A kernel that has one refused is
 * excused for what it leaves behind, unless it tries again and succeeds.
 */
static bool may_go_wrong(const struct tdxm_call *call, uint64_t *hpa, unsigned int *mishap)
{
	*mishap = MISHAP_REFUSED;
	switch (call->leaf->number) {
	case TDH_MR_EXTEND:
		*mishap = MISHAP_MEASURE;
		*hpa = call->in.rdx;
		return true;
	case TDH_MEM_RANGE_BLOCK:
	case TDH_MEM_PAGE_REMOVE:
		*hpa = call->in.rdx;
		return true;
	case TDH_MEM_TRACK:
	case TDH_VP_FLUSH:
	case TDH_MNG_VPFLUSHDONE:
	case TDH_MNG_KEY_FREEID:
	case TDH_PHYMEM_PAGE_RECLAIM:
		*hpa = call->in.rcx;
		return true;
	default:
		return false;
	}
}

static uint64_t mishap_key(const struct tdxm_call *call)
{
	return call->in.rcx << 8 | call->leaf->number;
}

void tdxm_mishap_note(struct tdxm_call *call, uint64_t status)
{
	uint64_t hpa, none = 0, key = mishap_key(call), code = tdx_status_code(status);
	struct tdxm *m = call->m;
	struct tdxm_td *td;
	unsigned int mishap;
	bool wb = call->leaf->number == TDH_PHYMEM_CACHE_WB;

	if (!wb && !may_go_wrong(call, &hpa, &mishap))
		return;
	/* Refused for a fault of the kernel's own: no excuse. */
	if (!call->injected && code != TDX_OPERAND_BUSY && code != TDX_PREVIOUS_TLB_EPOCH_BUSY &&
	    code != TDX_WBCACHE_NOT_COMPLETE)
		return;
	if (wb) {
		m->wb_mishaps |= MISHAP_REFUSED | (call->injected ? MISHAP_INJECTED : 0);
		return;
	}
	if (call->injected && mishap == MISHAP_REFUSED)
		mishap |= MISHAP_INJECTED;
	if (code == TDX_WBCACHE_NOT_COMPLETE)
		mishap = m->wb_mishaps;
	td = td_get(m, hpa & ~(TDX_PAGE_SIZE - 1));
	if (!td)
		return;
	/* A second one, of another call: no success will make up for both. */
	if (mishap && !atomic_compare_exchange_strong(&td->mishap_key, &none, key) && none != key)
		td->mishap_key = ~0ULL;
	td->mishaps |= mishap;
	td_put(m);
}

void tdxm_mishap_forget(struct tdxm_call *call)
{
	struct tdxm_td *td = call->td;
	uint64_t hpa, key = mishap_key(call);
	unsigned int mishap;

	/* Whatever went wrong with it before: now the caches are written back. */
	if (call->leaf->number == TDH_PHYMEM_CACHE_WB)
		call->m->wb_mishaps = 0;
	/* RECLAIM is never tried again, and that of the TDR has freed the TD. */
	if (call->leaf->number == TDH_PHYMEM_PAGE_RECLAIM || !may_go_wrong(call, &hpa, &mishap) ||
	    !td->mishaps)
		return;
	if (atomic_compare_exchange_strong(&td->mishap_key, &key, 0))
		td->mishaps = 0;
}
