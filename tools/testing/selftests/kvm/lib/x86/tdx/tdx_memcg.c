// SPDX-License-Identifier: GPL-2.0-only
/*
 * A memory cgroup for one process, see include/x86/tdx/tdx_memcg.h.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test_util.h"
#include "tdx/tdx_memcg.h"

#define TDX_CGROUP_ROOT "/sys/fs/cgroup"

static bool tdx_memcg_write(const char *directory, const char *file, const char *text)
{
	ssize_t len = strlen(text);
	char path[128];
	bool good;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", directory, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return false;

	good = write(fd, text, len) == len;
	close(fd);
	return good;
}

static void tdx_memcg_name(struct tdx_memcg *memcg, pid_t pid)
{
	snprintf(memcg->path, sizeof(memcg->path), TDX_CGROUP_ROOT "/tdx_init_mem.%d", pid);
}

bool tdx_memcg_enter(struct tdx_memcg *memcg)
{
	/* May be there already, or not ours to give: memory.current will tell. */
	tdx_memcg_write(TDX_CGROUP_ROOT, "cgroup.subtree_control", "+memory");

	tdx_memcg_name(memcg, getpid());
	if (mkdir(memcg->path, 0755))
		return false;

	if (tdx_memcg_pages(memcg) >= 0 && tdx_memcg_write(memcg->path, "cgroup.procs", "0"))
		return true;

	rmdir(memcg->path);
	return false;
}

long tdx_memcg_pages(const struct tdx_memcg *memcg)
{
	char path[128];
	long bytes;
	FILE *file;

	snprintf(path, sizeof(path), "%s/memory.current", memcg->path);
	file = fopen(path, "re");
	if (!file)
		return -1;
	if (fscanf(file, "%ld", &bytes) != 1)
		bytes = -1;
	fclose(file);
	return bytes < 0 ? -1 : bytes / getpagesize();
}

void tdx_memcg_leave(struct tdx_memcg *memcg)
{
	tdx_memcg_write(TDX_CGROUP_ROOT, "cgroup.procs", "0");
	rmdir(memcg->path);
}

bool tdx_memcg_limit(const struct tdx_memcg *memcg, unsigned int pages)
{
	char bytes[24];

	snprintf(bytes, sizeof(bytes), "%lu", pages * (unsigned long)getpagesize());
	/* Not there without swap. */
	tdx_memcg_write(memcg->path, "memory.swap.max", "0");
	return tdx_memcg_write(memcg->path, "memory.max", bytes);
}

void tdx_memcg_forget(pid_t pid)
{
	struct tdx_memcg memcg;

	tdx_memcg_name(&memcg, pid);
	rmdir(memcg.path);
}
