/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * TDX guests (TDs) for the KVM selftests: creation, vCPUs, initial memory.
 *
 * A TD made here never runs guest code: there are no guest page tables, no ELF
 * image and no ucalls, only what the build phase of a TD needs.  Everything the
 * TDX module may refuse (attributes, XFAM, CPUID) is taken from
 * KVM_TDX_CAPABILITIES, so that the same code serves every module version.
 *
 * Two spellings of each call: the plain name asserts success, the leading "__"
 * hands back the raw result (0 or -1 with errno set).
 */
#ifndef SELFTEST_KVM_TDX_UTIL_H
#define SELFTEST_KVM_TDX_UTIL_H

#include "kvm_util.h"

/* Width of guest physical addresses; the topmost bit is the shared bit. */
#define VM_TDX_GPAW 48
#define VM_TDX_SHARED_BIT BIT_ULL(VM_TDX_GPAW - 1)

/* Memory for whole pages; asserts.  The library's own kvm_mmap() is new in 6.17. */
void *tdx_mmap(size_t size, int flags, int fd);

/*
 * Copies @size bytes, a multiple of 8, for megabytes: memcpy() of the library, which has
 * to do for guests, goes byte by byte.
 */
void tdx_copy(void *to, const void *from, size_t size);

/* True if /dev/kvm can create TDs; never exits, never prints. */
bool is_tdx_enabled(void);

static inline bool is_tdx_vm(struct kvm_vm *vm)
{
	return vm->type == KVM_X86_TDX_VM;
}

/* KVM answers every ioctl of a VM that it had to give up on with -EIO. */
bool vm_tdx_is_dead(struct kvm_vm *vm);

int __vm_tdx_vm_ioctl(struct kvm_vm *vm, u32 id, u32 flags, void *data);
int __vm_tdx_vcpu_ioctl(struct kvm_vcpu *vcpu, u32 id, u32 flags, void *data);

/* The caller frees the result. */
struct kvm_tdx_capabilities *vm_tdx_get_capabilities(struct kvm_vm *vm);

/* A TD before KVM_TDX_INIT_VM, with the split irqchip that TDX demands. */
struct kvm_vm *vm_tdx_create_uninit(void);
/* What KVM_TDX_INIT_VM is called with; the caller frees it. */
struct kvm_tdx_init_vm *vm_tdx_init_vm_arg(struct kvm_vm *vm);
int __vm_tdx_init_vm(struct kvm_vm *vm);
void vm_tdx_init_vm(struct kvm_vm *vm);

/* A TD that is ready for vCPUs and memory. */
struct kvm_vm *vm_tdx_create(void);

/* A vCPU with CPUID (x2APIC is mandatory), but before KVM_TDX_INIT_VCPU. */
struct kvm_vcpu *vm_tdx_vcpu_add_uninit(struct kvm_vm *vm, u32 id);

/*
 * KVM_TDX_INIT_VCPU, on one CPU from its beginning to its end: no kernel up to
 * 7.3 bears that its thread is moved meanwhile, see tdx_init_mem_migrate_test.c.
 */
int __vm_tdx_init_vcpu(struct kvm_vcpu *vcpu);
void vm_tdx_init_vcpu(struct kvm_vcpu *vcpu);
struct kvm_vcpu *vm_tdx_vcpu_add(struct kvm_vm *vm, u32 id);

/* KVM writes the progress back to @region, also on failure. */
int __vm_tdx_init_mem_region(struct kvm_vcpu *vcpu, struct kvm_tdx_init_mem_region *region,
			     u32 flags);
void vm_tdx_init_mem_region(struct kvm_vcpu *vcpu, void *source, u64 gpa, u64 nr_pages, u32 flags);

int __vm_tdx_finalize(struct kvm_vm *vm);
void vm_tdx_finalize(struct kvm_vm *vm);

#endif /* SELFTEST_KVM_TDX_UTIL_H */
