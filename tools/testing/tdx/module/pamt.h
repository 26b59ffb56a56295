/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Physical address metadata: what the module knows about every page of a TDMR.
 * Kept in the model's memory; the PAMT pages that the kernel donates are only
 * reserved.
 */
#ifndef TDXM_PAMT_H
#define TDXM_PAMT_H

#include <stdbool.h>
#include <stdint.h>

#include "module/locks.h"
#include "module/tdx_spec.h"

struct tdxm;
struct tdxm_call;
struct tdxm_history;
struct tdxm_object;

/*
 * @type is read without the lock by a 2M allocation, @bepoch written without it
 * by RANGE.BLOCK. @object is the model's state of a TDR, TDVPR or EPT page.
 * @stale_hkid: KeyID + 1 whose dirty cache lines may still cover a page that was
 * given back, 0 if none. @extended: chunks of a REG page that MR.EXTEND measured.
 */
struct tdxm_pamt_entry {
	struct sharex lock;
	_Atomic uint8_t type; /* enum tdx_page_type */
	_Atomic uint16_t stale_hkid;
	_Atomic uint64_t owner; /* hpa of the TDR */
	_Atomic uint64_t bepoch;
	struct tdxm_object *_Atomic object;
	struct tdxm_history *_Atomic history;
	_Atomic uint16_t extended;
};

/*
 * The metadata of one GiB, present once TDH.SYS.TDMR.INIT reached it. @touched: a
 * 2M range of which a call has locked a page; all others are as they were made.
 */
struct tdxm_pamt_gib {
	struct tdxm_pamt_entry entry_1g;
	struct tdxm_pamt_entry entry_2m[512];
	struct tdxm_pamt_entry entry_4k[512 * 512];
	_Atomic bool touched[512];
};

/* A page as a call found it. */
struct tdxm_page {
	uint64_t hpa;
	unsigned int level;
	struct tdxm_pamt_entry *entry;
};

/* Entry of the 4K page at @hpa, NULL outside of the initialised TDMRs. Takes no lock. */
struct tdxm_pamt_entry *tdxm_pamt_find(struct tdxm *m, uint64_t hpa);
/* Entry of a leaf page at @level; NULL as above. */
struct tdxm_pamt_entry *tdxm_pamt_find_level(struct tdxm *m, uint64_t hpa, unsigned int level);
/* Entry that says who owns the 4K page at @hpa: that of the 2M page if it is part of one. */
struct tdxm_pamt_entry *tdxm_pamt_find_leaf(struct tdxm *m, uint64_t hpa);
/* True when a TD owns the page, at whatever size it is. Takes no lock. */
bool tdxm_pamt_td_owned(struct tdxm *m, uint64_t hpa);

/*
 * Lock the page that @operand names, at the size the PAMT has it, in the mode
 * of the lock matrix. Answers INV, RANGE or BUSY with the operand id.
 */
uint64_t tdxm_page_lock_any(struct tdxm_call *call, enum tdxm_resource res, uint64_t hpa,
			    struct tdxm_page *page);
/* The same for a 4K page that must have type @type, else PAGE_METADATA_INCORRECT. */
uint64_t tdxm_page_lock_4k(struct tdxm_call *call, enum tdxm_resource res, uint64_t hpa,
			   enum tdx_page_type type, struct tdxm_page *page);
/* 2M page, it and all its parts NDA. */
uint64_t tdxm_page_lock_2m_nda(struct tdxm_call *call, enum tdxm_resource res, uint64_t hpa,
			       struct tdxm_page *page);

/* Commit: hand a page that is locked exclusively to a TD, or give it back. */
void tdxm_page_assign(struct tdxm *m, struct tdxm_page *page, enum tdx_page_type type,
		      uint64_t owner, struct tdxm_object *object);
/* Owner and BEPOCH stay as they were, as in hardware. Frees the object. */
void tdxm_page_release(struct tdxm *m, struct tdxm_page *page);
/* Note that lines of @hkid may be dirty until PHYMEM.PAGE.WBINVD. */
void tdxm_page_set_stale(struct tdxm *m, const struct tdxm_page *page, uint16_t hkid);
/* There are none any more. */
void tdxm_page_written_back(struct tdxm *m, const struct tdxm_page *page);

/*
 * Entries that calls have had to do with, at 2M (@level 1) and 4K, until @fn says
 * false. Takes no lock.
 */
void tdxm_pamt_for_each(struct tdxm *m,
			bool (*fn)(void *arg, uint64_t hpa, unsigned int level,
				   struct tdxm_pamt_entry *entry),
			void *arg);
/* A page of that type and owner, or TDXM_NO_PAGE. */
uint64_t tdxm_pamt_find_owned(struct tdxm *m, uint64_t tdr, enum tdx_page_type type);
/* True when @hpa is in memory that the kernel gave for PAMTs. */
bool tdxm_in_pamt(const struct tdxm *m, uint64_t hpa);
/* Say that the host must not store to the PAMTs, or that it may again. */
void tdxm_pamt_watch(struct tdxm *m, bool watch);
const char *tdxm_page_type_name(unsigned int type);
void tdxm_pamt_free(struct tdxm *m);

#endif /* TDXM_PAMT_H */
