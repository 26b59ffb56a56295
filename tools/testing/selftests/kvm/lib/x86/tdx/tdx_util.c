// SPDX-License-Identifier: GPL-2.0-only
/*
 * TDX guests for the KVM selftests, see include/x86/tdx/tdx_util.h.
 */
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include "processor.h"
#include "tdx/tdx_util.h"

/* What KVM accepts as an upper bound of CPUID entries (KVM_MAX_CPUID_ENTRIES). */
#define TDX_MAX_CPUID_ENTRIES 256

/* Interrupt pins of the userspace I/O APIC; TDX forbids the one in the kernel. */
#define TDX_NR_IOAPIC_PINS 24

void *tdx_mmap(size_t size, int flags, int fd)
{
	void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);

	TEST_ASSERT(mem != MAP_FAILED, "mmap of %zu bytes failed, errno %d", size, errno);
	return mem;
}

void tdx_copy(void *to, const void *from, size_t size)
{
	size_t words = size / sizeof(u64);

	asm volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
}

bool is_tdx_enabled(void)
{
	int fd = open(KVM_DEV_PATH, O_RDWR | O_CLOEXEC);
	int types;

	if (fd < 0)
		return false;

	types = ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_VM_TYPES);
	close(fd);

	return types > 0 && (types & BIT(KVM_X86_TDX_VM));
}

bool vm_tdx_is_dead(struct kvm_vm *vm)
{
	int saved_errno = errno;
	int r = ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY);
	bool dead = r < 0 && errno == EIO;

	errno = saved_errno;
	return dead;
}

static int tdx_ioctl(int fd, u32 id, u32 flags, void *data)
{
	struct kvm_tdx_cmd cmd = {
		.id = id,
		.flags = flags,
		.data = (uintptr_t)data,
	};

	return ioctl(fd, KVM_MEMORY_ENCRYPT_OP, &cmd);
}

int __vm_tdx_vm_ioctl(struct kvm_vm *vm, u32 id, u32 flags, void *data)
{
	return tdx_ioctl(vm->fd, id, flags, data);
}

int __vm_tdx_vcpu_ioctl(struct kvm_vcpu *vcpu, u32 id, u32 flags, void *data)
{
	return tdx_ioctl(vcpu->fd, id, flags, data);
}

struct kvm_tdx_capabilities *vm_tdx_get_capabilities(struct kvm_vm *vm)
{
	struct kvm_tdx_capabilities *caps;
	int r;

	caps = calloc(1, sizeof(*caps) + TDX_MAX_CPUID_ENTRIES * sizeof(caps->cpuid.entries[0]));
	TEST_ASSERT(caps, "Insufficient memory");

	caps->cpuid.nent = TDX_MAX_CPUID_ENTRIES;
	r = __vm_tdx_vm_ioctl(vm, KVM_TDX_CAPABILITIES, 0, caps);
	TEST_ASSERT_VM_VCPU_IOCTL(!r, KVM_TDX_CAPABILITIES, r, vm);

	return caps;
}

struct kvm_vm *vm_tdx_create_uninit(void)
{
	struct kvm_vm *vm = vm_create_barebones_type(KVM_X86_TDX_VM);

	vm_enable_cap(vm, KVM_CAP_SPLIT_IRQCHIP, TDX_NR_IOAPIC_PINS);

	return vm;
}

static const struct kvm_cpuid_entry2 *tdx_find_cpuid(const struct kvm_cpuid2 *cpuid, u32 function,
						     u32 index)
{
	u32 i;

	for (i = 0; i < cpuid->nent; i++) {
		if (cpuid->entries[i].function == function && cpuid->entries[i].index == index)
			return &cpuid->entries[i];
	}

	return NULL;
}

/* KVM takes the GPA width from here, of the TD as well as of its vCPUs. */
static void tdx_set_gpaw(struct kvm_cpuid_entry2 *entry)
{
	entry->eax &= ~GENMASK(23, 16);
	entry->eax |= VM_TDX_GPAW << 16;
}

/*
 * The TD's CPUID: of what the module lets the host choose, that which KVM
 * supports.  KVM refuses entries without a counterpart in the module's list.
 */
static void tdx_choose_cpuid(struct kvm_cpuid2 *td, const struct kvm_cpuid2 *configurable)
{
	const struct kvm_cpuid2 *supported = kvm_get_supported_cpuid();
	u32 i;

	for (i = 0; i < configurable->nent; i++) {
		const struct kvm_cpuid_entry2 *mask = &configurable->entries[i];
		const struct kvm_cpuid_entry2 *host;
		struct kvm_cpuid_entry2 *entry;

		host = tdx_find_cpuid(supported, mask->function, mask->index);
		if (!host)
			continue;

		/* The flags too: KVM looks entries up by them. */
		entry = &td->entries[td->nent++];
		*entry = *host;
		entry->eax &= mask->eax;
		entry->ebx &= mask->ebx;
		entry->ecx &= mask->ecx;
		entry->edx &= mask->edx;

		if (entry->function == 0x80000008)
			tdx_set_gpaw(entry);
	}
}

