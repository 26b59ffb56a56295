# SPDX-License-Identifier: GPL-2.0-only
"""Options, selection, exit statuses that need no build; and the machine as data."""

import argparse
import contextlib
import io
import json
import pathlib
import tempfile
import unittest
import unittest.mock
import xml.etree.ElementTree as xml

from tdx_init_mem import (apt, cli, errors, initramfs, job, judge, ktap, matrix, qemu, report,
                          steps)
from tdx_init_mem.results import Status
from . import saved


def quiet(*arguments: str) -> int:
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        try:
            return cli.main(arguments)
        except SystemExit as stop:
            return int(stop.code or 0)


class Usage(unittest.TestCase):

    def test_wrong_usage_is_3_not_2(self) -> None:
        self.assertEqual(quiet("run", "--no-such-option"), errors.BROKEN)
        self.assertEqual(quiet("run", "--kernel", "v1.0"), errors.BROKEN)
        self.assertEqual(quiet("run", "--smp", "0"), errors.BROKEN)
        self.assertEqual(quiet("run", "--config", "no-such"), errors.BROKEN)

    def test_unusable_qemu_is_3(self) -> None:
        self.assertEqual(quiet("run", "--qemu", "/bin/true", "--kernel", "v6.18", "--dry-run"),
                         errors.BROKEN)

    def test_missing_patch_file_is_2(self) -> None:
        self.assertEqual(quiet("run", "--apply", "/no/such.patch", "--dry-run"), errors.NOT_BUILT)

    def test_bisect_never_blames_what_does_not_build(self) -> None:
        self.assertEqual(quiet("bisect-run", "--apply", "/no/such.patch", "--dry-run"), 125)

    def test_bug_of_the_runner_blames_no_kernel(self) -> None:
        for error in (ValueError("a\nb"), OSError("disk")):
            with unittest.mock.patch.object(cli, "job_of", side_effect=error):
                self.assertEqual(quiet("run"), errors.BROKEN)
                self.assertEqual(quiet("bisect-run"), 125)

    def test_bug_of_the_runner_is_one_line_and_a_traceback_in_the_log(self) -> None:
        with unittest.mock.patch.object(cli, "job_of", side_effect=ValueError("a\nb")), \
                unittest.mock.patch.object(steps.Steps, "log") as log, \
                contextlib.redirect_stderr(io.StringIO()) as stderr:
            cli.main(["run"])
        self.assertEqual(stderr.getvalue().count("\n"), 1)
        self.assertIn("Traceback", log.call_args[0][0])

    def test_list_works_anywhere(self) -> None:
        self.assertEqual(quiet("list"), errors.PASSED)


class Select(unittest.TestCase):

    PROGRAMS = ["tdx_init_mem_abi_test", "tdx_init_mem_punch_hole_test"]

    def test_all_without_globs(self) -> None:
        self.assertEqual(len(job.select(self.PROGRAMS, [])), 2)

    def test_family_full_name_and_case(self) -> None:
        self.assertEqual(job.select(self.PROGRAMS, ["abi"]), [("tdx_init_mem_abi_test", "")])
        self.assertEqual(job.select(self.PROGRAMS, ["*hole*"]),
                         [("tdx_init_mem_punch_hole_test", "")])
        self.assertEqual(job.select(self.PROGRAMS, ["abi/refused*"]),
                         [("tdx_init_mem_abi_test", "refused*")])

    def test_no_match_is_an_error(self) -> None:
        with self.assertRaises(errors.Broken):
            job.select(self.PROGRAMS, ["nothing"])
        with self.assertRaisesRegex(errors.Broken, "nothing"):
            job.select(self.PROGRAMS, ["abi", "nothing"])

    def test_two_choices_of_cases_are_an_error(self) -> None:
        with self.assertRaisesRegex(errors.Broken, "one choice of cases"):
            job.select(self.PROGRAMS, ["abi/a*", "abi/b*"])
        self.assertEqual(len(job.select(self.PROGRAMS, ["abi/a*", "*/a*"])), 2)


class Qemu(unittest.TestCase):

    def fake(self, version: str, options: str) -> str:
        path = pathlib.Path(self.directory.name) / "qemu"
        path.write_text(f"#!/bin/sh\n[ $1 = --version ] && echo 'QEMU emulator version {version}'\n"
                        f"[ $1 = --help ] && echo '{options}'\nexit 0\n", encoding="ascii")
        path.chmod(0o755)
        return str(path)

    def setUp(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)

    def test_new_enough_with_plugins(self) -> None:
        self.assertEqual(qemu.unusable([self.fake("11.1.3", "-plugin x")]), "")
        self.assertEqual(qemu.unusable([self.fake("12.0.0", "-plugin x")]), "")

    def test_old_or_without_plugins(self) -> None:
        self.assertIn("10.2", qemu.unusable([self.fake("10.2.9", "-plugin x")]))
        self.assertIn("plugins", qemu.unusable([self.fake("11.1.0", "-smp n")]))


