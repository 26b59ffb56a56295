/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the TDX init-mem tests have in common: one TD with one vCPU and one
 * guest_memfd slot, operations on it as tasks, and the question which of its
 * pages are mapped.
 */
#ifndef TDX_INIT_MEM_H
#define TDX_INIT_MEM_H

#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "kvm_util.h"
/* Up to 6.17 the harness has one of its own, which serves overflow.h as well. */
#pragma push_macro("is_signed_type")
#undef is_signed_type
#include "kvm_test_harness.h"
#ifndef is_signed_type
#pragma pop_macro("is_signed_type")
#endif
#include "processor.h"
#include "tdx/tdx_audit.h"
#include "tdx/tdx_emul.h"
#include "tdx/tdx_errno.h"
#include "tdx/tdx_host.h"
#include "tdx/tdx_park.h"
#include "tdx/tdx_task.h"
#include "tdx/tdx_util.h"

/* Above the local APIC and every other hole below 4 GiB. */
#define TD_GPA BIT_ULL(32)
#define TD_SLOT 10
#define TD_NR_PAGES 16
#define TD_SIZE (TD_NR_PAGES * (u64)PAGE_SIZE)

/* New in 6.18; older kernels refuse them. */
#ifndef GUEST_MEMFD_FLAG_MMAP
#define GUEST_MEMFD_FLAG_MMAP BIT_ULL(0)
#define GUEST_MEMFD_FLAG_INIT_SHARED BIT_ULL(1)
#endif

/* Seconds for one case: far above any sane run, below the runner's limit. */
#define TD_CASE_TIMEOUT 60

#define TD_TEST_F(fixture, name) TEST_F_TIMEOUT(fixture, name, TD_CASE_TIMEOUT)

