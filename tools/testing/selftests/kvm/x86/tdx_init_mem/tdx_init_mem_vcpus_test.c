// SPDX-License-Identifier: GPL-2.0-only
/*
 * Several vCPUs populate one TD at once, and calls that build a TD meet populate at
 * full speed.  Whoever comes first: each page is added exactly once, with its content,
 * and each call either has its way or says why not.
 */
#include "tdx_init_mem.h"

#define MANY_SLOT (TD_SLOT + 1)
#define MANY_PAGES 128
#define MAX_VCPUS 4

struct many {
	struct td td;
	struct td_slot slot;
	void *source;
};

static void many_create(struct many *many)
{
	unsigned int page;

	td_create(&many->td);
	td_slot_create(&many->slot, &many->td, MANY_SLOT, td_gpa(TD_NR_PAGES), MANY_PAGES);
	many->source = td_mmap(many->slot.size);
	for (page = 0; page < MANY_PAGES; page++)
		memset(many->source + page * PAGE_SIZE, page + 1, PAGE_SIZE);
}

static void many_destroy(struct many *many)
{
	td_destroy(&many->td);
	td_slot_free(&many->slot);
	munmap(many->source, many->slot.size);
}

static struct kvm_tdx_init_mem_region many_region(const struct many *many, unsigned int page,
						  unsigned int nr_pages)
{
	return (struct kvm_tdx_init_mem_region) {
		.source_addr = (uintptr_t)many->source + page * PAGE_SIZE,
		.gpa = many->slot.gpa + page * (u64)PAGE_SIZE,
		.nr_pages = nr_pages,
	};
}

/* Every page is there already: it cannot be added. */
static void expect_mapped(struct __test_metadata *_metadata, struct many *many,
			  unsigned int nr_pages)
{
	struct tdx_emul_td emulated;
	unsigned int page;
	u8 content[TDX_EMUL_READ_SIZE];

	for (page = 0; page < nr_pages; page++) {
		struct kvm_tdx_init_mem_region region = many_region(many, page, 1);
		u64 gpa = region.gpa;
		int r = __vm_tdx_init_mem_region(many->td.vcpu, &region, 0) ? -errno : 0;

		EXPECT_TRUE(td_says_mapped(&many->td, r))
		{
			TH_LOG("page %u was not added: adding it says %s", page, tdx_errno_name(r));
		}
		if (tdx_emul_lacks())
			continue;

		ASSERT_EQ(0, tdx_emul_newest_td(&emulated));
		ASSERT_EQ(0, tdx_emul_read(emulated.tdr, gpa, content));
		EXPECT_EQ((u8)(page + 1), content[0]);
	}
}

static void expect_finalizes(struct __test_metadata *_metadata, struct many *many)
{
	EXPECT_FALSE(vm_tdx_is_dead(many->td.vm));
	EXPECT_EQ(0, __vm_tdx_finalize(many->td.vm))
	{
		TH_LOG("FINALIZE_VM: got %s", tdx_errno_name(errno));
	}
}

/* How the pages are dealt out: vCPU @i of @n starts where, goes on how. */
enum deal {
	DEAL_HALVES,	 /* a range each, in one call */
	DEAL_IN_TURN,	 /* every n-th page, a call each */
	DEAL_ALL_TO_ALL, /* everybody tries every page */
};

struct worker {
	struct tdx_task task;
	struct many *many;
	struct kvm_vcpu *vcpu;
	pthread_barrier_t *barrier;
	enum deal deal;
	unsigned int index;
	unsigned int nr_workers;
	u32 flags;
	u8 added[MANY_PAGES];
};

static int worker_add(struct worker *worker, unsigned int page, unsigned int nr_pages)
{
	struct kvm_tdx_init_mem_region region = many_region(worker->many, page, nr_pages);
	int r = __vm_tdx_init_mem_region(worker->vcpu, &region, worker->flags) ? -errno : 0;

	memset(worker->added + page, 1, nr_pages - region.nr_pages);
	if (worker->deal == DEAL_ALL_TO_ALL && td_says_mapped(&worker->many->td, r))
		return 0;
	return r;
}

static int worker_fn(void *arg)
{
	struct worker *worker = arg;
	unsigned int n = worker->nr_workers, share = MANY_PAGES / n, page;
	bool all = worker->deal == DEAL_ALL_TO_ALL;
	int r = 0;

	pthread_barrier_wait(worker->barrier);
	if (worker->deal == DEAL_HALVES)
		return worker_add(worker, worker->index * share, share);

	for (page = all ? 0 : worker->index; page < share * n && !r; page += all ? 1 : n)
		r = worker_add(worker, page, 1);
	return r;
}

