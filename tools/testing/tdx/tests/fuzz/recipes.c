// SPDX-License-Identifier: GPL-2.0-only
/* What KVM does to build a TD, to zap a page, and to take all down again. */
#include "tests/fuzz/alphabet.h"
#include "tests/fuzz/books.h"
#include "tests/fuzz/call.h"

static uint64_t on_lp0(struct world *w, uint64_t leaf, uint64_t rcx, uint64_t rdx, uint64_t r8)
{
	return fuzz_call4(w, 0, leaf, rcx, rdx, r8, WORLD_SOURCE);
}

static void add_vcpu(struct world *w, uint64_t tdr, unsigned int lp, uint64_t x2apic_id)
{
	uint64_t tdvpr = alphabet_fresh_page(w, 0);
	unsigned int i;

	if (on_lp0(w, TDH_VP_CREATE, tdvpr, tdr, 0))
		return;
	for (i = 1; i < TDX_TDVPS_PAGES; i++)
		on_lp0(w, TDH_VP_ADDCX, alphabet_fresh_page(w, 0), tdvpr, 0);
	fuzz_call4(w, lp, TDH_VP_INIT | 1 << TDX_RAX_VERSION_SHIFT, tdvpr, 0, x2apic_id, 0);
}

static void add_tables(struct world *w, uint64_t tdr)
{
	struct tdx_td_params *params = world_at(w, WORLD_PARAMS);
	unsigned int level = params->eptp_controls >> 3 & 7;

	for (; level; level--)
		on_lp0(w, TDH_MEM_SEPT_ADD, level, tdr, alphabet_fresh_page(w, 0));
}

/* One stage in the life of a TD. */
static void stage(struct world *w, unsigned int nr, uint64_t tdr)
{
	unsigned int i;

	switch (nr) {
	case 0:
		on_lp0(w, TDH_MNG_CREATE, tdr, alphabet_free_hkid(w), 0);
		break;
	case 1:
		for (i = 0; i < WORLD_NR_PACKAGES; i++)
			fuzz_call4(w, i, TDH_MNG_KEY_CONFIG, tdr, 0, 0, 0);
		break;
	case 2:
		for (i = 0; i < TDX_TDCS_PAGES; i++)
			on_lp0(w, TDH_MNG_ADDCX, alphabet_fresh_page(w, 0), tdr, 0);
		break;
	case 3:
		on_lp0(w, TDH_MNG_INIT, tdr, WORLD_PARAMS, 0);
		break;
	case 4:
		add_vcpu(w, tdr, 1, books_count(w, PT_TDVPR, tdr));
		break;
	case 5:
		add_tables(w, tdr);
		break;
	case 6:
		on_lp0(w, TDH_MEM_PAGE_ADD, 0, tdr, alphabet_fresh_page(w, 0));
		on_lp0(w, TDH_MR_EXTEND, 0, tdr, 0);
		break;
	case 7:
		on_lp0(w, TDH_MR_FINALIZE, tdr, 0, 0);
		break;
	}
}

/* From one stage to another: stage 0 makes a new TD, else it is one that there is. */
void recipe_build(struct world *w, struct input *in, const struct letter *letter)
{
	uint8_t stages = input_u8(in);
	unsigned int nr = stages % 8, last = nr + stages / 8 % 8;
	uint64_t tdr = w->nr_tds && nr ? w->td[stages / 64 % w->nr_tds].tdr :
					 alphabet_fresh_page(w, 0);

	(void)letter;
	w->routine = true;
	for (; nr <= last; nr++)
		stage(w, nr, tdr);
	w->routine = false;
}

void recipe_vcpu(struct world *w, struct input *in, const struct letter *letter)
{
	uint8_t how = input_u8(in);

	(void)letter;
	w->routine = true;
	if (w->nr_tds)
		add_vcpu(w, w->td[how % w->nr_tds].tdr, how / 4 % WORLD_NR_LPS, how / 16);
	w->routine = false;
}

static void write_back(struct world *w, struct book_page *page)
{
	uint64_t hpa, end = page->hpa + TDX_LEVEL_SIZE(page->level);

	for (hpa = page->hpa; hpa < end; hpa += TDX_PAGE_SIZE)
		fuzz_call4(w, 0, TDH_PHYMEM_PAGE_WBINVD, WITH_KEYID(hpa, page->hkid), 0, 0, 0);
}

