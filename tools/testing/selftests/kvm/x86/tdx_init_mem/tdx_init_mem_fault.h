/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The life of a TD, step by step, with a SEAMCALL that fails on the way.
 */
#ifndef TDX_INIT_MEM_FAULT_H
#define TDX_INIT_MEM_FAULT_H

#include "tdx_init_mem.h"

#define FAULT_PAGES 4

/* The kernel asks for entropy ten times before it gives up (RDRAND_RETRY_LOOPS). */
#define ENTROPY_TRIES 10

struct fault {
	struct td td;
	struct kvm_tdx_init_mem_region region;
	bool closed;
	bool blamed; /* what an earlier case left on the host */
};

/* The life of a TD: user space may repeat each step until it succeeds. */
enum fault_step_nr {
	STEP_INIT_VM,
	STEP_INIT_VCPU,
	STEP_ADD,
	STEP_PUNCH,
	STEP_ADD_AGAIN,
	STEP_FINALIZE,
	STEP_PUNCH_FINAL,
	NR_STEPS,
};

struct fault_step {
	const char *name;
	/* What does not fail, and comes before; may be NULL. */
	void (*prepare)(struct fault *f);
	/* Returns 0 or a negative errno. */
	int (*fn)(struct fault *f);
};

static int fault_init_vm(struct fault *f)
{
	return __vm_tdx_init_vm(f->td.vm) ? -errno : 0;
}

static void fault_create_vcpu(struct fault *f)
{
	td_create_memory(&f->td);
	f->td.vcpu = vm_tdx_vcpu_add_uninit(f->td.vm, 0);
}

static int fault_init_vcpu(struct fault *f)
{
	return __vm_tdx_init_vcpu(f->td.vcpu) ? -errno : 0;
}

static void fault_choose_pages(struct fault *f)
{
	f->region = td_region(&f->td, 0, FAULT_PAGES);
}

static void fault_choose_page(struct fault *f)
{
	f->region = td_region(&f->td, 0, 1);
}

/* Goes on where it stopped. */
static int fault_add(struct fault *f)
{
	int r = __vm_tdx_init_mem_region(f->td.vcpu, &f->region, KVM_TDX_MEASURE_MEMORY_REGION);

	return r ? -errno : 0;
}

static int fault_punch(struct fault *f)
{
	return td_punch(&f->td, 0, 1);
}

static int fault_finalize(struct fault *f)
{
	return __vm_tdx_finalize(f->td.vm) ? -errno : 0;
}

static const struct fault_step fault_steps[NR_STEPS] = {
	[STEP_INIT_VM] = { "INIT_VM", NULL, fault_init_vm },
	[STEP_INIT_VCPU] = { "INIT_VCPU", fault_create_vcpu, fault_init_vcpu },
	[STEP_ADD] = { "INIT_MEM_REGION", fault_choose_pages, fault_add },
	[STEP_PUNCH] = { "PUNCH_HOLE", NULL, fault_punch },
	[STEP_ADD_AGAIN] = { "INIT_MEM_REGION again", fault_choose_page, fault_add },
	[STEP_FINALIZE] = { "FINALIZE_VM", NULL, fault_finalize },
	/* Only now with TDH.MEM.TRACK. */
	[STEP_PUNCH_FINAL] = { "PUNCH_HOLE of the finalized TD", NULL, fault_punch },
};

static void fault_create(struct fault *f)
{
	char excess[128];

	f->blamed = !tdx_emul_is_clean_now(excess, sizeof(excess));
	tdx_emul_reset();
	f->td.gmem = -1;
	f->td.vm = vm_tdx_create_uninit();
}

static void fault_close(struct fault *f)
{
	if (!f->closed)
		td_destroy(&f->td);
	f->closed = true;
}

static void fault_audit(struct __test_metadata *_metadata, const struct fault *f)
{
	struct tdx_audit_report report;

	tdx_audit_scan(&report);
	td_audit_expect(_metadata, &report);
	if (!f->blamed)
		td_audit_host(_metadata);
}

static int fault_try(struct fault *f, unsigned int nr)
{
	if (fault_steps[nr].prepare)
		fault_steps[nr].prepare(f);

	return fault_steps[nr].fn(f);
}

static void fault_expect(struct __test_metadata *_metadata, const struct fault *f, unsigned int nr,
			 const struct tdx_errno *errs, int r)
{
	EXPECT_TRUE(tdx_errno_allows(errs, -r))
	{
		TH_LOG("%s: want %s, got %s%s", fault_steps[nr].name,
		       tdx_errno_name(tdx_errno_wanted(errs)), tdx_errno_name(r),
		       vm_tdx_is_dead(f->td.vm) ? ", VM is dead" : "");
	}
}

/* The steps from @nr on, up to @end, as long as they succeed. */
static int fault_live(struct __test_metadata *_metadata, struct fault *f, unsigned int nr,
		      unsigned int end)
{
	static const struct tdx_errno none[TDX_ERRNO_MAX] = { TDX_ERRNO(TDX_NO_ERROR) };
	int r = 0;

	for (; !r && nr < end; nr++) {
		r = fault_try(f, nr);
		fault_expect(_metadata, f, nr, none, r);
	}

	return r;
}

static u64 fault_arm(struct __test_metadata *_metadata, unsigned int leaf, u64 status, u64 first,
		     u64 count)
{
	const struct tdx_emul_rule rule = {
		.action = TDX_EMUL_FAIL,
		.leaf = leaf,
		.first = first,
		.count = count,
		.status = status,
	};
	u64 id = 0;

	EXPECT_RESULT(0, tdx_emul_arm(&rule, &id));
	return id;
}

/* A case whose fault never came shows nothing. */
static void fault_expect_hits(struct __test_metadata *_metadata, u64 rule, u64 want)
{
	struct tdx_emul_rule_state state = {};

	EXPECT_RESULT(0, tdx_emul_rule_state(rule, &state));
	EXPECT_EQ(want, state.hits)
	{
		TH_LOG("%lu of %lu calls failed, of %lu that might have", state.hits, want,
		       state.matches);
	}
}

#define BUSY(_operand) (TDX_OPERAND_BUSY + TDX_OPERAND_##_operand)
#define INVALID(_operand) (TDX_OPERAND_INVALID + TDX_OPERAND_##_operand)

/* clang-format off */
#define ERROR(_err) { TDX_ERRNO(_err) }
/* clang-format on */

#endif /* TDX_INIT_MEM_FAULT_H */
