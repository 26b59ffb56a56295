// SPDX-License-Identifier: GPL-2.0-only
/* Findings: recorded once, counted, told at the end. */
#include "module/finding.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "module/history.h"
#include "module/model.h"

#define MAX_TEXT 256
/* Of one kind and rule, so that a noisy rule drowns no other. */
#define MAX_FINDINGS 100

struct tdxm_finding_entry {
	struct tdxm_finding finding;
	char text[MAX_TEXT];
	struct tdxm_history_event history[TDXM_MAX_HISTORY];
	uint64_t backtrace[TDXM_MAX_BACKTRACE];
	struct tdxm_finding_entry *next;
};

static bool same_rule(const struct tdxm_finding *a, const struct tdxm_finding *b)
{
	return a->kind == b->kind && !strcmp(a->rule, b->rule);
}

/* Returns true when it is known, and counted. *@of_rule: how many the rule has. */
static bool count_known(struct tdxm *m, const struct tdxm_finding *about, const char *text,
			unsigned int *of_rule)
{
	struct tdxm_finding_entry *entry;

	*of_rule = 0;
	for (entry = m->findings; entry; entry = entry->next) {
		if (!same_rule(&entry->finding, about))
			continue;
		/* The last one stands for all that had no room. */
		if (++*of_rule > MAX_FINDINGS || !strcmp(entry->text, text)) {
			entry->finding.count++;
			return true;
		}
	}
	return false;
}

static void append(struct tdxm *m, struct tdxm_finding_entry *new)
{
	struct tdxm_finding_entry **link = &m->findings;

	while (*link)
		link = &(*link)->next;
	*link = new;
	m->num_findings++;
}

static struct tdxm_finding_entry *describe(struct tdxm *m, const struct tdxm_finding *about,
					   bool on_lp, const char *text)
{
	struct tdxm_finding_entry *entry = calloc(1, sizeof(*entry));
	struct tdxm_finding *finding;

	if (!entry)
		tdxm_bug("out of memory");
	finding = &entry->finding;
	*finding = *about;
	snprintf(entry->text, sizeof(entry->text), "%s", text);
	finding->text = entry->text;
	finding->count = 1;
	finding->history = entry->history;
	if (about->hpa != TDXM_NO_PAGE)
		finding->nr_history = tdxm_history_get(m, about->hpa, entry->history);
	if (finding->nr_backtrace > TDXM_MAX_BACKTRACE)
		finding->nr_backtrace = TDXM_MAX_BACKTRACE;
	if (finding->nr_backtrace)
		memcpy(entry->backtrace, about->backtrace,
		       finding->nr_backtrace * sizeof(uint64_t));
	finding->backtrace = entry->backtrace;
	if (on_lp && m->ops.backtrace)
		finding->nr_backtrace =
			m->ops.backtrace(m->opaque, entry->backtrace, TDXM_MAX_BACKTRACE);
	return entry;
}

void tdxm_finding_vadd(struct tdxm *m, const struct tdxm_finding *about, bool on_lp,
		       const char *fmt, va_list args)
{
	struct tdxm_finding_entry *entry;
	unsigned int of_rule;
	char text[MAX_TEXT];
	bool known;

	vsnprintf(text, sizeof(text), fmt, args);
	pthread_mutex_lock(&m->findings_mutex);
	known = count_known(m, about, text, &of_rule);
	pthread_mutex_unlock(&m->findings_mutex);
	if (known)
		return;

	/* Without the mutex: asks the surroundings, which may take locks of their own. */
	entry = describe(m, about, on_lp, text);
	pthread_mutex_lock(&m->findings_mutex);
	/* Another LP may have come first. */
	known = count_known(m, about, text, &of_rule);
	if (!known) {
		if (of_rule == MAX_FINDINGS)
			snprintf(entry->text, sizeof(entry->text),
				 "more of this than is kept, first: %.200s", text);
		append(m, entry);
	}
	pthread_mutex_unlock(&m->findings_mutex);
	if (known) {
		free(entry);
		return;
	}
	if (about->kind == TDXM_FINDING_SANITIZER)
		tdxm_log(m, TDXM_LOG_SANITIZER, "%s: %s", about->rule, text);
	else
		tdxm_log(m, TDXM_LOG_UNIMPLEMENTED, "%s", text);
}

void tdxm_unimplemented(struct tdxm *m, const char *fmt, ...)
{
	struct tdxm_finding about = {
		.kind = TDXM_FINDING_UNIMPLEMENTED,
		.rule = "unimplemented",
		.hpa = TDXM_NO_PAGE,
		.lp = TDXM_NO_LP,
		.time_ns = m->ops.now_ns(m->opaque) - m->power_on_ns,
	};
	va_list args;

	va_start(args, fmt);
	tdxm_finding_vadd(m, &about, true, fmt, args);
	va_end(args);
}

void tdxm_for_each_finding(struct tdxm *m,
			   void (*fn)(void *arg, const struct tdxm_finding *finding), void *arg)
{
	const struct tdxm_finding_entry *entry;

	pthread_mutex_lock(&m->findings_mutex);
	for (entry = m->findings; entry; entry = entry->next)
		fn(arg, &entry->finding);
	pthread_mutex_unlock(&m->findings_mutex);
}

void tdxm_findings_clear(struct tdxm *m)
{
	struct tdxm_finding_entry *entry;

	pthread_mutex_lock(&m->findings_mutex);
	while ((entry = m->findings)) {
		m->findings = entry->next;
		free(entry);
	}
	m->num_findings = 0;
	pthread_mutex_unlock(&m->findings_mutex);
}
