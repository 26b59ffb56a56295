/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Kinds of memory that populate may read from: each makes SOURCE_PAGES pages at
 * @mem and says in @content what is in them.
 */
#ifndef TDX_INIT_MEM_SOURCE_H
#define TDX_INIT_MEM_SOURCE_H

#include <linux/kernel-page-flags.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tdx_init_mem.h"

#define SOURCE_PAGES 8
#define SOURCE_SIZE (SOURCE_PAGES * (size_t)PAGE_SIZE)
#define SOURCE_HUGE_SIZE (2ul << 20)

/* Where a source of two parts has its seam, and one that does not suit its first bad page. */
#define SOURCE_SEAM 3

#define SOURCE_HUGETLB "/sys/kernel/mm/hugepages/hugepages-2048kB/"
#define SOURCE_RAM_DISK "/dev/ram0"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

struct source {
	struct td td;
	u64 tdr; /* 0 where nobody may read what a TD has */
	u64 random;
	void *mem;
	void *content;

	/* What the kind used for it, to be given back by source_unmake(). */
	void *map;
	size_t map_size;
	int fd;
	pid_t child;

	/* Made once, to be given back by source_end(). */
	struct kvm_vm *lender;
	unsigned long hugetlb;
	bool swap;
};

/* Makes the memory, or says why there is none of this kind. */
typedef const char *source_make_fn(struct source *s);

static inline void source_randomize(struct source *s, void *mem, size_t size)
{
	u64 *word;

	for (word = mem; (void *)word < mem + size; word++)
		*word = td_random(&s->random);
}

/* The page at @mem gets new contents, now or when it is needed. */
static inline void source_write(struct source *s, unsigned int page, void *mem)
{
	void *content = s->content + page * PAGE_SIZE;

	source_randomize(s, content, PAGE_SIZE);
	memcpy(mem, content, PAGE_SIZE);
}

static inline void source_fill(struct source *s)
{
	unsigned int page;

	for (page = 0; page < SOURCE_PAGES; page++)
		source_write(s, page, s->mem + page * PAGE_SIZE);
}

static inline void source_map(struct source *s, size_t size, int prot, int flags)
{
	s->map_size = size;
	s->map = mmap(NULL, size, prot, flags, s->fd, 0);
	TEST_ASSERT(s->map != MAP_FAILED, "mmap of the source failed, errno %d", errno);
	s->mem = s->map;
}

