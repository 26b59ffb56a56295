# SPDX-License-Identifier: GPL-2.0-only
"""Finds the kernel's complaints on the console and names them.

A name is one line that tells a developer what happened where, without addresses:
"possible recursive locking detected: kvm_gmem_get_pfn under kvm_gmem_populate".
"""

import posixpath
import re
import typing

from . import watchdog
from .results import Splat

_TIME = re.compile(r"^(?:<\d+>)?\[\s*\d+\.\d+\](?:\[[^\]]*\])? ?")
_SOURCE = re.compile(r"(?:\.\./)+(?:tree|src)/[^/\s]+/")
_UP = re.compile(r"\b[\w./-]+/\.\./[\w./-]+")
_MARK = re.compile(r"tdx-init-mem: (start|done|timeout|end)\b ?(\S*)")
_AT = re.compile(r", at: (?:\[<[^>]*>\] )?([\w.]+)\+0x")
_FRAME = re.compile(r"^\s*(\?)?\s*([\w.]+)\+0x[0-9a-f]+/0x[0-9a-f]+")
_RIP = re.compile(r"RIP: 0010:([\w.]+)\+0x")
_END = re.compile(r"---\[ end trace|^</TASK>$")
_TIMED_MARK = re.compile(r"\[\s*(\d+\.\d+)\].*?tdx-init-mem: (start|done) (\S+)")
REPORT_LENGTH = 150

# Two lock reports: who wants the lock, who holds the other.
LOCK_REPORT = re.compile(
    r"(possible (?:recursive locking|circular locking dependency|irq lock inversion dependency) "
    r"detected|bad unlock balance detected|inconsistent lock state|suspicious RCU usage|"
    r"possible deadlock|nested lock was not taken|held lock freed|"
    r"trying to register non-static key|turning off the locking correctness validator|"
    r"lock held when returning to user space|Invalid wait context|"
    r"\S+-safe -> \S+-unsafe lock order detected|process \S+ still has locks held)")
# Complaints in one line; the group, if any, is the place.
ONE_LINE = (
    (re.compile(r"WARNING: (?:CPU: \d+ PID: \d+ )?(?:at )?(\S+:\d+) (?:at )?([\w.]+)\+0x"),
     "WARNING at {0} {1}"),
    (re.compile(r"WARNING: (?:CPU: \d+ PID: \d+ )?at (\S+:\d+)"), "WARNING at {0}"),
    (re.compile(r"BUG: (KASAN: \S+) in ([\w.]+)"), "{0} in {1}"),
    (re.compile(r"BUG: (KCSAN: \S+) in (.*)"), "{0} in {1}"),
    (re.compile(r"(UBSAN: \S+) in (\S+)"), "{0} in {1}"),
    (re.compile(r"kernel BUG at (\S+?)!?$"), "kernel BUG at {0}"),
    (re.compile(r"BUG: (unable to handle .*|kernel NULL pointer dereference).*"), "BUG: {0}"),
    (re.compile(r"(general protection fault)"), "{0}"),
    (re.compile(r"BUG: (sleeping function called from invalid context at \S+)"), "BUG: {0}"),
    (re.compile(r"^(?:traps: )?(PANIC: [^,]+)"), "{0}"),
    (re.compile(r"^(?:Oops: )?(int3|divide error|invalid opcode|stack segment): "), "{0}"),
    (re.compile(r"\b(Oops): "), "{0}"),
    (re.compile(r"BUG: (Bad (?:page|rss).*)"), "BUG: {0}"),
    (re.compile(r"BUG: (using \S+ in preemptible)"), "BUG: {0}"),
    (re.compile(r"(list_(?:add|del)(?:_valid)? corruption)"), "{0}"),
    (re.compile(r"(refcount_t: .*)"), "{0}"),
    (re.compile(r"BUG (\S+) \((?:Not tainted|Tainted.*)\): (.*)"), "slab {0}: {1}"),
    (re.compile(r"(Kernel panic - not syncing: .*)"), "{0}"),
    (re.compile(r"(kmemleak: \d+ new suspected)"), "{0}"),
    (re.compile(r"\bBUG: (?!soft lockup|workqueue lockup)(.*)"), "BUG: {0}"),
    (re.compile(r"\bWARNING: (.*)"), "WARNING: {0}"),
)
# Frames that say nothing about who hangs.
SLEEPING = re.compile(
    r"^(?:__schedule|schedule\w*|__?mutex_lock\w*|rwsem_\w+|__?down_(?:read|write)\w*|down_\w+|"
    r"io_schedule\w*|_raw_spin\w*|lock_acquire|__pfx_\w+|context_switch|preempt_\w+|"
    r"__wait_for_common|wait_for_completion\w*|__flush_work|synchronize_\w+|"
    r"(?:do_)?raw_spin\w*|native_\w+|bit_wait\w*|__wait_on_bit\w*|folio_wait\w*)$")


