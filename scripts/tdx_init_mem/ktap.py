# SPDX-License-Identifier: GPL-2.0-only
"""Reads the guest's KTAP stream, pessimistically, and writes clean KTAP.

A program has crashed until its result line says otherwise; a planned case without a result has
crashed, too. A program that was never started has not run.
"""

import re
import typing

from .results import Case, Program, Status

INDENT = "  "
NO_CASE = "exit 0, but no case ran"
_START = re.compile(r"^# tdx-init-mem: start (\S+)$")
_ALIVE = re.compile(r"^# tdx-init-mem: alive")
_PLAN = re.compile(r"^1\.\.(\d+)(?:\s+#\s*SKIP\b\s*(.*))?$")
_RESULT = re.compile(r"^(not ok|ok) (\d+)(?: -)?\s*([^#]*?)(?:\s*#\s*(.*))?$")
_VERSION = re.compile(r"^(?:K?TAP version \d+)$")
_SKIP = re.compile(r"^SKIP\b[:\s]*(.*)$", re.IGNORECASE)
_EXIT = re.compile(r"^exit=(\d+)$")
_BAIL = re.compile(r"^Bail out!")
_TIMEOUT = re.compile(r"^(?:TIMEOUT|HANG)\b")
_RUN = re.compile(r"^#\s+RUN\s+(\S+) \.\.\.")
_NOISE = re.compile(r"^#\s+(?:RUN|OK|FAIL|SKIP|Starting|PASSED:|FAILED:|Totals:)")


def parse(text: str, expected: typing.Sequence[str]) -> typing.List[Program]:
    """One Program for each name in @expected, in that order, whatever the stream lacks."""
    programs = {name: Program(name, Status.NOT_RUN, "the run ended before") for name in expected}
    current: typing.Optional[Program] = None
    nested: typing.List[str] = []
    for line in text.splitlines():
        line = line.rstrip("\r")
        start = _START.match(line)
        if start:
            finish(current, nested)
            current = programs.setdefault(start[1], Program(start[1]))
            current.status, current.reason, nested = Status.CRASH, "no result", []
        elif current and _BAIL.match(line):
            current.bailed = line
        elif line.startswith(INDENT) and current:
            nested.append(line[len(INDENT):])
        elif current and not _ALIVE.match(line):
            result = _RESULT.match(line)
            if result and result[3] == current.name:
                current.status, current.reason = verdict(result)
                status = _EXIT.match(current.reason)
                current.exit = int(status[1]) if status else None
    finish(current, nested)
    return list(programs.values())


def finish(program: typing.Optional[Program], lines: typing.Sequence[str]) -> None:
    """Reads a program's own output, and checks its word against it."""
    if program is None:
        return
    planned: typing.Optional[int] = None
    pending: typing.List[str] = []
    running = ""
    for line in lines:
        plan, result, run = _PLAN.match(line), _RESULT.match(line), _RUN.match(line)
        if run:
            running = run[1]
        elif plan:
            planned = int(plan[1])
            if plan[2] and program.status is Status.SKIP:
                program.reason = plan[2]
        elif result:
            status, reason = verdict(result)
            program.cases.append(Case(result[3] or f"case {result[2]}", status, reason, pending))
            pending, running = [], ""
        elif not _VERSION.match(line) and not _NOISE.match(line):
            pending.append(line)
    missing = (planned or 0) - len(program.cases)
    if missing > 0:
        name = running or f"case {len(program.cases) + 1}"
        status = Status.HANG if program.status is Status.HANG else Status.CRASH
        program.cases.append(Case(name, status, "no result", pending))
        pending = []
    for number in range(len(program.cases) + 1, (planned or 0) + 1):
        program.cases.append(Case(f"case {number}", Status.NOT_RUN, "no result"))
    program.diagnostics = pending
    settle(program, planned)
    if program.bailed and not program.status.bad:
        program.status, program.reason = Status.FAIL, program.bailed


def settle(program: Program, planned: typing.Optional[int]) -> None:
    """The exit status may not be better than the cases."""
    bad = [case for case in program.cases if case.status.bad]
    if program.status is Status.PASS:
        if bad:
            program.status = Status.FAIL
            program.reason = f"exit 0, but {len(bad)} of {planned} cases did not pass"
        elif not program.cases:
            program.status, program.reason = Status.FAIL, NO_CASE
        elif all(case.status is Status.SKIP for case in program.cases):
            program.status, program.reason = Status.SKIP, program.cases[0].reason
    elif program.status is Status.FAIL and bad:
        program.reason = f"{len(bad)} of {len(program.cases)} cases failed"
    elif program.status is Status.FAIL and program.diagnostics:
        program.reason = f"{program.reason}: {program.diagnostics[-1].lstrip('# ')}"


def verdict(result: "re.Match[str]") -> typing.Tuple[Status, str]:
    comment = result[4] or ""
    skip = _SKIP.match(comment)
    if result[1] == "ok":
        return (Status.SKIP, skip[1]) if skip else (Status.PASS, "")
    if _TIMEOUT.match(comment):
        return Status.HANG, comment
    return Status.FAIL, comment


def write(programs: typing.Sequence[Program], headline: str) -> str:
    """The whole run as nested KTAP, ours to the last line: plans agree with results."""
    out = ["KTAP version 1", f"# {headline}", f"1..{len(programs)}"]
    for number, program in enumerate(programs, 1):
        out += [f"{INDENT}KTAP version 1", f"{INDENT}# Subtest: {program.name}",
                f"{INDENT}1..{len(program.cases)}"]
        for index, case in enumerate(program.cases, 1):
            out += [f"{INDENT}# {text.lstrip('# ')}" for text in case.diagnostics]
            out.append(INDENT + line(case.status, index, case.name, case.reason))
        out += [f"{INDENT}# {splat.name}" for splat in program.splats]
        out.append(line(program.status, number, program.name, program.reason))
    return "\n".join(out) + "\n"


def line(status: Status, number: int, name: str, reason: str) -> str:
    words = "not ok" if status.bad else "ok"
    comment = {Status.SKIP: f" # SKIP {reason}", Status.KNOWN: f" # XFAIL {reason}",
               Status.PASS: ""}.get(
        status, f" # {status.value}{': ' if reason else ''}{reason}")
    return f"{words} {number} {name}{comment}".rstrip()
