// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who has to wait while KVM_TDX_INIT_MEM_REGION waits for its source page, and
 * how long those take that do not.  A decoupled kernel promises that nobody
 * does, as far as it can; of other kernels it is reported.
 *
 * A user fault on a mapped guest_memfd is no row.  That of a TD cannot be made
 * with GUEST_MEMFD_FLAG_INIT_SHARED, so that a fault ends in SIGBUS before it
 * could ask for a lock.
 */
#include "tdx_init_mem_gmem.h"

#define OTHER_GPA (TD_GPA + 0x10000000)
#define NEW_GPA (TD_GPA + 0x20000000)
#define NEW_SLOT (TD_SLOT + 2)
#define OTHER_VCPU 1

/* The populated range, where it is parked, and pages that others work on. */
#define PARKED_PAGES 4
#define PARKED_AT 1
#define PUNCHED 12
#define ALLOCATED 13
#define CONVERTED 14
#define POPULATED 15

/* Changed, it takes kvm_lock, by which VMs come and go, and slots_lock of each VM under it. */
#define NX_HUGE_PAGES "/sys/module/kvm/parameters/nx_huge_pages"

struct blocked;

/* An operation on the TD; 0 or a negative errno. */
typedef int blocked_op(struct blocked *b);

struct operation {
	const char *name;
	blocked_op *op;
	struct blocked *b;
	struct tdx_task task;
	u64 took_ns;
};

struct blocked {
	struct td td;
	struct kvm_vcpu *other_vcpu;
	struct td_slot other; /* another guest_memfd of the TD */
	struct tdx_park park;
	struct td_populate populate;
	struct operation beside;
};

static int punch_same_gmem(struct blocked *b)
{
	return td_punch(&b->td, PUNCHED, 1);
}

static int fallocate_same_gmem(struct blocked *b)
{
	return fallocate(b->td.gmem, FALLOC_FL_KEEP_SIZE, ALLOCATED * (u64)PAGE_SIZE, PAGE_SIZE) ?
		       -errno :
		       0;
}

static int punch_other_gmem(struct blocked *b)
{
	return td_slot_punch(&b->other, 0, 1) ? -errno : 0;
}

static int set_memory_region(struct blocked *b)
{
	return __vm_set_user_memory_region2(b->td.vm, NEW_SLOT, 0, NEW_GPA, TD_SIZE, b->td.shared,
					    0, 0) ?
		       -errno :
		       0;
}

static int set_memory_attributes(struct blocked *b)
{
	struct kvm_memory_attributes shared = {
		.address = td_gpa(CONVERTED),
		.size = PAGE_SIZE,
	};

	return __vm_ioctl(b->td.vm, KVM_SET_MEMORY_ATTRIBUTES, &shared) ? -errno : 0;
}

static int create_vcpu(struct blocked *b)
{
	int fd = __vm_ioctl(b->td.vm, KVM_CREATE_VCPU, (void *)(unsigned long)OTHER_VCPU);

	if (fd < 0)
		return -errno;

	close(fd);
	return 0;
}

/* The most innocent capability that takes kvm->lock: sets what is set already. */
static int enable_cap(struct blocked *b)
{
	int max = kvm_check_cap(KVM_CAP_MAX_VCPU_ID);

	return __vm_enable_cap(b->td.vm, KVM_CAP_MAX_VCPU_ID, max) ? -errno : 0;
}

static int get_mp_state(struct kvm_vcpu *vcpu)
{
	struct kvm_mp_state state;

	return __vcpu_ioctl(vcpu, KVM_GET_MP_STATE, &state) ? -errno : 0;
}

static int ioctl_same_vcpu(struct blocked *b)
{
	return get_mp_state(b->td.vcpu);
}

static int ioctl_other_vcpu(struct blocked *b)
{
	return get_mp_state(b->other_vcpu);
}

static int populate_by_other_vcpu(struct blocked *b)
{
	struct kvm_tdx_init_mem_region region = td_region(&b->td, POPULATED, 1);

	return __vm_tdx_init_mem_region(b->other_vcpu, &region, 0) ? -errno : 0;
}

static int finalize_vm(struct blocked *b)
{
	return __vm_tdx_finalize(b->td.vm) ? -errno : 0;
}

