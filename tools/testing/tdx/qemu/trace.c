// SPDX-License-Identifier: GPL-2.0-only
/* Optional log, one line per SEAMCALL. stdio keeps lines of parallel LPs apart. */
#include <errno.h>
#include <string.h>

#include "qemu/tdxq.h"

bool tdxq_trace_open(struct tdxq *q)
{
	if (!q->options.trace)
		return true;
	q->trace = fopen(q->options.trace, "we");
	if (!q->trace) {
		fprintf(stderr, "tdx-host: cannot write trace %s: %s\n", q->options.trace,
			strerror(errno));
		return false;
	}
	setvbuf(q->trace, NULL, _IOLBF, BUFSIZ);
	return true;
}

static double seconds(const struct tdxq *q)
{
	return (double)(tdxq_now_ns(NULL) - q->start_ns) / 1e9;
}

void tdxq_trace_line(struct tdxq *q, const char *line)
{
	if (q->trace)
		fprintf(q->trace, "%.6f %s\n", seconds(q), line);
}

void tdxq_trace_seamcall(struct tdxq *q, unsigned int lp, const struct tdxm_regs *in,
			 const struct tdxm_regs *out, enum tdxm_outcome outcome)
{
	char call[128], result[128] = "VMfailInvalid";

	if (!q->trace || outcome == TDXM_AGAIN)
		return;
	g_snprintf(call, sizeof(call), "%s rcx=%#llx rdx=%#llx r8=%#llx r9=%#llx",
		   tdxm_leaf_name(in->rax), (unsigned long long)in->rcx,
		   (unsigned long long)in->rdx, (unsigned long long)in->r8,
		   (unsigned long long)in->r9);
	if (outcome == TDXM_DONE)
		g_snprintf(result, sizeof(result), "%s (%#llx) rcx=%#llx rdx=%#llx r8=%#llx",
			   tdxm_status_name(out->rax), (unsigned long long)out->rax,
			   (unsigned long long)out->rcx, (unsigned long long)out->rdx,
			   (unsigned long long)out->r8);
	fprintf(q->trace, "%.6f lp%u %s: %s\n", seconds(q), lp, call, result);
}
