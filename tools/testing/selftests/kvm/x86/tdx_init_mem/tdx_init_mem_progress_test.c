// SPDX-License-Identifier: GPL-2.0-only
/*
 * The progress that KVM_TDX_INIT_MEM_REGION writes back: after success, after
 * an error and after a signal in the middle.  Called again with what was
 * written back it goes on, and no page is lost or added twice.
 */
#include <signal.h>

#include "tdx_init_mem.h"

#define POPULATED 5
#define STOPPED_AT 2

FIXTURE(progress)
{
	struct td td;
	struct tdx_park park;
	struct td_populate populate;
};

FIXTURE_VARIANT(progress)
{
	u32 flags;
};

FIXTURE_VARIANT_ADD(progress, unmeasured) { .flags = 0 };
FIXTURE_VARIANT_ADD(progress, measured) { .flags = KVM_TDX_MEASURE_MEMORY_REGION };

FIXTURE_SETUP(progress)
{
	td_create(&self->td);
}

FIXTURE_TEARDOWN(progress)
{
	tdx_park_destroy(&self->park);
	tdx_task_finish(&self->populate.task);
	td_destroy(&self->td);
	td_audit(_metadata);
}

static void expect_progress(struct __test_metadata *_metadata,
			    const struct kvm_tdx_init_mem_region *region, const void *source,
			    unsigned int done)
{
	EXPECT_TRUE(region->source_addr == (uintptr_t)source + done * (u64)PAGE_SIZE &&
		    region->gpa == td_gpa(done) && region->nr_pages == POPULATED - done)
	{
		TH_LOG("  want %u pages done, %u left", done, POPULATED - done);
		TH_LOG("  got  source + 0x%llx, gpa + 0x%llx, %llu left",
		       region->source_addr - (uintptr_t)source, region->gpa - TD_GPA,
		       region->nr_pages);
	}
}

/* Go on from @region to its end; then exactly the populated pages are mapped. */
static void expect_resumes(struct __test_metadata *_metadata, struct td *td,
			   struct kvm_tdx_init_mem_region *region, const void *source, u32 flags)
{
	unsigned int page;

	EXPECT_EQ(0, __vm_tdx_init_mem_region(td->vcpu, region, flags))
	{
		TH_LOG("resuming failed with %s at page %llu: was it added before?",
		       tdx_errno_name(errno), POPULATED - region->nr_pages);
	}
	expect_progress(_metadata, region, source, POPULATED);

	for (page = 0; page < TD_NR_PAGES; page++) {
		enum td_page want = page < POPULATED ? TD_PAGE_WAS_MAPPED : TD_PAGE_WAS_EMPTY;
		enum td_page got = td_probe(td, page);

		EXPECT_EQ(want, got)
		{
			TH_LOG("page %u: want %s, got %s", page, td_page_name(want),
			       td_page_name(got));
		}
	}
	EXPECT_ERRNO(0, __vm_tdx_finalize(td->vm));
}

TD_TEST_F(progress, success_consumes_region)
{
	struct kvm_tdx_init_mem_region region = td_region(&self->td, 0, POPULATED);

	ASSERT_EQ(0, __vm_tdx_init_mem_region(self->td.vcpu, &region, variant->flags));
	expect_progress(_metadata, &region, self->td.source, POPULATED);
}

TD_TEST_F(progress, efault_in_the_middle_resumes)
{
	struct kvm_tdx_init_mem_region region = td_region(&self->td, 0, POPULATED);
	void *hole = td_source(&self->td, STOPPED_AT);

	ASSERT_EQ(0, mprotect(hole, PAGE_SIZE, PROT_NONE));
	EXPECT_ERRNO(EFAULT, __vm_tdx_init_mem_region(self->td.vcpu, &region, variant->flags));
	expect_progress(_metadata, &region, self->td.source, STOPPED_AT);

	ASSERT_EQ(0, mprotect(hole, PAGE_SIZE, PROT_READ));
	expect_resumes(_metadata, &self->td, &region, self->td.source, variant->flags);
}

