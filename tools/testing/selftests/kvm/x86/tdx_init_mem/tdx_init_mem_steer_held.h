/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * SEAMCALLs that are held, before their locks are taken or while they are held: the
 * machine runs on meanwhile, and the call goes on when it is released, when its time is
 * up, and when nobody is left who could release it.
 */
#ifndef TDX_INIT_MEM_STEER_HELD_H
#define TDX_INIT_MEM_STEER_HELD_H

#include <signal.h>
#include <sys/wait.h>

#include "tdx_init_mem_steer.h"

#define HELD_PAGE 1
#define HELD_PAGES 4

/* The call that is held: the second PAGE.ADD of this many ms at most. */
#define SHORT_HOLD_MS 300

FIXTURE(held)
{
	struct td td;
	struct td_populate populate;
	struct tdx_task beside;
	u64 tdr;
	u64 rule;
	bool destroyed;
};

FIXTURE_VARIANT(held)
{
	unsigned int action;
};

FIXTURE_VARIANT_ADD(held, before_its_locks) { .action = TDX_EMUL_HOLD_ENTRY };
FIXTURE_VARIANT_ADD(held, with_its_locks) { .action = TDX_EMUL_HOLD_LOCKED };

FIXTURE_SETUP(held)
{
	if (steer_lacks())
		SKIP(return, "%s", steer_lacks());

	tdx_emul_reset();
	tdx_task_pin(TEST_CPU);
	self->tdr = steer_create(&self->td);

	/* Brings the page tables; a kernel whose populate hangs does so here already. */
	ASSERT_EQ(0, td_add(&self->td, TD_NR_PAGES - 1, 1));
}

FIXTURE_TEARDOWN(held)
{
	tdx_emul_reset();
	tdx_task_finish(&self->populate.task);
	tdx_task_finish(&self->beside);
	if (!self->destroyed)
		td_destroy(&self->td);
	td_audit(_metadata);
}

static int held_populate_fn(void *arg)
{
	tdx_task_pin(HELD_CPU);
	return td_populate_fn(arg);
}

static void held_start(struct td_populate *populate, struct td *td, unsigned int page,
		       unsigned int nr_pages)
{
	td_populate_prepare(populate, td, td_source(td, page), page, nr_pages);
	tdx_task_start(&populate->task, "populate", held_populate_fn, populate);
}

/* Arm a rule of one hold, and populate until it holds. */
static void held_stop(struct __test_metadata *_metadata, FIXTURE_DATA(held) * self,
		      unsigned int action, unsigned int nr_pages, u64 timeout_ms)
{
	const struct tdx_emul_rule rule = {
		.action = action,
		.leaf = TDH_MEM_PAGE_ADD,
		.tdr = self->tdr,
		.first = 1 + HELD_PAGE,
		.count = 1,
		.timeout_ms = timeout_ms,
	};

	ASSERT_EQ(0, tdx_emul_arm(&rule, &self->rule));
	held_start(&self->populate, &self->td, 0, nr_pages);
	ASSERT_TRUE(tdx_emul_wait_held(self->rule, 1));
}

/* The held call ended well, and so did all of populate. */
static void expect_populated(struct __test_metadata *_metadata, FIXTURE_DATA(held) * self)
{
	unsigned int page;

	EXPECT_RESULT(0, tdx_task_finish(&self->populate.task));
	EXPECT_EQ(0, self->populate.region.nr_pages);
	for (page = 0; page < HELD_PAGES; page++)
		steer_expect_page(_metadata, self->tdr, page, TDX_SEPT_MAPPED);
}

/* Local timer interrupts of a CPU, the row "LOC:" with a column for each. */
static u64 timer_ticks(unsigned int cpu)
{
	FILE *file = fopen("/proc/interrupts", "re");
	char line[4096], *column = NULL;
	u64 ticks = 0;

	TEST_ASSERT(file, "/proc/interrupts: errno %d", errno);
	while (!column && fgets(line, sizeof(line), file))
		column = strstr(line, "LOC:");
	fclose(file);
	TEST_ASSERT(column, "/proc/interrupts has no local timer interrupts");

	column += strlen("LOC:");
	do {
		ticks = strtoull(column, &column, 10);
	} while (cpu--);

	return ticks;
}

#define TICKS 5

static bool ticks_come(unsigned int cpu)
{
	u64 deadline = tdx_now_ms() + tdx_host_deadline_ms();
	u64 ticks = timer_ticks(cpu);

	while (timer_ticks(cpu) < ticks + TICKS) {
		if (tdx_now_ms() >= deadline)
			return false;
		usleep(1000);
	}

	return true;
}

static int work_fn(void __always_unused *arg)
{
	u64 random = 1;
	unsigned int i;

	for (i = 0; i < 1000000; i++)
		td_random(&random);

	return random ? 0 : -EIO;
}

