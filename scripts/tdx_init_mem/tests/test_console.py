# SPDX-License-Identifier: GPL-2.0-only
"""Splats: found, named, given to the right test."""

import unittest

from tdx_init_mem import console
from . import saved

ABI = "tdx_init_mem_abi_test"


def names(text: str) -> "list[str]":
    return [splat.name for splat in console.find(text).get("", [])]


class Source(unittest.TestCase):

    def test_files_are_named_from_the_top(self) -> None:
        for path in ("../../tree/v7.3-base/virt/kvm/kvm_main.c",
                     "../../tree/v7.3-base/arch/x86/kvm/../../../virt/kvm/kvm_main.c",
                     "arch/x86/kvm/../../../virt/kvm/kvm_main.c"):
            self.assertEqual(console.strip(f"[    9.3] WARNING: {path}:4418 at kvm_vcpu_ioctl+0x1/0x2"),
                             "WARNING: virt/kvm/kvm_main.c:4418 at kvm_vcpu_ioctl+0x1/0x2")


class Saved(unittest.TestCase):

    def test_good_logs_are_silent(self) -> None:
        for name in ("good", "failed", "truncated"):
            self.assertEqual(console.find(saved(f"{name}.console.log")), {}, name)

    def test_recursive_locking_names_both_functions(self) -> None:
        splats = console.find(saved("hung.console.log"))[ABI]
        self.assertEqual(splats[0].name, "possible recursive locking detected: "
                         "kvm_gmem_get_pfn under kvm_gmem_populate")
        self.assertEqual(splats[0].quote, "WARNING: possible recursive locking detected")

    def test_hung_task_names_where_it_blocks(self) -> None:
        splats = console.find(saved("hung.console.log"))[ABI]
        self.assertEqual([splat.hang for splat in splats], [False, True])
        self.assertTrue(splats[1].name.startswith(
            "hung task (tdx_init_mem_ab): blocked in kvm_gmem_get_pfn"), splats[1].name)
        self.assertIn("blocked for more than 10 seconds", splats[1].quote)

    def test_warning_of_new_kernels_names_place_and_function(self) -> None:
        splats = console.find(saved("warning.console.log"))[ABI]
        self.assertEqual([splat.name for splat in splats],
                         ["WARNING at arch/x86/kvm/vmx/tdx.c:1637 tdx_load_mmu_pgd"])

    def test_oops_is_one_complaint_with_its_function(self) -> None:
        splats = console.find(saved("crashed.console.log"))[ABI]
        self.assertEqual([splat.name for splat in splats],
                         ["BUG: kernel NULL pointer dereference in tdx_gmem_post_populate"])


