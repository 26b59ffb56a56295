// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory that breaks (hwpoison): the source of a page, which user space replaces, and
 * a page of guest_memfd, which a hole gets rid of.  Populate says so, holds nothing
 * afterwards, and goes on.
 */
#include <setjmp.h>
#include <signal.h>

#include "tdx_init_mem.h"

#ifndef MADV_HWPOISON
#define MADV_HWPOISON 100
#endif

#define POPULATED 5
#define BAD_PAGE 2

#define CORRUPT_PFN "/sys/kernel/debug/hwpoison/corrupt-pfn"

static sigjmp_buf poison_retreat;

static void poison_handler(int __always_unused signo)
{
	siglongjmp(poison_retreat, 1);
}

FIXTURE(source)
{
	struct td td;
};

FIXTURE_VARIANT(source)
{
	u32 flags;
};

FIXTURE_VARIANT_ADD(source, unmeasured) { .flags = 0 };
FIXTURE_VARIANT_ADD(source, measured) { .flags = KVM_TDX_MEASURE_MEMORY_REGION };

FIXTURE_SETUP(source)
{
	td_create(&self->td);
}

FIXTURE_TEARDOWN(source)
{
	td_destroy(&self->td);
	td_audit(_metadata);
}

/* Who has the page mapped is told by SIGBUS. */
static bool poison_source(void *page)
{
	const struct sigaction action = { .sa_handler = poison_handler };
	struct sigaction former;
	int r = 0;

	TEST_ASSERT(!sigaction(SIGBUS, &action, &former), "sigaction: errno %d", errno);
	if (!sigsetjmp(poison_retreat, 1))
		r = madvise(page, PAGE_SIZE, MADV_HWPOISON);
	TEST_ASSERT(!sigaction(SIGBUS, &former, NULL), "sigaction: errno %d", errno);
	return !r || errno != EINVAL;
}

TD_TEST_F(source, broken_stops_and_replaced_resumes)
{
	struct kvm_tdx_init_mem_region region = td_region(&self->td, 0, POPULATED);
	void *bad = td_source(&self->td, BAD_PAGE);

	if (!poison_source(bad))
		SKIP(return, "no MADV_HWPOISON (CONFIG_MEMORY_FAILURE)");

	/* -EHWPOISON is for those who ask get_user_pages() for it. */
	EXPECT_ERRNO(EFAULT, __vm_tdx_init_mem_region(self->td.vcpu, &region, variant->flags));
	EXPECT_EQ(POPULATED - BAD_PAGE, region.nr_pages);
	EXPECT_EQ(td_gpa(BAD_PAGE), region.gpa);

	/* Nothing is held, nor is the broken page in the TD. */
	EXPECT_RESULT(0, td_punch(&self->td, BAD_PAGE, 1));

	ASSERT_EQ(bad, mmap(bad, PAGE_SIZE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	memset(bad, 0x5a, PAGE_SIZE);
	EXPECT_ERRNO(0, __vm_tdx_init_mem_region(self->td.vcpu, &region, variant->flags));
	EXPECT_EQ(0, region.nr_pages);
	EXPECT_EQ(TD_PAGE_WAS_MAPPED, td_probe(&self->td, BAD_PAGE));
	td_complete(_metadata, &self->td);
}

FIXTURE(gmem)
{
	struct td td;
	struct tdx_task hole;
	u64 tdr;
};

/* @mapped: into the TD when it breaks, else in the file only. */
FIXTURE_VARIANT(gmem)
{
	bool mapped;
};

FIXTURE_VARIANT_ADD(gmem, mapped) { .mapped = true };
FIXTURE_VARIANT_ADD(gmem, not_mapped) { .mapped = false };

FIXTURE_SETUP(gmem)
{
	struct tdx_emul_td newest;

	if (tdx_emul_lacks())
		SKIP(return, "nobody tells where a page is: %s", tdx_emul_lacks());
	if (access(CORRUPT_PFN, W_OK))
		SKIP(return, "no " CORRUPT_PFN " (CONFIG_HWPOISON_INJECT)");

	td_create(&self->td);
	ASSERT_EQ(0, tdx_emul_newest_td(&newest));
	self->tdr = newest.tdr;
}

FIXTURE_TEARDOWN(gmem)
{
	tdx_task_finish(&self->hole);
	td_destroy(&self->td);
	td_audit(_metadata);
}

/* Whether memory_failure() counts it a success says nothing: the page stays in the file. */
static void poison_pfn(u64 pfn)
{
	int fd = open(CORRUPT_PFN, O_WRONLY | O_CLOEXEC);
	char text[32];
	int len = snprintf(text, sizeof(text), "%lu", pfn);

	TEST_ASSERT(fd >= 0, CORRUPT_PFN ": errno %d", errno);
	if (write(fd, text, len) != len)
		printf("# memory_failure of pfn %lu: %s\n", pfn, tdx_errno_name(errno));
	close(fd);
}

static int gmem_punch_fn(void *arg)
{
	return td_punch(arg, BAD_PAGE, 1);
}

TD_TEST_F(gmem, broken_page_is_refused_until_punched)
{
	struct kvm_tdx_init_mem_region region = td_region(&self->td, 0, POPULATED);
	struct td *td = &self->td;
	struct tdx_emul_sept sept;

	ASSERT_EQ(0, td_add(td, BAD_PAGE, 1));
	ASSERT_EQ(0, tdx_emul_sept(self->tdr, td_gpa(BAD_PAGE), 0, &sept));
	ASSERT_EQ(TDX_SEPT_MAPPED, sept.state);
	if (!variant->mapped) {
		vm_mem_set_shared(td->vm, td_gpa(BAD_PAGE), PAGE_SIZE);
		vm_mem_set_private(td->vm, td_gpa(BAD_PAGE), PAGE_SIZE);
	}

	poison_pfn(sept.hpa / PAGE_SIZE);
	ASSERT_EQ(0, tdx_emul_sept(self->tdr, td_gpa(BAD_PAGE), 0, &sept));
	EXPECT_NE(TDX_SEPT_MAPPED, sept.state);

	EXPECT_ERRNO(EHWPOISON, __vm_tdx_init_mem_region(td->vcpu, &region, 0));
	EXPECT_EQ(POPULATED - BAD_PAGE, region.nr_pages);
	EXPECT_ERRNO(EHWPOISON, __vm_tdx_init_mem_region(td->vcpu, &region, 0));

	/* The invalidate lock is free, and so is the reference of the folio. */
	tdx_task_start(&self->hole, "hole", gmem_punch_fn, td);
	ASSERT_EQ(0, tdx_task_finish(&self->hole));
	EXPECT_EQ(0, __vm_tdx_init_mem_region(td->vcpu, &region, 0))
	{
		TH_LOG("after the hole: got %s", tdx_errno_name(errno));
	}
	EXPECT_EQ(0, region.nr_pages);
	td_complete(_metadata, td);
}

#define TD_DISRUPTS "pages are poisoned until reboot"
#include "tdx_init_mem_main.h"
