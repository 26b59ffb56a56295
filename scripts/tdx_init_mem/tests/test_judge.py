# SPDX-License-Identifier: GPL-2.0-only
"""From logs to exit status."""

import typing
import unittest
import unittest.mock

from tdx_init_mem import boot, errors, expectations, job, judge, known_issues, matrix
from tdx_init_mem.results import Case, Program, Splat, Status
from . import saved

ABI, LOCKDEP = "tdx_init_mem_abi_test", "tdx_init_mem_lockdep_test"
REPORT: typing.Dict[str, typing.Any] = {"model_version": "0.1", "calls": [], "unimplemented": [],
                                        "sanitizer": []}


def outcome(name: str, **changes: typing.Any) -> boot.Outcome:
    made = boot.Outcome(console=saved(f"{name}.console.log"), ktap=saved(f"{name}.ktap.log"),
                        ready=True, complete=True, report=REPORT)
    for key, value in changes.items():
        setattr(made, key, value)
    return made


def with_left(excused: bool) -> typing.Dict[str, typing.Any]:
    """A TD was there at the end."""
    return {**REPORT, "left": {"tds": 1, "keyids": 1, "pages": 7, "suspended": 0, "each": [
        {"tdr": "0x1000", "hkid": 3, "lifecycle": "BLOCKED", "pages": 7, "excused": excused}]}}


def judged(made: boot.Outcome, names: typing.Sequence[str] = (ABI, LOCKDEP),
           emulated: bool = True) -> judge.Verdict:
    return judge.judge(made, names, judge.Kernel("v6.18", "decoupled", emulated=emulated))


