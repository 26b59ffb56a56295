/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Facts of the TDX module's host interface: leaf numbers, operand ids, layouts
 * and encodings. No state of the model.
 */
#ifndef TDXM_TDX_SPEC_H
#define TDXM_TDX_SPEC_H

#include <stddef.h>
#include <stdint.h>

#define BIT_U64(n) (1ULL << (n))
/* Bits hi..lo inclusive. */
#define MASK_U64(hi, lo) ((~0ULL >> (63 - (hi))) & (~0ULL << (lo)))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#define TDX_PAGE_SIZE 0x1000ULL
#define TDX_2M 0x200000ULL
#define TDX_1G 0x40000000ULL
#define TDX_LEVEL_SIZE(level) (TDX_PAGE_SIZE << (9 * (level)))
/* Architectural end of physical addresses. */
#define TDX_PA_LIMIT BIT_U64(52)

/* RAX at SEAMCALL. */
#define TDX_RAX_LEAF_MASK MASK_U64(15, 0)
#define TDX_RAX_VERSION_SHIFT 16
#define TDX_RAX_VERSION_MASK MASK_U64(23, 16)
#define TDX_RAX_RESERVED MASK_U64(62, 24)
#define TDX_RAX_SEAMLDR BIT_U64(63)

enum tdx_leaf {
	TDH_VP_ENTER = 0,
	TDH_MNG_ADDCX = 1,
	TDH_MEM_PAGE_ADD = 2,
	TDH_MEM_SEPT_ADD = 3,
	TDH_VP_ADDCX = 4,
	TDH_MEM_PAGE_RELOCATE = 5,
	TDH_MEM_PAGE_AUG = 6,
	TDH_MEM_RANGE_BLOCK = 7,
	TDH_MNG_KEY_CONFIG = 8,
	TDH_MNG_CREATE = 9,
	TDH_VP_CREATE = 10,
	TDH_MNG_RD = 11,
	TDH_MEM_RD = 12,
	TDH_MNG_WR = 13,
	TDH_MEM_WR = 14,
	TDH_MEM_PAGE_DEMOTE = 15,
	TDH_MR_EXTEND = 16,
	TDH_MR_FINALIZE = 17,
	TDH_VP_FLUSH = 18,
	TDH_MNG_VPFLUSHDONE = 19,
	TDH_MNG_KEY_FREEID = 20,
	TDH_MNG_INIT = 21,
	TDH_VP_INIT = 22,
	TDH_MEM_PAGE_PROMOTE = 23,
	TDH_PHYMEM_PAGE_RDMD = 24,
	TDH_MEM_SEPT_RD = 25,
	TDH_VP_RD = 26,
	TDH_MNG_KEY_RECLAIMID = 27,
	TDH_PHYMEM_PAGE_RECLAIM = 28,
	TDH_MEM_PAGE_REMOVE = 29,
	TDH_MEM_SEPT_REMOVE = 30,
	TDH_SYS_KEY_CONFIG = 31,
	TDH_SYS_INFO = 32,
	TDH_SYS_INIT = 33,
	TDH_SYS_RD = 34,
	TDH_SYS_LP_INIT = 35,
	TDH_SYS_TDMR_INIT = 36,
	TDH_SYS_RDALL = 37,
	TDH_MEM_TRACK = 38,
	TDH_MEM_RANGE_UNBLOCK = 39,
	TDH_PHYMEM_CACHE_WB = 40,
	TDH_PHYMEM_PAGE_WBINVD = 41,
	TDH_VP_WR = 43,
	TDH_SYS_LP_SHUTDOWN = 44,
	TDH_SYS_CONFIG = 45,
	TDH_SERVTD_BIND = 48,
	TDH_SYS_SHUTDOWN = 52,
	TDH_SYS_UPDATE = 53,
	TDH_SYS_DISABLE = 69,
};

