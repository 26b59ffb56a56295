// SPDX-License-Identifier: GPL-2.0-only
/* TDH.MNG.INIT: the checks on TD_PARAMS, in their order. */
#include <string.h>

#include "module/model.h"

#define TD_PARAMS_ALIGN 1024

#define XFAM_AVX BIT_U64(2)
#define XFAM_AVX512 MASK_U64(7, 5)
#define XFAM_CET MASK_U64(12, 11)
#define XFAM_AMX MASK_U64(18, 17)

#define EPTP_MT_WB 6
#define EPTP_WALK_SHIFT 3

#define TSC_UNIT_KHZ 25000
#define TSC_MIN 4
#define TSC_MAX 400

static bool is_zero(const void *buf, size_t len)
{
	const uint8_t *p = buf;

	while (len--) {
		if (*p++)
			return false;
	}
	return true;
}

static bool attributes_ok(struct tdxm_call *call)
{
	uint64_t attributes = call->params.attributes;

	return (attributes & TDX_ATTRIBUTES_FIXED1) == TDX_ATTRIBUTES_FIXED1 &&
	       !(attributes & ~TDX_ATTRIBUTES_FIXED0);
}

static bool all_or_none(uint64_t value, uint64_t mask)
{
	return !(value & mask) || (value & mask) == mask;
}

static bool xfam_ok(struct tdxm_call *call)
{
	uint64_t xfam = call->params.xfam;

	return (xfam & TDX_XFAM_FIXED1) == TDX_XFAM_FIXED1 && !(xfam & ~TDX_XFAM_FIXED0) &&
	       all_or_none(xfam, XFAM_AVX512) && all_or_none(xfam, XFAM_CET) &&
	       all_or_none(xfam, XFAM_AMX) && (!(xfam & XFAM_AVX512) || xfam & XFAM_AVX);
}

static bool max_vcpus_ok(struct tdxm_call *call)
{
	unsigned int max = call->params.max_vcpus;

	return max && max <= TDX_MAX_VCPUS_PER_TD;
}

/* MODEL: TD partitioning is not offered, so that any number is too many. */
static bool num_l2_vms_ok(struct tdxm_call *call)
{
	return !call->params.num_l2_vms;
}

static bool reserved20_ok(struct tdxm_call *call)
{
	return is_zero(call->params.reserved20, sizeof(call->params.reserved20));
}

static bool config_flags_ok(struct tdxm_call *call)
{
	return !(call->params.config_flags & ~TDX_CONFIG_FLAGS_ALLOWED);
}

static bool eptp_controls_ok(struct tdxm_call *call)
{
	const struct tdxm_platform *platform = &call->m->platform;
	uint64_t eptp = call->params.eptp_controls;
	unsigned int walk = eptp >> EPTP_WALK_SHIFT & 7;
	bool gpaw = call->params.config_flags & TDX_CONFIG_FLAGS_GPAW;

	if ((eptp & 7) != EPTP_MT_WB || eptp >> 6)
		return false;
	if (walk == 4)
		return platform->la57 && platform->maxphyaddr >= 49;
	return walk == 3 && !gpaw;
}

static bool limit_cpuid_ok(struct tdxm_call *call)
{
	return !tdxm_lp_state(call, TDXM_LP_LIMIT_CPUID);
}

static bool tsc_adjust_ok(struct tdxm_call *call)
{
	return !tdxm_tsc_adjust_check(call);
}

static bool tsc_frequency_ok(struct tdxm_call *call)
{
	return call->params.tsc_frequency >= TSC_MIN && call->params.tsc_frequency <= TSC_MAX;
}

static bool reserved42_ok(struct tdxm_call *call)
{
	struct tdx_td_params *params = &call->params;

	return is_zero(params->reserved42, sizeof(params->reserved42)) &&
	       !(params->msr_config_ctls & ~1) &&
	       is_zero(params->reserved232, sizeof(params->reserved232));
}

static bool unused_cpuid_ok(struct tdxm_call *call)
{
	struct tdx_td_params *params = &call->params;

	return is_zero(&params->cpuid[TDXM_NUM_CPUID_CONFIG],
		       sizeof(params->cpuid) - TDXM_NUM_CPUID_CONFIG * sizeof(params->cpuid[0]));
}

