// SPDX-License-Identifier: GPL-2.0-only
/*
 * Whoever builds a TD is moved to another CPU in the middle of it.
 *
 * A vCPU belongs to the CPU, the LP of the module, on which its last SEAMCALL was.  When
 * its thread goes on elsewhere, KVM has to flush it there first.  It does for a vCPU that
 * is initialized, which for KVM is one whose KVM_TDX_INIT_VCPU is over; for the module it
 * is since TDH.VP.INIT.  What comes in between is refused on the new CPU: a warning, the
 * end of the VM, and a KeyID and pages that are never given back.
 *
 *	scripts/tdx-init-mem run --kernel v7.3 --test migrate
 *
 * All kernels up to 7.3 do that if they may be preempted, which is why vm_tdx_init_vcpu()
 * stays where it is, for everybody else.  With CONFIG_PREEMPT_NONE, the default of x86 up
 * to 6.19, a thread is moved on its way back to user space, where this does no harm.
 */
#include <sched.h>

#include "tdx_init_mem.h"

/* Held on a CPU of its own, see tdx_init_mem_busy.h. */
#define TEST_CPU 0
#define HELD_CPU 1

#define NR_ADDED 2
/* Not steered: TDs, each with a vCPU that is moved about. */
#define ROUNDS 20

typedef int build_fn(struct td *td);

struct migrate {
	struct td td;
	struct tdx_task builder;
	struct tdx_task mover;
	build_fn *build;
	bool apart; /* the builder begins on HELD_CPU */
};

static int build_vcpu(struct td *td)
{
	return __vm_tdx_vcpu_ioctl(td->vcpu, KVM_TDX_INIT_VCPU, 0, NULL) ? -errno : 0;
}

static int build_memory(struct td *td)
{
	struct kvm_tdx_init_mem_region region = td_region(td, 0, NR_ADDED);

	return __vm_tdx_init_mem_region(td->vcpu, &region, KVM_TDX_MEASURE_MEMORY_REGION) ? -errno :
											    0;
}

static int build_end(struct td *td)
{
	return __vm_tdx_finalize(td->vm) ? -errno : 0;
}

static int builder_fn(void *arg)
{
	struct migrate *m = arg;

	if (m->apart)
		tdx_task_pin(HELD_CPU);
	return m->build(&m->td);
}

static int move(const struct tdx_task *task, unsigned int cpu)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	return sched_setaffinity(task->tid, sizeof(cpus), &cpus) ? -errno : 0;
}

static int mover_fn(void *arg)
{
	struct migrate *m = arg;

	return move(&m->builder, TEST_CPU);
}

static void migrate_create(struct migrate *m)
{
	m->td.vm = vm_tdx_create();
	td_create_memory(&m->td);
	m->td.vcpu = vm_tdx_vcpu_add_uninit(m->td.vm, 0);
	if (m->build != build_vcpu)
		vm_tdx_init_vcpu(m->td.vcpu);
}

FIXTURE(migrate)
{
	struct migrate m;
};

FIXTURE_VARIANT(migrate)
{
	build_fn *build;
	unsigned int leaf; /* the thread is moved while this one is held */
};

#define BUILDS(_name, _leaf)                           \
	FIXTURE_VARIANT_ADD(migrate, _name)            \
	{                                              \
		.build = build_##_name, .leaf = _leaf, \
	}

BUILDS(memory, TDH_MEM_PAGE_ADD);
BUILDS(end, TDH_MR_FINALIZE);
/* The last one, since what it loses is missed by whoever comes next. */
BUILDS(vcpu, TDH_VP_INIT);

FIXTURE_SETUP(migrate)
{
	tdx_emul_reset();
	self->m.build = variant->build;
	migrate_create(&self->m);
}

FIXTURE_TEARDOWN(migrate)
{
	tdx_emul_reset();
	tdx_task_finish(&self->m.builder);
	tdx_task_finish(&self->m.mover);
	td_destroy(&self->m.td);
	td_audit(_metadata);
}

static void expect_built(struct __test_metadata *_metadata, struct migrate *m)
{
	int r = tdx_task_finish(&m->builder);
	bool dead = vm_tdx_is_dead(m->td.vm);

	if (r || dead)
		TH_LOG("moved to another CPU meanwhile: got %s, VM %s", tdx_errno_name(r),
		       dead ? "dead" : "alive");
	EXPECT_EQ(0, r);
	EXPECT_FALSE(dead);
	if (!r && !dead && m->build != build_end)
		td_complete(_metadata, &m->td);
}

/* Between this SEAMCALL and the next one the thread changes its CPU. */
TD_TEST_F(migrate, between_two_seamcalls_is_not_noticed)
{
	struct migrate *m = &self->m;
	u64 id;

	if (tdx_emul_lacks())
		SKIP(return, "%s", tdx_emul_lacks());

	id = tdx_emul_hold(TDX_EMUL_HOLD_ENTRY, variant->leaf, 1, 0);
	tdx_task_pin(TEST_CPU);
	m->apart = true;
	tdx_task_start(&m->builder, "builder", builder_fn, m);
	ASSERT_TRUE(tdx_emul_wait_held(id, 1));

	/* Who moves it waits until it can be moved, unless it could be at once. */
	tdx_task_start(&m->mover, "mover", mover_fn, m);
	EXPECT_NE(TDX_TASK_BUSY, tdx_task_settle(&m->mover));
	ASSERT_EQ(0, tdx_emul_disarm(id));

	expect_built(_metadata, m);
	EXPECT_RESULT(0, tdx_task_finish(&m->mover));
}

/* The same without steering, anywhere. */
TD_TEST_F(migrate, at_any_moment_is_not_noticed)
{
	struct migrate *m = &self->m;
	unsigned int round, moves = 0;

	for (round = 0; round < ROUNDS && !_metadata->exit_code; round++) {
		if (round) {
			td_destroy(&m->td);
			migrate_create(m);
		}
		tdx_task_start(&m->builder, "builder", builder_fn, m);
		while (!tdx_task_is_done(&m->builder) &&
		       !move(&m->builder, moves & 1 ? TEST_CPU : HELD_CPU))
			moves++;
		expect_built(_metadata, m);
	}
	printf("# moved %u times in %u rounds\n", moves, round);
}

#define TD_DISRUPTS "a KeyID is lost for good"
#include "tdx_init_mem_main.h"
