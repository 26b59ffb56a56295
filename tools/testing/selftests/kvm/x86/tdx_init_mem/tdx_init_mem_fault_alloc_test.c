// SPDX-License-Identifier: GPL-2.0-only
/*
 * Allocations that fail, one after the other or all from some time on, in everything
 * that builds a TD.  Each time user space is told -ENOMEM or nothing at all; what it was
 * told is true, the call can be repeated, and in the end there is a TD as it should be.
 *
 * KVM_CREATE_VCPU and the first KVM_TDX_INIT_MEM_REGION of a TD have programs of their own,
 * since old kernels don't survive them: tdx_init_mem_fault_{vcpu,populate}_test.c.
 */
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

static void alloc_build(struct alloc *a, enum alloc_stage stage)
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
static void alloc_rebuild(struct alloc *a, enum alloc_stage stage)
{
	free(a->init);
	a->init = NULL;
	td_destroy(&a->td);
	a->td = (struct td) { .gmem = -1 };
	alloc_build(a, stage);
}

static int alloc_create_vm(void *arg)
{
	struct alloc *a = arg;
	int fd = ioctl(a->kvm, KVM_CREATE_VM, KVM_X86_TDX_VM);

	return fd < 0 ? -errno : fd;
}

static int alloc_create_gmem(void *arg)
{
	struct kvm_create_guest_memfd gmem = { .size = TD_SIZE };
	struct alloc *a = arg;
	int fd = ioctl(a->td.vm->fd, KVM_CREATE_GUEST_MEMFD, &gmem);

	return fd < 0 ? -errno : fd;
}

static void alloc_close(struct __test_metadata __always_unused *_metadata,
			void __always_unused *arg, int r)
{
	if (r >= 0)
		close(r);
}

static int alloc_init_vm(void *arg)
{
	struct alloc *a = arg;

	return __vm_tdx_vm_ioctl(a->td.vm, KVM_TDX_INIT_VM, 0, a->init) ? -errno : 0;
}

static int alloc_init_vcpu(void *arg)
{
	struct alloc *a = arg;

	return __vm_tdx_init_vcpu(a->td.vcpu) ? -errno : 0;
}

static void alloc_check_vm(struct __test_metadata __always_unused *_metadata, void *arg, int r)
{
	if (r >= 0)
		alloc_rebuild(arg, WITHOUT_TD);
}

static void alloc_check_vcpu(struct __test_metadata __always_unused *_metadata, void *arg, int r)
{
	if (r >= 0)
		alloc_rebuild(arg, WITHOUT_VCPU);
}

/* Without the library, which asks first what KVM has, for which there is no memory either. */
static int alloc_set_slot(u64 size, const struct alloc *a)
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

static int alloc_create_slot(void *arg)
{
	return alloc_set_slot(FAR_SIZE, arg) ? -errno : 0;
}

static int alloc_delete_slot(void *arg)
{
	return alloc_set_slot(0, arg) ? -errno : 0;
}

static int alloc_add_far(struct alloc *a, unsigned int page, unsigned int nr_pages)
{
	struct kvm_tdx_init_mem_region region = td_region(&a->td, page, nr_pages);

	region.gpa = FAR_GPA + page * (u64)PAGE_SIZE;
	return __vm_tdx_init_mem_region(a->td.vcpu, &region, 0) ? -errno : 0;
}

/* Up to 6.19 a page that is in the file passes for one that is in the TD. */
static void alloc_punch_far(struct __test_metadata *_metadata, const struct alloc *a)
{
	EXPECT_EQ(0,
		  fallocate(a->far, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, FAR_FILE_SIZE));
}

static void alloc_check_created(struct __test_metadata *_metadata, void *arg, int r)
{
	struct alloc *a = arg;
	int add = alloc_add_far(a, 0, FAR_PAGES);

	EXPECT_EQ(r < 0 ? -EINVAL : 0, add)
	{
		TH_LOG("creation said %s, INIT_MEM_REGION of the whole slot then %s",
		       tdx_errno_name(r), tdx_errno_name(add));
	}
	if (r >= 0)
		EXPECT_EQ(0, alloc_delete_slot(a));
	alloc_punch_far(_metadata, a);
}

