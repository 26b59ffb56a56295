/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What each operation of tdx_init_mem_stress.h does and says, by kernel.
 *
 * The model is that of one page: what the page is, and of the TD what matters to
 * it.  Where one thread runs a program, that predicts every result.  Where several
 * do, the page's operations must have an order that explains what each of them
 * said, see tdx_init_mem_stress_order.h.
 */
#ifndef TDX_INIT_MEM_STRESS_MODEL_H
#define TDX_INIT_MEM_STRESS_MODEL_H

#include "tdx_init_mem_stress.h"

enum stress_place {
	STRESS_NOWHERE,
	STRESS_HOME,
	STRESS_AWAY,
};

/*
 * A page.  At most two files matter to it, that of the descriptor and the one
 * before: file 0 and file 1 in turn.  An operation begins by looking at what user
 * space handed in, the source or the file, which may be gone when it gets to work;
 * what it saw is kept for each thread until it ends.
 */
#define STRESS_STATE_BITS 23

union stress_state {
	u32 all;
	struct {
		u32 owner : 2;	  /* whose source it is mapped with, from 1; 0: empty */
		u32 prepared : 2; /* by file: has been added since the last hole */
		u32 is_private : 1;
		u32 is_outside : 1;
		u32 slot : 2;	   /* enum stress_place */
		u32 slot_file : 2; /* from 1; 0: closed */
		u32 fd_open : 1;
		u32 fd_file : 1;
		u32 vcpu_ready : 1; /* the second one */
		u32 finalized : 1;
		u32 hidden : 3;	    /* by thread */
		u32 saw_hidden : 3; /* by thread that looked, like the next one */
		u32 saw_file : 3;
	};
};

static inline union stress_state stress_state_of_new(unsigned int page, bool vcpu_ready)
{
	union stress_state state = {};

	state.is_private = page < TD_NR_PAGES;
	state.is_outside = page >= TD_NR_PAGES;
	state.slot = STRESS_HOME;
	state.slot_file = 1;
	state.fd_open = true;
	state.vcpu_ready = vcpu_ready;
	return state;
}

/* What KVM_TDX_INIT_MEM_REGION looks at, for each page. */
enum stress_check {
	STRESS_VCPU,
	STRESS_TD,
	STRESS_SLOT,
	STRESS_FILE,
	STRESS_PREPARED,
	STRESS_ATTRIBUTE,
	STRESS_SOURCE,
	STRESS_MAPPED,
	STRESS_CHECKS
};

/* The order in which it does, which shows where two things are wrong. */
struct stress_checks {
	enum stress_check order[STRESS_CHECKS];
	unsigned int nr;
};

static inline const struct stress_checks *stress_checks(void)
{
	static const struct stress_checks populate = {
		{ STRESS_VCPU, STRESS_TD, STRESS_SLOT, STRESS_FILE, STRESS_PREPARED,
		  STRESS_ATTRIBUTE, STRESS_SOURCE, STRESS_MAPPED },
		8
	};
	/* Since 7.0 nobody minds preparedness, and the source is pinned before. */
	static const struct stress_checks populate_7_0 = { { STRESS_VCPU, STRESS_TD, STRESS_SLOT,
							     STRESS_FILE, STRESS_SOURCE,
							     STRESS_ATTRIBUTE, STRESS_MAPPED },
							   7 };
	static const struct stress_checks decoupled = { { STRESS_VCPU, STRESS_TD, STRESS_SOURCE,
							  STRESS_SLOT, STRESS_ATTRIBUTE,
							  STRESS_FILE, STRESS_MAPPED },
							7 };

	if (tdx_host_is_decoupled())
		return &decoupled;

	return tdx_host_kernel() < TDX_KERNEL(7, 0) ? &populate : &populate_7_0;
}

static inline bool stress_minds_preparedness(void)
{
	return stress_checks()->order[4] == STRESS_PREPARED;
}

