/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * TDs on which the operations of tdx_init_mem_stress.h are carried out, and what
 * the emulated host says of their pages.
 */
#ifndef TDX_INIT_MEM_STRESS_RUN_H
#define TDX_INIT_MEM_STRESS_RUN_H

#include <signal.h>

#include "tdx_init_mem_stress_model.h"

#define STRESS_AWAY_GPA (TD_GPA + 0x10000000)
#define STRESS_SOURCE_SIZE (STRESS_PAGES * (size_t)PAGE_SIZE)
#define STRESS_CPUID_ENTRIES 256

/* The descriptors of the files, to which nothing else is ever opened. */
#define STRESS_FD 500

struct stress_td {
	struct td td;
	struct kvm_vcpu *vcpus[2];
	u64 tdr;
	/* By thread; a page says whose it is, of which TD, and which one. */
	void *sources[STRESS_MAX_THREADS];
};

struct stress_run {
	unsigned int nr_tds;
	struct stress_td tds[STRESS_MAX_TDS];
	const struct tdx_task *tasks[STRESS_MAX_THREADS];
	bool emulated;
	u64 time;
	/* Pages added, and measured, so far, as the ioctls say, and calls of the module before. */
	u64 added, measured;
	u64 page_adds, mr_extends;
};

static inline u64 stress_content(unsigned int td, unsigned int thread, unsigned int page)
{
	return 0x5354520000000000ull | td << 24 | (thread + 1) << 16 | page;
}

static inline void *stress_source(const struct stress_td *td, unsigned int thread,
				  unsigned int page)
{
	return td->sources[thread] + page * (size_t)PAGE_SIZE;
}

static inline void stress_fill(void *mem, unsigned int td, unsigned int thread, unsigned int first,
			       unsigned int nr)
{
	const size_t words = PAGE_SIZE / sizeof(u64);
	u64 *word = mem;
	size_t i;

	for (i = 0; i < nr * words; i++)
		word[i] = stress_content(td, thread, first + i / words);
}

static inline void stress_hide(struct stress_td *td, const struct stress_op *op)
{
	void *mem = stress_source(td, op->whose, op->first);
	size_t size = op->nr * (size_t)PAGE_SIZE;
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;

	/* The range stays reserved, or somebody else's memory would appear there. */
	if (op->flags)
		TEST_ASSERT(mmap(mem, size, PROT_NONE, flags, -1, 0) == mem, "mmap: errno %d",
			    errno);
	else
		TEST_ASSERT(!mprotect(mem, size, PROT_NONE), "mprotect: errno %d", errno);
}

static inline void stress_show(struct stress_td *td, const struct stress_op *op)
{
	void *mem = stress_source(td, op->whose, op->first);
	size_t size = op->nr * (size_t)PAGE_SIZE;
	void *new = td_mmap(size);

	/* All at once, with contents. */
	stress_fill(new, op->td, op->whose, op->first, op->nr);
	TEST_ASSERT(mremap(new, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, mem) == mem,
		    "mremap: errno %d", errno);
}

static inline int stress_replace_file(struct td *td)
{
	int new = vm_create_guest_memfd(td->vm, TD_SIZE, 0);

	TEST_ASSERT(dup2(new, td->gmem) == td->gmem, "dup2: errno %d", errno);
	close(new);
	return 0;
}

static inline void stress_td_create(struct stress_td *td, unsigned int number)
{
	struct tdx_emul_td newest;
	unsigned int i;

	td_create(&td->td);
	TEST_ASSERT(dup2(td->td.gmem, STRESS_FD + number) == STRESS_FD + (int)number,
		    "dup2: errno %d", errno);
	close(td->td.gmem);
	td->td.gmem = STRESS_FD + number;

	td->vcpus[0] = td->td.vcpu;
	td->vcpus[1] = vm_tdx_vcpu_add_uninit(td->td.vm, 1);
	if (!tdx_emul_lacks() && !tdx_emul_newest_td(&newest))
		td->tdr = newest.tdr;

	for (i = 0; i < STRESS_MAX_THREADS; i++) {
		td->sources[i] = td_mmap(STRESS_SOURCE_SIZE);
		stress_fill(td->sources[i], number, i, 0, STRESS_PAGES);
	}
}