class Status_(unittest.TestCase):

    def test_good_run_is_0(self) -> None:
        verdict = judged(outcome("good"))
        self.assertEqual((verdict.status, verdict.findings), (errors.PASSED, []))

    def test_failed_case_is_1(self) -> None:
        self.assertEqual(judged(outcome("failed"), [LOCKDEP]).status, errors.FAILED)

    def test_warning_is_1_and_named_last(self) -> None:
        verdict = judged(outcome("warning"), [ABI])
        self.assertEqual(verdict.status, errors.FAILED)
        self.assertEqual(verdict.findings[-1], "WARNING at arch/x86/kvm/vmx/tdx.c:1637 "
                         f"tdx_load_mmu_pgd (in {ABI})")

    def test_hang_is_1_with_the_lock_report_last(self) -> None:
        verdict = judged(outcome("hung", complete=False, reason="hung task"))
        self.assertEqual(verdict.status, errors.FAILED)
        self.assertIs(verdict.programs[0].status, Status.HANG)
        self.assertIs(verdict.programs[1].status, Status.NOT_RUN)
        self.assertEqual(verdict.findings[-1], "possible recursive locking detected: "
                         f"kvm_gmem_get_pfn under kvm_gmem_populate (in {ABI})")

    def test_crash_is_1(self) -> None:
        self.assertEqual(judged(outcome("crashed")).status, errors.FAILED)

    def test_truncated_stream_is_1(self) -> None:
        self.assertEqual(judged(outcome("truncated", complete=False)).status, errors.FAILED)

    def test_splat_turns_a_pass_into_a_failure(self) -> None:
        made = outcome("good")
        made.console = made.console.replace(
            f"tdx-init-mem: done {LOCKDEP}",
            f"kernel BUG at a.c:1!\n[    9.000000] tdx-init-mem: done {LOCKDEP}")
        verdict = judged(made)
        self.assertEqual(verdict.status, errors.FAILED)
        self.assertIs(verdict.programs[1].status, Status.FAIL)

    def test_emulator_findings_are_1_and_named(self) -> None:
        for kind in ("unimplemented", "sanitizer"):
            report = {**REPORT, kind: [{"text": "TDH.NEW.LEAF", "count": 2}]}
            verdict = judged(outcome("good", report=report))
            self.assertEqual(verdict.status, errors.FAILED)
            self.assertIn("TDH.NEW.LEAF", verdict.findings[-1])

    def test_leak_is_1_unless_a_test_made_it_or_the_guest_was_killed(self) -> None:
        for excused, ended, status in ((False, True, errors.FAILED), (True, True, errors.PASSED),
                                       (False, False, errors.FAILED)):
            verdict = judged(outcome("good", complete=ended, report=with_left(excused)))
            self.assertEqual(verdict.status, status)
            named = sum("sanitizer: leak: TD 0x1000" in finding for finding in verdict.outside)
            self.assertEqual(named, int(ended and not excused))

    def test_one_leak_among_excused_ones_is_1(self) -> None:
        report = with_left(True)
        report["left"]["each"] += with_left(False)["left"]["each"]
        self.assertEqual(judged(outcome("good", report=report)).status, errors.FAILED)

    def test_leftovers_without_a_td_are_1(self) -> None:
        report = {**REPORT, "left": {"tds": 0, "keyids": 1, "pages": 0, "each": []}}
        self.assertEqual(judged(outcome("good", report=report)).status, errors.FAILED)
        report["left"]["keyids"] = 0
        self.assertEqual(judged(outcome("good", report=report)).status, errors.PASSED)

    def test_missing_report_is_3(self) -> None:
        self.assertEqual(judged(outcome("good", report=None)).status, errors.BROKEN)
        self.assertEqual(judged(outcome("good", report=None), emulated=False).status,
                         errors.PASSED)

    def test_no_boot_is_3(self) -> None:
        verdict = judged(outcome("good", ready=False, reason="panic"))
        self.assertEqual(verdict.status, errors.BROKEN)

    def test_dead_qemu_is_3(self) -> None:
        self.assertEqual(judged(outcome("good", qemu_status=-11)).status, errors.BROKEN)

    def test_bad_end_after_the_last_test_is_1_and_named(self) -> None:
        for late, changes in (("panic", {"reason": "panic"}),
                              ("the guest ended without saying so", {"complete": False}),
                              ("QEMU ended with status 1", {"qemu_status": 1})):
            verdict = judged(outcome("good", **changes))
            self.assertEqual((verdict.status, verdict.outside),
                             (errors.FAILED, [f"after the tests: {late}"]))

    def test_bad_end_in_a_test_is_that_test_s_own(self) -> None:
        verdict = judged(outcome("hung", complete=False, reason="hung task"))
        self.assertEqual(verdict.outside, [])

    def test_report_without_its_parts_is_3(self) -> None:
        for report in ([], {}, {"calls": [], "unimplemented": []}):
            self.assertEqual(judged(outcome("good", report=report)).status, errors.BROKEN)

    def test_splats_outlive_qemu(self) -> None:
        for changes in ({"qemu_status": -11}, {"report": None}):
            verdict = judged(outcome("warning", **changes), [ABI])
            self.assertEqual(verdict.status, errors.BROKEN)
            self.assertIn("WARNING at arch/x86/kvm/vmx/tdx.c:1637 tdx_load_mmu_pgd "
                          f"(in {ABI})", verdict.findings[:-1])

    def test_zero_tests_is_3(self) -> None:
        self.assertEqual(judged(outcome("good", ktap=""), []).status, errors.BROKEN)

    def test_unexpected_skip_is_1_when_emulated_only(self) -> None:
        made = outcome("good", ktap=saved("skipped.ktap.log"))
        self.assertEqual(judged(made).status, errors.FAILED)
        self.assertEqual(judged(made, emulated=False).status, errors.PASSED)


class Known(unittest.TestCase):
    """A bug that a released kernel really has."""

    NAME = "refused.nr_pages_wraps_in_bytes.region_untouched"

    def status(self, mark: str, code: int = 1, after: str = "", name: str = NAME,
               **kernel: bool) -> int:
        ktap = (f"# tdx-init-mem: start {ABI}\n  1..1\n  {mark} 1 {name}\n"
                f"{mark} 1 {ABI} # exit={code}\n{after}")
        made = boot.Outcome(ktap=ktap, ready=True, complete=True, report=REPORT)
        return judge.judge(made, [ABI], judge.Kernel("v6.18", "base", **kernel)).status

    def test_fails_as_it_must(self) -> None:
        self.assertEqual(self.status("not ok"), errors.PASSED)

    def test_excuses_neither_another_exit_status_nor_a_bail_out(self) -> None:
        self.assertEqual(self.status("not ok", code=139), errors.FAILED)
        self.assertEqual(self.status("not ok", after="Bail out! x\n"), errors.FAILED)

    def test_excuses_no_other_case(self) -> None:
        self.assertEqual(self.status("not ok", name=self.NAME.replace("untouched", "other")),
                         errors.FAILED)

    def test_is_news_if_it_passes(self) -> None:
        self.assertEqual(self.status("ok"), errors.FAILED)

    def test_may_be_fixed_by_a_patch_of_the_user(self) -> None:
        self.assertEqual(self.status("ok", patched=True), errors.PASSED)

    def test_is_no_excuse_in_a_tree_of_the_user(self) -> None:
        self.assertEqual(self.status("not ok", released=False), errors.FAILED)
        self.assertEqual(self.status("ok", released=False), errors.PASSED)


