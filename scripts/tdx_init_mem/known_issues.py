# SPDX-License-Identifier: GPL-2.0-only
"""Bugs that released kernels really have, as data: kernels, case, symptom, and the fix or "open".

Names are globs. A row that no longer applies is as loud in the matrix as a failure. They are read
by "list --bugs".
"""

import dataclasses
import fnmatch
import typing

from . import lines


@dataclasses.dataclass(frozen=True)
class Known:
    """A bug of a released kernel: this case fails on it, and it is news if it does not."""

    line: str
    variant: str
    program: str
    case: str
    fix: str
    traces: typing.Tuple[str, ...] = ()  # splats and findings of the emulator that come with it
    sure: bool = True  # else what follows from the bug is undefined, and the case may pass as well

    @property
    def may_be_fatal(self) -> bool:
        """Only "*" is: a panic within the case is the bug, too. A hang never is."""
        return "*" in self.traces


def matches(*pairs: typing.Tuple[str, str]) -> bool:
    return all(fnmatch.fnmatchcase(value, pattern) for value, pattern in pairs)


WRAP = ("arch/x86/kvm/patches/*/0001, not upstream yet: nr_pages << PAGE_SHIFT overflows, and the "
        "region passes for a short one")

WRAPS = "refused.nr_pages_wraps_in_bytes.region_untouched"

BUSY, BUSY_FATAL = "tdx_init_mem_busy_test", "tdx_init_mem_busy_fatal_test"
# Kernels on which the SEAMCALLs of two ioctls may meet in the TDX module.
RACING = tuple((line, "base") for line in ("v6.16", "v6.17", "v6.18"))
RACING_STILL = (*((line, "base") for line in ("v6.19", "v7.0", "v7.1", "v7.2", "v7.3")),
                ("v7.3", "shared-lock"))
ALL_LOCKS = ("6.19, 15945e9ec195: what builds a TD takes all locks of the VM; until then "
             "TDX_OPERAND_BUSY of another ioctl is ")
ADD = "6.19, 6b5b71ffabf9: adds a page while mapping it; until then one that was busy is lost"
MMU_LOCK = "6.19, 9a89894f30d5: TDH.VP.INIT under mmu_lock; until then RANGE.BLOCK fails, VM dead"
ADD_MMU_LOCK = "6.19, 6b5b71ffabf9: PAGE.ADD under mmu_lock; until then RANGE.BLOCK fails, VM dead"
MEASURE = ("arch/x86/kvm/patches/v7.3/0003, not upstream yet: MR.EXTEND outside of mmu_lock lets "
           "RANGE.BLOCK fail, VM dead")
FINALIZE = ("arch/x86/kvm/patches/v7.3/0004, not upstream yet: MR.FINALIZE outside of mmu_lock "
            "lets RANGE.BLOCK fail, VM dead")
BUGGED = ("WARNING at arch/x86/kvm/vmx/tdx.c:* tdx_vcpu_ioctl",)
# The page that was not removed keeps the TD from being reclaimed.
NOT_REMOVED = ("WARNING at arch/x86/kvm/vmx/tdx.c:* tdx_sept_*_private_spte",
               "WARNING at arch/x86/kvm/vmx/tdx.c:* __tdx_reclaim_page",
               "emulator: sanitizer: leak: TD *")
# Since 6.19 it is freed all the same. Whoever gets it writes to it, or offers it to the module.
FREED = ("WARNING at arch/x86/kvm/vmx/tdx.c:*", "emulator: sanitizer: leak: TD *",
         "emulator: sanitizer: host-store: *", "emulator: sanitizer: offered-while-owned: *")

CREATING = ("7.3, KVM_CREATE_VCPU holds kvm->lock until the vCPU is there; until then INIT_MEM_REGION, "
            "INIT_VCPU and FINALIZE_VM of another thread say -EBUSY meanwhile")