/* Expect -1 with one errno from an ioctl or another system call, or success if that is 0. */
/* clang-format off */
#define EXPECT_ERRNO(_err, _call)						\
	do {									\
		int __want = (_err), __r = (_call), __e = __r < 0 ? errno : 0;	\
										\
		EXPECT_TRUE(__r == (__want ? -1 : 0) && __e == __want) {	\
			TH_LOG("%s", #_call);					\
			TH_LOG("  want %s, got %s (%d)", tdx_errno_name(__want), \
			       tdx_errno_name(__e), __r);			\
		}								\
	} while (0)

/* The same of what returns 0 or a negative errno. */
#define EXPECT_RESULT(_want, _call)						\
	do {									\
		int __want = (_want), __r = (_call);				\
										\
		EXPECT_EQ(__want, __r) {					\
			TH_LOG("%s", #_call);					\
			TH_LOG("  want %s, got %s", tdx_errno_name(-__want),	\
			       tdx_errno_name(-__r));				\
		}								\
	} while (0)
/* clang-format on */

struct td {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	int gmem;
	void *source; /* content for every page, and as much again past the slot */
	void *shared; /* TD_SIZE bytes behind the shared half of the slot */
};

static inline u64 td_gpa(unsigned int page)
{
	return TD_GPA + page * (u64)PAGE_SIZE;
}

static inline void *td_source(const struct td *td, unsigned int page)
{
	return td->source + page * (u64)PAGE_SIZE;
}

/* xorshift64: repeatable from tdx_host_seed(). */
static inline u64 td_random(u64 *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static inline void *td_mmap(size_t size)
{
	return tdx_mmap(size, MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

static inline int td_set_slot(struct td *td)
{
	return __vm_set_user_memory_region2(td->vm, TD_SLOT, KVM_MEM_GUEST_MEMFD, TD_GPA, TD_SIZE,
					    td->shared, td->gmem, 0);
}

static inline int td_delete_slot(struct td *td)
{
	return __vm_set_user_memory_region2(td->vm, TD_SLOT, 0, TD_GPA, 0, NULL, 0, 0);
}

/* All but the VM and its vCPU. */
static inline void td_create_memory(struct td *td)
{
	unsigned int i;

	td->shared = td_mmap(TD_SIZE);
	td->source = td_mmap(2 * TD_SIZE);
	for (i = 0; i < 2 * TD_NR_PAGES; i++)
		memset(td_source(td, i), 0x10 + i, PAGE_SIZE);

	td->gmem = vm_create_guest_memfd(td->vm, TD_SIZE, 0);
	TEST_ASSERT(!td_set_slot(td), "KVM_SET_USER_MEMORY_REGION2 failed, errno %d", errno);
	vm_mem_set_private(td->vm, TD_GPA, TD_SIZE);
}

static inline void td_create(struct td *td)
{
	td->vm = vm_tdx_create();
	td_create_memory(td);
	td->vcpu = vm_tdx_vcpu_add(td->vm, 0);
}

static inline void td_close_gmem(struct td *td)
{
	if (td->gmem >= 0)
		close(td->gmem);
	td->gmem = -1;
}

static inline void td_destroy(struct td *td)
{
	td_close_gmem(td);
	kvm_vm_free(td->vm);
	munmap(td->source, 2 * TD_SIZE);
	munmap(td->shared, TD_SIZE);
}

/* The argument by which @nr_pages from @page on are populated. */
static inline struct kvm_tdx_init_mem_region td_region(const struct td *td, unsigned int page,
						       unsigned int nr_pages)
{
	return (struct kvm_tdx_init_mem_region) {
		.source_addr = (uintptr_t)td_source(td, page),
		.gpa = td_gpa(page),
		.nr_pages = nr_pages,
	};
}

/* Adds pages without measuring them; 0 or a negative errno. */
static inline int td_add(struct td *td, unsigned int page, unsigned int nr_pages)
{
	struct kvm_tdx_init_mem_region region = td_region(td, page, nr_pages);

	return __vm_tdx_init_mem_region(td->vcpu, &region, 0) ? -errno : 0;
}

static inline int td_punch(struct td *td, unsigned int page, unsigned int nr_pages)
{
	int r = fallocate(td->gmem, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE,
			  page * (u64)PAGE_SIZE, nr_pages * (u64)PAGE_SIZE);

	return r ? -errno : 0;
}

/* What KVM says to a page that is there already; a dead VM says -EIO to all. */
static inline bool td_says_mapped(struct td *td, int r)
{
	static const struct tdx_errno errs[TDX_ERRNO_MAX] = {
		TDX_ERRNO(EEXIST),
		TDX_ERRNO_SINCE(7, 0, EIO),
	};

	return tdx_errno_allows(errs, -r) && !vm_tdx_is_dead(td->vm);
}

enum td_page {
	TD_PAGE_WAS_EMPTY,
	TD_PAGE_WAS_MAPPED,
	TD_PAGE_BROKEN
};

/* Tells by adding the page whether it was mapped; it is mapped afterwards. */
static inline enum td_page td_probe(struct td *td, unsigned int page)
{
	int r = td_add(td, page, 1);

	if (!r)
		return TD_PAGE_WAS_EMPTY;

	return td_says_mapped(td, r) ? TD_PAGE_WAS_MAPPED : TD_PAGE_BROKEN;
}

static inline const char *td_page_name(enum td_page page)
{
	static const char *const names[] = {
		[TD_PAGE_WAS_EMPTY] = "empty",
		[TD_PAGE_WAS_MAPPED] = "mapped",
		[TD_PAGE_BROKEN] = "broken",
	};

	return names[page];
}

/* All pages can be had: what is missing is added, then the TD is finalized. */
static inline void td_complete(struct __test_metadata *_metadata, struct td *td)
{
	unsigned int page;
	int r;

	for (page = 0; page < TD_NR_PAGES; page++) {
		EXPECT_NE(TD_PAGE_BROKEN, td_probe(td, page))
		{
			TH_LOG("page %u can neither be added nor is it mapped: %s%s", page,
			       tdx_errno_name(errno), vm_tdx_is_dead(td->vm) ? ", VM is dead" : "");
		}
	}

	r = __vm_tdx_finalize(td->vm);
	EXPECT_EQ(0, r)
	{
		TH_LOG("FINALIZE_VM: want success, got %s%s", tdx_errno_name(errno),
		       vm_tdx_is_dead(td->vm) ? ", VM is dead" : "");
	}
}

/* A further slot: private memory of its own at any place, to be freed after the TD. */
struct td_slot {
	u64 gpa;
	size_t size;
	int gmem;
	void *shared;
};

static inline void td_slot_create(struct td_slot *slot, struct td *td, u32 id, u64 gpa,
				  unsigned int nr_pages)
{
	slot->gpa = gpa;
	slot->size = nr_pages * (size_t)PAGE_SIZE;
	slot->shared = td_mmap(slot->size);
	slot->gmem = vm_create_guest_memfd(td->vm, slot->size, 0);
	vm_set_user_memory_region2(td->vm, id, KVM_MEM_GUEST_MEMFD, gpa, slot->size, slot->shared,
				   slot->gmem, 0);
	vm_mem_set_private(td->vm, gpa, slot->size);
}

static inline int td_slot_punch(const struct td_slot *slot, unsigned int page,
				unsigned int nr_pages)
{
	return fallocate(slot->gmem, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE,
			 page * (u64)PAGE_SIZE, nr_pages * (u64)PAGE_SIZE);
}

/* Adds a page without measuring it; 0 or a negative errno. */
static inline int td_slot_add(const struct td *td, const struct td_slot *slot, unsigned int page)
{
	struct kvm_tdx_init_mem_region region = {
		.source_addr = (uintptr_t)td->source,
		.gpa = slot->gpa + page * (u64)PAGE_SIZE,
		.nr_pages = 1,
	};

	return __vm_tdx_init_mem_region(td->vcpu, &region, 0) ? -errno : 0;
}

static inline void td_slot_free(struct td_slot *slot)
{
	close(slot->gmem);
	munmap(slot->shared, slot->size);
}

static inline void td_audit_expect(struct __test_metadata *_metadata,
				   const struct tdx_audit_report *report)
{
	if (tdx_audit_is_clean(report))
		return;

	if (report->findings)
		TH_LOG("the kernel complained %u times, first: %s", report->findings,
		       report->first);
	if (!report->debug_locks)
		TH_LOG("lockdep gave up: debug_locks is 0");
	EXPECT_TRUE(tdx_audit_is_clean(report));
}

/*
 * On the emulated host every TD, KeyID and page is back, and no sanitizer spoke.
 * No block behind EXPECT: in a teardown after a failed ASSERT the harness runs it
 * whatever is expected.
 */
static inline void td_audit_host(struct __test_metadata *_metadata)
{
	char excess[128];
	bool clean = tdx_emul_is_clean(excess, sizeof(excess));

	if (!clean)
		TH_LOG("the emulated TDX host has %s than at the start", excess);
	EXPECT_TRUE(clean);
}

/* The common audit, for every teardown, once all TDs are destroyed. */
static inline void td_audit(struct __test_metadata *_metadata)
{
	struct tdx_audit_report report;

	tdx_audit_scan(&report);
	td_audit_expect(_metadata, &report);
	td_audit_host(_metadata);
}

/* KVM_TDX_INIT_MEM_REGION as a task. */
struct td_populate {
	struct tdx_task task;
	struct kvm_vcpu *vcpu;
	struct kvm_tdx_init_mem_region region;
	struct kvm_tdx_init_mem_region *argument; /* @region, or elsewhere */
	u32 flags;
};

static inline int td_populate_fn(void *arg)
{
	struct td_populate *populate = arg;

	return __vm_tdx_init_mem_region(populate->vcpu, populate->argument, populate->flags) ?
		       -errno :
		       0;
}

static inline void td_populate_prepare(struct td_populate *populate, struct td *td,
				       const void *source, unsigned int page, unsigned int nr_pages)
{
	populate->vcpu = td->vcpu;
	populate->argument = &populate->region;
	populate->region = (struct kvm_tdx_init_mem_region) {
		.source_addr = (uintptr_t)source,
		.gpa = td_gpa(page),
		.nr_pages = nr_pages,
	};
}

static inline void td_populate_start(struct td_populate *populate, struct td *td,
				     const void *source, unsigned int page, unsigned int nr_pages)
{
	td_populate_prepare(populate, td, source, page, nr_pages);
	tdx_task_start(&populate->task, "populate", td_populate_fn, populate);
}

/* Asleep for so many periods of tdx_task_settle() is more than slow. */
#define TD_BLOCKED_PERIODS 10

/* tdx_task_settle() where to wait for a grace period is no reason to be called blocked. */
static inline enum tdx_task_state td_settle_parked(struct tdx_task *task)
{
	enum tdx_task_state state = TDX_TASK_BLOCKED;
	unsigned int i;

	for (i = 0; i < TD_BLOCKED_PERIODS && state == TDX_TASK_BLOCKED; i++)
		state = tdx_task_settle(task);

	return state;
}

/* Says in the log where a task stands while populate is parked. */
static inline void td_report_settled(const struct tdx_task *task, enum tdx_task_state state)
{
	char wchan[64];

	if (state == TDX_TASK_DONE)
		printf("# while parked: %s completed\n", task->name);
	else
		printf("# while parked: %s is %s in %s\n", task->name,
		       state == TDX_TASK_BLOCKED ? "blocked" : "busy",
		       tdx_task_wchan(task, wchan, sizeof(wchan)));
}

static inline u64 td_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

/*
 * A number that "tdx-init-mem compare" collects, in thousandths of @unit.  Lines
 * with one name are several samples of it.
 */
static inline void td_metric(const char *area, const char *what, const char *number, u64 milli,
			     const char *unit)
{
	printf("# metric: %s.%s.%s %lu.%03lu %s\n", area, what, number, milli / 1000, milli % 1000,
	       unit);
}

/* The same where there is no number, as the operation does not end while it should. */
static inline void td_metric_blocked(const char *area, const char *what, const char *number,
				     const struct tdx_task *task)
{
	char wchan[64];

	printf("# metric: %s.%s.%s blocked in %s\n", area, what, number,
	       tdx_task_wchan(task, wchan, sizeof(wchan)));
}

#endif /* TDX_INIT_MEM_H */
