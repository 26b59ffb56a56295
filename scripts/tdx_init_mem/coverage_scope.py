# SPDX-License-Identifier: GPL-2.0-only
"""Which functions "coverage" reports on, as data. Globs, as kernel lines name them differently."""

import dataclasses
import typing

TDX, GMEM = "arch/x86/kvm/vmx/tdx.c", "virt/kvm/guest_memfd.c"
MMU, TDP_MMU = "arch/x86/kvm/mmu/mmu.c", "arch/x86/kvm/mmu/tdp_mmu.c"
MAIN = "virt/kvm/kvm_main.c"

# The path of KVM_TDX_INIT_MEM_REGION: these with all that they call in the two files. The MMU has
# the operations of the S-EPT and kvm_gmem_get_pfn() called, CLASS() the others.
PATH_FILES = (TDX, GMEM)
PATH_ROOTS = ("tdx_vcpu_init_mem_region", "tdx_sept_set_private_spte", "tdx_sept_link_private_spt",
              "tdx_acquire_vm_state_locks", "tdx_release_vm_state_locks", "kvm_gmem_get_pfn",
              "kvm_gmem_get_file")
PATH_MINIMUM = 90  # percent of the lines


@dataclasses.dataclass(frozen=True)
class Section:
    """A table. A function is in the first section that names it."""

    title: str
    globs: typing.Mapping[str, typing.Tuple[str, ...]]


SECTIONS = (
    Section("A TD from its creation to its end", {
        TDX: ("*tdx_td_init", "setup_tdparams*", "tdx_vm_init", "tdx_do_tdh_mng_key_config",
              "tdx_vm_ioctl", "tdx_get_cmd", "tdx_vcpu_create", "tdx_td_vcpu_init", "tdx_vcpu_init",
              "tdx_vcpu_ioctl", "tdx_vcpu_unlocked_ioctl", "tdx_td_finalize", "tdx_vcpu_free",
              "tdx_vm_destroy", "tdx_mmu_release_hkid", "tdx_hkid_free", "*tdx_reclaim_*",
              "tdx_flush_vp*", "tdx_disassociate_vp", "smp_func_do_phymem_cache_wb", "tdx_track",
              "tdx_sept_*", "tdx_mem_page_*", "tdx_disable_virtualization_cpu"),
    }),
    Section("guest_memfd", {GMEM: ("*",)}),
    Section("The MMU's part in private memory", {
        MMU: ("kvm_tdp_mmu_*private_pfn", "kvm_tdp_map_page", "kvm_mmu_faultin_pfn*",
              "kvm_gmem_max_mapping_level", "mmu_topup_memory_caches", "mmu_alloc_direct_roots",
              "kvm_arch_p*_set_memory_attributes", "kvm_unmap_gfn_range"),
        TDP_MMU: ("kvm_tdp_mmu_map", "tdp_mmu_map_handle_target_level", "tdp_mmu_link_sp",
                  "*tdp_mmu_set_spte*", "*handle_changed_spte", "handle_removed_pt",
                  "*external_spte*", "tdp_mmu_unlink_sp", "tdp_mmu_alloc_sp", "tdp_mmu_init_*sp",
                  "tdp_mmu_free_*", "__tdp_mmu_free_sp", "kvm_tdp_mmu_alloc_root",
                  "tdp_mmu_zap_leafs", "kvm_tdp_mmu_zap_*", "*tdp_mmu_zap_root",
                  "kvm_tdp_mmu_invalidate_roots", "kvm_tdp_mmu_unmap_gfn_range"),
        MAIN: ("kvm_mmu_invalidate_*", "kvm_mmu_unmap_gfn_range",
               "*_set_mem*_attributes", "kvm_range_has_memory_attributes", "kvm_set_memslot",
               "kvm_set_memory_region", "kvm_prepare_memory_region", "kvm_invalidate_memslot"),
    }),
)

FILES = {*PATH_FILES, *(path for section in SECTIONS for path in section.globs)}
