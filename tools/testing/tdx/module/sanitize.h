/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The sanitizer: rules that a kernel has to keep although the module cannot
 * enforce them, or enforces them only by a refusal that the kernel must not run
 * into. The rules are rows of a table; each report names its rule.
 */
#ifndef TDXM_SANITIZE_H
#define TDXM_SANITIZE_H

#include <stdint.h>

#include "module/tdxm.h"

struct tdxm_call;

enum tdxm_san_rule {
	SAN_HOST_STORE,
	SAN_STORE_BEFORE_WRITEBACK,
	SAN_OFFERED_WHILE_OWNED,
	SAN_SEPT_PAGE_FREED_WHILE_LINKED,
	SAN_NO_WRITEBACK,
	SAN_SOURCE_OWNED_BY_TD,
	SAN_WBINVD_OF_OWNED_PAGE,
	SAN_KEYID_REUSED,
	SAN_KEYID_FREED_EARLY,
	SAN_KEYID_FREED_WITH_PAGES,
	SAN_RECLAIM_BEFORE_TEARDOWN,
	SAN_TDR_WITH_CHILDREN,
	SAN_CALL_AFTER_TEARDOWN,
	SAN_UNTRACKED_REMOVE,
	SAN_VCPU_NOT_FLUSHED,
	SAN_MEASURED_TWICE,
	SAN_PARTLY_MEASURED,
	SAN_LP_NOT_INITIALISED,
	SAN_LEAK,
	SAN_RULE_COUNT,
};

enum tdxm_severity {
	TDXM_CORRUPTS, /* memory of the host or of a TD is lost without a word */
	TDXM_REFUSED,  /* the module refuses: the kernel's books do not match */
	TDXM_LEAKS,    /* pages or KeyIDs are gone until the next boot */
};

struct tdxm_san_row {
	const char *id;
	enum tdxm_severity severity;
	const char *invariant;
};

extern const struct tdxm_san_row tdxm_san_table[SAN_RULE_COUNT];

/* Report. @hpa: the page that it is about, or TDXM_NO_PAGE. */
__attribute__((format(printf, 4, 5))) void
tdxm_sanitizer(struct tdxm_call *call, enum tdxm_san_rule rule, uint64_t hpa, const char *fmt, ...);
/* Judge a call that is about to return @status, its locks still held. */
void tdxm_sanitize_result(struct tdxm_call *call, uint64_t status);
/* The page at @hpa is offered to the module as one of the host's. */
void tdxm_sanitize_offer(struct tdxm_call *call, uint64_t hpa);

#endif /* TDXM_SANITIZE_H */
