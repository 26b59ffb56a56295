// SPDX-License-Identifier: GPL-2.0-only
/*
 * Lock order of KVM_TDX_INIT_MEM_REGION, as lockdep sees it.  Shows which
 * guest_memfd invalidate locks populate takes, in which mode and from where;
 * provides both orders of mmap_lock and invalidate_lock; and proves that the
 * audit, on which all other tests rely, would recognise a report.
 */
#include "tdx_init_mem.h"
#include "tdx/tdx_lock_trace.h"

#define INVALIDATE_LOCK "mapping.invalidate_lock"

/* The audit itself. */
FIXTURE(judge) {};

FIXTURE_SETUP(judge)
{
	if (tdx_audit_lacks_lockdep())
		SKIP(return, "%s", tdx_audit_lacks_lockdep());
}

FIXTURE_TEARDOWN(judge)
{
	td_audit(_metadata);
}

TD_TEST_F(judge, recognises_planted_reports)
{
	struct tdx_audit_report report;
	const char *line;
	unsigned int i;

	td_audit(_metadata);
	for (i = 0; (line = tdx_audit_example(i)); i++) {
		ASSERT_TRUE(tdx_audit_plant(line));
		tdx_audit_scan(&report);
		EXPECT_EQ(1, report.planted)
		{
			TH_LOG("a report was not recognised: %s", line);
		}
		EXPECT_EQ(0, report.findings)
		{
			TH_LOG("a planted line was taken for real: %s", report.first);
		}
	}
}

TD_TEST_F(judge, passes_over_innocent_lines)
{
	struct tdx_audit_report report;

	td_audit(_metadata);
	ASSERT_TRUE(tdx_audit_plant("DEBUG: nothing happened here"));
	tdx_audit_scan(&report);
	EXPECT_EQ(0, report.planted);
}

TD_TEST_F(judge, lockdep_is_alive)
{
	EXPECT_EQ(1, tdx_audit_debug_locks());
}

/* Which invalidate locks populate takes. */
FIXTURE(mode)
{
	struct td td;
	struct tdx_lock_trace *trace;
};

FIXTURE_SETUP(mode)
{
	if (tdx_lock_trace_lacks())
		SKIP(return, "%s", tdx_lock_trace_lacks());

	td_create(&self->td);
	self->trace = calloc(1, sizeof(*self->trace));
	ASSERT_NE(NULL, self->trace);
}

FIXTURE_TEARDOWN(mode)
{
	free(self->trace);
	td_destroy(&self->td);
	td_audit(_metadata);
}

/* How often @trace shows the lock in one mode with @function on the stack. */
static unsigned int mode_count(const struct tdx_lock_trace *trace, bool read, const char *function)
{
	unsigned int i, count = 0;

	for (i = 0; i < trace->nr_events; i++) {
		if (trace->events[i].read == read &&
		    tdx_lock_event_is_under(&trace->events[i], function))
			count++;
	}

	return count;
}

/* Stacks go to the log, a line each: they are what a reviewer wants to see. */
static void mode_print(const struct tdx_lock_trace *trace)
{
	unsigned int i;

	for (i = 0; i < trace->nr_events; i++) {
		char stack[sizeof(trace->events[i].stack)], *frame, *rest = stack;

		memcpy(stack, trace->events[i].stack, sizeof(stack));
		printf("# %s %s by", INVALIDATE_LOCK,
		       trace->events[i].read ? "shared" : "exclusive");
		while ((frame = strsep(&rest, "\n"))) {
			if (!strstr(frame, "lock_acquire"))
				printf(" %s", frame);
		}
		printf("\n");
	}
}

/* How often @trace shows it in any mode in guest_memfd. */
static unsigned int mode_count_gmem(const struct tdx_lock_trace *trace)
{
	return mode_count(trace, true, "kvm_gmem") + mode_count(trace, false, "kvm_gmem");
}

TD_TEST_F(mode, of_populate_is_as_promised)
{
	struct tdx_lock_trace *trace = self->trace;

	/* Source pages are present, so that only guest_memfd takes such locks. */
	tdx_lock_trace_start(INVALIDATE_LOCK, gettid());
	EXPECT_RESULT(0, td_add(&self->td, 0, 1));
	tdx_lock_trace_stop(trace);
	mode_print(trace);

	/* In every kernel populate takes it somewhere, or the trace is blind. */
	EXPECT_LT(0, mode_count_gmem(trace))
	{
		TH_LOG("populate took no invalidate lock of guest_memfd");
	}

	if (!tdx_host_is_decoupled())
		return;

	EXPECT_LT(0, mode_count(trace, true, "kvm_gmem_get_pfn"))
	{
		TH_LOG("populate did not get its page by kvm_gmem_get_pfn(), lock shared");
	}
	EXPECT_EQ(0, mode_count(trace, false, "kvm_vcpu_ioctl"))
	{
		TH_LOG("a decoupled populate took the invalidate lock exclusive");
	}
}

