/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The final-state oracle: which pages may be mapped, which may be empty, after
 * operations that ran at the same time.
 *
 * An operation overrides another one on the same page if it began after that one
 * had ended.  A page may be mapped if an add put it there that nothing overrides,
 * and empty if that is so of a removal; operations that overlapped leave it open
 * which of them came last.  No more is assumed of what they do to each other.
 */
#ifndef TDX_INIT_MEM_ORACLE_H
#define TDX_INIT_MEM_ORACLE_H

#include "tdx_init_mem.h"

enum td_effect {
	TD_ADDED,
	TD_PUNCHED,
	TD_UNMAPPED, /* removed from the TD, while the file still has it */
};

/* When it was, on the oracle's clock, that ... */
struct td_oracle_page {
	u64 began;	  /* the last operation began that changed the page */
	u64 added;	  /* the last add of it was over */
	u64 removed;	  /* the last removal of it was over */
	u64 converting;	  /* the last conversion of it began */
	u64 made_shared;  /* the last one to shared was over */
	u64 made_private; /* the last one to private was over */
	bool kept;	  /* it was unmapped, and may not have been punched since */
};

struct td_oracle {
	struct td *td;
	u64 tdr; /* 0 where the module cannot be asked */
	u64 clock;
	pthread_mutex_t lock;
	struct td_oracle_page pages[TD_NR_PAGES];
};

/* All pages of the slot are private and empty. */
static inline void td_oracle_init(struct td_oracle *oracle, struct td *td)
{
	struct tdx_emul_td newest;
	unsigned int page;

	*oracle = (struct td_oracle) { .td = td, .clock = 1 };
	oracle->tdr = tdx_emul_newest_td(&newest) ? 0 : newest.tdr;
	pthread_mutex_init(&oracle->lock, NULL);
	for (page = 0; page < TD_NR_PAGES; page++)
		oracle->pages[page] = (struct td_oracle_page) { .removed = 1, .made_private = 1 };
}

static inline u64 td_oracle_tick(struct td_oracle *oracle)
{
	return __atomic_add_fetch(&oracle->clock, 1, __ATOMIC_SEQ_CST);
}

static inline void td_oracle_later(u64 *when, u64 now)
{
	if (*when < now)
		*when = now;
}

static inline void td_oracle_end_page(struct td_oracle_page *page, u64 began, u64 now,
				      enum td_effect effect)
{
	if (effect == TD_UNMAPPED)
		page->kept = true;
	else if (effect == TD_PUNCHED && began > page->added && began > page->removed)
		page->kept = false;

	/* Operations that overlap may end here in any order. */
	td_oracle_later(&page->began, began);
	td_oracle_later(effect == TD_ADDED ? &page->added : &page->removed, now);
}

/* An operation that began at td_oracle_tick() is over; pages outside the slot don't matter. */
static inline void td_oracle_end(struct td_oracle *oracle, u64 began, enum td_effect effect,
				 unsigned int first, unsigned int nr)
{
	u64 now = td_oracle_tick(oracle);
	unsigned int page;

	pthread_mutex_lock(&oracle->lock);
	for (page = first; page < first + nr && page < TD_NR_PAGES; page++)
		td_oracle_end_page(&oracle->pages[page], began, now, effect);
	pthread_mutex_unlock(&oracle->lock);
}

/* Populate by @region from page @first on, until it is consumed or an error; 0 or -errno. */
static inline int td_oracle_populate(struct td_oracle *oracle, struct td_populate *populate)
{
	unsigned int first = (populate->region.gpa - TD_GPA) / PAGE_SIZE;
	u64 began = td_oracle_tick(oracle), nr = populate->region.nr_pages;
	int r = td_populate_fn(populate);

	td_oracle_end(oracle, began, TD_ADDED, first, nr - populate->region.nr_pages);
	return r;
}

static inline int td_oracle_add(struct td_oracle *oracle, unsigned int page, unsigned int nr)
{
	struct td_populate populate = {};

	td_populate_prepare(&populate, oracle->td, td_source(oracle->td, page), page, nr);
	return td_oracle_populate(oracle, &populate);
}

static inline int td_oracle_punch(struct td_oracle *oracle, unsigned int page, unsigned int nr)
{
	u64 began = td_oracle_tick(oracle);
	int r = td_punch(oracle->td, page, nr);

	if (!r)
		td_oracle_end(oracle, began, TD_PUNCHED, page, nr);
	return r;
}

/* Shared, and nobody is about to change that: so it is empty. */
static inline bool td_oracle_is_shared(const struct td_oracle_page *page)
{
	return page->made_shared > page->converting && page->made_private < page->converting;
}

static inline void td_oracle_converting(struct td_oracle *oracle, unsigned int first,
					unsigned int nr)
{
	unsigned int page;

	pthread_mutex_lock(&oracle->lock);
	for (page = first; page < first + nr && page < TD_NR_PAGES; page++) {
		struct td_oracle_page *history = &oracle->pages[page];

		/* From now on it may be mapped; that it is not yet is worth to be noted. */
		if (td_oracle_is_shared(history)) {
			history->began = td_oracle_tick(oracle);
			history->removed = td_oracle_tick(oracle);
		}
		history->converting = td_oracle_tick(oracle);
	}
	pthread_mutex_unlock(&oracle->lock);
}