static inline void stress_td_destroy(struct stress_td *td)
{
	unsigned int i;

	td_destroy(&td->td);
	for (i = 0; i < STRESS_MAX_THREADS; i++)
		munmap(td->sources[i], STRESS_SOURCE_SIZE);
}

/* Exists to interrupt system calls, which an ignored signal does not. */
static void stress_signal_handler(int __always_unused signo)
{
}

static inline void stress_run_create(struct stress_run *run, unsigned int nr_tds)
{
	const struct sigaction action = { .sa_handler = stress_signal_handler };
	unsigned int i;

	TEST_ASSERT(!sigaction(SIGUSR1, &action, NULL), "sigaction: errno %d", errno);
	*run = (struct stress_run) {
		.nr_tds = nr_tds,
		.emulated = !tdx_emul_lacks(),
	};
	for (i = 0; i < nr_tds; i++)
		stress_td_create(&run->tds[i], i);
	run->page_adds = tdx_emul_count(TDH_MEM_PAGE_ADD, TDX_SUCCESS);
	run->mr_extends = tdx_emul_count(TDH_MR_EXTEND, TDX_SUCCESS);
}

static inline void stress_run_destroy(struct stress_run *run)
{
	unsigned int i;

	for (i = 0; i < run->nr_tds; i++)
		stress_td_destroy(&run->tds[i]);
	run->nr_tds = 0;
}

static inline int stress_do_add(struct stress_td *td, struct stress_event *event)
{
	const struct stress_op *op = &event->op;
	const struct kvm_tdx_init_mem_region before = {
		.source_addr = (uintptr_t)stress_source(td, event->thread, op->first),
		.gpa = td_gpa(op->first),
		.nr_pages = op->nr,
	};
	struct kvm_tdx_init_mem_region region = before;
	int r;

	r = __vm_tdx_init_mem_region(td->vcpus[op->vcpu], &region,
				     op->flags ? KVM_TDX_MEASURE_MEMORY_REGION : 0) ?
		    errno :
		    0;

	event->done = before.nr_pages - region.nr_pages;
	if (event->done > op->nr)
		event->wrong = "more pages are left than there were";
	else if (region.gpa - before.gpa != event->done * (u64)PAGE_SIZE ||
		 region.source_addr - before.source_addr != event->done * (u64)PAGE_SIZE)
		event->wrong = "source_addr, gpa and nr_pages disagree on the progress";
	else if (!r != !region.nr_pages)
		event->wrong = r ? "an error, but no page is left" : "success, but pages are left";
	return r;
}

static inline int stress_do_fallocate(struct td *td, const struct stress_op *op, int mode)
{
	return fallocate(td->gmem, FALLOC_FL_KEEP_SIZE | mode, op->first * (u64)PAGE_SIZE,
			 op->nr * (u64)PAGE_SIZE);
}

static inline int stress_do_attributes(struct td *td, const struct stress_op *op, u64 attributes)
{
	struct kvm_memory_attributes args = {
		.attributes = attributes,
		.address = td_gpa(op->first),
		.size = op->nr * (u64)PAGE_SIZE,
	};

	return __vm_ioctl(td->vm, KVM_SET_MEMORY_ATTRIBUTES, &args);
}

static inline int stress_do_slot(struct td *td, u32 flags, u64 gpa, u64 size)
{
	return __vm_set_user_memory_region2(td->vm, TD_SLOT, flags, gpa, size,
					    size ? td->shared : NULL, size ? td->gmem : 0, 0);
}

