// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY of a TD that is finalized, against deletion of the memslot,
 * and of two vCPUs that want the same pages.
 *
 * A slot that is being deleted is invalid first, then its deletion waits for
 * everybody who still looks at it (SRCU).  Up to 6.17 pre-fault, one of these,
 * tries an invalid slot again and again:
 *
 *	scripts/tdx-init-mem run --kernel v6.17 --test prefault
 *
 * A signal ends the retries, and by that the hang.
 */
#include <signal.h>
#include <sys/ioctl.h>

#include "tdx_init_mem.h"

/* See tdx_emul.h. */
#define TDH_MEM_PAGE_AUG 6

/* Added before the TD is finalized; the rest is for pre-fault. */
#define NR_ADDED 4
#define HELD_AT 2

/* Held on a CPU of its own, see tdx_init_mem_busy.h. */
#define TEST_CPU 0
#define HELD_CPU 1

/* Nobody waits for anything here: much longer is a hang, far below hung_task_timeout. */
#define HANG_MS 2000

/* Long enough to have done a page, if nothing keeps it from that. */
#define WAITS_MS 200

/* From one signal to the next. */
#define SIGNAL_MS 50

/* Not steered: TDs, with a deletion each. */
#define ROUNDS 40

struct prefault {
	struct td td;
	struct kvm_vcpu *vcpu;
	struct tdx_task task;
	struct tdx_task deletion;
	struct kvm_pre_fault_memory range;
	bool apart;
};

/* Exists to interrupt system calls, which an ignored signal does not. */
static void signal_handler(int __always_unused signo)
{
}

static int prefault_fn(void *arg)
{
	struct prefault *p = arg;

	if (p->apart)
		tdx_task_pin(HELD_CPU);

	return __vcpu_ioctl(p->vcpu, KVM_PRE_FAULT_MEMORY, &p->range) ? -errno : 0;
}

static int deletion_fn(void *arg)
{
	struct prefault *p = arg;

	return td_delete_slot(&p->td) ? -errno : 0;
}

static struct kvm_pre_fault_memory prefault_range(unsigned int page)
{
	return (struct kvm_pre_fault_memory) {
		.gpa = td_gpa(page),
		.size = (TD_NR_PAGES - page) * PAGE_SIZE,
	};
}

static void prefault_finalize(struct prefault *p)
{
	TEST_ASSERT(!td_add(&p->td, 0, NR_ADDED), "INIT_MEM_REGION failed, errno %d", errno);
	vm_tdx_finalize(p->td.vm);
	p->range = prefault_range(NR_ADDED);
}

static void prefault_create(struct prefault *p)
{
	td_create(&p->td);
	p->vcpu = p->td.vcpu;
	prefault_finalize(p);
}

FIXTURE(prefault)
{
	struct prefault p;
};

FIXTURE_SETUP(prefault)
{
	struct sigaction action = { .sa_handler = signal_handler };

	ASSERT_EQ(0, sigaction(SIGUSR1, &action, NULL));
	tdx_emul_reset();
	prefault_create(&self->p);
}

FIXTURE_TEARDOWN(prefault)
{
	tdx_emul_reset();
	tdx_task_finish(&self->p.task);
	tdx_task_finish(&self->p.deletion);
	td_destroy(&self->p.td);
	td_audit(_metadata);
}

static bool ends_within(struct tdx_task *task, unsigned int ms)
{
	u64 deadline = tdx_now_ms() + ms;

	while (!tdx_task_is_done(task)) {
		if (tdx_now_ms() >= deadline)
			return false;
		usleep(1000);
	}

	return true;
}

/*
 * Both come to their end, without help.  Pre-fault has done a part, if not all, and
 * says so; without any page it may say that there is no slot, or no longer.
 */
static void expect_both_end(struct __test_metadata *_metadata, struct prefault *p)
{
	u64 size = (TD_NR_PAGES - NR_ADDED) * PAGE_SIZE, done;
	bool ends = ends_within(&p->task, HANG_MS);
	int r;

	EXPECT_TRUE(ends)
	{
		TH_LOG("KVM_PRE_FAULT_MEMORY hangs against the deletion of its slot");
		tdx_task_dump_all(p->task.name);
		pthread_kill(p->task.thread, SIGUSR1);
		TH_LOG("after a signal: pre-fault %s, deletion %s",
		       tdx_task_wait(&p->task) ? "ends" : "goes on",
		       tdx_task_wait(&p->deletion) ? "ends" : "does not");
	}

	r = tdx_task_finish(&p->task);
	EXPECT_RESULT(0, tdx_task_finish(&p->deletion));
	done = size - p->range.size;
	EXPECT_EQ(td_gpa(NR_ADDED) + done, p->range.gpa);
	EXPECT_TRUE(done ? !r : r == -EAGAIN || r == -ENOENT || r == -EFAULT || !ends)
	{
		TH_LOG("pre-fault of %lu bytes: got %s", done, tdx_errno_name(r));
	}
	EXPECT_FALSE(vm_tdx_is_dead(p->td.vm));
}

