// SPDX-License-Identifier: GPL-2.0-only
/*
 * Steering the emulated TDX host: a SEAMCALL is held before its locks are taken
 * or while they are held, with the machine running on, or fails with a chosen
 * status.  Shows each of it on this kernel, and what KVM makes of it.
 */
#include <signal.h>

#include "tdx_init_mem_steer.h"
#include "tdx_init_mem_steer_held.h"
#include "tdx/tdx_memcg.h"

/* A status instead of the call, and what KVM makes of it. */
enum failed_op {
	OP_ADD,
	OP_INIT_VM,
	OP_FINALIZE,
};

FIXTURE(failed)
{
	struct td td;
	u64 tdr;
};

/*
 * @nr:		calls that fail
 * @errs:	what the ioctl answers to them
 * @nr_errors:	how many ioctls answer so, one after the other
 */
FIXTURE_VARIANT(failed)
{
	enum failed_op op;
	unsigned int leaf;
	u64 status;
	unsigned int nr;
	struct tdx_errno errs[TDX_ERRNO_MAX];
	unsigned int nr_errors;
};

#define FAIL(_name) FIXTURE_VARIANT_ADD(failed, _name)
#define BUSY(_operand) (TDX_OPERAND_BUSY + TDX_OPERAND_##_operand)
#define INVALID(_operand) (TDX_OPERAND_INVALID + TDX_OPERAND_##_operand)

/* clang-format off */
#define EBUSY_UNTIL_6_18 { TDX_ERRNO(EBUSY), TDX_ERRNO_SINCE(6, 19, TDX_NO_ERROR) }
#define NO_ERROR { TDX_ERRNO(TDX_NO_ERROR) }
#define ERROR(_err) { TDX_ERRNO(_err) }

FAIL(page_add_once) { OP_ADD, TDH_MEM_PAGE_ADD, BUSY(RDX), 1, EBUSY_UNTIL_6_18, 1 };
FAIL(page_add_thrice) { OP_ADD, TDH_MEM_PAGE_ADD, BUSY(RDX), 3, EBUSY_UNTIL_6_18, 3 };
/* Faults have always been retried. */
FAIL(sept_add_thrice) { OP_ADD, TDH_MEM_SEPT_ADD, BUSY(RDX), 3, NO_ERROR, 0 };
FAIL(finalize_twice) { OP_FINALIZE, TDH_MR_FINALIZE, BUSY(RCX), 2, ERROR(EBUSY), 2 };
FAIL(mng_init_once) { OP_INIT_VM, TDH_MNG_INIT, INVALID(RDX), 1, ERROR(EINVAL), 1 };
/* The kernel asks for entropy ten times before it gives up. */
FAIL(mng_create_9_times) { OP_INIT_VM, TDH_MNG_CREATE, TDX_RND_NO_ENTROPY, 9, NO_ERROR, 0 };
FAIL(mng_create_10_times) { OP_INIT_VM, TDH_MNG_CREATE, TDX_RND_NO_ENTROPY, 10, ERROR(EAGAIN), 1 };
/* clang-format on */

FIXTURE_SETUP(failed)
{
	if (tdx_emul_lacks())
		SKIP(return, "%s", tdx_emul_lacks());

	tdx_emul_reset();
	self->tdr = steer_create(&self->td);
}

FIXTURE_TEARDOWN(failed)
{
	tdx_emul_reset();
	td_destroy(&self->td);
	td_audit(_metadata);
}

static int failed_init_vm(void)
{
	struct kvm_vm *vm = vm_tdx_create_uninit();
	int r = __vm_tdx_init_vm(vm) ? -errno : 0;

	kvm_vm_free(vm);
	return r;
}

/* Each time another page: up to 6.18 one that failed passes for one that is there. */
static int failed_try(struct td *td, enum failed_op op, unsigned int nth)
{
	switch (op) {
	case OP_ADD:
		return td_add(td, nth, 1);
	case OP_INIT_VM:
		return failed_init_vm();
	case OP_FINALIZE:
		return __vm_tdx_finalize(td->vm) ? -errno : 0;
	}

	return -EINVAL;
}

