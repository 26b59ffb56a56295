// SPDX-License-Identifier: GPL-2.0-only
/* TDH.SYS.*: bring-up of the module. */
#include <stdlib.h>

#include "module/metadata.h"
#include "module/model.h"
#include "module/tdmr.h"

#define TDMR_ARRAY_ALIGN 512

uint64_t tdxm_sys_init_check(struct tdxm_call *call)
{
	struct tdxm *m = call->m;
	unsigned int last_hkid = m->platform.nr_mktme + m->platform.nr_tdx_keyids;
	uint64_t status = tdxm_lock(call, RES_SYS, &m->sys_lock);

	if (status)
		return status;
	if (call->in.rcx)
		return TDX_OPERAND_INVALID + OP_RCX;
	if (atomic_load(&m->sys_state) != SYS_INIT_PENDING)
		return TDX_SYS_INIT_NOT_PENDING;
	/* MODEL: of the platform checks only this one; the rest is what we made ourselves. */
	if (last_hkid >= TDX_MAX_HKIDS)
		return TDX_NUM_ACTIVATED_HKIDS_NOT_SUPPORTED + TDX_MAX_HKIDS;
	if (tdxm_lp_state(call, TDXM_LP_NO_ENTROPY))
		return TDX_RND_NO_ENTROPY;
	return TDX_SUCCESS;
}

void tdxm_sys_init_commit(struct tdxm_call *call)
{
	struct tdxm_regs *out = &call->out;

	call->m->tsc_adjust = tdxm_lp_state(call, TDXM_LP_TSC_ADJUST);
	atomic_store(&call->m->sys_state, SYS_INIT_DONE);
	out->rcx = 0;
	out->rdx = 0;
	out->r8 = 0;
	out->r9 = 0;
	out->r10 = 0;
}

uint64_t tdxm_sys_lp_init_check(struct tdxm_call *call)
{
	struct tdxm *m = call->m;
	uint64_t status = tdxm_lock(call, RES_SYS, &m->sys_lock);

	if (status)
		return status;
	if (atomic_load(&m->sys_state) != SYS_INIT_DONE)
		return TDX_SYS_LP_INIT_NOT_PENDING;
	if (atomic_load(&m->lp_init[call->lp]))
		return TDX_SYS_LP_INIT_DONE;
	if (tdxm_lp_state(call, TDXM_LP_NO_ENTROPY))
		return TDX_RND_NO_ENTROPY;
	if (tdxm_package(call) >= TDX_MAX_PACKAGES)
		return TDX_INVALID_PKG_ID + tdxm_package(call);
	/* MODEL: no other MSR, and no CPUID, is compared: here all LPs are alike. */
	return tdxm_tsc_adjust_check(call);
}

void tdxm_sys_lp_init_commit(struct tdxm_call *call)
{
	atomic_store(&call->m->lp_init[call->lp], true);
	atomic_fetch_add(&call->m->num_lp_init, 1);
	call->out.rcx = 0;
	call->out.rdx = 0;
	call->out.r8 = 0;
}

static uint64_t read_tdmrs(struct tdxm_call *call, struct tdx_tdmr_info *list)
{
	struct tdxm *m = call->m;
	uint64_t pa[TDX_MAX_TDMRS], status;
	unsigned int i, count = call->in.rdx;

	status =
		tdxm_shared_read(call, call->in.rcx, pa, count * sizeof(*pa), OP_RCX, "TDMR array");
	for (i = 0; !status && i < count; i++) {
		status = tdxm_shared_hpa_check(call, pa[i], TDMR_ARRAY_ALIGN, OP_RCX);
		if (!status)
			status = tdxm_shared_read(call, pa[i], &list[i], sizeof(*list), OP_RCX,
						  "TDMR_INFO");
		if (!status)
			status = tdxm_tdmr_check(&m->platform, m->keyid_shift, list, i);
	}
	return status;
}

