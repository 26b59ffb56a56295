/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Two operations on one TD at the same time, of which one needs in the TDX
 * module what the other holds there.
 *
 * No status is injected: the module says TDX_OPERAND_BUSY because the lock is
 * taken.  Where the module can be steered, the holder waits in a leaf with the
 * leaf's locks until the victim had its turn; elsewhere both run at full speed,
 * over and over.
 *
 * KVM calls the module without preemption, so whom the module holds keeps the
 * CPU.  Who is held first has one of its own.  If the second one is held as well
 * nobody is left to release them; hence a hold ends by itself, too.
 */
#ifndef TDX_INIT_MEM_BUSY_H
#define TDX_INIT_MEM_BUSY_H

#include "tdx_init_mem.h"
#include "tdx/tdx_emul.h"

/* All leaf numbers are below. */
#define BUSY_NR_LEAVES 64

/* The other slot, right behind the first one. */
#define BUSY_SLOT (TD_SLOT + 1)
#define BUSY_PAGE TD_NR_PAGES

#define BUSY_MAX_CPUID_ENTRIES 256

/* Steered: how long a hold lasts at most; the victim's, until the holder is there. */
#define BUSY_HOLD_MS 4000
#define BUSY_STOP_MS 2000
/* A victim that met the holder and is not done after so long retries in the kernel. */
#define BUSY_RETRY_MS 1000
#define BUSY_ASLEEP_MS 50

#define BUSY_TEST_CPU 0
#define BUSY_HELD_CPU 1

/* Not steered: TDs, and goes of the victim on each. */
#define BUSY_ROUNDS 40
#define BUSY_REPEAT 20

struct busy {
	struct td td;
	struct kvm_vcpu *vcpu; /* not initialized: to load it calls no leaf */
	struct kvm_cpuid2 *cpuid;
	struct td_slot other; /* one page in a file of its own */
};

/* An operation succeeded, and there is no second time. */
#define BUSY_ONCE 1

struct busy_op {
	const char *name;
	/* Returns 0, BUSY_ONCE or a negative errno. */
	int (*fn)(struct busy *busy);
};

/*
 * struct busy_race - who meets whom
 * @holder:	waits in its first call of @holder_leaf, with the locks
 * @victim:	runs meanwhile
 * @stop_leaf:	which the victim enters no earlier than the holder waits; 0 if
 *		its way is free until it meets the holder
 * @stop_call:	which call of that leaf
 * @last_call:	a few calls later, where the victim waits for the holder to be
 *		done; 0 if it meets the holder until it is done itself
 */
struct busy_race {
	const struct busy_op *holder;
	unsigned int holder_leaf;
	const struct busy_op *victim;
	unsigned int stop_leaf;
	unsigned int stop_call;
	unsigned int last_call;
};

struct busy_outcome {
	int holder;
	int victim;
	bool met;    /* somebody waited in the module, or nothing is steered */
	u64 nr_busy; /* answers TDX_OPERAND_BUSY, if the module can be asked */
	bool dead;
};

static int busy_read_cpuid_fn(struct busy *busy)
{
	busy->cpuid->nent = BUSY_MAX_CPUID_ENTRIES;
	if (!__vm_tdx_vcpu_ioctl(busy->vcpu, KVM_TDX_GET_CPUID, 0, busy->cpuid))
		return 0;

	/* Refused once the TD is finalized. */
	return errno == EINVAL ? BUSY_ONCE : -errno;
}

/* Page 0 of the first guest_memfd; it must be empty, and is not the second time. */
static int busy_add_flags(struct busy *busy, u32 flags)
{
	struct kvm_tdx_init_mem_region region = td_region(&busy->td, 0, 1);
	int r = td_punch(&busy->td, 0, 1);

	if (r)
		return r;

	return __vm_tdx_init_mem_region(busy->td.vcpu, &region, flags) ? -errno : 0;
}

static int busy_add_fn(struct busy *busy)
{
	return busy_add_flags(busy, 0);
}

static int busy_measure_fn(struct busy *busy)
{
	return busy_add_flags(busy, KVM_TDX_MEASURE_MEMORY_REGION);
}