FAULT, FAULT_FATAL = "tdx_init_mem_fault_test", "tdx_init_mem_fault_fatal_test"
CHARGE = ("not upstream yet, SECURITY (accounting): KVM_TDX_INIT_VM that the misc cgroup refuses gives "
          "back a charge that it never had; every second TD beyond the limit succeeds")
CHARGED = ("WARNING at kernel/cgroup/misc.c:* *",)

FAULT_ALLOC, FAULT_VCPU = "tdx_init_mem_fault_alloc_test", "tdx_init_mem_fault_vcpu_test"
BIND = ("7.3 or before, KVM: guest_memfd: Handle errors from xa_store_range() when binding; until "
        "then a slot for whose file there is no memory is said to be there, and is not")
VCPU_LISTED = ("6.19, tdx_vcpu_free() takes the vCPU off its CPU's list, associated_tdvcpus; SECURITY: "
               "until then KVM_CREATE_VCPU that fails late (no memory, or no file descriptor) is a use "
               "after free")
# A list goes through freed memory: anything may follow, up to the power-off.
LIST = ("list_add corruption*", "list_del corruption*", "WARNING at *", "BUG: *", "Oops*",
        "KASAN: *", "general protection fault*", "Kernel panic*", "after the tests: *")

DROP_GMEM = ("6.18, KVM_MEM_GUEST_MEMFD of a memslot cannot be toggled; until then the file keeps a "
             "binding to a slot that forgot it, and the TD's pages outlive its KeyID")
DROPPED = ("WARNING at arch/x86/kvm/x86.c:* kvm_arch_commit_memory_region",
           # The file's binding is used after it was freed: anything may follow.
           "BUG: *", "Oops*", "KASAN: *", "general protection fault*",
           "WARNING at arch/x86/kvm/vmx/tdx.c:* tdx_sept_remove_private_spte",
           "WARNING at arch/x86/kvm/vmx/tdx.c:* __tdx_reclaim_page",
           "emulator: sanitizer: keyid-freed-with-pages: *",
           "emulator: sanitizer: tdr-with-children: *", "emulator: sanitizer: leak: TD *")

# What user space gets by asking: tdx_init_mem_misuse_test. None of it is fixed upstream as of 7.3.
MISUSE = "tdx_init_mem_misuse_test"
OPEN = "not upstream yet, no patch of ours: "
SHARED_HALF = OPEN + ("SECURITY: KVM maps a guest_memfd that user space may map in the shared half of "
                      "a TD as well, and its holes and its end unmap the private half only; the "
                      "guest reads and writes pages that are free")
# Inlined or not, as the configuration has it.
VP_WR_FAILED = tuple(f"WARNING at arch/x86/kvm/vmx/tdx.c:* {function}"
                     for function in ("tdx_load_mmu_pgd", "tdh_vp_wr_failed"))
