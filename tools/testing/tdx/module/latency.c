// SPDX-License-Identifier: GPL-2.0-only
/*
 * How long leaves last. On hardware a leaf takes a microsecond or more, with its
 * locks held; a model that is done in no time would hide the races that KVM
 * loses there.
 */
#include "module/model.h"

/*
 * MODEL: nanoseconds of each leaf, in the order of magnitude of a current
 * server. They are no measurements of silicon. Leaves that only the bring-up
 * of the module calls take no time.
 */
static const uint32_t typical_ns[] = {
	[TDH_VP_ENTER] = 2000,
	[TDH_MNG_ADDCX] = 2000,
	[TDH_MEM_PAGE_ADD] = 2000,
	[TDH_MEM_SEPT_ADD] = 2000,
	[TDH_VP_ADDCX] = 2000,
	[TDH_MEM_PAGE_AUG] = 1000,
	[TDH_MEM_RANGE_BLOCK] = 1000,
	[TDH_MNG_KEY_CONFIG] = 20000,
	[TDH_MNG_CREATE] = 3000,
	[TDH_VP_CREATE] = 2000,
	[TDH_MNG_RD] = 700,
	[TDH_MR_EXTEND] = 800,
	[TDH_MR_FINALIZE] = 2000,
	[TDH_VP_FLUSH] = 1000,
	[TDH_MNG_VPFLUSHDONE] = 1000,
	[TDH_MNG_KEY_FREEID] = 1000,
	[TDH_MNG_INIT] = 10000,
	[TDH_VP_INIT] = 5000,
	[TDH_PHYMEM_PAGE_RDMD] = 700,
	[TDH_VP_RD] = 700,
	[TDH_PHYMEM_PAGE_RECLAIM] = 1000,
	[TDH_MEM_PAGE_REMOVE] = 1000,
	[TDH_MEM_TRACK] = 700,
	[TDH_PHYMEM_CACHE_WB] = 100000,
	[TDH_PHYMEM_PAGE_WBINVD] = 1000,
	[TDH_VP_WR] = 700,
};

/* A test may stretch the times; the machine must still be seen to live. */
#define MAX_NS 100000000

#define DEFAULT_PERCENT 100

void tdxm_latency_init(struct tdxm *m)
{
	atomic_store(&m->latency, DEFAULT_PERCENT);
}

unsigned int tdxm_set_latency(struct tdxm *m, unsigned int percent)
{
	return atomic_exchange(&m->latency,
			       percent < TDXM_MAX_LATENCY ? percent : TDXM_MAX_LATENCY);
}

void tdxm_latency_spend(struct tdxm_call *call)
{
	struct tdxm *m = call->m;
	unsigned int number = call->leaf->number;
	uint64_t ns, spent;

	if (!m->ops.delay || number >= ARRAY_LEN(typical_ns))
		return;
	ns = (uint64_t)typical_ns[number] * atomic_load(&m->latency) / 100;
	if (ns > MAX_NS)
		ns = MAX_NS;
	spent = m->ops.now_ns(m->opaque) - call->start_ns;
	if (spent < ns)
		m->ops.delay(m->opaque, ns - spent);
}