class Apt(unittest.TestCase):

    def stanza(self, uri: str, release: str, origin: str) -> str:
        return f"MetaKey: x\nOrigin: {origin}\nRelease: {release}\nRepo-URI: {uri}\n"

    def test_main_archive_before_security_and_others(self) -> None:
        listing = "\n".join([
            self.stanza("http://mirror.example/debian-security/", "bookworm-security", "Debian"),
            self.stanza("http://other.example/apt/", "nodistro", "Other"),
            self.stanza("http://mirror.example/debian/", "bookworm", "Debian")])
        self.assertEqual(apt.pick_mirror(listing), "http://mirror.example/debian")

    def test_nothing_to_choose_from(self) -> None:
        self.assertEqual(apt.pick_mirror(""), "")


class Image(unittest.TestCase):

    def test_cpio_is_aligned_and_ends(self) -> None:
        file = io.BytesIO()
        cpio = initramfs.Cpio(file)
        cpio.file("a/b/c", b"12345")
        cpio.device("dev/null", 1, 3)
        cpio.end()
        data = file.getvalue()
        self.assertEqual(len(data) % 4, 0)
        self.assertEqual(data.count(b"070701"), 6)
        self.assertIn(b"TRAILER!!!\0", data)

    def test_orders_quote_what_the_user_typed(self) -> None:
        order = initramfs.Order(pathlib.Path("/x/tdx_init_mem_abi_test"), 9, "a*; reboot")
        text = initramfs.run_conf([], [order], {"A": "b c"})
        self.assertIn("run_one tdx_init_mem_abi_test 9 'a*; reboot'", text)
        self.assertIn("export A='b c'", text)

    def test_modules_get_their_parameters(self) -> None:
        text = initramfs.run_conf([], [], {}, ["kvm.gmem_huge_folios=1", "kvm_intel.a=b"])
        self.assertIn("options_kvm=gmem_huge_folios=1\n", text)
        self.assertIn("options_kvm_intel='tdx=1 a=b'\n", text)

    def test_parameters_are_of_the_modules_that_there_are(self) -> None:
        for bad in ("gmem_huge_folios=1", "ext4.a=b", "kvm.a", "kvm.a=b c", "kvm.a=$(reboot)"):
            with self.assertRaises(argparse.ArgumentTypeError, msg=bad):
                cli.parameter(bad)


class Files(unittest.TestCase):

    def verdict(self, name: str) -> judge.Verdict:
        programs = ktap.parse(saved(f"{name}.ktap.log"), ["tdx_init_mem_abi_test"])
        return judge.Verdict(1, programs, ["finding"])

    def test_junit_counts_agree(self) -> None:
        for name in ("good", "crashed", "hung", "warning"):
            top = xml.fromstring(report.junit(self.verdict(name), "headline"))
            for suite in top:
                self.assertEqual(int(suite.get("failures", "-1")),
                                 len(suite.findall("testcase/failure")), name)

    def test_unwritable_file_does_not_cost_the_summary(self) -> None:
        text = io.StringIO()
        options = cli.parser().parse_args(["run", "--json", "/no/such/file"])
        with unittest.mock.patch.object(job, "run", return_value=self.verdict("good")), \
                unittest.mock.patch.object(job, "run_directory",
                                           return_value=pathlib.Path("/tmp/x")), \
                unittest.mock.patch.object(steps.Steps, "log_to"), \
                self.assertRaises(errors.Broken):
            cli.do_run(steps.Steps(text), options)
        self.assertIn("result: ", text.getvalue())
        text.truncate(0)
        with self.assertRaises(OSError):
            matrix.summarise(steps.Steps(text), [(job.Job(), self.verdict("good"), "")],
                             pathlib.Path("/no/such/file"))
        self.assertIn("as expected", text.getvalue())

    def test_json_can_be_read_back(self) -> None:
        data = json.loads(report.as_json(self.verdict("crashed"), "headline", [("boot", 1.0)]))
        self.assertEqual(data["status"], 1)
        self.assertEqual(data["programs"][0]["cases"][1]["status"], Status.CRASH.value)


if __name__ == "__main__":
    unittest.main()