class KnownTraces(unittest.TestCase):
    """A known bug that makes the kernel complain, and leaves something behind."""

    NAME, CASE = known_issues.BUSY_FATAL, "fatal.punch_while_adding_elsewhere.both_succeed"
    SPLAT = ("WARNING: CPU: 0 PID: 91 at arch/x86/kvm/vmx/tdx.c:1793 "
             "tdx_sept_remove_private_spte+0x261/0x720 [kvm_intel]\n"
             "[    2.000001] ---[ end trace 0000000000000000 ]---")
    OTHER = "kernel BUG at a.c:1!"

    def judged(self, *splats: str, mark: str = "not ok", left: bool = True,
               rest: typing.Sequence[str] = (), end: str = "", **report: typing.Any
               ) -> judge.Verdict:
        code = " # exit=1" if mark == "not ok" else ""
        made = boot.Outcome(
            console="\n".join([f"[    1.000000] tdx-init-mem: start {self.NAME}",
                               *(f"[    2.000000] {splat}" for splat in splats),
                               f"[    3.000000] tdx-init-mem: done {self.NAME} status=1\n"]),
            ktap=(f"# tdx-init-mem: start {self.NAME}\n  1..1\n  {mark} 1 {self.CASE}\n"
                  f"{mark} 1 {self.NAME}{code}\n{'Bail out! x' if splats else ''}\n"),
            ready=True, complete=not end, reason=end,
            report={**(with_left(False) if left else REPORT), **report})
        return judge.judge(made, [self.NAME, *rest], judge.Kernel("v6.18", "base"))

    def test_come_with_the_failure(self) -> None:
        verdict = self.judged(self.SPLAT)
        self.assertEqual((verdict.status, verdict.findings), (errors.PASSED, []))
        self.assertIs(verdict.programs[0].cases[0].status, Status.KNOWN)

    def test_may_end_the_machine(self) -> None:
        row = known_issues.Known("v6.18", "base", self.NAME, self.CASE, "6.19", ("after the *",))
        for rows, status in (((row,), errors.PASSED), (known_issues.KNOWN, errors.FAILED)):
            with unittest.mock.patch.object(known_issues, "KNOWN", rows):
                verdict = self.judged(left=False, end="panic")
                self.assertEqual(verdict.status, status)
                self.assertEqual("after the tests: panic" in verdict.findings,
                                 status == errors.FAILED)

    def test_may_end_the_kernel_if_anything_may_follow(self) -> None:
        ktap = (f"# tdx-init-mem: start {self.NAME}\n  1..2\n  #  RUN           {self.CASE} ...\n")
        made = boot.Outcome(ktap=ktap, ready=True, reason="panic", report=REPORT)
        for traces, status in ((("*",), errors.PASSED), (("after the *",), errors.FAILED)):
            row = known_issues.Known("v6.18", "base", self.NAME, self.CASE, "6.19", traces)
            with unittest.mock.patch.object(known_issues, "KNOWN", (row,)):
                verdict = judge.judge(made, [self.NAME], judge.Kernel("v6.18", "base"))
            self.assertEqual(verdict.status, status)
            if status == errors.PASSED:
                self.assertEqual(expectations.describe(verdict.programs[0]),
                                 "0 pass, 1 known bug, 1 not run")
            # A program that ended by itself owes the result, whatever the row says.
            made.ktap += f"not ok 1 {self.NAME} # exit=1\n"
            with unittest.mock.patch.object(known_issues, "KNOWN", (row,)):
                verdict = judge.judge(made, [self.NAME], judge.Kernel("v6.18", "base"))
            self.assertEqual(verdict.status, errors.FAILED)
            made.ktap = ktap

    def test_of_what_is_undefined(self) -> None:
        for sure, status in ((True, errors.FAILED), (False, errors.PASSED)):
            row = known_issues.Known("v6.18", "base", self.NAME, self.CASE, "6.19", (), sure)
            with unittest.mock.patch.object(known_issues, "KNOWN", (row,)):
                self.assertEqual(self.judged(mark="ok", left=False).status, status)

    def test_excuse_nothing_else(self) -> None:
        self.assertEqual(self.judged(self.SPLAT, self.OTHER).status, errors.FAILED)
        self.assertEqual(self.judged(self.OTHER).status, errors.FAILED)
        verdict = self.judged(self.SPLAT, sanitizer=[{"rule": "hkid", "text": "y"}])
        self.assertEqual(verdict.status, errors.FAILED)
        self.assertEqual(verdict.findings, ["emulator: sanitizer: hkid: y (1 times)"])

    def test_are_news_without_the_failure(self) -> None:
        verdict = self.judged(self.SPLAT, mark="ok")
        self.assertEqual(verdict.status, errors.FAILED)
        self.assertIn("leak", " ".join(verdict.findings))

    def judged_behind(self, *says: str, splat: str = SPLAT) -> judge.Verdict:
        """With a case behind the known bug that fails, and says so."""
        ktap = (f"# tdx-init-mem: start {self.NAME}\n  1..2\n  not ok 1 {self.CASE}\n"
                + "".join(f"  # {text}\n" for text in says)
                + f"  not ok 2 audit.x\nnot ok 1 {self.NAME} # exit=1\nBail out! x\n")
        console_text = (f"[    1.000000] tdx-init-mem: start {self.NAME}\n[    2.000000] {splat}\n"
                        f"[    3.000000] tdx-init-mem: done {self.NAME} status=1\n")
        made = boot.Outcome(console=console_text, ktap=ktap, ready=True, complete=True,
                            report=with_left(False))
        return judge.judge(made, [self.NAME], judge.Kernel("v6.18", "base"))

    def test_turn_lockdep_off_for_the_cases_behind(self) -> None:
        off = ("a.h:298:x:lockdep gave up: debug_locks is 0",
               "a.h:299:x:Expected 0 (0) != tdx_audit_is_clean(report) (0)", "x: Test failed")
        verdict = self.judged_behind(*off)
        self.assertEqual((verdict.status, verdict.findings), (errors.PASSED, []))
        self.assertEqual(verdict.programs[0].cases[1].reason, f"lockdep is off since {self.CASE}")
        for says in (off[1:], (), (*off, "a.h:295:x:the kernel complained 1 times, first: BUG"),
                     (*off, "a.c:1:x:Expected 0 (0) == populate (22)")):
            self.assertEqual(self.judged_behind(*says).status, errors.FAILED)
        # Nothing was reported that could have turned it off.
        self.assertEqual(self.judged_behind(*off, splat="fine").status, errors.FAILED)

    def test_let_the_rest_run_and_pass(self) -> None:
        first = self.judged(self.SPLAT, rest=[ABI])
        self.assertEqual((first.status, first.findings), (errors.FAILED, []))
        second = judge.Verdict(errors.PASSED, [Program(ABI, Status.PASS)])
        self.assertEqual(judge.merge(first, second).status, errors.PASSED)
        second = judge.Verdict(errors.FAILED, [Program(ABI, Status.FAIL)], ["x"])
        self.assertEqual(judge.merge(first, second).status, errors.FAILED)
        second = judge.Verdict(errors.FAILED, [Program(ABI, Status.NOT_RUN)])
        self.assertEqual(judge.merge(first, second).status, errors.FAILED)


