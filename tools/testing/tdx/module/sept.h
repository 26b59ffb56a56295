/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Secure EPT: entry encodings, the walk, and the checks on a GPA operand that
 * all leaves of the MEM class share.
 */
#ifndef TDXM_SEPT_H
#define TDXM_SEPT_H

#include <stdbool.h>
#include <stdint.h>

#include "module/object.h"
#include "module/tdx_spec.h"

struct tdxm;
struct tdxm_call;
struct tdxm_td;

/* Object of an EPT page; that of the root belongs to the TD. */
struct tdxm_sept_page {
	struct tdxm_object object;
	_Atomic uint64_t entry[512];
};

/* Where a walk ended. */
struct tdxm_walk {
	uint64_t gpa;
	unsigned int want_level;
	unsigned int level; /* of the entry, == want_level on success */
	_Atomic uint64_t *entry;
	uint64_t value; /* entry as read, without the lock bit */
	enum tdx_sept_state state;
};

struct tdxm_sept_page *tdxm_sept_page_alloc(void);

uint64_t tdxm_septe_make(enum tdx_sept_state state, uint64_t hpa);
enum tdx_sept_state tdxm_septe_state(uint64_t septe);
bool tdxm_sept_state_is_leaf(enum tdx_sept_state state);
/* Store a new state into an entry that the call owns; keeps the lock bit. */
void tdxm_septe_store(_Atomic uint64_t *entry, uint64_t septe);

/* RCX = level and GPA. INV+RCX, also for a GPA that is shared or too wide. */
uint64_t tdxm_gpa_check(struct tdxm_call *call, uint64_t rcx, unsigned int min_level,
			unsigned int max_level);
/* Only the second half: is @gpa private and inside the GPA width? */
uint64_t tdxm_gpa_check_private(const struct tdxm_td *td, uint64_t gpa);

/*
 * The walk itself, of walk->gpa to walk->want_level. Fails at a leaf, at an
 * entry that is not present, and at one whose EPT page is reclaimed already.
 */
bool tdxm_sept_find(struct tdxm *m, struct tdxm_td *td, struct tdxm_walk *walk);

/*
 * Walk to call->walk.want_level. On failure, EPT_WALK_FAILED+RCX with details in
 * RCX and RDX. tdxm_sept_walk_lock() also takes the tree lock before and the
 * entry lock behind.
 */
uint64_t tdxm_sept_walk(struct tdxm_call *call);
uint64_t tdxm_sept_walk_lock(struct tdxm_call *call);
/* Put entry and level/state word of the walk into RCX and RDX, and pass @status on. */
uint64_t tdxm_sept_details(struct tdxm_call *call, uint64_t status);

#endif /* TDXM_SEPT_H */