MISUSES = (
    # The refused TD is taken for one that was charged.
    ("limit.refused_td_is_not_discounted",
     "SECURITY: a TD beyond misc.max is uncharged though it was not charged: the limit grows with "
     "each refusal", ("WARNING at kernel/cgroup/misc.c:* misc_cg_*",)),
    ("misuse.prefault_by_vcpu_not_initialized_is_survived",
     "KVM_PRE_FAULT_MEMORY before INIT_VCPU: TDH.VP.WR without a TDVPR, KVM_BUG_ON, VM dead",
     (*VP_WR_FAILED, "WARNING at virt/kvm/kvm_main.c:* kvm_vcpu_ioctl")),
    ("misuse.finalize_without_vcpu_fails",
     "FINALIZE_VM before INIT_VCPU: TDX_NO_VCPUS, KVM_BUG_ON, VM dead",
     ("WARNING at arch/x86/kvm/vmx/tdx.c:* tdx_vm_ioctl",)),
    ("misuse.add_beyond_gpa_width_fails",
     "INIT_MEM_REGION past the TD's GPA width, up to the host's: KVM_BUG_ON, VM dead",
     ("WARNING at arch/x86/kvm/vmx/tdx.c:* tdx_sept_*",)),
    ("misuse.slot_beyond_gpa_width_comes_and_goes",
     "a slot past the TD's GPA width is accepted, and its deletion, or an unmap of its memory, "
     "warns",
     ("WARNING at arch/x86/kvm/mmu/tdp_iter.c:* tdp_iter_start",)),
    ("misuse.vcpu_of_another_gpa_width_is_survived",
     "a vCPU's CPUID with 52 bits of GPA where INIT_VM had 48: KVM_BUG_ON, VM dead",
     VP_WR_FAILED),
    ("misuse.init_vm_with_*_disguised_fails",
     "SECURITY: an entry for CPUID 7 without KVM_CPUID_FLAG_SIGNIFCANT_INDEX, and of another index, "
     "passes INIT_VM's ban of TSX and UMWAIT, whose MSRs KVM does not restore after a TD", ()),
    ("misuse.init_vm_with_frequency_beyond_16_bits_fails",
     "KVM_SET_TSC_KHZ of more than TD_PARAMS has bits for: INIT_VM takes what is left of it", ()),
    ("misuse.exception_by_user_space_is_survived",
     "an exception by KVM_SET_VCPU_EVENTS, or a KVM_INTERRUPT: cannot be injected, stays for ever, "
     "warns in KVM_RUN and keeps NMIs from the guest",
     ("WARNING at arch/x86/kvm/vmx/tdx.c:* tdx_vcpu_run",)),
    ("misuse.vcpus_of_one_xapic_id_are_survived",
     "a vCPU before INIT_VCPU whose id has the low 8 bits of another's: APICv is inhibited, "
     "KVM_BUG_ON in KVM_RUN, VM dead",
     ("WARNING at arch/x86/kvm/vmx/main.c:* vt_refresh_apicv_exec_ctrl",)),
    ("misuse.prefault_beyond_gpa_width_ends",
     "KVM_PRE_FAULT_MEMORY past the TD's GPA width, no slot needed: warns, and retries under SRCU "
     "until a signal comes; no memslot changes meanwhile",
     ("WARNING at arch/x86/kvm/mmu/tdp_iter.c:* tdp_iter_start",)),
)

LOGGED = OPEN + ("the end of dirty logging asks for pages of a guest_memfd wherever attributes say "
                 "private, though the slot has none: warns")

# How long a range takes is scaled from one sample: where that is far too long, SIGKILL comes last.
ATTRIBUTES = OPEN + ("SECURITY (denial of service): KVM_SET_MEMORY_ATTRIBUTES heeds no signal; to clear "
                     "those of all addresses is years of work on 7.3, with slots_lock held; older lines "
                     "run out of memory")

NESTED = OPEN + ("SECURITY: KVM_GET_NESTED_STATE and KVM_SET_NESTED_STATE take the vCPU of a TD for an "
                 "ordinary one (to_vmx): the latter loads a VMCS that is other memory, which ends in a "
                 "panic at best")
NESTED_SMM = OPEN + ("SECURITY: with CONFIG_KVM_SMM, KVM_SET_VCPU_EVENTS puts the vCPU of a TD "
                     "into SMM, which has it leave a nested mode for which it has no memory")

PREFAULT = "tdx_init_mem_prefault_test"
PREFAULT_DELETION = ("6.18, pre-fault of a slot that is being deleted says -EAGAIN; until then it "
                     "retries under SRCU, for which deletion waits, until a signal comes")
PREFAULT_POISON = OPEN + ("RET_PF_RETRY of a poisoned page relies on SIGBUS to end the retries; "
                          "blocked, it does not, and SRCU is held for ever")

# Between 6.18 and 7.3, where these two have been run.
SEEN = ("v7.2", "v7.3")
MIGRATE = "tdx_init_mem_migrate_test"
MIGRATED = OPEN + ("a thread that changes its CPU between TDH.VP.INIT and the end of KVM_TDX_INIT_VCPU: "
                   "the vCPU is not flushed on the old one, as KVM takes it for not initialized; "
                   "KVM_BUG_ON, VM dead, its KeyID and pages lost")