static void alloc_check_deleted(struct __test_metadata *_metadata, void *arg, int r)
{
	struct alloc *a = arg;
	int add = alloc_add_far(a, 0, 1);

	if (r < 0) {
		EXPECT_TRUE(!add || td_says_mapped(&a->td, add));
		return;
	}

	EXPECT_EQ(-EINVAL, add);
	EXPECT_EQ(0, alloc_create_slot(a));
	alloc_punch_far(_metadata, a);
}

static int alloc_set_private(void *arg)
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
static void alloc_check_private(struct __test_metadata *_metadata, void *arg, int r)
{
	struct alloc *a = arg;

	EXPECT_EQ(r < 0 ? -EINVAL : 0, alloc_add_far(a, 0, 1));
	EXPECT_EQ(r < 0 ? -EINVAL : 0, alloc_add_far(a, FAR_PAGES - 1, 1));
	vm_mem_set_shared(a->td.vm, FAR_GPA, FAR_SIZE);
	EXPECT_EQ(0,
		  fallocate(a->far, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, FAR_FILE_SIZE));
}

static int alloc_fallocate(void *arg)
{
	struct alloc *a = arg;

	return fallocate(a->td.gmem, FALLOC_FL_KEEP_SIZE, 0, TD_SIZE) ? -errno : 0;
}

static int alloc_punch(void *arg)
{
	struct alloc *a = arg;

	return td_punch(&a->td, 0, TD_NR_PAGES);
}

static void alloc_empty(void *arg)
{
	struct alloc *a = arg;

	TEST_ASSERT(!td_punch(&a->td, 0, TD_NR_PAGES), "PUNCH_HOLE: errno %d", errno);
}

static void alloc_fill(void *arg)
{
	struct alloc *a = arg;

	TEST_ASSERT(!td_add(&a->td, 0, TD_NR_PAGES), "INIT_MEM_REGION: errno %d", errno);
}

/* Goes on where the last go stopped. */
static int alloc_populate(void *arg)
{
	struct alloc *a = arg;
	int r = __vm_tdx_init_mem_region(a->td.vcpu, &a->region, KVM_TDX_MEASURE_MEMORY_REGION);

	return r ? -errno : 0;
}

static void alloc_check_progress(struct __test_metadata *_metadata, void *arg, int r)
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

static int alloc_get_cpuid(void *arg)
{
	struct alloc *a = arg;

	a->cpuid->nent = MAX_CPUID_ENTRIES;
	return __vm_tdx_vcpu_ioctl(a->td.vcpu, KVM_TDX_GET_CPUID, 0, a->cpuid) ? -errno : 0;
}

static int alloc_finalize(void *arg)
{
	struct alloc *a = arg;

	return __vm_tdx_finalize(a->td.vm) ? -errno : 0;
}

FIXTURE(alloc)
{
	struct alloc a;
};

/*
 * @op:		what is to fail
 * @none:	it must not: it has nothing to allocate
 * @pages:	it wants pages, and nothing from slab
 * @retried:	each allocation is tried twice, hence it takes more than one to fail
 * @stage:	when it comes
 * @slot:	FAR_SLOT is there
 * @private:	and its range is private
 * @added:	the page tables of the TD are there
 */
FIXTURE_VARIANT(alloc)
{
	struct alloc_op op;
	bool none;
	bool pages;
	bool retried;
	enum alloc_stage stage;
	bool slot;
	bool private;
	bool added;
};

#define ALLOC(_name) FIXTURE_VARIANT_ADD(alloc, _name)

ALLOC(create_vm) {
	.op = {
		.name = "KVM_CREATE_VM",
		.fn = alloc_create_vm,
		.check = alloc_close,
		.step = 4096, /* it takes 100 KiB */
	},
	.stage = WITH_VCPU,
};

ALLOC(init_vm) {
	.op = { .name = "KVM_TDX_INIT_VM", .fn = alloc_init_vm, .check = alloc_check_vm },
	.stage = WITHOUT_TD,
};

