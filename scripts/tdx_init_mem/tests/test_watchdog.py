# SPDX-License-Identifier: GPL-2.0-only
"""The watchdog, with time made up."""

import unittest

from tdx_init_mem import watchdog
from . import saved

READY = "[    4.6] tdx-init-mem: ready, tdx=Y"


def advance(dog: watchdog.Watchdog, start: float, seconds: float) -> "list[str]":
    actions = []
    for step in range(int(seconds * 5) + 1):
        actions += dog.due(start + step / 5)
    return actions


class Watchdog(unittest.TestCase):

    def test_hung_task_gets_stacks_then_the_end(self) -> None:
        dog = watchdog.Watchdog(0.0)
        dog.due(4.0)
        dog.console([READY, "[   22.0] INFO: task prog:67 blocked for more than 10 seconds."])
        self.assertEqual(advance(dog, 4.0, 10.0), [watchdog.CPUS, *watchdog.SYSRQ_KEYS,
                                                    watchdog.QUIT])
        self.assertEqual(dog.reason, "hung task")

    def test_saved_hang_is_recognised(self) -> None:
        dog = watchdog.Watchdog(0.0)
        dog.console(saved("hung.console.log").splitlines())
        self.assertEqual(dog.reason, "hung task")

    def test_good_log_is_left_alone(self) -> None:
        dog = watchdog.Watchdog(0.0)
        dog.console(saved("good.console.log").splitlines())
        self.assertEqual((dog.reason, dog.ended), ("", True))

    def test_planted_hang_is_none(self) -> None:
        dog = watchdog.Watchdog(0.0)
        dog.console(["[1.0] tdx_init_mem planted: INFO: task x:1 blocked for more than 10 seconds."])
        self.assertEqual(dog.reason, "")

    def test_silent_guest_is_ended(self) -> None:
        dog = watchdog.Watchdog(0.0)
        dog.due(4.0)
        dog.console([READY])
        self.assertEqual(advance(dog, 4.0, watchdog.SILENCE_LIMIT - 1), [])
        self.assertIn(watchdog.QUIT, advance(dog, 4.0 + watchdog.SILENCE_LIMIT, 10.0))

    def test_sign_of_life_counts(self) -> None:
        dog = watchdog.Watchdog(0.0)
        dog.due(4.0)
        dog.console([READY])
        for beat in range(40):
            dog.due(4.0 + 5 * beat)
            dog.ktap(["# tdx-init-mem: alive"])
        self.assertEqual(dog.reason, "")

    def test_no_userspace_is_ended(self) -> None:
        dog = watchdog.Watchdog(0.0)
        actions = []
        for second in range(int(watchdog.BOOT_LIMIT) + 10):
            dog.console(["[    0.1] still booting"])
            actions += dog.due(float(second))
        self.assertIn(watchdog.QUIT, actions)

    def test_qemu_that_does_not_quit_is_killed(self) -> None:
        dog = watchdog.Watchdog(0.0)
        dog.console(["Kernel panic - not syncing: x"])
        self.assertEqual(advance(dog, 0.0, 60.0), [watchdog.QUIT, watchdog.KILL])

    def test_guest_that_cannot_power_off_is_ended(self) -> None:
        dog = watchdog.Watchdog(0.0)
        dog.console([READY, "[    9.0] tdx-init-mem: end complete"])
        self.assertIn(watchdog.QUIT, advance(dog, 0.0, 60.0))
        self.assertEqual((dog.ended, dog.reason), (True, "the guest did not power off"))

    def test_guest_that_powers_off_needs_no_reason(self) -> None:
        dog = watchdog.Watchdog(0.0)
        dog.console([READY, "[    9.0] tdx-init-mem: end complete"])
        self.assertEqual(advance(dog, 0.0, watchdog.QUIT_LIMIT - 1), [])
        self.assertEqual(dog.reason, "")