class Lines(unittest.TestCase):
    """One complaint each, as the kernel words them."""

    CASES = (
        ("WARNING: CPU: 0 PID: 45 at arch/x86/kvm/vmx/tdx.c:123 tdx_foo+0x12/0x34 [kvm_intel]",
         "WARNING at arch/x86/kvm/vmx/tdx.c:123 tdx_foo"),
        ("BUG: KASAN: slab-use-after-free in kvm_gmem_release+0x1f/0x90 [kvm]",
         "KASAN: slab-use-after-free in kvm_gmem_release"),
        ("kernel BUG at virt/kvm/guest_memfd.c:77!", "kernel BUG at virt/kvm/guest_memfd.c:77"),
        ("BUG: sleeping function called from invalid context at kernel/locking/rwsem.c:1234",
         "BUG: sleeping function called from invalid context at kernel/locking/rwsem.c:1234"),
        ("watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [prog:45]", "soft lockup"),
        ("rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", "RCU stall"),
        ("WARNING: bad unlock balance detected!", "bad unlock balance detected"),
        ("WARNING: inconsistent lock state", "inconsistent lock state"),
        ("WARNING: suspicious RCU usage", "suspicious RCU usage"),
        ("BUG: Bad page state in process prog  pfn:12345",
         "BUG: Bad page state in process prog  pfn:12345"),
        ("Kernel panic - not syncing: Fatal exception",
         "Kernel panic - not syncing: Fatal exception"),
        ("INFO: trying to register non-static key.", "trying to register non-static key"),
        ("turning off the locking correctness validator.",
         "turning off the locking correctness validator"),
        ("traps: PANIC: double fault, error_code: 0x0", "PANIC: double fault"),
        ("int3: 0000 [#1] SMP NOPTI", "int3"),
        ("divide error: 0000 [#1] SMP", "divide error"),
        ("Oops: invalid opcode: 0000 [#1] SMP", "invalid opcode"),
        ("stack segment: 0000 [#1] SMP", "stack segment"),
        ("list_add corruption. prev->next should be next", "list_add corruption"),
        ("refcount_t: underflow; use-after-free.", "refcount_t: underflow; use-after-free."),
    )
    INNOCENT = (
        "PCI: Using host bridge windows from ACPI; if necessary, use \"pci=nocrs\" and report a bug",
        "virt/tdx: TDX-Module initialized",
        "# a test about divide error: and PANIC: and int3: and invalid opcode: lines",
        "SMP alternatives: stack segment: fine",
        "clocksource: Watchdog remote CPU 1 read timed out",
        "printk: debug: ignoring loglevel setting.",
        "Warning: unable to open an initial console.",
    )

    def test_each_complaint_has_its_name(self) -> None:
        for line, name in self.CASES:
            self.assertEqual(names(f"[    1.234567] {line}\n"), [name], line)

    def test_innocent_lines_are_passed_over(self) -> None:
        for line in self.INNOCENT:
            self.assertEqual(names(f"[    1.234567] {line}\n"), [], line)

    def test_planted_lines_are_passed_over(self) -> None:
        for line, _ in self.CASES:
            self.assertEqual(names(f"[    1.234567] tdx_init_mem planted: {line}\n"), [], line)

    def test_circular_locking_names_both_functions(self) -> None:
        self.assertEqual(names(
            "[    1.0] WARNING: possible circular locking dependency detected\n"
            "[    1.0] 6.18.15 #1 Not tainted\n"
            "[    1.0] prog/67 is trying to acquire lock:\n"
            "[    1.0] ff11 (&mm->mmap_lock){++++}-{4:4}, at: __gup_longterm_locked+0x55/0x160\n"
            "[    1.0] \n"
            "[    1.0] but task is already holding lock:\n"
            "[    1.0] ff11 (mapping.invalidate_lock){++++}-{4:4}, at: kvm_gmem_populate+0x97/0x3a0\n"),
            ["possible circular locking dependency detected: "
             "__gup_longterm_locked under kvm_gmem_populate"])

    def test_complaint_between_two_tests_belongs_to_the_first(self) -> None:
        found = console.find("[1.0] tdx-init-mem: start one\n[1.1] tdx-init-mem: done one status=0\n"
                             "[1.2] kernel BUG at a.c:1!\n[1.3] tdx-init-mem: start two\n")
        self.assertEqual(list(found), ["one"])

    def test_report_of_kasan_is_one_complaint(self) -> None:
        start, end = f"tdx-init-mem: start {ABI}", f"tdx-init-mem: done {ABI} status=0"
        found = console.find("\n".join(f"[   31.5{number:05}] {line}" for number, line in enumerate((
            start,
            "==================================================================",
            "BUG: KASAN: slab-use-after-free in kvm_gmem_punch_hole+0x2b1/0x310 [kvm]",
            "Read of size 8 at addr ff1100000c0ffee0 by task tdx_init_mem_ab/91",
            "",
            "CPU: 1 UID: 0 PID: 91 Comm: tdx_init_mem_ab Not tainted 7.3.4 #1 PREEMPT(voluntary)",
            "Call Trace:",
            " <TASK>",
            " dump_stack_lvl+0x5a/0x90",
            " print_report+0x174/0x4e0",
            " kasan_report+0xc1/0x100",
            " kvm_gmem_punch_hole+0x2b1/0x310 [kvm]",
            " </TASK>",
            "",
            "Allocated by task 91:",
            " kasan_save_stack+0x1c/0x40",
            " __kvm_gmem_create+0x8a/0x2f0 [kvm]",
            "",
            "Freed by task 91:",
            " kasan_save_free_info+0x35/0x60",
            " kvm_gmem_release+0x5f/0x90 [kvm]",
            "",
            "Memory state around the buggy address:",
            ">ff1100000c0ffe80: fb fb fb fb fc fc fc fc fa fb fb fb fb fb fb fb",
            "==================================================================",
            "Disabling lock debugging due to kernel taint",
            end))))
        self.assertEqual([splat.name for splat in found[ABI]],
                         ["KASAN: slab-use-after-free in kvm_gmem_punch_hole"])
        self.assertEqual(list(found), [ABI])

    def test_fault_that_kasan_explains_names_its_function(self) -> None:
        self.assertEqual(names(
            "[    1.0] Oops: general protection fault, probably for non-canonical address "
            "0xdffffc0000000003: 0000 [#1] SMP KASAN\n"
            "[    1.0] KASAN: null-ptr-deref in range [0x0000000000000018-0x000000000000001f]\n"
            "[    1.0] RIP: 0010:kvm_gmem_get_pfn+0x5d/0x2a0 [kvm]\n"
            "[    1.0] Call Trace:\n"
            "[    1.0]  <TASK>\n"
            "[    1.0]  kvm_mmu_faultin_pfn+0x1f/0x90 [kvm]\n"
            "[    1.0]  </TASK>\n"), ["general protection fault in kvm_gmem_get_pfn"])