/* Operand ids in details bits of a status. */
enum tdx_operand {
	OP_RAX = 0,
	OP_RCX = 1,
	OP_RDX = 2,
	OP_R8 = 8,
	OP_R9 = 9,
	OP_R10 = 10,
	OP_ATTRIBUTES = 0x40,
	OP_XFAM = 0x41,
	OP_CONFIG_FLAGS = 0x42,
	OP_EPTP_CONTROLS = 0x43,
	OP_MAX_VCPUS = 0x44,
	OP_CPUID_CONFIG = 0x45,
	OP_TSC_FREQUENCY = 0x46,
	OP_NUM_L2_VMS = 0x47,
	OP_ARCH_CAPABILITIES = 0x48,
	OP_TDR = 0x80,
	OP_SEPT_TREE = 0x92,
	OP_TD_EPOCH = 0xa9,
	OP_OP_STATE = 0xac,
	OP_KOT = 0xba,
	OP_KET = 0xbb,
	OP_WBCACHE = 0xbc,
};

/* Page types in the PAMT. */
enum tdx_page_type {
	PT_NDA = 0,
	PT_RSVD = 1,
	PT_REG = 3,
	PT_TDR = 4,
	PT_TDCX = 5,
	PT_TDVPR = 6,
	PT_EPT = 8,
};

enum tdx_sys_state {
	SYS_INIT_PENDING,
	SYS_INIT_DONE,
	SYS_CONFIG_DONE,
	SYS_READY,
	SYS_SHUTDOWN,
};

enum tdx_lifecycle {
	TD_HKID_ASSIGNED,
	TD_KEYS_CONFIGURED,
	TD_BLOCKED,
	TD_TEARDOWN,
};

enum tdx_op_state {
	TD_UNINITIALIZED,
	TD_INITIALIZED,
	TD_RUNNABLE,
};

enum tdx_vcpu_state {
	VCPU_UNINITIALIZED = 0,
	VCPU_READY = 2,
	VCPU_ACTIVE = 4,
	VCPU_DISABLED = 8,
};

enum tdx_kot_state {
	KOT_FREE,
	KOT_ASSIGNED,
	KOT_FLUSHED,
	KOT_RESERVED,
};

#define TDX_MAX_TDMRS 64
#define TDX_MAX_RESERVED_PER_TDMR 16
#define TDX_PAMT_ENTRY_SIZE 16
#define TDX_MAX_PACKAGES 8
#define TDX_MAX_HKIDS 2048
#define TDX_TDCS_PAGES 6
#define TDX_TDCS_SIZE (TDX_TDCS_PAGES * TDX_PAGE_SIZE)
#define TDX_TDCS_MAX_PAGES 9
#define TDX_TDVPS_PAGES 6 /* TDVPR included */
#define TDX_TDVPS_SIZE (TDX_TDVPS_PAGES * TDX_PAGE_SIZE)
#define TDX_TDVPS_MAX_PAGES 15
#define TDX_MAX_VCPUS_PER_TD 576
/* Handoff version of the module, the only one that it understands. */
#define TDX_MODULE_HV 1
#define TDX_TDMR_INIT_STEP (1024 * TDX_PAGE_SIZE)

/* FEATURES0 bits that the model offers, and why. */
#define TDX_FEATURES0_TD_PRESERVING BIT_U64(1) /* if the platform asks for it */
#define TDX_FEATURES0_HOST_PRIORITY BIT_U64(10)
#define TDX_FEATURES0_NO_RBP_MOD BIT_U64(18) /* kernel: mandatory since 6.16 */
#define TDX_FEATURES0_TOPOLOGY BIT_U64(20)   /* kvm_intel: mandatory since 6.16 */

#define TDX_ATTR_DEBUG BIT_U64(0)
#define TDX_ATTR_SEPT_VE_DISABLE BIT_U64(28)
#define TDX_ATTR_PKS BIT_U64(30)
#define TDX_ATTR_PERFMON BIT_U64(63)
/* Nothing whose feature is absent: no migration, ICSSD, LASS, key locker, TPA. */
#define TDX_ATTRIBUTES_FIXED0 \
	(TDX_ATTR_DEBUG | TDX_ATTR_SEPT_VE_DISABLE | TDX_ATTR_PKS | TDX_ATTR_PERFMON)
#define TDX_ATTRIBUTES_FIXED1 0ULL

#define TDX_XFAM_FIXED0 0x6dbe7ULL
#define TDX_XFAM_FIXED1 0x3ULL

