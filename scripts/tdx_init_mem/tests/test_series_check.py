# SPDX-License-Identifier: GPL-2.0-only
"""A series as a maintainer gets it: form, application, states, stages, exit status."""

import io
import json
import pathlib
import tempfile
import typing
import unittest
import unittest.mock

from tdx_init_mem import (apply, errors, expectations, patch_format, series, series_boot,
                          series_build, series_check, steps)

PATCH = """\
From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001
From: A Developer <a@developer.example>
Date: Sun, 22 Nov 2026 18:53:00 +0000
Subject: [PATCH 1/2] KVM: TDX: Say deux, as the callers
 expect

It was the wrong language.

Signed-off-by: A Developer <a@developer.example>
---
 virt/kvm/a.c | 2 +-
 1 file changed, 1 insertion(+), 1 deletion(-)

diff --git a/virt/kvm/a.c b/virt/kvm/a.c
--- a/virt/kvm/a.c
+++ b/virt/kvm/a.c
@@ -1,3 +1,3 @@
 one
-two
+deux
 three
--
2.39.5
"""
NAME = "0001-KVM-TDX-Say-deux-as-the-callers-exp.patch"


class Directory(unittest.TestCase):

    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.top = pathlib.Path(temporary.name)
        self.out = steps.Steps(out=io.StringIO())

    def patch(self, text: str = PATCH, name: str = NAME) -> pathlib.Path:
        path = self.top / name
        path.write_text(text, encoding="utf-8")
        return path


class Form(Directory):

    def complaints(self, text: str = PATCH, name: str = NAME, number: int = 1, count: int = 2
                   ) -> str:
        return "\n".join(patch_format.complaints(self.patch(text, name), number, count))

    def test_good(self) -> None:
        self.assertEqual(self.complaints(), "")

    def test_numbers(self) -> None:
        self.assertIn("says 1/2, and is 1/3", self.complaints(count=3))
        self.assertIn("is number 2 of its directory", self.complaints(number=2))

    def test_name(self) -> None:
        self.assertIn("not named after", self.complaints(name="0001-KVM-TDX-Say-zwei.patch"))

    def test_subject(self) -> None:
        self.assertIn("not of the form", self.complaints(PATCH.replace("KVM: TDX: S", "tdx: s")))
        self.assertIn("not of the form", self.complaints(PATCH.replace(" expect\n", " expect.\n")))
        self.assertIn("more than 80", self.complaints(PATCH.replace(
            " expect\n", " expect" * 10 + "\n")))
        self.assertIn("is not [PATCH 1/2]", self.complaints(PATCH.replace("[PATCH 1/2] ", "")))

    def test_sign_off(self) -> None:
        sign_off = "Signed-off-by: A Developer <a@developer.example>\n"
        self.assertIn("not signed off", self.complaints(PATCH.replace(sign_off, "")))
        self.assertIn("not signed off", self.complaints(PATCH.replace(sign_off, sign_off.replace(
            "A Dev", "B Dev"))))
        self.assertIn("something follows", self.complaints(PATCH.replace(
            sign_off, f"{sign_off}Cc: x@y.example\n")))

    def test_reason(self) -> None:
        self.assertIn("says nothing", self.complaints(PATCH.replace(
            "It was the wrong language.\n", "")))

    def test_not_a_patch(self) -> None:
        self.assertIn("cannot be read", "\n".join(
            patch_format.complaints(self.top / "none.patch", 1, 1)))

    def test_ours(self) -> None:
        """The patches here are good: so the rules are no stricter than we are."""
        for line in series_check.patched_lines():
            for directory in series_check.DIRECTORIES:
                found = series.of_directory(line, directory)
                for number, patch in enumerate(found, 1):
                    self.assertEqual(patch_format.complaints(patch, number, len(found)), [])