/* What was not added waits for the guest to accept it. */
static void expect_pending(struct __test_metadata *_metadata)
{
	unsigned int page;

	for (page = 0; page < TD_NR_PAGES; page++) {
		unsigned int want = page < NR_ADDED ? TDX_SEPT_MAPPED : TDX_SEPT_PENDING;
		struct tdx_emul_sept sept;
		struct tdx_emul_td td;

		ASSERT_EQ(0, tdx_emul_newest_td(&td));
		ASSERT_EQ(0, tdx_emul_sept(td.tdr, td_gpa(page), 0, &sept));
		EXPECT_EQ(want, sept.state)
		{
			TH_LOG("page %u: S-EPT state %u", page, sept.state);
		}
	}
}

TD_TEST_F(prefault, maps_what_was_not_added)
{
	struct prefault *p = &self->p;

	EXPECT_RESULT(0, prefault_fn(p));
	EXPECT_EQ(0, p->range.size);
	EXPECT_EQ(td_gpa(TD_NR_PAGES), p->range.gpa);
	if (!tdx_emul_lacks())
		expect_pending(_metadata);
}

/* The guest may be told that its memory is private where the slot has none of that kind. */
TD_TEST_F(prefault, private_without_gmem_fails)
{
	struct prefault *p = &self->p;
	u64 gpa = td_gpa(TD_NR_PAGES);

	vm_set_user_memory_region2(p->td.vm, TD_SLOT + 1, 0, gpa, TD_SIZE, p->td.shared, 0, 0);
	vm_mem_set_private(p->td.vm, gpa, TD_SIZE);
	p->range = (struct kvm_pre_fault_memory) { .gpa = gpa, .size = TD_SIZE };
	EXPECT_RESULT(-EFAULT, prefault_fn(p));
	EXPECT_EQ(TD_SIZE, p->range.size);
	EXPECT_FALSE(vm_tdx_is_dead(p->td.vm));
}

/* What has been mapped after FINALIZE goes with the slot as well. */
TD_TEST_F(prefault, then_deletion_ok)
{
	struct prefault *p = &self->p;

	EXPECT_RESULT(0, prefault_fn(p));
	EXPECT_RESULT(0, deletion_fn(p));
	p->range.gpa = td_gpa(0);
	p->range.size = PAGE_SIZE;
	EXPECT_NE(0, prefault_fn(p));
	EXPECT_FALSE(vm_tdx_is_dead(p->td.vm));
}

/* Pre-fault waits in the module for its third page, until deletion waits for it. */
TD_TEST_F(prefault, while_slot_is_deleted_ends)
{
	struct prefault *p = &self->p;
	char wchan[64];
	u64 id;

	if (tdx_emul_lacks())
		SKIP(return, "%s", tdx_emul_lacks());

	id = tdx_emul_hold(TDX_EMUL_HOLD_ENTRY, TDH_MEM_PAGE_AUG, 1 + HELD_AT, 0);
	tdx_task_pin(TEST_CPU);
	p->apart = true;
	tdx_task_start(&p->task, "prefault", prefault_fn, p);
	ASSERT_TRUE(tdx_emul_wait_held(id, 1));

	tdx_task_start(&p->deletion, "deletion", deletion_fn, p);
	EXPECT_EQ(TDX_TASK_BLOCKED, tdx_task_settle(&p->deletion));
	printf("# while pre-fault is held: deletion is blocked in %s\n",
	       tdx_task_wchan(&p->deletion, wchan, sizeof(wchan)));
	ASSERT_EQ(0, tdx_emul_disarm(id));

	expect_both_end(_metadata, p);
}

/* The same at full speed, anywhere. */
TD_TEST_F(prefault, racing_deletion_ends)
{
	struct prefault *p = &self->p;
	unsigned int round, cut = 0;

	for (round = 0; round < ROUNDS && !_metadata->exit_code; round++) {
		if (round) {
			td_destroy(&p->td);
			prefault_create(p);
		}
		tdx_task_start(&p->task, "prefault", prefault_fn, p);
		tdx_task_start(&p->deletion, "deletion", deletion_fn, p);
		expect_both_end(_metadata, p);
		cut += !!p->range.size;
	}
	printf("# %u of %u times the slot was gone before the end\n", cut, round);
}

/*
 * A page of shared memory that is poisoned.  Whoever runs a guest is told by SIGBUS, and
 * tries again, since a signal is pending then.  Not if the signal is blocked, as in a
 * thread that leaves signals to another: then it tries for ever, and holds up each
 * change of memslots.
 */
static int prefault_without_sigbus_fn(void *arg)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGBUS);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	return prefault_fn(arg);
}

