// SPDX-License-Identifier: GPL-2.0-only
/* Provoked (leaf, status) pairs, each written once per case. */
#include "tests/module/coverage.h"

#include <pthread.h>

#include "module/model.h"
#include "tests/ktap.h"

#define MAX_PAIRS 1024

static struct {
	pthread_mutex_t mutex;
	const char *case_name; /* that the pairs belong to */
	unsigned int used;
	struct {
		uint32_t leaf;
		uint64_t status;
	} pair[MAX_PAIRS];
} seen = { .mutex = PTHREAD_MUTEX_INITIALIZER };

/* True for the first time in a case. A case with more pairs than room writes some twice. */
static bool is_new(uint32_t leaf, uint64_t status)
{
	unsigned int i;

	if (seen.case_name != ktap_case_name) {
		seen.case_name = ktap_case_name;
		seen.used = 0;
	}
	for (i = 0; i < seen.used; i++) {
		if (seen.pair[i].leaf == leaf && seen.pair[i].status == status)
			return false;
	}
	if (seen.used < MAX_PAIRS) {
		seen.pair[seen.used].leaf = leaf;
		seen.pair[seen.used++].status = status;
	}
	return true;
}

static void write_pair(const char *path, uint32_t leaf, uint64_t status)
{
	FILE *file = fopen(path, "a");

	if (!file || fprintf(file, "0x%x 0x%016" PRIx64 " %s\n", leaf, status, ktap_case_name) < 0)
		abort();
	fclose(file);
}

void coverage_add(const struct tdxm_event *event)
{
	const char *path = getenv("TDXM_COVERAGE");
	uint64_t rax = event->in.rax;
	uint32_t leaf = rax & TDX_RAX_LEAF_MASK;

	if (!path || event->injected)
		return;
	if (rax & TDX_RAX_SEAMLDR)
		leaf += TDXM_LEAF_SEAMLDR;
	pthread_mutex_lock(&seen.mutex);
	if (is_new(leaf, event->out.rax))
		write_pair(path, leaf, event->out.rax);
	pthread_mutex_unlock(&seen.mutex);
}