class Apply(Directory):

    def complaints(self, text: str, original: str = "one\ntwo\nthree\n") -> typing.List[str]:
        file = self.top / "source/virt/kvm/a.c"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(original, encoding="utf-8")
        with unittest.mock.patch.object(apply.paths, "BUILD", self.top):
            found = apply.complaints(self.out, self.top / "source", [self.patch(text)])
        self.assertEqual(file.read_text(encoding="utf-8"), original)
        self.assertEqual(list(self.top.glob("am-*")), [])
        return found

    def test_good(self) -> None:
        self.assertEqual(self.complaints(PATCH), [])

    def test_conflict(self) -> None:
        with self.assertRaisesRegex(errors.NotBuilt, "does not apply.*a.c:1"):
            self.complaints(PATCH, "one\nzwei\nthree\n")

    def test_white_space(self) -> None:
        with self.assertRaisesRegex(errors.NotBuilt, "trailing whitespace"):
            self.complaints(PATCH.replace("+deux\n", "+deux \n"))

    def test_offset(self) -> None:
        self.assertIn("offset", "".join(self.complaints(PATCH.replace(
            "@@ -1,3 +1,3 @@", "@@ -7,3 +7,3 @@"), "zero\none\ntwo\nthree\n")))


class States(unittest.TestCase):

    def setUp(self) -> None:
        counts = {series_check.DIRECTORIES[0]: 2, series_check.DIRECTORIES[1]: 3}
        patcher = unittest.mock.patch.object(
            series, "of_directory", lambda line, directory: [
                pathlib.Path(f"{line}/{directory}/{number}")
                for number in range(counts[directory])])
        patcher.start()
        self.addCleanup(patcher.stop)

    def test_one_on_top_of_the_other(self) -> None:
        found = series_check.states("v9.9", every=True)
        self.assertEqual([len(state.patches) for state in found], [1, 2, 3, 4, 5])
        self.assertEqual([state.name for state in found][2], "arch/x86/kvm 1/3")
        self.assertEqual(found[4].patches[:4], found[3].patches)

    def test_patches_of_the_user_come_on_top(self) -> None:
        own = [pathlib.Path("a"), pathlib.Path("b")]
        self.assertEqual([(state.name, len(state.patches))
                          for state in series_check.states("v9.9", True, own)],
                         [("applied 1/2", 6), ("applied 2/2", 7)])
        self.assertEqual(series_check.states("v9.9", False, own)[0].patches[-2:], tuple(own))

    def test_last_of_each(self) -> None:
        self.assertEqual([state.name for state in series_check.states("v9.9", every=False)],
                         ["virt/kvm 2/2", "arch/x86/kvm 3/3"])


class Stages(unittest.TestCase):

    def test_every_row_has_its_patch(self) -> None:
        for line in series_check.patched_lines():
            self.assertEqual(series_boot.stale(line), [])

    def test_row_of_a_patch_that_is_gone_is_noticed(self) -> None:
        row = expectations.Stage("v6.18", "no-such-patch", "decoupled", "")
        with unittest.mock.patch.object(expectations, "STAGES", (row,)):
            self.assertEqual(series_boot.stale("v6.18"), ["v6.18: no patch no-such-patch"])
            self.assertEqual(series_boot.stale("v7.3"), [])

    def test_expectations_follow_the_series(self) -> None:
        for line in series_check.patched_lines():
            patches = series_boot.patches_of(line)
            bed = len(series.of_directory(line, series_check.DIRECTORIES[0]))
            self.assertEqual(series_boot.expected_of(line, patches[:bed]), "shared-lock")
            self.assertEqual(series_boot.expected_of(line, patches[:bed + 1]), "shared-lock")
            self.assertEqual(series_boot.expected_of(line, patches), "decoupled")

    def test_kernel_is_the_nearest_variant_and_what_is_on_top(self) -> None:
        for line in series_check.patched_lines():
            bed = len(series.of_directory(line, series_check.DIRECTORIES[0]))
            count = len(series_boot.patches_of(line))
            for number, variant, applied in ((1, "base", 1), (bed - 1, "base", bed - 1),
                                             (bed, "shared-lock", 0), (bed + 1, "shared-lock", 1),
                                             (count - 1, "shared-lock", count - 1 - bed),
                                             (count, "decoupled", 0)):
                one = series_boot.job_of(line, number)
                self.assertEqual((one.variant, len(one.applied)), (variant, applied))

    def test_of_a_deadlock_some_families_are_enough(self) -> None:
        self.assertEqual(series_boot.job_of("v6.18", 1).tests, expectations.DEADLOCKED)
        for one in (series_boot.job_of("v7.3", 1), series_boot.job_of("v6.18", 15)):
            self.assertIn("punch_hole", one.tests)
            self.assertNotIn("perf", one.tests)


