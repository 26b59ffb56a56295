// SPDX-License-Identifier: GPL-2.0-only
/*
 * The order of checks: a call with everything wrong that can be wrong, which is
 * then put right one by one. Each answer names the first defect that is left.
 */
#include "tests/module/scene.h"

/* Makes a defect, and, with @on false, undoes it. */
typedef void (*defect_fn)(struct scene *scene, bool on);

static struct tdxm *model(struct scene *scene)
{
	return scene->machine->m;
}

static struct tdxm_vcpu *vcpu(struct scene *scene)
{
	return vcpu_model(&scene->td, &scene->td.vcpu);
}

static void hold(struct sharex *lock, bool on)
{
	if (on)
		KTAP_EXPECT(sharex_try_exclusive(lock));
	else
		sharex_unlock_exclusive(lock);
}

#define DEFECT(name, statement)                            \
	static void name(struct scene *scene, bool on)     \
	{                                                  \
		struct tdxm_td *td = td_model(&scene->td); \
		(void)td;                                  \
		statement;                                 \
	}
/* A bit of a register that must not be there. */
#define BAD_BIT(name, value, bit) DEFECT(name, (value) = on ? (value) | (bit) : (value) & ~(bit))
#define LOCKED(name, lock) DEFECT(name, hold(lock, on))
#define LP_STATE(name, what) DEFECT(name, scene->machine->lp_state[0][what] = on)
#define PAGE_OF(hpa) tdxm_pamt_find(model(scene), hpa)

BAD_BIT(rcx_unaligned, scene->rcx, 0x800ULL)
BAD_BIT(rdx_unaligned, scene->rdx, 0x800ULL)
BAD_BIT(rdx_little_unaligned, scene->rdx, 8ULL)
BAD_BIT(rdx_too_big, scene->rdx, BIT_U64(40))
BAD_BIT(r8_unaligned, scene->r8, 0x800ULL)
BAD_BIT(r9_unaligned, scene->r9, 0x800ULL)
BAD_BIT(r8_too_big, scene->r8, BIT_U64(40))
BAD_BIT(rcx_reserved, scene->rcx, BIT_U64(54))
BAD_BIT(rcx_hint, scene->rcx, BIT_U64(52))
BAD_BIT(gpa_reserved, scene->rcx, 8ULL)
BAD_BIT(gpa_shared, scene->rcx, BIT_U64(47))
LOCKED(kot_locked, &model(scene)->kot_lock)
LOCKED(ket_locked, &model(scene)->ket_lock[0])
LOCKED(wbt_locked, &model(scene)->wbt_lock[0])
LOCKED(tdr_locked, &PAGE_OF(scene->td.tdr)->lock)
LOCKED(tdvpr_locked, &PAGE_OF(scene->td.vcpu.tdvpr)->lock)
LOCKED(page_locked, &PAGE_OF(scene->page)->lock)
LOCKED(ops_locked, &td->op_state_lock)
LOCKED(tree_locked, &td->sept_lock)
LOCKED(epoch_locked, &td->epoch_lock)
LP_STATE(no_entropy, TDXM_LP_NO_ENTROPY)
LP_STATE(other_tsc_adjust, TDXM_LP_TSC_ADJUST)
LP_STATE(cpuid_limited, TDXM_LP_LIMIT_CPUID)
DEFECT(entry_locked, *scene->entry = on ? *scene->entry | SEPTE_TDEL : *scene->entry & ~SEPTE_TDEL)
DEFECT(page_taken, PAGE_OF(scene->page)->type = on ? PT_RSVD : PT_NDA)
DEFECT(fatal, td->fatal = on)
DEFECT(without_keys, td->lifecycle = on ? TD_BLOCKED : TD_KEYS_CONFIGURED)
DEFECT(keyed, td->lifecycle = on ? TD_KEYS_CONFIGURED : TD_HKID_ASSIGNED)
DEFECT(without_tdcs, td->num_tdcx = on ? 5 : 6)
DEFECT(too_many_tdcs, td->num_tdcx = on ? 9 : 0)
DEFECT(uninitialized, td->op_state = on ? TD_UNINITIALIZED : TD_INITIALIZED)
DEFECT(running_uninitialized, td->op_state = on ? TD_UNINITIALIZED : TD_RUNNABLE)
DEFECT(not_torn_down, td->lifecycle = on ? TD_BLOCKED : TD_TEARDOWN)
DEFECT(initialized, td->op_state = on ? TD_INITIALIZED : TD_UNINITIALIZED)
DEFECT(runnable, td->op_state = on ? TD_RUNNABLE : TD_INITIALIZED)
DEFECT(not_runnable, td->op_state = on ? TD_INITIALIZED : TD_RUNNABLE)
DEFECT(hkid_in_use, model(scene)->kot[scene->rdx].state = on ? KOT_RESERVED : KOT_FREE)
DEFECT(not_flushed, td->num_assoc_vcpus += on ? 1 : -1)
DEFECT(not_written_back, model(scene)->kot[td->hkid].wb_pending = on)
DEFECT(full, td->params.max_vcpus = on ? 0 : 4)
DEFECT(vcpu_without_pages, vcpu(scene)->num_pages = on ? 5 : 6)
DEFECT(vcpu_with_all_pages, vcpu(scene)->num_pages = on ? 15 : 6)
DEFECT(vcpu_ready, vcpu(scene)->state = on ? VCPU_READY : VCPU_UNINITIALIZED)
DEFECT(vcpu_disabled, vcpu(scene)->state = on ? VCPU_DISABLED : VCPU_READY)
DEFECT(vcpu_elsewhere, vcpu(scene)->assoc_lp = on ? 1 : 0)
DEFECT(vcpus_inside, td->refcount[0] = on)
DEFECT(without_vcpus, td->num_vcpus = !on)