ALLOC(init_vcpu) {
	.op = { .name = "KVM_TDX_INIT_VCPU", .fn = alloc_init_vcpu, .check = alloc_check_vcpu },
	.stage = WITHOUT_VCPU,
};

ALLOC(create_gmem) {
	.op = { .name = "KVM_CREATE_GUEST_MEMFD", .fn = alloc_create_gmem, .check = alloc_close },
	.stage = WITH_VCPU,
};

ALLOC(create_slot)
{
	.op = {
		.name = "KVM_SET_USER_MEMORY_REGION2, creation",
		.fn = alloc_create_slot,
		.check = alloc_check_created,
	},
	.stage = WITH_VCPU,
	.private = true,
};

ALLOC(delete_slot)
{
	.op = {
		.name = "KVM_SET_USER_MEMORY_REGION2, deletion",
		.fn = alloc_delete_slot,
		.check = alloc_check_deleted,
	},
	.stage = WITH_VCPU,
	.slot = true,
	.private = true,
};

ALLOC(set_private)
{
	.op = {
		.name = "KVM_SET_MEMORY_ATTRIBUTES",
		.fn = alloc_set_private,
		.check = alloc_check_private,
	},
	.retried = true,
	.stage = WITH_VCPU,
	.slot = true,
};

ALLOC(fallocate) {
	.op = { .name = "fallocate", .fn = alloc_fallocate, .prepare = alloc_empty },
	.stage = WITH_VCPU,
};

/* Without, see tdx_init_mem_fault_populate_test.c. */
ALLOC(populate_with_page_tables)
{
	.op = {
		.name = "KVM_TDX_INIT_MEM_REGION with page tables",
		.fn = alloc_populate,
		.check = alloc_check_progress,
	},
	.stage = WITH_VCPU,
	.added = true,
};

ALLOC(get_cpuid) {
	.op = { .name = "KVM_TDX_GET_CPUID", .fn = alloc_get_cpuid },
	.pages = true,
	.stage = WITH_VCPU,
};

ALLOC(punch_hole) {
	.op = { .name = "PUNCH_HOLE", .fn = alloc_punch, .prepare = alloc_fill },
	.none = true,
	.stage = WITH_VCPU,
};

ALLOC(finalize) {
	.op = { .name = "KVM_TDX_FINALIZE_VM", .fn = alloc_finalize },
	.none = true,
	.stage = WITH_VCPU,
};

FIXTURE_SETUP(alloc)
{
	struct alloc *a = &self->a;

	a->td.gmem = -1;
	a->far = -1;
	if (tdx_fault_lacks())
		SKIP(return, "%s", tdx_fault_lacks());

	a->kvm = open_kvm_dev_path_or_exit();
	/* KVM must not have to fault it in. */
	a->cpuid = allocate_kvm_cpuid2(MAX_CPUID_ENTRIES);
	memset(a->cpuid->entries, 0xff, MAX_CPUID_ENTRIES * sizeof(a->cpuid->entries[0]));
	alloc_build(a, variant->stage);
	a->region = td_region(&a->td, 0, TD_NR_PAGES);

	if (variant->slot || variant->private)
		a->far = vm_create_guest_memfd(a->td.vm, FAR_FILE_SIZE, 0);
	if (variant->slot)
		ASSERT_EQ(0, alloc_create_slot(a));
	if (variant->private)
		vm_mem_set_private(a->td.vm, FAR_GPA, FAR_SIZE);
	if (variant->added) {
		ASSERT_EQ(0, td_add(&a->td, 0, 1));
		ASSERT_EQ(0, td_punch(&a->td, 0, 1));
	}
	tdx_fault_begin();
}

FIXTURE_TEARDOWN(alloc)
{
	struct alloc *a = &self->a;

	tdx_fault_end();
	if (a->far >= 0)
		close(a->far);
	td_destroy(&a->td);
	close(a->kvm);
	free(a->cpuid);
	free(a->init);
	td_audit(_metadata);
}