static inline void source_map_anonymous(struct source *s)
{
	source_map(s, SOURCE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
}

static inline void source_map_over(struct source *s, unsigned int page, unsigned int nr, int flags,
				   int fd, off_t offset)
{
	void *mem = s->mem + page * PAGE_SIZE;

	TEST_ASSERT(mmap(mem, nr * PAGE_SIZE, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd,
			 offset) == mem,
		    "mmap of a part of the source failed, errno %d", errno);
}

static inline void source_open_memfd(struct source *s, size_t size)
{
	s->fd = memfd_create("source", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	TEST_ASSERT(s->fd >= 0 && !ftruncate(s->fd, size), "memfd: errno %d", errno);
}

/* A nameless file of @size bytes with contents. */
static inline const char *source_open_tmpfs(struct source *s, size_t size)
{
	s->fd = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (s->fd < 0)
		return "no tmpfs at /dev/shm";

	source_randomize(s, s->content, size);
	TEST_ASSERT(pwrite(s->fd, s->content, size, 0) == (ssize_t)size, "tmpfs: errno %d", errno);
	return NULL;
}

/* Gives back what a kind has made, and is ready for the next time. */
static inline void source_unmake(struct source *s)
{
	if (s->child) {
		kill(s->child, SIGKILL);
		waitpid(s->child, NULL, 0);
		s->child = 0;
	}
	if (s->map)
		munmap(s->map, s->map_size);
	if (s->fd >= 0)
		close(s->fd);
	s->map = NULL;
	s->fd = -1;
	memset(s->content, 0, SOURCE_SIZE);
}

static inline bool source_write_number(const char *path, unsigned long number)
{
	FILE *file = fopen(path, "we");
	bool good;

	if (!file)
		return false;

	good = fprintf(file, "%lu\n", number) > 0;
	return !fclose(file) && good;
}

static inline long source_read_number(const char *path)
{
	FILE *file = fopen(path, "re");
	long number;

	if (!file)
		return -1;
	if (fscanf(file, "%ld", &number) != 1)
		number = -1;
	fclose(file);
	return number;
}

static inline void source_end(struct source *s)
{
	source_unmake(s);
	td_destroy(&s->td);
	if (s->lender)
		kvm_vm_free(s->lender);
	if (s->hugetlb)
		source_write_number(SOURCE_HUGETLB "nr_hugepages", s->hugetlb - 1);
	if (s->swap)
		TEST_ASSERT(!swapoff(SOURCE_RAM_DISK), "swapoff failed, errno %d", errno);
	free(s->content);
}

/* A TD, and a source for it; or why there is none of this kind. */
static inline const char *source_begin(struct source *s, source_make_fn *make)
{
	struct tdx_emul_td td;
	const char *lack;

	*s = (struct source) { .fd = -1, .random = tdx_host_seed() };
	td_create(&s->td);
	s->tdr = tdx_emul_newest_td(&td) ? 0 : td.tdr;
	s->content = calloc(1, SOURCE_SIZE);
	TEST_ASSERT(s->content, "Insufficient memory");

	lack = make(s);
	if (lack)
		source_end(s);
	return lack;
}

/* One word per page of /proc, 0 if it cannot be had. */
static inline u64 source_read_proc(const char *path, u64 index)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	u64 word = 0;

	if (fd < 0)
		return 0;
	if (pread(fd, &word, sizeof(word), index * sizeof(word)) != sizeof(word))
		word = 0;
	close(fd);
	return word;
}

#define SOURCE_PAGEMAP_PFN GENMASK_ULL(54, 0)
#define SOURCE_PAGEMAP_SWAPPED BIT_ULL(62)

static inline u64 source_pagemap(const struct source *s, unsigned int page)
{
	return source_read_proc("/proc/self/pagemap", (uintptr_t)s->mem / PAGE_SIZE + page);
}

/* KPF_* of a page of the source, 0 if it is not there or the kernel does not tell. */
static inline u64 source_page_flags(const struct source *s, unsigned int page)
{
	u64 pagemap = source_pagemap(s, page);

	if (pagemap & SOURCE_PAGEMAP_SWAPPED || !(pagemap & SOURCE_PAGEMAP_PFN))
		return 0;

	return source_read_proc("/proc/kpageflags", pagemap & SOURCE_PAGEMAP_PFN);
}

/* The test has its own. */
static inline const char *source_none(struct source __always_unused *s)
{
	return NULL;
}

static inline const char *source_anonymous(struct source *s)
{
	source_map_anonymous(s);
	source_fill(s);
	return NULL;
}

static inline const char *source_never_written(struct source *s)
{
	source_map_anonymous(s);
	return NULL;
}

static inline void source_map_huge(struct source *s)
{
	source_map(s, 3 * SOURCE_HUGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
	s->mem = (void *)(((uintptr_t)s->map + 2 * SOURCE_HUGE_SIZE - 1) & -SOURCE_HUGE_SIZE);
	/* The end of one huge page, the beginning of the next. */
	s->mem -= SOURCE_SEAM * PAGE_SIZE;
}

static inline const char *source_huge(struct source *s)
{
	source_map_huge(s);
	if (madvise(s->map, s->map_size, MADV_HUGEPAGE))
		return "no transparent huge pages";

	source_fill(s);
	return NULL;
}

static inline const char *source_huge_never_written(struct source *s)
{
	source_map_huge(s);
	return madvise(s->map, s->map_size, MADV_HUGEPAGE) ? "no transparent huge pages" : NULL;
}

static inline const char *source_hugetlb(struct source *s)
{
	long nr = source_read_number(SOURCE_HUGETLB "nr_hugepages");

	if (!s->hugetlb && nr >= 0) {
		s->hugetlb = nr + 1;
		source_write_number(SOURCE_HUGETLB "nr_hugepages", nr + 2);
	}

	s->map_size = 2 * SOURCE_HUGE_SIZE;
	s->map = mmap(NULL, s->map_size, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (s->map == MAP_FAILED) {
		s->map = NULL;
		return "hugetlb has no two pages to spare";
	}

	s->mem = s->map + SOURCE_HUGE_SIZE - SOURCE_SEAM * PAGE_SIZE;
	source_fill(s);
	return NULL;
}

static inline const char *source_shmem(struct source *s)
{
	source_map(s, SOURCE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
	source_fill(s);
	return NULL;
}

/* Nobody may write to these pages any more. */
static inline const char *source_memfd_sealed(struct source *s)
{
	source_open_memfd(s, SOURCE_SIZE);
	source_randomize(s, s->content, SOURCE_SIZE);
	TEST_ASSERT(write(s->fd, s->content, SOURCE_SIZE) == SOURCE_SIZE, "memfd: errno %d", errno);
	TEST_ASSERT(!fcntl(s->fd, F_ADD_SEALS, F_SEAL_WRITE), "F_SEAL_WRITE: errno %d", errno);
	source_map(s, SOURCE_SIZE, PROT_READ, MAP_PRIVATE);
	return NULL;
}

static inline const char *source_tmpfs_shared(struct source *s)
{
	const char *lack = source_open_tmpfs(s, SOURCE_SIZE);

	if (!lack)
		source_map(s, SOURCE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	return lack;
}

static inline const char *source_tmpfs_private(struct source *s)
{
	const char *lack = source_open_tmpfs(s, SOURCE_SIZE);

	if (!lack)
		source_map(s, SOURCE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	return lack;
}

/* Of each second page there is a copy, which the file does not have. */
static inline const char *source_tmpfs_private_written(struct source *s)
{
	const char *lack = source_tmpfs_private(s);
	unsigned int page;

	for (page = 0; !lack && page < SOURCE_PAGES; page += 2)
		source_write(s, page, s->mem + page * PAGE_SIZE);
	return lack;
}

/* What the last page has behind the end of the file is zero. */
static inline const char *source_file_ends_in_last_page(struct source *s)
{
	const char *lack = source_open_tmpfs(s, SOURCE_SIZE - PAGE_SIZE / 2);

	if (!lack)
		source_map(s, SOURCE_SIZE, PROT_READ, MAP_SHARED);
	return lack;
}

static inline const char *source_read_only(struct source *s)
{
	source_anonymous(s);
	TEST_ASSERT(!mprotect(s->mem, SOURCE_SIZE, PROT_READ), "mprotect: errno %d", errno);
	return NULL;
}

/* The text of this program, of whatever file system it is. */
static inline const char *source_executable(struct source *s)
{
	s->fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	TEST_ASSERT(s->fd >= 0, "/proc/self/exe: errno %d", errno);
	TEST_ASSERT(pread(s->fd, s->content, SOURCE_SIZE, 0) == SOURCE_SIZE,
		    "/proc/self/exe is short");
	source_map(s, SOURCE_SIZE, PROT_READ | PROT_EXEC, MAP_PRIVATE);
	return NULL;
}

/* One page, at as many addresses as there are pages. */
static inline const char *source_same_page(struct source *s)
{
	unsigned int page;

	source_open_memfd(s, PAGE_SIZE);
	source_map(s, SOURCE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	source_write(s, 0, s->mem);
	for (page = 1; page < SOURCE_PAGES; page++) {
		source_map_over(s, page, 1, MAP_SHARED, s->fd, 0);
		memcpy(s->content + page * PAGE_SIZE, s->content, PAGE_SIZE);
	}
	return NULL;
}

static inline const char *source_two_mappings(struct source *s)
{
	source_map_anonymous(s);
	source_open_memfd(s, SOURCE_SIZE);
	source_map_over(s, SOURCE_SEAM, SOURCE_PAGES - SOURCE_SEAM, MAP_SHARED, s->fd, 0);
	source_fill(s);
	return NULL;
}

/* What user space most often takes: where the slot has its shared pages. */
static inline const char *source_shared_half(struct source *s)
{
	s->mem = s->td.shared;
	source_fill(s);
	return NULL;
}

/* Shared with a child, which writes to all of its own, as we do to each second one of ours. */
static inline const char *source_forked(struct source *s)
{
	int ready[2], page;
	char done;

	source_anonymous(s);
	TEST_ASSERT(!pipe(ready), "pipe: errno %d", errno);
	s->child = fork();
	TEST_ASSERT(s->child >= 0, "fork: errno %d", errno);
	if (!s->child) {
		memset(s->mem + SOURCE_SEAM * PAGE_SIZE, 0xee, SOURCE_SIZE / 2);
		if (write(ready[1], "", 1) == 1)
			pause();
		_exit(0);
	}

	TEST_ASSERT(read(ready[0], &done, 1) == 1, "the child did not write: errno %d", errno);
	close(ready[0]);
	close(ready[1]);
	for (page = 0; page < SOURCE_PAGES; page += 2)
		source_write(s, page, s->mem + page * PAGE_SIZE);
	return NULL;
}

static inline const char *source_write_protected(struct source *s)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_WP };
	struct uffdio_writeprotect protect = { .mode = UFFDIO_WRITEPROTECT_MODE_WP };

	source_anonymous(s);
	s->fd = syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (s->fd < 0 || ioctl(s->fd, UFFDIO_API, &api))
		return "userfaultfd cannot write-protect pages";

	reg.range.start = (uintptr_t)s->mem;
	reg.range.len = SOURCE_SIZE;
	protect.range = reg.range;
	TEST_ASSERT(!ioctl(s->fd, UFFDIO_REGISTER, &reg), "UFFDIO_REGISTER: errno %d", errno);
	TEST_ASSERT(!ioctl(s->fd, UFFDIO_WRITEPROTECT, &protect), "UFFDIO_WRITEPROTECT: errno %d",
		    errno);
	return NULL;
}

/* Memory that another VM lends. */
static inline const char *source_guest_memfd(struct source *s)
{
	if (!s->lender)
		s->lender = vm_create_barebones();

	s->fd = __vm_create_guest_memfd(s->lender, SOURCE_SIZE,
					GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED);
	if (s->fd < 0)
		return "guest_memfd cannot be mapped in this kernel";

	source_map(s, SOURCE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	source_fill(s);
	return NULL;
}

/* The header of mkswap; the disk is nobody else's on the emulated host only. */
static inline bool source_swap_on(void)
{
	struct {
		char boot[1024];
		u32 version, last_page, nr_badpages;
		char rest[PAGE_SIZE - 1024 - 3 * sizeof(u32) - 10];
		char magic[10];
	} __packed header = { .version = 1, .magic = "SWAPSPACE2" };
	int fd = open(SOURCE_RAM_DISK, O_RDWR | O_CLOEXEC);
	bool good;

	if (fd < 0)
		return false;

	header.last_page = lseek(fd, 0, SEEK_END) / PAGE_SIZE - 1;
	good = pwrite(fd, &header, sizeof(header), 0) == sizeof(header);
	close(fd);
	return good && !swapon(SOURCE_RAM_DISK, 0);
}

static inline const char *source_swapped_out(struct source *s)
{
	u64 deadline = tdx_now_ms() + tdx_host_deadline_ms() / 2;
	unsigned int page = 0;

	if (!s->swap && tdx_host_is_emulated())
		s->swap = source_swap_on();

	source_anonymous(s);
	while (page < SOURCE_PAGES && tdx_now_ms() < deadline) {
		if (source_pagemap(s, page) & SOURCE_PAGEMAP_SWAPPED)
			page++;
		else if (madvise(s->mem, SOURCE_SIZE, MADV_PAGEOUT))
			break;
	}
	return page == SOURCE_PAGES ? NULL : "no swap to be had";
}

/* From SOURCE_SEAM on there is something that cannot be read. */
static inline const char *source_unmapped(struct source *s)
{
	source_anonymous(s);
	s->map_size = SOURCE_SEAM * PAGE_SIZE;
	munmap(s->mem + s->map_size, SOURCE_SIZE - s->map_size);
	return NULL;
}

static inline const char *source_no_access(struct source *s)
{
	source_anonymous(s);
	mprotect(s->mem + SOURCE_SEAM * PAGE_SIZE, PAGE_SIZE, PROT_NONE);
	return NULL;
}

static inline const char *source_guard(struct source *s)
{
	source_anonymous(s);
	return madvise(s->mem + SOURCE_SEAM * PAGE_SIZE, PAGE_SIZE, MADV_GUARD_INSTALL) ?
		       "no MADV_GUARD_INSTALL" :
		       NULL;
}

static inline const char *source_past_end_of_file(struct source *s)
{
	const char *lack = source_open_tmpfs(s, SOURCE_SEAM * PAGE_SIZE);

	if (!lack)
		source_map(s, SOURCE_SIZE, PROT_READ, MAP_SHARED);
	return lack;
}

/* The pages were mapped, until the file became shorter. */
static inline const char *source_truncated(struct source *s)
{
	const char *lack = source_open_tmpfs(s, SOURCE_SIZE);

	if (lack)
		return lack;

	source_map(s, SOURCE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	source_fill(s);
	TEST_ASSERT(!ftruncate(s->fd, SOURCE_SEAM * PAGE_SIZE), "ftruncate: errno %d", errno);
	return NULL;
}

#endif /* TDX_INIT_MEM_SOURCE_H */
