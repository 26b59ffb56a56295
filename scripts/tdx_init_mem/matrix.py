# SPDX-License-Identifier: GPL-2.0-only
"""Every line and variant, held against the tables of what is expected."""

import dataclasses
import json
import pathlib
import typing

from . import errors, expectations, job, judge, paths, report, steps


def jobs(kernels: typing.Sequence[str], variants: typing.Sequence[str], **common: typing.Any
         ) -> typing.List[job.Job]:
    """Where all that populates hangs, some families are enough, unless the user names others."""
    found = [job.Job(line=line, variant=variant, **common)
             for line in kernels for variant in variants]
    return [dataclasses.replace(one, tests=expectations.DEADLOCKED)
            if not one.tests and expectations.deadlocks(one.line, one.judged_as) else one
            for one in found]


def run(out: steps.Steps, wanted: typing.Sequence[job.Job],
        json_file: typing.Optional[pathlib.Path]) -> int:
    """Ends with the table; status 0 only if all of it is as expected."""
    results: typing.List[typing.Tuple[job.Job, judge.Verdict, str]] = []
    for one in wanted:
        try:
            verdict = run_one(out, one)
            results.append((one, verdict, ""))
        except errors.Stop as stop:
            out.say(f"tdx-init-mem: {stop}")
            results.append((one, judge.Verdict(stop.status), str(stop)))
        out.say()
    if out.dry_run:
        return errors.PASSED
    return summarise(out, results, json_file)


def run_one(out: steps.Steps, one: job.Job) -> judge.Verdict:
    if out.dry_run:
        return job.run(out, one, paths.RUN / "dry-run")
    directory = job.run_directory(one)
    out.log_to(directory / "run.log")
    verdict = job.run(out, one, directory)
    out.say(f"  logs: {paths.shown(directory)}")
    for finding in verdict.findings:
        out.say(f"  {finding}")
    report.write_files(verdict, job.headline(one), out.times, directory / "results.ktap",
                       directory / "results.xml", directory / "results.json")
    return verdict


def summarise(out: steps.Steps,
              results: typing.Sequence[typing.Tuple[job.Job, judge.Verdict, str]],
              json_file: typing.Optional[pathlib.Path]) -> int:
    families = sorted({program.family for _, verdict, _ in results
                       for program in verdict.programs})
    # A family a row: there are many of them, and few kernels.
    columns: typing.List[typing.List[str]] = [["", "", *families, "as expected"]]
    notes: typing.List[str] = []
    status = errors.PASSED
    cells_as_data = []
    for one, verdict, stop in results:
        row_status, cells, row_notes = judge_row(one, verdict, stop)
        status = max(status, row_status)
        by_family = {program.family: cell for program, cell in cells}
        columns.append([one.line, one.variant,
                        *(mark(by_family[name]) if name in by_family else "-"
                          for name in families),
                        "yes" if row_status == errors.PASSED else "NO"])
        notes += row_notes
        cells_as_data.append({
            "line": one.line, "variant": one.variant, "status": row_status, "stopped": stop,
            "cells": {program.family: {"text": cell.text, "expected": cell.expected,
                                       "detail": list(cell.detail)} for program, cell in cells}})
    out.say(out.time_table())
    out.say()
    for line in notes:
        out.say(line)
    if notes:
        out.say()
    for line in report.table([list(row) for row in zip(*columns)], header=2):
        out.say(line)
    verdict_text = ("all as expected" if status == errors.PASSED
                    else "NOT as expected: see the cells marked with !")
    out.say(out.paint("green" if status == errors.PASSED else "red", verdict_text))
    if json_file:
        json_file.write_text(json.dumps(cells_as_data, indent=1) + "\n", encoding="utf-8")
    return status


def judge_row(one: job.Job, verdict: judge.Verdict, stop: str
              ) -> typing.Tuple[int, typing.List[typing.Tuple[typing.Any, expectations.Cell]],
                                typing.List[str]]:
    """Status of a row, its cells, and what to say about them above the table."""
    where = f"{one.line} {one.variant}"
    if stop or verdict.status >= errors.NOT_BUILT:
        why = [line for line in [stop, *verdict.findings] if line]
        return verdict.status, [], [f"{where}: {line}" for line in why]
    cells = [(program, expectations.compare(one.line, one.judged_as, program))
             for program in verdict.programs]
    notes = [f"{where} {program.family}: {text}{' as expected' if cell.expected else ''}: {detail}"
             for program, cell in cells
             for text, detail in [(cell.text, detail) for detail in cell.detail]]
    notes += [f"{where}: {finding}" for finding in verdict.outside]
    good = bool(cells) and all(cell.expected for _, cell in cells) and not verdict.outside
    if good and verdict.status and not any(program.status.bad for program, _ in cells):
        good = False
        notes += [f"{where}: failed, though no test did: {finding}"
                  for finding in verdict.findings or ["a boot ended early"]]
    return errors.PASSED if good else errors.FAILED, cells, notes


def mark(cell: expectations.Cell) -> str:
    return cell.text if cell.expected else f"! {cell.text}"
