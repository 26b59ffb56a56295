// SPDX-License-Identifier: GPL-2.0-only
/* The leaf table and the dispatcher. */
#include "module/model.h"

/* clang-format off */
#define LEAF(num, text, check_fn, commit_fn, lock_class, ...)		\
	[num] = { .number = (num), .name = (text), .check = (check_fn),	\
		  .commit = (commit_fn), .locks = { lock_class, lock_class }, __VA_ARGS__ }
/* clang-format on */
/* Check and effects under the usual names. */
#define LEAF_RW(num, text, fn, lock_class, ...) \
	LEAF(num, text, tdxm_##fn##_check, tdxm_##fn##_commit, lock_class, __VA_ARGS__)
/* Reads, or refuses. */
#define LEAF_RO(num, text, fn, lock_class, ...) \
	LEAF(num, text, tdxm_##fn##_check, NULL, lock_class, __VA_ARGS__)
/* A leaf of the real module that the model lacks. */
#define LEAF_MISSING(num, text, ...) LEAF(num, text, NULL, NULL, LOCKS_NONE, __VA_ARGS__)

static const struct tdxm_leaf leaf_table[] = {
	LEAF_RW(TDH_VP_ENTER, "TDH.VP.ENTER", vp_enter, LOCKS_VP_ENTER),
	LEAF_RW(TDH_MNG_ADDCX, "TDH.MNG.ADDCX", mng_addcx, LOCKS_MNG_ADDCX),
	LEAF_RW(TDH_MEM_PAGE_ADD, "TDH.MEM.PAGE.ADD", mem_page_add, LOCKS_PAGE_ADD),
	LEAF_RW(TDH_MEM_SEPT_ADD, "TDH.MEM.SEPT.ADD", mem_sept_add, LOCKS_SEPT_ADD,
		.max_version = 1),
	LEAF_RW(TDH_VP_ADDCX, "TDH.VP.ADDCX", vp_addcx, LOCKS_VP_ADDCX),
	LEAF_MISSING(TDH_MEM_PAGE_RELOCATE, "TDH.MEM.PAGE.RELOCATE"),
	LEAF_RW(TDH_MEM_PAGE_AUG, "TDH.MEM.PAGE.AUG", mem_page_aug, LOCKS_SEPT_ADD),
	LEAF_RW(TDH_MEM_RANGE_BLOCK, "TDH.MEM.RANGE.BLOCK", mem_range_block, LOCKS_RANGE_BLOCK),
	LEAF_RW(TDH_MNG_KEY_CONFIG, "TDH.MNG.KEY.CONFIG", mng_key_config, LOCKS_MNG_KEY_CONFIG),
	LEAF_RW(TDH_MNG_CREATE, "TDH.MNG.CREATE", mng_create, LOCKS_MNG_CREATE),
	LEAF_RW(TDH_VP_CREATE, "TDH.VP.CREATE", vp_create, LOCKS_VP_CREATE),
	LEAF_RO(TDH_MNG_RD, "TDH.MNG.RD", mng_rd, LOCKS_MNG_RD, .max_version = 1,
		.model_version = 1),
	LEAF_MISSING(TDH_MEM_RD, "TDH.MEM.RD"),
	LEAF_MISSING(TDH_MNG_WR, "TDH.MNG.WR"),
	LEAF_MISSING(TDH_MEM_WR, "TDH.MEM.WR"),
	LEAF_MISSING(TDH_MEM_PAGE_DEMOTE, "TDH.MEM.PAGE.DEMOTE"),
	LEAF_RW(TDH_MR_EXTEND, "TDH.MR.EXTEND", mr_extend, LOCKS_MR_EXTEND),
	LEAF_RW(TDH_MR_FINALIZE, "TDH.MR.FINALIZE", mr_finalize, LOCKS_TDR_EXCLUSIVE),
	LEAF_RW(TDH_VP_FLUSH, "TDH.VP.FLUSH", vp_flush, LOCKS_VP_FLUSH),
	LEAF_RW(TDH_MNG_VPFLUSHDONE, "TDH.MNG.VPFLUSHDONE", mng_vpflushdone, LOCKS_MNG_KEY_RELEASE),
	LEAF_RW(TDH_MNG_KEY_FREEID, "TDH.MNG.KEY.FREEID", mng_key_freeid, LOCKS_MNG_KEY_RELEASE),
	LEAF_RW(TDH_MNG_INIT, "TDH.MNG.INIT", mng_init, LOCKS_TDR_EXCLUSIVE),
	/* Version 1 brings an x2APIC id and takes the TDR exclusively. */
	[TDH_VP_INIT] = { TDH_VP_INIT, "TDH.VP.INIT",
			  /* Higher ones are refused by the leaf, behind another check. */
			  .max_version = UINT8_MAX, .model_version = UINT8_MAX,
			  .locks = { LOCKS_VP_INIT_V0, LOCKS_VP_INIT_V1 },
			  .check = tdxm_vp_init_check, .commit = tdxm_vp_init_commit,
			  .undo = tdxm_vp_init_undo },
	LEAF_MISSING(TDH_MEM_PAGE_PROMOTE, "TDH.MEM.PAGE.PROMOTE", .max_version = 1),
	LEAF_RO(TDH_PHYMEM_PAGE_RDMD, "TDH.PHYMEM.PAGE.RDMD", phymem_page_rdmd, LOCKS_PHYMEM_READ),
	LEAF_MISSING(TDH_MEM_SEPT_RD, "TDH.MEM.SEPT.RD"),
	LEAF_RO(TDH_VP_RD, "TDH.VP.RD", vp_rd, LOCKS_VP_RDWR, .max_version = 1, .model_version = 1),
	LEAF_MISSING(TDH_MNG_KEY_RECLAIMID, "TDH.MNG.KEY.RECLAIMID"),
	LEAF_RW(TDH_PHYMEM_PAGE_RECLAIM, "TDH.PHYMEM.PAGE.RECLAIM", phymem_page_reclaim,
		LOCKS_RECLAIM),
	LEAF_RW(TDH_MEM_PAGE_REMOVE, "TDH.MEM.PAGE.REMOVE", mem_page_remove, LOCKS_PAGE_REMOVE),
	LEAF_MISSING(TDH_MEM_SEPT_REMOVE, "TDH.MEM.SEPT.REMOVE", .max_version = 1),
	LEAF_RW(TDH_SYS_KEY_CONFIG, "TDH.SYS.KEY.CONFIG", sys_key_config, LOCKS_SYS_KEY,
		.before_ready = true),
	LEAF_MISSING(TDH_SYS_INFO, "TDH.SYS.INFO", .before_ready = true),
	LEAF_RW(TDH_SYS_INIT, "TDH.SYS.INIT", sys_init, LOCKS_SYS, .max_version = 1,
		.before_ready = true),
	LEAF_RO(TDH_SYS_RD, "TDH.SYS.RD", sys_rd, LOCKS_NONE, .before_ready = true),
	LEAF_RW(TDH_SYS_LP_INIT, "TDH.SYS.LP.INIT", sys_lp_init, LOCKS_SYS_LP,
		.before_ready = true),
	LEAF_RW(TDH_SYS_TDMR_INIT, "TDH.SYS.TDMR.INIT", sys_tdmr_init, LOCKS_TDMR_INIT),
	LEAF_MISSING(TDH_SYS_RDALL, "TDH.SYS.RDALL", .before_ready = true),
	LEAF_RW(TDH_MEM_TRACK, "TDH.MEM.TRACK", mem_track, LOCKS_TRACK),
	LEAF_MISSING(TDH_MEM_RANGE_UNBLOCK, "TDH.MEM.RANGE.UNBLOCK"),
	LEAF_RW(TDH_PHYMEM_CACHE_WB, "TDH.PHYMEM.CACHE.WB", phymem_cache_wb, LOCKS_CACHE_WB),
	LEAF_RW(TDH_PHYMEM_PAGE_WBINVD, "TDH.PHYMEM.PAGE.WBINVD", phymem_page_wbinvd,
		LOCKS_PHYMEM_READ),
	LEAF_RW(TDH_VP_WR, "TDH.VP.WR", vp_wr, LOCKS_VP_RDWR),
	LEAF_MISSING(TDH_SYS_LP_SHUTDOWN, "TDH.SYS.LP.SHUTDOWN", .before_ready = true),
	LEAF_RW(TDH_SYS_CONFIG, "TDH.SYS.CONFIG", sys_config, LOCKS_SYS, .max_version = 1,
		.before_ready = true),
	LEAF_MISSING(TDH_SERVTD_BIND, "TDH.SERVTD.BIND"),
	LEAF_RW(TDH_SYS_SHUTDOWN, "TDH.SYS.SHUTDOWN", sys_shutdown, LOCKS_SYS,
		.undo = tdxm_sys_shutdown_undo),
	LEAF_RW(TDH_SYS_UPDATE, "TDH.SYS.UPDATE", sys_update, LOCKS_SYS, .max_version = 1,
		.model_version = 1, .before_ready = true),
	LEAF_RO(TDH_SYS_DISABLE, "TDH.SYS.DISABLE", sys_disable, LOCKS_NONE),
};

const struct tdxm_leaf *tdxm_leaf_find(unsigned int number)
{
	if (number >= ARRAY_LEN(leaf_table) || !leaf_table[number].name)
		return NULL;
	return &leaf_table[number];
}

bool tdxm_leaf_uses_all_regs(uint64_t rax)
{
	return (rax & TDX_RAX_LEAF_MASK) == TDH_VP_ENTER || rax & TDX_RAX_SEAMLDR;
}

const char *tdxm_leaf_name(uint64_t leaf)
{
	const struct tdxm_leaf *row = leaf <= TDX_RAX_LEAF_MASK ? tdxm_leaf_find(leaf) : NULL;

	if (leaf >= TDXM_LEAF_SEAMLDR)
		return tdxm_seamldr_leaf_name(leaf - TDXM_LEAF_SEAMLDR);
	return row ? row->name : "unknown";
}

/* What the dispatcher refuses before any code of the leaf runs. */
static uint64_t admit(struct tdxm_call *call)
{
	const struct tdxm_leaf *leaf = call->leaf;
	struct tdxm *m = call->m;
	unsigned int state = atomic_load(&m->sys_state);

	if (call->in.rax & TDX_RAX_RESERVED || (call->version && !(leaf && leaf->max_version)))
		return TDX_OPERAND_INVALID + OP_RAX;
	if (state == SYS_SHUTDOWN && !(leaf && leaf->number == TDH_SYS_LP_SHUTDOWN))
		return TDX_SYS_SHUTDOWN;
	if (state != SYS_READY && !(leaf && leaf->before_ready))
		return TDX_SYS_NOT_READY;
	if (!leaf || !leaf->check) {
		tdxm_unimplemented(m, "leaf %llu (%s)",
				   (unsigned long long)(call->in.rax & TDX_RAX_LEAF_MASK),
				   leaf ? leaf->name : "unknown");
		return TDX_OPERAND_INVALID + OP_RAX;
	}
	if (call->version > leaf->max_version)
		return TDX_OPERAND_INVALID + OP_RAX;
	if (call->version > leaf->model_version) {
		tdxm_unimplemented(m, "%s version %u", leaf->name, call->version);
		return TDX_OPERAND_INVALID + OP_RAX;
	}
	if (!leaf->before_ready && !atomic_load(&m->lp_init[call->lp]))
		tdxm_sanitizer(call, SAN_LP_NOT_INITIALISED, TDXM_NO_PAGE,
			       "%s on LP %u that lacks TDH.SYS.LP.INIT", leaf->name, call->lp);
	return TDX_SUCCESS;
}

/* As the statistics have it. */
static uint32_t leaf_number(const struct tdxm_call *call)
{
	uint64_t rax = call->in.rax;

	return (rax & TDX_RAX_LEAF_MASK) + (rax & TDX_RAX_SEAMLDR ? TDXM_LEAF_SEAMLDR : 0);
}

static void account(struct tdxm_call *call, unsigned int lp, uint64_t status)
{
	unsigned int number = leaf_number(call);
	struct tdxm *m = call->m;
	struct tdxm_event event = {
		.lp = lp,
		.leaf = tdxm_leaf_name(number),
		.in = call->in,
		.out = call->out,
		.start_ns = call->start_ns,
		.end_ns = m->ops.now_ns(m->opaque),
		.busy = call->busy,
		.injected = call->injected,
	};
	uint64_t nth = tdxm_counts_add(m, lp, number, status, event.end_ns - event.start_ns);

	tdxm_leaf_status_check(call, number, status);
	if (m->ops.completed) {
		event.out.rax = status;
		m->ops.completed(m->opaque, &event);
	}
	/* A retry loop of the guest must not drown the log: powers of two only. */
	if (!tdx_status_is_error(status) || nth & (nth - 1))
		return;
	tdxm_log(m, TDXM_LOG_GUEST_ERROR,
		 "%s lp %u: %s (0x%016llx) rcx 0x%llx rdx 0x%llx r8 0x%llx r9 0x%llx, no. %llu",
		 event.leaf, lp, tdxm_status_name(status), (unsigned long long)status,
		 (unsigned long long)call->in.rcx, (unsigned long long)call->in.rdx,
		 (unsigned long long)call->in.r8, (unsigned long long)call->in.r9,
		 (unsigned long long)nth);
}

/* Every check has passed, yet the call is to fail. */
static void fail(struct tdxm_call *call)
{
	call->injected = true;
	if (call->leaf->undo)
		call->leaf->undo(call);
}

/* Every check has passed. False: the call is suspended. */
static bool commit(struct tdxm_call *call, uint64_t context, bool steer, uint64_t *status)
{
	switch (steer ? tdxm_steer(call, POINT_LOCKED, context, status) : STEER_GO_ON) {
	case STEER_HOLD:
		return false;
	case STEER_FAIL:
		fail(call);
		return true;
	case STEER_GO_ON:
		break;
	}
	tdxm_latency_spend(call);
	if (call->leaf->commit && !call->no_effect)
		call->leaf->commit(call);
	*status = call->completion;
	return true;
}

/*
 * From the point on where the call is. Between check and commit every lock is
 * held and nothing has changed: the one place where a call is held, takes its
 * time, or is made to fail without a trace. False: the call is suspended.
 */
static bool execute(struct tdxm_call *call, uint64_t context, const struct tdxm_suspended *resumed,
		    uint64_t *status)
{
	bool done = true;

	if (!resumed && tdxm_steer(call, POINT_ENTRY, context, status) == STEER_HOLD)
		return false;
	if (!resumed || resumed->point == POINT_ENTRY) {
		call->lock_class = call->leaf->locks[call->version ? 1 : 0];
		*status = call->leaf->check(call);
	} else {
		*status = TDX_SUCCESS;
	}
	if (!*status)
		done = commit(call, context, !resumed || resumed->point == POINT_ENTRY, status);
	if (done) {
		tdxm_history_record(call, *status);
		tdxm_sanitize_result(call, *status);
		tdxm_unlock_all(call);
	}
	return done;
}

/* Not the buffer: 4 KiB for every call would be most of its cost. */
static void call_init(struct tdxm_call *call, struct tdxm *m, unsigned int lp,
		      const struct tdxm_regs *regs)
{
	__builtin_memset(call, 0, offsetof(struct tdxm_call, buf));
	call->m = m;
	call->lp = lp;
	call->in = *regs;
	call->out = *regs;
	call->leaf = regs->rax & TDX_RAX_SEAMLDR ? tdxm_seamldr_leaf(regs->rax) :
						   tdxm_leaf_find(regs->rax & TDX_RAX_LEAF_MASK);
	call->version = (regs->rax & TDX_RAX_VERSION_MASK) >> TDX_RAX_VERSION_SHIFT;
	call->start_ns = m->ops.now_ns(m->opaque);
}

static enum tdxm_outcome seamldr(struct tdxm *m, unsigned int lp, struct tdxm_regs *regs)
{
	struct tdxm_call call;
	uint64_t status;

	call_init(&call, m, lp, regs);
	if (!tdxm_seamldr(&call, &status))
		return TDXM_VMFAIL_INVALID;
	account(&call, lp, status);
	*regs = call.out;
	regs->rax = status;
	return TDXM_DONE;
}

enum tdxm_outcome tdxm_seamcall(struct tdxm *m, unsigned int lp, uint64_t context,
				struct tdxm_regs *regs)
{
	struct tdxm_suspended *resumed;
	uint64_t status = TDX_SUCCESS;
	struct tdxm_call call;
	bool again, done;

	if (lp >= m->platform.nr_lps)
		tdxm_bug("SEAMCALL on an LP that the platform lacks");
	if (regs->rax & TDX_RAX_SEAMLDR)
		return seamldr(m, lp, regs);
	if (atomic_load(&m->seamldr.installing))
		return TDXM_VMFAIL_INVALID;

	resumed = tdxm_steer_resume(m, context, regs, &again);
	if (resumed && again)
		return TDXM_AGAIN;
	if (resumed) {
		call = *resumed->call;
	} else {
		atomic_fetch_add(&m->calls_inside, 1);
		call_init(&call, m, lp, regs);
		status = admit(&call);
	}

	done = status || execute(&call, context, resumed, &status);
	if (resumed)
		tdxm_suspended_free(resumed);
	if (!done)
		return TDXM_AGAIN;
	atomic_fetch_sub(&m->calls_inside, 1);
	account(&call, lp, status);

	*regs = call.out;
	regs->rax = status;
	return TDXM_DONE;
}