static void entry_blocked(struct scene *scene, bool on)
{
	enum tdx_sept_state state = on ? SEPT_BLOCKED : SEPT_FREE;

	atomic_store(scene->entry,
		     tdxm_septe_make(state, on ? scene->page : 0) | (*scene->entry & SEPTE_TDEL));
}

static void entry_free(struct scene *scene, bool on)
{
	enum tdx_sept_state state = on ? SEPT_FREE : SEPT_MAPPED;

	atomic_store(scene->entry,
		     tdxm_septe_make(state, on ? 0 : scene->page) | (*scene->entry & SEPTE_TDEL));
}

#define INV(op) (TDX_OPERAND_INVALID + (op))
#define BUSY(op) (TDX_OPERAND_BUSY + (op))
#define META(op) (TDX_PAGE_METADATA_INCORRECT + (op))
#define SEPTST (TDX_EPT_ENTRY_STATE_INCORRECT + OP_RCX)
#define TSC (TDX_INCONSISTENT_MSR + 0x3b)

struct step {
	defect_fn defect;
	uint64_t want;
};

/* Chains of the reference, in their order. */
#define TDR(op, unaligned)           \
	{ unaligned, INV(op) },      \
	{                            \
		tdr_locked, BUSY(op) \
	}
#define TD_EXCLUSIVE(wrong_state, state)                                       \
	{ fatal, TDX_TD_FATAL }, { without_keys, TDX_TD_KEYS_NOT_CONFIGURED }, \
		{ without_tdcs, TDX_TDCS_NOT_ALLOCATED },                      \
	{                                                                      \
		wrong_state, TDX_OP_STATE_INCORRECT + (state)                  \
	}
#define TD_SHARED(wrong_state, state)                                                        \
	{ fatal, TDX_TD_FATAL }, { without_keys, TDX_TD_KEYS_NOT_CONFIGURED },               \
		{ without_tdcs, TDX_TDCS_NOT_ALLOCATED }, { ops_locked, BUSY(OP_OP_STATE) }, \
	{                                                                                    \
		wrong_state, TDX_OP_STATE_INCORRECT + (state)                                \
	}
/* Whoever has a VCPU has the TDCS, too. */
#define TD_OF_VCPU                                                             \
	{ fatal, TDX_TD_FATAL }, { without_keys, TDX_TD_KEYS_NOT_CONFIGURED }, \
	{                                                                      \
		ops_locked, BUSY(OP_OP_STATE)                                  \
	}
#define TDVPR(op, unaligned)                                \
	{ unaligned, INV(op) }, { tdvpr_locked, BUSY(op) }, \
	{                                                   \
		tdr_locked, BUSY(OP_TDR)                    \
	}
#define GPA                             \
	{ gpa_reserved, INV(OP_RCX) },  \
	{                               \
		gpa_shared, INV(OP_RCX) \
	}
#define TREE                                 \
	{ tree_locked, BUSY(OP_SEPT_TREE) }, \
	{                                    \
		entry_locked, BUSY(OP_RCX)   \
	}
#define PAGE(op, unaligned)                                \
	{ unaligned, INV(op) }, { page_locked, BUSY(op) }, \
	{                                                  \
		page_taken, META(op)                       \
	}

#define MAX_STEPS 20