class Answers(unittest.TestCase):
    """A kernel that complains because it must."""

    NAME = expectations.ANSWERS[0].program
    SPLAT, OTHER = KnownTraces.SPLAT, KnownTraces.OTHER

    def judged(self, *splats: str, mark: str = "ok", name: str = NAME) -> judge.Verdict:
        made = boot.Outcome(
            console="\n".join([f"[    1.000000] tdx-init-mem: start {name}",
                               *(f"[    2.000000] {splat}" for splat in splats),
                               f"[    3.000000] tdx-init-mem: done {name} status=0\n"]),
            ktap=(f"# tdx-init-mem: start {name}\n  1..1\n  {mark} 1 fatal.a.b\n"
                  f"{mark} 1 {name}{' # exit=1' if mark == 'not ok' else ''}\n"
                  f"{'Bail out! x' if splats else ''}\n"),
            ready=True, complete=True, report=REPORT)
        return judge.judge(made, [name, ABI], judge.Kernel("v7.3", "base"))

    def test_are_no_failure_and_the_rest_runs(self) -> None:
        first = self.judged(self.SPLAT)
        self.assertIs(first.programs[0].status, Status.PASS)
        self.assertEqual((first.status, first.findings), (errors.FAILED, []))
        second = judge.Verdict(errors.PASSED, [Program(ABI, Status.PASS)])
        self.assertEqual(judge.merge(first, second).status, errors.PASSED)

    def test_excuse_nothing_else(self) -> None:
        for verdict in (self.judged(self.SPLAT, self.OTHER), self.judged(self.OTHER),
                        self.judged(self.SPLAT, mark="not ok"),
                        self.judged(self.SPLAT, name=LOCKDEP)):
            self.assertEqual(verdict.status, errors.FAILED)
            self.assertIs(verdict.programs[0].status, Status.FAIL)
            self.assertNotEqual(verdict.findings, [])


