# SPDX-License-Identifier: GPL-2.0-only
"""Plants one bug after the other, and tells which tests find it.

One kernel's mutants share a tree and an object directory (job.Job.name), so that a mutant costs
the modules that it changes, and a boot. Before the first of them the kernel without any has to
pass: else whatever it fails at would kill them all.
"""

import dataclasses
import itertools
import json
import pathlib
import time
import typing

from . import compose, errors, failures, job, kills, matrix, mutant, report, steps
from .kills import Outcome, Result

WIDEST = 60


@dataclasses.dataclass(frozen=True)
class Order:
    """What the user asked for."""

    mutants: typing.Sequence[mutant.Mutant]
    full: bool = False
    some: bool = False  # not all that there are
    qemu: typing.Optional[str] = None
    json: typing.Optional[pathlib.Path] = None
    rst: typing.Optional[pathlib.Path] = None


def print_list(out: steps.Steps, found: typing.Sequence[mutant.Mutant]) -> int:
    out.say(f"{len(found)} mutants:")
    for one in found:
        out.say(f"  {one}, {one.variant}: {one.breaks}")
        foretold = ", ".join(one.killed_by) or f"survives: {one.survives}"
        out.say(f"      {foretold}")
    return errors.PASSED


def tests_of(globs: typing.Iterable[str]) -> typing.Tuple[str, ...]:
    """The same for one run, which has one choice of cases for a program: all, if they differ."""
    families = [mutant.family(program) for program in compose.programs()]
    chosen: typing.Dict[str, str] = {}
    for glob in globs:
        for name, case in job.select(families, [glob]):
            chosen[name] = case if chosen.get(name, case) == case else ""
    return tuple(f"{name}/{case}" if case else name for name, case in sorted(chosen.items()))


def run(out: steps.Steps, order: Order) -> int:
    """Status 0 only if every mutant is killed, or its header says why not."""
    results: typing.List[Result] = []
    for _, group in itertools.groupby(order.mutants, key=lambda one: one.kernel):
        results += run_kernel(out, order, list(group))
    if out.dry_run:
        return errors.PASSED
    return summarise(out, order, results)


def run_kernel(out: steps.Steps, order: Order, group: typing.Sequence[mutant.Mutant]
               ) -> typing.List[Result]:
    """The mutants of one kernel, if that kernel passes without them."""
    whole = order.full or any(one.survives for one in group)
    tests = () if whole else tests_of(glob for one in group for glob in one.killed_by)
    status, why = control(out, job_of(order, group[0], tests))
    if status:
        return [Result(one, Outcome.BROKEN, status, why=why) for one in group]
    return [run_mutant(out, order, one) for one in group]


def control(out: steps.Steps, planted: job.Job) -> typing.Tuple[int, str]:
    """The kernel without the mutant: 0, or else the status and why nothing can be said of it."""
    without = dataclasses.replace(planted, applied=())
    status, why = errors.PASSED, ""
    try:
        verdict = matrix.run_one(out, without)
        if not out.dry_run:
            status, _, notes = matrix.judge_row(without, verdict, "")
            why = (notes or ["no test ran"])[-1] if status else ""
    except errors.Stop as stop:
        status, why = stop.status, str(stop)
    if status:
        why = f"{without.name} does not pass without it: {why}"
        out.say(f"mutants: {why}")
    return status, why


def run_mutant(out: steps.Steps, order: Order, one: mutant.Mutant) -> Result:
    """First, as it is quick, what ought to kill it; the whole suite if that does not."""
    start = time.monotonic()
    out.say(f"\nmutant {one}: {one.breaks}")
    result = Result(one, Outcome.SURVIVED)
    if not order.full and not one.survives:
        result = try_mutant(out, one, job_of(order, one, tests_of(one.killed_by)))
    if result.outcome is Outcome.SURVIVED:
        result = dataclasses.replace(try_mutant(out, one, job_of(order, one)), whole_suite=True)
    result = dataclasses.replace(result, seconds=time.monotonic() - start)
    out.say(f"mutant {one}: {result.outcome.value}{' by ' if result.killers else ''}"
            f"{killers_text(result)}")
    return result


