# SPDX-License-Identifier: GPL-2.0-only
"""What is booted again, with made-up outcomes in place of machines."""

import io
import pathlib
import threading
import typing
import unittest
import unittest.mock

from tdx_init_mem import boot, job, qemu, steps, watchdog

SILENT = boot.Outcome(reason=f"{watchdog.SILENT} 60 s")
GOOD = boot.Outcome(ready=True, complete=True)


class BootUp(unittest.TestCase):

    def boot_up(self, *outcomes: boot.Outcome) -> boot.Outcome:
        self.text = io.StringIO()
        top = pathlib.Path("top")
        built = job.Built(qemu.Qemu(("qemu",), "11.1", "here"), top, [])
        lane = job.Lane(steps.Steps(self.text), job.Job(), built, top, top, threading.Event())
        with unittest.mock.patch.object(boot, "boot", side_effect=outcomes) as booted:
            outcome = lane.boot_up(top)
        self.where: typing.List[str] = [str(call[0][1].directory) for call in booted.call_args_list]
        return outcome

    def test_once_if_all_is_well(self) -> None:
        self.assertIs(self.boot_up(GOOD), GOOD)
        self.assertEqual((self.where, self.text.getvalue()), (["top"], ""))

    def test_again_if_it_fell_silent(self) -> None:
        self.assertIs(self.boot_up(SILENT, GOOD), GOOD)
        self.assertEqual(self.where, ["top", "top/again"])
        self.assertIn("silent for 60 s", self.text.getvalue())

    def test_no_third_time(self) -> None:
        self.assertIs(self.boot_up(SILENT, SILENT), SILENT)

    def test_not_for_another_reason_and_not_in_a_test(self) -> None:
        for outcome in (boot.Outcome(reason="panic"), boot.Outcome(qemu_status=-11),
                        boot.Outcome(ready=True, reason=SILENT.reason)):
            self.assertIs(self.boot_up(outcome), outcome)
            self.assertEqual(self.where, ["top"])


if __name__ == "__main__":
    unittest.main()
