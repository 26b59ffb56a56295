// SPDX-License-Identifier: GPL-2.0-only
/* The table of leaves and statuses. */
#include "module/leaf_status.h"

#include "module/model.h"
#include "module/seamldr.h"

/* clang-format off */
#define IS(value) { .status = (value) }
/* A number in bits 31:0. */
#define NR(value) { .status = (value), .any_details = true }

#define INV(op) IS(TDX_OPERAND_INVALID + (op))
#define BUSY(op) IS(TDX_OPERAND_BUSY + (op))

/* A private page named by a register. */
#define PRIV4K(op) \
	INV(op), IS(TDX_OPERAND_ADDR_RANGE_ERROR + (op)), BUSY(op), \
	IS(TDX_PAGE_METADATA_INCORRECT + (op))

/* State of a TD whose TDR is locked exclusively, and shared. */
#define TD_EXCLUSIVE \
	IS(TDX_TD_FATAL), IS(TDX_TD_KEYS_NOT_CONFIGURED), IS(TDX_TDCS_NOT_ALLOCATED), \
	NR(TDX_OP_STATE_INCORRECT)
#define TD_SHARED TD_EXCLUSIVE, BUSY(OP_OP_STATE)

/* A TD with a VCPU has its TDCS, and was initialised. */
#define TD_OF_VCPU IS(TDX_TD_FATAL), IS(TDX_TD_KEYS_NOT_CONFIGURED), BUSY(OP_OP_STATE), BUSY(OP_TDR)

/* An S-EPT entry found by a walk, without and with its lock. */
#define WALK IS(TDX_EPT_WALK_FAILED + OP_RCX), IS(TDX_EPT_ENTRY_STATE_INCORRECT + OP_RCX)
#define WALK_LOCKED BUSY(OP_SEPT_TREE), BUSY(OP_RCX), WALK

#define TSC_ADJUST IS(TDX_INCONSISTENT_MSR + TDX_MSR_TSC_ADJUST)

#define LIST(name) static const struct tdxm_leaf_status name[]
/* clang-format on */

/* The last is for an unknown leaf of the P-SEAMLDR. */
LIST(any_leaf) = {
	INV(OP_RAX),
	IS(TDX_SYS_NOT_READY),
	IS(TDX_SYS_SHUTDOWN),
	IS(SEAMLDR_EBADPARAM),
};

LIST(sys_init) = {
	IS(TDX_SUCCESS),
	IS(TDX_SYS_BUSY),
	INV(OP_RCX),
	IS(TDX_SYS_INIT_NOT_PENDING),
	IS(TDX_NUM_ACTIVATED_HKIDS_NOT_SUPPORTED + TDX_MAX_HKIDS),
	IS(TDX_RND_NO_ENTROPY),
};
LIST(sys_lp_init) = {
	IS(TDX_SUCCESS),
	IS(TDX_SYS_BUSY),
	IS(TDX_SYS_LP_INIT_NOT_PENDING),
	IS(TDX_SYS_LP_INIT_DONE),
	IS(TDX_RND_NO_ENTROPY),
	NR(TDX_INVALID_PKG_ID),
	TSC_ADJUST,
};
LIST(sys_rd) = {
	IS(TDX_SUCCESS),
	IS(TDX_SYS_LP_INIT_NOT_DONE),
	IS(TDX_METADATA_FIRST_FIELD_ID_IN_CONTEXT),
	IS(TDX_METADATA_FIELD_ID_INCORRECT),
};
LIST(sys_config) = {
	IS(TDX_SUCCESS),
	IS(TDX_SYS_BUSY),
	IS(TDX_SYS_CONFIG_NOT_PENDING),
	INV(OP_RCX),
	INV(OP_RDX),
	INV(OP_R8),
	NR(TDX_INVALID_TDMR),
	NR(TDX_NON_ORDERED_TDMR),
	NR(TDX_NON_ORDERED_RESERVED_IN_TDMR),
	NR(TDX_INVALID_RESERVED_IN_TDMR),
	NR(TDX_INVALID_PAMT),
	NR(TDX_PAMT_OVERLAP),
	NR(TDX_PAMT_OUTSIDE_CMRS),
	NR(TDX_TDMR_OUTSIDE_CMRS),
};
LIST(sys_key_config) = {
	IS(TDX_SUCCESS),	IS(TDX_SYS_BUSY), IS(TDX_SYS_KEY_CONFIG_NOT_PENDING),
	IS(TDX_KEY_CONFIGURED), BUSY(OP_KET),	  IS(TDX_KEY_GENERATION_FAILED),
};
LIST(sys_tdmr_init) = {
	IS(TDX_SUCCESS),
	INV(OP_RCX),
	BUSY(OP_RCX),
	IS(TDX_TDMR_ALREADY_INITIALIZED),
};
LIST(sys_shutdown) = {
	IS(TDX_SUCCESS),
	INV(OP_RCX),
	IS(TDX_SYS_BUSY),
};
LIST(sys_update) = {
	IS(TDX_SUCCESS), IS(TDX_SYS_BUSY), IS(TDX_SYS_STATE_INCORRECT), IS(TDX_SYS_INVALID_HANDOFF),
	INV(OP_R9),	 INV(OP_R10),
};
LIST(sys_disable) = {
	INV(OP_RAX),
};

