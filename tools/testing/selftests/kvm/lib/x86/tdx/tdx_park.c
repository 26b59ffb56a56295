// SPDX-License-Identifier: GPL-2.0-only
/*
 * Parking by userfaultfd, see include/x86/tdx/tdx_park.h.
 */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kvm_util.h"
#include "tdx/tdx_host.h"
#include "tdx/tdx_park.h"
#include "tdx/tdx_util.h"

#define TDX_PARK_PATTERN 0xa5

static int tdx_park_open(void)
{
	return syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);
}

const char *tdx_park_lacks(void)
{
	int uffd = tdx_park_open();

	if (uffd < 0)
		return "userfaultfd for faults of the kernel is not available";

	close(uffd);
	return NULL;
}

void tdx_park_init(struct tdx_park *park, unsigned int nr_pages, unsigned int index)
{
	size_t page_size = getpagesize();
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };

	TEST_ASSERT(index < nr_pages, "Page %u of %u cannot be parked", index, nr_pages);

	park->released = false;
	park->size = nr_pages * page_size;
	park->mem = tdx_mmap(park->size, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	park->page = park->mem + index * page_size;
	park->content = malloc(page_size);
	TEST_ASSERT(park->content, "Insufficient memory");
	memset(park->content, TDX_PARK_PATTERN, page_size);
	memset(park->mem, TDX_PARK_PATTERN, park->size);
	TEST_ASSERT(!madvise(park->page, page_size, MADV_DONTNEED),
		    "madvise(MADV_DONTNEED) failed, errno %d", errno);

	park->uffd = tdx_park_open();
	TEST_ASSERT(park->uffd >= 0, "userfaultfd failed, errno %d", errno);
	TEST_ASSERT(!ioctl(park->uffd, UFFDIO_API, &api), "UFFDIO_API failed, errno %d", errno);

	reg.range.start = (uintptr_t)park->page;
	reg.range.len = page_size;
	TEST_ASSERT(!ioctl(park->uffd, UFFDIO_REGISTER, &reg), "UFFDIO_REGISTER failed, errno %d",
		    errno);
}

bool tdx_park_wait(struct tdx_park *park)
{
	struct pollfd pollfd = { .fd = park->uffd, .events = POLLIN };
	struct uffd_msg msg;

	if (poll(&pollfd, 1, tdx_host_deadline_ms()) != 1 ||
	    read(park->uffd, &msg, sizeof(msg)) != sizeof(msg)) {
		printf("# nobody asked for the missing page within %u ms\n",
		       tdx_host_deadline_ms());
		return false;
	}

	return msg.event == UFFD_EVENT_PAGEFAULT &&
	       (void *)(uintptr_t)(msg.arg.pagefault.address & ~(getpagesize() - 1ull)) ==
		       park->page;
}

void tdx_park_release(struct tdx_park *park)
{
	struct uffdio_copy copy = {
		.dst = (uintptr_t)park->page,
		.src = (uintptr_t)park->content,
		.len = getpagesize(),
	};

	if (park->released)
		return;

	TEST_ASSERT(!ioctl(park->uffd, UFFDIO_COPY, &copy), "UFFDIO_COPY failed, errno %d", errno);
	park->released = true;
}

void tdx_park_abandon(struct tdx_park *park)
{
	close(park->uffd);
	park->uffd = -1;
	park->released = true;
}

void tdx_park_destroy(struct tdx_park *park)
{
	if (!park->mem)
		return;

	tdx_park_release(park);
	if (park->uffd >= 0)
		close(park->uffd);
	munmap(park->mem, park->size);
	free(park->content);
	park->mem = NULL;
}