static const struct order {
	const char *scene;
	struct step step[MAX_STEPS];
} orders[] = {
	{ "mng_create",
	  { { rdx_too_big, INV(OP_RDX) },
	    PAGE(OP_RCX, rcx_unaligned),
	    { kot_locked, BUSY(OP_KOT) },
	    { hkid_in_use, TDX_HKID_NOT_FREE },
	    { no_entropy, TDX_RND_NO_ENTROPY } } },
	{ "mng_key_config",
	  { TDR(OP_RCX, rcx_unaligned),
	    { fatal, TDX_TD_FATAL },
	    { keyed, TDX_LIFECYCLE_STATE_INCORRECT },
	    { ket_locked, BUSY(OP_KET) },
	    { no_entropy, TDX_KEY_GENERATION_FAILED } } },
	{ "mng_addcx",
	  { TDR(OP_RDX, rdx_unaligned),
	    { fatal, TDX_TD_FATAL },
	    { without_keys, TDX_TD_KEYS_NOT_CONFIGURED },
	    { too_many_tdcs, TDX_TDCX_NUM_INCORRECT },
	    PAGE(OP_RCX, rcx_unaligned) } },
	{ "mng_init",
	  { TDR(OP_RCX, rcx_unaligned),
	    TD_EXCLUSIVE(initialized, TD_INITIALIZED),
	    { rdx_little_unaligned, INV(OP_RDX) },
	    { cpuid_limited, TDX_LIMIT_CPUID_MAXVAL_SET },
	    { other_tsc_adjust, TSC } } },
	{ "mng_rd", { TDR(OP_RCX, rcx_unaligned), TD_SHARED(uninitialized, TD_UNINITIALIZED) } },
	{ "mng_vpflushdone",
	  { TDR(OP_RCX, rcx_unaligned),
	    { kot_locked, BUSY(OP_KOT) },
	    { without_keys, TDX_LIFECYCLE_STATE_INCORRECT },
	    { not_flushed, TDX_FLUSHVP_NOT_DONE } } },
	{ "mng_key_freeid",
	  { TDR(OP_RCX, rcx_unaligned),
	    { kot_locked, BUSY(OP_KOT) },
	    { not_written_back, TDX_WBCACHE_NOT_COMPLETE } } },
	{ "vp_create",
	  { TDR(OP_RDX, rdx_unaligned), TD_SHARED(runnable, TD_RUNNABLE),
	    PAGE(OP_RCX, rcx_unaligned) } },
	{ "vp_addcx",
	  { TDVPR(OP_RDX, rdx_unaligned),
	    TD_OF_VCPU,
	    { runnable, TDX_OP_STATE_INCORRECT + TD_RUNNABLE },
	    { vcpu_ready, TDX_VCPU_STATE_INCORRECT + VCPU_READY },
	    { vcpu_with_all_pages, TDX_TDCX_NUM_INCORRECT },
	    PAGE(OP_RCX, rcx_unaligned) } },
	{ "vp_init_v1",
	  { { other_tsc_adjust, TSC },
	    TDVPR(OP_RCX, rcx_unaligned),
	    TD_OF_VCPU,
	    { runnable, TDX_OP_STATE_INCORRECT + TD_RUNNABLE },
	    { vcpu_without_pages, TDX_TDCX_NUM_INCORRECT },
	    { vcpu_ready, TDX_VCPU_STATE_INCORRECT + VCPU_READY },
	    { full, TDX_MAX_VCPUS_EXCEEDED },
	    { r8_too_big, INV(OP_R8) } } },
	{ "vp_flush",
	  { TDVPR(OP_RCX, rcx_unaligned),
	    { without_keys, TDX_TD_KEYS_NOT_CONFIGURED },
	    { vcpu_without_pages, TDX_TDCX_NUM_INCORRECT },
	    { vcpu_elsewhere, TDX_VCPU_NOT_ASSOCIATED } } },
	{ "vp_rd",
	  { TDVPR(OP_RCX, rcx_unaligned),
	    TD_OF_VCPU,
	    { vcpu_without_pages, TDX_TDCX_NUM_INCORRECT },
	    { vcpu_elsewhere, TDX_VCPU_ASSOCIATED } } },
	{ "vp_wr",
	  { TDVPR(OP_RCX, rcx_unaligned),
	    TD_OF_VCPU,
	    { vcpu_without_pages, TDX_TDCX_NUM_INCORRECT },
	    { vcpu_disabled, TDX_VCPU_STATE_INCORRECT + VCPU_DISABLED },
	    { vcpu_elsewhere, TDX_VCPU_ASSOCIATED } } },
	{ "vp_enter",
	  { { cpuid_limited, TDX_LIMIT_CPUID_MAXVAL_SET },
	    { rcx_reserved, INV(OP_RCX) },
	    { tdvpr_locked, BUSY(OP_RCX) },
	    { tdr_locked, BUSY(OP_TDR) },
	    TD_OF_VCPU,
	    { not_runnable, TDX_OP_STATE_INCORRECT + TD_INITIALIZED },
	    { vcpu_without_pages, TDX_TDCX_NUM_INCORRECT },
	    { vcpu_disabled, TDX_VCPU_STATE_INCORRECT + VCPU_DISABLED },
	    { vcpu_elsewhere, TDX_VCPU_ASSOCIATED },
	    { rcx_hint, INV(OP_RCX) },
	    { other_tsc_adjust, TSC },
	    { epoch_locked, BUSY(OP_TD_EPOCH) } } },
	{ "mem_sept_add",
	  { TDR(OP_RDX, rdx_unaligned),
	    TD_SHARED(uninitialized, TD_UNINITIALIZED),
	    GPA,
	    TREE,
	    { entry_blocked, SEPTST },
	    PAGE(OP_R8, r8_unaligned) } },
	{ "mem_page_add",
	  { TDR(OP_RDX, rdx_unaligned),
	    TD_EXCLUSIVE(runnable, TD_RUNNABLE),
	    GPA,
	    { entry_blocked, SEPTST },
	    { r9_unaligned, INV(OP_R9) },
	    PAGE(OP_R8, r8_unaligned) } },
	{ "mem_page_aug",
	  { TDR(OP_RDX, rdx_unaligned),
	    TD_SHARED(uninitialized, TD_UNINITIALIZED),
	    GPA,
	    TREE,
	    { entry_blocked, SEPTST },
	    PAGE(OP_R8, r8_unaligned) } },
	{ "mem_range_block",
	  { TDR(OP_RDX, rdx_unaligned),
	    TD_SHARED(uninitialized, TD_UNINITIALIZED),
	    GPA,
	    TREE,
	    { entry_free, SEPTST } } },
	{ "mem_track",
	  { TDR(OP_RCX, rcx_unaligned),
	    TD_SHARED(uninitialized, TD_UNINITIALIZED),
	    { epoch_locked, BUSY(OP_TD_EPOCH) },
	    { vcpus_inside, TDX_PREVIOUS_TLB_EPOCH_BUSY } } },
	{ "mem_page_remove",
	  { TDR(OP_RDX, rdx_unaligned),
	    TD_SHARED(running_uninitialized, TD_UNINITIALIZED),
	    GPA,
	    TREE,
	    { entry_free, SEPTST },
	    { page_locked, BUSY(OP_RCX) },
	    { runnable, TDX_GPA_RANGE_NOT_BLOCKED + OP_RCX } } },
	{ "mr_extend",
	  { TDR(OP_RDX, rdx_unaligned),
	    TD_EXCLUSIVE(runnable, TD_RUNNABLE),
	    { gpa_reserved, INV(OP_RCX) },
	    { gpa_shared, INV(OP_RCX) },
	    { entry_free, TDX_EPT_ENTRY_NOT_PRESENT + OP_RCX } } },
	{ "mr_finalize",
	  { TDR(OP_RCX, rcx_unaligned),
	    TD_EXCLUSIVE(runnable, TD_RUNNABLE),
	    { without_vcpus, TDX_NO_VCPUS } } },
	{ "phymem_page_reclaim",
	  { { rcx_unaligned, INV(OP_RCX) },
	    { page_locked, BUSY(OP_RCX) },
	    { tdr_locked, BUSY(OP_TDR) },
	    { not_torn_down, TDX_LIFECYCLE_STATE_INCORRECT } } },
	{ "phymem_cache_wb",
	  { { rcx_unaligned, INV(OP_RCX) },
	    { wbt_locked, BUSY(OP_WBCACHE) },
	    { kot_locked, BUSY(OP_KOT) } } },
};

