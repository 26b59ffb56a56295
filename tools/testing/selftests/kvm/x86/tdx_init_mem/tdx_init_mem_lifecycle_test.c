// SPDX-License-Identifier: GPL-2.0-only
/*
 * Life of a TD: other operations on it while populate is under way.  And of the
 * module that serves TDs: kvm_intel goes and comes back, and the TDX module,
 * which stays, serves it as before.
 */
#include <sys/syscall.h>

#include "tdx_init_mem.h"

/* Where the emulated machine has it; elsewhere modprobe knows. */
#define MODULE_FILE "/modules/kvm-intel.ko"
/* There if it is a module, refcnt and all; what is built in has parameters only. */
#define MODULE_DIRECTORY "/sys/module/kvm_intel/holders"
#define RELOADS 3

static int module_unload(void)
{
	return syscall(SYS_delete_module, "kvm_intel", O_NONBLOCK) ? -errno : 0;
}

static int module_load(void)
{
	int r, fd = open(MODULE_FILE, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return system("modprobe kvm_intel tdx=1") ? -ENOEXEC : 0;

	r = syscall(SYS_finit_module, fd, "tdx=1", 0) ? -errno : 0;
	close(fd);
	return r;
}

FIXTURE(module) {};

FIXTURE_SETUP(module)
{
}

FIXTURE_TEARDOWN(module)
{
	td_audit(_metadata);
}

/* From creation to the end, with pages added, removed and added again. */
static void live(struct __test_metadata *_metadata)
{
	struct td td;

	td_create(&td);
	EXPECT_RESULT(0, td_add(&td, 0, TD_NR_PAGES));
	EXPECT_RESULT(0, td_punch(&td, 0, TD_NR_PAGES / 2));
	td_complete(_metadata, &td);
	td_destroy(&td);
}

/* A VM that is there keeps the module in. */
TD_TEST_F(module, stays_while_a_td_lives)
{
	struct td td;

	if (access(MODULE_DIRECTORY, F_OK))
		SKIP(return, "kvm_intel is built in");
	if (tdx_host_forbids_disruption())
		SKIP(return, "%s", tdx_host_forbids_disruption());

	td_create(&td);
	EXPECT_EQ(-EAGAIN, module_unload());
	EXPECT_RESULT(0, td_add(&td, 0, 1));
	td_destroy(&td);
}

TD_TEST_F(module, reloads_and_serves_tds_as_before)
{
	unsigned int i;
	int r;

	if (access(MODULE_DIRECTORY, F_OK))
		SKIP(return, "kvm_intel is built in");
	if (tdx_host_forbids_disruption())
		SKIP(return, "%s", tdx_host_forbids_disruption());

	for (i = 0; i < RELOADS; i++) {
		live(_metadata);
		r = module_unload();
		if (r == -EAGAIN)
			SKIP(return, "kvm_intel is in use by somebody else");
		if (r == -EPERM)
			SKIP(return, "kvm_intel must not be unloaded here");
		ASSERT_EQ(0, r);
		EXPECT_FALSE(is_tdx_enabled());
		ASSERT_EQ(0, module_load());
		ASSERT_TRUE(is_tdx_enabled());
	}
	live(_metadata);
}

/*
 * Another operation on the TD while populate waits for its source page, for as
 * long as user space likes.  A decoupled kernel holds nothing meanwhile.
 */
#define PARKED_PAGES 4
#define PARKED_AT 2

struct parked {
	struct td td;
	struct kvm_vcpu *second; /* not initialized; none if that is created meanwhile */
	struct tdx_park park;
	struct td_populate populate;
	struct tdx_task beside;
};

static int parked_finalize(void *arg)
{
	struct parked *p = arg;

	return __vm_tdx_finalize(p->td.vm) ? -errno : 0;
}

static int parked_create_vcpu(void *arg)
{
	struct parked *p = arg;

	vm_tdx_vcpu_add_uninit(p->td.vm, 1);
	return 0;
}

static int parked_init_vcpu(void *arg)
{
	struct parked *p = arg;

	return __vm_tdx_init_vcpu(p->second) ? -errno : 0;
}

static int parked_convert(void *arg)
{
	struct parked *p = arg;

	vm_mem_set_shared(p->td.vm, td_gpa(PARKED_PAGES), PAGE_SIZE);
	vm_mem_set_private(p->td.vm, td_gpa(PARKED_PAGES), PAGE_SIZE);
	return 0;
}

static int parked_allocate(void *arg)
{
	struct parked *p = arg;

	return fallocate(p->td.gmem, FALLOC_FL_KEEP_SIZE, 0, TD_SIZE) ? -errno : 0;
}

/* An ioctl of a vCPU, whichever. */
static int parked_get_mp_state(struct kvm_vcpu *vcpu)
{
	struct kvm_mp_state state;

	return __vcpu_ioctl(vcpu, KVM_GET_MP_STATE, &state) ? -errno : 0;
}

static int parked_use_same_vcpu(void *arg)
{
	struct parked *p = arg;

	return parked_get_mp_state(p->td.vcpu);
}

static int parked_use_other_vcpu(void *arg)
{
	struct parked *p = arg;

	return parked_get_mp_state(p->second);
}

FIXTURE(parked)
{
	struct parked p;
};

/*
 * @since:	decoupled kernels since then do not let it wait
 * @populate:	what populate says if it goes on after that
 */
FIXTURE_VARIANT(parked)
{
	int (*fn)(void *parked);
	unsigned int since;
	int populate;
};

#define BESIDE(_name) FIXTURE_VARIANT_ADD(parked, _name)

BESIDE(finalize) { parked_finalize, 0, -EINVAL };
BESIDE(create_vcpu) { parked_create_vcpu, 0, 0 };
BESIDE(init_vcpu) { parked_init_vcpu, 0, 0 };
BESIDE(convert) { parked_convert, 0, 0 };
BESIDE(allocate) { parked_allocate, 0, 0 };
BESIDE(use_other_vcpu) { parked_use_other_vcpu, 0, 0 };
/* Up to 6.18 the ioctl has the mutex of its vCPU from the start. */
BESIDE(use_same_vcpu) { parked_use_same_vcpu, TDX_KERNEL(6, 19), 0 };

FIXTURE_SETUP(parked)
{
	if (tdx_park_lacks())
		SKIP(return, "%s", tdx_park_lacks());

	td_create(&self->p.td);
	/* A TD may have as many as there are CPUs, i.e. no third one. */
	if (variant->fn != parked_create_vcpu)
		self->p.second = vm_tdx_vcpu_add_uninit(self->p.td.vm, 1);
	tdx_park_init(&self->p.park, PARKED_PAGES, PARKED_AT);
}

FIXTURE_TEARDOWN(parked)
{
	tdx_park_destroy(&self->p.park);
	tdx_task_finish(&self->p.populate.task);
	tdx_task_finish(&self->p.beside);
	td_destroy(&self->p.td);
	td_audit(_metadata);
}

TD_TEST_F(parked, both_come_to_their_end)
{
	struct parked *p = &self->p;
	enum tdx_task_state state;
	int want;

	td_populate_start(&p->populate, &p->td, p->park.mem, 0, PARKED_PAGES);
	ASSERT_TRUE(tdx_park_wait(&p->park));

	tdx_task_start(&p->beside, "beside", variant->fn, p);
	if (tdx_host_is_decoupled() && tdx_host_kernel() >= variant->since) {
		EXPECT_TRUE(tdx_task_wait(&p->beside))
		{
			TH_LOG("it must not wait for the source page of populate");
		}
	}
	state = tdx_task_settle(&p->beside);
	td_report_settled(&p->beside, state);

	tdx_park_release(&p->park);
	want = state == TDX_TASK_DONE ? variant->populate : 0;
	EXPECT_RESULT(want, tdx_task_finish(&p->populate.task));
	EXPECT_RESULT(0, tdx_task_finish(&p->beside));
	EXPECT_EQ(want ? PARKED_PAGES - PARKED_AT : 0, p->populate.region.nr_pages);

	EXPECT_FALSE(vm_tdx_is_dead(p->td.vm));
	if (variant->fn != parked_finalize)
		td_complete(_metadata, &p->td);
	else
		EXPECT_RESULT(-EINVAL, td_add(&p->td, PARKED_AT, 1));
}

#include "tdx_init_mem_main.h"
