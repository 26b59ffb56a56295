# SPDX-License-Identifier: GPL-2.0-only
"""The parser, on saved streams."""

import unittest

from tdx_init_mem import ktap
from tdx_init_mem.results import Status
from . import saved

ABI, LOCKDEP = "tdx_init_mem_abi_test", "tdx_init_mem_lockdep_test"


class Parse(unittest.TestCase):

    def test_good_log_passes(self) -> None:
        abi, lockdep = ktap.parse(saved("good.ktap.log"), [ABI, LOCKDEP])
        self.assertIs(abi.status, Status.PASS)
        self.assertEqual(abi.count(Status.PASS), 22)
        self.assertIs(lockdep.status, Status.PASS)
        self.assertEqual([case.name for case in lockdep.cases],
                         ["mode.of_populate_is_as_promised", "mode.of_hole_is_exclusive"])

    def test_diagnostics_go_to_the_case_they_precede(self) -> None:
        program, = ktap.parse(saved("failed.ktap.log"), [LOCKDEP])
        self.assertIs(program.status, Status.FAIL)
        self.assertEqual(program.reason, "2 of 9 cases failed")
        self.assertIn("Test terminated by assertion", program.cases[0].diagnostics[-1])
        self.assertEqual(program.cases[2].diagnostics, [])

    def test_case_that_was_running_has_crashed_and_later_ones_not_run(self) -> None:
        program, other = ktap.parse(saved("crashed.ktap.log"), [ABI, LOCKDEP])
        self.assertIs(program.status, Status.FAIL)
        self.assertEqual([case.status for case in program.cases],
                         [Status.PASS, Status.CRASH, Status.NOT_RUN])
        self.assertEqual(program.cases[1].name, "refused.gpa_shared.region_untouched")
        self.assertIs(other.status, Status.NOT_RUN)

    def test_program_without_result_line_has_crashed(self) -> None:
        abi, lockdep = ktap.parse(saved("truncated.ktap.log"), [ABI, LOCKDEP])
        self.assertIs(abi.status, Status.CRASH)
        self.assertIs(lockdep.status, Status.NOT_RUN)
        self.assertTrue(any(case.status is Status.CRASH for case in abi.cases))

    def test_every_prefix_of_a_good_log_is_bad(self) -> None:
        text = saved("good.ktap.log")
        end = text.rindex("ok 2 " + LOCKDEP)
        for cut in range(0, end, 97):
            programs = ktap.parse(text[:cut], [ABI, LOCKDEP])
            self.assertTrue(any(program.status.bad for program in programs), f"cut at {cut}")

    def test_empty_stream_has_run_nothing(self) -> None:
        program, = ktap.parse("", [ABI])
        self.assertIs(program.status, Status.NOT_RUN)

    def test_skip_reason_comes_from_the_plan_line(self) -> None:
        abi, lockdep = ktap.parse(saved("skipped.ktap.log"), [ABI, LOCKDEP])
        self.assertIs(abi.status, Status.SKIP)
        self.assertTrue(abi.reason.startswith("VM types 0x1 lack TDX"))
        self.assertIs(lockdep.cases[0].status, Status.SKIP)
        self.assertEqual(lockdep.cases[0].reason, "no lock events")

    def test_exit_status_zero_does_not_hide_a_bad_case(self) -> None:
        text = saved("good.ktap.log").replace("  ok 2 mode", "  not ok 2 mode")
        program = ktap.parse(text, [ABI, LOCKDEP])[1]
        self.assertIs(program.status, Status.FAIL)

    def test_exit_status_zero_without_cases_is_bad(self) -> None:
        text = f"# tdx-init-mem: start {ABI}\n  TAP version 13\n  1..0\nok 1 {ABI}\n"
        program, = ktap.parse(text, [ABI])
        self.assertIs(program.status, Status.FAIL)

    def test_timeout_is_a_hang(self) -> None:
        text = (f"# tdx-init-mem: start {ABI}\n  1..1\n  #  RUN           storm.short ...\n"
                f"not ok 1 {ABI} # TIMEOUT after 120 s\n")
        program, = ktap.parse(text, [ABI])
        self.assertIs(program.status, Status.HANG)
        self.assertEqual((program.cases[0].name, program.cases[0].status),
                         ("storm.short", Status.HANG))

    def test_bail_out_fails_the_program_before_it(self) -> None:
        bail = f"Bail out! the kernel complained during {ABI}"
        for result in ("ok 1", "not ok 1", "ok 1 # SKIP"):
            number, _, comment = result.partition(" # ")
            text = (f"# tdx-init-mem: start {ABI}\n  1..1\n  ok 1 a\n"
                    f"{number} {ABI}{' # ' if comment else ''}{comment}\n{bail}\n")
            program, other = ktap.parse(text, [ABI, LOCKDEP])
            self.assertIs(program.status, Status.FAIL)
            self.assertEqual(program.reason, "" if "not" in result else bail)
            self.assertIs(other.status, Status.NOT_RUN)

    def test_a_test_cannot_forge_the_result_of_its_program(self) -> None:
        text = (f"# tdx-init-mem: start {ABI}\n  1..1\n  ok 1 {ABI}\n"
                f"not ok 1 {ABI} # exit=1\n")
        program, = ktap.parse(text, [ABI])
        self.assertIs(program.status, Status.FAIL)


class Write(unittest.TestCase):

    def test_plans_agree_with_results(self) -> None:
        for name in ("good", "failed", "crashed", "truncated", "skipped", "hung", "warning"):
            text = ktap.write(ktap.parse(saved(f"{name}.ktap.log"), [ABI, LOCKDEP]), "headline")
            lines = text.splitlines()
            self.assertEqual(lines[0], "KTAP version 1")
            self.assertEqual(lines[2], "1..2")
            top = [line for line in lines if line.startswith(("ok ", "not ok "))]
            self.assertEqual(len(top), 2, name)
            planned = sum(int(line.strip()[3:]) for line in lines if line.startswith("  1.."))
            nested = [line for line in lines if line.startswith(("  ok ", "  not ok "))]
            self.assertEqual(planned, len(nested), name)
