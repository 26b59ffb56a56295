# SPDX-License-Identifier: GPL-2.0-only
"""Why a line has no test, as data."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Reason:
    """Of every line of @function with @text in it that no test reaches.

    White space is one blank; @text may begin in the line before.
    """

    function: str
    text: str
    reason: str


# What KVM asserts about itself.
_BUG = "only a bug of KVM leads here"
_PREPARING = ("no case yet takes the memory away at the moment when the first page of 2 MiB is prepared; "
              "on SNP more may fail")
_MERGED = "gcc jumps here from the line before, which did run"
_TEARDOWN = "the module refuses a step of the end of a TD: KVM has no answer but a warning and the loss"
_UNMODELLED = "the modelled host has not what this is about"
_SHADOW = "shadow paging, which no VM of the suite has"
_ORDINARY = "for the guest of an ordinary VM, and none runs here (or KVM has warned of itself)"
_SPLIT = "no case yet has a mapping of 2 MiB take the place of a page table, in an ordinary VM"
_LOST_RACE = "another one did the same a moment before: by chance, there is no moment to hold"
_START = "the kernel has no memory when kvm.ko is loaded"

_PATH = (
    Reason("to_tdx", "", "always inlined: gcov counts it in its callers"),
    Reason("tdx_mem_page_add", "KVM_BUG_ON(!src_page, kvm)) return -EIO;", _BUG),
    Reason("tdx_mem_page_aug", "kvm)) return -EIO;",
           "after KVM_TDX_FINALIZE_VM, where the module refuses a page by a bug of KVM only"),
    Reason("tdx_spte_to_sept_pt", "KVM_BUG_ON(sp->gfn != gfn, kvm)) return NULL;", _BUG),
    Reason("kvm_gmem_get_chunk", "kfree(chunk);",
           "two tasks that fault in two pages of 2 MiB that nobody had a page of: by chance"),
    Reason("kvm_gmem_prepare", "if (r) return r;", _PREPARING),
    Reason("kvm_gmem_get_pfn", "order = 0;", _PREPARING),
    Reason("kvm_gmem_get_pfn", "order = 0; r = kvm_gmem_prepare(", _PREPARING),
    Reason("kvm_gmem_add_huge_folio", "PageHWPoison(folio_page(folio, i))) goto err;",
           "the allocator would have to hand out the huge page with the broken page next"),
    Reason("__kvm_gmem_get_pfn", "WARN_ON_ONCE(slot_file);", _BUG),
    Reason("__kvm_gmem_get_pfn", "WARN_ON_ONCE(xa_load(&f->bindings, index));", _BUG),
)

_TDX = (
    Reason("__tdx_reclaim_page", "return -EIO;", _TEARDOWN),
    Reason("tdx_flush_vp", "if (err)", _TEARDOWN),
    Reason("tdx_flush_vp", "arg->err = err;", _TEARDOWN),
    Reason("smp_func_do_phymem_cache_wb", "case TDX_INTERRUPTED_RESUMABLE:", _MERGED),
    Reason("smp_func_do_phymem_cache_wb", "out:", _MERGED),
    Reason("tdx_mmu_release_hkid", "pr_err(", _TEARDOWN),
    Reason("tdx_mmu_release_hkid", "kvm_tdx->hkid); goto out;", _TEARDOWN),
    Reason("tdx_sept_free_private_spt", "goto out;", _TEARDOWN),
    Reason("tdx_vcpu_create", "xfd_no_write_intercept", _UNMODELLED),
    Reason("setup_tdparams_eptp_controls", "VMX_EPTP_PWL_5", _UNMODELLED),
    Reason("setup_tdparams_eptp_controls", "TDX_CONFIG_FLAGS_MAX_GPAW", _UNMODELLED),
    Reason("tdx_td_init", "TDX_SHARED_BIT_PWL_5", _UNMODELLED),
    Reason("__tdx_td_init", "MSG_ALLPKG", _UNMODELLED),
    Reason("__tdx_td_init", "pr_warn_ratelimited(MSG_ALLPKG); goto free_packages;", _UNMODELLED),
    Reason("tdx_td_init", "ret = -EINVAL; goto out;", _MERGED),
    Reason("tdx_vcpu_init", "NOTIFY_WINDOW", _UNMODELLED),
    Reason("tdx_vcpu_init", "notify_window);", _UNMODELLED),
)

_GMEM = (
    Reason("kvm_gmem_fault_user_mapping", "PTR_ERR(folio);",
           "without memory the kernel tries again until it has some, or kills"),
    Reason("kvm_gmem_fault_user_mapping", "vmf_error(err);",
           "without memory the kernel tries again until it has some, or kills"),
    Reason("kvm_gmem_fault_user_mapping", "goto out_unlock;",
           "without memory the kernel tries again until it has some, or kills"),
    Reason("kvm_gmem_fault_user_mapping", "goto out_folio;", _PREPARING),
    Reason("kvm_gmem_fault_user_mapping", "folio_unlock(folio);", _PREPARING),
    Reason("kvm_gmem_migrate_folio", "", "no folio of a guest_memfd is movable; only a bug asks"),
    Reason("kvm_arch_supports_gmem_init_shared", "", "x86 has a function of its own for that"),
    Reason("__kvm_gmem_create", "goto err_gmem;", "kvm.ko would have to be on its way out"),
    Reason("kvm_gmem_init_mount", "return PTR_ERR(kvm_gmem_mnt);", _START),
    Reason("kvm_gmem_init", "kmem_cache_destroy(", _START),
    Reason("kvm_gmem_init", "return ret;", _START),
)

_MMU = (
    Reason("mmu_topup_memory_caches", "mmu_shadowed_info_cache", _SHADOW),
    Reason("mmu_topup_memory_caches", "PT64_ROOT_MAX_LEVEL); if (r)", _SHADOW),
    Reason("kvm_unmap_gfn_range", "__kvm_rmap_zap_gfn_range(", _SHADOW),
    Reason("kvm_unmap_gfn_range", "range->may_block, flush);", _SHADOW),
    Reason("kvm_unmap_gfn_range", "KVM_REQ_APIC_PAGE_RELOAD", _ORDINARY),
    Reason("kvm_gmem_max_mapping_level", "WARN_ONCE(1,", "asked by what splits or recovers a "
           "mapping of 2 MiB, and only a TD has private memory here"),
    Reason("kvm_gmem_max_mapping_level", "return max_level;", _MERGED),
    Reason("mmu_alloc_direct_roots", "", _SHADOW),
    Reason("kvm_mmu_faultin_pfn", "kvm_mmu_prepare_memory_fault_exit(vcpu, fault);",
           "pre-fault asks for what the attribute says: only a guest asks for the other half"),
    Reason("kvm_mmu_faultin_pfn", "kvm_mmu_prepare_memory_fault_exit(vcpu, fault); return -EFAULT;",
           "pre-fault asks for what the attribute says: only a guest asks for the other half"),
    Reason("kvm_mmu_faultin_pfn", "is_guest_mode(vcpu)", _ORDINARY),
    Reason("kvm_mmu_faultin_pfn", "return kvm_handle_noslot_fault(", _ORDINARY),
    Reason("kvm_mmu_faultin_pfn", "!kvm_apicv_activated(vcpu->kvm)", _ORDINARY),
    Reason("kvm_mmu_faultin_pfn", "return RET_PF_RETRY;",
           "no case yet holds a hole while its pages are pre-faulted"),
)

_TDP_MMU = (
    Reason("kvm_tdp_mmu_alloc_root", "!WARN_ON_ONCE(!kvm_tdp_mmu_get_root(root)))", _LOST_RACE),
    Reason("kvm_tdp_mmu_alloc_root", "goto out_spin_unlock;", _LOST_RACE),
    Reason("tdp_mmu_unlink_sp", "nx_huge_page", _ORDINARY),
    Reason("__handle_changed_spte", "pr_err(", _BUG),
    Reason("__handle_changed_spte", "BUG();", _BUG),
    Reason("__tdp_mmu_set_spte_atomic", "return -EBUSY;", _LOST_RACE),
    Reason("__tdp_mmu_zap_root", "goto retry;", _LOST_RACE),
    Reason("kvm_tdp_mmu_zap_possible_nx_huge_page", "", _ORDINARY),
    Reason("kvm_tdp_mmu_zap_leafs", "tdp_mmu_zap_leafs(kvm, root, start, end, true, flush);",
           "by the change of MTRRs or the APIC page of an ordinary guest"),
    Reason("kvm_tdp_mmu_zap_invalidated_roots", "continue;",
           "no case yet deletes two slots of an ordinary VM while a vCPU has its roots"),
    Reason("kvm_tdp_mmu_invalidate_roots", "root_types &= ~KVM_INVALID_ROOTS;", _BUG),
    Reason("kvm_tdp_mmu_invalidate_roots", "root_types)) continue;",
           "no case yet deletes two slots of an ordinary VM while a vCPU has its roots"),
    Reason("tdp_mmu_map_handle_target_level", "make_mmio_spte(", _ORDINARY),
    Reason("tdp_mmu_map_handle_target_level", "is_last_spte(iter->old_spte, iter->level) ||", _SPLIT),
    Reason("tdp_mmu_map_handle_target_level", "leaf_spte_change_needs_tlb_flush(", _SPLIT),
    Reason("tdp_mmu_map_handle_target_level", "kvm_flush_remote_tlbs_gfn(", _SPLIT),
    Reason("tdp_mmu_map_handle_target_level", "pf_mmio_spte_created", _ORDINARY),
    Reason("tdp_mmu_map_handle_target_level", "trace_mark_mmio_spte(", _ORDINARY),
    Reason("tdp_mmu_link_sp", "tdp_mmu_iter_set_spte(kvm, iter, spte);",
           "to split huge pages ahead of dirty logging, which a TD has not"),
    Reason("kvm_tdp_mmu_map", "disallowed_hugepage_adjust(", _ORDINARY),
    Reason("kvm_tdp_mmu_map", "KVM_BUG_ON(is_mirror_sptep(iter.sptep), vcpu->kvm);", _SPLIT),
    Reason("kvm_tdp_mmu_map", "tdp_mmu_split_huge_page(", _SPLIT),
    Reason("kvm_tdp_mmu_map", "fault->req_level >= iter.level) {", _ORDINARY),
    Reason("kvm_tdp_mmu_map", "nx_huge_page", _ORDINARY),
)

_MAIN = (
    Reason("kvm_prepare_memory_region", "dirty_bitmap", "dirty logging, which a TD has not"),
    Reason("kvm_set_memslot", "BUG();", _BUG),
    Reason("kvm_set_memslot", "kvm_activate_memslot(kvm, invalid_slot, old);",
           "no case yet moves a slot to where the MMU refuses it, or without memory"),
    Reason("kvm_set_memslot", "kfree(invalid_slot);",
           "no case yet moves a slot to where the MMU refuses it, or without memory"),
)

REASONS = _PATH + _TDX + _GMEM + _MMU + _TDP_MMU + _MAIN
