// SPDX-License-Identifier: GPL-2.0-only
/*
 * What user space may ask for by mistake, or by malice: KVM must say no, or cope.
 * It may not warn (a host with panic_on_warn is gone), give up on the VM, lose
 * count, or leave the guest what is no longer the guest's.
 *
 *	scripts/tdx-init-mem run --kernel v7.3 --test misuse
 *
 * The warnings of KVM are once per boot and place.
 */
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>

#include "tdx_init_mem.h"

#define MISUSE_SLOT (TD_SLOT + 1)
#define MISUSE_PAGES 8

/* Guest physical addresses that a host of 52 bits has, and this TD has not. */
#define BEYOND_GPAW (2 * VM_TDX_SHARED_BIT)

FIXTURE(misuse)
{
	struct td td;
	struct td_slot slot;
	long mapped; /* pages, before the operation in question */
};

FIXTURE_SETUP(misuse)
{
	td_create(&self->td);
	self->slot.gmem = -1;
}

FIXTURE_TEARDOWN(misuse)
{
	if (self->slot.gmem >= 0)
		close(self->slot.gmem);
	td_destroy(&self->td);
	td_audit(_metadata);
}

static void expect_alive(struct __test_metadata *_metadata, struct td *td)
{
	EXPECT_FALSE(vm_tdx_is_dead(td->vm))
	{
		TH_LOG("KVM gave up on the VM");
	}
}

static int misuse_prefault(struct kvm_vcpu *vcpu, u64 gpa, unsigned int nr_pages)
{
	struct kvm_pre_fault_memory range = { .gpa = gpa, .size = nr_pages * PAGE_SIZE };

	return __vcpu_ioctl(vcpu, KVM_PRE_FAULT_MEMORY, &range) ? -errno : 0;
}

/*
 * Nothing but private memory comes out of a guest_memfd of a TD, unless user space
 * may map it: then KVM takes it for the shared half of the GPA space as well, while
 * a hole, and the end of the file, unmap the private half only.  The page is free
 * then, and the guest reads and writes what is next in it.
 */
static bool shared_map(struct __test_metadata *_metadata, FIXTURE_DATA(misuse) * self)
{
	struct td_slot *slot = &self->slot;
	struct td *td = &self->td;
	int r;

	slot->gpa = td_gpa(TD_NR_PAGES);
	slot->size = MISUSE_PAGES * PAGE_SIZE;
	slot->gmem = __vm_create_guest_memfd(td->vm, slot->size, GUEST_MEMFD_FLAG_MMAP);
	if (slot->gmem < 0)
		SKIP(return false, "no guest_memfd of a TD can be mapped");

	/* Shared is what memory is by default. */
	vm_set_user_memory_region2(td->vm, MISUSE_SLOT, KVM_MEM_GUEST_MEMFD, slot->gpa, slot->size,
				   td->shared, slot->gmem, 0);
	td_complete(_metadata, td);

	self->mapped = vm_get_stat(td->vm, pages_4k);
	r = misuse_prefault(td->vcpu, slot->gpa, MISUSE_PAGES);
	printf("# pre-fault of the shared half: %s, %ld pages mapped\n", tdx_errno_name(r),
	       (long)vm_get_stat(td->vm, pages_4k) - self->mapped);
	return true;
}

static void expect_unmapped(struct __test_metadata *_metadata, FIXTURE_DATA(misuse) * self)
{
	long mapped = vm_get_stat(self->td.vm, pages_4k);

	EXPECT_EQ(self->mapped, mapped)
	{
		TH_LOG("%ld pages are free, and still mapped in the guest's shared half",
		       mapped - self->mapped);
	}
	expect_alive(_metadata, &self->td);
}

TD_TEST_F(misuse, hole_unmaps_shared_half)
{
	if (!shared_map(_metadata, self))
		return;

	EXPECT_ERRNO(0, td_slot_punch(&self->slot, 0, MISUSE_PAGES));
	expect_unmapped(_metadata, self);
}

TD_TEST_F(misuse, closing_gmem_unmaps_shared_half)
{
	if (!shared_map(_metadata, self))
		return;

	close(self->slot.gmem);
	self->slot.gmem = -1;
	expect_unmapped(_metadata, self);
}

