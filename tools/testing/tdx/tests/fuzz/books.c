// SPDX-License-Identifier: GPL-2.0-only
/* The host's books, and the model's against them. */
#include "tests/fuzz/books.h"

#include <string.h>

#include "module/audit.h"

struct book_td *books_td(struct world *w, uint64_t tdr)
{
	unsigned int i;

	for (i = 0; i < w->nr_tds; i++) {
		if (w->td[i].tdr == tdr)
			return &w->td[i];
	}
	return NULL;
}

struct book_page *books_page(struct world *w, uint64_t hpa)
{
	struct book_page *found = NULL;
	unsigned int i;

	for (i = 0; i < w->nr_pages; i++) {
		if (w->page[i].hpa != hpa)
			continue;
		if (w->page[i].tdr)
			return &w->page[i];
		found = &w->page[i];
	}
	return found;
}

static bool is_of(const struct book_page *page, unsigned int type, uint64_t tdr)
{
	return (!type || page->type == type) && (!tdr || page->tdr == tdr);
}

struct book_page *books_nth(struct world *w, unsigned int n, unsigned int type, uint64_t tdr)
{
	unsigned int i;

	for (i = 0; i < w->nr_pages; i++) {
		if (is_of(&w->page[i], type, tdr) && !n--)
			return &w->page[i];
	}
	return NULL;
}

unsigned int books_count(struct world *w, unsigned int type, uint64_t tdr)
{
	unsigned int i, count = 0;

	for (i = 0; i < w->nr_pages; i++)
		count += is_of(&w->page[i], type, tdr);
	return count;
}

struct book_page *books_gpa(struct world *w, unsigned int type, uint64_t tdr, uint64_t gpa,
			    unsigned int level)
{
	unsigned int i;

	for (i = 0; i < w->nr_pages; i++) {
		struct book_page *page = &w->page[i];

		if (is_of(page, type, tdr) && page->level == level && page->gpa == gpa)
			return page;
	}
	return NULL;
}

static void note_stray(struct world *w, uint64_t hpa)
{
	if (hpa - WORLD_POOL >= WORLD_POOL_PAGES * TDX_PAGE_SIZE && w->nr_strays < WORLD_MAX_PAGES)
		w->stray[w->nr_strays++] = hpa;
}

void books_drop(struct world *w, struct book_page *page)
{
	/* Keep the order: operands name pages by number. */
	memmove(page, page + 1, (char *)&w->page[--w->nr_pages] - (char *)page);
}

/* A page that was a TD's at both sizes left an entry of each; @now covers both. */
static void drop_other_size(struct world *w, const struct book_page *now)
{
	unsigned int i;

	for (i = 0; i < w->nr_pages; i++) {
		struct book_page *page = &w->page[i];

		if (page != now && page->hpa == now->hpa && page->level <= now->level) {
			books_drop(w, page);
			return;
		}
	}
}

static void add_page(struct world *w, struct book_page page)
{
	struct book_page *old = books_page(w, page.hpa);
	struct book_page *around = books_page(w, page.hpa & ~(TDX_2M - 1));

	if (around && around->tdr && around->type == PT_REG && around->level)
		world_broken("page 0x%llx accepted while TD 0x%llx has all 2M of it",
			     (unsigned long long)page.hpa, (unsigned long long)around->tdr);
	/* Cache lines of a former owner are what the sanitizer is about, not this test. */
	if (old && old->tdr)
		world_broken("page 0x%llx accepted while TD 0x%llx has it",
			     (unsigned long long)page.hpa, (unsigned long long)old->tdr);
	if (!books_td(w, page.tdr))
		world_broken("page 0x%llx accepted for TD 0x%llx, which is none",
			     (unsigned long long)page.hpa, (unsigned long long)page.tdr);
	note_stray(w, page.hpa);
	/* Of a larger one, the rest still has to be written back. */
	if (old && old->level <= page.level) {
		*old = page;
		drop_other_size(w, old);
		return;
	}
	if (w->nr_pages == WORLD_MAX_PAGES)
		world_broken("more pages than the books have room for");
	w->page[w->nr_pages++] = page;
}

static void add_child(struct world *w, uint64_t hpa, enum tdx_page_type type, uint64_t tdr)
{
	add_page(w, (struct book_page) { .hpa = hpa, .type = type, .tdr = tdr });
}

