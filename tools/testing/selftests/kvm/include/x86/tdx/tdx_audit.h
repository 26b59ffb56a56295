/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The common audit: has the kernel complained since the last look?
 *
 * Reads /dev/kmsg from the position of tdx_audit_begin() on.  The position is
 * shared with forked children, so each case is blamed for its own lines and
 * the last audit of a program catches what a crashed case left behind.
 */
#ifndef SELFTEST_KVM_TDX_AUDIT_H
#define SELFTEST_KVM_TDX_AUDIT_H

#include <stdbool.h>

/*
 * A line with this tag was written by a test to show that the audit is alive.
 * It is counted as planted, never as a finding; the judge of the console
 * ignores exactly these lines.
 */
#define TDX_AUDIT_PLANTED "tdx_init_mem planted:"

struct tdx_audit_report {
	unsigned int findings;
	unsigned int planted;
	unsigned int expected; /* by tdx_audit_expect(), hence no findings */
	bool readable;
	int debug_locks; /* 1 alive, 0 lockdep gave up, -1 no lockdep */
	char first[256]; /* the first line found */
};

void tdx_audit_begin(void);

/*
 * A complaint that contains @text is what the kernel has to answer here.  NULL: none is.
 * It taints the kernel all the same, so the runner has to know, too.
 */
void tdx_audit_expect(const char *text);

/*
 * A place that warns once per boot may do so once more from here on; false where the
 * kernel cannot be told.
 */
bool tdx_audit_warn_again(void);

/* Reads on to the present end of the kernel log. */
void tdx_audit_scan(struct tdx_audit_report *report);

/* True if nothing was found; @report says what was. */
bool tdx_audit_is_clean(const struct tdx_audit_report *report);

/* debug_locks of /proc/lockdep_stats, -1 where the kernel has no lockdep. */
int tdx_audit_debug_locks(void);

/* Why the kernel cannot report lock bugs, or NULL. */
const char *tdx_audit_lacks_lockdep(void);

/* Examples of lines that the audit recognises, to plant: NULL past the last. */
const char *tdx_audit_example(unsigned int i);

/* Writes @line into the kernel log with the planted tag; false if refused. */
bool tdx_audit_plant(const char *line);

#endif /* SELFTEST_KVM_TDX_AUDIT_H */