TD_TEST_F(failed, as_often_as_said)
{
	const struct tdx_emul_rule rule = {
		.action = TDX_EMUL_FAIL,
		.leaf = variant->leaf,
		.status = variant->status,
		.count = variant->nr,
	};
	u64 failed = tdx_emul_count(variant->leaf, variant->status);
	unsigned int i, nr_errors = 0;
	u64 id;
	int r;

	ASSERT_EQ(0, tdx_emul_arm(&rule, &id));
	for (i = 0; i <= variant->nr; i++) {
		r = failed_try(&self->td, variant->op, i);
		if (!r)
			break;
		nr_errors++;
		EXPECT_TRUE(tdx_errno_allows(variant->errs, -r))
		{
			TH_LOG("want %s, got %s", tdx_errno_name(tdx_errno_wanted(variant->errs)),
			       tdx_errno_name(r));
		}
	}

	EXPECT_EQ(0, r);
	EXPECT_TRUE(nr_errors == variant->nr_errors ||
		    (!nr_errors && tdx_errno_allows(variant->errs, 0)))
	{
		TH_LOG("want %u errors, got %u", variant->nr_errors, nr_errors);
	}
	EXPECT_EQ(failed + variant->nr, tdx_emul_count(variant->leaf, variant->status));
	EXPECT_FALSE(vm_tdx_is_dead(self->td.vm));
}

/* Without an end, and modes of the whole module. */
FIXTURE(mode)
{
	struct td td;
	struct td_populate populate;
	u64 tdr;
};

FIXTURE_SETUP(mode)
{
	if (tdx_emul_lacks())
		SKIP(return, "%s", tdx_emul_lacks());

	tdx_emul_reset();
	self->tdr = steer_create(&self->td);
}

FIXTURE_TEARDOWN(mode)
{
	tdx_emul_reset();
	tdx_task_finish(&self->populate.task);
	td_destroy(&self->td);
	td_audit(_metadata);
}

/* What a TD is made of, so that a failed call can be shown to have changed nothing. */
struct snapshot {
	u64 pages;
	u64 epoch;
	u8 mrtd[TDX_EMUL_MRTD_SIZE];
};

static void take_snapshot(struct __test_metadata *_metadata, u64 tdr, struct snapshot *snapshot)
{
	struct tdx_emul_td td;

	memset(snapshot, 0, sizeof(*snapshot));
	EXPECT_RESULT(0, tdx_emul_find_td(tdr, &td));
	EXPECT_RESULT(0, tdx_emul_mrtd(tdr, snapshot->mrtd));
	snapshot->pages = td.pages;
	snapshot->epoch = td.epoch;
}

/* Without an end: up to 6.18 an error each time, later one call that goes on trying. */
#define ALWAYS_TIMES 5

/* Hits of the rule when the task has ended, or tried that often. */
static u64 failed_hits(const struct tdx_task *task, u64 id)
{
	u64 deadline = tdx_now_ms() + tdx_host_deadline_ms();
	struct tdx_emul_rule_state state;

	do {
		bool done = tdx_task_is_done(task);

		if (tdx_emul_rule_state(id, &state))
			return 0;
		if (done || state.hits >= ALWAYS_TIMES)
			return state.hits;
		usleep(1000);
	} while (tdx_now_ms() < deadline);

	return 0;
}

