# SPDX-License-Identifier: GPL-2.0-only
"""Other configurations of the kernel: what the files say, and where it goes."""

import dataclasses
import pathlib
import tempfile
import unittest
import unittest.mock

from tdx_init_mem import build, configuration, errors, job, paths, watchdog


class Files(unittest.TestCase):

    def test_the_usual_one_adds_nothing(self) -> None:
        usual = configuration.load("")
        self.assertEqual((dict(usual.options), usual.make, usual.slowness), ({}, (), 1))
        self.assertEqual(usual.wanted["CONFIG_PROVE_LOCKING"], "y")

    def test_every_file_can_be_read_and_keeps_lockdep(self) -> None:
        self.assertEqual(configuration.names(), ["distro", "gcov", "kasan"])
        for name in configuration.names():
            wanted = configuration.load(name).wanted
            self.assertEqual(wanted["CONFIG_PROVE_LOCKING"], "y", name)
        self.assertEqual(configuration.load("kasan").wanted["CONFIG_KASAN"], "y")

    def test_gcov_counts_in_chosen_objects_only(self) -> None:
        gcov = configuration.load("gcov")
        self.assertEqual(gcov.wanted["CONFIG_GCOV_PROFILE_ALL"], "n")
        self.assertIn("GCOV_PROFILE_vmx/tdx.o=y", gcov.make)

    def test_a_later_line_wins_over_the_usual_fragments(self) -> None:
        made = configuration.parse("CONFIG_PROVE_LOCKING=n\n")
        self.assertEqual(made.wanted["CONFIG_PROVE_LOCKING"], "n")

    def test_directives_are_read_and_unknown_ones_refused(self) -> None:
        made = configuration.parse("# tdx-init-mem: slowness 4\n# tdx-init-mem: make A=b c\n"
                                   "# tdx-init-mem: cmdline d\n# tdx-init-mem: cmdline e=f\n")
        self.assertEqual((made.slowness, made.make, made.cmdline),
                         (4, ("A=b c",), ("d", "e=f")))
        for bad in ("slowness fast", "slowness 0", "faster 2"):
            with self.assertRaises(errors.Broken, msg=bad):
                configuration.parse(f"# tdx-init-mem: {bad}\n")


class Slow(unittest.TestCase):

    def test_all_limits_grow_by_the_same_factor(self) -> None:
        one = job.Job(config="kasan")
        factor = one.extra.slowness
        self.assertEqual(job.settings(one)["TDX_INIT_MEM_DEADLINE_MS"],
                         str(job.DEADLINE_MS * factor))
        dog = watchdog.Watchdog(0.0, slowness=factor)
        self.assertEqual(dog.due(watchdog.BOOT_LIMIT + 1), [])
        dog.due(watchdog.BOOT_LIMIT * factor + 1)
        self.assertIn("no userspace", dog.reason)


class Names(unittest.TestCase):

    def test_objects_are_kept_apart_and_the_headline_tells(self) -> None:
        one = job.Job(line="v7.3", variant="base", config="kasan")
        self.assertEqual(one.name, "v7.3-base-kasan")
        self.assertIn("variant base, config kasan, ", job.headline(one))
        self.assertNotIn("config", job.headline(dataclasses.replace(one, config="")))

    def test_first_build_starts_from_the_nearest_there_is(self) -> None:
        one = job.Job(line="v7.3", variant="decoupled", config="kasan",
                      applied=(pathlib.Path("x.patch"),))
        order = ["v7.3-decoupled-kasan", "v7.3-base-kasan", "v7.3-shared-lock-kasan",
                 "v7.3-decoupled", "v7.3-base", "v7.3-shared-lock"]
        with tempfile.TemporaryDirectory() as top, \
                unittest.mock.patch.object(paths, "OBJ", pathlib.Path(top)):
            self.assertIsNone(one.seed_name)
            for name in [one.name, *reversed(order)]:
                (paths.OBJ / name).mkdir()
                (paths.OBJ / name / build.STAMP).touch()
                self.assertEqual(one.seed_name, None if name == one.name else name)
