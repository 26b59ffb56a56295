// SPDX-License-Identifier: GPL-2.0-only
/*
 * How fast: pages per second of populate with and without measuring; how long
 * PUNCH_HOLE and fallocate() take alone, while populate runs and while it waits
 * for its source page; for how long populate holds the invalidate lock.  Numbers
 * are reported as diagnostics; no number makes a case fail.
 */
#include "tdx_init_mem.h"
#include "tdx/tdx_lock_trace.h"

#define PERF_GPA (2 * TD_GPA)
#define PERF_PAGES 4096
#define PERF_ROUNDS 3

/* Holes are punched in the first half while the second one is populated. */
#define PERF_HALF (PERF_PAGES / 2)
#define PERF_SAMPLES 256

/* A kernel where each of them waits for long shall not take all day. */
#define PERF_SAMPLES_MS 5000

/* Between samples, or all of them would be of one moment of populate. */
#define PERF_PAUSE_US 1000

/* On one CPU the two would take turns, each with the file to itself. */
#define PERF_SAMPLER_CPU 0
#define PERF_POPULATOR_CPU 1

/* The trace of the locks has to fit into its buffer. */
#define PERF_HOLD_PAGES 1024

struct perf {
	struct td td;
	struct td_slot slot;
	void *source;
	struct td_populate populate;
};

static void perf_create(struct perf *p)
{
	td_create(&p->td);
	td_slot_create(&p->slot, &p->td, TD_SLOT + 1, PERF_GPA, PERF_PAGES);
	p->source = td_mmap(p->slot.size);
	memset(p->source, 0x5a, p->slot.size);
}

static void perf_destroy(struct perf *p)
{
	td_destroy(&p->td);
	td_slot_free(&p->slot);
	munmap(p->source, PERF_PAGES * (size_t)PAGE_SIZE);
}

static void perf_prepare(struct perf *p, const void *source, unsigned int page, unsigned int nr,
			 u32 flags)
{
	p->populate.vcpu = p->td.vcpu;
	p->populate.argument = &p->populate.region;
	p->populate.flags = flags;
	p->populate.region = (struct kvm_tdx_init_mem_region) {
		.source_addr = (uintptr_t)source,
		.gpa = PERF_GPA + page * (u64)PAGE_SIZE,
		.nr_pages = nr,
	};
}

static int perf_add(struct perf *p, unsigned int page, unsigned int nr, u32 flags)
{
	perf_prepare(p, p->source, page, nr, flags);
	return td_populate_fn(&p->populate);
}

static int perf_punch(struct perf *p, unsigned int page, unsigned int nr)
{
	return td_slot_punch(&p->slot, page, nr) ? -errno : 0;
}

static u64 perf_rate(unsigned int pages, u64 took_ns)
{
	return pages * 1000000000ull / took_ns;
}

FIXTURE(perf)
{
	struct perf p;
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
	perf_create(&self->p);
}

FIXTURE_TEARDOWN(perf)
{
	perf_destroy(&self->p);
	td_audit(_metadata);
}

static void perf_rounds(struct __test_metadata *_metadata, struct perf *p, u32 flags,
			const char *name, const char *what)
{
	unsigned int round;
	u64 took, rate, best = 0;

	for (round = 0; round < PERF_ROUNDS; round++) {
		took = td_now_ns();
		ASSERT_EQ(0, perf_add(p, 0, PERF_PAGES, flags));
		took = td_now_ns() - took;
		rate = perf_rate(PERF_PAGES, took);
		best = max(best, rate);
		printf("# perf: populate, %s: %u pages in %lu us, %lu pages/s\n", name, PERF_PAGES,
		       took / 1000, rate);
		/* Later rounds find the page tables of the first one. */
		td_metric("populate", what, round ? "again" : "first", rate * 1000, "pages/s");

		took = td_now_ns();
		EXPECT_RESULT(0, perf_punch(p, 0, PERF_PAGES));
		took = td_now_ns() - took;
		printf("# perf: one hole of %u pages: %lu us\n", PERF_PAGES, took / 1000);
		td_metric("hole", what, "whole_file", took, "us");
	}
	printf("# perf: populate, %s: at best %lu pages/s\n", name, best);
}