TD_TEST_F(mode, failing_until_disarmed_changes_nothing)
{
	static const struct tdx_errno errs[TDX_ERRNO_MAX] = EBUSY_UNTIL_6_18;
	const struct tdx_emul_rule rule = {
		.action = TDX_EMUL_FAIL,
		.leaf = TDH_MEM_PAGE_ADD,
		.tdr = self->tdr,
		.status = BUSY(RDX),
	};
	struct snapshot before, after;
	struct tdx_emul_sept sept;
	struct tdx_emul_page owner;
	unsigned int page = 0;
	u64 id, hits;
	bool ends;
	int r;

	/* Page 0 brings the page tables of the others. */
	ASSERT_EQ(0, td_add(&self->td, 0, 1));
	take_snapshot(_metadata, self->tdr, &before);

	ASSERT_EQ(0, tdx_emul_arm(&rule, &id));
	do {
		page++;
		td_populate_start(&self->populate, &self->td, self->td.source, page, 1);
		hits = failed_hits(&self->populate.task, id);
		take_snapshot(_metadata, self->tdr, &after);
		EXPECT_TRUE(!memcmp(&before, &after, sizeof(before)));
		steer_expect_page(_metadata, self->tdr, page, TDX_SEPT_FREE);
		ends = tdx_task_is_done(&self->populate.task);
		if (!ends)
			EXPECT_RESULT(0, tdx_emul_disarm(id));
		r = tdx_task_finish(&self->populate.task);
		EXPECT_TRUE(tdx_errno_allows(errs, -r))
		{
			TH_LOG("want %s, got %s", tdx_errno_name(tdx_errno_wanted(errs)),
			       tdx_errno_name(r));
		}
	} while (ends && page < ALWAYS_TIMES);
	EXPECT_LE(ALWAYS_TIMES, hits);
	tdx_emul_disarm(0);

	/* What failed can still be had, and is one page more each then. */
	ASSERT_EQ(0, td_punch(&self->td, 1, page));
	ASSERT_EQ(0, td_add(&self->td, 1, page));
	take_snapshot(_metadata, self->tdr, &after);
	EXPECT_EQ(before.pages + page, after.pages);
	ASSERT_EQ(0, tdx_emul_sept(self->tdr, td_gpa(1), 0, &sept));
	ASSERT_EQ(0, td_punch(&self->td, 1, 1));
	EXPECT_RESULT(0, tdx_emul_page(sept.hpa, &owner));
	EXPECT_EQ(TDX_PAGE_NDA, owner.type);
	td_complete(_metadata, &self->td);
}

/* Exists to interrupt system calls, which an ignored signal does not. */
static void signal_handler(int __always_unused signo)
{
}

/* A kernel that goes on trying must not do so for ever. */
TD_TEST_F(mode, signal_ends_the_retries)
{
	static const struct tdx_errno errs[TDX_ERRNO_MAX] = {
		TDX_ERRNO(EBUSY),
		TDX_ERRNO_SINCE(6, 19, EINTR),
	};
	const struct tdx_emul_rule rule = {
		.action = TDX_EMUL_FAIL,
		.leaf = TDH_MEM_PAGE_ADD,
		.tdr = self->tdr,
		.status = BUSY(RDX),
	};
	const struct sigaction action = { .sa_handler = signal_handler };
	struct td_populate *populate = &self->populate;
	u64 id;
	int r;

	ASSERT_EQ(0, sigaction(SIGUSR1, &action, NULL));
	ASSERT_EQ(0, td_add(&self->td, 0, 1));

	ASSERT_EQ(0, tdx_emul_arm(&rule, &id));
	td_populate_start(populate, &self->td, self->td.source, 1, 1);
	EXPECT_LT(0, failed_hits(&populate->task, id));
	if (!tdx_task_is_done(&populate->task)) {
		ASSERT_EQ(0, pthread_kill(populate->task.thread, SIGUSR1));
		EXPECT_TRUE(tdx_task_wait(&populate->task));
	}
	tdx_emul_disarm(id);

	r = tdx_task_finish(&populate->task);
	EXPECT_TRUE(tdx_errno_allows(errs, -r))
	{
		TH_LOG("want %s, got %s", tdx_errno_name(tdx_errno_wanted(errs)),
		       tdx_errno_name(r));
	}
	EXPECT_EQ(1, populate->region.nr_pages);
	ASSERT_EQ(0, td_punch(&self->td, 1, 1));
	td_complete(_metadata, &self->td);
}

/* A page that has to be looked up once more is let go of once more. */
#define BUSY_ROUNDS 512

TD_TEST_F(mode, page_added_while_busy_is_given_back)
{
	const struct tdx_emul_rule rule = {
		.action = TDX_EMUL_FAIL,
		.leaf = TDH_MEM_PAGE_ADD,
		.tdr = self->tdr,
		.status = BUSY(RDX),
		.count = 1,
	};
	struct tdx_memcg memcg;
	unsigned int round;
	long before, more;
	u64 id;

	if (!tdx_memcg_enter(&memcg))
		SKIP(return, "no memory cgroup to be had");

	before = tdx_memcg_pages(&memcg);
	for (round = 0; round < BUSY_ROUNDS; round++) {
		ASSERT_EQ(0, tdx_emul_arm(&rule, &id));
		td_add(&self->td, 0, 1); /* up to 6.18 -EBUSY */
		EXPECT_TRUE(tdx_emul_wait_hits(id, 1));
		ASSERT_EQ(0, tdx_emul_disarm(id));
		ASSERT_EQ(0, td_punch(&self->td, 0, 1));
	}

	more = tdx_memcg_pages(&memcg) - before;
	EXPECT_GT(BUSY_ROUNDS / 2, more)
	{
		TH_LOG("%u busy adds and holes, %ld more pages are in use", BUSY_ROUNDS, more);
	}
	tdx_memcg_leave(&memcg);
	td_complete(_metadata, &self->td);
}