LIST(mng_create) = {
	IS(TDX_SUCCESS), INV(OP_RDX),		PRIV4K(OP_RCX),
	BUSY(OP_KOT),	 IS(TDX_HKID_NOT_FREE), IS(TDX_RND_NO_ENTROPY),
};
LIST(mng_key_config) = {
	IS(TDX_SUCCESS),
	PRIV4K(OP_RCX),
	IS(TDX_TD_FATAL),
	IS(TDX_LIFECYCLE_STATE_INCORRECT),
	IS(TDX_KEY_CONFIGURED),
	BUSY(OP_KET),
	IS(TDX_KEY_GENERATION_FAILED),
};
LIST(mng_addcx) = {
	IS(TDX_SUCCESS),
	PRIV4K(OP_RDX),
	IS(TDX_TD_FATAL),
	IS(TDX_TD_KEYS_NOT_CONFIGURED),
	IS(TDX_TDCX_NUM_INCORRECT),
	NR(TDX_OP_STATE_INCORRECT),
	PRIV4K(OP_RCX),
	IS(TDX_RND_NO_ENTROPY),
};
LIST(mng_init) = {
	IS(TDX_SUCCESS),
	PRIV4K(OP_RCX),
	TD_EXCLUSIVE,
	IS(TDX_LIMIT_CPUID_MAXVAL_SET),
	INV(OP_ATTRIBUTES),
	INV(OP_XFAM),
	INV(OP_MAX_VCPUS),
	INV(OP_NUM_L2_VMS),
	INV(OP_RDX),
	INV(OP_CONFIG_FLAGS),
	INV(OP_EPTP_CONTROLS),
	INV(OP_TSC_FREQUENCY),
	TSC_ADJUST,
	INV(OP_CPUID_CONFIG),
	IS(TDX_CPUID_LEAF_1F_FORMAT_UNRECOGNIZED),
	INV(OP_ARCH_CAPABILITIES),
};
LIST(mng_rd) = {
	IS(TDX_SUCCESS),
	PRIV4K(OP_RCX),
	TD_SHARED,
	IS(TDX_METADATA_FIELD_ID_INCORRECT),
	IS(TDX_METADATA_FIELD_NOT_READABLE),
	IS(TDX_METADATA_FIRST_FIELD_ID_IN_CONTEXT),
};
LIST(mng_vpflushdone) = {
	IS(TDX_SUCCESS),	  PRIV4K(OP_RCX), BUSY(OP_KOT), IS(TDX_LIFECYCLE_STATE_INCORRECT),
	IS(TDX_FLUSHVP_NOT_DONE),
};
LIST(mng_key_freeid) = {
	IS(TDX_SUCCESS),
	PRIV4K(OP_RCX),
	BUSY(OP_KOT),
	IS(TDX_LIFECYCLE_STATE_INCORRECT),
	IS(TDX_WBCACHE_NOT_COMPLETE),
};