static void add_mapping(struct world *w, uint64_t hpa, enum tdx_page_type type,
			const struct tdxm_regs *in)
{
	struct book_page page = {
		.hpa = hpa,
		.type = type,
		.tdr = in->rdx & SEPTE_HPA,
		.gpa = in->rcx & TDX_GPA_MASK,
		.level = in->rcx & TDX_GPA_LEVEL_MASK,
	};

	/* SEPT.ADD may find that there is one already, and says success. */
	if (type == PT_EPT && books_gpa(w, PT_EPT, page.tdr, page.gpa, page.level))
		return;
	add_page(w, page);
}

static void remove_mapping(struct world *w, const struct tdxm_regs *in, const struct tdxm_regs *out)
{
	struct book_page *page =
		books_gpa(w, PT_REG, in->rdx, in->rcx & TDX_GPA_MASK, in->rcx & TDX_GPA_LEVEL_MASK);

	if (!page || page->hpa != out->rcx)
		world_broken("PAGE.REMOVE gave back 0x%llx", (unsigned long long)out->rcx);
	page->hkid = books_td(w, page->tdr)->hkid;
	page->tdr = 0;
}

static void reclaim(struct world *w, const struct tdxm_regs *in, const struct tdxm_regs *out)
{
	struct book_td *td = books_td(w, in->rcx);
	struct book_page *page = books_page(w, in->rcx);

	if (td) {
		if (out->rcx != PT_TDR || out->rdx || books_count(w, 0, in->rcx))
			world_broken("RECLAIM of TDR 0x%llx", (unsigned long long)in->rcx);
		memmove(td, td + 1, (char *)&w->td[--w->nr_tds] - (char *)td);
		if (w->nr_pages == WORLD_MAX_PAGES)
			world_broken("more pages than the books have room for");
		w->page[w->nr_pages++] =
			(struct book_page) { .hpa = in->rcx, .hkid = WORLD_GLOBAL_HKID };
		return;
	}
	if (!page || !page->tdr || out->rcx != page->type || out->rdx != page->tdr ||
	    out->r8 != (page->type == PT_REG ? page->level : 0))
		world_broken("RECLAIM of 0x%llx: type %llu, owner 0x%llx, level %llu",
			     (unsigned long long)in->rcx, (unsigned long long)out->rcx,
			     (unsigned long long)out->rdx, (unsigned long long)out->r8);
	books_drop(w, page);
}

void books_note(struct world *w, const struct tdxm_regs *in, const struct tdxm_regs *out)
{
	struct book_page *page;

	switch (in->rax & TDX_RAX_LEAF_MASK) {
	case TDH_MNG_CREATE:
		page = books_page(w, in->rcx);
		if (books_td(w, in->rcx) || (page && page->tdr))
			world_broken("TDR 0x%llx accepted twice", (unsigned long long)in->rcx);
		if (page && !page->level)
			books_drop(w, page);
		if (w->nr_tds == WORLD_MAX_TDS)
			world_broken("more TDs than the books have room for");
		note_stray(w, in->rcx);
		w->td[w->nr_tds++] = (struct book_td) { in->rcx, in->rdx, true };
		break;
	case TDH_MNG_ADDCX:
		add_child(w, in->rcx, PT_TDCX, in->rdx);
		break;
	case TDH_VP_CREATE:
		add_child(w, in->rcx, PT_TDVPR, in->rdx);
		break;
	case TDH_VP_ADDCX:
		page = books_page(w, in->rdx);
		add_child(w, in->rcx, PT_TDCX, page ? page->tdr : 0);
		break;
	case TDH_MEM_SEPT_ADD:
		add_mapping(w, in->r8 & ~BIT_U64(63), PT_EPT, in);
		break;
	case TDH_MEM_PAGE_ADD:
	case TDH_MEM_PAGE_AUG:
		add_mapping(w, in->r8, PT_REG, in);
		break;
	case TDH_MEM_PAGE_REMOVE:
		remove_mapping(w, in, out);
		break;
	case TDH_MNG_KEY_FREEID:
		books_td(w, in->rcx)->has_hkid = false;
		break;
	case TDH_PHYMEM_PAGE_RECLAIM:
		reclaim(w, in, out);
		break;
	}
}

/*
 * Position-dependent sum of whole words, and which bits they have. Without the
 * sanitizers, which would be most of its time.
 */