/* A vCPU that the module does not know yet has no VMCS to be told about page tables. */
TD_TEST_F(misuse, prefault_by_vcpu_not_initialized_is_survived)
{
	struct kvm_vcpu *vcpu = vm_tdx_vcpu_add_uninit(self->td.vm, 1);
	int r;

	td_complete(_metadata, &self->td);
	r = misuse_prefault(vcpu, td_gpa(0), 1);
	EXPECT_NE(0, r);
	printf("# pre-fault: %s\n", tdx_errno_name(r));
	expect_alive(_metadata, &self->td);
	EXPECT_EQ(0, misuse_prefault(self->td.vcpu, td_gpa(0), 1));
}

/* The module wants a vCPU before that. */
TD_TEST_F(misuse, finalize_without_vcpu_fails)
{
	struct td td = { .vm = vm_tdx_create() };

	EXPECT_EQ(-1, __vm_tdx_finalize(td.vm));
	printf("# FINALIZE_VM: %s\n", tdx_errno_name(errno));
	expect_alive(_metadata, &td);
	kvm_vm_free(td.vm);
}

/*
 * What the module would let the host choose, and KVM does not: TSX and UMWAIT have state that
 * KVM does not switch for a TD.
 */
#define CPUID_7_EBX_TSX (BIT(4) | BIT(11)) /* HLE and RTM, of which no module takes one */
#define CPUID_7_ECX_WAITPKG BIT(5)

static struct kvm_cpuid_entry2 *find_cpuid_7(struct kvm_tdx_init_vm *init)
{
	u32 i;

	for (i = 0; i < init->cpuid.nent; i++) {
		struct kvm_cpuid_entry2 *entry = &init->cpuid.entries[i];

		if (entry->function == 7 && !entry->index)
			return entry;
	}
	return NULL;
}

/*
 * The same, as an entry that serves any index, and has another one, which KVM looks at
 * when it has found it.  It is the last, and the other indices have entries before it.
 */
static struct kvm_cpuid_entry2 *disguise(struct kvm_vm *vm, struct kvm_tdx_init_vm *init,
					 struct kvm_cpuid_entry2 *entry)
{
	struct kvm_tdx_capabilities *caps = vm_tdx_get_capabilities(vm);
	struct kvm_cpuid2 *cpuid = &init->cpuid;
	struct kvm_cpuid_entry2 disguised = *entry;
	u32 i, nent = 0;

	for (i = 0; i < cpuid->nent; i++) {
		if (cpuid->entries[i].function != 7)
			cpuid->entries[nent++] = cpuid->entries[i];
	}
	for (i = 0; i < caps->cpuid.nent; i++) {
		if (caps->cpuid.entries[i].function != 7 || !caps->cpuid.entries[i].index)
			continue;
		cpuid->entries[nent++] = (struct kvm_cpuid_entry2) {
			.function = 7,
			.index = caps->cpuid.entries[i].index,
			.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
		};
	}
	free(caps);

	disguised.flags &= ~KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
	disguised.index = 1;
	cpuid->entries[nent] = disguised;
	cpuid->nent = nent + 1;
	return &cpuid->entries[nent];
}

static int init_vm(struct kvm_vm *vm, struct kvm_tdx_cmd *cmd)
{
	return ioctl(vm->fd, KVM_MEMORY_ENCRYPT_OP, cmd);
}

static void expect_cpuid_refused(struct __test_metadata *_metadata, u32 ebx, u32 ecx,
				 bool disguised)
{
	struct kvm_vm *vm = vm_tdx_create_uninit();
	struct kvm_tdx_init_vm *init = vm_tdx_init_vm_arg(vm);
	struct kvm_cpuid_entry2 *entry = find_cpuid_7(init);
	struct kvm_tdx_cmd cmd = { .id = KVM_TDX_INIT_VM, .data = (uintptr_t)init };
	struct td td = { .vm = vm };

	if (entry) {
		if (disguised)
			entry = disguise(vm, init, entry);
		entry->ebx |= ebx;
		entry->ecx |= ecx;
		EXPECT_ERRNO(EINVAL, init_vm(vm, &cmd));
		EXPECT_EQ(0, cmd.hw_error)
		{
			TH_LOG("KVM asked the TDX module, which said 0x%llx", cmd.hw_error);
		}
	} else {
		printf("# the module does not let the host choose any of CPUID 7\n");
	}
	expect_alive(_metadata, &td);
	free(init);
	kvm_vm_free(vm);

	/* Nothing of it is left. */
	kvm_vm_free(vm_tdx_create());
}