/*
 * The first page comes before, since KVM takes no busy for an answer when it
 * loads the root.  The second is far enough away to need page tables.
 */
#define FAR_GPA (2 * TD_GPA)

TD_TEST_F(mode, busy_once_is_once_for_each_leaf)
{
	static const struct tdx_errno errs[TDX_ERRNO_MAX] = EBUSY_UNTIL_6_18;
	struct kvm_tdx_init_mem_region region = td_region(&self->td, 0, 1);
	struct td_slot far;
	u64 sept, add;
	int r;

	td_slot_create(&far, &self->td, TD_SLOT + 1, FAR_GPA, 1);
	ASSERT_EQ(0, td_add(&self->td, 0, 1));
	sept = tdx_emul_count(TDH_MEM_SEPT_ADD, TDX_OPERAND_BUSY);
	add = tdx_emul_count(TDH_MEM_PAGE_ADD, TDX_OPERAND_BUSY);

	ASSERT_EQ(0, tdx_emul_busy_once(true));
	region.gpa = FAR_GPA;
	r = __vm_tdx_init_mem_region(self->td.vcpu, &region, 0) ? -errno : 0;
	EXPECT_TRUE(tdx_errno_allows(errs, -r))
	{
		TH_LOG("want %s, got %s", tdx_errno_name(tdx_errno_wanted(errs)),
		       tdx_errno_name(r));
	}
	EXPECT_RESULT(0, td_add(&self->td, 1, 1));
	EXPECT_EQ(sept + 1, tdx_emul_count(TDH_MEM_SEPT_ADD, TDX_OPERAND_BUSY));
	EXPECT_EQ(add + 1, tdx_emul_count(TDH_MEM_PAGE_ADD, TDX_OPERAND_BUSY));

	/* Off again: leaves that have not been busy yet will not be. */
	ASSERT_EQ(0, tdx_emul_busy_once(false));
	if (r) /* up to 6.18 the page is neither there nor forgotten */
		EXPECT_ERRNO(0, td_slot_punch(&far, 0, 1));
	EXPECT_ERRNO(0, __vm_tdx_finalize(self->td.vm));
	td_slot_free(&far);
}

#define MAX_LATENCY 100000

static u64 time_of_adds(struct __test_metadata *_metadata, struct td *td, u64 percent)
{
	u64 start, former;

	EXPECT_RESULT(0, tdx_emul_latency(percent, &former));
	start = tdx_now_ms();
	EXPECT_RESULT(0, td_add(td, 0, TD_NR_PAGES));
	start = tdx_now_ms() - start;
	EXPECT_RESULT(0, td_punch(td, 0, TD_NR_PAGES));
	EXPECT_RESULT(0, tdx_emul_latency(former, &percent));
	return start;
}

/* A thousandfold of any time that a SEAMCALL may take cannot be overlooked. */
TD_TEST_F(mode, latency_makes_calls_longer)
{
	u64 first, second, former;
	unsigned int i;

	ASSERT_EQ(0, tdx_emul_latency(50, &former));
	EXPECT_RESULT(0, tdx_emul_latency(200, &first));
	EXPECT_RESULT(0, tdx_emul_latency(former, &second));
	EXPECT_EQ(50, first);
	EXPECT_EQ(200, second);

	ASSERT_EQ(0, td_add(&self->td, 0, TD_NR_PAGES));
	ASSERT_EQ(0, td_punch(&self->td, 0, TD_NR_PAGES));
	/* Whatever else runs on this machine makes the one longer, never the other shorter. */
	first = time_of_adds(_metadata, &self->td, 0);
	for (i = 0; i < 4; i++)
		first = min(first, time_of_adds(_metadata, &self->td, 0));
	second = time_of_adds(_metadata, &self->td, MAX_LATENCY);
	printf("# %u pages: %lu ms without modelled times, %lu ms with a thousand times them\n",
	       TD_NR_PAGES, first, second);
	EXPECT_LT(first + TD_NR_PAGES, second);
}

#include "tdx_init_mem_main.h"
