/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which statuses each leaf may answer. The dispatcher compares every call with
 * this table, and tests/status_table.py compares the table with what the unit
 * tests provoke: nothing is answered undeclared, nothing declared unprovoked.
 */
#ifndef TDXM_LEAF_STATUS_H
#define TDXM_LEAF_STATUS_H

#include <stdbool.h>
#include <stdint.h>

struct tdxm_call;

/* What the dispatcher answers for any leaf, before the leaf's own code runs. */
#define TDXM_LEAF_ANY 0xffffffffu

/*
 * struct tdxm_leaf_status - a status with its operand id
 * @any_details: bits 31:0 hold a number, such as a state or a package
 */
struct tdxm_leaf_status {
	uint64_t status;
	bool any_details;
};

/* @leaf: number, TDXM_LEAF_SEAMLDR + number, or TDXM_LEAF_ANY. */
bool tdxm_leaf_status_declared(uint32_t leaf, uint64_t status);
void tdxm_for_each_leaf_status(void (*fn)(void *arg, uint32_t leaf,
					  const struct tdxm_leaf_status *status),
			       void *arg);

/* Report a status that is not declared as a gap of the model. */
void tdxm_leaf_status_check(const struct tdxm_call *call, uint32_t leaf, uint64_t status);

#endif /* TDXM_LEAF_STATUS_H */