TD_TEST_F(misuse, init_vm_with_tsx_fails)
{
	expect_cpuid_refused(_metadata, CPUID_7_EBX_TSX, 0, false);
}

TD_TEST_F(misuse, init_vm_with_umwait_fails)
{
	expect_cpuid_refused(_metadata, 0, CPUID_7_ECX_WAITPKG, false);
}

TD_TEST_F(misuse, init_vm_with_tsx_disguised_fails)
{
	expect_cpuid_refused(_metadata, CPUID_7_EBX_TSX, 0, true);
}

TD_TEST_F(misuse, init_vm_with_umwait_disguised_fails)
{
	expect_cpuid_refused(_metadata, 0, CPUID_7_ECX_WAITPKG, true);
}

/*
 * TD_PARAMS has 16 bits for the frequency, in units of 25 MHz.  What is left of more than
 * that is a frequency like any other, and not the one that was asked for.
 */
#define TSC_UNIT_KHZ 25000ul
#define TOO_FAST_KHZ ((UINT16_MAX + 1 + 40) * TSC_UNIT_KHZ)

TD_TEST_F(misuse, init_vm_with_frequency_beyond_16_bits_fails)
{
	struct kvm_vm *vm = vm_tdx_create_uninit();
	struct td td = { .vm = vm };

	if (__vm_ioctl(vm, KVM_SET_TSC_KHZ, (void *)TOO_FAST_KHZ)) {
		/* As well. */
		EXPECT_EQ(EINVAL, errno);
	} else {
		EXPECT_ERRNO(EINVAL, __vm_tdx_init_vm(vm));
		expect_alive(_metadata, &td);
	}
	kvm_vm_free(vm);
}

/*
 * The module is the one to refuse a frequency, in its last step of making a TD.  What
 * was made is undone, and the next attempt is as good as the first.
 */
#define TOO_SLOW_KHZ 50000

TD_TEST_F(misuse, init_vm_refused_by_module_can_be_repeated)
{
	struct kvm_vm *vm = vm_tdx_create_uninit();
	int khz = __vm_ioctl(vm, KVM_GET_TSC_KHZ, NULL);
	struct td td = { .vm = vm, .source = self->td.source };
	struct td_slot slot;
	unsigned int i;

	for (i = 0; i < 3; i++) {
		EXPECT_ERRNO(0, __vm_ioctl(vm, KVM_SET_TSC_KHZ, (void *)(long)TOO_SLOW_KHZ));
		EXPECT_ERRNO(EINVAL, __vm_tdx_init_vm(vm));
		expect_alive(_metadata, &td);
	}
	EXPECT_LT(0, khz);
	EXPECT_ERRNO(0, __vm_ioctl(vm, KVM_SET_TSC_KHZ, (void *)(long)khz));
	ASSERT_EQ(0, __vm_tdx_init_vm(vm));

	td.vcpu = vm_tdx_vcpu_add(vm, 0);
	td_slot_create(&slot, &td, TD_SLOT, TD_GPA, 1);
	EXPECT_RESULT(0, td_add(&td, 0, 1));
	EXPECT_ERRNO(0, __vm_tdx_finalize(vm));
	td_slot_free(&slot);
	kvm_vm_free(vm);
}

