# SPDX-License-Identifier: GPL-2.0-only
"""Patches, overlay, configuration: what goes into a tree."""

import io
import pathlib
import subprocess
import tempfile
import typing
import unittest

from tdx_init_mem import compose, config, errors, paths, series, steps

MAKEFILE = """\
LIBKVM_x86 += lib/x86/vmx.c

TEST_GEN_PROGS_x86 = $(TEST_GEN_PROGS_COMMON)
TEST_GEN_PROGS_x86 += x86/cpuid_test

TEST_GEN_PROGS_EXTENDED_x86 += x86/nx_huge_pages_test
"""
GOOD = """\
--- a/virt/kvm/a.c
+++ b/virt/kvm/a.c
@@ -1,3 +1,3 @@
 one
-two
+deux
 three
"""


class Paths(unittest.TestCase):

    def test_touched_paths_include_new_deleted_and_renamed(self) -> None:
        patch = (b"diff --git a/old.c b/new.c\nrename from old.c\nrename to new.c\n"
                 b"--- /dev/null\n+++ b/added.c\n--- a/gone.c\n+++ /dev/null\n")
        self.assertEqual(series.touched_paths(patch), {"old.c", "new.c", "added.c", "gone.c"})

    def test_no_way_out_of_the_tree(self) -> None:
        self.assertEqual(series.touched_paths(b"+++ b/../../etc/passwd\n"), set())

    def test_hash_depends_on_order_and_names_an_empty_series(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            one, two = (pathlib.Path(directory) / name for name in ("1", "2"))
            one.write_text("a", encoding="ascii")
            two.write_text("b", encoding="ascii")
            self.assertNotEqual(series.Series((one, two)).hash, series.Series((two, one)).hash)
            self.assertEqual(series.Series(()).hash, "none")


class Overlay(unittest.TestCase):

    RULES = {"LIBKVM_x86": ["lib/x86/tdx/tdx_util.c"],
             "TEST_GEN_PROGS_x86": ["x86/tdx_init_mem/tdx_init_mem_abi_test"]}

    def test_values_follow_the_last_of_their_variable(self) -> None:
        lines = compose.add_to_makefile(MAKEFILE, self.RULES).splitlines()
        at = lines.index("TEST_GEN_PROGS_x86 += x86/tdx_init_mem/tdx_init_mem_abi_test")
        self.assertEqual(lines[at - 1], "TEST_GEN_PROGS_x86 += x86/cpuid_test")
        self.assertIn("LIBKVM_x86 += lib/x86/tdx/tdx_util.c", lines)

    def test_adding_twice_adds_once(self) -> None:
        once = compose.add_to_makefile(MAKEFILE, self.RULES)
        self.assertEqual(compose.add_to_makefile(once, self.RULES), once)

    def test_every_test_is_a_program_and_every_library_file_a_source(self) -> None:
        top = "tools/testing/selftests/kvm"
        rules = compose.overlay_rules([f"{top}/lib/x86/tdx/b.c", f"{top}/lib/x86/tdx/a.h",
                                       f"{top}/x86/tdx_init_mem/x_test.c", "virt/kvm/a.c",
                                       f"{top}/x86/tdx_init_mem/helper.c"])
        self.assertEqual(rules, {"LIBKVM_x86": ["lib/x86/tdx/b.c"],
                                 "TEST_GEN_PROGS_x86": ["x86/tdx_init_mem/x_test"]})


class Tree(unittest.TestCase):
    """compose() on a toy kernel."""

    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.top = pathlib.Path(temporary.name)
        self.out = steps.Steps(out=io.StringIO())
        self._put("Makefile", "VERSION = 6\nPATCHLEVEL = 18\nSUBLEVEL = 1\nEXTRAVERSION =\n")
        self._put("virt/kvm/a.c", "one\ntwo\nthree\n")
        self._put("virt/kvm/b.c", "b\n")
        self._put(compose.MAKEFILE, MAKEFILE)
        for name in compose.COPIED:
            if "." not in name and name != "Makefile":
                (self.source / name).mkdir(parents=True, exist_ok=True)
        self._former, paths.TREE = paths.TREE, self.top / "tree"
        self.addCleanup(setattr, paths, "TREE", self._former)

    @property
    def source(self) -> pathlib.Path:
        return self.top / "source"

    def _put(self, name: str, text: str) -> None:
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def _compose(self, *patches: str) -> compose.Composed:
        files = []
        for number, text in enumerate(patches):
            files.append(self.top / f"{number}.patch")
            files[-1].write_text(text, encoding="utf-8")
        return compose.compose(self.out, compose.Source(self.out, self.source), "toy",
                               series.Series(tuple(files)))

    def _read(self, name: str) -> str:
        return (paths.TREE / "toy" / name).read_text(encoding="utf-8")

    def test_patch_changes_the_tree_and_not_the_source(self) -> None:
        composed = self._compose(GOOD)
        self.assertEqual(self._read("virt/kvm/a.c"), "one\ndeux\nthree\n")
        self.assertEqual((self.source / "virt/kvm/a.c").read_text(encoding="utf-8"),
                         "one\ntwo\nthree\n")
        self.assertEqual(composed.version, "6.18.1")

    def test_without_the_patch_the_file_is_pristine_again(self) -> None:
        self._compose(GOOD)
        self._compose()
        self.assertEqual(self._read("virt/kvm/a.c"), "one\ntwo\nthree\n")

    def test_bad_patch_leaves_the_former_tree_alone(self) -> None:
        self._compose(GOOD)
        bad = GOOD.replace("-two", "-not there")
        with self.assertRaises(errors.NotBuilt):
            self._compose(bad)
        self.assertEqual(self._read("virt/kvm/a.c"), "one\ndeux\nthree\n")
        self.assertEqual([path.name for path in paths.TREE.glob(".stage*")], [])

    def test_second_of_two_patches_failing_applies_neither(self) -> None:
        self._compose()
        with self.assertRaises(errors.NotBuilt):
            self._compose(GOOD, GOOD)
        self.assertEqual(self._read("virt/kvm/a.c"), "one\ntwo\nthree\n")

    def test_unchanged_files_keep_their_mtime(self) -> None:
        self._compose(GOOD)
        before = (paths.TREE / "toy/virt/kvm/a.c").stat().st_mtime_ns
        self._compose(GOOD)
        self.assertEqual((paths.TREE / "toy/virt/kvm/a.c").stat().st_mtime_ns, before)

    def test_edit_in_the_tree_is_undone_and_the_source_never_changes(self) -> None:
        self._compose()
        (paths.TREE / "toy/virt/kvm/b.c").write_text("edited\n", encoding="utf-8")
        self._compose()
        self.assertEqual(self._read("virt/kvm/b.c"), "b\n")
        self.assertEqual((self.source / "virt/kvm/b.c").read_text(encoding="utf-8"), "b\n")

    def test_touch_is_a_reason_to_build(self) -> None:
        first = self._compose().newest.kernel
        (paths.TREE / "toy/virt/kvm/b.c").touch()
        self.assertGreater(self._compose().newest.kernel, first)


    def _user_tree(self, *git: "tuple[str, ...]") -> compose.Composed:
        for command in git:
            subprocess.run(["git", "-C", str(self.source), *command], check=True,
                           capture_output=True)
        source = compose.UserSource(self.out, self.source)
        return compose.compose(self.out, source, "toy", series.Series(()))

    def test_tree_of_the_user_is_taken_without_what_was_built_in_it(self) -> None:
        for git, ignored in (((), "/*\n"), ((("init", "--quiet"), ("add", ".")), "*.o\n")):
            self._put(".gitignore", ignored)
            with self.subTest(git=git):
                self._put("virt/kvm/a.o", "object")
                self._put("virt/kvm/new.c", "not added yet\n")
                self._user_tree(*git)
                self.assertEqual(self._read("virt/kvm/new.c"), "not added yet\n")
                self.assertFalse((paths.TREE / "toy/virt/kvm/a.o").exists())
                self.assertFalse((paths.TREE / "toy/.git").exists())

    def test_tree_of_the_user_is_followed(self) -> None:
        self._user_tree(("init", "--quiet"), ("add", "."))
        self._put("virt/kvm/a.c", "edited by the user\n")
        (self.source / "virt/kvm/b.c").unlink()
        composed = self._user_tree()
        self.assertEqual(self._read("virt/kvm/a.c"), "edited by the user\n")
        self.assertFalse((paths.TREE / "toy/virt/kvm/b.c").exists())
        self.assertGreater(composed.newest.kernel, 0)

    def test_tree_of_the_user_is_never_written(self) -> None:
        before = {path: path.stat().st_mtime_ns for path in self.source.rglob("*")
                  if path.is_file()}
        self._user_tree()
        (paths.TREE / "toy/virt/kvm/a.c").write_text("x", encoding="ascii")
        self._user_tree()
        after = {path: path.stat().st_mtime_ns for path in self.source.rglob("*")
                 if path.is_file()}
        self.assertEqual(before, after)
        self.assertEqual(self._read("virt/kvm/a.c"), "one\ntwo\nthree\n")


class Config(unittest.TestCase):

    def test_lost_options(self) -> None:
        wanted = config.parse("CONFIG_A=y\nCONFIG_B=m\nCONFIG_C=n\n# CONFIG_D is not set\n")
        got = config.parse("CONFIG_A=y\nCONFIG_B=y\n# CONFIG_C is not set\nCONFIG_D=y\n")
        self.assertEqual(config.lost(wanted, got), ["CONFIG_B=m", "CONFIG_D=n"])

    def test_fragments_that_disagree_are_refused(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            files: typing.List[pathlib.Path] = []
            for name, text in (("a", "CONFIG_X=y\n"), ("b", "CONFIG_X=n\n")):
                files.append(pathlib.Path(directory) / name)
                files[-1].write_text(text, encoding="ascii")
            with self.assertRaises(errors.Broken):
                config.merge(files)

    def test_our_fragments_agree(self) -> None:
        self.assertEqual(config.merge(config.fragments())["CONFIG_KVM_INTEL_TDX"], "y")