void recipe_zap(struct world *w, struct input *in, const struct letter *letter)
{
	unsigned int count = books_count(w, PT_REG, 0);
	uint8_t how = input_u8(in);
	struct book_page page;
	uint64_t rcx;

	(void)letter;
	if (!count)
		return;
	page = *books_nth(w, how % count, PT_REG, 0);
	rcx = page.gpa | page.level;
	on_lp0(w, TDH_MEM_RANGE_BLOCK, rcx, page.tdr, 0);
	on_lp0(w, TDH_MEM_TRACK, page.tdr, 0, 0);
	on_lp0(w, TDH_MEM_PAGE_REMOVE, rcx, page.tdr, 0);
}

/* Statuses that say that an input was there before. */
static void expect(uint64_t status, uint64_t other, const char *what)
{
	if (status && tdx_status_code(status) != other)
		world_broken("teardown: %s: %s (0x%llx)", what, tdxm_status_name(status),
			     (unsigned long long)status);
}

static void release_key(struct world *w, uint64_t tdr)
{
	unsigned int i;

	for (i = 0; i < WORLD_NR_PACKAGES; i++)
		expect(fuzz_call4(w, i, TDH_PHYMEM_CACHE_WB, 0, 0, 0, 0),
		       TDX_NO_HKID_READY_TO_WBCACHE, "CACHE.WB");
	expect(on_lp0(w, TDH_MNG_KEY_FREEID, tdr, 0, 0), TDX_LIFECYCLE_STATE_INCORRECT,
	       "KEY.FREEID");
}

void recipe_release_key(struct world *w, struct input *in, const struct letter *letter)
{
	uint8_t which = input_u8(in);
	unsigned int i;

	(void)letter;
	if (!w->nr_tds)
		return;
	on_lp0(w, TDH_MNG_VPFLUSHDONE, w->td[which % w->nr_tds].tdr, 0, 0);
	for (i = 0; i < WORLD_NR_PACKAGES; i++)
		fuzz_call4(w, i, TDH_PHYMEM_CACHE_WB, 0, 0, 0, 0);
	on_lp0(w, TDH_MNG_KEY_FREEID, w->td[which % w->nr_tds].tdr, 0, 0);
}

static void flush_vcpus(struct world *w, uint64_t tdr)
{
	unsigned int count = books_count(w, PT_TDVPR, tdr), i, lp;

	for (i = 0; i < count; i++) {
		uint64_t tdvpr = books_nth(w, i, PT_TDVPR, tdr)->hpa;

		/* KVM knows where it ran last, or asks everywhere, too. */
		for (lp = 0; lp < WORLD_NR_LPS; lp++) {
			uint64_t status = fuzz_call4(w, lp, TDH_VP_FLUSH, tdvpr, 0, 0, 0);

			if (tdx_status_code(status) != TDX_TD_KEYS_NOT_CONFIGURED &&
			    tdx_status_code(status) != TDX_TDCX_NUM_INCORRECT)
				expect(status, TDX_VCPU_NOT_ASSOCIATED, "VP.FLUSH");
		}
	}
}

static void teardown_td(struct world *w, uint64_t tdr)
{
	struct book_page *page;

	flush_vcpus(w, tdr);
	expect(on_lp0(w, TDH_MNG_VPFLUSHDONE, tdr, 0, 0), TDX_LIFECYCLE_STATE_INCORRECT,
	       "VPFLUSHDONE");
	release_key(w, tdr);
	while ((page = books_nth(w, 0, 0, tdr)))
		expect(on_lp0(w, TDH_PHYMEM_PAGE_RECLAIM, page->hpa, 0, 0), TDX_SUCCESS,
		       "RECLAIM of a page");
	expect(on_lp0(w, TDH_PHYMEM_PAGE_RECLAIM, tdr, 0, 0), TDX_SUCCESS, "RECLAIM of the TDR");
}

void recipe_teardown(struct world *w)
{
	unsigned int i;

	/* Let go of all, and heal what is around. */
	tdxm_disarm(w->m, 0);
	tdxm_set_busy_once(w->m, false);
	tdxm_set_latency(w->m, 100);
	for (i = 0; i < WORLD_CONTEXTS; i++)
		fuzz_resume(w, i);
	if (w->nr_pending)
		world_broken("a call is held, and no rule is there");
	for (i = 0; i < WORLD_NR_LPS; i++) {
		w->lp_state[i][TDXM_LP_NO_ENTROPY] = 0;
		w->lp_state[i][TDXM_LP_INTERRUPTED] = 0;
	}

	w->routine = true;
	while (w->nr_tds)
		teardown_td(w, w->td[0].tdr);
	while (w->nr_pages) {
		write_back(w, &w->page[0]);
		books_drop(w, &w->page[0]);
	}
	w->routine = false;
}
