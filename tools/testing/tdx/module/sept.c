// SPDX-License-Identifier: GPL-2.0-only
/* Secure EPT: encodings, GPA checks, walk. */
#include "module/sept.h"

#include <stdlib.h>

#include "module/model.h"

#define LEAF_BITS (SEPTE_MT_WB | SEPTE_IPAT | SEPTE_PS)
#define STATE_BITS (SEPTE_IPAT | SEPTE_PS | SEPTE_TDEX | SEPTE_TDBW | SEPTE_TDB | SEPTE_TDP)

/* Raw encoding of each state, and what of an entry the host may see in it. */
static const struct sept_encoding {
	enum tdx_sept_state state;
	uint64_t bits;
	uint64_t visible;
	bool leaf;
} encodings[] = {
	{ SEPT_FREE, SEPTE_TDEX | SEPTE_TDBW | SEPTE_TDB, SEPTE_SVE, false },
	{ SEPT_BLOCKED, LEAF_BITS | SEPTE_TDB, 0, true },
	{ SEPT_PENDING, LEAF_BITS | SEPTE_TDP, 0, true },
	{ SEPT_PENDING_BLOCKED, LEAF_BITS | SEPTE_TDB | SEPTE_TDP, 0, true },
	{ SEPT_MAPPED, LEAF_BITS | SEPTE_RWX, 0, true },
	{ SEPT_NL_BLOCKED, SEPTE_TDB, SEPTE_RWX | SEPTE_PS, false },
	{ SEPT_NL_MAPPED, SEPTE_RWX, SEPTE_RWX | SEPTE_PS, false },
};

#define LEAF_VISIBLE (SEPTE_RWX | SEPTE_MT | SEPTE_IPAT | SEPTE_PS | SEPTE_HPA | SEPTE_SVE)

static const struct sept_encoding *encoding_of(enum tdx_sept_state state)
{
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(encodings); i++) {
		if (encodings[i].state == state)
			return &encodings[i];
	}
	tdxm_bug("unknown S-EPT state");
}

uint64_t tdxm_septe_make(enum tdx_sept_state state, uint64_t hpa)
{
	return encoding_of(state)->bits | (hpa & SEPTE_HPA) | SEPTE_SVE;
}

enum tdx_sept_state tdxm_septe_state(uint64_t septe)
{
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(encodings); i++) {
		if ((encodings[i].bits & STATE_BITS) == (septe & STATE_BITS))
			return encodings[i].state;
	}
	tdxm_bug("corrupt S-EPT entry");
}

bool tdxm_sept_state_is_leaf(enum tdx_sept_state state)
{
	return encoding_of(state)->leaf;
}

void tdxm_septe_store(_Atomic uint64_t *entry, uint64_t septe)
{
	uint64_t lock = atomic_load_explicit(entry, memory_order_relaxed) & SEPTE_TDEL;

	atomic_store_explicit(entry, septe | lock, memory_order_release);
}

static void sept_page_free(struct tdxm_object *object)
{
	free((struct tdxm_sept_page *)object);
}

struct tdxm_sept_page *tdxm_sept_page_alloc(void)
{
	struct tdxm_sept_page *page = calloc(1, sizeof(*page));
	unsigned int i;

	if (!page)
		tdxm_bug("out of memory");
	page->object.kind = TDXM_OBJECT_SEPT;
	page->object.free = sept_page_free;
	for (i = 0; i < ARRAY_LEN(page->entry); i++)
		atomic_init(&page->entry[i], tdxm_septe_make(SEPT_FREE, 0));
	return page;
}

uint64_t tdxm_gpa_check_private(const struct tdxm_td *td, uint64_t gpa)
{
	/* The shared bit is the topmost bit of the GPA width. */
	if (gpa >> (td->gpa_width - 1))
		return TDX_OPERAND_INVALID + OP_RCX;
	return TDX_SUCCESS;
}

uint64_t tdxm_gpa_check(struct tdxm_call *call, uint64_t rcx, unsigned int min_level,
			unsigned int max_level)
{
	unsigned int level = rcx & TDX_GPA_LEVEL_MASK;
	uint64_t gpa = rcx & TDX_GPA_MASK;

	if (rcx & ~(TDX_GPA_MASK | TDX_GPA_LEVEL_MASK) || level < min_level || level > max_level ||
	    gpa & (TDX_LEVEL_SIZE(level) - 1))
		return TDX_OPERAND_INVALID + OP_RCX;

	call->walk.gpa = gpa;
	call->walk.want_level = level;
	return tdxm_gpa_check_private(call->td, gpa);
}

static void walk_read(struct tdxm_walk *walk)
{
	walk->value = atomic_load_explicit(walk->entry, memory_order_acquire) & ~SEPTE_TDEL;
	walk->state = tdxm_septe_state(walk->value);
}

bool tdxm_sept_find(struct tdxm *m, struct tdxm_td *td, struct tdxm_walk *walk)
{
	struct tdxm_sept_page *table = td->root;

	walk->level = td->root_level;
	for (;;) {
		struct tdxm_pamt_entry *child;
		struct tdxm_object *object;

		walk->entry = &table->entry[(walk->gpa / TDX_LEVEL_SIZE(walk->level)) % 512];
		walk_read(walk);
		if (walk->level == walk->want_level)
			return true;
		if (walk->state != SEPT_NL_MAPPED)
			return false;

		child = tdxm_pamt_find(m, walk->value & SEPTE_HPA);
		object = child ? child->object : NULL;
		if (!object)
			return false;
		table = (struct tdxm_sept_page *)object;
		walk->level--;
	}
}

uint64_t tdxm_sept_details(struct tdxm_call *call, uint64_t status)
{
	const struct tdxm_walk *walk = &call->walk;
	const struct sept_encoding *encoding = encoding_of(walk->state);
	uint64_t visible = encoding->leaf ? LEAF_VISIBLE : encoding->visible;

	call->out.rcx = walk->value & visible;
	call->out.rdx = walk->level | (uint64_t)walk->state << 8;
	return status;
}

uint64_t tdxm_sept_walk(struct tdxm_call *call)
{
	if (tdxm_sept_find(call->m, call->td, &call->walk))
		return TDX_SUCCESS;
	if (call->walk.state == SEPT_NL_MAPPED)
		tdxm_bug("S-EPT entry without an EPT page");
	return tdxm_sept_details(call, TDX_EPT_WALK_FAILED + OP_RCX);
}

uint64_t tdxm_sept_walk_lock(struct tdxm_call *call)
{
	uint64_t status = tdxm_lock(call, RES_SEPT_TREE, &call->td->sept_lock);

	if (status)
		return status;
	status = tdxm_sept_walk(call);
	if (status)
		return status;
	status = tdxm_lock_septe(call, call->walk.entry);
	if (status)
		return tdxm_sept_details(call, status);
	/* It may have changed between the walk and the lock. */
	walk_read(&call->walk);
	return TDX_SUCCESS;
}