static int busy_finalize_fn(struct busy *busy)
{
	return __vm_tdx_finalize(busy->td.vm) ? -errno : BUSY_ONCE;
}

static int busy_init_vcpu_fn(struct busy *busy)
{
	return __vm_tdx_init_vcpu(busy->vcpu) ? -errno : BUSY_ONCE;
}

static int busy_punch_other_fn(struct busy *busy)
{
	int r = fallocate(busy->other.gmem, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0,
			  PAGE_SIZE);

	return r ? -errno : BUSY_ONCE;
}

/* clang-format off */
static const struct busy_op busy_read_cpuid = { "GET_CPUID", busy_read_cpuid_fn };
static const struct busy_op busy_add = { "INIT_MEM_REGION", busy_add_fn };
static const struct busy_op busy_measure = { "measured INIT_MEM_REGION", busy_measure_fn };
static const struct busy_op busy_finalize = { "FINALIZE_VM", busy_finalize_fn };
static const struct busy_op busy_init_vcpu = { "INIT_VCPU", busy_init_vcpu_fn };
static const struct busy_op busy_punch_other = { "PUNCH_HOLE elsewhere", busy_punch_other_fn };
/* clang-format on */

static void busy_create(struct busy *busy)
{
	struct td *td = &busy->td;

	td_create(td);
	busy->vcpu = vm_tdx_vcpu_add_uninit(td->vm, 1);
	busy->cpuid = calloc(1, sizeof(*busy->cpuid) +
					BUSY_MAX_CPUID_ENTRIES * sizeof(busy->cpuid->entries[0]));
	TEST_ASSERT(busy->cpuid, "Insufficient memory");

	td_slot_create(&busy->other, td, BUSY_SLOT, td_gpa(BUSY_PAGE), 1);
	/* The page to be punched; besides, the S-EPT is complete from here on. */
	TEST_ASSERT(!td_add(td, BUSY_PAGE, 1), "INIT_MEM_REGION failed, errno %d", errno);
}

static void busy_destroy(struct busy *busy)
{
	tdx_emul_reset();
	td_destroy(&busy->td);
	td_slot_free(&busy->other);
	free(busy->cpuid);
}

struct busy_thread {
	struct tdx_task task;
	struct busy *busy;
	const struct busy_op *op;
	const struct tdx_task *until; /* repeat as long as that one runs */
	unsigned int repeat;
	bool apart;
};

static bool busy_is_done(const struct tdx_task *task)
{
	return __atomic_load_n(&task->done, __ATOMIC_ACQUIRE);
}

static int busy_thread_fn(void *arg)
{
	struct busy_thread *thread = arg;
	unsigned int i = 0;
	int r;

	if (thread->apart)
		tdx_task_pin(BUSY_HELD_CPU);

	do {
		r = thread->op->fn(thread->busy);
	} while (!r && (thread->until ? !busy_is_done(thread->until) : ++i < thread->repeat));

	return r < 0 ? r : 0;
}

static void busy_start(struct busy_thread *thread, const char *name)
{
	tdx_task_start(&thread->task, name, busy_thread_fn, thread);
}

static u64 busy_count(void)
{
	unsigned int leaf;
	u64 count = 0;

	for (leaf = 0; leaf < BUSY_NR_LEAVES; leaf++)
		count += tdx_emul_count(leaf, TDX_OPERAND_BUSY);

	return count;
}

/* Until the task is done, or stays asleep, or @rule (if not 0) holds it, or retries. */
static void busy_wait(struct busy_thread *thread, u64 rule)
{
	u64 now = tdx_now_ms(), deadline = now + BUSY_HOLD_MS, awake = now;
	u64 retries = deadline, count = busy_count();
	struct tdx_emul_rule_state state;
	char wchan[64];

	for (; now < deadline && !busy_is_done(&thread->task); now = tdx_now_ms()) {
		if (rule && !tdx_emul_rule_state(rule, &state) && state.hits)
			return;
		if (!*tdx_task_wchan(&thread->task, wchan, sizeof(wchan)))
			awake = now;
		else if (now - awake >= BUSY_ASLEEP_MS)
			return;
		if (busy_count() == count)
			retries = now + BUSY_RETRY_MS;
		else if (now >= retries)
			return;
		usleep(1000);
	}
}

