// SPDX-License-Identifier: GPL-2.0-only
/*
 * A TD ends while populate is under way, by whatever end there is: its files are
 * closed in any order, its process is killed, or runs out of memory.  And CPUs come and
 * go.  The VM is gone afterwards, and with it every page of it; a TD that stays is whole.
 */
#include <sys/ioctl.h>

#include "tdx_init_mem.h"
#include "tdx_init_mem_teardown.h"

/*
 * The last reference to the VM, as its user space sees it: the order in which a
 * process lets go of its files.  Mapping a vCPU's run page counts as well, and so do the
 * files of statistics that the library opens.
 */
enum file {
	FILE_VM,
	FILE_VCPU,
	FILE_GMEM,
	NR_FILES
};

struct closing {
	struct td td;
	struct tdx_park park;
	struct td_populate populate;
	const enum file *order;
	unsigned int vms; /* 0 if they cannot be counted, else 1 */
};

/* The number stays taken, for the library to close. */
static void close_behind(int fd)
{
	int null;

	if (fd < 0)
		return;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	TEST_ASSERT(null >= 0 && dup2(null, fd) == fd, "closing a file: errno %d", errno);
	close(null);
}

static void close_file(struct td *td, enum file file)
{
	int size = ioctl(td->vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, NULL);
	void *run = td->vcpu->run;

	switch (file) {
	case FILE_VM:
		close_behind(td->vm->stats.fd);
		close_behind(td->vm->fd);
		break;
	case FILE_VCPU:
		TEST_ASSERT(mmap(run, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
				 0) == run,
			    "mmap over the run page: errno %d", errno);
		close_behind(td->vcpu->stats.fd);
		close_behind(td->vcpu->fd);
		break;
	default:
		td_close_gmem(td);
	}
}

FIXTURE(closed)
{
	struct closing c;
};

FIXTURE_VARIANT(closed)
{
	enum file order[NR_FILES];
};

#define CLOSED(_name) FIXTURE_VARIANT_ADD(closed, _name)

/* clang-format off */
CLOSED(vm_vcpu_gmem) { { FILE_VM, FILE_VCPU, FILE_GMEM } };
CLOSED(vm_gmem_vcpu) { { FILE_VM, FILE_GMEM, FILE_VCPU } };
CLOSED(vcpu_vm_gmem) { { FILE_VCPU, FILE_VM, FILE_GMEM } };
CLOSED(vcpu_gmem_vm) { { FILE_VCPU, FILE_GMEM, FILE_VM } };
CLOSED(gmem_vm_vcpu) { { FILE_GMEM, FILE_VM, FILE_VCPU } };
CLOSED(gmem_vcpu_vm) { { FILE_GMEM, FILE_VCPU, FILE_VM } };
/* clang-format on */

FIXTURE_SETUP(closed)
{
	td_create(&self->c.td);
	self->c.order = variant->order;
	self->c.vms = count_vms(getpid());
}

FIXTURE_TEARDOWN(closed)
{
	tdx_park_destroy(&self->c.park);
	tdx_task_finish(&self->c.populate.task);
	td_destroy(&self->c.td);
	td_audit(_metadata);
}

static int close_all_fn(void *arg)
{
	struct closing *c = arg;
	unsigned int i;

	for (i = 0; i < NR_FILES; i++)
		close_file(&c->td, c->order[i]);
	return 0;
}

/* Populate has a file open for as long as it runs, or finds none any more. */
static void expect_closed(struct __test_metadata *_metadata, struct closing *c, int result)
{
	u64 left = c->populate.region.nr_pages;

	EXPECT_TRUE(!result ? !left : result == -EFAULT && left)
	{
		TH_LOG("populate: want success or EFAULT, got %s with %lu pages left",
		       tdx_errno_name(result), left);
	}
	expect_no_vm(_metadata, getpid());
	/* Before the library has its turn. */
	td_audit_host(_metadata);
}

TD_TEST_F(closed, while_parked_leaves_nothing)
{
	struct closing *c = &self->c;
	struct tdx_task closer = {};

	if (tdx_park_lacks())
		SKIP(return, "%s", tdx_park_lacks());

	tdx_park_init(&c->park, PARKED_PAGES, PARKED_AT);
	td_populate_start(&c->populate, &c->td, c->park.mem, 0, PARKED_PAGES);
	ASSERT_TRUE(tdx_park_wait(&c->park));

	tdx_task_start(&closer, "closer", close_all_fn, c);
	td_report_settled(&closer, tdx_task_settle(&closer));
	EXPECT_EQ(c->vms, count_vms(getpid()));
	EXPECT_FALSE(tdx_task_is_done(&c->populate.task));

	tdx_park_release(&c->park);
	EXPECT_RESULT(0, tdx_task_finish(&closer));
	expect_closed(_metadata, c, tdx_task_finish(&c->populate.task));
}

TD_TEST_F(closed, while_running_leaves_nothing)
{
	struct closing *c = &self->c;

	td_populate_prepare(&c->populate, &c->td, c->td.source, 0, TD_NR_PAGES);
	c->populate.flags = KVM_TDX_MEASURE_MEMORY_REGION;
	tdx_task_start(&c->populate.task, "populate", td_populate_fn, &c->populate);
	/* The call has to have begun, or there is nothing to populate. */
	while (!tdx_task_is_done(&c->populate.task) &&
	       !tdx_task_stack_has(&c->populate.task, "kvm_vcpu_ioctl"))
		sched_yield();
	close_all_fn(c);

	expect_closed(_metadata, c, tdx_task_finish(&c->populate.task));
}

#include "tdx_init_mem_teardown_process.h"
#include "tdx_init_mem_main.h"