#define TDX_CONFIG_FLAGS_GPAW BIT_U64(0)
#define TDX_CONFIG_FLAGS_NO_RBP_MOD BIT_U64(2)
/* Bits 3 and 4 belong to virtual address widths, which are not offered. */
#define TDX_CONFIG_FLAGS_ALLOWED MASK_U64(2, 0)

/* TDX structure passed to SYS.CONFIG for each TDMR. */
struct tdx_reserved_area {
	uint64_t offset;
	uint64_t size;
};

struct tdx_tdmr_info {
	uint64_t base;
	uint64_t size;
	/* In descending page size, unlike every other numbering of levels. */
	struct {
		uint64_t base;
		uint64_t size;
	} pamt[3];
	struct tdx_reserved_area reserved[TDX_MAX_RESERVED_PER_TDMR];
};

_Static_assert(offsetof(struct tdx_tdmr_info, pamt[2].base) == 48, "TDMR_INFO.PAMT_4K_BASE");
_Static_assert(offsetof(struct tdx_tdmr_info, reserved) == 64, "TDMR_INFO.RSVD_AREAS");
_Static_assert(sizeof(struct tdx_tdmr_info) == 320, "TDMR_INFO");

struct tdx_cpuid_value {
	uint32_t eax, ebx, ecx, edx;
};

#define TDX_TD_PARAMS_CPUID_SLOTS 48

struct tdx_td_params {
	uint64_t attributes;
	uint64_t xfam;
	uint16_t max_vcpus;
	uint8_t num_l2_vms;
	uint8_t msr_config_ctls;
	uint8_t reserved20[4];
	uint64_t eptp_controls;
	uint64_t config_flags;
	uint16_t tsc_frequency;
	uint8_t reserved42[38];
	uint8_t mrconfigid[48];
	uint8_t mrowner[48];
	uint8_t mrownerconfig[48];
	uint64_t arch_capabilities;
	uint8_t reserved232[24];
	struct tdx_cpuid_value cpuid[TDX_TD_PARAMS_CPUID_SLOTS];
};

_Static_assert(offsetof(struct tdx_td_params, tsc_frequency) == 40, "TD_PARAMS.TSC_FREQUENCY");
_Static_assert(offsetof(struct tdx_td_params, mrconfigid) == 80, "TD_PARAMS.MRCONFIGID");
_Static_assert(offsetof(struct tdx_td_params, cpuid) == 256, "TD_PARAMS.CPUID_CONFIG");
_Static_assert(sizeof(struct tdx_td_params) == 1024, "TD_PARAMS");

/* GPA operand of the MEM leaves. */
#define TDX_GPA_LEVEL_MASK MASK_U64(2, 0)
#define TDX_GPA_MASK MASK_U64(51, 12)

/* Secure EPT entry. Leaves have MT = WB, IPAT = 1 and PS = 1 even at 4K. */
#define SEPTE_RWX MASK_U64(2, 0)
#define SEPTE_MT_WB (6ULL << 3)
#define SEPTE_MT MASK_U64(5, 3)
#define SEPTE_IPAT BIT_U64(6)
#define SEPTE_PS BIT_U64(7)
#define SEPTE_TDEL BIT_U64(11) /* entry lock */
#define SEPTE_HPA MASK_U64(51, 12)
#define SEPTE_TDEX BIT_U64(53)
#define SEPTE_TDBW BIT_U64(54)
#define SEPTE_TDB BIT_U64(55)
#define SEPTE_TDP BIT_U64(56)
#define SEPTE_SVE BIT_U64(63)

/* Entry state as the host sees it in RDX bits 15:8. */
enum tdx_sept_state {
	SEPT_FREE = 0,
	SEPT_BLOCKED = 1,
	SEPT_PENDING = 2,
	SEPT_PENDING_BLOCKED = 3,
	SEPT_MAPPED = 4,
	SEPT_NL_BLOCKED = 129,
	SEPT_NL_MAPPED = 132,
};

/* VM exit reasons that the model itself produces. */
#define TDX_EXIT_REASON_HLT 12
#define TDX_EXIT_REASON_TDCALL 77

/* MSRs named in the details of a status. */
#define TDX_MSR_TSC_ADJUST 0x3b

#endif /* TDXM_TDX_SPEC_H */