uint64_t tdxm_sys_config_check(struct tdxm_call *call)
{
	struct tdxm *m = call->m;
	struct tdx_tdmr_info *list;
	uint64_t status = tdxm_lock(call, RES_SYS, &m->sys_lock);
	unsigned int i;

	if (status)
		return status;
	if (atomic_load(&m->sys_state) != SYS_INIT_DONE ||
	    atomic_load(&m->num_lp_init) != m->platform.nr_lps)
		return TDX_SYS_CONFIG_NOT_PENDING;
	/* MODEL: only SYS.UPDATE goes on from a handoff; the TDs' fate is unknown otherwise. */
	if (m->handoff_valid)
		return TDX_SYS_CONFIG_NOT_PENDING;
	status = tdxm_shared_hpa_check(call, call->in.rcx, TDMR_ARRAY_ALIGN, OP_RCX);
	if (status)
		return status;
	if (!call->in.rdx || call->in.rdx > TDX_MAX_TDMRS)
		return TDX_OPERAND_INVALID + OP_RDX;
	if (!tdxm_hkid_is_private(m, call->in.r8))
		return TDX_OPERAND_INVALID + OP_R8;
	list = calloc(TDX_MAX_TDMRS, sizeof(*list));
	if (!list)
		tdxm_bug("out of memory");
	status = read_tdmrs(call, list);
	/* The table is not visible before the commit moves the state. */
	for (i = 0; !status && i < call->in.rdx; i++)
		m->tdmr[i].info = list[i];
	free(list);
	/* The one trace that a refused TDMR leaves. */
	if (status)
		m->kot[call->in.r8].state = KOT_RESERVED;
	return status;
}

void tdxm_sys_config_commit(struct tdxm_call *call)
{
	struct tdxm *m = call->m;
	unsigned int i;

	for (i = 0; i < call->in.rdx; i++) {
		struct tdxm_tdmr *tdmr = &m->tdmr[i];

		tdmr->gib = calloc(tdmr->info.size / TDX_1G, sizeof(*tdmr->gib));
		if (!tdmr->gib)
			tdxm_bug("out of memory");
		atomic_store(&tdmr->next, tdmr->info.base);
	}
	m->num_tdmrs = call->in.rdx;
	m->global_hkid = call->in.r8;
	m->kot[m->global_hkid].state = KOT_RESERVED;
	atomic_store(&m->sys_state, SYS_CONFIG_DONE);
}

uint64_t tdxm_sys_key_config_check(struct tdxm_call *call)
{
	struct tdxm *m = call->m;
	uint64_t status = tdxm_lock(call, RES_SYS, &m->sys_lock);

	if (status)
		return status;
	if (atomic_load(&m->sys_state) != SYS_CONFIG_DONE)
		return TDX_SYS_KEY_CONFIG_NOT_PENDING;
	if (m->packages_configured & 1u << tdxm_package(call))
		return TDX_KEY_CONFIGURED;
	status = tdxm_lock(call, RES_KET, &m->ket_lock[tdxm_package(call)]);
	if (!status && tdxm_lp_state(call, TDXM_LP_NO_ENTROPY))
		return TDX_KEY_GENERATION_FAILED;
	return status;
}

void tdxm_sys_key_config_commit(struct tdxm_call *call)
{
	struct tdxm *m = call->m;

	m->packages_configured |= 1u << tdxm_package(call);
	if (m->packages_configured == m->all_packages) {
		atomic_store(&m->sys_state, SYS_READY);
		tdxm_pamt_watch(m, true);
	}
}

uint64_t tdxm_sys_tdmr_init_check(struct tdxm_call *call)
{
	struct tdxm *m = call->m;
	uint64_t base = call->in.rcx, status;
	unsigned int i;

	call->out.rdx = 0;
	for (i = 0; i < m->num_tdmrs; i++) {
		if (m->tdmr[i].info.base == base)
			break;
	}
	if (i == m->num_tdmrs)
		return TDX_OPERAND_INVALID + OP_RCX;

	call->tdmr = &m->tdmr[i];
	status = tdxm_lock(call, RES_TDMR, &call->tdmr->lock);
	if (status)
		return status;
	if (atomic_load(&call->tdmr->next) == base + call->tdmr->info.size)
		return TDX_TDMR_ALREADY_INITIALIZED;
	return TDX_SUCCESS;
}

