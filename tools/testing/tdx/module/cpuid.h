/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * CPUID as the module configures and virtualises it.
 */
#ifndef TDXM_CPUID_H
#define TDXM_CPUID_H

#include <stdbool.h>
#include <stdint.h>

#include "module/tdx_spec.h"

#define TDXM_NUM_CPUID_CONFIG 28
#define TDXM_CPUID_NO_SUBLEAF 0xffffffffu

struct tdxm_td;
struct tdxm_platform;

/* A slot of TD_PARAMS.CPUID_CONFIG: bits that a TD's creator may choose. */
struct tdxm_cpuid_config {
	uint32_t leaf;
	uint32_t subleaf; /* or TDXM_CPUID_NO_SUBLEAF */
	struct tdx_cpuid_value bits;
};

extern const struct tdxm_cpuid_config tdxm_cpuid_config[TDXM_NUM_CPUID_CONFIG];

/*
 * Check the CPUID_CONFIG part of @params. On failure, a status and the
 * leaf | sub-leaf << 32 at fault.
 */
uint64_t tdxm_cpuid_check(const struct tdxm_platform *platform, const struct tdx_td_params *params,
			  uint64_t *where);

/*
 * The value that VCPUs of @td see. False when the module does not virtualise
 * this leaf and sub-leaf.
 */
bool tdxm_cpuid_value(const struct tdxm_platform *platform, const struct tdxm_td *td, uint32_t leaf,
		      uint32_t subleaf, struct tdx_cpuid_value *value);

#endif /* TDXM_CPUID_H */
