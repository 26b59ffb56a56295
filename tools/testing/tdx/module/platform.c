// SPDX-License-Identifier: GPL-2.0-only
/* Power on and off, and what leaf code asks about the machine. */
#include <stdlib.h>

#include "module/model.h"

static const char *platform_error(const struct tdxm_platform *p)
{
	unsigned int i;

	if (!p->nr_lps || p->nr_lps > TDXM_MAX_LPS)
		return "number of LPs";
	if (!p->nr_packages || p->nr_packages > TDX_MAX_PACKAGES)
		return "number of packages";
	for (i = 0; i < p->nr_lps; i++) {
		if (p->lp_package[i] >= p->nr_packages && p->lp_package[i] < TDX_MAX_PACKAGES)
			return "package of an LP";
	}
	if (p->maxphyaddr < 36 || p->maxphyaddr > 52 || p->keyid_bits > 15)
		return "address width";
	if (p->nr_tdx_keyids < 2)
		return "number of private KeyIDs";
	if (!p->tsc_khz)
		return "TSC frequency";
	if (!p->nr_cmrs || p->nr_cmrs > TDXM_MAX_CMRS)
		return "number of CMRs";
	for (i = 0; i < p->nr_cmrs; i++) {
		const struct tdxm_cmr *cmr = &p->cmr[i];

		if (!cmr->size || (cmr->base | cmr->size) % TDX_PAGE_SIZE)
			return "alignment of a CMR";
		if (i && cmr->base < p->cmr[i - 1].base + p->cmr[i - 1].size)
			return "order of the CMRs";
	}
	return NULL;
}

struct tdxm *tdxm_create(const struct tdxm_platform *platform, const struct tdxm_ops *ops,
			 void *opaque)
{
	const char *error = platform_error(platform);
	struct tdxm *m;

	m = error ? NULL : calloc(1, sizeof(*m));
	if (!m) {
		ops->log(opaque, TDXM_LOG_INFO, error ? error : "out of memory");
		return NULL;
	}
	m->platform = *platform;
	m->ops = *ops;
	m->opaque = opaque;
	m->power_on_ns = ops->now_ns(opaque);
	m->keyid_shift = platform->maxphyaddr - platform->keyid_bits;
	m->all_packages = (1u << platform->nr_packages) - 1;
	pthread_mutex_init(&m->findings_mutex, NULL);
	tdxm_steer_init(m);
	tdxm_latency_init(m);
	tdxm_seamldr_init(m);
	pthread_mutex_init(&m->objects.mutex, NULL);
	if (!tdxm_counts_init(m)) {
		ops->log(opaque, TDXM_LOG_INFO, "out of memory");
		tdxm_destroy(m);
		return NULL;
	}
	return m;
}

void tdxm_destroy(struct tdxm *m)
{
	if (!m)
		return;
	tdxm_steer_free(m);
	tdxm_object_drop_all(&m->objects);
	tdxm_pamt_free(m);
	tdxm_report_free(m);
	pthread_mutex_destroy(&m->objects.mutex);
	pthread_mutex_destroy(&m->findings_mutex);
	free(m);
}

uint64_t tdxm_lp_state(const struct tdxm_call *call, enum tdxm_lp_state what)
{
	const struct tdxm *m = call->m;

	return m->ops.lp_state ? m->ops.lp_state(m->opaque, call->lp, what) : 0;
}

uint64_t tdxm_tsc_adjust_check(const struct tdxm_call *call)
{
	if (tdxm_lp_state(call, TDXM_LP_TSC_ADJUST) != call->m->tsc_adjust)
		return TDX_INCONSISTENT_MSR + TDX_MSR_TSC_ADJUST;
	return TDX_SUCCESS;
}

uint64_t tdxm_features0(const struct tdxm *m)
{
	return TDX_FEATURES0_HOST_PRIORITY | TDX_FEATURES0_NO_RBP_MOD | TDX_FEATURES0_TOPOLOGY |
	       (m->platform.td_preserving ? TDX_FEATURES0_TD_PRESERVING : 0);
}

bool tdxm_hkid_is_private(const struct tdxm *m, uint64_t hkid)
{
	return hkid > m->platform.nr_mktme &&
	       hkid <= (uint64_t)m->platform.nr_mktme + m->platform.nr_tdx_keyids;
}

unsigned int tdxm_package(const struct tdxm_call *call)
{
	return call->m->platform.lp_package[call->lp];
}

uint64_t tdxm_shared_hpa_check(struct tdxm_call *call, uint64_t hpa, uint64_t align,
			       enum tdx_operand operand)
{
	/*
	 * An MKTME KeyID would be fine; only private ones are refused. MODEL: there
	 * is no SEAM range in the address space that an operand could overlap.
	 */
	if (hpa & (align - 1) || hpa >= TDX_PA_LIMIT ||
	    hpa >> call->m->keyid_shift > call->m->platform.nr_mktme)
		return TDX_OPERAND_INVALID + operand;
	return TDX_SUCCESS;
}

uint64_t tdxm_shared_read(struct tdxm_call *call, uint64_t hpa, void *buf, size_t len,
			  enum tdx_operand operand, const char *what)
{
	struct tdxm *m = call->m;

	hpa &= BIT_U64(m->keyid_shift) - 1;
	if (tdxm_pamt_td_owned(m, hpa))
		tdxm_sanitizer(call, SAN_SOURCE_OWNED_BY_TD, hpa & ~(TDX_PAGE_SIZE - 1),
			       "%s: %s at 0x%llx", call->leaf->name, what, (unsigned long long)hpa);
	/* MODEL: reads of what is no RAM are refused; hardware returns bus data. */
	if (!m->ops.mem_read(m->opaque, hpa, buf, len))
		return TDX_OPERAND_INVALID + operand;
	return TDX_SUCCESS;
}