void tdxm_sys_tdmr_init_commit(struct tdxm_call *call)
{
	struct tdxm_tdmr *tdmr = call->tdmr;
	uint64_t hpa, next = atomic_load(&tdmr->next);
	struct tdxm_pamt_gib **gib = &tdmr->gib[(next - tdmr->info.base) / TDX_1G];

	/* Zero is NDA: only reserved pages touch the memory of their entries. */
	if (!*gib)
		*gib = calloc(1, sizeof(**gib));
	if (!*gib)
		tdxm_bug("out of memory");
	for (hpa = next; hpa < next + TDX_TDMR_INIT_STEP; hpa += TDX_PAGE_SIZE) {
		if (tdxm_tdmr_reserved(&tdmr->info, hpa))
			(*gib)->entry_4k[hpa % TDX_1G / TDX_PAGE_SIZE].type = PT_RSVD;
	}
	atomic_store(&tdmr->next, next + TDX_TDMR_INIT_STEP);
	call->out.rdx = (next + TDX_TDMR_INIT_STEP) & ~(TDX_1G - 1);
}

uint64_t tdxm_sys_shutdown_check(struct tdxm_call *call)
{
	struct tdxm *m = call->m;
	uint64_t status;

	/* Without TD preserving no handoff version is acceptable. */
	if (!m->platform.td_preserving || call->in.rcx != TDX_MODULE_HV)
		return TDX_OPERAND_INVALID + OP_RCX;
	status = tdxm_lock(call, RES_SYS, &m->sys_lock);
	if (status)
		return status;
	/*
	 * Nobody comes in from here on; is somebody in? MODEL: never
	 * UPDATE_COMPATIBILITY_SENSITIVE, as what triggers it is not published.
	 */
	atomic_store(&m->sys_state, SYS_SHUTDOWN);
	if (atomic_load(&m->calls_inside) > 1) {
		atomic_store(&m->sys_state, SYS_READY);
		return TDX_SYS_BUSY;
	}
	return TDX_SUCCESS;
}

void tdxm_sys_shutdown_undo(struct tdxm_call *call)
{
	atomic_store(&call->m->sys_state, SYS_READY);
}

void tdxm_sys_shutdown_commit(struct tdxm_call *call)
{
	call->m->handoff_valid = true;
}

uint64_t tdxm_sys_update_check(struct tdxm_call *call)
{
	struct tdxm *m = call->m;
	uint64_t status = tdxm_lock(call, RES_SYS, &m->sys_lock);

	if (status)
		return status;
	if (atomic_load(&m->sys_state) != SYS_INIT_DONE ||
	    atomic_load(&m->num_lp_init) != m->platform.nr_lps)
		return TDX_SYS_STATE_INCORRECT;
	if (!m->handoff_valid)
		return TDX_SYS_INVALID_HANDOFF;
	if (call->version && call->in.r9 & ~tdxm_features0(m))
		return TDX_OPERAND_INVALID + OP_R9;
	if (call->version && call->in.r10)
		return TDX_OPERAND_INVALID + OP_R10;
	return TDX_SUCCESS;
}

/* TDMRs, keys and TDs are where the old module left them. */
void tdxm_sys_update_commit(struct tdxm_call *call)
{
	call->m->handoff_valid = false;
	atomic_store(&call->m->sys_state, SYS_READY);
}

uint64_t tdxm_sys_disable_check(struct tdxm_call *call)
{
	(void)call;
	/* Not offered in FEATURES0, yet Linux 7.3 tries it on the way down. */
	return TDX_OPERAND_INVALID + OP_RAX;
}

uint64_t tdxm_sys_rd_check(struct tdxm_call *call)
{
	call->out.r8 = 0;
	if (!atomic_load(&call->m->lp_init[call->lp]))
		return TDX_SYS_LP_INIT_NOT_DONE;
	return tdxm_metadata_read(call, TDXM_SYS_FIELDS, call->in.rdx, true);
}
