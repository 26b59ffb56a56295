# SPDX-License-Identifier: GPL-2.0-only
"""Boots the kernel after each patch, those of the decoupling series on top of the test bed."""

import fnmatch
import pathlib
import typing

from . import compose, errors, expectations, job, lines, matrix, mutant, series, steps

# A directory of patches more each.
VARIANTS = tuple(lines.VARIANTS)
# Report numbers, test the emulated host, predict what releases and the whole series do.
NOT_OF_PATCHES = ("perf", "emulator", "stress", "stress_race")


def patches_of(line: str) -> typing.List[pathlib.Path]:
    """All of them, in order."""
    return list(series.of_variant(line, VARIANTS[-1], ()).patches)


def expected_of(line: str, patches: typing.Sequence[pathlib.Path]) -> str:
    """The variant in whose rows the outcome is listed, once @patches are in."""
    found = VARIANTS[0]
    for stage in expectations.STAGES:
        if stage.line == line and any(fnmatch.fnmatchcase(patch.name, f"????-{stage.since}.patch")
                                      for patch in patches):
            found = stage.variant
    return found


def stale(line: str) -> typing.List[str]:
    """Rows whose patch is not there (any more)."""
    names = [patch.name for patch in patches_of(line)]
    return [f"{stage.line}: no patch {stage.since}" for stage in expectations.STAGES
            if stage.line == line and not fnmatch.filter(names, f"????-{stage.since}.patch")]


def job_of(line: str, number: int, **common: typing.Any) -> job.Job:
    """The kernel with its first @number patches."""
    first = tuple(patches_of(line)[:number])
    variant = next(name for name in reversed(VARIANTS)
                   if len(series.of_variant(line, name, ()).patches) <= number)
    applied = first[len(series.of_variant(line, variant, ()).patches):]
    expected = expected_of(line, first)
    tests = expectations.DEADLOCKED if expectations.deadlocks(line, expected) else tuple(
        name for name in map(mutant.family, compose.programs()) if name not in NOT_OF_PATCHES)
    return job.Job(line=line, variant=variant, applied=applied, keep_going=True,
                   expected=expected, tests=tests, **common)


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
