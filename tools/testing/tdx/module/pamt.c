// SPDX-License-Identifier: GPL-2.0-only
/* Physical address metadata: lookup, locking paths, ownership changes. */
#include "module/pamt.h"
#include "module/model.h"

static struct tdxm_pamt_gib *gib_find(struct tdxm *m, uint64_t hpa)
{
	/* SYS.CONFIG published the table before it made the state visible. */
	unsigned int state = atomic_load_explicit(&m->sys_state, memory_order_acquire);
	unsigned int i;

	if (state < SYS_CONFIG_DONE)
		return NULL;
	for (i = 0; i < m->num_tdmrs; i++) {
		struct tdxm_tdmr *tdmr = &m->tdmr[i];
		uint64_t base = tdmr->info.base;

		if (hpa < base || hpa - base >= tdmr->info.size)
			continue;
		/* Only whole GiBs that TDMR.INIT has passed are usable. */
		if (hpa >=
		    (atomic_load_explicit(&tdmr->next, memory_order_acquire) & ~(TDX_1G - 1)))
			return NULL;
		return tdmr->gib[(hpa - base) / TDX_1G];
	}
	return NULL;
}

struct tdxm_pamt_entry *tdxm_pamt_find_level(struct tdxm *m, uint64_t hpa, unsigned int level)
{
	struct tdxm_pamt_gib *gib = gib_find(m, hpa);

	if (!gib)
		return NULL;
	if (level == 2)
		return &gib->entry_1g;
	if (level == 1)
		return &gib->entry_2m[hpa % TDX_1G / TDX_2M];
	return &gib->entry_4k[hpa % TDX_1G / TDX_PAGE_SIZE];
}

struct tdxm_pamt_entry *tdxm_pamt_find(struct tdxm *m, uint64_t hpa)
{
	return tdxm_pamt_find_level(m, hpa, 0);
}

static bool type_is_td(unsigned int type)
{
	return type != PT_NDA && type != PT_RSVD;
}

static bool entry_is_td(struct tdxm_pamt_entry *entry)
{
	return type_is_td(atomic_load_explicit(&entry->type, memory_order_relaxed));
}

bool tdxm_pamt_td_owned(struct tdxm *m, uint64_t hpa)
{
	struct tdxm_pamt_gib *gib = gib_find(m, hpa);

	if (!gib)
		return false;
	return entry_is_td(&gib->entry_2m[hpa % TDX_1G / TDX_2M]) ||
	       entry_is_td(&gib->entry_4k[hpa % TDX_1G / TDX_PAGE_SIZE]);
}

static uint64_t operand_of(const struct tdxm_call *call, enum tdxm_resource res)
{
	return tdxm_lock_cell(call, res)->operand;
}

static uint64_t check_address(const struct tdxm_call *call, enum tdxm_resource res, uint64_t hpa,
			      uint64_t align)
{
	if (hpa & (align - 1) || hpa >= TDX_PA_LIMIT || hpa >> call->m->keyid_shift)
		return TDX_OPERAND_INVALID + operand_of(call, res);
	return TDX_SUCCESS;
}

/*
 * The path to a page locks the 1G and the 2M entry shared and only the last
 * entry in the mode of the leaf. It ends early at a 2M page, or at @want.
 */
static uint64_t lock_path(struct tdxm_call *call, enum tdxm_resource res, uint64_t hpa,
			  unsigned int want, struct tdxm_page *page)
{
	enum tdxm_lock_mode mode = tdxm_lock_cell(call, res)->mode;
	struct tdxm_pamt_gib *gib = gib_find(call->m, hpa);
	struct tdxm_pamt_entry *entry;
	uint64_t status;

	if (!gib)
		return TDX_OPERAND_ADDR_RANGE_ERROR + operand_of(call, res);

	status = tdxm_lock_mode(call, res, &gib->entry_1g.lock, LOCK_SHARED);
	if (status)
		return status;

	entry = &gib->entry_2m[hpa % TDX_1G / TDX_2M];
	status = tdxm_lock_mode(call, res, &entry->lock, LOCK_SHARED);
	if (status)
		return status;

	page->hpa = hpa;
	page->level = 1;
	page->entry = entry;
	if (want == 1 || atomic_load(&entry->type) == PT_REG)
		return mode == LOCK_EXCLUSIVE ? tdxm_lock_upgrade(call, &entry->lock) : TDX_SUCCESS;

	page->level = 0;
	page->entry = &gib->entry_4k[hpa % TDX_1G / TDX_PAGE_SIZE];
	return tdxm_lock_mode(call, res, &page->entry->lock, mode);
}

