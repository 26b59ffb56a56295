// SPDX-License-Identifier: GPL-2.0-only
/*
 * The report at the end of a run: calls by leaf and status, and what must fail
 * the run. Written whole or not at all.
 */
#include "module/audit.h"
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
	g_string_append_printf(list->json, ", \"count\": %" G_GUINT64_FORMAT, count);
}

/* Addresses are strings: JSON knows no numbers of 64 bits. */
static void add_hex(GString *json, const char *key, uint64_t value)
{
	g_string_append_printf(json, "\"%s\": \"0x%" G_GINT64_MODIFIER "x\"", key, value);
}

static void add_number(GString *json, const char *key, int64_t value)
{
	g_string_append_printf(json, "\"%s\": %" G_GINT64_FORMAT, key, (gint64)value);
}

static void add_event(GString *json, const struct tdxm_history_event *event)
{
	g_string_append(json, "{\"leaf\": ");
	add_string(json, tdxm_leaf_name(event->leaf));
	g_string_append(json, ", ");
	add_number(json, "lp", event->lp);
	g_string_append(json, ", ");
	add_number(json, "time_ns", (int64_t)event->time_ns);
	g_string_append(json, ", \"status\": ");
	add_string(json, tdxm_status_name(event->status));
	g_string_append(json, ", ");
	add_hex(json, "status_code", event->status);
	g_string_append(json, ", ");
	add_hex(json, "tdr", event->tdr);
	g_string_append(json, ", ");
	add_number(json, "count", event->count);
	g_string_append_c(json, '}');
}

static void add_circumstances(GString *json, const struct tdxm_finding *finding)
{
	size_t i;

	g_string_append(json, ",\n   \"rule\": ");
	add_string(json, finding->rule);
	if (finding->severity) {
		g_string_append(json, ", \"severity\": ");
		add_string(json, finding->severity);
		g_string_append(json, ", \"invariant\": ");
		add_string(json, finding->invariant);
	}
	if (finding->hpa != TDXM_NO_PAGE) {
		g_string_append(json, ", ");
		add_hex(json, "page", finding->hpa);
	}
	g_string_append(json, ", ");
	add_number(json, "lp", finding->lp);
	g_string_append(json, ", ");
	add_number(json, "time_ns", (int64_t)finding->time_ns);
	g_string_append(json, ",\n   \"history\": [");
	for (i = 0; i < finding->nr_history; i++) {
		g_string_append(json, i ? ",\n    " : "\n    ");
		add_event(json, &finding->history[i]);
	}
	g_string_append(json, "],\n   \"backtrace\": [");
	for (i = 0; i < finding->nr_backtrace; i++)
		g_string_append_printf(json, "%s\"0x%" G_GINT64_MODIFIER "x\"", i ? ", " : "",
				       finding->backtrace[i]);
	g_string_append_c(json, ']');
}

static void add_finding(void *arg, const struct tdxm_finding *finding)
{
	struct list *list = arg;

	if (finding->kind != list->kind)
		return;
	add_text(list, finding->text, finding->count);
	add_circumstances(list->json, finding);
	g_string_append_c(list->json, '}');
}

static void add_gap(gpointer text, gpointer count, gpointer arg)
{
	struct list *list = arg;

	add_text(list, text, GPOINTER_TO_SIZE(count));
	g_string_append_c(list->json, '}');
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

static void add_td(void *arg, const struct tdxm_td_left *td)
{
	struct list *list = arg;

	next_item(list);
	g_string_append_c(list->json, '{');
	add_hex(list->json, "tdr", td->tdr);
	g_string_append(list->json, ", ");
	add_number(list->json, "hkid", td->hkid);
	g_string_append(list->json, ", \"lifecycle\": ");
	add_string(list->json, td->lifecycle);
	g_string_append(list->json, ", ");
	add_number(list->json, "pages", (int64_t)td->pages);
	g_string_append(list->json, td->excused ? ", \"excused\": true}" : ", \"excused\": false}");
}

/* What TDs still have; whether they may is for the reader, who knows how the guest ended. */
static void add_left(struct tdxq *q, GString *json)
{
	struct list list = { .json = json };
	struct tdxm_audit audit = { 0 };

	if (q->module)
		tdxm_audit(q->module, &audit);
	g_string_append_c(json, '{');
	add_number(json, "tds", audit.tds);
	g_string_append(json, ", ");
	add_number(json, "keyids", audit.keyids);
	g_string_append(json, ", ");
	add_number(json, "pages", (int64_t)audit.pages);
	g_string_append(json, ", ");
	add_number(json, "suspended", audit.suspended);
	g_string_append(json, ", \"each\": [");
	if (q->module)
		tdxm_for_each_td(q->module, add_td, &list);
	g_string_append(json, "]}");
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
	g_string_append(json, "],\n \"left\": ");
	add_left(q, json);
	g_string_append(json, "}\n");

	if (!g_file_set_contents(q->options.report, json->str, (gssize)json->len, &error)) {
		fprintf(stderr, "tdx-host: no report: %s\n", error->message);
		g_error_free(error);
	}
	g_string_free(json, TRUE);
}
