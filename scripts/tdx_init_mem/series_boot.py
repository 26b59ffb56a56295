# SPDX-License-Identifier: GPL-2.0-only
"""Boots the kernel after each patch of the decoupling series, on top of the test bed."""

import fnmatch
import pathlib
import typing

from . import errors, expectations, job, lines, matrix, series, steps

TEST_BED, WHOLE = "shared-lock", "decoupled"


def expected_of(line: str, patches: typing.Sequence[pathlib.Path]) -> str:
    """The variant in whose rows the outcome is listed, once @patches of the series are in."""
    found = TEST_BED
    for stage in expectations.STAGES:
        if stage.line == line and any(fnmatch.fnmatchcase(patch.name, f"????-{stage.since}.patch")
                                      for patch in patches):
            found = stage.variant
    return found


def stale(line: str) -> typing.List[str]:
    """Rows whose patch is not in the series (any more)."""
    patches = series.of_directory(line, lines.VARIANTS[WHOLE][-1])
    return [f"{stage.line}: no patch {stage.since}" for stage in expectations.STAGES
            if stage.line == line
            and not fnmatch.filter([patch.name for patch in patches], f"????-{stage.since}.patch")]


def job_of(line: str, number: int, **common: typing.Any) -> job.Job:
    """The kernel with the test bed and the first @number patches of the series."""
    patches = series.of_directory(line, lines.VARIANTS[WHOLE][-1])
    if number == len(patches):
        return job.Job(line=line, variant=WHOLE, keep_going=True, **common)
    first = tuple(patches[:number])
    return job.Job(line=line, variant=TEST_BED, applied=first, keep_going=True,
                   expected=expected_of(line, first), **common)


def complaints(out: steps.Steps, wanted: job.Job) -> typing.List[str]:
    """What is not as the tables have it."""
    verdict = matrix.run_one(out, wanted)
    if out.dry_run:
        return []
    status, _, notes = matrix.judge_row(wanted, verdict, "")
    if status == errors.PASSED:
        return []
    found = [note for note in notes if "as expected" not in note]
    if status > errors.FAILED:
        raise errors.Broken("; ".join(found))
    return found or ["not as expected"]
