// SPDX-License-Identifier: GPL-2.0-only
/*
 * History of a page: a ring on its PAMT entry, allocated when the page first
 * takes part in TDX. There is no lock, as a populate records 17 events a page:
 * calls that change one page exclude each other by the locks of the model. Two
 * that only ask about it, or are refused, may mix up the one event they both
 * write, which is to be read by people only.
 */
#include "module/history.h"

#include <stdlib.h>

#include "module/model.h"

/* @key tells repetitions: leaf, LP; and in its upper half how many there were. */
struct slot {
	_Atomic uint64_t key;
	_Atomic uint64_t time_ns;
	_Atomic uint64_t tdr;
	_Atomic uint64_t status;
};

struct tdxm_history {
	_Atomic unsigned int next;
	struct slot slot[TDXM_MAX_HISTORY];
};

#define KEY(leaf, lp) ((uint64_t)(leaf) | (uint64_t)(lp) << 16)
#define KEY_MASK 0xffffffffULL
#define KEY_ONE BIT_U64(32)

#define LOAD(p) atomic_load_explicit(p, memory_order_relaxed)
#define STORE(p, value) atomic_store_explicit(p, value, memory_order_relaxed)

static struct tdxm_history *ring_of(struct tdxm_pamt_entry *entry)
{
	struct tdxm_history *ring = atomic_load_explicit(&entry->history, memory_order_acquire);
	struct tdxm_history *first = NULL;

	if (ring)
		return ring;
	ring = calloc(1, sizeof(*ring));
	if (!ring)
		tdxm_bug("out of memory");
	if (atomic_compare_exchange_strong(&entry->history, &first, ring))
		return ring;
	free(ring);
	return first;
}

static void add(struct tdxm_pamt_entry *entry, const struct tdxm_history_event *event)
{
	struct tdxm_history *ring = ring_of(entry);
	uint64_t key = KEY(event->leaf, event->lp);
	unsigned int next = LOAD(&ring->next);
	struct slot *slot = &ring->slot[(next - 1) % TDXM_MAX_HISTORY];
	uint64_t last = LOAD(&slot->key);

	/* MR.EXTEND comes sixteen times, and a retry as often as it takes. */
	if (next && (last & KEY_MASK) == key && LOAD(&slot->status) == event->status &&
	    LOAD(&slot->tdr) == event->tdr) {
		STORE(&slot->key, last + KEY_ONE);
		return;
	}
	next = atomic_fetch_add_explicit(&ring->next, 1, memory_order_relaxed);
	slot = &ring->slot[next % TDXM_MAX_HISTORY];
	STORE(&slot->key, key + KEY_ONE);
	STORE(&slot->time_ns, event->time_ns);
	STORE(&slot->tdr, event->tdr);
	STORE(&slot->status, event->status);
}

static struct tdxm_pamt_entry *walked(const struct tdxm_call *call)
{
	const struct tdxm_walk *walk = &call->walk;

	if (!walk->entry || !(walk->value & SEPTE_HPA))
		return NULL;
	/* The leaf page, or the EPT page below. */
	return tdxm_pamt_find_level(call->m, walk->value & SEPTE_HPA,
				    tdxm_sept_state_is_leaf(walk->state) ? walk->level : 0);
}

/* The page that the leaf is about, as far as the call has found it. */
static struct tdxm_pamt_entry *page_of(const struct tdxm_call *call)
{
	switch (call->leaf->number) {
	case TDH_MNG_CREATE:
	case TDH_MNG_ADDCX:
	case TDH_VP_CREATE:
	case TDH_VP_ADDCX:
	case TDH_MEM_SEPT_ADD:
	case TDH_MEM_PAGE_ADD:
	case TDH_MEM_PAGE_AUG:
	case TDH_PHYMEM_PAGE_RECLAIM:
	case TDH_PHYMEM_PAGE_WBINVD:
		return call->page.entry;
	case TDH_MEM_RANGE_BLOCK:
	case TDH_MEM_PAGE_REMOVE:
	case TDH_MR_EXTEND:
		return walked(call);
	case TDH_VP_INIT:
	case TDH_VP_FLUSH:
		return call->tdvpr_page.entry;
	case TDH_MNG_KEY_CONFIG:
	case TDH_MNG_INIT:
	case TDH_MR_FINALIZE:
	case TDH_MEM_TRACK:
	case TDH_MNG_VPFLUSHDONE:
	case TDH_MNG_KEY_FREEID:
		return call->tdr_page.entry;
	default:
		return NULL;
	}
}

void tdxm_history_record(const struct tdxm_call *call, uint64_t status)
{
	struct tdxm_pamt_entry *entry = page_of(call);

	if (!entry)
		return;
	add(entry, &(struct tdxm_history_event) {
			   .leaf = call->leaf->number,
			   .lp = call->lp,
			   .time_ns = call->start_ns - call->m->power_on_ns,
			   /* Not by call->td, which RECLAIM of the TDR has freed. */
			   .tdr = call->tdr_page.entry ? call->tdr_page.hpa : 0,
			   .status = status,
		   });
}

static unsigned int read_ring(struct tdxm_history *ring, struct tdxm_history_event *events)
{
	unsigned int next = ring ? LOAD(&ring->next) : 0, count, i;

	count = next < TDXM_MAX_HISTORY ? next : TDXM_MAX_HISTORY;
	for (i = 0; i < count; i++) {
		struct slot *slot = &ring->slot[(next - count + i) % TDXM_MAX_HISTORY];
		uint64_t key = LOAD(&slot->key);

		events[i] = (struct tdxm_history_event) {
			.leaf = key & 0xffff,
			.lp = (key & KEY_MASK) >> 16,
			.count = key >> 32,
			.time_ns = LOAD(&slot->time_ns),
			.tdr = LOAD(&slot->tdr),
			.status = LOAD(&slot->status),
		};
	}
	return count;
}

static int by_time(const void *a, const void *b)
{
	const struct tdxm_history_event *x = a, *y = b;

	return x->time_ns < y->time_ns ? -1 : x->time_ns > y->time_ns;
}

unsigned int tdxm_history_get(struct tdxm *m, uint64_t hpa,
			      struct tdxm_history_event events[TDXM_MAX_HISTORY])
{
	struct tdxm_history_event all[2 * TDXM_MAX_HISTORY];
	unsigned int level, count = 0, skip;

	for (level = 0; level < 2; level++) {
		struct tdxm_pamt_entry *entry = tdxm_pamt_find_level(m, hpa, level);

		if (entry)
			count += read_ring(atomic_load(&entry->history), &all[count]);
	}
	qsort(all, count, sizeof(all[0]), by_time);
	skip = count > TDXM_MAX_HISTORY ? count - TDXM_MAX_HISTORY : 0;
	__builtin_memcpy(events, &all[skip], (count - skip) * sizeof(all[0]));
	return count - skip;
}

void tdxm_history_free(struct tdxm_pamt_entry *entry)
{
	free(atomic_load(&entry->history));
}