/* KVM takes a slot for as long as the host has such addresses; the TD has not. */
TD_TEST_F(misuse, add_beyond_gpa_width_fails)
{
	struct kvm_tdx_init_mem_region region = td_region(&self->td, 0, 1);
	struct td *td = &self->td;
	int r;

	self->slot.size = MISUSE_PAGES * PAGE_SIZE;
	self->slot.gmem = vm_create_guest_memfd(td->vm, self->slot.size, 0);
	r = __vm_set_user_memory_region2(td->vm, MISUSE_SLOT, KVM_MEM_GUEST_MEMFD, BEYOND_GPAW,
					 self->slot.size, td->shared, self->slot.gmem, 0);
	if (r) {
		/* As well. */
		EXPECT_EQ(EINVAL, errno);
		return;
	}

	vm_mem_set_private(td->vm, BEYOND_GPAW, self->slot.size);
	region.gpa = BEYOND_GPAW;
	EXPECT_EQ(-1, __vm_tdx_init_mem_region(td->vcpu, &region, 0));
	printf("# INIT_MEM_REGION: %s\n", tdx_errno_name(errno));
	EXPECT_EQ(1, region.nr_pages);
	expect_alive(_metadata, td);
}

/*
 * Neither are there mappings in such a slot, when it goes, nor can any be made: whoever
 * tries gets an error and not stuck.
 */
#define STUCK_S 1

static void alarm_handler(int __always_unused signo)
{
}

static void expect_prefault_ends(struct __test_metadata *_metadata, struct kvm_vcpu *vcpu, u64 gpa)
{
	struct sigaction action = { .sa_handler = alarm_handler };
	int r;

	ASSERT_EQ(0, sigaction(SIGALRM, &action, NULL));
	alarm(STUCK_S);
	r = misuse_prefault(vcpu, gpa, 1);
	alarm(0);
	EXPECT_NE(-EINTR, r)
	{
		TH_LOG("KVM_PRE_FAULT_MEMORY goes on until a signal comes");
	}
	EXPECT_NE(0, r);
}

TD_TEST_F(misuse, slot_beyond_gpa_width_comes_and_goes)
{
	struct td *td = &self->td;
	int r;

	/* Page tables that a deletion has to look at. */
	td_complete(_metadata, td);
	r = __vm_set_user_memory_region2(td->vm, MISUSE_SLOT, 0, BEYOND_GPAW, TD_SIZE, td->shared,
					 0, 0);
	if (r) {
		EXPECT_EQ(EINVAL, errno);
		return;
	}

	expect_prefault_ends(_metadata, td->vcpu, BEYOND_GPAW);
	EXPECT_ERRNO(0, __vm_set_user_memory_region2(td->vm, MISUSE_SLOT, 0, BEYOND_GPAW, 0, NULL,
						     0, 0));
	expect_alive(_metadata, td);
}

/* It takes no slot, as KVM looks for one later than for its page tables. */
TD_TEST_F(misuse, prefault_beyond_gpa_width_ends)
{
	td_complete(_metadata, &self->td);
	expect_prefault_ends(_metadata, self->td.vcpu, BEYOND_GPAW);
	expect_alive(_metadata, &self->td);
}

/* Before INIT_VM nobody knows where the shared half begins, and slots may be anywhere. */
TD_TEST_F(misuse, slot_of_shared_half_made_before_init_vm_goes)
{
	struct td td = { .vm = vm_tdx_create_uninit(), .source = self->td.source };
	struct td_slot slot;

	vm_set_user_memory_region2(td.vm, MISUSE_SLOT, 0, VM_TDX_SHARED_BIT, TD_SIZE,
				   self->td.shared, 0, 0);
	if (__vm_tdx_init_vm(td.vm)) {
		EXPECT_EQ(EINVAL, errno);
	} else {
		td.vcpu = vm_tdx_vcpu_add(td.vm, 0);
		td_slot_create(&slot, &td, TD_SLOT, TD_GPA, 1);
		EXPECT_RESULT(0, td_add(&td, 0, 1));
		EXPECT_ERRNO(0, __vm_set_user_memory_region2(td.vm, MISUSE_SLOT, 0,
							     VM_TDX_SHARED_BIT, 0, NULL, 0, 0));
		EXPECT_ERRNO(0, __vm_tdx_finalize(td.vm));
		td_slot_free(&slot);
	}
	kvm_vm_free(td.vm);
}

/*
 * A slot without private memory follows one that had it: its attributes are still those,
 * and so are the page tables.  The end of dirty logging looks whether large pages may
 * be had again, and may not ask a guest_memfd that is not there.
 */
#define LARGE_SIZE (2ul << 20)
#define LARGE_GPA (2 * TD_GPA)

