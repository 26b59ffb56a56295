/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who did it: program counters of the guest kernel, innermost first. The runner
 * has the symbols. The first is exact to its basic block. The others are chosen
 * among all that the stack holds, as Linux keeps no frame pointers.
 */
#ifndef TDXQ_BACKTRACE_H
#define TDXQ_BACKTRACE_H

#include <stddef.h>
#include <stdint.h>

struct tdxq;

/* In a callback of a vCPU: note whose thread this is, and where QEMU keeps its registers. */
void tdxq_backtrace_prepare(struct tdxq *q, unsigned int vcpu_index);
/* The LP that this thread runs, TDXM_NO_LP if it runs none. */
int tdxq_this_lp(void);

/* For tdxm_ops: in a callback that may read registers. Returns how many there are. */
size_t tdxq_backtrace(void *opaque, uint64_t *pc, size_t max);
/* Wherever the guest's code accesses memory. None on a thread that runs no vCPU. */
size_t tdxq_backtrace_at_access(struct tdxq *q, uint64_t *pc, size_t max);

#endif /* TDXQ_BACKTRACE_H */
