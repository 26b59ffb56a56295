/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How many pages does this process use?  It gets a memory cgroup of its own, which
 * is charged for each page until it is free, and for nobody else's: a page that
 * the kernel forgot to let go of stays on the bill, when the file is long gone.
 */
#ifndef SELFTEST_KVM_TDX_MEMCG_H
#define SELFTEST_KVM_TDX_MEMCG_H

#include <stdbool.h>
#include <sys/types.h>

struct tdx_memcg {
	char path[64];
};

/* False where there is no cgroup v2 with a memory controller, or no right to it. */
bool tdx_memcg_enter(struct tdx_memcg *memcg);

/*
 * Pages charged now.  Besides those in use, the kernel keeps some in store: up to
 * 64 for each CPU that the process ran on.
 */
long tdx_memcg_pages(const struct tdx_memcg *memcg);

/* From here on it may use no more than so many pages, nor swap; false if refused. */
bool tdx_memcg_limit(const struct tdx_memcg *memcg, unsigned int pages);

/* Into the root cgroup. */
void tdx_memcg_leave(struct tdx_memcg *memcg);

/* Removes what a process that did not live to leave its cgroup has left of it. */
void tdx_memcg_forget(pid_t pid);

#endif /* SELFTEST_KVM_TDX_MEMCG_H */
