// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ABI of KVM_TDX_INIT_MEM_REGION: what is refused, with which errno and
 * without side effects; when it may be called; what a range may be made of.
 */
#include "tdx_init_mem.h"

#define TD_PLAIN_SLOT (TD_SLOT + 1)
#define TD_PLAIN_GPA (TD_GPA + 0x10000000)
#define TD_NO_SLOT_GPA (TD_GPA + 0x20000000)
#define TD_SHARED_PAGE 3
#define TD_SHARED_GPA (TD_GPA + TD_SHARED_PAGE * (u64)PAGE_SIZE)

enum source {
	SOURCE_GOOD,
	SOURCE_UNALIGNED,
	SOURCE_ZERO,
	SOURCE_UNMAPPED,
	SOURCE_PROT_NONE,
	SOURCE_KERNEL,
};

struct refused {
	struct td td;
	void *plain;
	void *no_access;
	void *unmapped;
};

FIXTURE(refused)
{
	struct refused r;
};

FIXTURE_VARIANT(refused)
{
	u64 gpa;
	u64 nr_pages;
	enum source source;
	u32 flags;
	struct tdx_errno errs[TDX_ERRNO_MAX];
};

/* A range is refused as a whole, before anything is added. */
#define RULE(_name) FIXTURE_VARIANT_ADD(refused, _name)
#define ALWAYS TDX_ERRNO
#define SINCE TDX_ERRNO_SINCE
#define SHARED VM_TDX_SHARED_BIT
#define PAGES(_bytes) ((_bytes) >> 12)

RULE(gpa_unaligned) { TD_GPA + 0x800, 1, SOURCE_GOOD, 0, { ALWAYS(EINVAL) } };
RULE(gpa_shared) { TD_GPA | SHARED, 1, SOURCE_GOOD, 0, { ALWAYS(EINVAL) } };
RULE(gpa_beyond_gpaw) { SHARED << 1, 1, SOURCE_GOOD, 0, { ALWAYS(EINVAL) } };
RULE(gpa_beyond_52_bits) { BIT_ULL(52), 1, SOURCE_GOOD, 0, { ALWAYS(EINVAL) } };
RULE(gpa_without_slot) { TD_NO_SLOT_GPA, 1, SOURCE_GOOD, 0, { ALWAYS(EINVAL) } };
RULE(gpa_just_below_slot) { TD_GPA - PAGE_SIZE, 2, SOURCE_GOOD, 0, { ALWAYS(EINVAL) } };
RULE(gpa_just_above_slot) { TD_GPA + TD_SIZE, 1, SOURCE_GOOD, 0, { ALWAYS(EINVAL) } };
RULE(slot_without_gmem) { TD_PLAIN_GPA, 1, SOURCE_GOOD, 0, { ALWAYS(EINVAL) } };
RULE(page_with_shared_attribute) { TD_SHARED_GPA, 1, SOURCE_GOOD, 0, { ALWAYS(EINVAL) } };
RULE(range_ends_in_shared_half) { SHARED - PAGE_SIZE, 2, SOURCE_GOOD, 0, { ALWAYS(EINVAL) } };
RULE(range_starts_in_shared_half) { 2 * SHARED - PAGE_SIZE, 2, SOURCE_GOOD, 0, { ALWAYS(EINVAL) } };

RULE(range_spans_shared_half) { SHARED - PAGE_SIZE,
				PAGES(SHARED) + 2,
				SOURCE_GOOD,
				0,
				{ ALWAYS(EINVAL) } };