static void alloc_fail_and_complete(struct __test_metadata *_metadata, struct alloc *a,
				    const FIXTURE_VARIANT(alloc) * variant, bool runs_out)
{
	const struct alloc_op *op = &variant->op;
	struct alloc_goes goes;
	int r = alloc_fail(_metadata, op, runs_out, a, &goes);

	ASSERT_LE(0, r);
	if (!runs_out || !variant->pages)
		EXPECT_EQ(variant->none, !goes.nr);
	if (runs_out ? !variant->pages : !variant->retried)
		EXPECT_EQ(variant->none, !goes.nr_refused);
	EXPECT_FALSE(vm_tdx_is_dead(a->td.vm));

	if (op->fn == alloc_populate) {
		EXPECT_EQ(0, a->region.nr_pages);
		EXPECT_EQ(TD_PAGE_WAS_MAPPED, td_probe(&a->td, 0));
		EXPECT_EQ(TD_PAGE_WAS_MAPPED, td_probe(&a->td, TD_NR_PAGES - 1));
	}
	if (op->check)
		op->check(_metadata, a, r);

	if (op->fn == alloc_finalize)
		return;
	if (op->fn == alloc_init_vm) {
		ASSERT_EQ(0, alloc_init_vm(a));
		td_create_memory(&a->td);
		a->td.vcpu = vm_tdx_vcpu_add(a->td.vm, 0);
	}
	if (op->fn == alloc_init_vcpu)
		vm_tdx_init_vcpu(a->td.vcpu);
	td_complete(_metadata, &a->td);
}

TD_TEST_F(alloc, each_fails_in_turn)
{
	alloc_fail_and_complete(_metadata, &self->a, variant, false);
}

/* Pages are still to be had. */
TD_TEST_F(alloc, memory_runs_out)
{
	alloc_fail_and_complete(_metadata, &self->a, variant, true);
}

/*
 * The KeyID is taken before most of what KVM_TDX_INIT_VM allocates.  Whoever keeps it
 * runs out of them in the end.
 */
FIXTURE(keyid)
{
	struct alloc a;
};

FIXTURE_SETUP(keyid)
{
	self->a.td.gmem = -1;
	if (tdx_fault_lacks())
		SKIP(return, "%s", tdx_fault_lacks());

	alloc_build(&self->a, WITHOUT_TD);
	tdx_fault_begin();
}

FIXTURE_TEARDOWN(keyid)
{
	tdx_fault_end();
	td_destroy(&self->a.td);
	free(self->a.init);
	td_audit(_metadata);
}

/* What the machine has at most: the KeyIDs of MKTME are 15 bits. */
#define MAX_KEYIDS 32768

static unsigned int keyid_capacity(void)
{
	FILE *file = fopen("/sys/fs/cgroup/misc.capacity", "re");
	unsigned int value, capacity = 0;
	char name[32];

	while (file && fscanf(file, "%31s %u", name, &value) == 2) {
		if (!strcmp(name, "tdx"))
			capacity = value;
	}
	if (file)
		fclose(file);
	return capacity;
}

TD_TEST_F(keyid, is_given_back)
{
	const struct alloc_op op = {
		.name = "KVM_TDX_INIT_VM",
		.fn = alloc_init_vm,
		.check = alloc_check_vm,
	};
	unsigned int i, capacity = keyid_capacity();
	struct alloc *a = &self->a;
	struct alloc_goes goes;

	if (!capacity || capacity > MAX_KEYIDS)
		SKIP(return, "misc.capacity does not tell how many KeyIDs there are");

	ASSERT_EQ(0, alloc_fail(_metadata, &op, false, a, &goes));

	/* The last one that must not fail comes after the KeyID for sure. */
	alloc_rebuild(a, WITHOUT_TD);
	for (i = 0; i <= capacity; i++) {
		tdx_fault_arm(goes.nr);
		EXPECT_EQ(-ENOMEM, alloc_init_vm(a));
		ASSERT_TRUE(tdx_fault_disarm());
	}
	EXPECT_EQ(0, alloc_init_vm(a));
}

#include "tdx_init_mem_main.h"
