// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_CREATE_VCPU of a TD with its allocations failing.
 *
 *	scripts/tdx-init-mem run --kernel v6.18 --test fault_vcpu
 *
 * In a program of its own: up to 6.18 a vCPU whose creation fails late stays in the
 * list of those that a CPU has loaded, and is freed.  Whoever loads or flushes another
 * one next writes to freed memory, and there is no telling what follows.
 */
#include "tdx_init_mem_alloc.h"

FIXTURE(vcpu)
{
	struct td td;
};

static void vcpu_build(struct td *td)
{
	td->vm = vm_tdx_create();
	td_create_memory(td);
}

FIXTURE_SETUP(vcpu)
{
	struct td td;

	self->td.gmem = -1;
	if (tdx_fault_lacks())
		SKIP(return, "%s", tdx_fault_lacks());

	/* A kernel whose populate hangs does so before anything is broken. */
	td_create(&td);
	td_complete(_metadata, &td);
	td_destroy(&td);

	vcpu_build(&self->td);
	tdx_fault_begin();
}

FIXTURE_TEARDOWN(vcpu)
{
	tdx_fault_end();
	td_destroy(&self->td);
	td_audit(_metadata);
}

static int vcpu_create(void *arg)
{
	struct td *td = arg;
	int fd = ioctl(td->vm->fd, KVM_CREATE_VCPU, 0ul);

	return fd < 0 ? -errno : fd;
}

/* A vCPU that is there stays, however it came to be: on with another TD. */
static void vcpu_check(struct __test_metadata *_metadata, void *arg, int r)
{
	struct tdx_audit_report report;
	struct td *td = arg;

	/* The less is done with what is broken the better. */
	tdx_audit_scan(&report);
	td_audit_expect(_metadata, &report);
	ASSERT_TRUE(tdx_audit_is_clean(&report));
	if (r < 0)
		return;

	close(r);
	td_destroy(td);
	vcpu_build(td);
}

static void vcpu_fail(struct __test_metadata *_metadata, struct td *td, bool runs_out)
{
	const struct alloc_op op = {
		.name = "KVM_CREATE_VCPU",
		.fn = vcpu_create,
		.check = vcpu_check,
	};
	struct alloc_goes goes;
	int r = alloc_fail(_metadata, &op, runs_out, td, &goes);

	ASSERT_LE(0, r);
	EXPECT_LT(0, goes.nr_refused);

	/* What failed counts for nothing: the TD gets its vCPU all the same. */
	vcpu_check(_metadata, td, r);
	tdx_fault_arm(1);
	EXPECT_RESULT(-ENOMEM, vcpu_create(td));
	EXPECT_TRUE(tdx_fault_disarm());
	td->vcpu = vm_tdx_vcpu_add(td->vm, 0);
	td_complete(_metadata, td);
}

TD_TEST_F(vcpu, each_allocation_fails_in_turn)
{
	vcpu_fail(_metadata, &self->td, false);
}

TD_TEST_F(vcpu, memory_runs_out)
{
	vcpu_fail(_metadata, &self->td, true);
}

#define TD_DISRUPTS "kernels up to 6.18 corrupt a list"
#include "tdx_init_mem_main.h"