TD_TEST_F(held, call_waits_until_released)
{
	u64 added = tdx_emul_count(TDH_MEM_PAGE_ADD, TDX_SUCCESS);

	held_stop(_metadata, self, variant->action, HELD_PAGES, 0);
	steer_expect_rule(_metadata, self->rule, (struct tdx_emul_rule_state) { 1, 2, 1, 0 });
	EXPECT_EQ(added + HELD_PAGE, tdx_emul_count(TDH_MEM_PAGE_ADD, TDX_SUCCESS));
	steer_expect_page(_metadata, self->tdr, 0, TDX_SEPT_MAPPED);
	steer_expect_page(_metadata, self->tdr, HELD_PAGE, TDX_SEPT_FREE);

	/* The machine runs on: threads, and interrupts even of the CPU that waits. */
	tdx_task_start(&self->beside, "beside", work_fn, NULL);
	EXPECT_RESULT(0, tdx_task_finish(&self->beside));
	EXPECT_TRUE(ticks_come(HELD_CPU));
	EXPECT_FALSE(tdx_task_is_done(&self->populate.task));
	steer_expect_page(_metadata, self->tdr, HELD_PAGE, TDX_SEPT_FREE);

	EXPECT_RESULT(0, tdx_emul_release(self->rule));
	expect_populated(_metadata, self);
	steer_expect_rule(_metadata, self->rule,
			  (struct tdx_emul_rule_state) { 0, HELD_PAGES, 1, 0 });
	EXPECT_EQ(added + HELD_PAGES, tdx_emul_count(TDH_MEM_PAGE_ADD, TDX_SUCCESS));
	td_complete(_metadata, &self->td);
}

TD_TEST_F(held, call_goes_on_when_its_time_is_up)
{
	u64 start = tdx_now_ms();

	held_stop(_metadata, self, variant->action, HELD_PAGES, SHORT_HOLD_MS);
	expect_populated(_metadata, self);
	EXPECT_LE(SHORT_HOLD_MS, tdx_now_ms() - start);
	steer_expect_rule(_metadata, self->rule,
			  (struct tdx_emul_rule_state) { 0, HELD_PAGES, 1, 1 });
	td_complete(_metadata, &self->td);
}

TD_TEST_F(held, call_goes_on_when_disarmed)
{
	held_stop(_metadata, self, variant->action, HELD_PAGES, 0);
	EXPECT_RESULT(0, tdx_emul_disarm(self->rule));
	expect_populated(_metadata, self);
	EXPECT_RESULT(-ENOENT, tdx_emul_disarm(self->rule));
	td_complete(_metadata, &self->td);
}

/* A rule remains after a release, and holds the next call, too. */
TD_TEST_F(held, each_call_needs_its_release)
{
	const struct tdx_emul_rule rule = {
		.action = variant->action,
		.leaf = TDH_MEM_PAGE_ADD,
		.tdr = self->tdr,
	};
	unsigned int page;

	ASSERT_EQ(0, tdx_emul_arm(&rule, &self->rule));
	held_start(&self->populate, &self->td, 0, HELD_PAGES);
	for (page = 0; page < HELD_PAGES; page++) {
		ASSERT_TRUE(tdx_emul_wait_hits(self->rule, page + 1));
		steer_expect_page(_metadata, self->tdr, page, TDX_SEPT_FREE);
		EXPECT_RESULT(0, tdx_emul_release(self->rule));
	}
	expect_populated(_metadata, self);
}

/*
 * Up to 6.18 another vCPU may read the TD's CPUID while populate holds the
 * TDR: with the locks taken the module is busy.  Later kernels let it wait.
 */
static int get_cpuid_fn(void *arg)
{
	struct {
		struct kvm_cpuid2 header;
		struct kvm_cpuid_entry2 entries[256];
	} *cpuid = calloc(1, sizeof(*cpuid));
	int r;

	TEST_ASSERT(cpuid, "Insufficient memory");
	cpuid->header.nent = ARRAY_SIZE(cpuid->entries);
	r = __vm_tdx_vcpu_ioctl(arg, KVM_TDX_GET_CPUID, 0, cpuid) ? -errno : 0;
	free(cpuid);
	return r;
}

TD_TEST_F(held, locks_are_as_said)
{
	bool locked = variant->action == TDX_EMUL_HOLD_LOCKED;
	struct kvm_vcpu *vcpu = vm_tdx_vcpu_add(self->td.vm, 1);
	enum tdx_task_state state;
	int want = 0;

	held_stop(_metadata, self, variant->action, HELD_PAGES, 0);
	tdx_task_start(&self->beside, "get_cpuid", get_cpuid_fn, vcpu);
	state = tdx_task_settle(&self->beside);
	td_report_settled(&self->beside, state);
	if (state == TDX_TASK_DONE && locked)
		want = -EIO;

	EXPECT_RESULT(0, tdx_emul_release(self->rule));
	EXPECT_EQ(want, tdx_task_finish(&self->beside));
	expect_populated(_metadata, self);
}

/*
 * All file descriptors of the VM go while its last call is held, which ends as
 * if nothing had.  Nobody releases it, since close() itself may wait for it.
 */