static int force_nx_huge_pages(struct blocked __always_unused *b)
{
	knob_write(NX_HUGE_PAGES, "force");
	return 0;
}

/* One that has nothing to do with the TD. */
static int create_another_vm(struct blocked __always_unused *b)
{
	int kvm = open(KVM_DEV_PATH, O_RDWR | O_CLOEXEC);
	int vm = ioctl(kvm, KVM_CREATE_VM, 0);
	int r = vm < 0 ? -errno : 0;

	close(vm);
	close(kvm);
	return r;
}

static void blocked_create(struct blocked *b)
{
	td_create(&b->td);
	td_slot_create(&b->other, &b->td, TD_SLOT + 1, OTHER_GPA, 1);
	tdx_park_init(&b->park, PARKED_PAGES, PARKED_AT);
}

static void blocked_destroy(struct __test_metadata *_metadata, struct blocked *b)
{
	td_destroy(&b->td);
	td_slot_free(&b->other);
	td_audit(_metadata);
}

FIXTURE(blocked)
{
	struct blocked b;
};

FIXTURE_VARIANT(blocked)
{
	const char *name;
	blocked_op *op;
	unsigned int promised; /* by the decoupling series of this kernel and later ones */
};

/* clang-format off */
#define BLOCKED(_name, _promised) \
	FIXTURE_VARIANT_ADD(blocked, _name) { #_name, _name, _promised }
/* clang-format on */

BLOCKED(punch_same_gmem, 0);
BLOCKED(fallocate_same_gmem, 0);
BLOCKED(punch_other_gmem, 0);
BLOCKED(set_memory_region, 0);
BLOCKED(set_memory_attributes, 0);
BLOCKED(create_vcpu, 0);
BLOCKED(enable_cap, 0);
BLOCKED(ioctl_other_vcpu, 0);
BLOCKED(populate_by_other_vcpu, 0);
BLOCKED(finalize_vm, 0);
/* Up to 6.18 what builds a TD is an ioctl of the vCPU like any other, under its mutex. */
BLOCKED(ioctl_same_vcpu, TDX_KERNEL(6, 19));

FIXTURE_SETUP(blocked)
{
	struct blocked *b = &self->b;

	if (tdx_park_lacks())
		SKIP(return, "%s", tdx_park_lacks());

	blocked_create(b);
	/* A TD gets no more vCPUs than the host has CPUs, i.e. two in the least case. */
	if (variant->op == ioctl_other_vcpu || variant->op == populate_by_other_vcpu)
		b->other_vcpu = vm_tdx_vcpu_add(b->td.vm, OTHER_VCPU);
}

FIXTURE_TEARDOWN(blocked)
{
	struct blocked *b = &self->b;

	tdx_park_destroy(&b->park);
	tdx_task_finish(&b->populate.task);
	tdx_task_finish(&b->beside.task);
	blocked_destroy(_metadata, b);
}

static int operation_fn(void *arg)
{
	struct operation *beside = arg;
	u64 start = td_now_ns();
	int r = beside->op(beside->b);

	beside->took_ns = td_now_ns() - start;
	return r;
}

/* It ends while populate waits, as a decoupled kernel promises from the version @promised on. */
static enum tdx_task_state expect_not_blocked(struct __test_metadata *_metadata,
					      struct operation *beside, const char *name,
					      blocked_op *op, struct blocked *b,
					      unsigned int promised)
{
	enum tdx_task_state state;

	beside->name = name;
	beside->op = op;
	beside->b = b;
	tdx_task_start(&beside->task, name, operation_fn, beside);
	state = td_settle_parked(&beside->task);
	td_report_settled(&beside->task, state);
	if (state == TDX_TASK_DONE)
		td_metric("parked", name, "took", beside->took_ns, "us");
	else
		td_metric_blocked("parked", name, "took", &beside->task);
	if (tdx_host_is_decoupled() && tdx_host_kernel() >= promised) {
		EXPECT_EQ(TDX_TASK_DONE, state)
		{
			TH_LOG("%s must not wait for the source page of populate", name);
		}
	}
	return state;
}

/* Populate goes on, unless the TD was finalized before it could. */
static void blocked_expect_populate(struct __test_metadata *_metadata, struct blocked *b,
				    bool finalized)
{
	EXPECT_EQ(finalized ? -EINVAL : 0, tdx_task_finish(&b->populate.task));
	EXPECT_EQ(finalized ? PARKED_PAGES - PARKED_AT : 0, b->populate.region.nr_pages);
	EXPECT_FALSE(vm_tdx_is_dead(b->td.vm));
}

TD_TEST_F(blocked, while_populate_is_parked)
{
	struct kvm_tdx_init_mem_region other = { .gpa = OTHER_GPA, .nr_pages = 1 };
	bool finalizes = variant->op == finalize_vm;
	struct blocked *b = &self->b;
	enum tdx_task_state state;

	/* Holes have something to unmap, and are not the first ones of the machine. */
	other.source_addr = (uintptr_t)b->td.source;
	ASSERT_EQ(0, __vm_tdx_init_mem_region(b->td.vcpu, &other, 0));
	ASSERT_EQ(0, td_add(&b->td, PUNCHED, 1));
	ASSERT_EQ(0, punch_same_gmem(b));
	ASSERT_EQ(0, td_add(&b->td, PUNCHED, 1));

	td_populate_start(&b->populate, &b->td, b->park.mem, 0, PARKED_PAGES);
	ASSERT_TRUE(tdx_park_wait(&b->park));

	state = expect_not_blocked(_metadata, &b->beside, variant->name, variant->op, b,
				   variant->promised);
	tdx_park_release(&b->park);
	blocked_expect_populate(_metadata, b, finalizes && state == TDX_TASK_DONE);
	EXPECT_RESULT(0, tdx_task_finish(&b->beside.task));

	if (!finalizes) {
		vm_mem_set_private(b->td.vm, td_gpa(CONVERTED), PAGE_SIZE);
		td_complete(_metadata, &b->td);
	}
}

/*
 * Whoever waits for slots_lock of the TD with kvm_lock held keeps all VMs of the host from
 * coming and going: then one TD's populate, which waits for as long as its owner likes,
 * stands in the way of VMs that it has nothing to do with.
 */
FIXTURE(host)
{
	struct blocked b;
	struct operation behind;
	char nx_huge_pages[8];
};

FIXTURE_SETUP(host)
{
	if (tdx_park_lacks())
		SKIP(return, "%s", tdx_park_lacks());
	if (tdx_host_forbids_disruption())
		SKIP(return, "%s", tdx_host_forbids_disruption());
	if (access(NX_HUGE_PAGES, W_OK))
		SKIP(return, "nx_huge_pages cannot be changed");
	/* "Y", "N" or "never", of which the latter is for ever. */
	knob_read(NX_HUGE_PAGES, self->nx_huge_pages, sizeof(self->nx_huge_pages));
	if (!strcmp(self->nx_huge_pages, "never"))
		SKIP(return, "nx_huge_pages cannot be changed");

	blocked_create(&self->b);
	knob_write(NX_HUGE_PAGES, "off");
}

FIXTURE_TEARDOWN(host)
{
	struct blocked *b = &self->b;

	tdx_park_destroy(&b->park);
	tdx_task_finish(&b->populate.task);
	tdx_task_finish(&b->beside.task);
	tdx_task_finish(&self->behind.task);
	knob_write(NX_HUGE_PAGES, self->nx_huge_pages);
	blocked_destroy(_metadata, b);
}

TD_TEST_F(host, vms_come_and_go_while_populate_is_parked)
{
	struct blocked *b = &self->b;

	td_populate_start(&b->populate, &b->td, b->park.mem, 0, PARKED_PAGES);
	ASSERT_TRUE(tdx_park_wait(&b->park));
	expect_not_blocked(_metadata, &b->beside, "nx_huge_pages", force_nx_huge_pages, b, 0);
	expect_not_blocked(_metadata, &self->behind, "create_another_vm", create_another_vm, b, 0);

	tdx_park_release(&b->park);
	blocked_expect_populate(_metadata, b, false);
	EXPECT_RESULT(0, tdx_task_finish(&b->beside.task));
	EXPECT_RESULT(0, tdx_task_finish(&self->behind.task));
	/* All that is mapped of ordinary guests went, and nothing private of the TD. */
	td_complete(_metadata, &b->td);
}

#include "tdx_init_mem_main.h"
