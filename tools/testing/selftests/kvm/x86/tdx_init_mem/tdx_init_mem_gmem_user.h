/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest_memfd that is bound to an ordinary VM and mapped by user space: what its
 * pages contain and where they are.
 */
#ifndef TDX_INIT_MEM_GMEM_USER_H
#define TDX_INIT_MEM_GMEM_USER_H

#include "tdx_init_mem_gmem.h"

/* An ordinary VM whose memory user space has mapped as well. */
struct gmem_user {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct gmem g;
};

/* Why there is no such VM, or NULL. */
static inline const char *gmem_user_lacks(bool huge)
{
	struct kvm_vm *vm;
	int fd;

	if (gmem_lacks(huge))
		return gmem_lacks(huge);
	if (!kvm_has_cap(KVM_CAP_PRE_FAULT_MEMORY))
		return "KVM lacks KVM_PRE_FAULT_MEMORY";

	vm = vm_create_barebones();
	fd = __vm_create_guest_memfd(vm, PAGE_SIZE,
				     GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED);
	kvm_vm_free(vm);
	if (fd < 0)
		return "guest_memfd cannot be mapped in this kernel";
	close(fd);
	return NULL;
}

static inline void gmem_map(struct gmem *g)
{
	void *at = gmem_reserve(gmem_size(g), 0);

	g->mem = mmap(at, gmem_size(g), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, g->fd, 0);
	TEST_ASSERT(g->mem == at, "mmap of a guest_memfd: errno %d", errno);
}

static inline void gmem_user_create(struct gmem_user *u, unsigned int nr_pages, bool huge, u64 gpa)
{
	u->vm = vm_create_barebones();
	u->vcpu = __vm_vcpu_add(u->vm, 0);
	gmem_create(&u->g, u->vm, nr_pages, huge,
		    GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED, gpa);
	gmem_map(&u->g);
}

static inline void gmem_user_destroy(struct gmem_user *u)
{
	kvm_vm_free(u->vm);
	gmem_free(&u->g);
}

static inline u64 *gmem_user_page(const struct gmem *g, unsigned int page)
{
	return g->mem + page * (u64)PAGE_SIZE;
}

/* User space writes the source into its mapping. */
static inline void gmem_user_write(const struct gmem *g, unsigned int first, unsigned int nr)
{
	tdx_copy(gmem_user_page(g, first), gmem_source(g, first), nr * (size_t)PAGE_SIZE);
}

static inline int gmem_user_not_source(const struct gmem *g, unsigned int first, unsigned int nr)
{
	unsigned int page;

	for (page = first; page < first + nr; page++) {
		if (!gmem_is(gmem_user_page(g, page), *(u64 *)gmem_source(g, page), PAGE_SIZE))
			return page;
	}

	return NO_PAGE;
}

static inline int gmem_user_not_zero(const struct gmem *g, unsigned int first, unsigned int nr)
{
	unsigned int page;

	for (page = first; page < first + nr; page++) {
		if (!gmem_is(gmem_user_page(g, page), 0, PAGE_SIZE))
			return page;
	}

	return NO_PAGE;
}

/* @page: one that is not as it should be, which @what says, or NO_PAGE */
static inline void gmem_user_expect(struct __test_metadata *_metadata, const struct gmem *g,
				    unsigned int first, unsigned int nr, int page, const char *what)
{
	EXPECT_EQ(NO_PAGE, page)
	{
		TH_LOG("that page of %u+%u %s: it has 0x%lx", first, nr, what,
		       page < 0 ? 0 : *gmem_user_page(g, page));
	}
}

static inline void gmem_user_expect_source(struct __test_metadata *_metadata, const struct gmem *g,
					   unsigned int first, unsigned int nr)
{
	gmem_user_expect(_metadata, g, first, nr, gmem_user_not_source(g, first, nr),
			 "lost what was written");
}

static inline void gmem_user_expect_zero(struct __test_metadata *_metadata, const struct gmem *g,
					 unsigned int first, unsigned int nr)
{
	gmem_user_expect(_metadata, g, first, nr, gmem_user_not_zero(g, first, nr), "is not zero");
}

#define PAGEMAP_PRESENT BIT_ULL(63)
#define PAGEMAP_PFN GENMASK_ULL(54, 0)

/* Where a page is that user space has mapped, 0 for one that it has not. */
static inline u64 gmem_user_hpa(const struct gmem *g, unsigned int page)
{
	u64 address = (uintptr_t)gmem_user_page(g, page), entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	TEST_ASSERT(fd >= 0 && pread(fd, &entry, sizeof(entry),
				     address / PAGE_SIZE * sizeof(entry)) == sizeof(entry),
		    "/proc/self/pagemap: errno %d", errno);
	close(fd);
	return entry & PAGEMAP_PRESENT ? (entry & PAGEMAP_PFN) * PAGE_SIZE : 0;
}

#endif /* TDX_INIT_MEM_GMEM_USER_H */
