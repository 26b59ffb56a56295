// SPDX-License-Identifier: GPL-2.0-only
/* Rules of tests, and the calls that they hold. */
#include "module/steer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "module/model.h"

/* Where a leaf names its TD, and whether RCX is a GPA. */
enum named {
	NAMES_NOTHING,
	NAMES_TDR_RCX,
	NAMES_TDR_RDX,
	NAMES_TDR_RDX_GPA,
	NAMES_PAGE_RCX, /* a page of the TD: TDVPR, or whatever is reclaimed */
	NAMES_PAGE_RDX,
};

static const uint8_t names[] = {
	[TDH_VP_ENTER] = NAMES_PAGE_RCX,
	[TDH_MNG_ADDCX] = NAMES_TDR_RDX,
	[TDH_MEM_PAGE_ADD] = NAMES_TDR_RDX_GPA,
	[TDH_MEM_SEPT_ADD] = NAMES_TDR_RDX_GPA,
	[TDH_VP_ADDCX] = NAMES_PAGE_RDX,
	[TDH_MEM_PAGE_AUG] = NAMES_TDR_RDX_GPA,
	[TDH_MEM_RANGE_BLOCK] = NAMES_TDR_RDX_GPA,
	[TDH_MNG_KEY_CONFIG] = NAMES_TDR_RCX,
	[TDH_MNG_CREATE] = NAMES_TDR_RCX,
	[TDH_VP_CREATE] = NAMES_TDR_RDX,
	[TDH_MNG_RD] = NAMES_TDR_RCX,
	[TDH_MR_EXTEND] = NAMES_TDR_RDX_GPA,
	[TDH_MR_FINALIZE] = NAMES_TDR_RCX,
	[TDH_VP_FLUSH] = NAMES_PAGE_RCX,
	[TDH_MNG_VPFLUSHDONE] = NAMES_TDR_RCX,
	[TDH_MNG_KEY_FREEID] = NAMES_TDR_RCX,
	[TDH_MNG_INIT] = NAMES_TDR_RCX,
	[TDH_VP_INIT] = NAMES_PAGE_RCX,
	[TDH_VP_RD] = NAMES_PAGE_RCX,
	[TDH_PHYMEM_PAGE_RECLAIM] = NAMES_PAGE_RCX,
	[TDH_MEM_PAGE_REMOVE] = NAMES_TDR_RDX_GPA,
	[TDH_MEM_TRACK] = NAMES_TDR_RCX,
	[TDH_VP_WR] = NAMES_PAGE_RCX,
};

static enum named named(unsigned int leaf)
{
	return leaf < ARRAY_LEN(names) ? names[leaf] : NAMES_NOTHING;
}

static uint64_t owner_of(struct tdxm *m, uint64_t hpa)
{
	struct tdxm_pamt_entry *entry = tdxm_pamt_find_leaf(m, hpa);
	unsigned int type = entry ? atomic_load(&entry->type) : PT_NDA;

	if (type == PT_NDA || type == PT_RSVD)
		return 0;
	return type == PT_TDR ? hpa : entry->owner;
}

static uint64_t tdr_of(const struct tdxm_call *call)
{
	switch (named(call->leaf->number)) {
	case NAMES_TDR_RCX:
		return call->in.rcx;
	case NAMES_TDR_RDX:
	case NAMES_TDR_RDX_GPA:
		return call->in.rdx & SEPTE_HPA;
	case NAMES_PAGE_RCX:
		return owner_of(call->m, call->in.rcx & SEPTE_HPA);
	case NAMES_PAGE_RDX:
		return owner_of(call->m, call->in.rdx & SEPTE_HPA);
	case NAMES_NOTHING:
		break;
	}
	return 0;
}

static bool fits(const struct tdxm_rule *rule, enum tdxm_point point, const struct tdxm_call *call)
{
	enum tdxm_point meant = rule->action == TDXM_HOLD_ENTRY ? POINT_ENTRY : POINT_LOCKED;
	uint64_t gpa = call->in.rcx & ~(uint64_t)TDX_GPA_LEVEL_MASK;

	if (rule->leaf != call->leaf->number || point != meant)
		return false;
	if (rule->tdr && rule->tdr != tdr_of(call))
		return false;
	if (!rule->gpa_size)
		return true;
	/* Below the range the difference wraps. */
	return named(rule->leaf) == NAMES_TDR_RDX_GPA && gpa - rule->gpa < rule->gpa_size;
}

