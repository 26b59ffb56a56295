/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest_memfd with folios of 4 KiB or of 2 MiB, and what can be done to it,
 * whatever VM it is bound to.
 *
 * Pages are counted in the file, wherever they are bound.  A page is filled with
 * one word, which tells it from every other page and from what it was before.
 */
#ifndef TDX_INIT_MEM_GMEM_H
#define TDX_INIT_MEM_GMEM_H

#include "tdx_init_mem.h"

#define FOLIO_PAGES 512u
#define FOLIO_SIZE (FOLIO_PAGES * (u64)PAGE_SIZE)

/* 2 MiB aligned, and behind the slot that every TD of the tests has. */
#define GMEM_GPA (2 * TD_GPA)
#define GMEM_SLOT (TD_SLOT + 1)

/* What nobody is ever to see: it was written before the file was made. */
#define GMEM_DIRT 0xd1e7d1e7d1e7d1e7ull

/* Sampled when a guest_memfd is made. */
#define GMEM_HUGE_PARAM "/sys/module/kvm/parameters/gmem_huge_folios"

struct gmem {
	struct kvm_vm *vm;
	int fd;
	unsigned int nr_pages;
	bool sparse;  /* a TD gets a few of the pages only, see gmem_is_used() */
	u64 gpa;      /* of page 0, bound or not */
	u64 *source;  /* the file as it is to be */
	void *shared; /* behind the shared half of the slots */
	void *mem;    /* the file as user space has it, if mapped */
};

/* Files of one value, in sysfs and debugfs. */
static inline void knob_read(const char *path, char *value, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : read(fd, value, size - 1);

	TEST_ASSERT(len >= 0, "read(%s): errno %d", path, errno);
	close(fd);
	value[len] = '\0';
	value[strcspn(value, "\n")] = '\0';
}

static inline void knob_write(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	TEST_ASSERT(fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value),
		    "write(%s, %s): errno %d", path, value, errno);
	close(fd);
}

/* Why a guest_memfd has no folios of that size here, or NULL. */
static inline const char *gmem_lacks(bool huge)
{
	return huge && access(GMEM_HUGE_PARAM, W_OK) ?
		       "this kernel has no parameter kvm.gmem_huge_folios" :
		       NULL;
}

/* The parameter is another one for as long as the call lasts, whatever becomes of the test. */
static inline int __gmem_make(struct kvm_vm *vm, u64 size, u64 flags, bool huge)
{
	char former[8];
	int fd;

	if (access(GMEM_HUGE_PARAM, W_OK))
		return __vm_create_guest_memfd(vm, size, flags);

	knob_read(GMEM_HUGE_PARAM, former, sizeof(former));
	knob_write(GMEM_HUGE_PARAM, huge ? "Y" : "N");
	fd = __vm_create_guest_memfd(vm, size, flags);
	knob_write(GMEM_HUGE_PARAM, former);
	return fd;
}

/* Address space with a 2 MiB boundary where @gpa has one. */
static inline void *gmem_reserve(u64 size, u64 gpa)
{
	uintptr_t start = (uintptr_t)tdx_mmap(size + 2 * FOLIO_SIZE,
					      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);

	start = (start + FOLIO_SIZE - 1) & ~(FOLIO_SIZE - 1);
	return (void *)(start + (gpa & (FOLIO_SIZE - 1)));
}

static inline u64 gmem_size(const struct gmem *g)
{
	return g->nr_pages * (u64)PAGE_SIZE;
}

static inline u64 gmem_gpa(const struct gmem *g, unsigned int page)
{
	return g->gpa + page * (u64)PAGE_SIZE;
}

static inline u64 gmem_word(unsigned int page, unsigned int generation)
{
	return 0x5eed000000000000ull | (u64)generation << 32 | (page + 1);
}

/*
 * A folio is one whether all of its pages are used or a few, of which TDs are
 * made sooner: those around each multiple of 32.  Ranges of pages begin and end
 * there, so that they have neighbours on both sides.
 */
#define GMEM_SPARSE 32

static inline bool gmem_is_used(const struct gmem *g, unsigned int page)
{
	return !g->sparse || (page + 1) % GMEM_SPARSE < 3;
}

/* The next run of used pages in [*first, end), empty if there is none. */
static inline unsigned int gmem_run(const struct gmem *g, unsigned int *first, unsigned int end)
{
	unsigned int page;

	while (*first < end && !gmem_is_used(g, *first))
		++*first;
	for (page = *first; page < end && gmem_is_used(g, page); page++)
		;
	return page - *first;
}

/* The source of pages [first, first + nr). */
static inline void gmem_fill(struct gmem *g, unsigned int first, unsigned int nr,
			     unsigned int generation)
{
	const size_t words = PAGE_SIZE / sizeof(u64);
	unsigned int page;
	size_t i;

	for (page = first; page < first + nr; page++) {
		for (i = 0; i < words; i++)
			g->source[page * words + i] = gmem_word(page, generation);
	}
}

static inline void *gmem_source(const struct gmem *g, unsigned int page)
{
	return (void *)g->source + page * (u64)PAGE_SIZE;
}