class Compare(unittest.TestCase):
    """Results against the tables of expectations."""

    LOCK = Splat("possible recursive locking detected: kvm_gmem_get_pfn under kvm_gmem_populate",
                 "WARNING: possible recursive locking detected")
    HANG = Splat("hung task (prog): blocked in kvm_gmem_get_pfn", "INFO: task prog:1 blocked", True)

    def program(self, status: Status, *splats: Splat) -> Program:
        return Program(ABI, status, "", [Case("a.b", status)], splats=list(splats))

    def test_pass_is_expected(self) -> None:
        self.assertTrue(expectations.compare("v7.3", "base", self.program(Status.PASS)).expected)

    def test_failure_is_not(self) -> None:
        self.assertFalse(expectations.compare("v7.3", "base", self.program(Status.FAIL)).expected)

    def test_deadlock_where_it_must_be(self) -> None:
        cell = expectations.compare("v6.18", "shared-lock",
                                    self.program(Status.HANG, self.LOCK, self.HANG))
        self.assertTrue(cell.expected)
        self.assertIn("possible recursive locking detected", cell.detail[0])
        self.assertIn("INFO: task", cell.detail[1])

    def test_deadlock_that_is_gone_is_loud(self) -> None:
        cell = expectations.compare("v6.18", "shared-lock", self.program(Status.PASS))
        self.assertFalse(cell.expected)

    def test_deadlock_without_its_splat_is_loud(self) -> None:
        cell = expectations.compare("v6.18", "shared-lock", self.program(Status.HANG, self.HANG))
        self.assertFalse(cell.expected)

    def test_deadlock_with_more_than_that_is_loud(self) -> None:
        other = Splat("KASAN: slab-use-after-free in kvm_gmem_release", "BUG: KASAN")
        cell = expectations.compare("v6.18", "shared-lock",
                                    self.program(Status.HANG, self.LOCK, self.HANG, other))
        self.assertFalse(cell.expected)
        self.assertIn(other.name, cell.detail[0])

    def test_deadlock_after_a_failed_case_is_loud(self) -> None:
        program = self.program(Status.HANG, self.LOCK, self.HANG)
        program.cases.insert(0, Case("a.a", Status.FAIL, "wrong errno"))
        cell = expectations.compare("v6.18", "shared-lock", program)
        self.assertFalse(cell.expected)
        self.assertIn("a.a", cell.detail[0])

    def test_failure_that_no_cell_shows_is_not_green(self) -> None:
        good = self.program(Status.PASS)
        one = job.Job(line="v7.3", variant="base")
        for status in (errors.PASSED, errors.FAILED):
            row, _, notes = matrix.judge_row(one, judge.Verdict(status, [good]), "")
            self.assertEqual((row, bool(notes)), (status, status == errors.FAILED))

    def test_expected_deadlock_is_green(self) -> None:
        hung = self.program(Status.HANG, self.LOCK, self.HANG)
        one = job.Job(line="v6.18", variant="shared-lock")
        verdict = judge.Verdict(errors.FAILED, [hung], ["the deadlock"])
        self.assertEqual(matrix.judge_row(one, verdict, "")[0], errors.PASSED)