__attribute__((no_sanitize("address", "undefined"))) static uint64_t
sum_bits(uint64_t h, const void *from, const void *to, uint64_t ignore, uint64_t *bits)
{
	const uint64_t *p = (const uint64_t *)(((uintptr_t)from + 7) & ~7ULL);
	const uint64_t *end = (const uint64_t *)((uintptr_t)to & ~7ULL);
	/* Four at a time, or the multiplier would be idle most of the time. */
	uint64_t lane[4] = { h, ~h, h << 1, ~h << 1 }, seen = 0;
	unsigned int i;

	for (; p + 4 <= end; p += 4) {
		for (i = 0; i < 4; i++) {
			seen |= p[i];
			lane[i] = (lane[i] ^ (p[i] & ~ignore)) * 0x9e3779b97f4a7c15ULL;
		}
	}
	for (; p < end; p++) {
		seen |= *p;
		lane[0] = (lane[0] ^ (*p & ~ignore)) * 0xc2b2ae3d27d4eb4fULL;
	}
	*bits = seen;
	for (i = 1; i < 4; i++)
		lane[0] = (lane[0] ^ lane[0] >> 29 ^ lane[i]) * 0xc2b2ae3d27d4eb4fULL;
	return lane[0];
}

static uint64_t sum(uint64_t h, const void *from, const void *to)
{
	uint64_t bits;

	return sum_bits(h, from, to, 0, &bits);
}

static uint64_t sum_word(uint64_t h, uint64_t word)
{
	h = (h ^ word) * 0x9e3779b97f4a7c15ULL;
	return h ^ h >> 31;
}

static void expect_unlocked(struct world *w, const struct sharex *lock, const char *what,
			    uint64_t hpa)
{
	if (!w->nr_pending && lock->word)
		world_broken("%s 0x%llx is locked, and nobody is there", what,
			     (unsigned long long)hpa);
}

static uint64_t sum_sept(struct world *w, uint64_t h, struct tdxm_sept_page *table)
{
	uint64_t bits;

	if (!table)
		return h;
	h = sum_bits(h, table->entry, table->entry + 512, SEPTE_TDEL, &bits);
	if (!w->nr_pending && bits & SEPTE_TDEL)
		world_broken("an S-EPT entry is locked, and nobody is there");
	return h;
}

static uint64_t sum_td(struct world *w, uint64_t h, struct tdxm_td *td, uint64_t *assoc)
{
	expect_unlocked(w, &td->op_state_lock, "op-state of TD", td->tdr_hpa);
	expect_unlocked(w, &td->sept_lock, "S-EPT of TD", td->tdr_hpa);
	expect_unlocked(w, &td->epoch_lock, "epoch of TD", td->tdr_hpa);
	h = sum_word(h, td->lifecycle | td->hkid << 8 | td->fatal << 31 |
				(uint64_t)td->packages_configured << 32);
	h = sum_word(h, td->chldcnt | (uint64_t)td->num_tdcx << 32);
	h = sum_word(h, td->op_state | td->topology_off << 8);
	h = sum_word(h, td->epoch);
	h = sum_word(h, td->refcount[0] | (uint64_t)td->refcount[1] << 32);
	*assoc = sum_word(*assoc, td->num_vcpus | (uint64_t)td->num_assoc_vcpus << 32);
	/* No more VCPUs than that ever come into being here. */
	h = sum(h, td->x2apic_id, td->x2apic_id + 32);
	h = sum(h, &td->params, &td->params + 1);
	h = sum(h, &td->mrtd_ctx, &td->mrtd_ctx + 1);
	h = sum(h, td->mrtd, td->mrtd + sizeof(td->mrtd));
	return sum_sept(w, h, td->root);
}

static uint64_t sum_vcpu(uint64_t h, struct tdxm_vcpu *vcpu, uint64_t *assoc)
{
	h = sum_word(h, vcpu->num_pages | (uint64_t)vcpu->state << 32);
	*assoc = sum_word(*assoc, vcpu->assoc_lp);
	return sum(h, &vcpu->index, vcpu + 1);
}

static uint64_t sum_page(struct world *w, uint64_t h, uint64_t hpa, unsigned int level)
{
	struct tdxm_pamt_entry *entry = tdxm_pamt_find_level(w->m, hpa, level);

	expect_unlocked(w, &entry->lock, "page", hpa);
	h = sum_word(h, entry->type);
	h = sum_word(h, entry->owner);
	return sum_word(h, entry->bepoch);
}