/* A file, bound nowhere yet; filled with generation 1.  Page 0 belongs at @gpa. */
static inline void gmem_create(struct gmem *g, struct kvm_vm *vm, unsigned int nr_pages, bool huge,
			       u64 flags, u64 gpa)
{
	*g = (struct gmem) { .vm = vm, .nr_pages = nr_pages, .gpa = gpa };
	g->fd = __gmem_make(vm, gmem_size(g), flags, huge);
	TEST_ASSERT(g->fd >= 0, "KVM_CREATE_GUEST_MEMFD: errno %d", errno);
	g->source = td_mmap(gmem_size(g));
	g->shared = gmem_reserve(gmem_size(g), gpa);
	gmem_fill(g, 0, nr_pages, 1);
}

/* Binds pages [first, first + nr) where they belong. */
static inline int gmem_bind(struct gmem *g, u32 slot, unsigned int first, unsigned int nr)
{
	u64 offset = first * (u64)PAGE_SIZE, size = nr * (u64)PAGE_SIZE;

	if (__vm_set_user_memory_region2(g->vm, slot, KVM_MEM_GUEST_MEMFD, g->gpa + offset, size,
					 g->shared + offset, g->fd, offset))
		return -errno;

	if (is_tdx_vm(g->vm))
		vm_mem_set_private(g->vm, g->gpa + offset, size);
	return 0;
}

/* The VM is gone, or does not mind. */
static inline void gmem_free(struct gmem *g)
{
	if (g->mem)
		munmap(g->mem, gmem_size(g));
	munmap(g->source, gmem_size(g));
	munmap(g->shared, gmem_size(g));
	close(g->fd);
}

static inline int gmem_punch(const struct gmem *g, unsigned int page, unsigned int nr)
{
	int r = fallocate(g->fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, page * (u64)PAGE_SIZE,
			  nr * (u64)PAGE_SIZE);

	return r ? -errno : 0;
}

static inline int gmem_allocate(const struct gmem *g, unsigned int page, unsigned int nr)
{
	int r = fallocate(g->fd, FALLOC_FL_KEEP_SIZE, page * (u64)PAGE_SIZE, nr * (u64)PAGE_SIZE);

	return r ? -errno : 0;
}

/* KVM_TDX_INIT_MEM_REGION from the source; used pages of one slot. */
static inline int gmem_add_flags(const struct gmem *g, struct kvm_vcpu *vcpu, unsigned int page,
				 unsigned int nr, u32 flags)
{
	unsigned int end = page + nr, run;

	for (; (run = gmem_run(g, &page, end)); page += run) {
		struct kvm_tdx_init_mem_region region = {
			.source_addr = (uintptr_t)gmem_source(g, page),
			.gpa = gmem_gpa(g, page),
			.nr_pages = run,
		};

		if (__vm_tdx_init_mem_region(vcpu, &region, flags))
			return -errno;
	}

	return 0;
}

static inline int gmem_add(const struct gmem *g, struct kvm_vcpu *vcpu, unsigned int page,
			   unsigned int nr)
{
	return gmem_add_flags(g, vcpu, page, nr, 0);
}

static inline int gmem_fault_run(const struct gmem *g, struct kvm_vcpu *vcpu, unsigned int page,
				 unsigned int nr)
{
	struct kvm_pre_fault_memory range = {
		.gpa = gmem_gpa(g, page),
		.size = nr * (u64)PAGE_SIZE,
	};
	int r;

	do {
		r = __vcpu_ioctl(vcpu, KVM_PRE_FAULT_MEMORY, &range) ? -errno : 0;
	} while (range.size && (!r || r == -EINTR || r == -EAGAIN));

	return r;
}

/* KVM_PRE_FAULT_MEMORY: used pages are mapped as by a fault of the guest. */
static inline int gmem_fault(const struct gmem *g, struct kvm_vcpu *vcpu, unsigned int page,
			     unsigned int nr)
{
	unsigned int end = page + nr, run;
	int r = 0;

	for (; !r && (run = gmem_run(g, &page, end)); page += run)
		r = gmem_fault_run(g, vcpu, page, run);

	return r;
}

/* What a line of /proc/meminfo says, in folios of 2 MiB; 0 if there is no such line. */
static inline unsigned int gmem_meminfo(const char *name)
{
	FILE *file = fopen("/proc/meminfo", "re");
	size_t len = strlen(name);
	unsigned long kib = 0;
	char line[128];

	TEST_ASSERT(file, "/proc/meminfo: errno %d", errno);
	while (fgets(line, sizeof(line), file)) {
		if (!strncmp(line, name, len) && sscanf(line + len, ": %lu kB", &kib) == 1)
			break;
	}
	fclose(file);
	return kib / (FOLIO_SIZE / 1024);
}

/* How many folios of 2 MiB files have in the whole machine; nobody else has any. */
static inline unsigned int gmem_nr_huge(void)
{
	return gmem_meminfo("FileHugePages");
}

static inline void gmem_expect_nr_huge(struct __test_metadata *_metadata, unsigned int before,
				       unsigned int want)
{
	unsigned int now = gmem_nr_huge();

	EXPECT_EQ(before + want, now)
	{
		TH_LOG("folios of 2 MiB: want %u, got %d", want, (int)(now - before));
	}
}

static inline bool gmem_is(const u64 *words, u64 want, size_t size)
{
	size_t i;

	for (i = 0; i < size / sizeof(*words); i++) {
		if (words[i] != want)
			return false;
	}

	return true;
}

/* Which page is not as it should be. */
#define NO_PAGE (-1)

/* Where to look into a page: all over the pages, if not all over each. */
static inline unsigned int gmem_sample(unsigned int page)
{
	return page * 7 * TDX_EMUL_READ_SIZE % PAGE_SIZE;
}

#endif /* TDX_INIT_MEM_GMEM_H */
