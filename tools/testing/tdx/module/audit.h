/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Leak audit: what TDs have at this moment. At the end of a run, when the last
 * VM is gone, that must be nothing.
 */
#ifndef TDXM_AUDIT_H
#define TDXM_AUDIT_H

#include <stdbool.h>
#include <stdint.h>

struct tdxm;

/*
 * struct tdxm_audit - sums over all TDs
 * @keyids:	assigned, or not free again; without the global one
 * @pages:	4K pages, TDRs included
 * @suspended:	calls that a rule holds
 * @findings:	of the sanitizer, different ones
 */
struct tdxm_audit {
	unsigned int tds;
	unsigned int keyids;
	uint64_t pages;
	unsigned int suspended;
	unsigned int findings;
};

/*
 * struct tdxm_td_left - a TD that is there
 * @pages:	4K pages, TDR included
 * @excused:	a test made a call fail that takes TDs apart: the kernel has to leak
 */
struct tdxm_td_left {
	uint64_t tdr;
	unsigned int hkid;
	const char *lifecycle;
	uint64_t pages;
	bool excused;
};

/* May be asked at any time: a TD in the middle of a call counts as before or after it. */
void tdxm_audit(struct tdxm *m, struct tdxm_audit *audit);
void tdxm_for_each_td(struct tdxm *m, void (*fn)(void *arg, const struct tdxm_td_left *td),
		      void *arg);

#endif /* TDXM_AUDIT_H */
