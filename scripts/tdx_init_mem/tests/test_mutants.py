# SPDX-License-Identifier: GPL-2.0-only
"""Headers of mutants, who killed one, and what that means for the exit status."""

import contextlib
import io
import json
import pathlib
import tempfile
import typing
import unittest
import unittest.mock

from tdx_init_mem import (errors, job, judge, kills, known_issues, ktap, lines, matrix, mutant,
                          mutants, steps)
from tdx_init_mem.kills import Killer, Outcome, Result
from tdx_init_mem.results import Case, Program, Splat, Status

ABI, HOLE = "tdx_init_mem_abi_test", "tdx_init_mem_punch_hole_test"
HEADER = """\
Variant: decoupled
Breaks: one thing,
 and goes on about it
Killed-by: abi/order.*
Killed-by: punch_hole
"""
DIFF = "---\n--- a/virt/kvm/a.c\n+++ b/virt/kvm/a.c\n@@ -1 +1 @@\n-Unknown: no\n+Unknown: yes\n"


def made(**changes: typing.Any) -> mutant.Mutant:
    given = {"id": "one", "line": "v7.3", "patch": pathlib.Path("one.patch"),
             "variant": "decoupled", "breaks": "it", "killed_by": ("abi/order.*",), **changes}
    return mutant.Mutant(**given)


def verdict(*programs: Program, **rest: typing.Any) -> judge.Verdict:
    bad = any(program.status.bad for program in programs)
    return judge.Verdict(errors.FAILED if bad else errors.PASSED, list(programs), **rest)


def failed(name: str, *cases: str, splats: typing.Sequence[Splat] = ()) -> Program:
    return Program(name, Status.FAIL, "", [Case(case, Status.FAIL) for case in cases],
                   splats=list(splats))


class Header(unittest.TestCase):

    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.top = pathlib.Path(temporary.name)

    def put(self, text: str, name: str = "one", line: str = "v7.3") -> pathlib.Path:
        path = self.top / line / f"{name}.patch"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def parse(self, header: str, diff: str = DIFF) -> mutant.Mutant:
        return mutant.parse(self.put(header + diff), "v7.3")

    def assert_refused(self, header: str, why: str, diff: str = DIFF) -> None:
        with self.assertRaisesRegex(errors.Broken, why) as caught:
            self.parse(header, diff)
        self.assertNotIn("\n", str(caught.exception))

    def test_all_of_it(self) -> None:
        one = self.parse(HEADER + "Smp: 4\nEmulator: latency=1000\nEmulator: busy=once\n"
                         "Module-param: kvm.gmem_huge_folios=1\n")
        self.assertEqual((one.id, one.line, one.variant), ("one", "v7.3", "decoupled"))
        self.assertEqual(one.breaks, "one thing, and goes on about it")
        self.assertEqual(one.killed_by, ("abi/order.*", "punch_hole"))
        self.assertEqual(one.settings, {"smp": 4, "emulator": ("latency=1000", "busy=once"),
                                        "parameters": ("kvm.gmem_huge_folios=1",)})

    def test_the_diff_is_no_header(self) -> None:
        for diff in (DIFF, DIFF.replace("---\n", "", 1), "diff --git a/x b/x\n" + DIFF):
            self.assertEqual(self.parse(HEADER, diff).id, "one")

    def test_what_is_wrong_is_one_line(self) -> None:
        self.assert_refused(HEADER + "Kiled-by: abi\n", "unknown trailer Kiled-by")
        self.assert_refused(HEADER + "prose\n", "line 6 is no trailer: prose")
        self.assert_refused("Variant: decoupled\nBreaks: it\n", "either Killed-by or Survives")
        self.assert_refused(HEADER + "Survives: it is harmless\n", "either Killed-by or Survives")
        self.assert_refused("Breaks: it\nKilled-by: abi\n", "no Variant")
        self.assert_refused("Variant: base\nKilled-by: abi\n", "no Breaks")
        self.assert_refused(HEADER.replace("decoupled", "coupled"), "no variant coupled")
        self.assert_refused(HEADER + "Variant: base\n", "more than one Variant")
        self.assert_refused(HEADER + "Killed-by: nothing/a\n", "nothing/a: no such test")
        self.assert_refused(HEADER + "Smp: many\n", "many is not a positive number")
        self.assert_refused(HEADER + "Emulator: loud\n", "loud is not OPTION=VALUE")
        self.assert_refused(HEADER + "Module-param: huge=1\n", "huge=1 is not MODULE.NAME=VALUE")
        self.assert_refused(HEADER, "no diff", "")

    def test_unused_id_and_no_mutants_at_all(self) -> None:
        self.put(HEADER + DIFF)
        self.assertEqual([one.id for one in mutant.load(["v7.3"], ["o*"], self.top)], ["one"])
        for ids in (["two"], ["one", "two"]):
            with self.assertRaisesRegex(errors.Broken, "no mutant two"):
                mutant.load(["v7.3"], ids, self.top)
        with self.assertRaisesRegex(errors.Broken, "no mutants of v6.18"):
            mutant.load(["v6.18"], [], self.top)

    def test_those_of_one_kernel_are_together(self) -> None:
        self.put(HEADER + DIFF, "a")
        self.put(HEADER + "Smp: 4\n" + DIFF, "b")
        self.put(HEADER + DIFF, "c")
        self.put(HEADER + DIFF, "d", "v6.18")
        found = mutant.load(["v7.3", "v6.18"], [], self.top)
        self.assertEqual([one.id for one in found], ["d", "b", "a", "c"])

    def test_ours_are_well_formed(self) -> None:
        for one in mutant.load(list(lines.DEFAULT_LINES), []):
            for field in one.settings:
                self.assertTrue(hasattr(job.Job(), field))