class Status(Directory):

    def status(self, *outcomes: object) -> int:
        checks = series_check.Checks(self.out)
        for outcome in outcomes:
            checks.check("x", unittest.mock.Mock(side_effect=[outcome]))
        return checks.status

    def test_worst_counts(self) -> None:
        self.assertEqual(self.status([]), errors.PASSED)
        self.assertEqual(self.status([], ["warning"], []), errors.FAILED)
        self.assertEqual(self.status(["warning"], errors.NotBuilt("x")), errors.NOT_BUILT)
        self.assertEqual(self.status(errors.Broken("x"), []), errors.BROKEN)

    def test_result_file(self) -> None:
        checks = series_check.Checks(self.out)
        checks.check("x", lambda: ["bad"])
        checks.write(self.top / "results.json")
        data = json.loads((self.top / "results.json").read_text(encoding="utf-8"))
        self.assertEqual((data[0]["name"], data[0]["status"], data[0]["complaints"]),
                         ("x", errors.FAILED, ["bad"]))


class Build(Directory):

    def setUp(self) -> None:
        super().setUp()
        patcher = unittest.mock.patch.object(series_build.paths, "OBJ", self.top)
        patcher.start()
        self.addCleanup(patcher.stop)
        self.target = series_build.Target("v6.18", "no-thp")

    def test_configuration_that_did_not_come_about_is_loud(self) -> None:
        self.target.obj.mkdir()
        (self.target.obj / ".config").write_text("CONFIG_TRANSPARENT_HUGEPAGE=y\n",
                                                 encoding="ascii")
        with self.assertRaisesRegex(errors.NotBuilt, "lacks .*CONFIG_TRANSPARENT_HUGEPAGE=n"):
            series_build.check_configured(self.target)

    def test_configurations_differ_where_they_should(self) -> None:
        wanted = {name: series_build.Target("v6.18", name).wanted
                  for name in series_build.CONFIGURATIONS}
        self.assertEqual([wanted[name]["CONFIG_TRANSPARENT_HUGEPAGE"] for name in wanted],
                         ["y", "n", "y"])
        self.assertEqual([wanted[name]["CONFIG_KVM_INTEL_TDX"] for name in wanted],
                         ["y", "y", "n"])

    def test_silence_of_a_blind_sparse_is_no_praise(self) -> None:
        unit = "arch/x86/kvm/../../../virt/kvm/guest_memfd.o"
        said = {unit: ["virt/kvm/guest_memfd.c: error: too long token expansion"]}
        self.assertEqual(len(series_build.blind(said, {"virt/kvm/guest_memfd.c"})), 1)
        self.assertEqual(series_build.blind(said, {"virt/kvm/kvm_main.c"}), [])

    def test_complaints_are_kept_for_the_same_tools_only(self) -> None:
        series_build.save(self.target, series_build.STATE, units={"a.o": ["w"]})
        saved = series_build.load(self.target, series_build.STATE)
        self.assertEqual(saved and saved["units"], {"a.o": ["w"]})
        with unittest.mock.patch.object(series_build.build, "compiler_version", lambda: "other"):
            self.assertIsNone(series_build.load(self.target, series_build.STATE))

    def test_objects_that_nobody_answers_for_are_built_again(self) -> None:
        for name in ("arch/x86/kvm/x86.o", "virt/kvm/.kvm_main.o.cmd", "arch/x86/kernel/cpu.o"):
            (self.target.obj / name).parent.mkdir(parents=True, exist_ok=True)
            (self.target.obj / name).touch()
        series_build.forget_objects(self.target)
        self.assertEqual([path.name for path in self.target.obj.rglob("*") if path.is_file()],
                         ["cpu.o"])


if __name__ == "__main__":
    unittest.main()
