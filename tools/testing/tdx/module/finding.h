/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Findings: what fails the run at its end. One is kept for each rule and text,
 * with the circumstances of its first occurrence, and counted from there on.
 */
#ifndef TDXM_FINDING_H
#define TDXM_FINDING_H

#include <stdarg.h>

#include "module/tdxm.h"

/*
 * Add one, or count it. @about says what is known of it; text, count and history
 * are filled in here. @on_lp: the LP that caused it is calling, so that it can be
 * asked where in the guest it is.
 */
void tdxm_finding_vadd(struct tdxm *m, const struct tdxm_finding *about, bool on_lp,
		       const char *fmt, va_list args);
/* A leaf or field that the model lacks. */
__attribute__((format(printf, 2, 3))) void tdxm_unimplemented(struct tdxm *m, const char *fmt, ...);
/* Forget all findings; a test does it after it caused some on purpose. */
void tdxm_findings_clear(struct tdxm *m);

#endif /* TDXM_FINDING_H */