TD_TEST_F(misuse, dirty_logging_ends_where_memory_was_private)
{
	void *map = td_mmap(2 * LARGE_SIZE);
	void *shared = (void *)(((uintptr_t)map + LARGE_SIZE - 1) & ~(LARGE_SIZE - 1));
	struct kvm_vm *vm = self->td.vm;
	struct td_slot private;

	td_slot_create(&private, &self->td, MISUSE_SLOT, LARGE_GPA, LARGE_SIZE / PAGE_SIZE);
	EXPECT_RESULT(0, td_slot_add(&self->td, &private, 0));
	vm_set_user_memory_region2(vm, MISUSE_SLOT, 0, LARGE_GPA, 0, NULL, 0, 0);
	td_slot_free(&private);

	vm_set_user_memory_region2(vm, MISUSE_SLOT, KVM_MEM_LOG_DIRTY_PAGES, LARGE_GPA, LARGE_SIZE,
				   shared, 0, 0);
	EXPECT_ERRNO(0, __vm_set_user_memory_region2(vm, MISUSE_SLOT, 0, LARGE_GPA, LARGE_SIZE,
						     shared, 0, 0));
	expect_alive(_metadata, &self->td);
	vm_set_user_memory_region2(vm, MISUSE_SLOT, 0, LARGE_GPA, 0, NULL, 0, 0);
	munmap(map, 2 * LARGE_SIZE);
}

/*
 * A range of memory attributes may be as long as the address space, which is years of
 * work, with slots_lock held.  Here it is seconds, and SIGKILL ends it at once.
 */
#define ATTRIBUTES_MS 3000
#define ATTRIBUTES_FEW 16384ul
#define ATTRIBUTES_BEGUN_NS 50000000l

struct clearing {
	struct td *td;
	u64 nr_pages;
};

static int clear_attributes(void *arg)
{
	struct clearing *clearing = arg;
	struct kvm_memory_attributes attributes = {
		.address = TD_GPA,
		.size = clearing->nr_pages * PAGE_SIZE,
	};

	return ioctl(clearing->td->vm->fd, KVM_SET_MEMORY_ATTRIBUTES, &attributes) ? -errno : 0;
}

/* Nothing else takes time in a task that clears attributes. */
static bool has_begun(const struct tdx_task *task)
{
	struct timespec spent = {};
	clockid_t clock;

	return !clock_getcpuclockid(task->tid, &clock) && !clock_gettime(clock, &spent) &&
	       (spent.tv_sec || spent.tv_nsec >= ATTRIBUTES_BEGUN_NS);
}

TD_TEST_F(misuse, sigkill_ends_a_change_of_attributes)
{
	struct clearing clearing = { .td = &self->td, .nr_pages = ATTRIBUTES_FEW };
	struct tdx_task task;
	u64 start, took;

	start = tdx_now_ms();
	EXPECT_EQ(0, clear_attributes(&clearing));
	took = tdx_now_ms() - start;
	clearing.nr_pages = ATTRIBUTES_FEW * ATTRIBUTES_MS / max_t(u64, took, 1);
	vm_mem_set_private(self->td.vm, TD_GPA, TD_SIZE);

	tdx_task_start_apart(&task, "clear_attributes", clear_attributes, &clearing);
	while (!tdx_task_is_done(&task) && !has_begun(&task))
		sched_yield();
	start = tdx_now_ms();
	EXPECT_TRUE(tdx_task_kill(&task));
	took = tdx_now_ms() - start;
	EXPECT_GT(ATTRIBUTES_MS / 4, took)
	{
		TH_LOG("KVM_SET_MEMORY_ATTRIBUTES of 0x%lx pages went on for %lu ms after SIGKILL",
		       clearing.nr_pages, took);
	}
	expect_alive(_metadata, &self->td);
}