def job_of(order: Order, one: mutant.Mutant, tests: typing.Tuple[str, ...] = ()) -> job.Job:
    # Who else finds it shows on the boots after the first splat or hang.
    return job.Job(line=one.line, variant=one.variant, applied=(one.patch,), tests=tests,
                   qemu=order.qemu, keep_going=order.full, **one.settings)


def try_mutant(out: steps.Steps, one: mutant.Mutant, wanted: job.Job) -> Result:
    try:
        verdict = matrix.run_one(out, wanted)
        killers = () if out.dry_run else kills.of_verdict(one.line, one.variant, verdict)
    except errors.Stop as stop:
        out.say(f"tdx-init-mem: {stop}")
        return Result(one, Outcome.BROKEN, stop.status, why=str(stop))
    return Result(one, Outcome.KILLED if killers else Outcome.SURVIVED, killers=killers)


def killers_text(result: Result) -> str:
    more = len(result.killers) - 1
    return f"{result.killers[0]}{f' and {more} more' if more else ''}" if result.killers else ""


def row(result: Result) -> typing.List[str]:
    one = result.mutant
    killer = killers_text(result) or one.survives or result.why
    return [one.line, one.variant, one.id,
            result.outcome.value if not kills.complaint(result) else f"! {result.outcome.value}",
            killer if len(killer) <= WIDEST else f"{killer[:WIDEST - 3]}...",
            f"{result.seconds:.0f}"]


def summarise(out: steps.Steps, order: Order, results: typing.Sequence[Result]) -> int:
    rows = [["kernel", "variant", "mutant", "result", "by, or why not", "s"],
            *(row(result) for result in results)]
    out.say()
    for line in report.table(rows):
        out.say(line)
    if order.full:
        out.say()
        print_only_by(out, results)
    out.say()
    for result in results:
        if kills.complaint(result):
            out.say(f"mutant {result.mutant}: {kills.complaint(result)}")
    count = {outcome: sum(result.outcome is outcome for result in results) for outcome in Outcome}
    status = max(kills.status(result) for result in results)
    totals = ", ".join(f"{count[outcome]} {outcome.value}" for outcome in Outcome)
    as_said = "all as their headers say" if status == errors.PASSED else "NOT as their headers say"
    out.say(out.paint("green" if status == errors.PASSED else "red",
                      f"{len(results)} mutants: {totals}; {as_said}"))
    data = as_data(results)
    if order.json:
        order.json.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    if order.rst:
        order.rst.write_text(failures.page(data), encoding="utf-8")
    return status


def print_only_by(out: steps.Steps, results: typing.Sequence[Result]) -> None:
    """What a test file is for: the mutants that survive if it is removed."""
    out.say("mutants that survive without a file:")
    only = kills.only_by(results)
    for program in compose.programs():
        name = mutant.family(program)
        out.say(f"  {name}: {', '.join(only.get(name, ['none']))}")


def found_by(killers: typing.Iterable[kills.Killer]) -> typing.List[typing.Dict[str, typing.Any]]:
    return [{"family": killer.family, "case": killer.case, "finding": killer.finding,
             "says": list(failures.speech(killer.says))} for killer in killers]


def as_data(results: typing.Sequence[Result]) -> typing.List[typing.Dict[str, typing.Any]]:
    """What --json writes."""
    return [{
        "line": result.mutant.line, "variant": result.mutant.variant, "id": result.mutant.id,
        "breaks": result.mutant.breaks, "killed_by": list(result.mutant.killed_by),
        "survives": result.mutant.survives, "outcome": result.outcome.value,
        "status": kills.status(result), "complaint": kills.complaint(result),
        "killers": [str(killer) for killer in result.killers],
        "found_by": found_by(result.killers),
        "families": result.families,
        "whole_suite": result.whole_suite, "seconds": round(result.seconds, 1),
    } for result in results]
