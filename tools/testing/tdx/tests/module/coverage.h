/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which (leaf, status) pairs the cases of this program provoke: with TDXM_COVERAGE
 * set, lines "leaf status case" are appended to the file that it names.
 */
#ifndef TESTS_COVERAGE_H
#define TESTS_COVERAGE_H

#include "module/tdxm.h"

/* From any thread. Statuses that a steering rule asked for do not count. */
void coverage_add(const struct tdxm_event *event);

#endif /* TESTS_COVERAGE_H */