static inline void td_oracle_converted(struct td_oracle *oracle, unsigned int first,
				       unsigned int nr, bool to_private)
{
	u64 now = td_oracle_tick(oracle);
	unsigned int page;

	pthread_mutex_lock(&oracle->lock);
	for (page = first; page < first + nr && page < TD_NR_PAGES; page++) {
		struct td_oracle_page *history = &oracle->pages[page];

		td_oracle_later(to_private ? &history->made_private : &history->made_shared, now);
	}
	pthread_mutex_unlock(&oracle->lock);
}

/* To shared unmaps the pages; to private allows them to be mapped, no more. */
static inline int td_oracle_convert(struct td_oracle *oracle, unsigned int page, unsigned int nr,
				    bool to_private)
{
	struct kvm_memory_attributes attributes = {
		.address = td_gpa(page),
		.size = nr * (u64)PAGE_SIZE,
		.attributes = to_private ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0,
	};
	u64 began = td_oracle_tick(oracle);

	td_oracle_converting(oracle, page, nr);
	if (__vm_ioctl(oracle->td->vm, KVM_SET_MEMORY_ATTRIBUTES, &attributes))
		return -errno;

	if (!to_private)
		td_oracle_end(oracle, began, TD_UNMAPPED, page, nr);
	td_oracle_converted(oracle, page, nr, to_private);
	return 0;
}

static inline bool td_oracle_allows(const struct td_oracle_page *page, enum td_page state)
{
	if (state == TD_PAGE_WAS_MAPPED)
		return page->added > page->began && !td_oracle_is_shared(page);

	return state == TD_PAGE_WAS_EMPTY && page->removed > page->began;
}

/*
 * Only the module itself tells whether a shared page is mapped; and up to 6.19 a
 * page that was removed, but not from the file, is refused as one that is there.
 */
static inline bool td_oracle_is_blind(const struct td_oracle *oracle, unsigned int page)
{
	const struct td_oracle_page *history = &oracle->pages[page];

	return !oracle->tdr && (td_oracle_is_shared(history) ||
				(history->kept && tdx_host_kernel() < TDX_KERNEL(7, 0)));
}

/* Asks the module, or else adds the page, unless it is there. */
static inline enum td_page td_oracle_look(struct td_oracle *oracle, unsigned int page)
{
	u64 began = td_oracle_tick(oracle);
	struct tdx_emul_sept sept;
	enum td_page got;

	if (!oracle->tdr) {
		got = td_probe(oracle->td, page);
		if (got == TD_PAGE_WAS_EMPTY)
			td_oracle_end(oracle, began, TD_ADDED, page, 1);
		return got;
	}

	if (tdx_emul_sept(oracle->tdr, td_gpa(page), 0, &sept))
		return TD_PAGE_BROKEN;
	if (sept.state == TDX_SEPT_FREE)
		return TD_PAGE_WAS_EMPTY;

	return !sept.level && sept.state == TDX_SEPT_MAPPED ? TD_PAGE_WAS_MAPPED : TD_PAGE_BROKEN;
}

/* A mapped page has the contents of its own source page. */
static inline bool td_oracle_is_true(struct td_oracle *oracle, unsigned int page)
{
	u8 content[TDX_EMUL_READ_SIZE];

	return !oracle->tdr || (!tdx_emul_read(oracle->tdr, td_gpa(page), content) &&
				!memcmp(content, td_source(oracle->td, page), sizeof(content)));
}

/* Nothing is under way, and the TD is not finalized: are the pages what they may be? */
static inline void td_oracle_expect(struct __test_metadata *_metadata, struct td_oracle *oracle)
{
	unsigned int page;

	for (page = 0; page < TD_NR_PAGES; page++) {
		const struct td_oracle_page history = oracle->pages[page];
		bool mapped = td_oracle_allows(&history, TD_PAGE_WAS_MAPPED);
		bool empty = td_oracle_allows(&history, TD_PAGE_WAS_EMPTY);
		const char *want = !mapped ? "empty" : empty ? "mapped or empty" : "mapped";
		enum td_page got;

		if (td_oracle_is_blind(oracle, page))
			continue;

		got = td_oracle_look(oracle, page);
		EXPECT_TRUE(td_oracle_allows(&history, got))
		{
			TH_LOG("page %u: want %s, got %s", page, want, td_page_name(got));
			TH_LOG("  last add over at %lu, last removal at %lu, last begun at %lu%s",
			       history.added, history.removed, history.began,
			       td_oracle_is_shared(&history) ? ", is shared" : "");
		}
		EXPECT_TRUE(got != TD_PAGE_WAS_MAPPED || td_oracle_is_true(oracle, page))
		{
			TH_LOG("page %u: not the contents of its source", page);
		}
	}
}

#endif /* TDX_INIT_MEM_ORACLE_H */