RULE(range_wraps_to_zero) { -(u64)PAGE_SIZE, 1, SOURCE_GOOD, 0, { ALWAYS(EINVAL) } };
RULE(range_wraps_around) { TD_GPA, PAGES(-TD_GPA) + 1, SOURCE_GOOD, 0, { ALWAYS(EINVAL) } };
RULE(nr_pages_zero) { TD_GPA, 0, SOURCE_GOOD, 0, { ALWAYS(EINVAL) } };
/* In bytes the range is one page, in pages it is not: the shift must not wrap. */
RULE(nr_pages_wraps_in_bytes) { TD_GPA, BIT_ULL(52) + 1, SOURCE_GOOD, 0, { ALWAYS(EINVAL) } };
RULE(flag_1_unknown) { TD_GPA, 1, SOURCE_GOOD, BIT(1), { ALWAYS(EINVAL) } };
RULE(flag_31_unknown) { TD_GPA, 1, SOURCE_GOOD, BIT(31), { ALWAYS(EINVAL) } };
RULE(source_unaligned) { TD_GPA, 1, SOURCE_UNALIGNED, 0, { ALWAYS(EINVAL) } };
/* Until 6.19 zero went to get_user_pages() like any other address. */
RULE(source_zero) { TD_GPA,
		    1,
		    SOURCE_ZERO,
		    0,
		    { ALWAYS(EFAULT), SINCE(7, 0, EOPNOTSUPP), SINCE(7, 3, EINVAL) } };

RULE(source_unmapped) { TD_GPA, 1, SOURCE_UNMAPPED, 0, { ALWAYS(EFAULT) } };
RULE(source_prot_none) { TD_GPA, 1, SOURCE_PROT_NONE, 0, { ALWAYS(EFAULT) } };
RULE(source_in_kernel) { TD_GPA, 1, SOURCE_KERNEL, 0, { ALWAYS(EFAULT) } };

FIXTURE_SETUP(refused)
{
	struct refused *r = &self->r;

	td_create(&r->td);

	r->plain = td_mmap(PAGE_SIZE);
	vm_set_user_memory_region2(r->td.vm, TD_PLAIN_SLOT, 0, TD_PLAIN_GPA, PAGE_SIZE, r->plain, 0,
				   0);
	vm_mem_set_private(r->td.vm, TD_PLAIN_GPA, PAGE_SIZE);
	vm_mem_set_shared(r->td.vm, TD_SHARED_GPA, PAGE_SIZE);

	r->no_access = td_mmap(PAGE_SIZE);
	memset(r->no_access, 1, PAGE_SIZE);
	mprotect(r->no_access, PAGE_SIZE, PROT_NONE);

	r->unmapped = td_mmap(PAGE_SIZE);
	munmap(r->unmapped, PAGE_SIZE);
}

FIXTURE_TEARDOWN(refused)
{
	td_destroy(&self->r.td);
	munmap(self->r.plain, PAGE_SIZE);
	munmap(self->r.no_access, PAGE_SIZE);
	td_audit(_metadata);
}

static u64 refused_source(const struct refused *r, enum source source)
{
	const u64 sources[] = {
		[SOURCE_GOOD] = (uintptr_t)r->td.source,
		[SOURCE_UNALIGNED] = (uintptr_t)r->td.source + 8,
		[SOURCE_ZERO] = 0,
		[SOURCE_UNMAPPED] = (uintptr_t)r->unmapped,
		[SOURCE_PROT_NONE] = (uintptr_t)r->no_access,
		[SOURCE_KERNEL] = 0xffff888000000000,
	};

	return sources[source];
}

