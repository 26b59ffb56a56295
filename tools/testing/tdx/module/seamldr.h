/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The persistent SEAM loader: the other half of SEAMCALL, with bit 63 of RAX. It
 * replaces the TDX module at run time, if the platform has TD preserving.
 */
#ifndef TDXM_SEAMLDR_H
#define TDXM_SEAMLDR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "module/sharex.h"

struct tdxm;
struct tdxm_call;
struct tdxm_leaf;

enum seamldr_leaf {
	SEAMLDR_INFO = 0,
	SEAMLDR_INSTALL = 1,
};

/* Its statuses have a layout of their own, without operand ids. */
#define SEAMLDR_SUCCESS 0x0ULL
#define SEAMLDR_EBADPARAM 0x8000000000000000ULL
#define SEAMLDR_EBADCALL 0x8000000000000003ULL
#define SEAMLDR_EBADHANDOFF 0x8000000000000004ULL
#define SEAMLDR_ENOENTROPY 0x8000000000030001ULL

/*
 * struct tdxm_seamldr - state of the loader
 * @lock:	one LP at a time; the next one fails with VMfailInvalid
 * @installing:	the old module cannot be called any more, the new one not yet
 * @lps:	bitmap of the LPs that called INSTALL in this session
 * @updates_left: installations before the machine must be powered off
 */
struct tdxm_seamldr {
	struct sharex lock;
	_Atomic bool installing;
	uint64_t lps;
	unsigned int updates_left;
};

void tdxm_seamldr_init(struct tdxm *m);
/* NULL for an unknown leaf. */
const struct tdxm_leaf *tdxm_seamldr_leaf(uint64_t rax);
const char *tdxm_seamldr_leaf_name(uint64_t number);
/* Execute the call; false for VMfailInvalid. */
bool tdxm_seamldr(struct tdxm_call *call, uint64_t *status);

#endif /* TDXM_SEAMLDR_H */
