// SPDX-License-Identifier: GPL-2.0-only
/* Physical address metadata: lookup, locking paths, ownership changes. */
#include "module/pamt.h"

#include <stdlib.h>

#include "module/history.h"
#include "module/model.h"
#include "module/sanitize.h"

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

struct tdxm_pamt_entry *tdxm_pamt_find_leaf(struct tdxm *m, uint64_t hpa)
{
	struct tdxm_pamt_gib *gib = gib_find(m, hpa);
	struct tdxm_pamt_entry *entry_2m;

	if (!gib)
		return NULL;
	entry_2m = &gib->entry_2m[hpa % TDX_1G / TDX_2M];
	return entry_is_td(entry_2m) ? entry_2m : &gib->entry_4k[hpa % TDX_1G / TDX_PAGE_SIZE];
}

bool tdxm_pamt_td_owned(struct tdxm *m, uint64_t hpa)
{
	struct tdxm_pamt_entry *entry = tdxm_pamt_find_leaf(m, hpa);

	return entry && entry_is_td(entry);
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
	_Atomic bool *touched;
	uint64_t status;

	if (!gib)
		return TDX_OPERAND_ADDR_RANGE_ERROR + operand_of(call, res);

	status = tdxm_lock_mode(call, res, &gib->entry_1g.lock, LOCK_SHARED);
	if (status)
		return status;

	touched = &gib->touched[hpa % TDX_1G / TDX_2M];
	if (!atomic_load_explicit(touched, memory_order_relaxed))
		atomic_store(touched, true);
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

uint64_t tdxm_page_lock_4k(struct tdxm_call *call, enum tdxm_resource res, uint64_t hpa,
			   enum tdx_page_type type, struct tdxm_page *page)
{
	uint64_t status = tdxm_page_lock_any(call, res, hpa, page);

	if (status)
		return status;
	if (type == PT_NDA && tdxm_lock_cell(call, res)->mode == LOCK_EXCLUSIVE)
		tdxm_sanitize_offer(call, page->hpa);
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
		tdxm_sanitize_offer(call, page->hpa);
		return TDX_PAGE_METADATA_INCORRECT + operand_of(call, res);
	}
	child = tdxm_pamt_find(call->m, hpa);
	for (i = 0; i < 512; i++) {
		if (entry_is_td(&child[i]) || atomic_load(&child[i].stale_hkid))
			tdxm_sanitize_offer(call, hpa + i * TDX_PAGE_SIZE);
		if (atomic_load(&child[i].type) != PT_NDA)
			return TDX_PAGE_METADATA_INCORRECT + operand_of(call, res);
	}
	return TDX_SUCCESS;
}

static void watch(struct tdxm *m, uint64_t hpa, uint64_t len, bool on)
{
	if (m->ops.page_owned)
		m->ops.page_owned(m->opaque, hpa, len, on);
}

static uint64_t pages_of(const struct tdxm_page *page)
{
	return TDX_LEVEL_SIZE(page->level) / TDX_PAGE_SIZE;
}

void tdxm_page_assign(struct tdxm *m, struct tdxm_page *page, enum tdx_page_type type,
		      uint64_t owner, struct tdxm_object *object)
{
	struct tdxm_pamt_entry *entry = page->entry;
	struct tdxm_pamt_entry *part = tdxm_pamt_find(m, page->hpa);
	uint64_t i;

	entry->owner = owner;
	entry->object = object;
	atomic_store(&entry->bepoch, 0);
	atomic_store(&entry->extended, 0);
	/* Reported by now, if it was stale; its next life is another story. */
	for (i = 0; i < pages_of(page); i++)
		atomic_store_explicit(&part[i].stale_hkid, 0, memory_order_relaxed);
	atomic_store(&entry->type, type);
	atomic_fetch_add(&m->owned_pages, pages_of(page));
	/* The module itself has written what it writes. */
	watch(m, page->hpa, TDX_LEVEL_SIZE(page->level), true);
}

void tdxm_page_release(struct tdxm *m, struct tdxm_page *page)
{
	struct tdxm_pamt_entry *entry = page->entry;
	struct tdxm_object *object = entry->object;

	/* Stale pages are watched on: a store would be undone when they are written back. */
	if (!atomic_load(&tdxm_pamt_find(m, page->hpa)->stale_hkid))
		watch(m, page->hpa, TDX_LEVEL_SIZE(page->level), false);
	/* A query that holds the list's mutex finds the object here, or not at all. */
	entry->object = NULL;
	tdxm_object_drop(&m->objects, object);
	atomic_fetch_sub(&m->owned_pages, pages_of(page));
	atomic_store(&entry->type, PT_NDA);
}

