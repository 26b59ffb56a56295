# SPDX-License-Identifier: GPL-2.0-only
"""Which mutants are of one file only, of verdicts that are made up."""

import io
import json
import pathlib
import tempfile
import typing
import unittest
import unittest.mock

from tdx_init_mem import errors, job, judge, matrix, mutant, mutants, sentinels, steps
from tdx_init_mem.results import Case, Program, Status

FAMILIES = ("abi", "busy", "hole", "stress")


def made(name: str, *killed_by: str, **changes: typing.Any) -> mutant.Mutant:
    given = {"id": name, "line": "v7.3", "patch": pathlib.Path(name), "variant": "decoupled",
             "breaks": "it", "killed_by": killed_by, **changes}
    return mutant.Mutant(**given)


class Worth(unittest.TestCase):

    def test_is_of_files_that_there_are(self) -> None:
        programs = [mutant.family(program) for program in sentinels.compose.programs()]
        self.assertLessEqual(sentinels.WORTH.keys(), set(programs))


class Files(unittest.TestCase):
    """sentinels.run() with a suite of four files, and run_one() in place of kernels."""

    def setUp(self) -> None:
        programs = [f"{mutant.PREFIX}{name}{mutant.SUFFIX}" for name in FAMILIES]
        for target, name, value in ((sentinels.compose, "programs", lambda: programs),
                                    (sentinels, "WORTH", {"stress": "random"})):
            patch = unittest.mock.patch.object(target, name, value)
            patch.start()
            self.addCleanup(patch.stop)
        self.jobs: typing.List[job.Job] = []
        self.finds: typing.Dict[str, typing.Set[str]] = {}  # mutant -> families
        self.together: typing.Dict[typing.FrozenSet[str], typing.Set[str]] = {}
        self.stops: typing.Dict[typing.FrozenSet[str], errors.Stop] = {}
        self.spoils: typing.Dict[str, str] = {}  # family that failed -> which fails then

    def run_one(self, _: steps.Steps, wanted: job.Job) -> judge.Verdict:
        self.jobs.append(wanted)
        planted = {str(path) for path in wanted.applied}
        if frozenset(planted) in self.stops:
            raise self.stops[frozenset(planted)]
        ran = wanted.tests or FAMILIES
        failing = {name for one in planted for name in self.finds.get(one, set()) if name in ran}
        failing |= self.together.get(frozenset(planted), set()) & set(ran)
        failing |= {self.spoils[name] for name in failing & self.spoils.keys()
                    if self.spoils[name] in ran}
        programs = [Program(f"{mutant.PREFIX}{name}{mutant.SUFFIX}",
                            Status.FAIL if name in failing else Status.PASS, "",
                            [Case("a.b", Status.FAIL, "", ["# a.c:1:b:it hangs"])
                             if name in failing else Case("a.b", Status.PASS)])
                    for name in ran]
        return judge.Verdict(errors.FAILED if failing else errors.PASSED, programs)

    def files(self, *planted: mutant.Mutant, some: bool = False) -> int:
        self.text = io.StringIO()
        with tempfile.TemporaryDirectory() as directory, \
                unittest.mock.patch.object(matrix, "run_one", self.run_one):
            file, page = (pathlib.Path(directory) / name for name in ("files.json", "page.rst"))
            status = sentinels.run(steps.Steps(self.text), mutants.Order(
                planted, some=some, json=file, rst=page))
            self.json = json.loads(file.read_text(encoding="utf-8"))
            self.rst = page.read_text(encoding="utf-8")
        return status

    def asked(self) -> typing.List[typing.Tuple[str, str]]:
        """What was planted, and who looked, without the control."""
        return [(" ".join(map(str, one.applied)), " ".join(one.tests)) for one in self.jobs
                if one.applied]

    ALL = (made("a", "abi/x"), made("b", "busy"), made("h", "hole/y", "hole/z"))

    def test_several_at_once_for_the_rest_of_the_suite(self) -> None:
        self.finds = {"a": {"abi"}, "b": {"busy"}, "h": {"hole"}}
        self.assertEqual(self.files(*self.ALL), errors.PASSED)
        self.assertEqual(self.asked(), [("a", "abi busy hole"), ("b", "abi busy hole"),
                                        ("h", "abi busy hole"), ("a b h", "stress")])
        self.assertEqual(self.json["hole"], {
            "line": "v7.3", "variant": "decoupled", "id": "h", "breaks": "it",
            "found_by": [{"family": "hole", "case": "a.b", "finding": "", "says": ["it hangs"]}],
            "other_programs": 1, "other_cases": 1})
        self.assertIn("h (v7.3, decoupled): it", self.rst)
        self.assertIn("4 files: 3 with a mutant that no other finds, 1 for another reason, 0 with "
                      "neither", self.text.getvalue())

    def test_asks_who_finds_some_of_each(self) -> None:
        self.finds = {"a": {"abi"}, "b": {"busy", "stress"}, "h": {"hole"}}
        self.assertEqual(self.files(*self.ALL), errors.FAILED)
        self.assertEqual(self.asked()[3:], [
            ("a b h", "stress"), ("a", "stress"), ("b", "stress"), ("h", "stress")])
        self.assertEqual(self.json["busy"]["complaint"], "no mutant is found by it alone")
        self.assertEqual((self.json["abi"]["id"], self.json["hole"]["id"]), ("a", "h"))

    def test_halves_where_they_are_found_together_only(self) -> None:
        self.finds = {"a": {"abi"}, "b": {"busy"}, "h": {"hole"}}
        self.together = {frozenset("abh"): {"stress"}}
        self.assertEqual(self.files(*self.ALL), errors.PASSED)
        self.assertEqual(self.asked()[7:], [("a", "busy hole stress"), ("b h", "abi stress")])

    def test_halves_where_they_cannot_be_planted_together(self) -> None:
        self.finds = {"a": {"abi"}, "b": {"busy"}, "h": {"hole"}}
        self.stops = {frozenset("abh"): errors.NotBuilt("does not apply")}
        self.assertEqual(self.files(*self.ALL), errors.PASSED)

    def test_another_candidate_for_one_that_others_find(self) -> None:
        self.finds = {"a": {"abi", "busy"}, "a2": {"abi"}, "b": {"busy"}, "h": {"hole"}}
        self.assertEqual(self.files(*self.ALL, made("a2", "abi")), errors.PASSED)
        self.assertEqual(self.json["abi"]["id"], "a2")
        self.assertIn("v7.3/a: found by busy/a.b as well", self.text.getvalue())

    def test_what_a_failure_leaves_behind_is_no_finding(self) -> None:
        self.finds = {"a": {"abi"}, "b": {"busy"}, "h": {"hole"}}
        self.spoils = {"abi": "hole"}
        self.assertEqual(self.files(*self.ALL), errors.PASSED)
        self.assertEqual(self.asked()[:2], [("a", "abi busy hole"), ("a", "busy hole")])

    def test_one_that_its_file_does_not_find(self) -> None:
        self.finds = {"b": {"busy"}, "h": {"hole"}}
        self.assertEqual(self.files(*self.ALL), errors.FAILED)
        self.assertIn("v7.3/a: found by none", self.text.getvalue())

    def test_a_reason_that_is_out_of_date(self) -> None:
        self.finds = {"a": {"abi"}, "b": {"busy"}, "h": {"hole"}, "s": {"stress"}}
        self.assertEqual(self.files(*self.ALL, made("s", "stress")), errors.FAILED)
        self.assertIn("stress: has a mutant of its own", self.text.getvalue())

    def test_one_of_several_files_is_no_candidate(self) -> None:
        self.assertEqual(self.files(*self.ALL[1:], made("a", "abi", "busy")), errors.FAILED)
        self.assertNotIn("a", {name for name, _ in self.asked()})

    def test_only_some(self) -> None:
        self.finds = {"a": {"abi"}}
        self.assertEqual(self.files(self.ALL[0], some=True), errors.PASSED)
        self.assertEqual(list(self.json), ["abi"])

    def test_the_kernel_with_most_of_them_first(self) -> None:
        self.finds = {"a": {"abi"}, "b": {"busy"}, "h": {"hole"}}
        self.assertEqual(self.files(made("0", "abi", variant="base"), *self.ALL), errors.PASSED)
        self.assertEqual(self.json["abi"]["id"], "a")

    def test_nothing_on_a_kernel_that_fails_by_itself(self) -> None:
        self.stops = {frozenset(): errors.Broken("no boot")}
        self.assertEqual(self.files(*self.ALL), errors.FAILED)
        self.assertEqual(self.asked(), [])
        self.assertIn("does not pass without it: no boot", self.text.getvalue())


if __name__ == "__main__":
    unittest.main()