/* ARCH_CAPABILITIES configuration is not offered. */
static bool arch_capabilities_ok(struct tdxm_call *call)
{
	return !call->params.arch_capabilities;
}

struct params_check {
	bool (*ok)(struct tdxm_call *call);
	uint64_t status;
};

static const struct params_check checks_before_cpuid[] = {
	{ limit_cpuid_ok, TDX_LIMIT_CPUID_MAXVAL_SET },
	{ attributes_ok, TDX_OPERAND_INVALID + OP_ATTRIBUTES },
	{ xfam_ok, TDX_OPERAND_INVALID + OP_XFAM },
	{ max_vcpus_ok, TDX_OPERAND_INVALID + OP_MAX_VCPUS },
	{ num_l2_vms_ok, TDX_OPERAND_INVALID + OP_NUM_L2_VMS },
	{ reserved20_ok, TDX_OPERAND_INVALID + OP_RDX },
	{ config_flags_ok, TDX_OPERAND_INVALID + OP_CONFIG_FLAGS },
	{ eptp_controls_ok, TDX_OPERAND_INVALID + OP_EPTP_CONTROLS },
	{ tsc_frequency_ok, TDX_OPERAND_INVALID + OP_TSC_FREQUENCY },
	{ tsc_adjust_ok, TDX_INCONSISTENT_MSR + TDX_MSR_TSC_ADJUST },
	{ reserved42_ok, TDX_OPERAND_INVALID + OP_RDX },
};

static const struct params_check checks_after_cpuid[] = {
	{ unused_cpuid_ok, TDX_OPERAND_INVALID + OP_RDX },
	{ arch_capabilities_ok, TDX_OPERAND_INVALID + OP_ARCH_CAPABILITIES },
};

static uint64_t run_checks(struct tdxm_call *call, const struct params_check *check, size_t count)
{
	for (; count--; check++) {
		if (!check->ok(call))
			return check->status;
	}
	return TDX_SUCCESS;
}

uint64_t tdxm_mng_init_check(struct tdxm_call *call)
{
	uint64_t status = tdxm_td_lock_explicit(call, call->in.rcx);

	call->out.rcx = 0;
	if (!status)
		status = tdxm_td_check(call, OPS_MASK(TD_UNINITIALIZED));
	if (!status)
		status = tdxm_shared_hpa_check(call, call->in.rdx, TD_PARAMS_ALIGN, OP_RDX);
	if (!status)
		status = tdxm_shared_read(call, call->in.rdx, &call->params, sizeof(call->params),
					  OP_RDX, "TD_PARAMS");
	if (!status)
		status = run_checks(call, checks_before_cpuid, ARRAY_LEN(checks_before_cpuid));
	if (!status)
		status = tdxm_cpuid_check(&call->m->platform, &call->params, &call->out.rcx);
	if (!status)
		status = run_checks(call, checks_after_cpuid, ARRAY_LEN(checks_after_cpuid));
	return status;
}

void tdxm_mng_init_commit(struct tdxm_call *call)
{
	struct tdxm *m = call->m;
	struct tdxm_td *td = call->td;
	unsigned __int128 tsc_khz = (unsigned __int128)call->params.tsc_frequency * TSC_UNIT_KHZ;
	/* MODEL: the host's TSC is taken from the clock, as there is no RDTSC here. */
	unsigned __int128 tsc =
		(unsigned __int128)m->ops.now_ns(m->opaque) * m->platform.tsc_khz / 1000000;

	td->params = call->params;
	memcpy(td->cpuid, call->params.cpuid, sizeof(td->cpuid));
	td->root_level = td->params.eptp_controls >> EPTP_WALK_SHIFT & 7;
	td->gpa_width = td->params.config_flags & TDX_CONFIG_FLAGS_GPAW ? 52 : 48;
	td->tsc_multiplier = (tsc_khz << 48) / m->platform.tsc_khz;
	td->tsc_offset = -(uint64_t)(tsc * td->tsc_multiplier >> 48);
	td->epoch = 1;
	sha384_init(&td->mrtd_ctx);
	td->op_state = TD_INITIALIZED;
}