FIXTURE(several)
{
	struct many many;
};

FIXTURE_VARIANT(several)
{
	enum deal deal;
	u32 flags;
};

#define SEVERAL(_name) FIXTURE_VARIANT_ADD(several, _name)

SEVERAL(ranges) { DEAL_HALVES, 0 };
SEVERAL(ranges_measured) { DEAL_HALVES, KVM_TDX_MEASURE_MEMORY_REGION };
SEVERAL(interleaved) { DEAL_IN_TURN, 0 };
SEVERAL(interleaved_measured) { DEAL_IN_TURN, KVM_TDX_MEASURE_MEMORY_REGION };
SEVERAL(same_pages) { DEAL_ALL_TO_ALL, 0 };

FIXTURE_SETUP(several)
{
	many_create(&self->many);
}

FIXTURE_TEARDOWN(several)
{
	many_destroy(&self->many);
	td_audit(_metadata);
}

/* A TD may have as many vCPUs as CPUs are present, which may be fewer than may be plugged. */
static unsigned int count_workers(struct kvm_vm *vm)
{
	unsigned int limit = vm_check_cap(vm, KVM_CAP_MAX_VCPUS);

	return limit < MAX_VCPUS ? limit : MAX_VCPUS;
}

TD_TEST_F(several, vcpus_add_each_page_once)
{
	unsigned int i, page, n = count_workers(self->many.td.vm);
	struct worker workers[MAX_VCPUS] = {};
	pthread_barrier_t barrier;

	pthread_barrier_init(&barrier, NULL, n);
	for (i = 0; i < n; i++) {
		struct kvm_vcpu *vcpu = i ? vm_tdx_vcpu_add(self->many.td.vm, i) :
					    self->many.td.vcpu;

		workers[i] = (struct worker) {
			.many = &self->many,
			.vcpu = vcpu,
			.barrier = &barrier,
			.deal = variant->deal,
			.index = i,
			.nr_workers = n,
			.flags = variant->flags,
		};
	}
	for (i = 0; i < n; i++)
		tdx_task_start(&workers[i].task, "worker", worker_fn, &workers[i]);
	for (i = 0; i < n; i++) {
		int r = tdx_task_finish(&workers[i].task);

		EXPECT_EQ(0, r)
		{
			TH_LOG("vCPU %u of %u: got %s", i, n, tdx_errno_name(r));
		}
	}

	for (page = 0; page < MANY_PAGES / n * n; page++) {
		unsigned int times = 0;

		for (i = 0; i < n; i++)
			times += workers[i].added[page];
		EXPECT_EQ(1, times)
		{
			TH_LOG("page %u was added %u times", page, times);
		}
	}
	expect_mapped(_metadata, &self->many, MANY_PAGES / n * n);
	expect_finalizes(_metadata, &self->many);
}

/* Each in a TD of its own: what one does is nothing to the other. */
TD_TEST_F(several, tds_at_once_ok)
{
	struct worker workers[2] = {};
	pthread_barrier_t barrier;
	struct many other;
	unsigned int i;

	many_create(&other);
	pthread_barrier_init(&barrier, NULL, ARRAY_SIZE(workers));
	for (i = 0; i < ARRAY_SIZE(workers); i++) {
		struct many *many = i ? &other : &self->many;

		workers[i] = (struct worker) {
			.many = many,
			.vcpu = many->td.vcpu,
			.barrier = &barrier,
			.deal = variant->deal,
			.nr_workers = 1,
			.flags = variant->flags,
		};
		tdx_task_start(&workers[i].task, "worker", worker_fn, &workers[i]);
	}
	for (i = 0; i < ARRAY_SIZE(workers); i++)
		EXPECT_RESULT(0, tdx_task_finish(&workers[i].task));

	/* The newest one is what the emulator is asked about. */
	expect_mapped(_metadata, &other, MANY_PAGES);
	expect_finalizes(_metadata, &other);
	many_destroy(&other);
	expect_mapped(_metadata, &self->many, MANY_PAGES);
	expect_finalizes(_metadata, &self->many);
}

/*
 * Another call at any moment of a populate that is not parked: over and over, from a
 * random page on.
 */
#define ROUNDS 12

struct race {
	struct many many;
	struct kvm_vcpu *second;
	struct td_populate populate;
	unsigned int start; /* the call begins when so many pages are there */
};

