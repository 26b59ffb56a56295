// SPDX-License-Identifier: GPL-2.0-only
/* What a run leaves behind: counts of calls, log lines. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "module/model.h"

#define MAX_PAIRS 512
#define MAX_LINE 512
/* Where the counts go of a guest that tries more leaves than the table has room for. */
#define LEAF_OVERFLOW 0xffffffffu

/* Written by its LP only, read by whoever prints: hence atomic, yet without a lock. */
struct count_pair {
	_Atomic uint32_t leaf;
	_Atomic uint64_t status;
	_Atomic uint64_t count;
	_Atomic uint64_t ns;
};

struct tdxm_lp_counts {
	_Atomic unsigned int used;
	struct count_pair pair[MAX_PAIRS];
};

_Noreturn void tdxm_bug(const char *what)
{
	fprintf(stderr, "tdxm: broken invariant of the model: %s\n", what);
	abort();
}

void tdxm_log(struct tdxm *m, enum tdxm_log_level level, const char *fmt, ...)
{
	char line[MAX_LINE];
	va_list args;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	m->ops.log(m->opaque, level, line);
}

bool tdxm_counts_init(struct tdxm *m)
{
	unsigned int lp;

	for (lp = 0; lp < m->platform.nr_lps; lp++) {
		m->counts[lp] = calloc(1, sizeof(*m->counts[lp]));
		if (!m->counts[lp])
			return false;
	}
	return true;
}

static struct count_pair *find_pair(struct tdxm_lp_counts *counts, unsigned int leaf,
				    uint64_t status)
{
	unsigned int i, used = counts->used;

	for (i = 0; i < used; i++) {
		struct count_pair *pair = &counts->pair[i];

		if (pair->leaf == leaf && pair->status == status)
			return pair;
	}
	return NULL;
}

uint64_t tdxm_counts_add(struct tdxm *m, unsigned int lp, unsigned int leaf, uint64_t status,
			 uint64_t ns)
{
	struct tdxm_lp_counts *counts = m->counts[lp];
	uint64_t code = tdx_status_code(status);
	struct count_pair *pair = find_pair(counts, leaf, code);

	if (!pair && counts->used < MAX_PAIRS) {
		bool last = counts->used == MAX_PAIRS - 1;

		pair = &counts->pair[counts->used];
		pair->leaf = last ? LEAF_OVERFLOW : leaf;
		pair->status = last ? 0 : code;
		counts->used++;
	} else if (!pair) {
		pair = &counts->pair[MAX_PAIRS - 1];
	}
	pair->ns += ns;
	return ++pair->count;
}

static void merge_counts(struct tdxm_lp_counts *sum, struct tdxm_lp_counts *counts)
{
	unsigned int i;

	for (i = 0; i < counts->used; i++) {
		struct count_pair *from = &counts->pair[i];
		struct count_pair *to = find_pair(sum, from->leaf, from->status);

		if (!to) {
			to = &sum->pair[sum->used < MAX_PAIRS ? sum->used++ : MAX_PAIRS - 1];
			to->leaf = from->leaf;
			to->status = from->status;
		}
		to->count += from->count;
		to->ns += from->ns;
	}
}

static int compare_counts(const void *a, const void *b)
{
	const struct tdxm_count *x = a, *y = b;

	if (x->leaf != y->leaf)
		return x->leaf < y->leaf ? -1 : 1;
	return x->status < y->status ? -1 : x->status > y->status;
}

void tdxm_for_each_count(struct tdxm *m, void (*fn)(void *arg, const struct tdxm_count *count),
			 void *arg)
{
	struct tdxm_lp_counts *sum = calloc(1, sizeof(*sum));
	struct tdxm_count *counts = calloc(MAX_PAIRS, sizeof(*counts));
	unsigned int i;

	if (!sum || !counts)
		tdxm_bug("out of memory");
	for (i = 0; i < m->platform.nr_lps; i++)
		merge_counts(sum, m->counts[i]);
	for (i = 0; i < sum->used; i++)
		counts[i] = (struct tdxm_count) {
			.leaf = sum->pair[i].leaf,
			.leaf_name = tdxm_leaf_name(sum->pair[i].leaf),
			.status = sum->pair[i].status,
			.status_name = tdxm_status_name(sum->pair[i].status),
			.count = sum->pair[i].count,
			.ns = sum->pair[i].ns,
		};
	qsort(counts, sum->used, sizeof(*counts), compare_counts);
	for (i = 0; i < sum->used; i++)
		fn(arg, &counts[i]);
	free(counts);
	free(sum);
}

void tdxm_report_free(struct tdxm *m)
{
	unsigned int lp;

	tdxm_findings_clear(m);
	for (lp = 0; lp < TDXM_MAX_LPS; lp++)
		free(m->counts[lp]);
}