void tdxm_page_set_stale(struct tdxm *m, const struct tdxm_page *page, uint16_t hkid)
{
	struct tdxm_pamt_entry *part = tdxm_pamt_find(m, page->hpa);
	uint64_t i;

	for (i = 0; i < pages_of(page); i++)
		atomic_store(&part[i].stale_hkid, hkid + 1);
}

void tdxm_page_written_back(struct tdxm *m, const struct tdxm_page *page)
{
	atomic_store(&page->entry->stale_hkid, 0);
	watch(m, page->hpa, TDX_PAGE_SIZE, false);
}

void tdxm_pamt_for_each(struct tdxm *m,
			bool (*fn)(void *arg, uint64_t hpa, unsigned int level,
				   struct tdxm_pamt_entry *entry),
			void *arg)
{
	unsigned int i, j;
	uint64_t base;

	for (i = 0; i < m->num_tdmrs; i++) {
		const struct tdx_tdmr_info *info = &m->tdmr[i].info;

		for (base = info->base; base < info->base + info->size; base += TDX_2M) {
			struct tdxm_pamt_gib *gib = gib_find(m, base);
			unsigned int index = base % TDX_1G / TDX_2M;

			if (!gib || !atomic_load(&gib->touched[index]))
				continue;
			if (!fn(arg, base, 1, &gib->entry_2m[index]))
				return;
			for (j = 0; j < 512; j++) {
				if (!fn(arg, base + j * TDX_PAGE_SIZE, 0,
					&gib->entry_4k[index * 512 + j]))
					return;
			}
		}
	}
}

struct wanted {
	uint64_t tdr, hpa;
	enum tdx_page_type type;
};

static bool is_wanted(void *arg, uint64_t hpa, unsigned int level, struct tdxm_pamt_entry *entry)
{
	struct wanted *wanted = arg;

	(void)level;
	if (atomic_load(&entry->type) != wanted->type || entry->owner != wanted->tdr)
		return true;
	wanted->hpa = hpa;
	return false;
}

uint64_t tdxm_pamt_find_owned(struct tdxm *m, uint64_t tdr, enum tdx_page_type type)
{
	struct wanted wanted = { .tdr = tdr, .hpa = TDXM_NO_PAGE, .type = type };

	tdxm_pamt_for_each(m, is_wanted, &wanted);
	return wanted.hpa;
}

bool tdxm_in_pamt(const struct tdxm *m, uint64_t hpa)
{
	unsigned int i, k;

	for (i = 0; i < m->num_tdmrs; i++) {
		for (k = 0; k < ARRAY_LEN(m->tdmr[i].info.pamt); k++) {
			uint64_t base = m->tdmr[i].info.pamt[k].base;

			if (hpa >= base && hpa - base < m->tdmr[i].info.pamt[k].size)
				return true;
		}
	}
	return false;
}

void tdxm_pamt_watch(struct tdxm *m, bool on)
{
	unsigned int i, k;

	for (i = 0; i < m->num_tdmrs; i++) {
		for (k = 0; k < ARRAY_LEN(m->tdmr[i].info.pamt); k++)
			watch(m, m->tdmr[i].info.pamt[k].base, m->tdmr[i].info.pamt[k].size, on);
	}
}

const char *tdxm_page_type_name(unsigned int type)
{
	static const char *const name[] = {
		[PT_NDA] = "NDA",   [PT_RSVD] = "RSVD",	  [PT_REG] = "REG", [PT_TDR] = "TDR",
		[PT_TDCX] = "TDCX", [PT_TDVPR] = "TDVPR", [PT_EPT] = "EPT",
	};

	return type < ARRAY_LEN(name) && name[type] ? name[type] : "unknown";
}

static void gib_free(struct tdxm_pamt_gib *gib)
{
	unsigned int i, j;

	for (i = 0; gib && i < ARRAY_LEN(gib->touched); i++) {
		if (!gib->touched[i])
			continue;
		tdxm_history_free(&gib->entry_2m[i]);
		for (j = 0; j < 512; j++)
			tdxm_history_free(&gib->entry_4k[i * 512 + j]);
	}
	free(gib);
}

void tdxm_pamt_free(struct tdxm *m)
{
	unsigned int i;
	uint64_t j;

	for (i = 0; i < m->num_tdmrs; i++) {
		for (j = 0; j < m->tdmr[i].info.size / TDX_1G; j++)
			gib_free(m->tdmr[i].gib[j]);
		free(m->tdmr[i].gib);
	}
}
