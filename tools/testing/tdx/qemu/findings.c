// SPDX-License-Identifier: GPL-2.0-only
/* What the CPU model or the glue lacks: told once, counted, in the report. */
#include <stdarg.h>

#include "qemu/tdxq.h"

void tdxq_gap(struct tdxq *q, const char *line)
{
	gpointer count;
	bool known;

	g_mutex_lock(&q->lock);
	known = g_hash_table_lookup_extended(q->findings, line, NULL, &count);
	g_hash_table_insert(q->findings, g_strdup(line),
			    GSIZE_TO_POINTER(known ? GPOINTER_TO_SIZE(count) + 1 : 1));
	g_mutex_unlock(&q->lock);
	if (!known)
		fprintf(stderr, "tdx-host: unimplemented: %s\n", line);
}

void tdxq_gapf(struct tdxq *q, const char *format, ...)
{
	char line[128];
	va_list args;

	va_start(args, format);
	g_vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	tdxq_gap(q, line);
}
