// SPDX-License-Identifier: GPL-2.0-only
/*
 * Allocations that fail, one after the other or all from some time on, in everything
 * that builds a TD.  Each time user space is told -ENOMEM or nothing at all; what it was
 * told is true, the call can be repeated, and in the end there is a TD as it should be.
 *
 * KVM_CREATE_VCPU and the first KVM_TDX_INIT_MEM_REGION of a TD have programs of their own,
 * since old kernels don't survive them: tdx_init_mem_fault_{vcpu,populate}_test.c.
 */
#include "tdx_init_mem_fault_alloc.h"

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

/* The operation once for each of its allocations: more than a minute under KASAN. */
#define ALLOC_TIMEOUT 110

TEST_F_TIMEOUT(alloc, each_fails_in_turn, ALLOC_TIMEOUT)
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
	unsigned int i, nr, capacity = keyid_capacity();
	struct alloc *a = &self->a;
	struct alloc_goes goes;

	if (!capacity || capacity > MAX_KEYIDS)
		SKIP(return, "misc.capacity does not tell how many KeyIDs there are");

	ASSERT_EQ(0, alloc_fail(_metadata, &op, false, a, &goes));

	/* The last one that must not fail comes after the KeyID for sure. */
	alloc_rebuild(a, WITHOUT_TD);
	for (i = 0, nr = goes.nr; i <= capacity;) {
		int r;

		tdx_fault_arm(nr);
		r = alloc_init_vm(a);
		if (!r && nr > goes.nr / 2) {
			/*
			 * KASAN allocates, too, for stacks that are new to it: less than
			 * before, and may fail.  Half of them still come after the KeyID.
			 */
			tdx_fault_disarm();
			alloc_rebuild(a, WITHOUT_TD);
			nr--;
			continue;
		}
		EXPECT_RESULT(-ENOMEM, r);
		ASSERT_TRUE(tdx_fault_disarm());
		i++;
	}
	EXPECT_RESULT(0, alloc_init_vm(a));
}

#include "tdx_init_mem_main.h"
