/* SPDX-License-Identifier: GPL-2.0-only */
/* TDMR_INFO checks of TDH.SYS.CONFIG. */
#ifndef TDXM_TDMR_H
#define TDXM_TDMR_H

#include <stdint.h>

#include "module/tdxm.h"
#include "module/tdx_spec.h"

/* Check TDMR @i of @list against the CMRs, itself, and those before it. */
uint64_t tdxm_tdmr_check(const struct tdxm_platform *platform, unsigned int keyid_shift,
			 const struct tdx_tdmr_info *list, unsigned int i);
/* True when [hpa, hpa + 4K) lies in a reserved area. */
bool tdxm_tdmr_reserved(const struct tdx_tdmr_info *tdmr, uint64_t hpa);

#endif /* TDXM_TDMR_H */
