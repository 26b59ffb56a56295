/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the stress tests have in common: how long they go on, the seeds of their
 * programs, and what must be true after each.
 */
#ifndef TDX_INIT_MEM_STRESS_CHECK_H
#define TDX_INIT_MEM_STRESS_CHECK_H

#include "tdx_init_mem_mrtd.h"
#include "tdx_init_mem_stress_run.h"

/* Bounds of each case, but for TDX_INIT_MEM_STRESS_STEPS and TDX_INIT_MEM_STRESS_MS. */
#define STRESS_STEPS 1536
#define STRESS_MS 5000

/* Longer than that of other cases, as to cut down a program takes its time. */
#define STRESS_TIMEOUT 600
#define STRESS_TEST_F(fixture, name) TEST_F_TIMEOUT(fixture, name, STRESS_TIMEOUT)

#define STRESS_AGAIN "scripts/tdx-init-mem run"

static inline u64 stress_env(const char *name, u64 otherwise)
{
	const char *value = getenv(name);

	return value ? strtoull(value, NULL, 0) : otherwise;
}

/* How much there is left to do. */
struct budget {
	u64 start;
	u64 steps;
	u64 deadline;
};

static inline struct budget budget_of_case(void)
{
	u64 now = tdx_now_ms();

	return (struct budget) {
		.start = now,
		.steps = stress_env("TDX_INIT_MEM_STRESS_STEPS", STRESS_STEPS),
		.deadline = now + stress_env("TDX_INIT_MEM_STRESS_MS", STRESS_MS),
	};
}

static inline bool budget_spend(struct budget *budget, u64 steps)
{
	if (!budget->steps || tdx_now_ms() >= budget->deadline)
		return false;

	budget->steps -= min_t(u64, budget->steps, steps);
	return true;
}

/* A seed of its own for each program, round and thread. */
static inline u64 stress_seed(u64 program, u64 round, u64 thread)
{
	u64 seed = tdx_host_seed() + program * 0x9e3779b97f4a7c15 + (round << 32) + (thread << 48);

	seed = (seed ^ seed >> 30) * 0xbf58476d1ce4e5b9;
	seed = (seed ^ seed >> 27) * 0x94d049bb133111eb;
	return (seed ^ seed >> 31) ?: 1;
}

/* What went wrong first; no text if nothing did. */
struct failure {
	unsigned int step;
	char text[256];
};

static inline __printf(3, 4) void failure_set(struct failure *f, unsigned int step, const char *fmt,
					      ...)
{
	va_list args;

	if (f->text[0])
		return;

	f->step = step;
	va_start(args, fmt);
	vsnprintf(f->text, sizeof(f->text), fmt, args);
	va_end(args);
}

/* The module was called once for each page that was said to be added. */
static inline void check_calls(const struct stress_run *run, struct failure *failure,
			       unsigned int step)
{
	u64 chunks = PAGE_SIZE / MRTD_CHUNK_SIZE, adds, extends;

	if (!run->emulated)
		return;

	adds = tdx_emul_count(TDH_MEM_PAGE_ADD, TDX_SUCCESS) - run->page_adds;
	extends = tdx_emul_count(TDH_MR_EXTEND, TDX_SUCCESS) - run->mr_extends;
	if (adds != run->added)
		failure_set(failure, step, "%lu pages said to be added, %lu times PAGE.ADD",
			    run->added, adds);
	if (extends != run->measured * chunks)
		failure_set(failure, step, "%lu pages said to be measured, %lu times MR.EXTEND",
			    run->measured, extends);
}

static inline void check_alive(const struct stress_run *run, struct failure *failure,
			       unsigned int step)
{
	unsigned int td;

	for (td = 0; td < run->nr_tds; td++) {
		if (vm_tdx_is_dead(run->tds[td].td.vm))
			failure_set(failure, step, "KVM gave up on TD %u", td);
	}
}

/* Once the TDs are gone: the host is as before, and the kernel had nothing to say. */
static inline void check_left(struct failure *failure, unsigned int step)
{
	struct tdx_audit_report report;
	char excess[128];

	if (!tdx_emul_is_clean(excess, sizeof(excess)))
		failure_set(failure, step, "the host has %s than before", excess);
	tdx_audit_scan(&report);
	if (!tdx_audit_is_clean(&report))
		failure_set(failure, step, "the kernel complained: %.200s",
			    report.findings ? report.first : "lockdep gave up");
}

#endif /* TDX_INIT_MEM_STRESS_CHECK_H */
