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
_UNFAILING = "preparing a page fails on SNP only (kvm_arch_gmem_prepare())"

REASONS = (
    Reason("to_tdx", "", "always inlined: gcov counts it in its callers"),
    Reason("tdx_mem_page_add", "KVM_BUG_ON(!src_page, kvm)) return -EIO;", _BUG),
    Reason("tdx_mem_page_aug", "kvm)) return -EIO;",
           "after KVM_TDX_FINALIZE_VM, where the module refuses a page by a bug of KVM only"),
    Reason("tdx_spte_to_sept_pt", "KVM_BUG_ON(sp->gfn != gfn, kvm)) return NULL;", _BUG),
    Reason("kvm_gmem_get_chunk", "kfree(chunk);",
           "two tasks that fault in two pages of 2 MiB that nobody had a page of: no moment to hold"),
    Reason("kvm_gmem_prepare", "if (r) return r;", _UNFAILING),
    Reason("kvm_gmem_get_pfn", "order = 0;", _UNFAILING),
    Reason("kvm_gmem_get_pfn", "order = 0; r = kvm_gmem_prepare(", _UNFAILING),
    Reason("kvm_gmem_add_huge_folio", "PageHWPoison(folio_page(folio, i))) goto err;",
           "the allocator would have to hand out the huge page with the broken page next"),
    Reason("__kvm_gmem_get_pfn", "WARN_ON_ONCE(slot_file);", _BUG),
    Reason("__kvm_gmem_get_pfn", "WARN_ON_ONCE(xa_load(&f->bindings, index));", _BUG),
)