MOVED = ("WARNING at arch/x86/kvm/vmx/tdx.c:* *", "emulator: sanitizer: vcpu-not-flushed: *",
         "emulator: sanitizer: leak: TD *")

OFFLINE = OPEN + "tdx_offline_cpu() flushes the cache in a thread that may be preempted: lockdep warns"

OF_RELEASES: typing.Tuple[Known, ...] = (
    *(Known("*", "*", MISUSE, case, OPEN + why, traces) for case, why, traces in MISUSES),
    Known("*", "*", MISUSE, "misuse.sigkill_ends_a_change_of_attributes", ATTRIBUTES, (), False),
    # The same warning, once per boot.
    Known("*", "*", MISUSE, "misuse.slot_of_shared_half_made_before_init_vm_goes",
          OPEN + "INIT_VM does not mind slots where the shared half is from then on; the same warning",
          ("WARNING at arch/x86/kvm/mmu/tdp_iter.c:* tdp_iter_start",), False),
    *(Known(line, "*", MISUSE, "misuse.*_unmaps_shared_half", SHARED_HALF)
      for line in ("v6.18", "v6.19", "v7.*")),
    *(Known(line, "*", MISUSE, "misuse.dirty_logging_ends_where_memory_was_private", LOGGED,
            ("WARNING at arch/x86/kvm/mmu/mmu.c:* *",), line != "v6.18")
      for line in ("v6.18", "v6.19", "v7.*")),
    *(Known(line, "*", MISUSE, "unfinished.*", VCPU_LISTED, LIST)
      for line in ("v6.16", "v6.17", "v6.18")),
    *(Known(line, "*", PREFAULT, "prefault.while_slot_is_deleted_ends", PREFAULT_DELETION)
      for line in ("v6.16", "v6.17")),
    *(Known(line, "*", PREFAULT, "prefault.racing_deletion_ends", PREFAULT_DELETION, (), False)
      for line in ("v6.16", "v6.17")),
    Known("*", "*", PREFAULT, "prefault.of_poisoned_page_ends", PREFAULT_POISON),
    # Of a kernel that is preempted, which x86 has no other of since 7.0; with CONFIG_PREEMPT_NONE the
    # thread moves on its way back to user space. 7.0 to 7.2 have not been looked at.
    *(Known(line, "*", MIGRATE, case, MIGRATED, MOVED, sure and line in SEEN)
      for line in ("v7.0", "v7.1", "v7.2", "v7.3") for case, sure in (
          ("migrate.vcpu.between_two_*", True), ("migrate.vcpu.at_any_moment_*", False),
          # What the dead VM left behind.
          ("audit.*", False))),
    # It is memory of something else: anything may follow.
    *(Known("*", "*", "tdx_init_mem_nested_test", case, NESTED, traces) for case, traces in (
        ("nested.state_cannot_be_read", ()), ("nested.state_cannot_be_written", ("*",)))),
    # --config distro.
    *(Known("*", "*", *row, False) for row in (
        ("tdx_init_mem_nested_test", "nested.smm_cannot_be_entered", NESTED_SMM, ("*",)),
        ("tdx_init_mem_nested_test", "audit.host_is_as_before", "what is left of the former", ()),
        (MISUSE, "misuse.smi_by_user_space_is_survived", OPEN + "with CONFIG_KVM_SMM, "
         "KVM_SET_VCPU_EVENTS may have an SMI pending in a TD: KVM_BUG_ON in KVM_RUN, VM dead",
         ("WARNING at arch/x86/kvm/vmx/main.c:* vt_smi_allowed",)),
        (MISUSE, "misuse.enlightened_vmcs_is_refused", OPEN + "with CONFIG_KVM_HYPERV, "
         "KVM_CAP_HYPERV_ENLIGHTENED_VMCS takes the vCPU of a TD for an ordinary one", ()))),
    # Where it began between 6.18 and 7.2 has not been looked at.
    *(Known(line, "*", "tdx_init_mem_hotplug_test", "hotplug.between_calls_goes_on_elsewhere", OFFLINE,
            ("WARNING at arch/x86/virt/vmx/tdx/tdx.c:* tdx_offline_cpu",), line in SEEN)
      for line in ("v6.19", "v7.0", "v7.1", "v7.2", "v7.3")),
    *(Known(*kernel, "tdx_init_mem_vcpus_test", case, ALL_LOCKS + what, BUGGED, False)
      for kernel in RACING for case, what in (
          ("race.init_vcpu.*", "-EBUSY of INIT_MEM_REGION, or the end of the VM"),
          ("audit.*", "what a dead VM left behind"))),
    # Two threads have to meet by chance: there is no SEAMCALL to hold between the two locks.
    *(Known(line, "base", "tdx_init_mem_vcpus_test", "race.create_vcpu.*", CREATING, (), False)
      for line in ("v6.19", "v7.0", "v7.1", "v7.2")),
    *(Known(line, "base", "tdx_init_mem_memslot_test", case, DROP_GMEM, DROPPED, sure)
      for line in ("v6.16", "v6.17")
      for case, sure in (("change.slot_without_gmem.*", True), ("audit.*", False))),
    Known("*", "base", "tdx_init_mem_abi_test", WRAPS, WRAP),
    Known("v7.3", "shared-lock", "tdx_init_mem_abi_test", WRAPS, WRAP),
    *(Known(*kernel, BUSY, case, fix) for kernel in RACING for case, fix in (
        ("busy.measure_while_reading_cpuid.*",
         ALL_LOCKS + "-EIO of INIT_MEM_REGION, the page added, not measured, and lost"),
        ("busy.finalize_while_reading_cpuid.*", ALL_LOCKS + "-EBUSY of FINALIZE_VM"),
        ("busy.read_cpuid_while_adding.*", ALL_LOCKS + "-EIO of GET_CPUID"),
        ("cpuid.read_while_adding_is_complete", ALL_LOCKS + "a leaf less from GET_CPUID"))),
    *(Known(*kernel, BUSY, "busy.add_while_reading_cpuid.*", ADD) for kernel in RACING),
    *(Known(*kernel, BUSY_FATAL, case, fix, traces) for kernel in RACING for case, fix, traces in (
        ("fatal.init_vcpu_while_adding.*", ALL_LOCKS + "the end of the VM", BUGGED),
        ("fatal.punch_while_init_vcpu.*", MMU_LOCK, NOT_REMOVED))),
    *(Known(*kernel, BUSY_FATAL, "fatal.punch_while_adding_elsewhere.*", ADD_MMU_LOCK, NOT_REMOVED)
      for kernel in RACING),
    *(Known(*kernel, BUSY_FATAL, case, fix, NOT_REMOVED if kernel in RACING else FREED)
      for kernel in (*RACING, *RACING_STILL) for case, fix in (
          ("fatal.punch_while_measuring_elsewhere.*", MEASURE),
          ("fatal.punch_while_finalizing.*", FINALIZE))),
    *(Known(*kernel, FAULT, "told.*_page_add_busy.repeated_completes", ADD) for kernel in RACING),
    *(Known(*kernel, FAULT_ALLOC, "alloc.create_slot.memory_runs_out", BIND)
      for kernel in (*RACING, ("v6.18", "decoupled"))),
    *(Known(line, "base", FAULT_ALLOC, "alloc.create_slot.memory_runs_out", BIND, (), False)
      for line in ("v6.19", "v7.0", "v7.1", "v7.2")),
    *(Known(*kernel, FAULT_VCPU, "vcpu.*", VCPU_LISTED, LIST)
      for kernel in (*RACING, ("v6.18", "decoupled"))),
    *(Known(*kernel, FAULT_VCPU, "audit.*", VCPU_LISTED, LIST, False)
      for kernel in (*RACING, ("v6.18", "decoupled"))),
    Known("*", "*", FAULT_FATAL, "limit.refusal_changes_nothing", CHARGE, CHARGED),
    *(Known(*kernel, BUSY_FATAL, "audit.host_is_as_before", "what a dead VM left behind")
      for kernel in RACING),
    *(Known(*kernel, BUSY_FATAL, "audit.*", "what a dead VM left behind", FREED, False)
      for kernel in RACING_STILL),
)