/* The TD's GPA width is that of INIT_VM, whatever CPUID its vCPUs are given. */
TD_TEST_F(misuse, vcpu_of_another_gpa_width_is_survived)
{
	struct kvm_tdx_init_mem_region region = td_region(&self->td, 0, 1);
	struct kvm_vcpu *vcpu = vm_tdx_vcpu_add_uninit(self->td.vm, 1);
	struct kvm_cpuid_entry2 *entry = vcpu_get_cpuid_entry(vcpu, 0x80000008);
	int r;

	entry->eax &= ~GENMASK(23, 16);
	entry->eax |= 52 << 16;
	if (__vcpu_set_cpuid(vcpu) || __vm_tdx_init_vcpu(vcpu))
		return;

	r = __vm_tdx_init_mem_region(vcpu, &region, 0);
	printf("# INIT_MEM_REGION: %s\n", tdx_errno_name(r ? errno : 0));
	expect_alive(_metadata, &self->td);
}

/* The guest is idle: it runs until a signal comes. */
#define RUN_US 50000

static void misuse_run(struct __test_metadata *_metadata, struct kvm_vcpu *vcpu)
{
	struct sigaction action = { .sa_handler = alarm_handler };
	struct itimerval soon = { .it_value.tv_usec = RUN_US, .it_interval.tv_usec = RUN_US };
	struct itimerval never = {};
	int r;

	ASSERT_EQ(0, sigaction(SIGALRM, &action, NULL));
	ASSERT_EQ(0, setitimer(ITIMER_REAL, &soon, NULL));
	r = __vcpu_run(vcpu) ? -errno : 0;
	setitimer(ITIMER_REAL, &never, NULL);
	EXPECT_EQ(-EINTR, r)
	{
		TH_LOG("KVM_RUN: %s", tdx_errno_name(r));
	}
}

/*
 * Nobody but the module can tell the guest of an exception.  One that user space says was
 * being told of when the vCPU was saved stays for ever, and bars the way for all others.
 */
TD_TEST_F(misuse, exception_by_user_space_is_survived)
{
	struct kvm_vcpu_events events = {
		.flags = KVM_VCPUEVENT_VALID_NMI_PENDING,
		.exception.injected = 1,
		.exception.nr = GP_VECTOR,
		.nmi.pending = 1,
	};
	struct td *td = &self->td;

	td_complete(_metadata, td);
	if (__vcpu_ioctl(td->vcpu, KVM_SET_VCPU_EVENTS, &events))
		EXPECT_EQ(EINVAL, errno);
	misuse_run(_metadata, td->vcpu);
	expect_alive(_metadata, td);
}

/* There is no SMM in a TD. */
TD_TEST_F(misuse, smi_by_user_space_is_survived)
{
	struct kvm_vcpu_events events = {
		.flags = KVM_VCPUEVENT_VALID_SMM,
		.smi.pending = 1,
	};
	struct td *td = &self->td;

	td_complete(_metadata, td);
	if (__vcpu_ioctl(td->vcpu, KVM_SET_VCPU_EVENTS, &events))
		EXPECT_EQ(EINVAL, errno);
	misuse_run(_metadata, td->vcpu);
	expect_alive(_metadata, td);
}

/* Nor are there VMCSs of its own, which a hypervisor in it could read and write. */
TD_TEST_F(misuse, enlightened_vmcs_is_refused)
{
	u16 version = 0;
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_HYPERV_ENLIGHTENED_VMCS,
		.args = { (uintptr_t)&version },
	};

	EXPECT_EQ(-1, __vcpu_ioctl(self->td.vcpu, KVM_ENABLE_CAP, &cap))
	{
		TH_LOG("a TD's vCPU is given enlightened VMCSs of version 0x%x", version);
	}
	expect_alive(_metadata, &self->td);
}

/*
 * The id of a vCPU that the module does not know is taken for that of its xAPIC, which
 * has 8 bits of it.  Two of the same end posted interrupts, without which there is no TD.
 */
TD_TEST_F(misuse, vcpus_of_one_xapic_id_are_survived)
{
	struct td td = { .vm = vm_tdx_create() };
	int fd;

	td.vcpu = vm_tdx_vcpu_add_uninit(td.vm, 0);
	fd = __vm_ioctl(td.vm, KVM_CREATE_VCPU, (void *)256ul);
	/* To refuse it is as well. */
	if (fd < 0)
		EXPECT_EQ(EINVAL, errno);

	vm_tdx_init_vcpu(td.vcpu);
	vm_tdx_finalize(td.vm);
	misuse_run(_metadata, td.vcpu);
	expect_alive(_metadata, &td);
	if (fd >= 0)
		close(fd);
	kvm_vm_free(td.vm);
}