uint64_t books_digest(struct world *w, uint64_t *assoc)
{
	uint64_t h = w->m->sys_state;
	unsigned int i;

	*assoc = 0;

	expect_unlocked(w, &w->m->sys_lock, "the system", 0);
	expect_unlocked(w, &w->m->kot_lock, "KOT", 0);
	expect_unlocked(w, &w->m->tdmr[0].lock, "TDMR", 0);
	for (i = 0; i < WORLD_NR_PACKAGES; i++) {
		expect_unlocked(w, &w->m->wbt_lock[i], "WBT", i);
		expect_unlocked(w, &w->m->ket_lock[i], "KET", i);
	}
	expect_unlocked(w, &tdxm_pamt_find_level(w->m, WORLD_POOL, 2)->lock, "page", 0);
	expect_unlocked(w, &tdxm_pamt_find_level(w->m, WORLD_POOL, 1)->lock, "page", WORLD_POOL);
	for (i = WORLD_FIRST_HKID; i < WORLD_FIRST_HKID + WORLD_NR_HKIDS; i++)
		h = sum_word(h, w->m->kot[i].state | (uint64_t)w->m->kot[i].wb_pending << 32);
	for (i = 0; i < WORLD_POOL_2M_PAGES; i++)
		h = sum_page(w, h, WORLD_POOL_2M + i * TDX_2M, 1);
	for (i = 0; i < w->nr_tds; i++) {
		struct tdxm_pamt_entry *entry = tdxm_pamt_find(w->m, w->td[i].tdr);

		h = sum_page(w, h, w->td[i].tdr, 0);
		h = sum_td(w, h, (struct tdxm_td *)entry->object, assoc);
	}
	for (i = 0; i < w->nr_pages; i++) {
		struct book_page *page = &w->page[i];
		unsigned int level = page->type == PT_REG ? page->level : 0;
		struct tdxm_pamt_entry *entry = tdxm_pamt_find_level(w->m, page->hpa, level);

		h = sum_page(w, h, page->hpa, level);
		if (page->tdr && page->type == PT_EPT)
			h = sum_sept(w, h, (struct tdxm_sept_page *)entry->object);
		else if (page->tdr && page->type == PT_TDVPR)
			h = sum_vcpu(h, (struct tdxm_vcpu *)entry->object, assoc);
	}
	return h;
}

/* Every entry in use leads to a page of the books, at the level that it has there. */
static unsigned int check_table(struct world *w, uint64_t tdr, struct tdxm_sept_page *table)
{
	unsigned int i, used = 0;

	for (i = 0; i < 512; i++) {
		uint64_t septe = table->entry[i] & ~SEPTE_TDEL;
		enum tdx_sept_state state = tdxm_septe_state(septe);
		struct book_page *page;

		if (state == SEPT_FREE)
			continue;
		used++;
		page = books_page(w, septe & SEPTE_HPA);
		if (!page || page->tdr != tdr ||
		    page->type != (tdxm_sept_state_is_leaf(state) ? PT_REG : PT_EPT))
			world_broken("S-EPT entry 0x%llx of TD 0x%llx leads to a page not its own",
				     (unsigned long long)septe, (unsigned long long)tdr);
	}
	return used;
}

static void check_td(struct world *w, const struct book_td *book)
{
	struct tdxm_td *td = (struct tdxm_td *)tdxm_pamt_find(w->m, book->tdr)->object;
	unsigned int i, used, children = 0, associated = 0;

	/* From TEARDOWN on, tables lose their pages one by one. */
	used = td->root && book->has_hkid ? check_table(w, book->tdr, td->root) : 0;
	for (i = 0; i < w->nr_pages; i++) {
		const struct book_page *page = &w->page[i];
		struct tdxm_object *object;

		if (page->tdr != book->tdr)
			continue;
		object = tdxm_pamt_find(w->m, page->hpa)->object;
		children += page->type == PT_REG ? 1 << (9 * page->level) : 1;
		if (page->type == PT_EPT && book->has_hkid)
			used += check_table(w, book->tdr, (struct tdxm_sept_page *)object);
		if (page->type == PT_TDVPR)
			associated += ((struct tdxm_vcpu *)object)->assoc_lp != TDXM_NO_LP;
	}
	if (book->has_hkid &&
	    used != books_count(w, PT_REG, book->tdr) + books_count(w, PT_EPT, book->tdr))
		world_broken("TD 0x%llx has %u S-EPT entries in use", (unsigned long long)book->tdr,
			     used);
	if (td->chldcnt != children)
		world_broken("chldcnt of TD 0x%llx is %lld, pages are %u",
			     (unsigned long long)book->tdr, (long long)td->chldcnt, children);
	if (td->lifecycle <= TD_KEYS_CONFIGURED && td->num_assoc_vcpus != associated)
		world_broken("TD 0x%llx counts %u associated VCPUs, and has %u",
			     (unsigned long long)book->tdr, td->num_assoc_vcpus, associated);
	if (!w->nr_pending && (td->refcount[0] || td->refcount[1]))
		world_broken("TD 0x%llx counts VCPUs inside", (unsigned long long)book->tdr);
}

