# SPDX-License-Identifier: GPL-2.0-only
"""A command in the guest: what became of it, in its exit status and in words."""

import io
import unittest

from tdx_init_mem import boot, errors, shell, steps

KTAP = """\
TAP version 13
# tdx-init-mem: alive 5
ok 1 selftests: kvm: tdx_init_mem_abi_test
"""


def console(status: str, *more: str) -> str:
    return "\n".join(["[    4.1] tdx-init-mem: ready, tdx=Y", "[    4.2] tdx-init-mem: start command",
                      *more, *([f"[    9.3] tdx-init-mem: done command status={status}"]
                               if status else [])]) + "\n"


class Judge(unittest.TestCase):
    """shell.judge()"""

    def judge(self, **outcome: object) -> "tuple[int, str]":
        text = io.StringIO()
        status = shell.judge(steps.Steps(text), boot.Outcome(ktap=KTAP, ready=True, **outcome))
        return status, text.getvalue()

    def test_success(self) -> None:
        status, text = self.judge(console=console("0"))
        self.assertEqual(status, errors.PASSED)
        self.assertEqual(text, KTAP.replace("# tdx-init-mem: alive 5\n", ""))

    def test_failure_is_named(self) -> None:
        status, text = self.judge(console=console("7"))
        self.assertEqual(status, errors.FAILED)
        self.assertIn("the command ended with status 7", text)

    def test_success_with_a_warning_is_none(self) -> None:
        status, text = self.judge(console=console(
            "0", "[    5.0] WARNING: arch/x86/kvm/vmx/tdx.c:17 at planted+0x1/0x2, CPU#0: x/1"))
        self.assertEqual(status, errors.FAILED)
        self.assertIn("WARNING", text)

    def test_no_end_is_a_failure(self) -> None:
        status, text = self.judge(console=console(""), reason="silent for 60 s")
        self.assertEqual(status, errors.FAILED)
        self.assertIn("the command did not end: silent for 60 s", text)

    def test_no_boot_is_the_machinery(self) -> None:
        with self.assertRaises(errors.Broken):
            shell.judge(steps.Steps(io.StringIO()), boot.Outcome(reason="no userspace"))


if __name__ == "__main__":
    unittest.main()
