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

void tdxq_trace_seamcall(void *opaque, const struct tdxm_event *event)
{
	const struct tdxm_regs *in = &event->in, *out = &event->out;
	struct tdxq *q = opaque;
	char call[160], note[48] = "";

	if (!q->trace)
		return;
	if (event->busy)
		g_snprintf(note, sizeof(note), " busy=%s", event->busy);
	else if (event->injected)
		g_snprintf(note, sizeof(note), " injected");
	g_snprintf(call, sizeof(call), "%s rcx=%#llx rdx=%#llx r8=%#llx r9=%#llx", event->leaf,
		   (unsigned long long)in->rcx, (unsigned long long)in->rdx,
		   (unsigned long long)in->r8, (unsigned long long)in->r9);
	fprintf(q->trace, "%.6f lp%u %s: %s (%#llx) rcx=%#llx rdx=%#llx r8=%#llx %lluns%s\n",
		seconds(q), event->lp, call, tdxm_status_name(out->rax),
		(unsigned long long)out->rax, (unsigned long long)out->rcx,
		(unsigned long long)out->rdx, (unsigned long long)out->r8,
		(unsigned long long)(event->end_ns - event->start_ns), note);
}

/* The line of one leaf, while the counts pass by in the order of their leaves. */
struct summary {
	FILE *file;
	const char *name;
	uint64_t count, busy, ns;
};

static void summary_end_leaf(struct summary *summary)
{
	if (summary->count)
		fprintf(summary->file, "summary %s: %llu calls, %llu busy, %llu us\n",
			summary->name, (unsigned long long)summary->count,
			(unsigned long long)summary->busy,
			(unsigned long long)(summary->ns / 1000));
}

static void summary_add(void *arg, const struct tdxm_count *count)
{
	struct summary *summary = arg;

	if (summary->name != count->leaf_name) {
		summary_end_leaf(summary);
		*summary = (struct summary) { .file = summary->file, .name = count->leaf_name };
	}
	summary->count += count->count;
	summary->busy += strstr(count->status_name, "BUSY") ? count->count : 0;
	summary->ns += count->ns;
}

void tdxq_trace_close(struct tdxq *q)
{
	struct summary summary = { .file = q->trace };

	if (!q->trace)
		return;
	if (q->module)
		tdxm_for_each_count(q->module, summary_add, &summary);
	summary_end_leaf(&summary);
	fflush(q->trace);
}