static inline int stress_do_touch(struct td *td, const struct stress_op *op)
{
	void *mem = td->shared + op->first * (size_t)PAGE_SIZE;
	unsigned int i;
	int r;

	r = madvise(mem, op->nr * (size_t)PAGE_SIZE, MADV_DONTNEED);
	for (i = 0; i < op->nr; i++)
		WRITE_ONCE(*(u8 *)(mem + i * (size_t)PAGE_SIZE), 1);

	return r;
}

static inline int stress_do_read_cpuid(struct kvm_vcpu *vcpu)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[STRESS_CPUID_ENTRIES];
	} cpuid = { .head.nent = STRESS_CPUID_ENTRIES };

	return __vm_tdx_vcpu_ioctl(vcpu, KVM_TDX_GET_CPUID, 0, &cpuid);
}

static inline int stress_do_pre_fault(struct td *td, const struct stress_op *op)
{
	struct kvm_pre_fault_memory range = {
		.gpa = td_gpa(op->first),
		.size = op->nr * (u64)PAGE_SIZE,
	};

	return __vcpu_ioctl(td->vcpu, KVM_PRE_FAULT_MEMORY, &range);
}

/* -1 with errno set, or something else for success; but an errno for STRESS_ADD. */
static inline int stress_do(struct stress_run *run, struct stress_event *event)
{
	const struct stress_op *op = &event->op;
	struct stress_td *std = &run->tds[op->td];
	struct td *td = &std->td;

	switch (op->kind) {
	case STRESS_ADD:
		return stress_do_add(std, event);
	case STRESS_PUNCH:
		return stress_do_fallocate(td, op, FALLOC_FL_PUNCH_HOLE);
	case STRESS_ALLOCATE:
		return stress_do_fallocate(td, op, 0);
	case STRESS_SHARE:
		return stress_do_attributes(td, op, 0);
	case STRESS_UNSHARE:
		return stress_do_attributes(td, op, KVM_MEMORY_ATTRIBUTE_PRIVATE);
	case STRESS_DELETE_SLOT:
		return stress_do_slot(td, 0, TD_GPA, 0);
	case STRESS_SET_SLOT:
		return stress_do_slot(td, KVM_MEM_GUEST_MEMFD, TD_GPA, TD_SIZE);
	case STRESS_MOVE_SLOT:
		return stress_do_slot(td, KVM_MEM_GUEST_MEMFD, STRESS_AWAY_GPA, TD_SIZE);
	case STRESS_LOG_DIRTY:
		return stress_do_slot(td, KVM_MEM_GUEST_MEMFD | KVM_MEM_LOG_DIRTY_PAGES, TD_GPA,
				      TD_SIZE);
	case STRESS_CLOSE_FILE:
		return close(td->gmem);
	case STRESS_OPEN_FILE:
		if (fcntl(td->gmem, F_GETFD) >= 0)
			return 0;
		return stress_replace_file(td);
	case STRESS_REPLACE_FILE:
		return stress_replace_file(td);
	case STRESS_HIDE_SOURCE:
		stress_hide(std, op);
		return 0;
	case STRESS_SHOW_SOURCE:
		stress_show(std, op);
		return 0;
	case STRESS_TOUCH_SHARED:
		return stress_do_touch(td, op);
	case STRESS_READ_CPUID:
		return stress_do_read_cpuid(std->vcpus[op->vcpu]);
	case STRESS_INIT_VCPU:
		return __vm_tdx_init_vcpu(std->vcpus[1]);
	case STRESS_PRE_FAULT:
		return stress_do_pre_fault(td, op);
	case STRESS_FINALIZE:
		return __vm_tdx_finalize(td->vm);
	case STRESS_SIGNAL:
		if (run->tasks[op->whose])
			pthread_kill(run->tasks[op->whose]->thread, SIGUSR1);
		return 0;
	default:
		TEST_FAIL("Operation %u", op->kind);
		return -1;
	}
}