def strip(line: str) -> str:
    """Without the time, and with source files named from the top of the kernel tree.

    kbuild gets to virt/kvm by way of arch/x86/kvm; what remains of that depends on ccache.
    """
    named = _SOURCE.sub("", _TIME.sub("", line))
    return _UP.sub(lambda match: posixpath.normpath(match[0]), named)


def seconds(console: str) -> typing.Dict[str, float]:
    """Program -> how long it ran, of those that ended."""
    started: typing.Dict[str, float] = {}
    took: typing.Dict[str, float] = {}
    for match in _TIMED_MARK.finditer(console):
        if match[2] == "start":
            started[match[3]] = float(match[1])
        elif match[3] in started:
            took[match[3]] = float(match[1]) - started[match[3]]
    return took


def find(console: str) -> typing.Dict[str, typing.List[Splat]]:
    """Program (or "" for outside of any) -> its splats, in order, each name once."""
    found: typing.Dict[str, typing.List[Splat]] = {}
    lines = [strip(line) for line in console.splitlines()]
    owner, trace_end = "", 0
    for number, line in enumerate(lines):
        mark = _MARK.search(line)
        if mark:
            # What follows "done" until the next start is still about the former test.
            owner = mark[2] if mark[1] == "start" else owner
            continue
        if watchdog.PLANTED in line or number < trace_end:
            continue
        splat = splat_at(lines, number)
        if splat is None:
            continue
        trace_end = number + 1 + (len(splat.lines) if not splat.hang else 0)
        if splat.name not in [other.name for other in found.get(owner, [])]:
            found.setdefault(owner, []).append(splat)
    return found


def splat_at(lines: typing.Sequence[str], number: int) -> typing.Optional[Splat]:
    line = lines[number]
    for pattern, kind in watchdog.HANGS:
        match = pattern.search(line)
        if match:
            body = report(lines, number)
            return Splat(name_hang(kind, match, body), line.strip(), True, body)
    match = LOCK_REPORT.search(line)
    if match:
        body = report(lines, number)
        return Splat(name_lock_report(match[1], body), line.strip(), False, body)
    for pattern, form in ONE_LINE:
        match = pattern.search(line)
        if match:
            body = report(lines, number)
            return Splat(name_one_line(form.format(*match.groups()), body), line.strip(), False,
                         body)
    return None


def report(lines: typing.Sequence[str], number: int) -> typing.Tuple[str, ...]:
    """The lines that belong to the complaint at @number: up to the end of its first call trace."""
    body: typing.List[str] = []
    in_trace = False
    for line in lines[number + 1:number + 1 + REPORT_LENGTH]:
        if _MARK.search(line):
            break
        in_frame = bool(_FRAME.match(line))
        if in_trace and not in_frame and not line.strip().startswith(("<", "RIP:", "RSP:", "RAX:",
                                                                      "RDX:", "RBP:", "R10:",
                                                                      "R13:", "Code:", "asm_")):
            break
        body.append(line)
        in_trace = in_trace or line.strip().startswith("Call Trace:")
        if _END.search(line.strip()):
            break
    return tuple(body)


def name_lock_report(what: str, body: typing.Sequence[str]) -> str:
    """Adds the pair of functions: who takes a lock, under whose lock."""
    places = [match[1] for match in map(_AT.search, body[:30]) if match]
    if what.startswith("possible") and len(places) >= 2:
        return f"{what}: {places[0]} under {places[1]}"
    return f"{what}: {places[0]}" if places else what


def name_hang(kind: str, match: "re.Match[str]", body: typing.Sequence[str]) -> str:
    task = f" ({match[1]})" if match.re.groups and match[1] else ""
    places = [frame for frame in trace(body) if not SLEEPING.match(frame)]
    where = f": blocked in {places[0]}" if places else ""
    under = f" under {places[1]}" if len(places) > 1 else ""
    return f"{kind}{task}{where}{under}"


def name_one_line(name: str, body: typing.Sequence[str]) -> str:
    """Adds the function for those that do not say it in their first line."""
    rip = next((match[1] for match in map(_RIP.search, body) if match), "")
    return f"{name} in {rip}" if rip and rip not in name and name.count(" in ") == 0 else name


def trace(body: typing.Sequence[str]) -> typing.List[str]:
    """The functions of the call trace that the unwinder is sure of."""
    frames = []
    for line in body:
        match = _FRAME.match(line)
        if match and not match[1]:
            frames.append(match[2])
    return frames
