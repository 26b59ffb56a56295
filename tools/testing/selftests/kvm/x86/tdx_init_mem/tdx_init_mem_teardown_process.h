/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Processes end, not just calls: one is killed while populate waits, runs, or waits for
 * the locks that it needs; has no memory left; or leaves its files to another one.
 */
#ifndef TDX_INIT_MEM_TEARDOWN_PROCESS_H
#define TDX_INIT_MEM_TEARDOWN_PROCESS_H

#include <signal.h>

#include "tdx_init_mem.h"
#include "tdx_init_mem_teardown.h"
#include "tdx/tdx_memcg.h"

FIXTURE(process)
{
	int pipe[2];
};

FIXTURE_SETUP(process)
{
	ASSERT_EQ(0, pipe(self->pipe));
}

FIXTURE_TEARDOWN(process)
{
	close(self->pipe[0]);
	close(self->pipe[1]);
	td_audit(_metadata);
}

static void parked_child(int fd)
{
	struct td_populate populate = {};
	struct tdx_park park = {};
	struct td td;

	td_create(&td);
	tdx_park_init(&park, PARKED_PAGES, PARKED_AT);
	td_populate_start(&populate, &td, park.mem, 0, PARKED_PAGES);
	if (!tdx_park_wait(&park))
		_exit(1);
	say(fd, 'p');
	tdx_task_finish(&populate.task);
	_exit(1);
}

TD_TEST_F(process, killed_while_parked_leaves_nothing)
{
	int status = 0;
	pid_t pid;

	if (tdx_park_lacks())
		SKIP(return, "%s", tdx_park_lacks());

	pid = fork();
	if (!pid)
		parked_child(self->pipe[1]);
	ASSERT_LT(0, pid);
	ASSERT_EQ('p', child_says(self->pipe[0]));

	EXPECT_EQ(0, kill(pid, SIGKILL));
	ASSERT_TRUE(child_ends(pid, &status))
	{
		TH_LOG("a process waiting for its source page does not die");
	}
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	expect_no_vm(_metadata, pid);
}

/*
 * Killed while it waits for a vCPU that somebody else holds, whose argument is waited for:
 * with the locks of the VM in its hands, if it takes those.  It is no thread of the test,
 * all of which would die; the TD is to be as good as before.
 */
struct waiting {
	struct td td;
	struct kvm_vcpu *second; /* before KVM_TDX_INIT_VCPU */
	struct tdx_park park;
	struct tdx_task holder;
	struct tdx_task waiter;
	struct tdx_task next; /* who wants the same locks after the waiter */
};

static int hold_vcpu(void *arg)
{
	struct waiting *w = arg;
	struct kvm_mp_state *missing = w->park.page;

	return __vcpu_ioctl(w->td.vcpu, KVM_SET_MP_STATE, missing) ? -errno : 0;
}

static int waiting_finalize(void *arg)
{
	struct waiting *w = arg;

	return __vm_tdx_finalize(w->td.vm) ? -errno : 0;
}

static int waiting_next(void *arg)
{
	struct waiting *w = arg;

	return td_add(&w->td, TD_NR_PAGES - 1, 1);
}

static int waiting_init_vcpu(void *arg)
{
	struct waiting *w = arg;

	return __vm_tdx_vcpu_ioctl(w->second, KVM_TDX_INIT_VCPU, 0, NULL) ? -errno : 0;
}

static int waiting_populate(void *arg)
{
	struct waiting *w = arg;

	return td_add(&w->td, 0, 1);
}

FIXTURE(waiting)
{
	struct waiting w;
};

FIXTURE_VARIANT(waiting)
{
	const char *name;
	int (*fn)(void *waiting);
	unsigned int since; /* the first kernel that takes the mutex of each vCPU */
};

FIXTURE_VARIANT_ADD(waiting, finalize) { "FINALIZE_VM", waiting_finalize, TDX_KERNEL(6, 19) };

FIXTURE_VARIANT_ADD(waiting, init_vcpu) { "INIT_VCPU", waiting_init_vcpu, TDX_KERNEL(6, 19) };

FIXTURE_VARIANT_ADD(waiting, populate) { "INIT_MEM_REGION", waiting_populate, 0 };

