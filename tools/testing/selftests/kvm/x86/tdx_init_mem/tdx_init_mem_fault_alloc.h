/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Operations that build a TD, with what must be true after each of them: what user space
 * was told, and that it can be repeated.
 */
#ifndef TDX_INIT_MEM_FAULT_ALLOC_H
#define TDX_INIT_MEM_FAULT_ALLOC_H

#include "tdx_init_mem_alloc.h"

/* A slot whose pages are in two leaves of an xarray, by the offset in its file and by gfn. */
#define FAR_SLOT (TD_SLOT + 1)
#define FAR_OFFSET (61 * (u64)PAGE_SIZE)
#define FAR_GPA (2 * TD_GPA + FAR_OFFSET)
#define FAR_PAGES 12
#define FAR_SIZE (FAR_PAGES * (u64)PAGE_SIZE)
#define FAR_FILE_SIZE (4096 * (u64)PAGE_SIZE)

#define MAX_CPUID_ENTRIES 256

/* How far the TD has been built when the operation comes. */
enum alloc_stage {
	WITHOUT_TD,
	WITHOUT_VCPU,
	WITH_VCPU,
};

struct alloc {
	struct td td;
	struct kvm_tdx_init_vm *init;
	struct kvm_cpuid2 *cpuid;
	struct kvm_tdx_init_mem_region region;
	int kvm;
	int far; /* a guest_memfd for FAR_SLOT */
};

static inline void alloc_build(struct alloc *a, enum alloc_stage stage)
{
	if (stage == WITHOUT_TD) {
		a->td.vm = vm_tdx_create_uninit();
		a->init = vm_tdx_init_vm_arg(a->td.vm);
		return;
	}

	a->td.vm = vm_tdx_create();
	td_create_memory(&a->td);
	a->td.vcpu = vm_tdx_vcpu_add_uninit(a->td.vm, 0);
	if (stage == WITH_VCPU)
		vm_tdx_init_vcpu(a->td.vcpu);
}

/* On with another one: what has been done there cannot be done twice. */
static inline void alloc_rebuild(struct alloc *a, enum alloc_stage stage)
{
	free(a->init);
	a->init = NULL;
	td_destroy(&a->td);
	a->td = (struct td) { .gmem = -1 };
	alloc_build(a, stage);
}

static inline int alloc_create_vm(void *arg)
{
	struct alloc *a = arg;
	int fd = ioctl(a->kvm, KVM_CREATE_VM, KVM_X86_TDX_VM);

	return fd < 0 ? -errno : fd;
}

static inline int alloc_create_gmem(void *arg)
{
	struct kvm_create_guest_memfd gmem = { .size = TD_SIZE };
	struct alloc *a = arg;
	int fd = ioctl(a->td.vm->fd, KVM_CREATE_GUEST_MEMFD, &gmem);

	return fd < 0 ? -errno : fd;
}

static inline void alloc_close(struct __test_metadata __always_unused *_metadata,
			       void __always_unused *arg, int r)
{
	if (r >= 0)
		close(r);
}

static inline int alloc_init_vm(void *arg)
{
	struct alloc *a = arg;

	return __vm_tdx_vm_ioctl(a->td.vm, KVM_TDX_INIT_VM, 0, a->init) ? -errno : 0;
}

static inline int alloc_init_vcpu(void *arg)
{
	struct alloc *a = arg;

	return __vm_tdx_init_vcpu(a->td.vcpu) ? -errno : 0;
}

static inline void alloc_check_vm(struct __test_metadata __always_unused *_metadata, void *arg,
				  int r)
{
	if (r >= 0)
		alloc_rebuild(arg, WITHOUT_TD);
}

static inline void alloc_check_vcpu(struct __test_metadata __always_unused *_metadata, void *arg,
				    int r)
{
	if (r >= 0)
		alloc_rebuild(arg, WITHOUT_VCPU);
}

/* Without the library, which asks first what KVM has, for which there is no memory either. */
static inline int alloc_set_slot(u64 size, const struct alloc *a)
{
	struct kvm_userspace_memory_region2 region = {
		.slot = FAR_SLOT,
		.flags = size ? KVM_MEM_GUEST_MEMFD : 0,
		.guest_phys_addr = FAR_GPA,
		.memory_size = size,
		.userspace_addr = (uintptr_t)a->td.shared,
		.guest_memfd = size ? a->far : 0,
		.guest_memfd_offset = size ? FAR_OFFSET : 0,
	};

	return ioctl(a->td.vm->fd, KVM_SET_USER_MEMORY_REGION2, &region);
}

static inline int alloc_create_slot(void *arg)
{
	return alloc_set_slot(FAR_SIZE, arg) ? -errno : 0;
}

static inline int alloc_delete_slot(void *arg)
{
	return alloc_set_slot(0, arg) ? -errno : 0;
}

static inline int alloc_add_far(struct alloc *a, unsigned int page, unsigned int nr_pages)
{
	struct kvm_tdx_init_mem_region region = td_region(&a->td, page, nr_pages);

	region.gpa = FAR_GPA + page * (u64)PAGE_SIZE;
	return __vm_tdx_init_mem_region(a->td.vcpu, &region, 0) ? -errno : 0;
}

