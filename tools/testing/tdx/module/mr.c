// SPDX-License-Identifier: GPL-2.0-only
/* TDH.MR.* and the measurement of the build, MRTD. */
#include <string.h>

#include "module/model.h"

#define CHUNK 256

/* Every record starts with a name, a GPA, and zeros up to 128 bytes. */
struct mrtd_block {
	char name[16];
	uint64_t gpa;
	uint8_t zero[104];
};

_Static_assert(sizeof(struct mrtd_block) == 128, "MRTD block");

static void mrtd_record(struct tdxm_td *td, const char *name, uint64_t gpa)
{
	struct mrtd_block block = { .gpa = gpa };

	memcpy(block.name, name, strlen(name));
	sha384_update(&td->mrtd_ctx, sizeof(block), (const uint8_t *)&block);
}

/* The measurement as it is now; @td must not go away meanwhile. */
void tdxm_mrtd_get(struct tdxm_td *td, uint8_t mrtd[SHA384_DIGEST_SIZE])
{
	struct sha384_ctx copy;

	pthread_mutex_lock(&td->mrtd_mutex);
	copy = td->mrtd_ctx;
	if (td->op_state == TD_RUNNABLE)
		memcpy(mrtd, td->mrtd, SHA384_DIGEST_SIZE);
	else
		sha384_digest(&copy, SHA384_DIGEST_SIZE, mrtd);
	pthread_mutex_unlock(&td->mrtd_mutex);
}

void tdxm_mrtd_page_add(struct tdxm_td *td, uint64_t gpa)
{
	pthread_mutex_lock(&td->mrtd_mutex);
	mrtd_record(td, "MEM.PAGE.ADD", gpa);
	pthread_mutex_unlock(&td->mrtd_mutex);
}

uint64_t tdxm_mr_extend_check(struct tdxm_call *call)
{
	struct tdxm *m = call->m;
	uint64_t status, hpa;

	call->out.rcx = 0;
	call->out.rdx = 0;
	status = tdxm_td_lock_explicit(call, call->in.rdx);
	if (!status)
		status = tdxm_td_check(call, OPS_MASK(TD_INITIALIZED));
	if (status)
		return status;
	if (call->in.rcx % CHUNK)
		return TDX_OPERAND_INVALID + OP_RCX;
	status = tdxm_gpa_check_private(call->td, call->in.rcx);
	if (status)
		return status;

	/*
	 * MODEL: the answer without operand and details is for a page that is
	 * blocked for writing, a state of migration.
	 */
	call->walk.gpa = call->in.rcx;
	call->walk.want_level = 0;
	if (tdxm_sept_walk(call) || call->walk.state != SEPT_MAPPED)
		return tdxm_sept_details(call, TDX_EPT_ENTRY_NOT_PRESENT + OP_RCX);
	hpa = (call->walk.value & SEPTE_HPA) + call->in.rcx % TDX_PAGE_SIZE;
	if (!m->ops.mem_read(m->opaque, hpa, call->buf, CHUNK))
		tdxm_bug("TD page that is no RAM");
	return TDX_SUCCESS;
}

void tdxm_mr_extend_commit(struct tdxm_call *call)
{
	struct tdxm_td *td = call->td;

	pthread_mutex_lock(&td->mrtd_mutex);
	mrtd_record(td, "MR.EXTEND", call->in.rcx);
	sha384_update(&td->mrtd_ctx, CHUNK, call->buf);
	pthread_mutex_unlock(&td->mrtd_mutex);
}

uint64_t tdxm_mr_finalize_check(struct tdxm_call *call)
{
	uint64_t status = tdxm_td_lock_explicit(call, call->in.rcx);

	if (!status)
		status = tdxm_td_check(call, OPS_MASK(TD_INITIALIZED));
	if (status)
		return status;
	return call->td->num_vcpus ? TDX_SUCCESS : TDX_NO_VCPUS;
}

void tdxm_mr_finalize_commit(struct tdxm_call *call)
{
	struct tdxm_td *td = call->td;

	pthread_mutex_lock(&td->mrtd_mutex);
	sha384_digest(&td->mrtd_ctx, sizeof(td->mrtd), td->mrtd);
	td->op_state = TD_RUNNABLE;
	pthread_mutex_unlock(&td->mrtd_mutex);
}