static int race_finalize(void *arg)
{
	struct race *race = arg;

	return __vm_tdx_finalize(race->many.td.vm) ? -errno : 0;
}

static int race_create_vcpu(void *arg)
{
	struct race *race = arg;

	race->second = vm_tdx_vcpu_add_uninit(race->many.td.vm, 1);
	return 0;
}

static int race_init_vcpu(void *arg)
{
	struct race *race = arg;

	return __vm_tdx_init_vcpu(race->second) ? -errno : 0;
}

FIXTURE(race)
{
	struct race race;
};

FIXTURE_VARIANT(race)
{
	int (*fn)(void *race);
};

#define MEETS(_name) FIXTURE_VARIANT_ADD(race, _name)

MEETS(finalize) { race_finalize };
MEETS(create_vcpu) { race_create_vcpu };
/* Last: up to 6.18 it costs the VM now and then, see busy_fatal. */
MEETS(init_vcpu) { race_init_vcpu };

FIXTURE_SETUP(race)
{
}

FIXTURE_TEARDOWN(race)
{
	tdx_task_finish(&self->race.populate.task);
	td_audit(_metadata);
}

static int race_populate_fn(void *arg)
{
	struct race *race = arg;
	struct td_populate *populate = &race->populate;
	int r;

	/* Single pages, up to the one at which the other thread is told to start. */
	while (!(r = td_populate_fn(populate)) &&
	       populate->region.gpa < race->many.slot.gpa + MANY_PAGES * (u64)PAGE_SIZE) {
		unsigned int done = (populate->region.gpa - race->many.slot.gpa) / PAGE_SIZE;

		__atomic_store_n(&race->start, done, __ATOMIC_RELEASE);
		populate->region.nr_pages = done % 2 || MANY_PAGES - done < 5 ? 1 : 5;
	}
	__atomic_store_n(&race->start, MANY_PAGES, __ATOMIC_RELEASE);
	return r;
}

static void race_once(struct __test_metadata *_metadata, struct race *race, int (*fn)(void *race),
		      unsigned int from)
{
	struct td_populate *populate = &race->populate;
	int call, result, want = 0;
	unsigned int done;

	many_create(&race->many);
	if (fn == race_init_vcpu)
		race->second = vm_tdx_vcpu_add_uninit(race->many.td.vm, 1);

	race->start = 0;
	populate->vcpu = race->many.td.vcpu;
	populate->argument = &populate->region;
	populate->region = many_region(&race->many, 0, 1);
	populate->flags = KVM_TDX_MEASURE_MEMORY_REGION;
	tdx_task_start(&populate->task, "populate", race_populate_fn, race);
	while (__atomic_load_n(&race->start, __ATOMIC_ACQUIRE) < from)
		sched_yield();
	call = fn(race);
	result = tdx_task_finish(&populate->task);

	EXPECT_EQ(0, call)
	{
		TH_LOG("the call: want success, got %s", tdx_errno_name(call));
	}

	/* An image that is final has no further page; nothing else stops populate. */
	done = (populate->region.gpa - race->many.slot.gpa) / PAGE_SIZE;
	if (fn == race_finalize && done < MANY_PAGES)
		want = -EINVAL;
	EXPECT_EQ(want, result)
	{
		TH_LOG("populate: want %s, got %s after %u pages", tdx_errno_name(want),
		       tdx_errno_name(result), done);
	}
	EXPECT_FALSE(vm_tdx_is_dead(race->many.td.vm));
	if (fn == race_finalize) {
		EXPECT_RESULT(-EINVAL, td_add(&race->many.td, 0, 1));
	} else if (!call && !result) {
		expect_mapped(_metadata, &race->many, MANY_PAGES);
		/* The vCPU is one like any other. */
		if (fn == race_create_vcpu)
			vm_tdx_init_vcpu(race->second);
		td_populate_prepare(populate, &race->many.td, race->many.td.source, 0, 1);
		populate->vcpu = race->second;
		EXPECT_RESULT(0, td_populate_fn(populate));
		expect_finalizes(_metadata, &race->many);
	}
	many_destroy(&race->many);
}

TD_TEST_F(race, with_populate_both_end_well)
{
	u64 random = tdx_host_seed();
	unsigned int round;

	for (round = 0; round < ROUNDS && !_metadata->exit_code; round++)
		race_once(_metadata, &self->race, variant->fn, td_random(&random) % MANY_PAGES);
}

#include "tdx_init_mem_main.h"