TD_TEST_F(refused, region_untouched)
{
	const struct kvm_tdx_init_mem_region before = {
		.source_addr = refused_source(&self->r, variant->source),
		.gpa = variant->gpa,
		.nr_pages = variant->nr_pages,
	};
	struct kvm_tdx_init_mem_region region = before;
	struct td *td = &self->r.td;
	int r, err;

	r = __vm_tdx_init_mem_region(td->vcpu, &region, variant->flags);
	err = r ? errno : 0;

	EXPECT_TRUE(tdx_errno_allows(variant->errs, err) &&
		    !memcmp(&region, &before, sizeof(region)))
	{
		TH_LOG("INIT_MEM_REGION(source=0x%llx, gpa=0x%llx, nr_pages=0x%llx, flags=0x%x)",
		       before.source_addr, before.gpa, before.nr_pages, variant->flags);
		TH_LOG("  want %s, region untouched",
		       tdx_errno_name(tdx_errno_wanted(variant->errs)));
		TH_LOG("  got  %s, source=0x%llx, gpa=0x%llx, nr_pages=0x%llx: %lld pages added",
		       tdx_errno_name(err), region.source_addr, region.gpa, region.nr_pages,
		       before.nr_pages - region.nr_pages);
	}

	EXPECT_FALSE(vm_tdx_is_dead(td->vm));
	EXPECT_EQ(TD_PAGE_WAS_EMPTY, td_probe(td, 0))
	{
		TH_LOG("page 0 was added by a refused call");
	}
}

/* When the calls are allowed, and how their arguments are taken. */
FIXTURE(order)
{
	struct td td;
};

FIXTURE_SETUP(order)
{
	td_create(&self->td);
}

FIXTURE_TEARDOWN(order)
{
	td_destroy(&self->td);
	td_audit(_metadata);
}

TD_TEST_F(order, vcpu_before_init_vm_fails)
{
	struct kvm_vm *vm = vm_tdx_create_uninit();

	EXPECT_ERRNO(EIO, __vm_ioctl(vm, KVM_CREATE_VCPU, (void *)0));
	kvm_vm_free(vm);
}

TD_TEST_F(order, finalize_before_init_vm_fails)
{
	struct kvm_vm *vm = vm_tdx_create_uninit();

	EXPECT_ERRNO(EINVAL, __vm_tdx_finalize(vm));
	kvm_vm_free(vm);
}

TD_TEST_F(order, init_vm_twice_fails)
{
	EXPECT_ERRNO(EINVAL, __vm_tdx_init_vm(self->td.vm));
}

TD_TEST_F(order, init_vcpu_twice_fails)
{
	EXPECT_ERRNO(EINVAL, __vm_tdx_init_vcpu(self->td.vcpu));
}

TD_TEST_F(order, init_mem_before_init_vcpu_fails)
{
	struct kvm_tdx_init_mem_region region = td_region(&self->td, 0, 1);
	struct kvm_vcpu *vcpu = vm_tdx_vcpu_add_uninit(self->td.vm, 1);

	EXPECT_ERRNO(EINVAL, __vm_tdx_init_mem_region(vcpu, &region, 0));
	EXPECT_EQ(1, region.nr_pages);

	vm_tdx_init_vcpu(vcpu);
	EXPECT_ERRNO(0, __vm_tdx_init_mem_region(vcpu, &region, 0));
	EXPECT_EQ(0, region.nr_pages);
}

TD_TEST_F(order, init_mem_after_finalize_fails)
{
	struct kvm_tdx_init_mem_region region = td_region(&self->td, 0, 1);

	vm_tdx_finalize(self->td.vm);
	EXPECT_ERRNO(EINVAL, __vm_tdx_init_mem_region(self->td.vcpu, &region, 0));
	EXPECT_EQ(1, region.nr_pages);
}

TD_TEST_F(order, finalize_twice_fails)
{
	vm_tdx_finalize(self->td.vm);
	EXPECT_ERRNO(EINVAL, __vm_tdx_finalize(self->td.vm));
	EXPECT_FALSE(vm_tdx_is_dead(self->td.vm));
}

TD_TEST_F(order, run_before_finalize_fails)
{
	EXPECT_ERRNO(EINVAL, __vcpu_run(self->td.vcpu));
}

TD_TEST_F(order, pre_fault_before_finalize_fails)
{
	struct kvm_pre_fault_memory range = { .gpa = td_gpa(0), .size = PAGE_SIZE };

	EXPECT_ERRNO(EOPNOTSUPP, __vcpu_ioctl(self->td.vcpu, KVM_PRE_FAULT_MEMORY, &range));
	EXPECT_EQ(TD_PAGE_WAS_EMPTY, td_probe(&self->td, 0));
}