/* Lets go; says whether the rule held somebody. */
static bool busy_let_go(u64 rule)
{
	struct tdx_emul_rule_state state;
	int r = tdx_emul_rule_state(rule, &state);

	tdx_emul_disarm(rule);
	return !r && state.hits;
}

static bool busy_steer(const struct busy_race *race, struct busy_thread *holder,
		       struct busy_thread *victim)
{
	u64 hold, stop = 0, last = 0;
	bool met;

	tdx_task_pin(BUSY_TEST_CPU);
	victim->apart = race->stop_leaf;
	holder->apart = !race->stop_leaf;

	if (race->stop_leaf) {
		stop = tdx_emul_hold(TDX_EMUL_HOLD_ENTRY, race->stop_leaf, race->stop_call,
				     BUSY_STOP_MS);
		if (race->last_call)
			last = tdx_emul_hold(TDX_EMUL_HOLD_ENTRY, race->stop_leaf, race->last_call,
					     BUSY_HOLD_MS);
		busy_start(victim, "victim");
		busy_wait(victim, stop);
	}

	hold = tdx_emul_hold(TDX_EMUL_HOLD_LOCKED, race->holder_leaf, 1, BUSY_HOLD_MS);
	busy_start(holder, "holder");
	busy_wait(holder, hold);

	if (!stop)
		busy_start(victim, "victim");
	met = !stop || busy_let_go(stop);
	busy_wait(victim, last);

	met &= busy_let_go(hold) || stop;
	if (last) {
		busy_wait(holder, 0);
		busy_let_go(last);
	}

	return met;
}

static void busy_meet(struct busy *busy, const struct busy_race *race, struct busy_outcome *outcome)
{
	struct busy_thread holder = { .busy = busy, .op = race->holder };
	struct busy_thread victim = { .busy = busy, .op = race->victim };
	u64 before = busy_count();

	outcome->met = true;
	if (!tdx_emul_lacks()) {
		outcome->met = busy_steer(race, &holder, &victim);
	} else {
		holder.until = &victim.task;
		victim.repeat = BUSY_REPEAT;
		busy_start(&holder, "holder");
		busy_start(&victim, "victim");
	}

	outcome->victim = tdx_task_finish(&victim.task);
	outcome->holder = tdx_task_finish(&holder.task);
	outcome->nr_busy = busy_count() - before;
	outcome->dead = vm_tdx_is_dead(busy->td.vm);
}

static bool busy_is_fine(const struct busy_outcome *outcome)
{
	return outcome->met && !outcome->holder && !outcome->victim && !outcome->dead;
}

/* Steered it takes one TD to say for sure; else one after the other, until one says no. */
static void busy_race(struct busy *busy, const struct busy_race *race, struct busy_outcome *outcome)
{
	unsigned int rounds = tdx_emul_lacks() ? BUSY_ROUNDS : 1;

	for (;;) {
		busy_meet(busy, race, outcome);
		if (!busy_is_fine(outcome) || !--rounds)
			break;
		busy_destroy(busy);
		busy_create(busy);
	}
}

static void busy_expect_fine(struct __test_metadata *_metadata, const struct busy_race *race,
			     const struct busy_outcome *outcome)
{
	EXPECT_TRUE(busy_is_fine(outcome))
	{
		TH_LOG("%s while %s holds the TD: want success of both, VM alive",
		       race->victim->name, race->holder->name);
		TH_LOG("  got %s and %s, VM %s, after %lu answers TDX_OPERAND_BUSY%s",
		       tdx_errno_name(outcome->victim), tdx_errno_name(outcome->holder),
		       outcome->dead ? "dead" : "alive", outcome->nr_busy,
		       outcome->met ? "" : "; nobody waited in the module");
	}
}

#endif /* TDX_INIT_MEM_BUSY_H */
