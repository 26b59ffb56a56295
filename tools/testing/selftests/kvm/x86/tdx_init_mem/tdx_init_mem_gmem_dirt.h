/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory that was written before a guest_memfd gets it, and whether any of that is left.
 */
#ifndef TDX_INIT_MEM_GMEM_DIRT_H
#define TDX_INIT_MEM_GMEM_DIRT_H

#include "tdx_init_mem_gmem_user.h"
#include "tdx/tdx_emul.h"

/*
 * The first of @nr pages from @hpa on that is not zero, counted from there;
 * whoever has the memory, mapped or not.
 */
static inline int gmem_host_not_zero(u64 hpa, unsigned int nr)
{
	u64 words[TDX_EMUL_READ_SIZE / sizeof(u64)];
	unsigned int page;

	for (page = 0; page < nr; page++) {
		u64 at = hpa + page * (u64)PAGE_SIZE + gmem_sample(page);

		if (tdx_emul_read_host(at, words) || !gmem_is(words, 0, sizeof(words)))
			return page;
	}

	return NO_PAGE;
}

/*
 * Leaves written memory to the next one who allocates: pages of pipes, which
 * are as immovable as those of a guest_memfd, and a guest_memfd if user space
 * can write to one.
 */
#define DIRTY_PIPES 4
#define DIRTY_PIPE_SIZE 0x100000

static inline void gmem_dirty_by_pipes(void)
{
	void *dirt = td_mmap(DIRTY_PIPE_SIZE);
	int pipes[DIRTY_PIPES][2];
	unsigned int i;
	size_t j;

	for (j = 0; j < DIRTY_PIPE_SIZE / sizeof(u64); j++)
		((u64 *)dirt)[j] = GMEM_DIRT;

	for (i = 0; i < DIRTY_PIPES; i++) {
		TEST_ASSERT(!pipe2(pipes[i], O_NONBLOCK | O_CLOEXEC), "pipe: errno %d", errno);
		TEST_ASSERT(fcntl(pipes[i][1], F_SETPIPE_SZ, DIRTY_PIPE_SIZE) == DIRTY_PIPE_SIZE,
			    "F_SETPIPE_SZ: errno %d", errno);
		TEST_ASSERT(write(pipes[i][1], dirt, DIRTY_PIPE_SIZE) == DIRTY_PIPE_SIZE,
			    "write to a pipe: errno %d", errno);
	}
	for (i = 0; i < DIRTY_PIPES; i++) {
		close(pipes[i][0]);
		close(pipes[i][1]);
	}
	munmap(dirt, DIRTY_PIPE_SIZE);
}

static inline void gmem_dirty(unsigned int nr_pages, bool huge)
{
	struct gmem_user u;
	size_t i;

	gmem_dirty_by_pipes();
	if (gmem_user_lacks(huge))
		return;

	gmem_user_create(&u, nr_pages, huge, GMEM_GPA);
	for (i = 0; i < gmem_size(&u.g) / sizeof(u64); i++)
		((u64 *)u.g.mem)[i] = GMEM_DIRT;
	gmem_user_destroy(&u);
}

#endif /* TDX_INIT_MEM_GMEM_DIRT_H */