TD_TEST_F(order, unknown_command_fails)
{
	EXPECT_ERRNO(EINVAL, __vm_tdx_vcpu_ioctl(self->td.vcpu, 1000, 0, NULL));
	EXPECT_ERRNO(EINVAL, __vm_tdx_vm_ioctl(self->td.vm, 1000, 0, NULL));
}

TD_TEST_F(order, command_at_bad_address_fails)
{
	EXPECT_ERRNO(EFAULT, ioctl(self->td.vcpu->fd, KVM_MEMORY_ENCRYPT_OP, (void *)8));
}

TD_TEST_F(order, region_at_bad_address_fails)
{
	EXPECT_ERRNO(EFAULT, __vm_tdx_init_mem_region(self->td.vcpu, (void *)8, 0));
}

TD_TEST_F(order, hw_error_set_by_caller_fails)
{
	struct kvm_tdx_init_mem_region region = td_region(&self->td, 0, 1);
	struct kvm_tdx_cmd cmd = {
		.id = KVM_TDX_INIT_MEM_REGION,
		.data = (uintptr_t)&region,
		.hw_error = 1,
	};

	EXPECT_ERRNO(EINVAL, ioctl(self->td.vcpu->fd, KVM_MEMORY_ENCRYPT_OP, &cmd));
	EXPECT_EQ(1, region.nr_pages);
}

/* The page is added all the same: the caller is told that it cannot know. */
TD_TEST_F(order, progress_unwritable_fails)
{
	struct kvm_tdx_init_mem_region *region = td_mmap(PAGE_SIZE);

	*region = td_region(&self->td, 0, 1);
	mprotect(region, PAGE_SIZE, PROT_READ);
	EXPECT_ERRNO(EFAULT, __vm_tdx_init_mem_region(self->td.vcpu, region, 0));
	EXPECT_EQ(TD_PAGE_WAS_MAPPED, td_probe(&self->td, 0));
	munmap(region, PAGE_SIZE);
}

/* Likewise: what was asked for is done, and the caller is told that he was not told. */
TD_TEST_F(order, finalize_unwritable_fails)
{
	struct kvm_tdx_cmd *cmd = td_mmap(PAGE_SIZE);

	cmd->id = KVM_TDX_FINALIZE_VM;
	mprotect(cmd, PAGE_SIZE, PROT_READ);
	EXPECT_ERRNO(EFAULT, ioctl(self->td.vm->fd, KVM_MEMORY_ENCRYPT_OP, cmd));
	EXPECT_RESULT(-EINVAL, td_add(&self->td, 0, 1));
	EXPECT_FALSE(vm_tdx_is_dead(self->td.vm));
	munmap(cmd, PAGE_SIZE);
}

/* Pages, slots and attributes: what a range may be made of. */
static const struct tdx_errno twice_errno[TDX_ERRNO_MAX] = {
	ALWAYS(EEXIST),
	SINCE(7, 0, EIO),
};

TD_TEST_F(order, page_twice_fails)
{
	int r;

	ASSERT_EQ(0, td_add(&self->td, 0, 1));
	r = td_add(&self->td, 0, 1);
	EXPECT_TRUE(tdx_errno_allows(twice_errno, -r))
	{
		TH_LOG("second INIT_MEM_REGION of a page: want %s, got %s",
		       tdx_errno_name(tdx_errno_wanted(twice_errno)), tdx_errno_name(r));
	}
	EXPECT_FALSE(vm_tdx_is_dead(self->td.vm));
}