/* A result is described as errno by kernel; NULL for success. */
static const struct tdx_errno stress_ebadf[TDX_ERRNO_MAX] = { TDX_ERRNO(EBADF) };
static const struct tdx_errno stress_efault[TDX_ERRNO_MAX] = { TDX_ERRNO(EFAULT) };
static const struct tdx_errno stress_einval[TDX_ERRNO_MAX] = { TDX_ERRNO(EINVAL) };
static const struct tdx_errno stress_eexist[TDX_ERRNO_MAX] = { TDX_ERRNO(EEXIST) };
static const struct tdx_errno stress_eopnotsupp[TDX_ERRNO_MAX] = { TDX_ERRNO(EOPNOTSUPP) };
static const struct tdx_errno stress_mapped[TDX_ERRNO_MAX] = {
	TDX_ERRNO(EEXIST),
	TDX_ERRNO_SINCE(7, 0, EIO),
};

/* A decoupled kernel may see a bad source before somebody else finalizes. */
static const struct tdx_errno stress_too_late[TDX_ERRNO_MAX] = {
	TDX_ERRNO(EINVAL),
	TDX_ERRNO_SINCE(255, 0, EFAULT),
};

static inline const struct tdx_errno *stress_fails(const union stress_state *state,
						   enum stress_check check, unsigned int vcpu,
						   unsigned int thread)
{
	switch (check) {
	case STRESS_VCPU:
		return vcpu && !state->vcpu_ready ? stress_einval : NULL;
	case STRESS_TD:
		if (!state->finalized)
			return NULL;
		return state->saw_hidden & BIT(thread) ? stress_too_late : stress_einval;
	case STRESS_SLOT:
		return state->is_outside || state->slot != STRESS_HOME ? stress_einval : NULL;
	case STRESS_FILE:
		return !state->slot_file ? stress_efault : NULL;
	case STRESS_PREPARED:
		return state->prepared & BIT(state->slot_file - 1) ? stress_eexist : NULL;
	case STRESS_ATTRIBUTE:
		return !state->is_private ? stress_einval : NULL;
	case STRESS_SOURCE:
		return state->saw_hidden & BIT(thread) ? stress_efault : NULL;
	case STRESS_MAPPED:
		return state->owner ? stress_mapped : NULL;
	default:
		return stress_einval;
	}
}

static inline const struct tdx_errno *stress_add(union stress_state *state,
						 const struct stress_op *op, unsigned int thread)
{
	const struct stress_checks *checks = stress_checks();
	const struct tdx_errno *errs;
	unsigned int i;

	for (i = 0; i < checks->nr; i++) {
		errs = stress_fails(state, checks->order[i], op->vcpu, thread);
		if (errs)
			return errs;
	}

	state->owner = 1 + thread;
	state->prepared |= BIT(state->slot_file - 1);
	return NULL;
}

static inline const struct tdx_errno *stress_set_slot(union stress_state *state,
						      enum stress_place place, unsigned int file)
{
	if (state->slot != STRESS_NOWHERE)
		return stress_einval; /* slots of guest_memfd are immutable */
	if (!state->fd_open)
		return stress_ebadf;

	state->slot = place;
	state->slot_file = 1 + file;
	return NULL;
}

/* The last reference to a file that is no longer that of the descriptor is gone. */
static inline void stress_release(union stress_state *state)
{
	if (state->fd_open && state->slot_file == 1 + state->fd_file)
		return;

	state->slot_file = 0;
	state->owner = 0;
}

/* What the descriptor will have from now on, while the former file may live on. */
static inline void stress_open(union stress_state *state)
{
	state->fd_open = true;
	state->fd_file ^= 1;
	state->prepared &= ~BIT(state->fd_file);
}

/* An operation of a thread looks at what it was given. */
static inline void stress_begin(union stress_state *state, unsigned int thread)
{
	state->saw_hidden |= state->hidden & BIT(thread);
	state->saw_file |= state->fd_file << thread;
}