class Kills(unittest.TestCase):

    def of(self, *programs: Program, line: str = "v7.3", variant: str = "decoupled",
           **rest: typing.Any) -> typing.List[str]:
        return [str(killer) for killer in
                kills.of_verdict(line, variant, verdict(*programs, **rest))]

    def test_failed_cases_and_splats_and_findings(self) -> None:
        passing = Program(HOLE, Status.PASS, cases=[Case("a.b", Status.PASS)])
        splat = Splat("WARNING at tdx.c:1", "WARNING")
        self.assertEqual(self.of(passing), [])
        self.assertEqual(self.of(passing, failed(ABI, "order.x", splats=[splat]),
                                 outside=["emulator: leak"]),
                         ["abi/order.x", "abi: WARNING at tdx.c:1", "emulator: leak"])

    def test_program_without_a_failed_case(self) -> None:
        self.assertEqual(self.of(Program(ABI, Status.CRASH, "no result")), ["abi: no result"])

    def test_not_run_is_not_killed(self) -> None:
        cut = Program(ABI, Status.HANG, "", [Case("a.b", Status.HANG), Case("c", Status.NOT_RUN)])
        self.assertEqual(self.of(Program(HOLE, Status.NOT_RUN), cut), ["abi/a.b"])

    def test_known_bug_is_no_kill(self) -> None:
        known = Program(ABI, Status.PASS, "", [Case(known_issues.WRAPS, Status.KNOWN)])
        self.assertEqual(self.of(known, variant="base"), [])

    def test_deadlock_that_must_be_is_no_kill(self) -> None:
        splats = [Splat("possible recursive locking detected: kvm_gmem_get_pfn under "
                        "kvm_gmem_populate", "WARNING"),
                  Splat("hung task (x): blocked in kvm_gmem_get_pfn", "INFO", True)]
        hung = Program(ABI, Status.HANG, "", [Case("a.b", Status.HANG)], splats=splats)
        self.assertEqual(self.of(hung, line="v6.18", variant="shared-lock"), [])
        self.assertEqual(len(self.of(hung)), 3)

    def test_machinery_is_no_kill(self) -> None:
        for status in (errors.NOT_BUILT, errors.BROKEN):
            with self.assertRaisesRegex(errors.Stop, "no boot"):
                kills.of_verdict("v7.3", "base", judge.Verdict(status, [], ["no boot"]))

    def test_case_that_does_not_exist_is_no_kill(self) -> None:
        program = ktap.parse(f"# tdx-init-mem: start {ABI}\n  1..0\nok 1 {ABI}\n", [ABI])[0]
        with self.assertRaisesRegex(errors.Broken, "no case of tdx_init_mem_abi_test"):
            self.of(program)