TD_TEST_F(order, page_after_punch_ok)
{
	ASSERT_EQ(0, td_add(&self->td, 0, 2));
	ASSERT_EQ(0, td_punch(&self->td, 1, 1));
	EXPECT_RESULT(0, td_add(&self->td, 1, 1));
	EXPECT_EQ(TD_PAGE_WAS_MAPPED, td_probe(&self->td, 0));
}

/*
 * Conversion to shared unmaps the page.  Until 6.19 its folio stays marked as
 * prepared, so that only a hole brings it back; since 7.0 it can be added.
 */
TD_TEST_F(order, page_after_conversion)
{
	static const struct tdx_errno errs[TDX_ERRNO_MAX] = { ALWAYS(EEXIST), SINCE(7, 0, -1) };
	int r;

	ASSERT_EQ(0, td_add(&self->td, 0, 1));
	vm_mem_set_shared(self->td.vm, TD_GPA, PAGE_SIZE);
	vm_mem_set_private(self->td.vm, TD_GPA, PAGE_SIZE);

	r = td_add(&self->td, 0, 1);
	EXPECT_TRUE(tdx_errno_allows(errs, -r))
	{
		TH_LOG("INIT_MEM_REGION after shared and private again: want %s, got %s",
		       tdx_errno_name(tdx_errno_wanted(errs)), tdx_errno_name(r));
	}

	ASSERT_EQ(0, td_punch(&self->td, 0, 1));
	EXPECT_RESULT(0, td_add(&self->td, 0, 1));
}

TD_TEST_F(order, range_over_two_slots_ok)
{
	void *shared = td_mmap(TD_SIZE);
	struct kvm_tdx_init_mem_region region = td_region(&self->td, TD_NR_PAGES - 2, 4);
	int gmem = vm_create_guest_memfd(self->td.vm, TD_SIZE, 0);

	vm_set_user_memory_region2(self->td.vm, TD_SLOT + 2, KVM_MEM_GUEST_MEMFD,
				   td_gpa(TD_NR_PAGES), TD_SIZE, shared, gmem, 0);
	vm_mem_set_private(self->td.vm, td_gpa(TD_NR_PAGES), TD_SIZE);

	EXPECT_ERRNO(0, __vm_tdx_init_mem_region(self->td.vcpu, &region, 0));
	EXPECT_EQ(0, region.nr_pages);
	EXPECT_EQ(td_gpa(TD_NR_PAGES + 2), region.gpa);

	close(gmem);
	munmap(shared, TD_SIZE);
}

TD_TEST_F(order, range_past_slot_stops_at_its_end)
{
	struct kvm_tdx_init_mem_region region = td_region(&self->td, TD_NR_PAGES - 2, 4);

	EXPECT_ERRNO(EINVAL, __vm_tdx_init_mem_region(self->td.vcpu, &region, 0));
	EXPECT_EQ(2, region.nr_pages);
	EXPECT_EQ(td_gpa(TD_NR_PAGES), region.gpa);
	EXPECT_EQ((uintptr_t)td_source(&self->td, TD_NR_PAGES), region.source_addr);
	EXPECT_EQ(TD_PAGE_WAS_MAPPED, td_probe(&self->td, TD_NR_PAGES - 1));
}

TD_TEST_F(order, range_stops_at_shared_attribute)
{
	struct kvm_tdx_init_mem_region region = td_region(&self->td, 0, 4);

	vm_mem_set_shared(self->td.vm, td_gpa(2), PAGE_SIZE);

	EXPECT_ERRNO(EINVAL, __vm_tdx_init_mem_region(self->td.vcpu, &region, 0));
	EXPECT_EQ(2, region.nr_pages);
	EXPECT_EQ(td_gpa(2), region.gpa);

	vm_mem_set_private(self->td.vm, td_gpa(2), PAGE_SIZE);
	EXPECT_ERRNO(0, __vm_tdx_init_mem_region(self->td.vcpu, &region, 0));
	EXPECT_EQ(0, region.nr_pages);
}

#include "tdx_init_mem_main.h"