/* Two that set the same thing: make the later one first, and undo it last. */
static void spoil(struct scene *scene, const struct order *order)
{
	unsigned int i = 0;

	while (i < MAX_STEPS && order->step[i].defect)
		i++;
	while (i--)
		order->step[i].defect(scene, true);
}

static void check_order(const struct order *order)
{
	const struct scene_row *row = scene_row(order->scene);
	struct scene scene = scene_new(row);
	const struct step *step;

	spoil(&scene, order);
	for (step = order->step; step < order->step + MAX_STEPS && step->defect; step++) {
		if (!EXPECT_STATUS(step->want, scene_call(&scene, row).rax))
			printf("# %s, check %zu\n", order->scene, step - order->step);
		step->defect(&scene, false);
	}
	if (!KTAP_EXPECT(!tdx_status_code(scene_call(&scene, row).rax)))
		printf("# %s\n", order->scene);
	/* No state that cannot be was made up, or an answer would be undeclared. */
	KTAP_EXPECT_EQ(machine_findings(scene.machine).unimplemented, 0);
	machine_forget_findings(scene.machine);
	machine_free(scene.machine);
}

static void checks_come_in_their_order(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(orders); i++)
		check_order(&orders[i]);
}

static void system_leaves_check_in_their_order(void)
{
	struct scene scene = { .machine = machine_new(2, 1) };
	struct machine *machine = scene.machine;
	struct tdx_tdmr_info tdmr = machine_tdmr();
	uint64_t array = machine_put_tdmrs(machine, &tdmr, 1), bad = array | 8;
	uint64_t *lp = machine->lp_state[1];

	hold(&machine->m->sys_lock, true);
	EXPECT_CALL(TDX_SYS_BUSY, machine, 1, TDH_SYS_INIT, 1, 0, 0, 0);
	EXPECT_CALL(TDX_SYS_BUSY, machine, 1, TDH_SYS_LP_INIT, 0, 0, 0, 0);
	EXPECT_CALL(TDX_SYS_BUSY, machine, 1, TDH_SYS_CONFIG, bad, 0, 0, 0);
	EXPECT_CALL(TDX_SYS_BUSY, machine, 1, TDH_SYS_KEY_CONFIG, 0, 0, 0, 0);
	hold(&machine->m->sys_lock, false);
	machine_init_lps(machine);
	EXPECT_CALL(TDX_OPERAND_INVALID + OP_RCX, machine, 1, TDH_SYS_INIT, 1, 0, 0, 0);
	EXPECT_CALL(TDX_SYS_INIT_NOT_PENDING, machine, 1, TDH_SYS_INIT, 0, 0, 0, 0);
	lp[TDXM_LP_NO_ENTROPY] = 1;
	lp[TDXM_LP_TSC_ADJUST] = 1;
	EXPECT_CALL(TDX_SYS_LP_INIT_DONE, machine, 1, TDH_SYS_LP_INIT, 0, 0, 0, 0);
	machine->m->lp_init[1] = false;
	EXPECT_CALL(TDX_RND_NO_ENTROPY, machine, 1, TDH_SYS_LP_INIT, 0, 0, 0, 0);
	lp[TDXM_LP_NO_ENTROPY] = 0;
	EXPECT_CALL(TSC, machine, 1, TDH_SYS_LP_INIT, 0, 0, 0, 0);
	lp[TDXM_LP_TSC_ADJUST] = 0;

	EXPECT_CALL(INV(OP_RCX), machine, 1, TDH_SYS_CONFIG, bad, 0, 0, 0);
	EXPECT_CALL(INV(OP_RDX), machine, 1, TDH_SYS_CONFIG, array, 0, 0, 0);
	EXPECT_CALL(INV(OP_R8), machine, 1, TDH_SYS_CONFIG, array, 1, 0, 0);
	EXPECT_CALL(TDX_SUCCESS, machine, 1, TDH_SYS_CONFIG, array, 1, MACHINE_GLOBAL_HKID, 0);
	EXPECT_CALL(TDX_SYS_CONFIG_NOT_PENDING, machine, 1, TDH_SYS_CONFIG, bad, 0, 0, 0);
	EXPECT_CALL(TDX_SYS_LP_INIT_NOT_PENDING, machine, 1, TDH_SYS_LP_INIT, 0, 0, 0, 0);
	hold(&machine->m->ket_lock[0], true);
	lp[TDXM_LP_NO_ENTROPY] = 1;
	EXPECT_CALL(BUSY(OP_KET), machine, 1, TDH_SYS_KEY_CONFIG, 0, 0, 0, 0);
	hold(&machine->m->ket_lock[0], false);
	EXPECT_CALL(TDX_KEY_GENERATION_FAILED, machine, 1, TDH_SYS_KEY_CONFIG, 0, 0, 0, 0);
	machine_free(machine);
}

static const struct ktap_case cases[] = {
	{ "order.checks_come_in_their_order", checks_come_in_their_order },
	{ "order.system_leaves_check_in_their_order", system_leaves_check_in_their_order },
};

KTAP_MAIN(cases)