FIXTURE_SETUP(waiting)
{
	if (tdx_park_lacks())
		SKIP(return, "%s", tdx_park_lacks());

	td_create(&self->w.td);
	if (variant->fn == waiting_init_vcpu)
		self->w.second = vm_tdx_vcpu_add_uninit(self->w.td.vm, 1);
	tdx_park_init(&self->w.park, 1, 0);
	memset(self->w.park.content, 0, sizeof(struct kvm_mp_state)); /* KVM_MP_STATE_RUNNABLE */
}

FIXTURE_TEARDOWN(waiting)
{
	tdx_task_kill(&self->w.waiter);
	tdx_park_destroy(&self->w.park);
	tdx_task_finish(&self->w.holder);
	td_destroy(&self->w.td);
	td_audit(_metadata);
}

TD_TEST_F(waiting, killed_leaves_its_locks)
{
	bool waits = tdx_host_kernel() >= variant->since;
	struct tdx_audit_report report;
	struct waiting *w = &self->w;
	enum tdx_task_state state;

	tdx_task_start(&w->holder, "holder", hold_vcpu, w);
	ASSERT_TRUE(tdx_park_wait(&w->park));

	tdx_task_start_apart(&w->waiter, "waiter", variant->fn, w);
	state = tdx_task_settle(&w->waiter);
	EXPECT_EQ(waits ? TDX_TASK_BLOCKED : TDX_TASK_DONE, state)
	{
		TH_LOG("%s while an ioctl of the vCPU is parked: want it %s", variant->name,
		       waits ? "waiting" : "done");
	}
	td_report_settled(&w->waiter, state);
	ASSERT_TRUE(tdx_task_kill(&w->waiter))
	{
		TH_LOG("%s that waits for a vCPU does not die of SIGKILL", variant->name);
	}

	/* Lockdep says at once who leaves with a lock. */
	tdx_audit_scan(&report);
	td_audit_expect(_metadata, &report);
	ASSERT_TRUE(tdx_audit_is_clean(&report));

	tdx_park_release(&w->park);
	EXPECT_RESULT(0, tdx_task_finish(&w->holder));
	tdx_task_start(&w->next, "next", waiting_next, w);
	ASSERT_TRUE(tdx_task_wait(&w->next))
	{
		TH_LOG("INIT_MEM_REGION waits for a lock that the killed %s has kept",
		       variant->name);
	}
	tdx_task_finish(&w->next);
	if (state != TDX_TASK_DONE || variant->fn != waiting_finalize)
		td_complete(_metadata, &w->td);
}

#define KILLS 8

static void running_child(int fd)
{
	struct td td;

	td_create(&td);
	say(fd, 'r');
	for (;;) {
		if (td_add(&td, 0, TD_NR_PAGES) || td_punch(&td, 0, TD_NR_PAGES))
			_exit(1);
	}
}

TD_TEST_F(process, killed_while_running_leaves_nothing)
{
	unsigned int i;

	for (i = 0; i < KILLS; i++) {
		u64 until = tdx_now_ms() + 3 * i;
		int status = 0;
		pid_t pid = fork();

		if (!pid)
			running_child(self->pipe[1]);
		ASSERT_LT(0, pid);
		ASSERT_EQ('r', child_says(self->pipe[0]));
		while (tdx_now_ms() < until)
			sched_yield();

		EXPECT_EQ(0, kill(pid, SIGKILL));
		ASSERT_TRUE(child_ends(pid, &status));
		EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		{
			TH_LOG("the child left by itself, status 0x%x", status);
		}
		expect_no_vm(_metadata, pid);
	}
}

/*
 * A VM belongs to the memory of the process that made it.  Who inherits its files may
 * close them, and punch holes, but no ioctl is for him; not even when that memory is gone.
 * The page that he tries to add is none that is there, which -EIO would say as well.
 */
#define LEGACY_PAGES (TD_NR_PAGES - 1)

static void heir(struct td *td, int gone, int fd)
{
	struct kvm_tdx_init_mem_region region = td_region(td, LEGACY_PAGES, 1);
	char byte;

	if (!__vm_tdx_init_mem_region(td->vcpu, &region, 0) || errno != EIO)
		say(fd, 'i');
	/* Nobody else has the other end: it is closed after the process's memory is gone. */
	if (read(gone, &byte, 1))
		say(fd, 'e');
	if (!__vm_tdx_finalize(td->vm) || errno != EIO)
		say(fd, 'f');
	if (td_punch(td, 0, 1) || td_punch(td, 0, TD_NR_PAGES))
		say(fd, 'h');
	say(fd, 'g');
	_exit(0);
}

