/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Steering, for tests: hold the n-th call of a leaf, or make it fail. A rule is
 * looked up at two points of a call: on entry, and when every lock is held,
 * every check has passed and nothing has changed.
 *
 * All functions may be called at any time, from any thread.
 */
#ifndef TDXM_STEER_H
#define TDXM_STEER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct tdxm;
struct tdxm_call;
struct tdxm_regs;
struct tdxm_suspended;

#define TDXM_MAX_RULES 16
#define TDXM_MAX_HOLD_NS (60 * UINT64_C(1000000000))

enum tdxm_rule_action {
	TDXM_HOLD_ENTRY = 1,
	TDXM_HOLD_LOCKED,
	TDXM_FAIL,
};

/*
 * struct tdxm_rule - what to do to which calls
 * @tdr:	of the TD that the call names, 0 for any
 * @gpa:	first gpa of the range that the call's GPA operand must be in
 * @gpa_size:	bytes of that range, 0 for any call
 * @first:	which matching call is the first, from 1
 * @count:	how many from there on, 0 for all
 * @status:	answer of TDXM_FAIL
 * @timeout_ns:	longest time of one hold, up to TDXM_MAX_HOLD_NS
 */
struct tdxm_rule {
	enum tdxm_rule_action action;
	unsigned int leaf;
	uint64_t tdr;
	uint64_t gpa;
	uint64_t gpa_size;
	uint64_t first;
	uint64_t count;
	uint64_t status;
	uint64_t timeout_ns;
};

/*
 * struct tdxm_rule_state - what a rule has done so far
 * @held:	calls that it holds now
 * @matches:	calls that it fits; those of TDXM_HOLD_LOCKED and TDXM_FAIL passed
 *		every check
 * @hits:	calls that were held, or failed
 * @timeouts:	holds that nobody released in time
 */
struct tdxm_rule_state {
	uint64_t held;
	uint64_t matches;
	uint64_t hits;
	uint64_t timeouts;
};

/* A rule in its slot. @id is 0 when the slot is free, and never used again. */
struct tdxm_armed {
	struct tdxm_rule rule;
	struct tdxm_rule_state state;
	uint32_t id;
	uint32_t releases; /* a hold ends when this has changed since it began */
};

struct tdxm_steer {
	pthread_mutex_t mutex; /* protects all but the atomics */
	struct tdxm_armed armed[TDXM_MAX_RULES];
	uint32_t last_id;
	_Atomic unsigned int num_armed;
	_Atomic bool busy_once[256]; /* by leaf */
	struct tdxm_suspended *suspended;
	_Atomic unsigned int num_suspended;
};

/* 0, or -EINVAL, or -ENOSPC */
int tdxm_arm(struct tdxm *m, const struct tdxm_rule *rule, uint32_t *id);
/* Let go whom the rule holds. 0, or -ENOENT. */
int tdxm_release(struct tdxm *m, uint32_t id);
/* The same, and forget the rule; id 0 means all. 0, or -ENOENT. */
int tdxm_disarm(struct tdxm *m, uint32_t id);
int tdxm_rule_state(struct tdxm *m, uint32_t id, struct tdxm_rule_state *state);
/* Each leaf that names a TD answers its next successful call with BUSY instead. */
void tdxm_set_busy_once(struct tdxm *m, bool on);

/* Inside of the model. */

void tdxm_steer_init(struct tdxm *m);
void tdxm_steer_free(struct tdxm *m);

enum tdxm_point {
	POINT_ENTRY,
	POINT_LOCKED,
};

/* A call that waits for its release; a copy, the original was on the stack. */
struct tdxm_suspended {
	struct tdxm_suspended *next;
	uint64_t context;
	enum tdxm_point point;
	uint32_t rule_id;
	uint32_t releases;
	uint64_t deadline_ns;
	struct tdxm_call *call;
};

enum tdxm_verdict {
	STEER_GO_ON,
	STEER_FAIL, /* *status is to be answered */
	STEER_HOLD, /* the call is suspended, the caller's copy is void */
};

enum tdxm_verdict tdxm_steer(struct tdxm_call *call, enum tdxm_point point, uint64_t context,
			     uint64_t *status);
/*
 * The suspended call that is executed again, or NULL. *again tells that it must
 * go on waiting; else it belongs to the caller, who frees it and its call.
 */
struct tdxm_suspended *tdxm_steer_resume(struct tdxm *m, uint64_t context,
					 const struct tdxm_regs *regs, bool *again);
void tdxm_suspended_free(struct tdxm_suspended *suspended);

#endif /* TDXM_STEER_H */