TD_TEST_F(prefault, of_poisoned_page_ends)
{
	struct sigaction action = { .sa_handler = signal_handler };
	struct prefault *p = &self->p;
	bool ends;
	int r;

	if (tdx_host_forbids_disruption())
		SKIP(return, "%s", tdx_host_forbids_disruption());

	/* Poisoning may say so, too; the library takes that for a failure. */
	ASSERT_EQ(0, sigaction(SIGBUS, &action, NULL));
	vm_mem_set_shared(p->td.vm, td_gpa(0), PAGE_SIZE);
	memset(p->td.shared, 1, PAGE_SIZE);
	ASSERT_EQ(0, madvise(p->td.shared, PAGE_SIZE, MADV_HWPOISON));
	p->range = (struct kvm_pre_fault_memory) { .gpa = td_gpa(0), .size = PAGE_SIZE };

	tdx_task_start(&p->task, "prefault", prefault_without_sigbus_fn, p);
	ends = ends_within(&p->task, HANG_MS);
	EXPECT_TRUE(ends)
	{
		TH_LOG("KVM_PRE_FAULT_MEMORY of a poisoned page does not end");
		pthread_kill(p->task.thread, SIGUSR1);
	}
	r = tdx_task_finish(&p->task);
	EXPECT_NE(0, r);
	printf("# pre-fault: %s\n", tdx_errno_name(r));
	EXPECT_FALSE(vm_tdx_is_dead(p->td.vm));
}

/*
 * Two vCPUs want a page.  While the first is in the module with it, the S-EPT's mirror says
 * FROZEN_SPTE: the second tries again and again, until the page is there.
 */
FIXTURE(two)
{
	struct prefault p;
	struct prefault second;
};

FIXTURE_SETUP(two)
{
	struct prefault *p = &self->p, *second = &self->second;
	struct sigaction action = { .sa_handler = signal_handler };

	if (tdx_emul_lacks())
		SKIP(return, "%s", tdx_emul_lacks());

	ASSERT_EQ(0, sigaction(SIGUSR1, &action, NULL));
	tdx_emul_reset();
	td_create(&p->td);
	p->vcpu = p->td.vcpu;
	second->vcpu = vm_tdx_vcpu_add(p->td.vm, 1);
	second->range = prefault_range(NR_ADDED + HELD_AT);
	prefault_finalize(p);
}

FIXTURE_TEARDOWN(two)
{
	tdx_emul_reset();
	tdx_task_finish(&self->p.task);
	tdx_task_finish(&self->second.task);
	td_destroy(&self->p.td);
	td_audit(_metadata);
}

/* The first is held amid the module's mapping of a page, the second waits for that. */
static u64 two_wait(struct __test_metadata *_metadata, struct prefault *p, struct prefault *second)
{
	u64 id = tdx_emul_hold(TDX_EMUL_HOLD_ENTRY, TDH_MEM_PAGE_AUG, 1 + HELD_AT, 0);

	tdx_task_pin(TEST_CPU);
	p->apart = true;
	tdx_task_start(&p->task, "first", prefault_fn, p);
	EXPECT_TRUE(tdx_emul_wait_held(id, 1));
	tdx_task_start(&second->task, "second", prefault_fn, second);
	EXPECT_FALSE(ends_within(&second->task, WAITS_MS))
	{
		TH_LOG("a page is mapped twice: the second vCPU does not wait for the first");
	}
	return id;
}

TD_TEST_F(two, page_is_mapped_once)
{
	struct prefault *p = &self->p, *second = &self->second;
	u64 mapped, id;

	mapped = tdx_emul_count(TDH_MEM_PAGE_AUG, TDX_SUCCESS);
	id = two_wait(_metadata, p, second);
	ASSERT_EQ(0, tdx_emul_disarm(id));
	EXPECT_RESULT(0, tdx_task_finish(&p->task));
	EXPECT_RESULT(0, tdx_task_finish(&second->task));
	EXPECT_EQ(0, p->range.size);
	EXPECT_EQ(0, second->range.size);
	EXPECT_EQ(mapped + TD_NR_PAGES - NR_ADDED, tdx_emul_count(TDH_MEM_PAGE_AUG, TDX_SUCCESS));
	expect_pending(_metadata);
	EXPECT_FALSE(vm_tdx_is_dead(p->td.vm));
}

TD_TEST_F(two, signal_ends_the_wait)
{
	struct prefault *p = &self->p, *second = &self->second;
	struct kvm_pre_fault_memory wanted = second->range;
	u64 id = two_wait(_metadata, p, second);
	u64 deadline = tdx_now_ms() + HANG_MS;

	/* The first may come before it is in the kernel, if the machine stands still. */
	do
		pthread_kill(second->task.thread, SIGUSR1);
	while (!ends_within(&second->task, SIGNAL_MS) && tdx_now_ms() < deadline);
	EXPECT_RESULT(-EINTR, tdx_task_finish(&second->task));
	EXPECT_EQ(wanted.gpa, second->range.gpa);
	EXPECT_EQ(wanted.size, second->range.size);

	/* It asks for nothing that the first does not get. */
	ASSERT_EQ(0, tdx_emul_disarm(id));
	EXPECT_RESULT(0, tdx_task_finish(&p->task));
	EXPECT_RESULT(0, prefault_fn(second));
	expect_pending(_metadata);
	EXPECT_FALSE(vm_tdx_is_dead(p->td.vm));
}

#include "tdx_init_mem_main.h"