LIST(vp_create) = {
	IS(TDX_SUCCESS),
	PRIV4K(OP_RDX),
	TD_SHARED,
	PRIV4K(OP_RCX),
};
LIST(vp_addcx) = {
	IS(TDX_SUCCESS),
	PRIV4K(OP_RDX),
	TD_OF_VCPU,
	NR(TDX_OP_STATE_INCORRECT),
	NR(TDX_VCPU_STATE_INCORRECT),
	IS(TDX_TDCX_NUM_INCORRECT),
	PRIV4K(OP_RCX),
};
LIST(vp_init) = {
	IS(TDX_SUCCESS),
	TSC_ADJUST,
	INV(OP_RAX),
	PRIV4K(OP_RCX),
	TD_OF_VCPU,
	NR(TDX_OP_STATE_INCORRECT),
	IS(TDX_TDCX_NUM_INCORRECT),
	NR(TDX_VCPU_STATE_INCORRECT),
	IS(TDX_MAX_VCPUS_EXCEEDED),
	INV(OP_R8),
	NR(TDX_X2APIC_ID_NOT_UNIQUE),
};
LIST(vp_flush) = {
	IS(TDX_SUCCESS),
	PRIV4K(OP_RCX),
	BUSY(OP_TDR),
	IS(TDX_TD_KEYS_NOT_CONFIGURED),
	IS(TDX_TDCX_NUM_INCORRECT),
	IS(TDX_VCPU_NOT_ASSOCIATED),
};
LIST(vp_rd) = {
	IS(TDX_SUCCESS),
	PRIV4K(OP_RCX),
	TD_OF_VCPU,
	IS(TDX_TDCX_NUM_INCORRECT),
	NR(TDX_VCPU_STATE_INCORRECT),
	IS(TDX_VCPU_ASSOCIATED),
	IS(TDX_METADATA_FIELD_ID_INCORRECT),
	IS(TDX_METADATA_FIRST_FIELD_ID_IN_CONTEXT),
};
LIST(vp_wr) = {
	IS(TDX_SUCCESS),
	PRIV4K(OP_RCX),
	TD_OF_VCPU,
	IS(TDX_TDCX_NUM_INCORRECT),
	NR(TDX_VCPU_STATE_INCORRECT),
	IS(TDX_VCPU_ASSOCIATED),
	IS(TDX_METADATA_FIELD_ID_INCORRECT),
	IS(TDX_METADATA_FIELD_NOT_WRITABLE),
	IS(TDX_METADATA_FIELD_VALUE_NOT_VALID),
	NR(TDX_TD_VMCS_FIELD_NOT_INITIALIZED),
};
LIST(vp_enter) = {
	IS(TDX_EXIT_REASON_TDCALL),
	IS(TDX_LIMIT_CPUID_MAXVAL_SET),
	PRIV4K(OP_RCX),
	TD_OF_VCPU,
	NR(TDX_OP_STATE_INCORRECT),
	IS(TDX_TDCX_NUM_INCORRECT),
	NR(TDX_VCPU_STATE_INCORRECT),
	IS(TDX_VCPU_ASSOCIATED),
	TSC_ADJUST,
	BUSY(OP_TD_EPOCH),
};