static inline void stress_carry_out(struct stress_run *run, const struct stress_op *op,
				    unsigned int thread, struct stress_event *event)
{
	int r;

	*event = (struct stress_event) { .op = *op, .thread = thread };
	event->start = __atomic_fetch_add(&run->time, 1, __ATOMIC_SEQ_CST);
	r = stress_do(run, event);
	event->err = op->kind == STRESS_ADD || r != -1 ? max(r, 0) : errno;
	event->end = __atomic_fetch_add(&run->time, 1, __ATOMIC_SEQ_CST);

	if (op->kind == STRESS_ADD) {
		__atomic_fetch_add(&run->added, event->done, __ATOMIC_RELAXED);
		__atomic_fetch_add(&run->measured, op->flags ? event->done : 0, __ATOMIC_RELAXED);
	}
}

/* What a page is; none of them for contents that nobody handed in for it. */
#define STRESS_EMPTY 0
#define STRESS_STRANGE (1 + STRESS_MAX_THREADS)

/* Whose source the page is mapped with, from 1; one of the above else. */
static inline unsigned int stress_look(const struct stress_run *run, unsigned int td,
				       unsigned int page)
{
	u64 first[TDX_EMUL_READ_SIZE / sizeof(u64)], last[TDX_EMUL_READ_SIZE / sizeof(u64)];
	struct tdx_emul_sept sept;
	unsigned int thread, i;
	u64 tdr = run->tds[td].tdr;

	if (tdx_emul_sept(tdr, td_gpa(page), 0, &sept))
		return STRESS_STRANGE;
	if (sept.state == TDX_SEPT_FREE)
		return STRESS_EMPTY;
	if (sept.level || sept.state != TDX_SEPT_MAPPED ||
	    tdx_emul_read(tdr, td_gpa(page), first) ||
	    tdx_emul_read(tdr, td_gpa(page) + PAGE_SIZE - sizeof(last), last))
		return STRESS_STRANGE;

	thread = (first[0] >> 16 & 0xff) - 1;
	for (i = 0; i < ARRAY_SIZE(first); i++) {
		if (thread >= STRESS_MAX_THREADS || first[i] != stress_content(td, thread, page) ||
		    last[i] != first[i])
			return STRESS_STRANGE;
	}

	return 1 + thread;
}

static inline const char *stress_owner_name(unsigned int owner)
{
	static const char *const names[] = {
		[STRESS_EMPTY] = "empty",
		"mapped from thread 0",
		"mapped from thread 1",
		"mapped from thread 2",
		[STRESS_STRANGE] = "neither empty nor mapped with what was handed in for it",
	};

	return names[owner];
}

/* Brings the TD from any state, but that of being finalized, to its end. */
static const struct stress_op stress_epilogue[] = {
	{ .kind = STRESS_ADD, .nr = 1 },
	{ .kind = STRESS_INIT_VCPU },
	{ .kind = STRESS_SHOW_SOURCE, .nr = STRESS_PAGES },
	{ .kind = STRESS_DELETE_SLOT },
	{ .kind = STRESS_OPEN_FILE },
	{ .kind = STRESS_SET_SLOT },
	{ .kind = STRESS_UNSHARE, .nr = TD_NR_PAGES },
	{ .kind = STRESS_PUNCH, .nr = TD_NR_PAGES },
	{ .kind = STRESS_ADD, .nr = TD_NR_PAGES, .flags = 1 },
	{ .kind = STRESS_PUNCH, .first = 5, .nr = 3 },
	{ .kind = STRESS_ADD, .vcpu = 1, .first = 4, .nr = 2 },
	{ .kind = STRESS_ADD, .vcpu = 1, .first = 5, .nr = 4 },
	{ .kind = STRESS_FINALIZE },
	{ .kind = STRESS_ADD, .first = 3, .nr = 1 },
	{ .kind = STRESS_PUNCH, .first = 2, .nr = 3 },
	{ .kind = STRESS_READ_CPUID },
	{ .kind = STRESS_INIT_VCPU },
	{ .kind = STRESS_FINALIZE },
};

#endif /* TDX_INIT_MEM_STRESS_RUN_H */