TD_TEST_F(progress, page_there_already_resumes_behind_it)
{
	struct kvm_tdx_init_mem_region region = td_region(&self->td, 0, POPULATED);

	ASSERT_EQ(0, td_add(&self->td, STOPPED_AT, 1));
	EXPECT_EQ(-1, __vm_tdx_init_mem_region(self->td.vcpu, &region, variant->flags));
	EXPECT_TRUE(td_says_mapped(&self->td, -errno))
	{
		TH_LOG("INIT_MEM_REGION of a page that is there: got %s%s", tdx_errno_name(errno),
		       vm_tdx_is_dead(self->td.vm) ? ", VM is dead" : "");
	}
	expect_progress(_metadata, &region, self->td.source, STOPPED_AT);

	region.source_addr += PAGE_SIZE;
	region.gpa += PAGE_SIZE;
	region.nr_pages--;
	expect_resumes(_metadata, &self->td, &region, self->td.source, variant->flags);
}

/* Exists to interrupt system calls, which an ignored signal does not. */
static void signal_handler(int __always_unused signo)
{
}

/* Start populate, send it a signal while it is parked, release it. */
static int signal_populate(struct __test_metadata *_metadata, struct td_populate *populate,
			   struct tdx_park *park)
{
	/* Without SA_RESTART, or the call would never be seen to return. */
	const struct sigaction action = { .sa_handler = signal_handler };

	ASSERT_EQ(0, sigaction(SIGUSR1, &action, NULL));

	tdx_task_start(&populate->task, "populate", td_populate_fn, populate);
	ASSERT_TRUE(tdx_park_wait(park));
	ASSERT_EQ(0, pthread_kill(populate->task.thread, SIGUSR1));
	tdx_park_release(park);

	return tdx_task_finish(&populate->task);
}

/* The wait for the source page is not interruptible: noticed afterwards. */
TD_TEST_F(progress, signal_in_the_middle_resumes)
{
	struct td_populate *populate = &self->populate;
	struct kvm_tdx_init_mem_region *region = &populate->region;
	const void *source;
	unsigned int done;

	if (tdx_park_lacks())
		SKIP(return, "%s", tdx_park_lacks());

	tdx_park_init(&self->park, POPULATED, STOPPED_AT);
	source = self->park.mem;
	td_populate_prepare(populate, &self->td, source, 0, POPULATED);
	populate->flags = variant->flags;
	EXPECT_RESULT(-EINTR, signal_populate(_metadata, populate, &self->park));

	/* Whether the page in hand is still added is up to the kernel. */
	done = POPULATED - region->nr_pages;
	EXPECT_TRUE(done == STOPPED_AT || done == STOPPED_AT + 1)
	{
		TH_LOG("signal while page %u is waited for: got %u pages done", STOPPED_AT, done);
	}
	expect_progress(_metadata, region, source, done);
	expect_resumes(_metadata, &self->td, region, source, variant->flags);
}

/*
 * The argument itself is in the page that is waited for, so that the signal is
 * there already when the first page is looked at.
 */
TD_TEST_F(progress, signal_before_first_page_resumes)
{
	struct td_populate *populate = &self->populate;

	if (tdx_park_lacks())
		SKIP(return, "%s", tdx_park_lacks());

	tdx_park_init(&self->park, 1, 0);
	td_populate_prepare(populate, &self->td, self->td.source, 0, POPULATED);
	populate->flags = variant->flags;
	populate->argument = self->park.page;
	memcpy(self->park.content, &populate->region, sizeof(populate->region));
	EXPECT_RESULT(-EINTR, signal_populate(_metadata, populate, &self->park));

	expect_progress(_metadata, populate->argument, self->td.source, 0);
	expect_resumes(_metadata, &self->td, populate->argument, self->td.source, variant->flags);
}

#include "tdx_init_mem_main.h"