ORDER = ("v6.18/0009: populate waits for mmap_lock with the invalidate lock held until then; lockdep, "
         "once it has seen that, watches nothing any more")
ORDER_TRACES = ("possible circular locking dependency detected: kvm_gmem_fault_user_mapping under *",
                "possible circular locking dependency detected: *gup_fast* under *")
RETRIED = ("nothing to fix: since v6.18/0006 the kernel tries a busy page again, while the test, which "
           "knows releases and the whole series only, waits for -EBUSY")

READDED = ("nothing to fix: since v6.18/0009 a page that was converted there and back can be added again, "
           "while the test, which knows releases and the whole series only, waits for -EEXIST")

# In the middle of the 6.18 series: what its second half cures may be there, or not.
MIDDLE: typing.Tuple[Known, ...] = (
    *(dataclasses.replace(row, line="v6.18", variant=variant, sure=False)
      for variant in ("mapped-once", "slots-locked")
      for row in OF_RELEASES if matches(("v6.18", row.line), ("base", row.variant))),
    *(Known("v6.18", "mapped-once", f"tdx_init_mem_{family}_test", "*", ORDER, ORDER_TRACES, False)
      for family in ("huge_user", "lockdep", "preparedness")),
    *(Known("v6.18", variant, "tdx_init_mem_steer_test", case, RETRIED, (), False)
      for variant in ("mapped-once", "slots-locked")
      for case in ("failed.page_add_*", "mode.failing_until_*", "mode.signal_ends_*",
                   "mode.busy_once_*")),
    *(Known("v6.18", variant, FAULT, "told.*_page_add_busy.*", RETRIED, (), False)
      for variant in ("mapped-once", "slots-locked")),
    Known("v6.18", "slots-locked", "tdx_init_mem_conversion_test", "*", READDED, (), False),
    *(Known("v6.18", "slots-locked", program, case, READDED)
      for program, case in (
          ("tdx_init_mem_abi_test", "order.page_after_conversion"),
          ("tdx_init_mem_preparedness_test", "*.add_after_conversion_is_as_documented"))),
)