static bool is_valid(const struct tdxm_rule *rule)
{
	if (!tdxm_leaf_find(rule->leaf) || !rule->first)
		return false;
	if (rule->gpa_size && named(rule->leaf) != NAMES_TDR_RDX_GPA)
		return false;
	if (rule->tdr && named(rule->leaf) == NAMES_NOTHING)
		return false;
	switch (rule->action) {
	case TDXM_HOLD_ENTRY:
	case TDXM_HOLD_LOCKED:
		return rule->timeout_ns && rule->timeout_ns <= TDXM_MAX_HOLD_NS;
	case TDXM_FAIL:
		return rule->status != TDX_SUCCESS;
	}
	return false;
}

void tdxm_steer_init(struct tdxm *m)
{
	pthread_mutex_init(&m->steer.mutex, NULL);
}

void tdxm_suspended_free(struct tdxm_suspended *suspended)
{
	free(suspended->call);
	free(suspended);
}

void tdxm_steer_free(struct tdxm *m)
{
	struct tdxm_suspended *suspended;

	while ((suspended = m->steer.suspended)) {
		m->steer.suspended = suspended->next;
		tdxm_suspended_free(suspended);
	}
	pthread_mutex_destroy(&m->steer.mutex);
}

static struct tdxm_armed *find(struct tdxm_steer *steer, uint32_t id)
{
	unsigned int i;

	for (i = 0; i < TDXM_MAX_RULES; i++) {
		if (steer->armed[i].id == id)
			return &steer->armed[i];
	}
	return NULL;
}

int tdxm_arm(struct tdxm *m, const struct tdxm_rule *rule, uint32_t *id)
{
	struct tdxm_steer *steer = &m->steer;
	struct tdxm_armed *armed;

	if (!is_valid(rule))
		return -EINVAL;

	pthread_mutex_lock(&steer->mutex);
	armed = find(steer, 0);
	if (armed) {
		*armed = (struct tdxm_armed) { .rule = *rule, .id = ++steer->last_id };
		*id = armed->id;
		atomic_fetch_add(&steer->num_armed, 1);
	}
	pthread_mutex_unlock(&steer->mutex);
	return armed ? 0 : -ENOSPC;
}

int tdxm_release(struct tdxm *m, uint32_t id)
{
	struct tdxm_armed *armed;

	pthread_mutex_lock(&m->steer.mutex);
	armed = id ? find(&m->steer, id) : NULL;
	if (armed)
		armed->releases++;
	pthread_mutex_unlock(&m->steer.mutex);
	return armed ? 0 : -ENOENT;
}

int tdxm_disarm(struct tdxm *m, uint32_t id)
{
	struct tdxm_steer *steer = &m->steer;
	unsigned int i, found = 0;

	pthread_mutex_lock(&steer->mutex);
	for (i = 0; i < TDXM_MAX_RULES; i++) {
		struct tdxm_armed *armed = &steer->armed[i];

		if (!armed->id || (id && armed->id != id))
			continue;
		armed->id = 0;
		atomic_fetch_sub(&steer->num_armed, 1);
		found++;
	}
	pthread_mutex_unlock(&steer->mutex);
	return found || !id ? 0 : -ENOENT;
}

int tdxm_rule_state(struct tdxm *m, uint32_t id, struct tdxm_rule_state *state)
{
	struct tdxm_armed *armed;

	pthread_mutex_lock(&m->steer.mutex);
	armed = id ? find(&m->steer, id) : NULL;
	if (armed)
		*state = armed->state;
	pthread_mutex_unlock(&m->steer.mutex);
	return armed ? 0 : -ENOENT;
}

void tdxm_set_busy_once(struct tdxm *m, bool on)
{
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(names); i++)
		atomic_store(&m->steer.busy_once[i], on && names[i] != NAMES_NOTHING);
}

/* Is this call one of those that the rule is about? Counts it, too. */
static bool is_hit(struct tdxm_armed *armed)
{
	const struct tdxm_rule *rule = &armed->rule;
	uint64_t nth = ++armed->state.matches;

	if (nth < rule->first || (rule->count && nth - rule->first >= rule->count))
		return false;
	armed->state.hits++;
	return true;
}