class Judged(unittest.TestCase):

    ORDER = Killer("abi", "order.x")

    def result(self, outcome: Outcome, *killers: Killer, whole: bool = True,
               **header: typing.Any) -> Result:
        return Result(made(**header), outcome, killers=killers, whole_suite=whole)

    def status(self, *args: typing.Any, **kwargs: typing.Any) -> int:
        result = self.result(*args, **kwargs)
        self.assertEqual(bool(kills.complaint(result)), bool(kills.status(result)))
        return kills.status(result)

    def test_killed_as_foretold(self) -> None:
        self.assertEqual(self.status(Outcome.KILLED, self.ORDER), errors.PASSED)
        splat = Killer("abi", "", "WARNING")
        self.assertEqual(self.status(Outcome.KILLED, splat), errors.PASSED)

    def test_killed_by_somebody_else_only(self) -> None:
        for other in (Killer("punch_hole", "order.x"), Killer("abi", "refused.x"),
                      Killer("", "", "emulator: leak")):
            self.assertEqual(self.status(Outcome.KILLED, other), errors.FAILED)
            self.assertEqual(self.status(Outcome.KILLED, other, self.ORDER), errors.PASSED)

    def test_survived(self) -> None:
        harmless = {"killed_by": (), "survives": "it is a comment"}
        self.assertEqual(self.status(Outcome.SURVIVED), errors.FAILED)
        self.assertEqual(self.status(Outcome.SURVIVED, **harmless), errors.PASSED)
        self.assertEqual(self.status(Outcome.KILLED, self.ORDER, **harmless), errors.FAILED)

    def test_what_removing_a_file_costs(self) -> None:
        hole = Killer("punch_hole", "storm.x")
        outside = Killer("", "", "emulator: leak")
        results = [self.result(Outcome.KILLED, self.ORDER, outside, id="a"),
                   self.result(Outcome.KILLED, self.ORDER, hole, id="b"),
                   self.result(Outcome.KILLED, outside, id="c"),
                   self.result(Outcome.SURVIVED, id="d")]
        self.assertEqual(kills.only_by(results), {"abi": ["v7.3/a"]})


class Run(unittest.TestCase):
    """The verb, with matrix.run_one() in place of kernels."""

    GOOD = verdict(Program(ABI, Status.PASS, cases=[Case("order.x", Status.PASS)]))
    BAD = verdict(failed(ABI, "order.x"))

    def run_all(self, *verdicts: typing.Any, full: bool = False,
                found: typing.Sequence[mutant.Mutant] = ()) -> int:
        self.text = io.StringIO()
        with tempfile.TemporaryDirectory() as directory, \
                unittest.mock.patch.object(matrix, "run_one", side_effect=verdicts) as run_one:
            file = pathlib.Path(directory) / "mutants.json"
            status = mutants.run(steps.Steps(self.text),
                                 mutants.Order(found or [made()], full, json=file))
            self.json = json.loads(file.read_text(encoding="utf-8"))
        self.jobs: typing.List[job.Job] = [call[0][1] for call in run_one.call_args_list]
        return status

    def test_control_first_then_only_the_tests_named(self) -> None:
        self.assertEqual(self.run_all(self.GOOD, self.BAD), errors.PASSED)
        self.assertEqual([one.applied for one in self.jobs], [(), (pathlib.Path("one.patch"),)])
        self.assertEqual({one.tests for one in self.jobs}, {("abi/order.*",)})
        self.assertEqual(self.json[0]["killers"], ["abi/order.x"])
        self.assertIn("1 killed", self.text.getvalue())

    def test_whole_suite_if_those_let_it_live(self) -> None:
        self.assertEqual(self.run_all(self.GOOD, self.GOOD, self.GOOD), errors.FAILED)
        self.assertEqual(self.jobs[-1].tests, ())
        self.assertIn("survives, and no Survives says why", self.text.getvalue())

    def test_full_is_the_whole_suite_and_all_boots(self) -> None:
        self.assertEqual(self.run_all(self.GOOD, self.BAD, full=True), errors.PASSED)
        self.assertEqual({(one.tests, one.keep_going) for one in self.jobs}, {((), True)})
        self.assertIn("  abi: v7.3/one\n", self.text.getvalue())

    def test_nothing_is_killed_on_a_kernel_that_fails_by_itself(self) -> None:
        two = [made(), made(id="two")]
        self.assertEqual(self.run_all(self.BAD, found=two), errors.FAILED)
        self.assertEqual([one["outcome"] for one in self.json], ["broken", "broken"])
        self.assertEqual(len(self.jobs), 1)

    def test_one_that_does_not_build_costs_the_others_nothing(self) -> None:
        two = [made(), made(id="two")]
        for stop, status in ((errors.NotBuilt("no"), errors.NOT_BUILT),
                             (errors.Broken("no"), errors.BROKEN)):
            with contextlib.redirect_stderr(io.StringIO()):
                self.assertEqual(self.run_all(self.GOOD, stop, self.BAD, found=two), status)
            self.assertEqual([one["outcome"] for one in self.json], ["broken", "killed"])

    def test_choices_of_cases_are_joined(self) -> None:
        self.assertEqual(mutants.tests_of(["abi/order.a", "punch_hole/x"]),
                         ("abi/order.a", "punch_hole/x"))
        self.assertEqual(mutants.tests_of(["abi/order.a", "abi/order.b"]), ("abi",))
        self.assertEqual(mutants.tests_of(["abi/order.a", "abi/order.a"]), ("abi/order.a",))


if __name__ == "__main__":
    unittest.main()