LIST(mem_sept_add) = {
	IS(TDX_SUCCESS), PRIV4K(OP_RDX), TD_SHARED, INV(OP_RCX), WALK_LOCKED, PRIV4K(OP_R8),
};
LIST(mem_page_add) = {
	IS(TDX_SUCCESS), PRIV4K(OP_RDX), TD_EXCLUSIVE, INV(OP_RCX), WALK, INV(OP_R9), PRIV4K(OP_R8),
};
LIST(mem_page_aug) = {
	IS(TDX_SUCCESS), PRIV4K(OP_RDX), TD_SHARED, INV(OP_RCX), WALK_LOCKED, PRIV4K(OP_R8),
};
LIST(mem_range_block) = {
	IS(TDX_SUCCESS), PRIV4K(OP_RDX), TD_SHARED,
	INV(OP_RCX),	 WALK_LOCKED,	 IS(TDX_GPA_RANGE_ALREADY_BLOCKED + OP_RCX),
};
LIST(mem_track) = {
	IS(TDX_SUCCESS),
	PRIV4K(OP_RCX),
	TD_SHARED,
	BUSY(OP_TD_EPOCH),
	IS(TDX_PREVIOUS_TLB_EPOCH_BUSY),
};
LIST(mem_page_remove) = {
	IS(TDX_SUCCESS),
	PRIV4K(OP_RDX),
	TD_SHARED,
	INV(OP_RCX),
	WALK_LOCKED,
	IS(TDX_GPA_RANGE_NOT_BLOCKED + OP_RCX),
	IS(TDX_TLB_TRACKING_NOT_DONE + OP_RCX),
};
LIST(mr_extend) = {
	IS(TDX_SUCCESS),
	PRIV4K(OP_RDX),
	TD_EXCLUSIVE,
	INV(OP_RCX),
	IS(TDX_EPT_ENTRY_NOT_PRESENT + OP_RCX),
};
LIST(mr_finalize) = {
	IS(TDX_SUCCESS),
	PRIV4K(OP_RCX),
	TD_EXCLUSIVE,
	IS(TDX_NO_VCPUS),
};

LIST(phymem_page_reclaim) = {
	IS(TDX_SUCCESS),
	PRIV4K(OP_RCX),
	BUSY(OP_TDR),
	IS(TDX_LIFECYCLE_STATE_INCORRECT),
	IS(TDX_TD_ASSOCIATED_PAGES_EXIST),
};
LIST(phymem_page_rdmd) = {
	IS(TDX_SUCCESS),
	INV(OP_RCX),
	IS(TDX_OPERAND_ADDR_RANGE_ERROR + OP_RCX),
	BUSY(OP_RCX),
};
LIST(phymem_page_wbinvd) = {
	IS(TDX_SUCCESS),
	PRIV4K(OP_RCX),
};
LIST(phymem_cache_wb) = {
	IS(TDX_SUCCESS),
	INV(OP_RCX),
	BUSY(OP_WBCACHE),
	BUSY(OP_KOT),
	IS(TDX_NO_HKID_READY_TO_WBCACHE),
	IS(TDX_WBCACHE_RESUME_ERROR),
	IS(TDX_INTERRUPTED_RESUMABLE),
};

LIST(seamldr_info) = {
	IS(SEAMLDR_SUCCESS),
	IS(SEAMLDR_EBADPARAM),
};
LIST(seamldr_install) = {
	IS(SEAMLDR_SUCCESS),	 IS(SEAMLDR_EBADPARAM),	 IS(SEAMLDR_EBADCALL),
	IS(SEAMLDR_EBADHANDOFF), IS(SEAMLDR_ENOENTROPY),
};

/* clang-format off */
#define ROW(number, name) { number, name, ARRAY_LEN(name) }
/* clang-format on */