struct kvm_tdx_init_vm *vm_tdx_init_vm_arg(struct kvm_vm *vm)
{
	struct kvm_tdx_capabilities *caps = vm_tdx_get_capabilities(vm);
	struct kvm_tdx_init_vm *init;

	init = calloc(1, sizeof(*init) + caps->cpuid.nent * sizeof(init->cpuid.entries[0]));
	TEST_ASSERT(init, "Insufficient memory");

	/* Attributes and XFAM bits that the module fixes to 1 are added by KVM. */
	init->attributes = 0;
	init->xfam = caps->supported_xfam;
	tdx_choose_cpuid(&init->cpuid, &caps->cpuid);

	free(caps);
	return init;
}

int __vm_tdx_init_vm(struct kvm_vm *vm)
{
	struct kvm_tdx_init_vm *init = vm_tdx_init_vm_arg(vm);
	int r = __vm_tdx_vm_ioctl(vm, KVM_TDX_INIT_VM, 0, init);
	int saved_errno = errno;

	free(init);
	errno = saved_errno;
	return r;
}

void vm_tdx_init_vm(struct kvm_vm *vm)
{
	int r = __vm_tdx_init_vm(vm);

	TEST_ASSERT_VM_VCPU_IOCTL(!r, KVM_TDX_INIT_VM, r, vm);
}

struct kvm_vm *vm_tdx_create(void)
{
	struct kvm_vm *vm = vm_tdx_create_uninit();

	vm_tdx_init_vm(vm);
	return vm;
}

struct kvm_vcpu *vm_tdx_vcpu_add_uninit(struct kvm_vm *vm, u32 id)
{
	struct kvm_vcpu *vcpu = __vm_vcpu_add(vm, id);

	vcpu_init_cpuid(vcpu, kvm_get_supported_cpuid());
	tdx_set_gpaw(vcpu_get_cpuid_entry(vcpu, 0x80000008));
	vcpu_set_cpuid(vcpu);
	return vcpu;
}

int __vm_tdx_init_vcpu(struct kvm_vcpu *vcpu)
{
	cpu_set_t cpus, here;
	int r, saved_errno;
	bool stays;

	CPU_ZERO(&here);
	CPU_SET(sched_getcpu(), &here);
	stays = !sched_getaffinity(0, sizeof(cpus), &cpus) &&
		!sched_setaffinity(0, sizeof(here), &here);

	r = __vm_tdx_vcpu_ioctl(vcpu, KVM_TDX_INIT_VCPU, 0, NULL);

	saved_errno = errno;
	if (stays)
		sched_setaffinity(0, sizeof(cpus), &cpus);
	errno = saved_errno;
	return r;
}

void vm_tdx_init_vcpu(struct kvm_vcpu *vcpu)
{
	int r = __vm_tdx_init_vcpu(vcpu);

	TEST_ASSERT_VM_VCPU_IOCTL(!r, KVM_TDX_INIT_VCPU, r, vcpu->vm);
}

struct kvm_vcpu *vm_tdx_vcpu_add(struct kvm_vm *vm, u32 id)
{
	struct kvm_vcpu *vcpu = vm_tdx_vcpu_add_uninit(vm, id);

	vm_tdx_init_vcpu(vcpu);
	return vcpu;
}

int __vm_tdx_init_mem_region(struct kvm_vcpu *vcpu, struct kvm_tdx_init_mem_region *region,
			     u32 flags)
{
	return __vm_tdx_vcpu_ioctl(vcpu, KVM_TDX_INIT_MEM_REGION, flags, region);
}

void vm_tdx_init_mem_region(struct kvm_vcpu *vcpu, void *source, u64 gpa, u64 nr_pages, u32 flags)
{
	struct kvm_tdx_init_mem_region region = {
		.source_addr = (uintptr_t)source,
		.gpa = gpa,
		.nr_pages = nr_pages,
	};
	int r = __vm_tdx_init_mem_region(vcpu, &region, flags);

	TEST_ASSERT_VM_VCPU_IOCTL(!r, KVM_TDX_INIT_MEM_REGION, r, vcpu->vm);
	TEST_ASSERT(!region.nr_pages,
		    "INIT_MEM_REGION(gpa=0x%lx, nr_pages=%lu) succeeded with %llu pages left", gpa,
		    nr_pages, region.nr_pages);
}

int __vm_tdx_finalize(struct kvm_vm *vm)
{
	return __vm_tdx_vm_ioctl(vm, KVM_TDX_FINALIZE_VM, 0, NULL);
}

void vm_tdx_finalize(struct kvm_vm *vm)
{
	int r = __vm_tdx_finalize(vm);

	TEST_ASSERT_VM_VCPU_IOCTL(!r, KVM_TDX_FINALIZE_VM, r, vm);
}