TD_TEST_F(perf, populate)
{
	char name[64], what[64];
	u64 former;

	perf_rounds(_metadata, &self->p, variant->flags, variant->name, variant->name);

	/* What remains is the work of the kernel, and of the model. */
	if (!tdx_emul_lacks()) {
		ASSERT_EQ(0, tdx_emul_latency(0, &former));
		snprintf(name, sizeof(name), "%s, no modelled times", variant->name);
		snprintf(what, sizeof(what), "%s_untimed", variant->name);
		perf_rounds(_metadata, &self->p, variant->flags, name, what);
		tdx_emul_reset();
	}
}

static u64 perf_permille(u64 part_us, u64 whole_ns)
{
	return part_us * 1000 * 1000 / whole_ns;
}

static void perf_report_hold(const struct tdx_lock_hold *hold, const char *mode, const char *what,
			     u64 took_ns)
{
	char number[64];

	printf("# perf: invalidate lock %s: %u times, %lu us in all, median %lu, max %lu us\n",
	       mode, hold->nr, hold->total_us, hold->median_us, hold->max_us);
	snprintf(number, sizeof(number), "%s_median", mode);
	td_metric("hold", what, number, hold->median_us * 1000, "us");
	snprintf(number, sizeof(number), "%s_max", mode);
	td_metric("hold", what, number, hold->max_us * 1000, "us");
	snprintf(number, sizeof(number), "%s_per_page", mode);
	td_metric("hold", what, number, hold->total_us * 1000 / PERF_HOLD_PAGES, "us");
	snprintf(number, sizeof(number), "%s_share", mode);
	td_metric("hold", what, number, perf_permille(hold->total_us, took_ns) * 100, "percent");
}

/* On its own, since what is traced is slow. */
TD_TEST_F(perf, hold)
{
	struct tdx_lock_holds holds;
	u64 took;

	if (tdx_lock_trace_lacks())
		SKIP(return, "%s", tdx_lock_trace_lacks());

	tdx_lock_holds_start("mapping.invalidate_lock", gettid());
	took = td_now_ns();
	EXPECT_RESULT(0, perf_add(&self->p, 0, PERF_HOLD_PAGES, variant->flags));
	took = td_now_ns() - took;
	tdx_lock_holds_stop(&holds);

	printf("# perf: populate, %s, traced: %lu pages/s\n", variant->name,
	       perf_rate(PERF_HOLD_PAGES, took));
	td_metric("hold", variant->name, "populate_traced", perf_rate(PERF_HOLD_PAGES, took) * 1000,
		  "pages/s");
	perf_report_hold(&holds.exclusive, "exclusive", variant->name, took);
	perf_report_hold(&holds.shared, "shared", variant->name, took);

	/* Populate may do without the lock; a hole that does means that the trace is blind. */
	tdx_lock_holds_start("mapping.invalidate_lock", gettid());
	EXPECT_RESULT(0, perf_punch(&self->p, 0, 1));
	tdx_lock_holds_stop(&holds);
	EXPECT_LT(0, holds.exclusive.nr);
}

/* Populates the second half over and over, on a thread of its own. */
struct perf_populator {
	struct tdx_task task;
	struct perf *p;
	u32 flags;
	pthread_mutex_t turn; /* of a sample, or of making room for the next round */
	pthread_cond_t begun;
	bool populating;
	bool ended;
	bool stop;
};

static int perf_round(struct perf_populator *populator)
{
	int r;

	pthread_mutex_lock(&populator->turn);
	__atomic_store_n(&populator->populating, true, __ATOMIC_RELEASE);
	pthread_cond_signal(&populator->begun);
	pthread_mutex_unlock(&populator->turn);

	r = perf_add(populator->p, PERF_HALF, PERF_HALF, populator->flags);

	/* At once, or samples would be taken while nobody populates. */
	__atomic_store_n(&populator->populating, false, __ATOMIC_RELEASE);
	if (r)
		return r;

	pthread_mutex_lock(&populator->turn);
	r = perf_punch(populator->p, PERF_HALF, PERF_HALF);
	pthread_mutex_unlock(&populator->turn);
	return r;
}

