# SPDX-License-Identifier: GPL-2.0-only
"""Maps what came out of a run to its exit status, in one function."""

import dataclasses
import typing

from . import boot, console, errors, expectations, known_issues, ktap, sanitizer
from .results import Program, Splat, Status

LOST = (Status.CRASH, Status.HANG, Status.NOT_RUN)
REPORT_KEYS = {"calls", "unimplemented", "sanitizer"}
# What a case says whose own checks held, and whose audit found lockdep off.
BLIND = "*:lockdep gave up: debug_locks is 0"
BLINDED = (BLIND, "*tdx_audit_is_clean(report) (0)", "*: Test failed")


@dataclasses.dataclass
class Verdict:
    """The end of a run: status, what to say last, and the programs with all that was found."""

    status: int = errors.PASSED
    programs: typing.List[Program] = dataclasses.field(default_factory=list)
    findings: typing.List[str] = dataclasses.field(default_factory=list)  # worst last
    outside: typing.List[str] = dataclasses.field(default_factory=list)  # of them, no program's
    report: typing.Dict[str, typing.Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Kernel:
    """Which rows of the tables apply. A kernel of the user's own is excused nothing."""

    line: str
    variant: str
    released: bool = True
    patched: bool = False  # by the user: may well fix a known bug
    emulated: bool = True


def judge(outcome: boot.Outcome, expected: typing.Sequence[str], kernel: Kernel) -> Verdict:
    """All-skipped, hangs, missing results, splats and emulator findings are decided here only."""
    verdict = Verdict()
    verdict.programs = ktap.parse(outcome.ktap, expected)
    splats = console.find(outcome.console)
    broken = machinery_failure(outcome, kernel.emulated)
    if broken:
        verdict.status = errors.BROKEN
        verdict.findings = [f"{name}{f' (in {owner})' if owner else ''}"
                            for owner, found in splats.items() for name in names(found)]
        verdict.findings.append(broken)
        return verdict
    verdict.report = outcome.report or {}
    if not verdict.programs:
        verdict.status = errors.BROKEN
        verdict.findings.append("no test ran")
        return verdict
    attach(verdict.programs, splats, outcome)
    traces = judge_known(verdict.programs, kernel) if kernel.released else []
    if kernel.emulated:
        judge_skips(verdict.programs, kernel.line, kernel.variant)
    for program in verdict.programs:
        if program.status.bad and program.status is not Status.NOT_RUN:
            verdict.findings.append(f"{program.name}: {program.status.value}"
                                    f"{': ' if program.reason else ''}{program.reason}")
    emulator = [*emulator_findings(verdict.report),
                *(leaks(verdict.report) if outcome.complete else [])]
    verdict.outside = [*(finding for finding in emulator if not is_among(finding, traces)),
                       *(f"before any test: {name}" for name in names(splats.get("", []))),
                       *(finding for finding in late_findings(verdict.programs, outcome)
                         if not is_among(finding, traces))]
    verdict.findings += verdict.outside
    for program in verdict.programs:
        hangs_first = sorted(program.splats, key=lambda splat: not splat.hang)
        verdict.findings += [f"{name} (in {program.name})" for name in names(hangs_first)]
    if verdict.findings or any(program.status.bad for program in verdict.programs):
        verdict.status = errors.FAILED
    return verdict


def machinery_failure(outcome: boot.Outcome, emulated: bool) -> str:
    if not outcome.ready:
        why = outcome.reason or f"QEMU ended with status {outcome.qemu_status}"
        last = [line for line in (outcome.stderr or outcome.console).splitlines() if line.strip()]
        return f"the machine did not boot: {why}{': ' if last else ''}{last[-1] if last else ''}"
    if outcome.qemu_status < 0:
        return f"QEMU died of signal {-outcome.qemu_status}"
    if emulated and not (isinstance(outcome.report, dict) and REPORT_KEYS <= outcome.report.keys()):
        return ("the emulated TDX host left no report"
                f"{': ' if outcome.stderr else ''}{outcome.stderr[-200:]}")
    return ""


def attach(programs: typing.Sequence[Program], splats: typing.Mapping[str, typing.List[Splat]],
           outcome: boot.Outcome) -> None:
    """Gives each splat to the program that ran; nobody passes with one."""
    took = console.seconds(outcome.console)
    for program in programs:
        program.seconds = took.get(program.name, 0.0)
        program.splats = splats.get(program.name, [])
        forgive_answers(program)
        hangs = [splat for splat in program.splats if splat.hang]
        if program.status is Status.CRASH and (hangs or outcome.reason not in ("", "panic")):
            program.status = Status.HANG
            program.reason = hangs[0].name if hangs else outcome.reason
            for case in program.cases:
                if case.status is Status.CRASH:
                    case.status = Status.HANG
        elif program.status is Status.CRASH and not outcome.complete:
            program.reason = outcome.reason or "the guest ended in the middle of it"
        if program.splats and not program.status.bad:
            program.status = Status.FAIL
            program.reason = "the kernel complained"


def forgive_answers(program: Program) -> None:
    """The guest trusts no kernel that complained: it bails out, and the rest has another boot."""
    traces = expectations.answers(program.name)
    splats = [splat for splat in program.splats if not is_among(splat.name, traces)]
    if splats == program.splats:
        return
    program.splats = splats
    if program.status is Status.FAIL and program.reason == program.bailed and not splats:
        program.status, program.reason = Status.PASS, ""


def late_findings(programs: typing.Sequence[Program], outcome: boot.Outcome) -> typing.List[str]:
    """How the machine ended, if badly and no program has that in its own result."""
    late = outcome.reason or ("" if outcome.complete else "the guest ended without saying so")
    if not late and outcome.qemu_status:
        late = f"QEMU ended with status {outcome.qemu_status}"
    lost = any(program.status in LOST for program in programs)
    return [f"after the tests: {late}"] if late and not lost else []


def is_among(finding: str, traces: typing.Sequence[str]) -> bool:
    return any(known_issues.matches((finding, trace)) for trace in traces)


def judge_known(programs: typing.Sequence[Program], kernel: Kernel) -> typing.List[str]:
    """A listed bug fails as it must. One that is gone is a failure: its row must go, too.

    Returns what those that showed leave in the emulator's report.
    """
    traces: typing.List[str] = []
    for program in programs:
        rows = known_issues.known(kernel.line, kernel.variant, program.name)
        shown: typing.List[str] = []
        died = False
        for row in rows:
            for case in program.cases:
                if not known_issues.matches((case.name, row.case)):
                    continue
                if Status.CRASH is case.status is program.status and row.may_be_fatal:
                    died = True
                    case.status = Status.FAIL
                if case.status is Status.FAIL:
                    case.status, case.reason = Status.KNOWN, row.fix
                    shown += row.traces
                elif case.status is Status.PASS and row.sure and not kernel.patched:
                    case.status = Status.FAIL
                    case.reason = "listed as a known bug, and passes: remove its row"
        splats = [splat for splat in program.splats if not is_among(splat.name, shown)]
        if splats != program.splats:
            excuse_blinded(program)
        bad = [case for case in program.cases
               if case.status.bad and not (died and case.status is Status.NOT_RUN)]
        # The guest no longer trusts a kernel that complained, however well known the reason.
        bailed = program.bailed and splats == program.splats
        program.splats = splats
        traces += shown
        if program.status is Status.FAIL and program.count(Status.KNOWN) and not bad \
                and not splats and not bailed:
            # A failed case is 1 in the harness: all else is a failure of its own.
            if program.exit == 1:
                program.status, program.reason = Status.PASS, ""
            else:
                program.reason = f"exit={program.exit}, and only known bugs to explain it"
        elif program.status is Status.CRASH and died and not bad and not splats:
            program.status, program.reason = Status.PASS, ""
        elif program.status is Status.PASS and bad:
            program.status, program.reason = Status.FAIL, f"{bad[0].name}: {bad[0].reason}"
    return traces


def excuse_blinded(program: Program) -> None:
    """What was reported of a known bug may have turned lockdep off: no case behind it is at fault."""
    known = ""
    for case in program.cases:
        if case.status is Status.KNOWN:
            known = case.name
        elif (known and case.status is Status.FAIL
              and any(is_among(text, (BLIND,)) for text in case.diagnostics)
              and all(is_among(text, BLINDED) for text in case.diagnostics)):
            case.status, case.reason = Status.KNOWN, f"lockdep is off since {known}"


def judge_skips(programs: typing.Sequence[Program], line: str, variant: str) -> None:
    """The emulator supplies the hardware: a skip needs a row in the table."""
    for program in programs:
        if not program.cases and program.status is Status.SKIP:
            why = expectations.skip_reason(line, variant, program.name, "")
            if why is None:
                program.status = Status.FAIL
                program.reason = f"unexpected skip: {program.reason}"
            continue
        for case in program.cases:
            if (case.status is Status.SKIP
                    and expectations.skip_reason(line, variant, program.name, case.name) is None):
                case.status = Status.FAIL
                case.reason = f"unexpected skip: {case.reason}"
                if not program.status.bad:
                    program.status = Status.FAIL
                    program.reason = f"{case.name}: {case.reason}"


def emulator_findings(report: typing.Mapping[str, typing.Any]) -> typing.List[str]:
    return [*(f"emulator: unimplemented: {entry.get('text', entry)} ({entry.get('count', 1)} times)"
              for entry in report.get("unimplemented", [])),
            *(f"emulator: {line}" for line in sanitizer.headlines(report))]


def leaks(report: typing.Mapping[str, typing.Any]) -> typing.List[str]:
    """Of a guest that ended by itself: all its VMs are closed, so nothing may be left of a TD."""
    left = report.get("left", {})
    each = left.get("each", [])
    found = [f"emulator: sanitizer: leak: TD {td['tdr']}, KeyID {td['hkid']}, in state "
             f"{td['lifecycle']} has {td['pages']} pages left"
             for td in each if not td["excused"]]
    if not each and (left.get("keyids") or left.get("pages")):
        found.append(f"emulator: sanitizer: leak: {left['keyids']} KeyIDs and {left['pages']} "
                     "pages are left of no TD")
    return found


def names(splats: typing.Iterable[Splat]) -> typing.List[str]:
    return [splat.name for splat in splats]


def merge(first: Verdict, second: Verdict) -> Verdict:
    """Adds the programs of a later boot in place of those that had not run."""
    later = {program.name: program for program in second.programs}
    programs = [later.get(program.name, program) if program.status is Status.NOT_RUN else program
                for program in first.programs]
    report = merge_reports([first.report, second.report])
    findings = first.findings + second.findings
    status = max(first.status, second.status)
    # That of the first says no more than that it was cut short, for a reason that is well known.
    if status == errors.FAILED and not findings and not any(one.status.bad for one in programs):
        status = errors.PASSED
    return Verdict(status, programs, findings, first.outside + second.outside, report)


def join(verdicts: typing.Sequence[Verdict], names: typing.Sequence[str]) -> Verdict:
    """Of machines that ran at once, with their programs in the order of @names.

    The first of them has the last word, as if it had been the only one.
    """
    by_name = {program.name: program for verdict in verdicts for program in verdict.programs}
    return Verdict(max(verdict.status for verdict in verdicts),
                   [by_name.pop(name) for name in names if name in by_name]
                   + list(by_name.values()),
                   [finding for verdict in reversed(verdicts) for finding in verdict.findings],
                   [finding for verdict in reversed(verdicts) for finding in verdict.outside],
                   merge_reports([verdict.report for verdict in verdicts]))


def merge_reports(reports: typing.Sequence[typing.Mapping[str, typing.Any]]
                  ) -> typing.Dict[str, typing.Any]:
    """The findings of all; the rest is that of the first."""
    merged = dict(reports[0])
    for kind in ("unimplemented", "sanitizer"):
        merged[kind] = [entry for report in reports for entry in report.get(kind, [])]
    return merged