static const char *heir_complains(int said)
{
	switch (said) {
	case 'i':
		return "INIT_MEM_REGION of a VM of another process: want EIO";
	case 'f':
		return "FINALIZE_VM of a VM whose process is gone: want EIO";
	case 'h':
		return "PUNCH_HOLE of the guest_memfd whose VM has lost its process: want success";
	default:
		return "the one who inherits the files did not come to its end";
	}
}

static void testator(int fd)
{
	int gone[2];
	struct td td;

	td_create(&td);
	if (td_add(&td, 0, LEGACY_PAGES) || pipe(gone))
		_exit(1);
	if (!fork()) {
		close(gone[1]);
		heir(&td, gone[0], fd);
	}
	_exit(0);
}

TD_TEST_F(process, files_outlive_it_ok)
{
	int status = 0, said;
	pid_t pid = fork();

	if (!pid)
		testator(self->pipe[1]);
	ASSERT_LT(0, pid);
	ASSERT_TRUE(child_ends(pid, &status));
	EXPECT_TRUE(WIFEXITED(status) && !WEXITSTATUS(status));
	said = child_says(self->pipe[0]);
	EXPECT_EQ('g', said)
	{
		TH_LOG("%s", heir_complains(said));
	}
	expect_no_vm(_metadata, pid);
}

/*
 * The cgroup has memory for a part of the image.  Populate says so, unless the kernel
 * made room by killing the process.
 */
#define OOM_SLOT (TD_SLOT + 1)
#define OOM_LIMIT_PAGES 2048
#define OOM_PAGES (3 * OOM_LIMIT_PAGES)
#define OOM_SAID_ENOMEM 7

static void oom_child(int fd)
{
	struct kvm_tdx_init_mem_region region;
	struct tdx_memcg memcg;
	struct td_slot slot;
	struct td td;
	int r;

	td_create(&td);
	td_slot_create(&slot, &td, OOM_SLOT, td_gpa(TD_NR_PAGES), OOM_PAGES);
	/* Never written: one page of zeroes for all of it. */
	region = (struct kvm_tdx_init_mem_region) {
		.source_addr = (uintptr_t)td_mmap(OOM_PAGES * (u64)PAGE_SIZE),
		.gpa = slot.gpa,
		.nr_pages = OOM_PAGES,
	};
	if (!tdx_memcg_enter(&memcg) || !tdx_memcg_limit(&memcg, OOM_LIMIT_PAGES)) {
		say(fd, 's');
		_exit(0);
	}
	say(fd, 'l');
	r = __vm_tdx_init_mem_region(td.vcpu, &region, 0) ? -errno : 0;
	_exit(r == -ENOMEM && region.nr_pages ? OOM_SAID_ENOMEM : 1);
}

TD_TEST_F(process, out_of_memory_leaves_nothing)
{
	struct td other;
	int status = 0;
	int said;
	pid_t pid;

	td_create(&other);
	EXPECT_RESULT(0, td_add(&other, 0, TD_NR_PAGES / 2));

	pid = fork();
	if (!pid)
		oom_child(self->pipe[1]);
	ASSERT_LT(0, pid);
	said = child_says(self->pipe[0]);
	ASSERT_TRUE(child_ends(pid, &status));
	tdx_memcg_forget(pid);
	if (said == 's') {
		td_destroy(&other);
		SKIP(return, "no memory cgroup with a limit can be made");
	}

	EXPECT_EQ('l', said);
	printf("# out of memory: %s\n", WIFSIGNALED(status) ? "the process is killed" :
					WEXITSTATUS(status) == OOM_SAID_ENOMEM ? "ENOMEM" :
										 "?");
	EXPECT_TRUE(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL :
					  WEXITSTATUS(status) == OOM_SAID_ENOMEM)
	{
		TH_LOG("want SIGKILL or ENOMEM, got status 0x%x", status);
	}
	expect_no_vm(_metadata, pid);

	td_complete(_metadata, &other);
	td_destroy(&other);
}

#endif /* TDX_INIT_MEM_TEARDOWN_PROCESS_H */