/* Populate need not call kvm_gmem_get_pfn(), a fault of the guest does. */
TD_TEST_F(mode, of_get_pfn_is_as_promised)
{
	struct kvm_pre_fault_memory range = { .gpa = td_gpa(1), .size = PAGE_SIZE };
	struct tdx_lock_trace *trace = self->trace;

	if (!kvm_has_cap(KVM_CAP_PRE_FAULT_MEMORY))
		SKIP(return, "KVM lacks KVM_PRE_FAULT_MEMORY");

	vm_tdx_finalize(self->td.vm);
	tdx_lock_trace_start(INVALIDATE_LOCK, gettid());
	EXPECT_EQ(0, __vcpu_ioctl(self->td.vcpu, KVM_PRE_FAULT_MEMORY, &range))
	{
		TH_LOG("KVM_PRE_FAULT_MEMORY: %s", tdx_errno_name(errno));
	}
	tdx_lock_trace_stop(trace);
	mode_print(trace);

	EXPECT_EQ(0, mode_count(trace, false, "kvm_gmem_get_pfn"));
	if (tdx_host_has_shared_lock()) {
		EXPECT_LT(0, mode_count(trace, true, "kvm_gmem_get_pfn"))
		{
			TH_LOG("kvm_gmem_get_pfn() did not take the invalidate lock shared");
		}
	}
}

/* Against this the count above means something: a hole is exclusive always. */
TD_TEST_F(mode, of_hole_is_exclusive)
{
	tdx_lock_trace_start(INVALIDATE_LOCK, gettid());
	EXPECT_RESULT(0, td_punch(&self->td, 0, 1));
	tdx_lock_trace_stop(self->trace);

	EXPECT_LT(0, mode_count(self->trace, false, "kvm_gmem"));
	EXPECT_EQ(0, mode_count(self->trace, true, "kvm_gmem"));
}

/*
 * The source page is a guest_memfd page of another VM, mapped into this
 * process.  A fault on it takes mmap_lock and then, if guest_memfd does so, its
 * invalidate lock; get_user_pages() under an invalidate lock would close the
 * circle.  Lockdep needs to see each order once, in whatever sequence.
 */
struct order {
	struct td td;
	struct kvm_vm *lender;
	int gmem;
	void *lent;
};

FIXTURE(order)
{
	struct order o;
};

FIXTURE_SETUP(order)
{
	struct order *o = &self->o;

	if (tdx_audit_lacks_lockdep())
		SKIP(return, "%s", tdx_audit_lacks_lockdep());

	td_create(&o->td);
	o->lender = vm_create_barebones();
	o->gmem = __vm_create_guest_memfd(o->lender, TD_SIZE,
					  GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED);
	if (o->gmem < 0)
		SKIP(goto out, "guest_memfd cannot be mapped in this kernel");

	o->lent = tdx_mmap(TD_SIZE, MAP_SHARED, o->gmem);
	return;
out:
	kvm_vm_free(o->lender);
	td_destroy(&o->td);
}

FIXTURE_TEARDOWN(order)
{
	struct order *o = &self->o;

	munmap(o->lent, TD_SIZE);
	close(o->gmem);
	kvm_vm_free(o->lender);
	td_destroy(&o->td);
	td_audit(_metadata);
}

static int order_add(struct order *o, unsigned int page)
{
	struct kvm_tdx_init_mem_region region = {
		.source_addr = (uintptr_t)o->lent + page * PAGE_SIZE,
		.gpa = td_gpa(page),
		.nr_pages = 1,
	};

	return __vm_tdx_init_mem_region(o->td.vcpu, &region, 0) ? -errno : 0;
}

static void order_touch(struct order *o, unsigned int page)
{
	WRITE_ONCE(*(char *)(o->lent + page * PAGE_SIZE), 1);
}

/* Without this the cases below would have only one of the two orders. */
TD_TEST_F(order, fault_takes_lock_as_promised)
{
	struct order *o = &self->o;
	struct tdx_lock_trace *trace;

	if (tdx_lock_trace_lacks())
		SKIP(return, "%s", tdx_lock_trace_lacks());

	trace = calloc(1, sizeof(*trace));
	ASSERT_NE(NULL, trace);

	tdx_lock_trace_start(INVALIDATE_LOCK, gettid());
	order_touch(o, 0);
	tdx_lock_trace_stop(trace);
	mode_print(trace);

	EXPECT_EQ(0, mode_count(trace, false, "kvm_gmem"));
	if (tdx_host_has_shared_lock()) {
		EXPECT_LT(0, mode_count(trace, true, "kvm_gmem_fault"))
		{
			TH_LOG("the user fault did not take the invalidate lock shared");
		}
	}
	free(trace);
}

TD_TEST_F(order, source_faulted_before_populate_ok)
{
	struct order *o = &self->o;

	order_touch(o, 0);
	EXPECT_RESULT(0, order_add(o, 0));
	order_touch(o, 1);
	td_complete(_metadata, &o->td);
}

TD_TEST_F(order, source_faulted_by_populate_ok)
{
	struct order *o = &self->o;

	EXPECT_RESULT(0, order_add(o, 0));
	order_touch(o, 1);
	EXPECT_RESULT(0, order_add(o, 2));
	td_complete(_metadata, &o->td);
}

TD_TEST_F(order, source_punched_before_populate_ok)
{
	struct order *o = &self->o;

	order_touch(o, 0);
	ASSERT_EQ(0, fallocate(o->gmem, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, PAGE_SIZE));
	EXPECT_RESULT(0, order_add(o, 0));
	td_complete(_metadata, &o->td);
}

#include "tdx_init_mem_main.h"
