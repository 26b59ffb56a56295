// SPDX-License-Identifier: GPL-2.0-only
/*
 * The source of KVM_TDX_INIT_MEM_REGION: its pages are pinned to be copied,
 * and let go of as soon as the call is over, however it ends.
 */
#include "tdx_init_mem.h"

#define SOURCE_PAGES 8
#define SOURCE_SIZE (SOURCE_PAGES * (size_t)PAGE_SIZE)

/* What stops populate, at this page of the region. */
#define STOPPED_AT 3

enum obstacle {
	NO_OBSTACLE,
	PAGE_THERE,
	PAGE_WITHOUT_SLOT,
	SOURCE_NOT_READABLE,
};

FIXTURE(pinned)
{
	struct td td;
	int memfd;
	void *source;
};

FIXTURE_VARIANT(pinned)
{
	enum obstacle obstacle;
};

#define OBSTACLE(_name) FIXTURE_VARIANT_ADD(pinned, _name)

OBSTACLE(all_pages_added) { NO_OBSTACLE };
OBSTACLE(page_there_already) { PAGE_THERE };
OBSTACLE(page_without_slot) { PAGE_WITHOUT_SLOT };
OBSTACLE(source_not_readable) { SOURCE_NOT_READABLE };

FIXTURE_SETUP(pinned)
{
	unsigned int page;

	td_create(&self->td);
	self->memfd = memfd_create("source", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	ASSERT_LE(0, self->memfd);
	for (page = 0; page < SOURCE_PAGES; page++)
		ASSERT_EQ(PAGE_SIZE, write(self->memfd, td_source(&self->td, page), PAGE_SIZE));

	/* Private and never written to: the pages are those of the file. */
	self->source = mmap(NULL, SOURCE_SIZE, PROT_READ, MAP_PRIVATE, self->memfd, 0);
	ASSERT_NE(MAP_FAILED, self->source);
}

FIXTURE_TEARDOWN(pinned)
{
	close(self->memfd);
	td_destroy(&self->td);
	td_audit(_metadata);
}

/*
 * A seal against writing is refused for as long as anybody but the page cache
 * has a reference to a page of the file, after a second of waiting for it.
 */
TD_TEST_F(pinned, source_is_let_go)
{
	unsigned int first = variant->obstacle == PAGE_WITHOUT_SLOT ? TD_NR_PAGES - STOPPED_AT : 0;
	struct kvm_tdx_init_mem_region region = {
		.source_addr = (uintptr_t)self->source,
		.gpa = td_gpa(first),
		.nr_pages = SOURCE_PAGES,
	};
	void *stop = self->source + STOPPED_AT * (u64)PAGE_SIZE;
	bool stopped = variant->obstacle != NO_OBSTACLE;

	if (variant->obstacle == PAGE_THERE)
		ASSERT_EQ(0, td_add(&self->td, STOPPED_AT, 1));
	if (variant->obstacle == SOURCE_NOT_READABLE)
		ASSERT_EQ(0, mprotect(stop, PAGE_SIZE, PROT_NONE));

	EXPECT_EQ(stopped ? -1 : 0, __vm_tdx_init_mem_region(self->td.vcpu, &region, 0));
	EXPECT_EQ(stopped ? SOURCE_PAGES - STOPPED_AT : 0, region.nr_pages);

	ASSERT_EQ(0, munmap(self->source, SOURCE_SIZE));
	EXPECT_EQ(0, fcntl(self->memfd, F_ADD_SEALS, F_SEAL_WRITE))
	{
		TH_LOG("F_SEAL_WRITE: %s: a page of the source has lost or gained a reference",
		       tdx_errno_name(errno));
	}
}

#include "tdx_init_mem_main.h"