/* What a test would be told. */
static void check_audit(struct world *w)
{
	uint64_t pages = w->nr_tds;
	unsigned int i, keyids = 0;
	struct tdxm_audit audit;

	for (i = 0; i < w->nr_pages; i++) {
		if (w->page[i].tdr)
			pages += w->page[i].type == PT_REG ? 1 << (9 * w->page[i].level) : 1;
	}
	for (i = 0; i < w->nr_tds; i++)
		keyids += w->td[i].has_hkid;
	tdxm_audit(w->m, &audit);
	if (audit.tds != w->nr_tds || audit.keyids != keyids || audit.pages != pages ||
	    audit.suspended != w->nr_pending)
		world_broken("audit: %u TDs, %u KeyIDs, %llu pages, %u suspended", audit.tds,
			     audit.keyids, (unsigned long long)audit.pages, audit.suspended);
}

static void check_page(struct world *w, const struct book_page *page)
{
	unsigned int type = page->tdr ? page->type : PT_NDA;
	unsigned int level = page->type == PT_REG ? page->level : 0;
	struct tdxm_pamt_entry *entry = tdxm_pamt_find_level(w->m, page->hpa, level);

	if (entry->type != type || (page->tdr && entry->owner != page->tdr))
		world_broken("page 0x%llx has type %u, owner 0x%llx", (unsigned long long)page->hpa,
			     entry->type, (unsigned long long)entry->owner);
	if (page->tdr && !w->watched[page->hpa / TDX_PAGE_SIZE])
		world_broken("page 0x%llx is a TD's, and stores to it are welcome",
			     (unsigned long long)page->hpa);
}

void books_check(struct world *w)
{
	unsigned int i;

	for (i = 0; i < w->nr_pages; i++)
		check_page(w, &w->page[i]);
	for (i = 0; i < w->nr_tds; i++)
		check_td(w, &w->td[i]);
	check_audit(w);
}

/* A new life for the page; the stale owner and epoch would tell inputs apart. */
static void check_host_page(struct tdxm_pamt_entry *entry, uint64_t hpa)
{
	if (entry->type != PT_NDA && entry->type != PT_RSVD)
		world_broken("page 0x%llx is left with type %u", (unsigned long long)hpa,
			     entry->type);
	if (entry->object || entry->lock.word)
		world_broken("page 0x%llx is left with an object, or locked",
			     (unsigned long long)hpa);
	entry->owner = 0;
	entry->bepoch = 0;
}

void books_check_empty(struct world *w, bool thorough)
{
	struct tdxm_pamt_gib *gib = w->m->tdmr[0].gib[0];
	unsigned int first = WORLD_POOL / TDX_PAGE_SIZE, count = WORLD_POOL_PAGES, i;

	if (thorough) {
		first = 0;
		count = ARRAY_LEN(gib->entry_4k);
	}
	for (i = first; i < first + count; i++)
		check_host_page(&gib->entry_4k[i], i * TDX_PAGE_SIZE);
	while (w->nr_strays) {
		uint64_t hpa = w->stray[--w->nr_strays];

		check_host_page(tdxm_pamt_find(w->m, hpa), hpa);
	}
	first = thorough ? 0 : WORLD_POOL_2M / TDX_2M;
	count = thorough ? ARRAY_LEN(gib->entry_2m) : WORLD_POOL_2M_PAGES;
	for (i = first; i < first + count; i++)
		check_host_page(&gib->entry_2m[i], i * TDX_2M);
	check_host_page(&gib->entry_1g, 0);
	if (w->m->objects.head)
		world_broken("an object is left, and no page that it belongs to");
	if (w->nr_watched)
		world_broken("stores to %u pages are not welcome, and no TD is there",
			     w->nr_watched);
	for (i = WORLD_FIRST_HKID + 1; i < WORLD_FIRST_HKID + WORLD_NR_HKIDS; i++) {
		if (w->m->kot[i].state != KOT_FREE)
			world_broken("KeyID %u is left in state %u", i, w->m->kot[i].state);
	}
}