/* It takes effect on @page; returns its errno, NULL for success. */
static inline const struct tdx_errno *stress_end(union stress_state *state,
						 const struct stress_op *op, unsigned int thread)
{
	unsigned int file = state->saw_file >> thread & 1;
	const struct tdx_errno *errs = NULL;

	switch (op->kind) {
	case STRESS_ADD:
		errs = stress_add(state, op, thread);
		break;
	case STRESS_PUNCH:
		if (!state->fd_open) {
			errs = stress_ebadf;
			break;
		}
		state->prepared &= ~BIT(file);
		if (state->slot_file == 1 + file)
			state->owner = 0;
		break;
	case STRESS_ALLOCATE:
		if (!state->fd_open)
			errs = stress_ebadf;
		else if (op->first + op->nr > TD_NR_PAGES)
			errs = stress_einval;
		break;
	case STRESS_SHARE:
		state->is_private = false;
		state->owner = 0;
		break;
	case STRESS_UNSHARE:
		state->is_private = true;
		break;
	case STRESS_DELETE_SLOT:
		if (state->slot == STRESS_NOWHERE)
			errs = stress_einval;
		state->slot = STRESS_NOWHERE;
		state->slot_file = 0;
		state->owner = 0;
		break;
	case STRESS_SET_SLOT:
		errs = stress_set_slot(state, STRESS_HOME, file);
		break;
	case STRESS_MOVE_SLOT:
		errs = stress_set_slot(state, STRESS_AWAY, file);
		break;
	case STRESS_LOG_DIRTY:
		errs = stress_einval; /* not with guest_memfd */
		break;
	case STRESS_CLOSE_FILE:
		if (!state->fd_open)
			errs = stress_ebadf;
		state->fd_open = false;
		stress_release(state);
		break;
	case STRESS_OPEN_FILE:
		if (!state->fd_open)
			stress_open(state);
		break;
	case STRESS_REPLACE_FILE:
		stress_open(state);
		break;
	case STRESS_HIDE_SOURCE:
		state->hidden |= BIT(op->whose);
		break;
	case STRESS_SHOW_SOURCE:
		state->hidden &= ~BIT(op->whose);
		break;
	case STRESS_READ_CPUID:
		errs = state->finalized ? stress_einval : NULL;
		break;
	case STRESS_INIT_VCPU:
		if (state->finalized || state->vcpu_ready)
			errs = stress_einval;
		else
			state->vcpu_ready = true;
		break;
	case STRESS_PRE_FAULT:
		errs = stress_eopnotsupp;
		break;
	case STRESS_FINALIZE:
		errs = state->finalized ? stress_einval : NULL;
		state->finalized = true;
		break;
	default:
		break;
	}

	state->saw_hidden &= ~BIT(thread);
	state->saw_file &= ~BIT(thread);
	return errs;
}

/*
 * An operation that took place.
 * @done:	pages that were added
 * @start, @end: the time before and after
 */
struct stress_event {
	struct stress_op op;
	unsigned int thread;
	int err;
	unsigned int done;
	const char *wrong; /* what is wrong whatever the state is, or NULL */
	u64 start;
	u64 end;
};

/* Whether it has something to do with the page, and which errno it had for it. */
static inline bool stress_concerns(const struct stress_event *event, unsigned int page, int *err)
{
	const struct stress_op *op = &event->op;

	*err = event->err;
	if (!stress_infos[op->kind].nr)
		return true;
	if (page < op->first || page >= op->first + op->nr)
		return false;
	if (op->kind != STRESS_ADD)
		return true;
	if (page < op->first + event->done)
		*err = 0;

	return page <= op->first + event->done;
}

static inline bool stress_allows(const struct tdx_errno *errs, int err)
{
	return errs ? tdx_errno_allows(errs, err) : !err;
}

/* Operations that a signal may end, at any page. */
static inline bool stress_is_interrupted(const struct stress_event *event, int err)
{
	return err == EINTR && (event->op.kind == STRESS_ADD || event->op.kind == STRESS_ALLOCATE ||
				event->op.kind == STRESS_PRE_FAULT);
}

#endif /* TDX_INIT_MEM_STRESS_MODEL_H */
