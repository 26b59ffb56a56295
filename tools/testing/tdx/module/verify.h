/* SPDX-License-Identifier: GPL-2.0-only */
/* Do the books of the model agree with each other? For tests of the model. */
#ifndef TDXM_VERIFY_H
#define TDXM_VERIFY_H

#include <stdbool.h>
#include <stddef.h>

struct tdxm;

/*
 * With no call in flight, and none suspended: locks, PAMT, S-EPT, page and VCPU
 * counts, owners and KeyIDs. False: @why gets the first contradiction.
 */
bool tdxm_verify(struct tdxm *m, char *why, size_t len);

#endif /* TDXM_VERIFY_H */
