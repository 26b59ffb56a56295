# SPDX-License-Identifier: GPL-2.0-only
"""Decides, from what the guest prints and when, that it hangs, and what to do about it.

Time comes in as an argument, actions go out as a list: no clock and no QEMU in here.
"""

import re
import time
import typing

# Written by a test to see whether the audit is awake (tdx_audit.h): exactly these do not count.
PLANTED = "tdx_init_mem planted:"

QUIT = "quit"
KILL = "kill"
CPUS = "cpus"  # what they do, of the machine and not of its kernel
SYSRQ_KEYS = ("w", "l", "d")
SILENT = "silent for"  # how that reason begins

# The one place that says how slow a machine may be.
BOOT_LIMIT = 120.0
SILENCE_LIMIT = 60.0
GRACE = 2.0
PER_KEY = 0.7
QUIT_LIMIT = 20.0

HANGS = (
    (re.compile(r"INFO: task (\S+):\d+ (?:<\S+> )?(?:is )?blocked.* for more than \d+ seconds"),
     "hung task"),
    (re.compile(r"watchdog: BUG: soft lockup - CPU#\d+ stuck"), "soft lockup"),
    (re.compile(r"watchdog: .*hard LOCKUP|NMI watchdog: .*LOCKUP"), "hard lockup"),
    (re.compile(r"BUG: workqueue lockup"), "workqueue lockup"),
    (re.compile(r"rcu: INFO: .*(?:self-detected stall|detected stalls|expedited stalls)"),
     "RCU stall"),
)
PANIC = re.compile(r"Kernel panic - not syncing")
MARK = re.compile(r"tdx-init-mem: (boot|ready|end|start|done|timeout|shell)\b")


class Watchdog:
    """One boot. Feed console() and ktap(), poll due()."""

    def __init__(self, now: typing.Optional[float] = None, interactive: bool = False,
                 slowness: int = 1) -> None:
        self._now = time.monotonic() if now is None else now
        self._start = self._now
        self._active = self._now
        self._interactive = interactive
        self._boot_limit = BOOT_LIMIT * slowness
        self._silence_limit = SILENCE_LIMIT * slowness
        self._script: typing.List[typing.Tuple[float, str]] = []
        self.reason = ""
        self.ready_after = 0.0
        self.ended = False

    def console(self, lines: typing.Sequence[str]) -> None:
        if lines:
            self._active = self._now
        for line in lines:
            mark = MARK.search(line)
            if mark and mark[1] == "ready":
                self.ready_after = max(self._now - self._start, 0.001)
            if mark and mark[1] == "end":
                self.ended = True
                self._plan([(QUIT_LIMIT, QUIT)])
            if self.reason or PLANTED in line:
                continue
            if PANIC.search(line):
                self.reason = "panic"
                self._plan([(GRACE, QUIT)])
            for pattern, name in HANGS:
                if pattern.search(line):
                    self._hang(name)
                    break

    def ktap(self, lines: typing.Sequence[str]) -> None:
        if lines:
            self._active = self._now

    def due(self, now: float) -> typing.List[str]:
        """What to do now: QUIT, KILL, CPUS, or a SysRq key."""
        self._now = now
        if not self._script and not self._interactive:
            if not self.ready_after and now - self._start > self._boot_limit:
                self._hang(f"no userspace after {self._boot_limit:.0f} s")
            elif now - self._active > self._silence_limit:
                self._hang(f"{SILENT} {self._silence_limit:.0f} s")
        actions = [action for at, action in self._script if at <= now]
        self._script = [(at, action) for at, action in self._script if at > now]
        if QUIT in actions and self.ended and not self.reason:
            self.reason = "the guest did not power off"
        return actions

    def _hang(self, reason: str) -> None:
        """Lets the guest finish its report, asks for the stacks, ends it."""
        self.reason = reason
        keys = [(GRACE + number * PER_KEY, key) for number, key in enumerate(SYSRQ_KEYS)]
        self._plan([(0.0, CPUS), *keys, (GRACE + (len(keys) + 1) * PER_KEY, QUIT)])

    def _plan(self, script: typing.Sequence[typing.Tuple[float, str]]) -> None:
        self._script = [(self._now + delay, action) for delay, action in script]
        self._script.append((self._script[-1][0] + QUIT_LIMIT, KILL))