static int perf_populator_fn(void *arg)
{
	struct perf_populator *populator = arg;
	int r = 0;

	tdx_task_pin(PERF_POPULATOR_CPU);
	while (!r && !__atomic_load_n(&populator->stop, __ATOMIC_ACQUIRE))
		r = perf_round(populator);

	pthread_mutex_lock(&populator->turn);
	populator->ended = true;
	pthread_cond_signal(&populator->begun);
	pthread_mutex_unlock(&populator->turn);
	return r;
}

static void perf_populator_start(struct perf_populator *populator, struct perf *p, u32 flags)
{
	*populator = (struct perf_populator) { .p = p, .flags = flags };
	pthread_mutex_init(&populator->turn, NULL);
	pthread_cond_init(&populator->begun, NULL);
	tdx_task_start(&populator->task, "populate", perf_populator_fn, populator);
}

static int perf_populator_stop(struct perf_populator *populator)
{
	__atomic_store_n(&populator->stop, true, __ATOMIC_RELEASE);
	return tdx_task_finish(&populator->task);
}

static void perf_turn_begin(struct perf_populator *populator)
{
	pthread_mutex_lock(&populator->turn);
	while (!__atomic_load_n(&populator->populating, __ATOMIC_ACQUIRE) && !populator->ended)
		pthread_cond_wait(&populator->begun, &populator->turn);
}

static void perf_turn_end(struct perf_populator *populator)
{
	pthread_mutex_unlock(&populator->turn);
}

/* What is done to each of some pages, and how many nanoseconds it took. */
struct perf_samples {
	struct perf *p;
	struct perf_populator *populator; /* if one is at work */
	int (*operation)(struct perf *p, unsigned int page);
	unsigned int first;
	unsigned int nr;
	u64 took[PERF_SAMPLES];
};

static int perf_punch_page(struct perf *p, unsigned int page)
{
	return perf_punch(p, page, 1);
}

static int perf_fallocate_page(struct perf *p, unsigned int page)
{
	return fallocate(p->slot.gmem, FALLOC_FL_KEEP_SIZE, page * (u64)PAGE_SIZE, PAGE_SIZE) ?
		       -errno :
		       0;
}

static int perf_sample(struct perf_samples *samples)
{
	u64 start;
	int r;

	usleep(PERF_PAUSE_US);
	if (samples->populator)
		perf_turn_begin(samples->populator);

	start = td_now_ns();
	r = samples->operation(samples->p, samples->first + samples->nr);
	samples->took[samples->nr++] = td_now_ns() - start;

	if (samples->populator)
		perf_turn_end(samples->populator);
	return r;
}

static int perf_sample_fn(void *arg)
{
	struct perf_samples *samples = arg;
	u64 deadline = tdx_now_ms() + PERF_SAMPLES_MS;
	int r = 0;

	while (!r && samples->nr < PERF_SAMPLES && tdx_now_ms() < deadline)
		r = perf_sample(samples);

	return r;
}

static int perf_compare(const void *a, const void *b)
{
	const u64 *one = a, *other = b;

	return *one < *other ? -1 : *one > *other;
}

static void perf_report(struct perf_samples *samples, const char *area, const char *what,
			const char *when)
{
	unsigned int nr = samples->nr;
	u64 *took = samples->took;

	qsort(took, nr, sizeof(*took), perf_compare);
	printf("# perf: %u %ss of a page %s: min %lu, median %lu, 99%% %lu, max %lu us\n", nr, area,
	       when, took[0] / 1000, took[nr / 2] / 1000, took[nr * 99 / 100] / 1000,
	       took[nr - 1] / 1000);
	td_metric(area, what, "median", took[nr / 2], "us");
	td_metric(area, what, "p99", took[nr * 99 / 100], "us");
	td_metric(area, what, "max", took[nr - 1], "us");
	td_metric(area, what, "samples", nr * 1000ull, "samples");
}

