/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest_memfd that is bound to a TD: what its pages contain and where they are, as
 * the TDX module has them.
 */
#ifndef TDX_INIT_MEM_GMEM_TD_H
#define TDX_INIT_MEM_GMEM_TD_H

#include "tdx_init_mem_gmem.h"
#include "tdx/tdx_emul.h"

static inline u64 gmem_hpa(const struct gmem *g, u64 tdr, unsigned int page)
{
	struct tdx_emul_sept sept;
	int r = tdx_emul_sept(tdr, gmem_gpa(g, page), 0, &sept);

	return !r && !sept.level ? sept.hpa : 0;
}

static inline int gmem_not_in_state(const struct gmem *g, u64 tdr, unsigned int first,
				    unsigned int nr, unsigned int state)
{
	struct tdx_emul_sept sept;
	unsigned int page;

	for (page = first; page < first + nr; page++) {
		if (!gmem_is_used(g, page))
			continue;
		if (tdx_emul_sept(tdr, gmem_gpa(g, page), 0, &sept) || sept.state != state)
			return page;
	}

	return NO_PAGE;
}

static inline int gmem_not_mapped(const struct gmem *g, u64 tdr, unsigned int first,
				  unsigned int nr)
{
	return gmem_not_in_state(g, tdr, first, nr, TDX_SEPT_MAPPED);
}

static inline int gmem_not_free(const struct gmem *g, u64 tdr, unsigned int first, unsigned int nr)
{
	return gmem_not_in_state(g, tdr, first, nr, TDX_SEPT_FREE);
}

/* Pages that are not mapped, or differ from the source. */
static inline int gmem_not_source(const struct gmem *g, u64 tdr, unsigned int first,
				  unsigned int nr)
{
	u64 words[TDX_EMUL_READ_SIZE / sizeof(u64)];
	unsigned int page;

	for (page = first; page < first + nr; page++) {
		u64 want = *(u64 *)gmem_source(g, page);

		if (!gmem_is_used(g, page))
			continue;
		if (tdx_emul_read(tdr, gmem_gpa(g, page) + gmem_sample(page), words) ||
		    !gmem_is(words, want, sizeof(words)))
			return page;
	}

	return NO_PAGE;
}

/* The used pages of a range inside 2 MiB of the file are where one folio has them. */
static inline bool gmem_is_one_folio(const struct gmem *g, u64 tdr, unsigned int first,
				     unsigned int nr)
{
	unsigned int page;
	u64 base = 0;

	for (page = first; page < first + nr; page++) {
		u64 offset = page % FOLIO_PAGES * (u64)PAGE_SIZE, hpa;

		if (!gmem_is_used(g, page))
			continue;
		hpa = gmem_hpa(g, tdr, page);
		if (!base)
			base = hpa - offset;
		if (!hpa || base % FOLIO_SIZE || hpa != base + offset)
			return false;
	}

	return base;
}

/* The TD of most tests. */
struct gmem_td {
	struct td td;
	struct gmem g;
	u64 tdr;
};

/* Why there is no such TD whose memory a test can look into, or NULL. */
static inline const char *gmem_td_lacks(bool huge)
{
	return gmem_lacks(huge) ?: tdx_emul_lacks();
}

static inline void __gmem_td_create(struct gmem_td *t, unsigned int nr_pages, bool huge, u64 gpa,
				    u64 flags)
{
	struct tdx_emul_td newest;
	u64 former;

	/* Thousands of pages: no time for what SEAMCALLs take. */
	tdx_emul_latency(0, &former);
	td_create(&t->td);
	TEST_ASSERT(!tdx_emul_newest_td(&newest), "the emulator does not know the TD");
	t->tdr = newest.tdr;
	gmem_create(&t->g, t->td.vm, nr_pages, huge, flags, gpa);
}

static inline void gmem_td_create(struct gmem_td *t, unsigned int nr_pages, bool huge, u64 gpa)
{
	__gmem_td_create(t, nr_pages, huge, gpa, 0);
}

static inline void gmem_td_destroy(struct gmem_td *t)
{
	td_destroy(&t->td);
	gmem_free(&t->g);
	tdx_emul_reset();
}

/* The TD is well: it can be finalized, which it can but once. */
static inline void gmem_td_finalize(struct __test_metadata *_metadata, struct gmem_td *t)
{
	int r = __vm_tdx_finalize(t->td.vm);

	EXPECT_EQ(0, r)
	{
		TH_LOG("FINALIZE_VM: want success, got %s%s", tdx_errno_name(errno),
		       vm_tdx_is_dead(t->td.vm) ? ", VM is dead" : "");
	}
	EXPECT_FALSE(vm_tdx_is_dead(t->td.vm));
}

static inline void gmem_expect_source(struct __test_metadata *_metadata, const struct gmem_td *t,
				      unsigned int first, unsigned int nr)
{
	int page = gmem_not_source(&t->g, t->tdr, first, nr);

	EXPECT_EQ(NO_PAGE, page)
	{
		TH_LOG("that page of %u+%u %s", first, nr,
		       gmem_not_mapped(&t->g, t->tdr, page, 1) == NO_PAGE ?
			       "has not the contents of its source" :
			       "is not mapped");
	}
}

static inline void gmem_expect_free(struct __test_metadata *_metadata, const struct gmem_td *t,
				    unsigned int first, unsigned int nr)
{
	EXPECT_EQ(NO_PAGE, gmem_not_free(&t->g, t->tdr, first, nr))
	{
		TH_LOG("that page of %u+%u is still there", first, nr);
	}
}

/* One TD with a file of two folios in one slot, as most tests of huge folios need it. */
static inline void gmem_folios_create(struct __test_metadata *_metadata, struct gmem_td *t,
				      unsigned int *nr_huge)
{
	*nr_huge = gmem_nr_huge();
	gmem_td_create(t, 2 * FOLIO_PAGES, true, GMEM_GPA);
	t->g.sparse = true;
	ASSERT_EQ(0, gmem_bind(&t->g, GMEM_SLOT, 0, 2 * FOLIO_PAGES));
}

static inline void gmem_folios_destroy(struct __test_metadata *_metadata, struct gmem_td *t,
				       unsigned int nr_huge)
{
	gmem_td_destroy(t);
	gmem_expect_nr_huge(_metadata, nr_huge, 0);
	td_audit(_metadata);
}

#endif /* TDX_INIT_MEM_GMEM_TD_H */
