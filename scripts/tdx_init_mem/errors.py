# SPDX-License-Identifier: GPL-2.0-only
"""Exit statuses, and the errors that lead to them. Others script against these numbers."""

PASSED = 0
FAILED = 1
NOT_BUILT = 2
BROKEN = 3
INTERRUPTED = 130


class Stop(Exception):
    """Ends the command: one line for the user, and an exit status."""

    status = BROKEN


class NotBuilt(Stop):
    """The kernel or the tests did not build, or a patch did not apply."""

    status = NOT_BUILT


class Broken(Stop):
    """The machinery failed: no QEMU, no sources, no boot, wrong usage."""
