// SPDX-License-Identifier: GPL-2.0-only
/*
 * Parking by userfaultfd.  The faults are those of the kernel, which the system
 * call grants to CAP_SYS_PTRACE, or to all if vm.unprivileged_userfaultfd is 1,
 * and /dev/userfaultfd to whoever may open it.
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
#include "tdx/tdx_park_way.h"

#define TDX_PARK_DEV "/dev/userfaultfd"

static int uffd_by_syscall(void)
{
	return syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);
}

static int uffd_by_dev(void)
{
	int dev = open(TDX_PARK_DEV, O_RDWR | O_CLOEXEC);
	int uffd, saved_errno;

	if (dev < 0)
		return dev;

	uffd = ioctl(dev, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
	saved_errno = errno;
	close(dev);
	errno = saved_errno;
	return uffd;
}

static bool uffd_works(int uffd)
{
	if (uffd >= 0)
		close(uffd);

	return uffd >= 0;
}

static const char *uffd_syscall_lacks(void)
{
	if (uffd_works(uffd_by_syscall()))
		return NULL;

	return errno == EPERM ? "userfaultfd refuses faults of the kernel (CAP_SYS_PTRACE)" :
				"no userfaultfd";
}

static const char *uffd_dev_lacks(void)
{
	if (uffd_works(uffd_by_dev()))
		return NULL;

	return errno == ENOENT ? "no " TDX_PARK_DEV : TDX_PARK_DEV " cannot be used";
}

static void uffd_register(struct tdx_park *park, int uffd)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)park->page, .len = getpagesize() },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	TEST_ASSERT(uffd >= 0, "userfaultfd failed, errno %d", errno);
	park->uffd = uffd;
	TEST_ASSERT(!madvise(park->page, getpagesize(), MADV_DONTNEED),
		    "madvise(MADV_DONTNEED) failed, errno %d", errno);
	TEST_ASSERT(!ioctl(uffd, UFFDIO_API, &api), "UFFDIO_API failed, errno %d", errno);
	TEST_ASSERT(!ioctl(uffd, UFFDIO_REGISTER, &reg), "UFFDIO_REGISTER failed, errno %d", errno);
}

static void uffd_syscall_open(struct tdx_park *park)
{
	uffd_register(park, uffd_by_syscall());
}

static void uffd_dev_open(struct tdx_park *park)
{
	uffd_register(park, uffd_by_dev());
}

static bool uffd_wait(struct tdx_park *park)
{
	struct pollfd pollfd = { .fd = park->uffd, .events = POLLIN };
	struct uffd_msg msg;

	if (poll(&pollfd, 1, tdx_host_deadline_ms()) != 1 ||
	    read(park->uffd, &msg, sizeof(msg)) != sizeof(msg))
		return false;

	return msg.event == UFFD_EVENT_PAGEFAULT &&
	       (void *)(uintptr_t)(msg.arg.pagefault.address & ~(getpagesize() - 1ull)) ==
		       park->page;
}

static void uffd_release(struct tdx_park *park)
{
	struct uffdio_copy copy = {
		.dst = (uintptr_t)park->page,
		.src = (uintptr_t)park->content,
		.len = getpagesize(),
	};

	TEST_ASSERT(!ioctl(park->uffd, UFFDIO_COPY, &copy), "UFFDIO_COPY failed, errno %d", errno);
}

/* What is closed is registered nowhere any more. */
static void uffd_close(struct tdx_park *park)
{
	if (park->uffd >= 0)
		close(park->uffd);
	park->uffd = -1;
}

const struct tdx_park_way tdx_park_uffd = {
	.name = "uffd",
	.lacks = uffd_syscall_lacks,
	.open = uffd_syscall_open,
	.wait = uffd_wait,
	.release = uffd_release,
	.abandon = uffd_close,
	.destroy = uffd_close,
};

const struct tdx_park_way tdx_park_dev = {
	.name = "dev",
	.lacks = uffd_dev_lacks,
	.open = uffd_dev_open,
	.wait = uffd_wait,
	.release = uffd_release,
	.abandon = uffd_close,
	.destroy = uffd_close,
};
