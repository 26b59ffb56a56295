/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * State of a TD (TDR and TDCS) and of its virtual CPUs (TDVPS). What may change
 * under shared locks is atomic; everything else is written under the TDR, or
 * the TDVPR, exclusively.
 */
#ifndef TDXM_TD_H
#define TDXM_TD_H

#include <pthread.h>

#include <nettle/sha2.h>

#include "module/cpuid.h"
#include "module/object.h"
#include "module/sharex.h"
#include "module/tdx_spec.h"

struct tdxm_call;
struct tdxm_sept_page;

#define TDXM_NO_PI_VECTOR 0xffff

struct tdxm_td {
	struct tdxm_object object;

	/* TDR */
	uint64_t tdr_hpa;
	uint64_t serial; /* number of its creation, from 1 */
	uint16_t hkid;
	_Atomic unsigned int lifecycle; /* enum tdx_lifecycle */
	_Atomic bool fatal; /* MODEL: no guest runs that could die of it, so that tests set it */
	uint32_t packages_configured; /* bitmap */
	_Atomic int64_t chldcnt;      /* 4K pages owned, TDR excluded */
	unsigned int num_tdcx;

	/* What the sanitizer keeps in mind. */
	_Atomic unsigned int mishaps;	 /* enum tdxm_mishap */
	_Atomic uint64_t mishap_key;	 /* the call that it was, ~0 for several */
	_Atomic int64_t private_pages;	 /* of chldcnt, those of type REG */
	_Atomic int64_t partly_measured; /* of these, where MR.EXTEND left out a part */

	/* TDCS: locks */
	struct sharex op_state_lock;
	struct sharex sept_lock;
	struct sharex epoch_lock;

	/* TDCS: state */
	_Atomic unsigned int op_state; /* enum tdx_op_state */
	_Atomic uint64_t epoch;
	_Atomic uint32_t refcount[2]; /* VCPUs inside the TD, by parity of their epoch */
	_Atomic uint32_t num_vcpus;
	_Atomic uint32_t vcpus_reserved; /* VP.INITs under way included */
	_Atomic uint32_t num_assoc_vcpus;
	uint64_t x2apic_id[TDX_MAX_VCPUS_PER_TD]; /* by VCPU index, all ones after VP.INIT v0 */
	_Atomic bool topology_off;
	struct tdxm_sept_page *_Atomic root;
	unsigned int root_level;
	unsigned int gpa_width;

	/* TDCS: configuration */
	struct tdx_td_params params;
	uint64_t tsc_multiplier;
	uint64_t tsc_offset;
	struct tdx_cpuid_value cpuid[TDXM_NUM_CPUID_CONFIG];

	/* TDCS: measurement; the mutex is for queries, which take no TD lock */
	pthread_mutex_t mrtd_mutex;
	struct sha384_ctx mrtd_ctx;
	uint8_t mrtd[SHA384_DIGEST_SIZE]; /* valid from FINALIZE on */
};

struct tdxm_vcpu {
	struct tdxm_object object;

	uint64_t tdvpr_hpa;
	unsigned int num_pages; /* TDVPR and TDCX */
	_Atomic uint8_t state;	/* enum tdx_vcpu_state */
	_Atomic int assoc_lp;
	uint32_t index;
	uint32_t x2apic_id;
	uint64_t initial_rcx;
	uint64_t epoch;

	/* Fields that the host may access, written on the associated LP only. */
	uint64_t pi_vector;
	uint64_t pi_desc;
	uint64_t pin_controls;
	uint64_t secondary_controls;
	uint64_t notify_window;
	uint64_t shared_eptp;
	uint64_t pend_nmi;
	uint64_t state_details; /* bit 0: virtual interrupt pending */
};

struct tdxm_td *tdxm_td_alloc(uint64_t tdr_hpa, uint16_t hkid);
struct tdxm_vcpu *tdxm_vcpu_alloc(uint64_t tdvpr_hpa);

#define OPS_MASK(op_state) (1u << (op_state))

/*
 * PRIV4K of a TDR named by a register; sets call->td and call->tdr_page. No
 * check on the TD's state.
 */
uint64_t tdxm_td_lock_explicit(struct tdxm_call *call, uint64_t hpa);
/* TDR found through the owner field of a page. */
uint64_t tdxm_td_lock_owner(struct tdxm_call *call, uint64_t owner);
/* Fatal, keys, TDCS, op-state lock, op-state in @ops (mask of OPS_MASK()). */
uint64_t tdxm_td_check(struct tdxm_call *call, unsigned int ops);
/* PRIV4K of a TDVPR named by a register, then its TDR; sets call->vcpu and call->td. */
uint64_t tdxm_vcpu_lock(struct tdxm_call *call, uint64_t hpa);
/* Measure a TDH.MEM.PAGE.ADD. */
void tdxm_mrtd_page_add(struct tdxm_td *td, uint64_t gpa);
/* The measurement so far, or the final one. Locks nothing that a guest can see. */
void tdxm_mrtd_get(struct tdxm_td *td, uint8_t mrtd[SHA384_DIGEST_SIZE]);
/* Make the VCPU this LP's; @also_disabled lets a dead one pass (VP.RD). */
uint64_t tdxm_vcpu_associate(struct tdxm_call *call, bool also_disabled);

#endif /* TDXM_TD_H */
