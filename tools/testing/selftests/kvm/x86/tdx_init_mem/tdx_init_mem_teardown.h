/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Whether a process has come to its end, and its VMs with it.
 */
#ifndef TDX_INIT_MEM_TEARDOWN_H
#define TDX_INIT_MEM_TEARDOWN_H

#include <dirent.h>
#include <poll.h>
#include <sys/wait.h>

#include "tdx_init_mem.h"

#define PARKED_PAGES 4
#define PARKED_AT 2

/* KVM shows each VM as "PID-FD" of who made it. */
#define KVM_DEBUGFS "/sys/kernel/debug/kvm"

/* VMs of that process, which may be gone itself; 0 where nobody can tell. */
static unsigned int count_vms(pid_t pid)
{
	DIR *dir = opendir(KVM_DEBUGFS);
	struct dirent *entry;
	unsigned int vms = 0;

	while (dir && (entry = readdir(dir))) {
		int owner, fd;

		if (sscanf(entry->d_name, "%d-%d", &owner, &fd) == 2)
			vms += owner == pid;
	}
	if (dir)
		closedir(dir);
	return vms;
}

static void expect_no_vm(struct __test_metadata *_metadata, pid_t pid)
{
	u64 deadline = tdx_now_ms() + tdx_host_deadline_ms();
	unsigned int vms;

	while ((vms = count_vms(pid)) && tdx_now_ms() < deadline)
		usleep(1000);
	EXPECT_EQ(0, vms)
	{
		TH_LOG("process %d is gone, and %u VMs of it are not", pid, vms);
	}
}

static bool child_ends(pid_t pid, int *status)
{
	return tdx_child_ends(pid, status, tdx_host_deadline_ms());
}

/* One byte from a child, or -1 if there is none within the common deadline. */
static int child_says(int fd)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };
	char byte;

	if (poll(&pollfd, 1, tdx_host_deadline_ms()) != 1 || read(fd, &byte, 1) != 1)
		return -1;
	return (unsigned char)byte;
}

static void say(int fd, char byte)
{
	if (write(fd, &byte, 1) != 1)
		_exit(1);
}

#endif /* TDX_INIT_MEM_TEARDOWN_H */
