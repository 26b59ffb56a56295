// SPDX-License-Identifier: GPL-2.0-only
/*
 * The report at the end of a run: calls by leaf and status, and what must fail
 * the run. Written whole or not at all.
 */
#include "qemu/tdxq.h"

/* A JSON list under construction. */
struct list {
	GString *json;
	bool started;
	enum tdxm_finding_kind kind; /* of the findings wanted */
};

static void add_string(GString *json, const char *s)
{
	g_string_append_c(json, '"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			g_string_append_printf(json, "\\%c", *s);
		else if ((unsigned char)*s < 0x20)
			g_string_append_printf(json, "\\u%04x", (unsigned char)*s);
		else
			g_string_append_c(json, *s);
	}
	g_string_append_c(json, '"');
}

static void next_item(struct list *list)
{
	g_string_append(list->json, list->started ? ",\n  " : "\n  ");
	list->started = true;
}

static void add_count(void *arg, const struct tdxm_count *count)
{
	struct list *list = arg;

	next_item(list);
	g_string_append_printf(list->json, "{\"leaf\": %u, \"name\": ", count->leaf);
	add_string(list->json, count->leaf_name);
	g_string_append(list->json, ", \"status\": ");
	add_string(list->json, count->status_name);
	g_string_append_printf(list->json,
			       ", \"status_code\": \"0x%" G_GINT64_MODIFIER
			       "x\", \"count\": %" G_GUINT64_FORMAT "}",
			       count->status, (guint64)count->count);
}

static void add_text(struct list *list, const char *text, guint64 count)
{
	next_item(list);
	g_string_append(list->json, "{\"text\": ");
	add_string(list->json, text);
	g_string_append_printf(list->json, ", \"count\": %" G_GUINT64_FORMAT "}", count);
}

static void add_finding(void *arg, const struct tdxm_finding *finding)
{
	struct list *list = arg;

	if (finding->kind == list->kind)
		add_text(list, finding->text, finding->count);
}

static void add_gap(gpointer text, gpointer count, gpointer arg)
{
	add_text(arg, text, GPOINTER_TO_SIZE(count));
}

static void add_findings(struct tdxq *q, GString *json, enum tdxm_finding_kind kind)
{
	struct list list = { .json = json, .kind = kind };

	if (kind == TDXM_FINDING_UNIMPLEMENTED) {
		g_mutex_lock(&q->lock);
		g_hash_table_foreach(q->findings, add_gap, &list);
		g_mutex_unlock(&q->lock);
	}
	if (q->module)
		tdxm_for_each_finding(q->module, add_finding, &list);
}

void tdxq_report(struct tdxq *q)
{
	GString *json = g_string_new("{\"model_version\": ");
	struct list calls = { .json = json };
	GError *error = NULL;

	add_string(json, TDXM_MODEL_VERSION);
	g_string_append(json, ",\n \"calls\": [");
	if (q->module)
		tdxm_for_each_count(q->module, add_count, &calls);
	g_string_append(json, "],\n \"unimplemented\": [");
	add_findings(q, json, TDXM_FINDING_UNIMPLEMENTED);
	g_string_append(json, "],\n \"sanitizer\": [");
	add_findings(q, json, TDXM_FINDING_SANITIZER);
	g_string_append(json, "]}\n");

	if (!g_file_set_contents(q->options.report, json->str, (gssize)json->len, &error)) {
		fprintf(stderr, "tdx-host: no report: %s\n", error->message);
		g_error_free(error);
	}
	g_string_free(json, TRUE);
}
