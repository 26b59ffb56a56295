/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What happened to a page: the last SEAMCALLs that took, freed, blocked,
 * extended or wrote back it, or tried to. A finding about the page carries them.
 */
#ifndef TDXM_HISTORY_H
#define TDXM_HISTORY_H

#include <stdint.h>

#include "module/tdxm.h"

struct tdxm_call;
struct tdxm_pamt_entry;

/* The page of a call that is about to return @status, its locks still held. */
void tdxm_history_record(const struct tdxm_call *call, uint64_t status);
/* Oldest first; returns how many. Whatever the size at which the page was used. */
unsigned int tdxm_history_get(struct tdxm *m, uint64_t hpa,
			      struct tdxm_history_event events[TDXM_MAX_HISTORY]);
void tdxm_history_free(struct tdxm_pamt_entry *entry);

#endif /* TDXM_HISTORY_H */