static void suspend(struct tdxm_call *call, enum tdxm_point point, uint64_t context,
		    struct tdxm_armed *armed)
{
	struct tdxm *m = call->m;
	struct tdxm_suspended *suspended = malloc(sizeof(*suspended));
	struct tdxm_call *copy = malloc(sizeof(*copy));

	if (!suspended || !copy)
		tdxm_bug("out of memory");
	memcpy(copy, call, sizeof(*copy));
	*suspended = (struct tdxm_suspended) {
		.next = m->steer.suspended,
		.context = context,
		.point = point,
		.rule_id = armed->id,
		.releases = armed->releases,
		.deadline_ns = m->ops.now_ns(m->opaque) + armed->rule.timeout_ns,
		.call = copy,
	};
	armed->state.held++;
	m->steer.suspended = suspended;
	atomic_fetch_add(&m->steer.num_suspended, 1);
}

static enum tdxm_verdict consult(struct tdxm_call *call, enum tdxm_point point, uint64_t context,
				 uint64_t *status)
{
	struct tdxm_steer *steer = &call->m->steer;
	unsigned int i;

	for (i = 0; i < TDXM_MAX_RULES; i++) {
		struct tdxm_armed *armed = &steer->armed[i];

		if (!armed->id || !fits(&armed->rule, point, call) || !is_hit(armed))
			continue;
		if (armed->rule.action == TDXM_FAIL) {
			*status = armed->rule.status;
			return STEER_FAIL;
		}
		suspend(call, point, context, armed);
		return STEER_HOLD;
	}
	return STEER_GO_ON;
}

/* The operand that a leaf asks for first: what a register names, before the TDR behind it. */
static unsigned int first_operand(const struct tdxm_call *call)
{
	static const enum tdxm_resource order[] = { RES_TDVPR, RES_TDR, RES_PAGE };
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(order); i++) {
		const struct tdxm_lock_cell *cell = tdxm_lock_cell(call, order[i]);

		if (cell->mode != LOCK_NONE && cell->operand != OP_TDR)
			return cell->operand;
	}
	return OP_RCX;
}

enum tdxm_verdict tdxm_steer(struct tdxm_call *call, enum tdxm_point point, uint64_t context,
			     uint64_t *status)
{
	struct tdxm_steer *steer = &call->m->steer;
	enum tdxm_verdict verdict;

	if (point == POINT_LOCKED && atomic_load(&steer->busy_once[call->leaf->number]) &&
	    atomic_exchange(&steer->busy_once[call->leaf->number], false)) {
		*status = TDX_OPERAND_BUSY + first_operand(call);
		return STEER_FAIL;
	}
	if (!atomic_load(&steer->num_armed))
		return STEER_GO_ON;

	pthread_mutex_lock(&steer->mutex);
	verdict = consult(call, point, context, status);
	pthread_mutex_unlock(&steer->mutex);
	return verdict;
}

static bool must_wait(struct tdxm *m, const struct tdxm_suspended *suspended)
{
	struct tdxm_armed *armed = find(&m->steer, suspended->rule_id);

	if (!armed)
		return false;
	if (armed->releases == suspended->releases &&
	    m->ops.now_ns(m->opaque) < suspended->deadline_ns)
		return true;
	armed->state.held--;
	armed->state.timeouts += armed->releases == suspended->releases;
	return false;
}

static bool is_same_call(const struct tdxm_suspended *suspended, uint64_t context,
			 const struct tdxm_regs *regs)
{
	return suspended->context == context && !memcmp(&suspended->call->in, regs, sizeof(*regs));
}

struct tdxm_suspended *tdxm_steer_resume(struct tdxm *m, uint64_t context,
					 const struct tdxm_regs *regs, bool *again)
{
	struct tdxm_suspended **link, *suspended;

	if (!atomic_load(&m->steer.num_suspended))
		return NULL;

	pthread_mutex_lock(&m->steer.mutex);
	for (link = &m->steer.suspended; (suspended = *link); link = &suspended->next) {
		if (is_same_call(suspended, context, regs))
			break;
	}
	*again = suspended && must_wait(m, suspended);
	if (suspended && !*again) {
		*link = suspended->next;
		atomic_fetch_sub(&m->steer.num_suspended, 1);
	}
	pthread_mutex_unlock(&m->steer.mutex);
	return suspended;
}