/* The two operations: on pages that are populated, and on pages that are not. */
static void perf_prepare_samples(struct perf_samples *holes, struct perf_samples *fallocates,
				 struct perf *p, struct perf_populator *populator)
{
	*holes = (struct perf_samples) {
		.p = p,
		.populator = populator,
		.operation = perf_punch_page,
	};
	*fallocates = (struct perf_samples) {
		.p = p,
		.populator = populator,
		.operation = perf_fallocate_page,
		.first = PERF_SAMPLES,
	};
}

static void perf_sample_both(struct __test_metadata *_metadata, struct perf *p,
			     struct perf_populator *populator, const char *what, const char *when)
{
	struct perf_samples holes, fallocates;

	perf_prepare_samples(&holes, &fallocates, p, populator);
	EXPECT_EQ(0, perf_sample_fn(&holes));
	EXPECT_EQ(0, perf_sample_fn(&fallocates));
	perf_report(&holes, "hole", what, when);
	perf_report(&fallocates, "fallocate", what, when);
}

/* Holes in the first half, at last while the second half is populated. */
TD_TEST_F(perf, hole)
{
	struct perf_populator populator;
	char what[64];

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "two CPUs are needed to do two things at a time");

	tdx_task_pin(PERF_SAMPLER_CPU);
	ASSERT_EQ(0, perf_add(&self->p, 0, PERF_SAMPLES, 0));
	perf_sample_both(_metadata, &self->p, NULL, "quiet", "in a quiet TD");

	ASSERT_EQ(0, perf_punch(&self->p, 0, PERF_HALF));
	ASSERT_EQ(0, perf_add(&self->p, 0, PERF_SAMPLES, 0));
	snprintf(what, sizeof(what), "populating_%s", variant->name);
	perf_populator_start(&populator, &self->p, variant->flags);
	perf_sample_both(_metadata, &self->p, &populator, what,
			 variant->flags ? "while populate measures" : "while populate runs");
	EXPECT_RESULT(0, perf_populator_stop(&populator));
}

/* The same while populate waits for its source page, which others may have to do as well. */
FIXTURE(parked)
{
	struct perf p;
	struct tdx_park park;
	struct tdx_task tasks[2];
	struct perf_samples holes;
	struct perf_samples fallocates;
};

FIXTURE_SETUP(parked)
{
	if (tdx_park_lacks())
		SKIP(return, "%s", tdx_park_lacks());

	perf_create(&self->p);
	tdx_park_init(&self->park, 1, 0);
	perf_prepare_samples(&self->holes, &self->fallocates, &self->p, NULL);
}

FIXTURE_TEARDOWN(parked)
{
	tdx_park_destroy(&self->park);
	tdx_task_finish(&self->p.populate.task);
	tdx_task_finish(&self->tasks[0]);
	tdx_task_finish(&self->tasks[1]);
	perf_destroy(&self->p);
	td_audit(_metadata);
}

static void parked_sample(struct tdx_task *task, struct perf_samples *samples, const char *area)
{
	enum tdx_task_state state;

	tdx_task_start(task, area, perf_sample_fn, samples);
	state = td_settle_parked(task);
	td_report_settled(task, state);
	if (state == TDX_TASK_DONE)
		perf_report(samples, area, "parked", "while populate is parked");
	else
		td_metric_blocked(area, "parked", "median", task);
}

TD_TEST_F(parked, hole)
{
	struct perf *p = &self->p;

	ASSERT_EQ(0, perf_add(p, 0, PERF_SAMPLES, 0));
	perf_prepare(p, self->park.mem, PERF_HALF, 1, 0);
	tdx_task_start(&p->populate.task, "populate", td_populate_fn, &p->populate);
	ASSERT_TRUE(tdx_park_wait(&self->park));

	parked_sample(&self->tasks[0], &self->holes, "hole");
	parked_sample(&self->tasks[1], &self->fallocates, "fallocate");

	tdx_park_release(&self->park);
	EXPECT_RESULT(0, tdx_task_finish(&p->populate.task));
	EXPECT_RESULT(0, tdx_task_finish(&self->tasks[0]));
	EXPECT_RESULT(0, tdx_task_finish(&self->tasks[1]));
}

#include "tdx_init_mem_main.h"