/*
 * The misc cgroup allows one TD, so that the second one is refused.  That one is
 * not counted, hence must not be discounted, else the third one is let in.
 */
#define MISC "/sys/fs/cgroup"
#define MISC_TEST MISC "/tdx_init_mem.misuse"

static bool misc_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool good;

	if (fd < 0)
		return false;
	good = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return good;
}

static long misc_tds(void)
{
	FILE *file = fopen(MISC_TEST "/misc.current", "re");
	char line[64];
	long tds = -1;

	while (file && fgets(line, sizeof(line), file))
		sscanf(line, "tdx %ld", &tds);
	if (file)
		fclose(file);
	return tds;
}

FIXTURE(limit)
{
	bool entered;
};

FIXTURE_SETUP(limit)
{
	misc_write(MISC "/cgroup.subtree_control", "+misc");
	if (mkdir(MISC_TEST, 0755))
		SKIP(return, "no cgroup can be made in %s", MISC);
	self->entered = misc_write(MISC_TEST "/misc.max", "tdx 1") &&
			misc_write(MISC_TEST "/cgroup.procs", "0");
	if (!self->entered) {
		rmdir(MISC_TEST);
		SKIP(return, "the misc cgroup has no limit of TDs");
	}
}

FIXTURE_TEARDOWN(limit)
{
	misc_write(MISC "/cgroup.procs", "0");
	rmdir(MISC_TEST);
	td_audit(_metadata);
}

TD_TEST_F(limit, refused_td_is_not_discounted)
{
	struct kvm_vm *first = vm_tdx_create();
	struct kvm_vm *second = vm_tdx_create_uninit();
	struct kvm_vm *third;

	EXPECT_EQ(1, misc_tds());
	EXPECT_ERRNO(EBUSY, __vm_tdx_init_vm(second));
	EXPECT_EQ(1, misc_tds())
	{
		TH_LOG("one TD lives in the cgroup, and %ld are counted", misc_tds());
	}

	third = vm_tdx_create_uninit();
	EXPECT_ERRNO(EBUSY, __vm_tdx_init_vm(third));
	kvm_vm_free(third);

	/* Room for the one that was refused. */
	kvm_vm_free(first);
	EXPECT_ERRNO(0, __vm_tdx_init_vm(second));
	EXPECT_EQ(1, misc_tds());
	kvm_vm_free(second);
	EXPECT_EQ(0, misc_tds());
}

/*
 * KVM_CREATE_VCPU that fails late: there is no file descriptor left.  By then the
 * vCPU was loaded, i.e. is in its CPU's list of vCPUs that the module may know.
 * Up to 6.18 it stays there when it is freed: use after free, by whoever comes next.
 */
FIXTURE(unfinished)
{
	struct td td;
};

FIXTURE_SETUP(unfinished)
{
	td_create(&self->td);
}

FIXTURE_TEARDOWN(unfinished)
{
	td_destroy(&self->td);
	td_audit(_metadata);
}

TD_TEST_F(unfinished, vcpu_without_fd_leaves_list_of_cpu)
{
	struct rlimit limit, none;
	struct td *td = &self->td;
	unsigned int i;
	int fd;

	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &limit));
	fd = dup(td->vm->fd);
	ASSERT_LE(0, fd);
	close(fd);
	none = (struct rlimit) { .rlim_cur = fd, .rlim_max = limit.rlim_max };

	for (i = 0; i < 3; i++) {
		int r, err;

		ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &none));
		r = __vm_ioctl(td->vm, KVM_CREATE_VCPU, (void *)1ul);
		err = errno;
		ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &limit));
		EXPECT_EQ(-1, r);
		EXPECT_EQ(EMFILE, err);
	}

	/* The same id, and most likely the same memory. */
	vm_tdx_vcpu_add(td->vm, 1);
	td_complete(_metadata, td);
}

#define TD_DISRUPTS "kernels up to 7.3 warn, and free memory in use"
#include "tdx_init_mem_main.h"
