// SPDX-License-Identifier: GPL-2.0-only
/* P-SEAMLDR: INFO and INSTALL. */
#include "module/seamldr.h"

#include <string.h>

#include "module/model.h"

#define PARAMS_SIZE 4096
#define PARAMS_MAX_PAGES 496
#define SCENARIO_LOAD 0
#define SCENARIO_UPDATE 1

/* MODEL: as many as fit into a test; silicon says how many. */
#define UPDATES 8

struct seamldr_info {
	uint32_t version;
	uint32_t attributes;
	uint32_t vendor;
	uint32_t build_date;
	uint16_t build;
	uint16_t minor;
	uint16_t major;
	uint16_t update;
	uint32_t acm_x2apic_id;
	uint32_t updates_left;
	uint8_t seam_info[224]; /* MODEL: measurements of the module, not filled in */
};

_Static_assert(sizeof(struct seamldr_info) == 256, "SEAMLDR_INFO");

struct seamldr_params {
	uint32_t version;
	uint32_t scenario;
	uint64_t sigstruct;
	uint8_t reserved[104];
	uint64_t num_pages;
	uint64_t page[PARAMS_MAX_PAGES];
};

_Static_assert(sizeof(struct seamldr_params) == PARAMS_SIZE, "SEAMLDR_PARAMS");

void tdxm_seamldr_init(struct tdxm *m)
{
	m->seamldr.updates_left = UPDATES;
}

static uint64_t info(struct tdxm_call *call)
{
	struct tdxm *m = call->m;
	struct seamldr_info info = {
		.vendor = 0x8086,
		.build_date = 20260101,
		.major = 1,
		.minor = 5,
		.updates_left = m->seamldr.updates_left,
	};

	if (tdxm_shared_hpa_check(call, call->in.rcx, sizeof(info), OP_RCX) ||
	    !m->ops.mem_write(m->opaque, call->in.rcx, &info, sizeof(info)))
		return SEAMLDR_EBADPARAM;
	return SEAMLDR_SUCCESS;
}

static bool address_ok(struct tdxm_call *call, uint64_t hpa)
{
	return !tdxm_shared_hpa_check(call, hpa, TDX_PAGE_SIZE, OP_RCX);
}

static bool params_ok(struct tdxm_call *call)
{
	struct seamldr_params params;
	uint64_t i;

	if (!address_ok(call, call->in.rcx) ||
	    tdxm_shared_read(call, call->in.rcx, &params, sizeof(params), OP_RCX, "SEAMLDR_PARAMS"))
		return false;
	if (params.scenario == SCENARIO_LOAD) {
		tdxm_unimplemented(call->m, "SEAMLDR.INSTALL of a module without TD preserving");
		return false;
	}
	for (i = 0; i < sizeof(params.reserved); i++) {
		if (params.reserved[i])
			return false;
	}
	if (params.version || params.scenario != SCENARIO_UPDATE || !params.num_pages ||
	    params.num_pages > PARAMS_MAX_PAGES || !address_ok(call, params.sigstruct))
		return false;
	for (i = 0; i < params.num_pages; i++) {
		if (!address_ok(call, params.page[i]))
			return false;
	}
	return true;
}

/* The new module starts from nothing but the handoff data. */
static void replace_module(struct tdxm *m)
{
	unsigned int lp;

	for (lp = 0; lp < TDXM_MAX_LPS; lp++)
		atomic_store(&m->lp_init[lp], false);
	atomic_store(&m->num_lp_init, 0);
	/* A write-back that was interrupted is forgotten: there is none to resume. */
	memset(m->wbt, 0, sizeof(m->wbt));
	atomic_store(&m->sys_state, SYS_INIT_PENDING);
	m->seamldr.updates_left--;
}

/*
 * What the last LP does. MODEL: neither signature nor image is looked at, any
 * module will do, and what is installed is this model again.
 */
static uint64_t install_last(struct tdxm_call *call)
{
	struct tdxm *m = call->m;

	if (!params_ok(call))
		return SEAMLDR_EBADPARAM;
	if (tdxm_lp_state(call, TDXM_LP_NO_ENTROPY))
		return SEAMLDR_ENOENTROPY;
	if (!m->seamldr.updates_left)
		return SEAMLDR_EBADCALL;
	if (!m->handoff_valid)
		return SEAMLDR_EBADHANDOFF;
	replace_module(m);
	return SEAMLDR_SUCCESS;
}

static uint64_t install(struct tdxm_call *call)
{
	struct tdxm_seamldr *seamldr = &call->m->seamldr;
	uint64_t status;

	call->out.rdx = 0;
	if (seamldr->lps & BIT_U64(call->lp))
		return SEAMLDR_EBADCALL;
	seamldr->lps |= BIT_U64(call->lp);
	atomic_store(&seamldr->installing, true);
	if (__builtin_popcountll(seamldr->lps) < (int)call->m->platform.nr_lps)
		return SEAMLDR_SUCCESS;

	status = install_last(call);
	/* After a failure the old module is back, in the state that it was in. */
	seamldr->lps = 0;
	atomic_store(&seamldr->installing, false);
	return status;
}

static const struct tdxm_leaf leaves[] = {
	[SEAMLDR_INFO] = { SEAMLDR_INFO, "SEAMLDR.INFO", .check = info },
	[SEAMLDR_INSTALL] = { SEAMLDR_INSTALL, "SEAMLDR.INSTALL", .check = install },
};

const struct tdxm_leaf *tdxm_seamldr_leaf(uint64_t rax)
{
	uint64_t number = rax & ~TDX_RAX_SEAMLDR;

	return number < ARRAY_LEN(leaves) ? &leaves[number] : NULL;
}

const char *tdxm_seamldr_leaf_name(uint64_t number)
{
	return number < ARRAY_LEN(leaves) ? leaves[number].name : "unknown";
}

bool tdxm_seamldr(struct tdxm_call *call, uint64_t *status)
{
	struct tdxm *m = call->m;

	if (!m->platform.td_preserving || !call->leaf)
		tdxm_unimplemented(m, "P-SEAMLDR leaf 0x%llx", (unsigned long long)call->in.rax);
	if (!m->platform.td_preserving || !sharex_try_exclusive(&m->seamldr.lock))
		return false;
	*status = call->leaf ? call->leaf->check(call) : SEAMLDR_EBADPARAM;
	sharex_unlock_exclusive(&m->seamldr.lock);
	return true;
}
