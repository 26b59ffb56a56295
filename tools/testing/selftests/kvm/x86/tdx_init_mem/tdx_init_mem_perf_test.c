// SPDX-License-Identifier: GPL-2.0-only
/*
 * How fast: pages per second of populate with and without measuring, and how
 * long a hole takes, alone and while populate runs.  Numbers are reported as
 * diagnostics; no number makes a case fail.
 */
#include <time.h>

#include "tdx_init_mem.h"

#define PERF_GPA (2 * TD_GPA)
#define PERF_PAGES 4096
#define PERF_ROUNDS 3
#define PERF_HOLES 256

FIXTURE(perf)
{
	struct td td;
	struct td_slot slot;
	void *source;
	struct td_populate populate;
};

FIXTURE_VARIANT(perf)
{
	const char *name;
	u32 flags;
};

FIXTURE_VARIANT_ADD(perf, unmeasured) { "unmeasured", 0 };
FIXTURE_VARIANT_ADD(perf, measured) { "measured", KVM_TDX_MEASURE_MEMORY_REGION };

FIXTURE_SETUP(perf)
{
	td_create(&self->td);
	td_slot_create(&self->slot, &self->td, TD_SLOT + 1, PERF_GPA, PERF_PAGES);
	self->source = td_mmap(self->slot.size);
	memset(self->source, 0x5a, self->slot.size);
}

FIXTURE_TEARDOWN(perf)
{
	tdx_task_finish(&self->populate.task);
	td_destroy(&self->td);
	td_slot_free(&self->slot);
	munmap(self->source, PERF_PAGES * (size_t)PAGE_SIZE);
	td_audit(_metadata);
}

static u64 now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000ull + ts.tv_nsec / 1000;
}

static u64 perf_rate(u64 took_us)
{
	return PERF_PAGES * 1000000ull / took_us;
}

static void perf_prepare(FIXTURE_DATA(perf) * self, unsigned int page, unsigned int nr, u32 flags)
{
	self->populate = (struct td_populate) {
		.vcpu = self->td.vcpu,
		.argument = &self->populate.region,
		.region = {
			.source_addr = (uintptr_t)self->source + page * (u64)PAGE_SIZE,
			.gpa = PERF_GPA + page * (u64)PAGE_SIZE,
			.nr_pages = nr,
		},
		.flags = flags,
	};
}

/* Microseconds of a hole, or a failed case. */
static u64 perf_punch(struct __test_metadata *_metadata, const struct td_slot *slot,
		      unsigned int page, unsigned int nr)
{
	u64 start = now_us();

	EXPECT_EQ(0, td_slot_punch(slot, page, nr));
	return now_us() - start;
}

static void perf_rounds(struct __test_metadata *_metadata, FIXTURE_DATA(perf) * self, u32 flags,
			const char *name)
{
	unsigned int round;
	u64 took, best = ~0ull;

	for (round = 0; round < PERF_ROUNDS; round++) {
		perf_prepare(self, 0, PERF_PAGES, flags);
		took = now_us();
		ASSERT_EQ(0, td_populate_fn(&self->populate));
		took = now_us() - took;
		best = min(best, took);
		printf("# perf: populate, %s: %u pages in %lu us, %lu pages/s\n", name, PERF_PAGES,
		       took, perf_rate(took));

		took = perf_punch(_metadata, &self->slot, 0, PERF_PAGES);
		printf("# perf: one hole of %u pages: %lu us\n", PERF_PAGES, took);
	}
	printf("# perf: populate, %s: at best %lu pages/s\n", name, perf_rate(best));
}

TD_TEST_F(perf, populate)
{
	char name[64];
	u64 former;

	perf_rounds(_metadata, self, variant->flags, variant->name);

	/* What remains is the work of the kernel, and of the model. */
	if (!tdx_emul_lacks()) {
		ASSERT_EQ(0, tdx_emul_latency(0, &former));
		snprintf(name, sizeof(name), "%s, no modelled times", variant->name);
		perf_rounds(_metadata, self, variant->flags, name);
		tdx_emul_reset();
	}
}

static int perf_compare(const void *a, const void *b)
{
	const u64 *one = a, *other = b;

	return *one < *other ? -1 : *one > *other;
}

static void perf_report_holes(u64 *took, unsigned int nr, const char *when)
{
	if (!nr)
		return;

	qsort(took, nr, sizeof(*took), perf_compare);
	printf("# perf: %u holes of a page %s: min %lu, median %lu, 99%% %lu, max %lu us\n", nr,
	       when, took[0], took[nr / 2], took[nr * 99 / 100], took[nr - 1]);
}

/* Holes in the first half, at last while the second half is populated. */
TD_TEST_F(perf, hole)
{
	unsigned int i, half = PERF_PAGES / 2;
	u64 took[PERF_HOLES];

	perf_prepare(self, 0, half, 0);
	ASSERT_EQ(0, td_populate_fn(&self->populate));

	for (i = 0; i < PERF_HOLES; i++)
		took[i] = perf_punch(_metadata, &self->slot, i, 1);
	perf_report_holes(took, i, "in a quiet TD");

	perf_prepare(self, half, half, variant->flags);
	tdx_task_start(&self->populate.task, "populate", td_populate_fn, &self->populate);
	for (i = 0; i < PERF_HOLES && !tdx_task_is_done(&self->populate.task); i++)
		took[i] = perf_punch(_metadata, &self->slot, PERF_HOLES + i, 1);
	EXPECT_EQ(0, tdx_task_finish(&self->populate.task));
	perf_report_holes(took, i,
			  variant->flags ? "while populate measures" : "while populate runs");
}

#include "tdx_init_mem_main.h"