KNOWN: typing.Tuple[Known, ...] = (*OF_RELEASES, *MIDDLE)


def known(line: str, variant: str, program: str) -> typing.List[Known]:
    return [row for row in KNOWN
            if matches((line, row.line), (variant, row.variant), (program, row.program))]


def of_releases() -> typing.List[typing.Tuple[str, str, str]]:
    """Of released kernels: where, which case shows it, what it is and what fixed it.

    Where is as short as it can be: a bug of neighbouring lines is one entry. What only tidies up
    after another bug, and the middle of a series, is left out.
    """
    found: typing.Dict[typing.Tuple[str, str], typing.List[str]] = {}
    for row in OF_RELEASES:
        if row.case.startswith("audit."):
            continue
        family = row.program.removeprefix("tdx_init_mem_").removesuffix("_test")
        kernels = found.setdefault((f"{family}/{row.case}", row.fix), [])
        for line in (name for name in lines.LINES if fnmatch.fnmatchcase(name, row.line)):
            if fnmatch.fnmatchcase("base", row.variant) and line not in kernels:
                kernels.append(line)
    return [(span(kernels), case, fix) for (case, fix), kernels in found.items() if kernels]


def span(kernels: typing.Collection[str]) -> str:
    """Neighbouring lines as "first-last"."""
    runs: typing.List[typing.List[str]] = []
    before = ""
    for name in lines.LINES:
        if name in kernels:
            if runs and runs[-1][-1] == before:
                runs[-1].append(name)
            else:
                runs.append([name])
        before = name
    return ", ".join(run[0] if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