uint64_t tdxm_page_lock_any(struct tdxm_call *call, enum tdxm_resource res, uint64_t hpa,
			    struct tdxm_page *page)
{
	uint64_t status = check_address(call, res, hpa, TDX_PAGE_SIZE);

	return status ? status : lock_path(call, res, hpa, 0, page);
}

/* A page that is offered to the module must have left its former owner completely. */
static void sanitize_offer(struct tdxm_call *call, const struct tdxm_page *page)
{
	unsigned int type = atomic_load(&page->entry->type);
	unsigned int stale = atomic_load(&page->entry->stale_hkid);

	if (type_is_td(type))
		tdxm_sanitizer(call->m, "%s: page 0x%llx (type %u) offered while TD 0x%llx owns it",
			       call->leaf->name, (unsigned long long)page->hpa, type,
			       (unsigned long long)page->entry->owner);
	else if (stale)
		tdxm_sanitizer(call->m, "%s: page 0x%llx offered, no PAGE.WBINVD for KeyID %u",
			       call->leaf->name, (unsigned long long)page->hpa, stale - 1);
}

uint64_t tdxm_page_lock_4k(struct tdxm_call *call, enum tdxm_resource res, uint64_t hpa,
			   enum tdx_page_type type, struct tdxm_page *page)
{
	uint64_t status = tdxm_page_lock_any(call, res, hpa, page);

	if (status)
		return status;
	if (type == PT_NDA && tdxm_lock_cell(call, res)->mode == LOCK_EXCLUSIVE)
		sanitize_offer(call, page);
	if (page->level || atomic_load(&page->entry->type) != type)
		return TDX_PAGE_METADATA_INCORRECT + operand_of(call, res);
	return TDX_SUCCESS;
}

uint64_t tdxm_page_lock_2m_nda(struct tdxm_call *call, enum tdxm_resource res, uint64_t hpa,
			       struct tdxm_page *page)
{
	uint64_t status = check_address(call, res, hpa, TDX_2M);
	struct tdxm_pamt_entry *child;
	unsigned int i;

	if (!status)
		status = lock_path(call, res, hpa, 1, page);
	if (status)
		return status;

	if (atomic_load(&page->entry->type) != PT_NDA) {
		sanitize_offer(call, page);
		return TDX_PAGE_METADATA_INCORRECT + operand_of(call, res);
	}
	child = tdxm_pamt_find(call->m, hpa);
	for (i = 0; i < 512; i++) {
		struct tdxm_page part = { hpa + i * TDX_PAGE_SIZE, 0, &child[i] };

		if (entry_is_td(&child[i]) || atomic_load(&child[i].stale_hkid))
			sanitize_offer(call, &part);
		if (atomic_load(&child[i].type) != PT_NDA)
			return TDX_PAGE_METADATA_INCORRECT + operand_of(call, res);
	}
	return TDX_SUCCESS;
}

void tdxm_page_assign(struct tdxm_page *page, enum tdx_page_type type, uint64_t owner,
		      struct tdxm_object *object)
{
	struct tdxm_pamt_entry *entry = page->entry;

	entry->owner = owner;
	entry->object = object;
	atomic_store(&entry->bepoch, 0);
	/* Reported by now, if it was stale; its next life is another story. */
	atomic_store(&entry->stale_hkid, 0);
	atomic_store(&entry->type, type);
}

void tdxm_page_release(struct tdxm *m, struct tdxm_page *page)
{
	struct tdxm_pamt_entry *entry = page->entry;

	tdxm_object_drop(&m->objects, entry->object);
	entry->object = NULL;
	atomic_store(&entry->type, PT_NDA);
}

void tdxm_page_set_stale(struct tdxm *m, const struct tdxm_page *page, uint16_t hkid)
{
	uint64_t hpa, end = page->hpa + TDX_LEVEL_SIZE(page->level);

	for (hpa = page->hpa; hpa < end; hpa += TDX_PAGE_SIZE)
		atomic_store(&tdxm_pamt_find(m, hpa)->stale_hkid, hkid + 1);
}
