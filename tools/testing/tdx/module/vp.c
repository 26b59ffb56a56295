// SPDX-License-Identifier: GPL-2.0-only
/* TDH.VP.*: virtual CPUs. */
#include "module/metadata.h"
#include "module/model.h"

#define VP_ENTER_RESERVED (MASK_U64(63, 54) | MASK_U64(11, 0))
#define VP_ENTER_FLAGS MASK_U64(53, 52)

uint64_t tdxm_vp_create_check(struct tdxm_call *call)
{
	uint64_t status = tdxm_td_lock_explicit(call, call->in.rdx);

	if (!status)
		status = tdxm_td_check(call, OPS_MASK(TD_INITIALIZED));
	if (!status)
		status = tdxm_page_lock_4k(call, RES_PAGE, call->in.rcx, PT_NDA, &call->page);
	return status;
}

void tdxm_vp_create_commit(struct tdxm_call *call)
{
	struct tdxm_vcpu *vcpu = tdxm_vcpu_alloc(call->in.rcx);

	tdxm_object_add(&call->m->objects, &vcpu->object);
	call->td->chldcnt++;
	tdxm_page_assign(call->m, &call->page, PT_TDVPR, call->td->tdr_hpa, &vcpu->object);
}

uint64_t tdxm_vp_addcx_check(struct tdxm_call *call)
{
	uint64_t status = tdxm_vcpu_lock(call, call->in.rdx);

	if (!status)
		status = tdxm_td_check(call, OPS_MASK(TD_INITIALIZED));
	if (status)
		return status;
	if (call->vcpu->state != VCPU_UNINITIALIZED)
		return TDX_VCPU_STATE_INCORRECT + call->vcpu->state;
	if (call->vcpu->num_pages >= TDX_TDVPS_MAX_PAGES)
		return TDX_TDCX_NUM_INCORRECT;
	return tdxm_page_lock_4k(call, RES_PAGE, call->in.rcx, PT_NDA, &call->page);
}

void tdxm_vp_addcx_commit(struct tdxm_call *call)
{
	call->vcpu->num_pages++;
	call->td->chldcnt++;
	tdxm_page_assign(call->m, &call->page, PT_TDCX, call->td->tdr_hpa, NULL);
}

/* Version 1 holds the TDR exclusively, so that nobody else takes the same id. */
static uint64_t x2apic_id_check(struct tdxm_call *call)
{
	struct tdxm_td *td = call->td;
	uint64_t id = call->in.r8;
	uint32_t i;

	if (id >> 32)
		return TDX_OPERAND_INVALID + OP_R8;
	for (i = 0; i < td->num_vcpus; i++) {
		if (td->x2apic_id[i] == id)
			return TDX_X2APIC_ID_NOT_UNIQUE + id;
	}
	return TDX_SUCCESS;
}

uint64_t tdxm_vp_init_check(struct tdxm_call *call)
{
	uint64_t status = tdxm_tsc_adjust_check(call);
	struct tdxm_td *td;

	if (!status && call->version > 1)
		status = TDX_OPERAND_INVALID + OP_RAX;
	if (!status)
		status = tdxm_vcpu_lock(call, call->in.rcx);
	if (!status)
		status = tdxm_td_check(call, OPS_MASK(TD_INITIALIZED));
	if (status)
		return status;
	td = call->td;
	if (call->vcpu->num_pages < TDX_TDVPS_PAGES)
		return TDX_TDCX_NUM_INCORRECT;
	if (call->vcpu->state != VCPU_UNINITIALIZED)
		return TDX_VCPU_STATE_INCORRECT + call->vcpu->state;
	/* Version 0 runs concurrently: reserve a place before the last one is gone. */
	if (atomic_fetch_add(&td->vcpus_reserved, 1) >= td->params.max_vcpus)
		status = TDX_MAX_VCPUS_EXCEEDED;
	else if (call->version > 0)
		status = x2apic_id_check(call);
	if (status)
		tdxm_vp_init_undo(call);
	return status;
}

void tdxm_vp_init_undo(struct tdxm_call *call)
{
	atomic_fetch_sub(&call->td->vcpus_reserved, 1);
}

void tdxm_vp_init_commit(struct tdxm_call *call)
{
	struct tdxm_vcpu *vcpu = call->vcpu;
	struct tdxm_td *td = call->td;

	vcpu->index = atomic_fetch_add(&td->num_vcpus, 1);
	vcpu->initial_rcx = call->in.rdx;
	if (call->version > 0) {
		vcpu->x2apic_id = call->in.r8;
		td->x2apic_id[vcpu->index] = vcpu->x2apic_id;
	} else {
		td->x2apic_id[vcpu->index] = ~0ULL;
		td->topology_off = true;
	}
	vcpu->assoc_lp = call->lp;
	atomic_fetch_add(&td->num_assoc_vcpus, 1);
	vcpu->state = VCPU_READY;
}