static const struct leaf_row {
	uint32_t leaf;
	const struct tdxm_leaf_status *list;
	size_t count;
} rows[] = {
	ROW(TDXM_LEAF_ANY, any_leaf),
	ROW(TDH_VP_ENTER, vp_enter),
	ROW(TDH_MNG_ADDCX, mng_addcx),
	ROW(TDH_MEM_PAGE_ADD, mem_page_add),
	ROW(TDH_MEM_SEPT_ADD, mem_sept_add),
	ROW(TDH_VP_ADDCX, vp_addcx),
	ROW(TDH_MEM_PAGE_AUG, mem_page_aug),
	ROW(TDH_MEM_RANGE_BLOCK, mem_range_block),
	ROW(TDH_MNG_KEY_CONFIG, mng_key_config),
	ROW(TDH_MNG_CREATE, mng_create),
	ROW(TDH_VP_CREATE, vp_create),
	ROW(TDH_MNG_RD, mng_rd),
	ROW(TDH_MR_EXTEND, mr_extend),
	ROW(TDH_MR_FINALIZE, mr_finalize),
	ROW(TDH_VP_FLUSH, vp_flush),
	ROW(TDH_MNG_VPFLUSHDONE, mng_vpflushdone),
	ROW(TDH_MNG_KEY_FREEID, mng_key_freeid),
	ROW(TDH_MNG_INIT, mng_init),
	ROW(TDH_VP_INIT, vp_init),
	ROW(TDH_PHYMEM_PAGE_RDMD, phymem_page_rdmd),
	ROW(TDH_VP_RD, vp_rd),
	ROW(TDH_PHYMEM_PAGE_RECLAIM, phymem_page_reclaim),
	ROW(TDH_MEM_PAGE_REMOVE, mem_page_remove),
	ROW(TDH_SYS_KEY_CONFIG, sys_key_config),
	ROW(TDH_SYS_INIT, sys_init),
	ROW(TDH_SYS_RD, sys_rd),
	ROW(TDH_SYS_LP_INIT, sys_lp_init),
	ROW(TDH_SYS_TDMR_INIT, sys_tdmr_init),
	ROW(TDH_MEM_TRACK, mem_track),
	ROW(TDH_PHYMEM_CACHE_WB, phymem_cache_wb),
	ROW(TDH_PHYMEM_PAGE_WBINVD, phymem_page_wbinvd),
	ROW(TDH_VP_WR, vp_wr),
	ROW(TDH_SYS_CONFIG, sys_config),
	ROW(TDH_SYS_SHUTDOWN, sys_shutdown),
	ROW(TDH_SYS_UPDATE, sys_update),
	ROW(TDH_SYS_DISABLE, sys_disable),
	ROW(TDXM_LEAF_SEAMLDR + SEAMLDR_INFO, seamldr_info),
	ROW(TDXM_LEAF_SEAMLDR + SEAMLDR_INSTALL, seamldr_install),
};

static bool in_row(const struct leaf_row *row, uint64_t status)
{
	size_t i;

	for (i = 0; i < row->count; i++) {
		const struct tdxm_leaf_status *s = &row->list[i];
		uint64_t mask = s->any_details ? ~TDX_STATUS_DETAILS_MASK : ~0ULL;

		if (!((s->status ^ status) & mask))
			return true;
	}
	return false;
}

bool tdxm_leaf_status_declared(uint32_t leaf, uint64_t status)
{
	size_t i;

	for (i = 0; i < ARRAY_LEN(rows); i++) {
		if (rows[i].leaf == leaf)
			return in_row(&rows[i], status);
	}
	return false;
}

void tdxm_for_each_leaf_status(void (*fn)(void *arg, uint32_t leaf,
					  const struct tdxm_leaf_status *status),
			       void *arg)
{
	size_t i, j;

	for (i = 0; i < ARRAY_LEN(rows); i++) {
		for (j = 0; j < rows[i].count; j++)
			fn(arg, rows[i].leaf, &rows[i].list[j]);
	}
}

void tdxm_leaf_status_check(const struct tdxm_call *call, uint32_t leaf, uint64_t status)
{
	if (call->injected || tdxm_leaf_status_declared(leaf, status) ||
	    tdxm_leaf_status_declared(TDXM_LEAF_ANY, status))
		return;
	tdxm_unimplemented(call->m, "%s answered undeclared status %s (0x%llx)",
			   tdxm_leaf_name(leaf), tdxm_status_name(status),
			   (unsigned long long)status);
}
