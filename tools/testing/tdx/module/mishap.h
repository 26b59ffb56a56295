/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Mishaps: a kernel that is refused while it takes a TD apart keeps the pages on
 * purpose, and goes on. What it then leaves behind is a leak and nothing else; if a
 * test had the call refused, not even that.
 */
#ifndef TDXM_MISHAP_H
#define TDXM_MISHAP_H

#include <stdint.h>

struct tdxm;
struct tdxm_call;

enum tdxm_mishap {
	MISHAP_REFUSED = 1,  /* to take the TD apart */
	MISHAP_INJECTED = 2, /* the same, and a test asked for it */
	MISHAP_MEASURE = 4,  /* MR.EXTEND */
};

#define ANY_MISHAP (MISHAP_REFUSED | MISHAP_INJECTED)

/* The call was refused; a call succeeded. With its locks still held. */
void tdxm_mishap_note(struct tdxm_call *call, uint64_t status);
void tdxm_mishap_forget(struct tdxm_call *call);
/* Mishaps of the TD that has the page at @hpa, 0 if none has. */
unsigned int tdxm_mishaps(struct tdxm *m, uint64_t hpa);

#endif /* TDXM_MISHAP_H */