uint64_t tdxm_vp_flush_check(struct tdxm_call *call)
{
	uint64_t status = tdxm_vcpu_lock(call, call->in.rcx);

	if (status)
		return status;
	if (call->td->lifecycle != TD_KEYS_CONFIGURED)
		return TDX_TD_KEYS_NOT_CONFIGURED;
	if (call->vcpu->num_pages < TDX_TDVPS_PAGES)
		return TDX_TDCX_NUM_INCORRECT;
	if (call->vcpu->assoc_lp != (int)call->lp)
		return TDX_VCPU_NOT_ASSOCIATED;
	return TDX_SUCCESS;
}

void tdxm_vp_flush_commit(struct tdxm_call *call)
{
	call->vcpu->assoc_lp = TDXM_NO_LP;
	atomic_fetch_sub(&call->td->num_assoc_vcpus, 1);
}

/* TDVPR, TDR and TD state; the VCPU becomes this LP's. */
static uint64_t vcpu_take(struct tdxm_call *call, uint64_t tdvpr, unsigned int ops,
			  bool also_disabled)
{
	uint64_t status = tdxm_vcpu_lock(call, tdvpr);

	if (!status)
		status = tdxm_td_check(call, ops);
	if (status)
		return status;
	if (call->vcpu->num_pages < TDX_TDVPS_PAGES)
		return TDX_TDCX_NUM_INCORRECT;
	return tdxm_vcpu_associate(call, also_disabled);
}

#define RDWR_OPS (OPS_MASK(TD_INITIALIZED) | OPS_MASK(TD_RUNNABLE))

uint64_t tdxm_vp_rd_check(struct tdxm_call *call)
{
	uint64_t status = vcpu_take(call, call->in.rcx, RDWR_OPS, true);

	call->out.r8 = 0;
	if (status)
		return status;
	return tdxm_metadata_read(call, TDXM_VCPU_FIELDS, call->in.rdx, call->version > 0);
}

uint64_t tdxm_vp_wr_check(struct tdxm_call *call)
{
	uint64_t status = vcpu_take(call, call->in.rcx, RDWR_OPS, false);

	call->out.r8 = 0;
	if (status)
		return status;
	return tdxm_metadata_prepare_write(call, call->in.rdx, call->in.r8, call->in.r9);
}

void tdxm_vp_wr_commit(struct tdxm_call *call)
{
	tdxm_metadata_write(call);
}

uint64_t tdxm_vp_enter_check(struct tdxm_call *call)
{
	uint64_t status;

	if (tdxm_lp_state(call, TDXM_LP_LIMIT_CPUID))
		return TDX_LIMIT_CPUID_MAXVAL_SET;
	if (call->in.rcx & VP_ENTER_RESERVED)
		return TDX_OPERAND_INVALID + OP_RCX;
	status = vcpu_take(call, call->in.rcx & SEPTE_HPA, OPS_MASK(TD_RUNNABLE), false);
	if (status)
		return status;
	/* No exit was ever trap-like, and none came from an L2 VM. */
	if (call->in.rcx & VP_ENTER_FLAGS)
		return TDX_OPERAND_INVALID + OP_RCX;
	status = tdxm_tsc_adjust_check(call);
	/*
	 * MODEL: TSC_ROLLBACK and INCORRECT_MSR_VALUE+0x1A0 cannot happen: the
	 * clock never goes back, and MONITOR is always on. The zero-step filter
	 * never has GPAs to wait for, as no entry ends in an EPT violation.
	 */
	return status ? status : tdxm_lock(call, RES_EPOCH, &call->td->epoch_lock);
}

/*
 * MODEL: no guest code runs. Every entry exits at once with the TDVMCALL of an
 * idle guest, HLT with interrupts enabled, which KVM turns into a sleeping VCPU.
 * Posted interrupts stay in their descriptor: the guest that would take them is
 * not there. A pending interrupt of the host does not end the entry either (exit
 * reason 1 would need its vector); the host takes it right after this one.
 */
static void exit_with_hlt(struct tdxm_call *call)
{
	uint64_t rbp = call->in.rbp;

	call->out = (struct tdxm_regs) {
		.rcx = MASK_U64(15, 10),
		.r11 = TDX_EXIT_REASON_HLT,
	};
	if (call->td->params.config_flags & TDX_CONFIG_FLAGS_NO_RBP_MOD)
		call->out.rbp = rbp;
	call->completion = TDX_EXIT_REASON_TDCALL;
}

void tdxm_vp_enter_commit(struct tdxm_call *call)
{
	struct tdxm_vcpu *vcpu = call->vcpu;
	struct tdxm_td *td = call->td;

	vcpu->epoch = td->epoch;
	atomic_fetch_add(&td->refcount[vcpu->epoch & 1], 1);
	vcpu->state = VCPU_ACTIVE;
	/* Injected; the guest's handler is over when it idles again. */
	vcpu->pend_nmi = 0;
	tdxm_unlock(call, RES_EPOCH);
	tdxm_unlock(call, RES_OP_STATE);

	exit_with_hlt(call);

	atomic_fetch_sub(&td->refcount[vcpu->epoch & 1], 1);
	vcpu->state = VCPU_READY;
}