TD_TEST_F(held, files_closed_meanwhile_ok)
{
	held_stop(_metadata, self, variant->action, HELD_PAGE + 1, SHORT_HOLD_MS);
	self->destroyed = true;
	td_close_gmem(&self->td);
	kvm_vm_free(self->td.vm);
	EXPECT_RESULT(0, tdx_task_finish(&self->populate.task));
	steer_expect_rule(_metadata, self->rule,
			  (struct tdx_emul_rule_state) { 0, HELD_PAGE + 1, 1, 1 });
}

/* The whole process is killed; it dies when the call is let go, and leaves nothing behind. */
static void held_in_child(unsigned int action, u64 timeout_ms)
{
	const struct tdx_emul_rule rule = {
		.action = action,
		.leaf = TDH_MEM_PAGE_ADD,
		.first = 1 + HELD_PAGE,
		.count = 1,
		.timeout_ms = timeout_ms,
	};
	struct td td;
	u64 id;

	tdx_task_pin(HELD_CPU);
	td_create(&td);
	if (tdx_emul_arm(&rule, &id))
		_exit(1);
	_exit(td_add(&td, 0, HELD_PAGES) ? 1 : 0);
}

static bool call_is_held(void)
{
	u64 deadline = tdx_now_ms() + tdx_host_deadline_ms();
	struct tdx_emul_audit audit;

	do {
		if (!tdx_emul_audit(&audit) && audit.suspended)
			return true;
		usleep(1000);
	} while (tdx_now_ms() < deadline);

	return false;
}

TD_TEST_F(held, sigkill_meanwhile_leaves_nothing)
{
	pid_t pid = fork();
	int status = 0;

	if (!pid)
		held_in_child(variant->action, 0);
	ASSERT_LT(0, pid);
	ASSERT_TRUE(call_is_held());

	EXPECT_EQ(0, kill(pid, SIGKILL));
	EXPECT_FALSE(tdx_child_ends(pid, &status, 50));
	EXPECT_RESULT(0, tdx_emul_disarm(0));
	ASSERT_TRUE(tdx_child_ends(pid, &status, tdx_host_deadline_ms()));
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

TD_TEST_F(held, sigkill_and_nobody_releases)
{
	pid_t pid = fork();
	int status = 0;

	if (!pid)
		held_in_child(variant->action, SHORT_HOLD_MS);
	ASSERT_LT(0, pid);
	ASSERT_TRUE(call_is_held());

	EXPECT_EQ(0, kill(pid, SIGKILL));
	ASSERT_TRUE(tdx_child_ends(pid, &status, tdx_host_deadline_ms()));
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

TD_TEST_F(held, other_td_passes)
{
	const struct tdx_emul_rule rule = {
		.action = variant->action,
		.leaf = TDH_MEM_PAGE_ADD,
		.tdr = self->tdr,
	};
	struct td other;
	u64 tdr = steer_create(&other);

	ASSERT_NE(self->tdr, tdr);
	ASSERT_EQ(0, tdx_emul_arm(&rule, &self->rule));
	EXPECT_RESULT(0, td_add(&other, 0, HELD_PAGES));
	steer_expect_rule(_metadata, self->rule, (struct tdx_emul_rule_state) {});

	held_start(&self->populate, &self->td, 0, HELD_PAGES);
	EXPECT_TRUE(tdx_emul_wait_held(self->rule, 1));
	EXPECT_RESULT(0, td_add(&other, HELD_PAGES, HELD_PAGES));
	EXPECT_RESULT(0, tdx_emul_disarm(self->rule));
	expect_populated(_metadata, self);
	td_destroy(&other);
}

TD_TEST_F(held, other_gpa_passes)
{
	const struct tdx_emul_rule rule = {
		.action = variant->action,
		.leaf = TDH_MEM_PAGE_ADD,
		.gpa = td_gpa(HELD_PAGE + 1),
		.size = 2 * PAGE_SIZE,
		.count = 1,
	};

	ASSERT_EQ(0, tdx_emul_arm(&rule, &self->rule));
	EXPECT_RESULT(0, td_add(&self->td, HELD_PAGE, 1));
	EXPECT_RESULT(0, td_add(&self->td, HELD_PAGE + 3, 1));
	steer_expect_rule(_metadata, self->rule, (struct tdx_emul_rule_state) {});

	held_start(&self->populate, &self->td, HELD_PAGE + 1, 2);
	EXPECT_TRUE(tdx_emul_wait_held(self->rule, 1));
	steer_expect_page(_metadata, self->tdr, HELD_PAGE + 1, TDX_SEPT_FREE);
	EXPECT_RESULT(0, tdx_emul_release(self->rule));
	EXPECT_RESULT(0, tdx_task_finish(&self->populate.task));
	steer_expect_rule(_metadata, self->rule, (struct tdx_emul_rule_state) { 0, 2, 1, 0 });
}

#endif /* TDX_INIT_MEM_STEER_HELD_H */