/* Up to 6.19 a page that is in the file passes for one that is in the TD. */
static inline void alloc_punch_far(struct __test_metadata *_metadata, const struct alloc *a)
{
	EXPECT_ERRNO(0, fallocate(a->far, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0,
				  FAR_FILE_SIZE));
}

static inline void alloc_check_created(struct __test_metadata *_metadata, void *arg, int r)
{
	struct alloc *a = arg;
	int add = alloc_add_far(a, 0, FAR_PAGES);

	EXPECT_EQ(r < 0 ? -EINVAL : 0, add)
	{
		TH_LOG("creation said %s, INIT_MEM_REGION of the whole slot then %s",
		       tdx_errno_name(r), tdx_errno_name(add));
	}
	if (r >= 0)
		EXPECT_RESULT(0, alloc_delete_slot(a));
	alloc_punch_far(_metadata, a);
}

static inline void alloc_check_deleted(struct __test_metadata *_metadata, void *arg, int r)
{
	struct alloc *a = arg;
	int add = alloc_add_far(a, 0, 1);

	if (r < 0) {
		EXPECT_TRUE(!add || td_says_mapped(&a->td, add));
		return;
	}

	EXPECT_RESULT(-EINVAL, add);
	EXPECT_RESULT(0, alloc_create_slot(a));
	alloc_punch_far(_metadata, a);
}

static inline int alloc_set_private(void *arg)
{
	struct kvm_memory_attributes attributes = {
		.address = FAR_GPA,
		.size = FAR_SIZE,
		.attributes = KVM_MEMORY_ATTRIBUTE_PRIVATE,
	};
	struct alloc *a = arg;

	return ioctl(a->td.vm->fd, KVM_SET_MEMORY_ATTRIBUTES, &attributes) ? -errno : 0;
}

/* All of it, or nothing.  A page that is not private cannot be added. */
static inline void alloc_check_private(struct __test_metadata *_metadata, void *arg, int r)
{
	struct alloc *a = arg;

	if (r < 0)
		TH_LOG("KVM_SET_MEMORY_ATTRIBUTES said %s: no page is private", tdx_errno_name(r));
	EXPECT_RESULT(r < 0 ? -EINVAL : 0, alloc_add_far(a, 0, 1));
	EXPECT_RESULT(r < 0 ? -EINVAL : 0, alloc_add_far(a, FAR_PAGES - 1, 1));
	vm_mem_set_shared(a->td.vm, FAR_GPA, FAR_SIZE);
	EXPECT_ERRNO(0, fallocate(a->far, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0,
				  FAR_FILE_SIZE));
}

static inline int alloc_fallocate(void *arg)
{
	struct alloc *a = arg;

	return fallocate(a->td.gmem, FALLOC_FL_KEEP_SIZE, 0, TD_SIZE) ? -errno : 0;
}

static inline int alloc_punch(void *arg)
{
	struct alloc *a = arg;

	return td_punch(&a->td, 0, TD_NR_PAGES);
}

static inline void alloc_empty(void *arg)
{
	struct alloc *a = arg;

	TEST_ASSERT(!td_punch(&a->td, 0, TD_NR_PAGES), "PUNCH_HOLE: errno %d", errno);
}

static inline void alloc_fill(void *arg)
{
	struct alloc *a = arg;

	TEST_ASSERT(!td_add(&a->td, 0, TD_NR_PAGES), "INIT_MEM_REGION: errno %d", errno);
}

/* Goes on where the last go stopped. */
static inline int alloc_populate(void *arg)
{
	struct alloc *a = arg;
	int r = __vm_tdx_init_mem_region(a->td.vcpu, &a->region, KVM_TDX_MEASURE_MEMORY_REGION);

	return r ? -errno : 0;
}

static inline void alloc_check_progress(struct __test_metadata *_metadata, void *arg, int r)
{
	struct alloc *a = arg;
	u64 done = TD_NR_PAGES - a->region.nr_pages;

	EXPECT_EQ(!r, done == TD_NR_PAGES);
	EXPECT_EQ(td_gpa(done), a->region.gpa);
	EXPECT_EQ((uintptr_t)td_source(&a->td, done), a->region.source_addr);
	if (!r) {
		alloc_empty(a);
		a->region = td_region(&a->td, 0, TD_NR_PAGES);
	}
}

static inline int alloc_get_cpuid(void *arg)
{
	struct alloc *a = arg;

	a->cpuid->nent = MAX_CPUID_ENTRIES;
	return __vm_tdx_vcpu_ioctl(a->td.vcpu, KVM_TDX_GET_CPUID, 0, a->cpuid) ? -errno : 0;
}

static inline int alloc_finalize(void *arg)
{
	struct alloc *a = arg;

	return __vm_tdx_finalize(a->td.vm) ? -errno : 0;
}

#endif /* TDX_INIT_MEM_FAULT_ALLOC_H */
