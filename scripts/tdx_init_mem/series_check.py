# SPDX-License-Identifier: GPL-2.0-only
"""Holds the patches against what a maintainer asks of a series, before the suite judges it.

They apply as git am has it; each is in the form that the list expects, and clean for checkpatch;
each builds, in every configuration that makes a difference to it, without a new warning of gcc,
sparse or modpost; and, if asked for, the kernel behaves as it should after each of them.
"""

import dataclasses
import functools
import json
import pathlib
import time
import typing

from . import (apply, compose, errors, lines, patch_format, paths, series, series_boot,
               series_build, sources, steps)

CHECKPATCH = paths.HERE / "checkpatch-patches.sh"
DIRECTORIES = lines.VARIANTS["decoupled"]
# The directories that are good for something without the others: see their README.rst.
ALONE = DIRECTORIES
SHOWN = 20


@dataclasses.dataclass(frozen=True)
class State:
    """A line after some of its patches."""

    line: str
    name: str
    patches: typing.Tuple[pathlib.Path, ...]


@dataclasses.dataclass
class Result:
    """A check that was made."""

    name: str
    status: int
    seconds: float
    complaints: typing.List[str]


class Checks:
    """Makes checks, and prints one line for each, and what was found below it."""

    def __init__(self, out: steps.Steps) -> None:
        self.out = out
        self.results: typing.List[Result] = []

    def check(self, name: str, function: typing.Callable[[], typing.List[str]]) -> bool:
        """@function returns complaints, or raises what stops it."""
        if self.out.dry_run:
            self.out.say(f"check: {name}")
            function()
            return True
        self.out.log(f"\n=== check: {name}")
        start, status = time.monotonic(), errors.PASSED
        try:
            found = function()
            status = errors.FAILED if found else errors.PASSED
        except errors.Stop as stop:
            found, status = [str(stop)], stop.status
        result = Result(name, status, time.monotonic() - start, found)
        self.results.append(result)
        word = self.out.paint("red", "not ok") if found else self.out.paint("green", "ok")
        self.out.say(f"{word} - series: {name} ({result.seconds:.1f} s)")
        for line in found[:SHOWN]:
            self.out.say(f"    {line}")
        if len(found) > SHOWN:
            self.out.say(f"    ... and {len(found) - SHOWN} more")
        return not found

    @property
    def status(self) -> int:
        return max((result.status for result in self.results), default=errors.PASSED)

    def write(self, file: pathlib.Path) -> None:
        file.write_text(json.dumps([dataclasses.asdict(result) for result in self.results],
                                   indent=1) + "\n", encoding="utf-8")


def patched_lines() -> typing.List[str]:
    return [line for line in lines.LINES
            if any(series.of_directory(line, directory) for directory in DIRECTORIES)]


def short(directory: str) -> str:
    """virt/kvm/patches is virt/kvm."""
    return directory.rpartition("/")[0]


def states(line: str, every: bool, applied: typing.Sequence[pathlib.Path] = ()
           ) -> typing.List[State]:
    """After each patch, the directories one on top of the other; or after the last of each.

    If the user brings patches of his own it is those, on top of all.
    """
    groups = [(short(directory), series.of_directory(line, directory))
              for directory in DIRECTORIES]
    below: typing.Tuple[pathlib.Path, ...] = ()
    if applied:
        below = tuple(patch for _, patches in groups for patch in patches)
        groups = [("applied", list(applied))]
    found: typing.List[State] = []
    for name, patches in groups:
        for number, patch in enumerate(patches, 1):
            below += (patch,)
            if every or number == len(patches):
                found.append(State(line, f"{name} {number}/{len(patches)}", below))
    return found


@dataclasses.dataclass(frozen=True)
class Request:
    """What the user asked for."""

    lines: typing.Sequence[str]
    every: bool = False  # after each patch, or only after the last
    boot: bool = False
    applied: typing.Tuple[pathlib.Path, ...] = ()  # judged on top of the series, in its place
    configurations: typing.Sequence[str] = tuple(series_build.CONFIGURATIONS)


def run(out: steps.Steps, wanted: Request, json_file: typing.Optional[pathlib.Path]) -> int:
    start = time.monotonic()
    checks = Checks(out)
    if not wanted.lines:
        raise errors.Broken("no kernel line has patches")
    for line in wanted.lines:
        source = sources.ensure(out, line)
        targets = [series_build.Target(line, name) for name in wanted.configurations]
        with paths.locked(f"series-{line}", out.say):
            if wanted.applied:
                check_applied(checks, source, line, wanted.applied)
            else:
                check_patches(checks, line, source)
            check_builds(checks, source, targets, states(line, wanted.every, wanted.applied))
    for line in wanted.lines if wanted.boot else ():
        check_boots(checks, line)
    if out.dry_run:
        return errors.PASSED
    if json_file:
        checks.write(json_file)
    bad = [result for result in checks.results if result.complaints]
    for result in bad:
        out.say(f"failed: {result.name}: {result.complaints[0]}")
    out.say(out.paint("red" if bad else "green",
                      f"series: {len(checks.results) - len(bad)} ok, {len(bad)} not ok, "
                      f"{time.monotonic() - start:.0f} s"))
    return checks.status


def check_patches(checks: Checks, line: str, source: pathlib.Path) -> None:
    """Form, style, and application."""
    everything: typing.List[pathlib.Path] = []
    for directory in DIRECTORIES:
        patches = series.of_directory(line, directory)
        everything += patches
        for number, patch in enumerate(patches, 1):
            checks.check(f"{line} {short(directory)} {number}/{len(patches)}: form, checkpatch",
                         functools.partial(of_patch, checks.out, source, patch, number,
                                           len(patches)))
        if patches and directory in ALONE:
            checks.check(f"{line} {short(directory)}: git am of {len(patches)} onto the release",
                         functools.partial(apply.complaints, checks.out, source, patches))
    checks.check(f"{line}: git am of all {len(everything)}, in order",
                 functools.partial(apply.complaints, checks.out, source, everything))


def of_patch(out: steps.Steps, source: pathlib.Path, patch: pathlib.Path, number: int, count: int
             ) -> typing.List[str]:
    return [*patch_format.complaints(patch, number, count), *checkpatch(out, source, patch)]


def check_applied(checks: Checks, source: pathlib.Path, line: str,
                  applied: typing.Sequence[pathlib.Path]) -> None:
    """Style is all that can be said of a patch that is in no series."""
    for patch in applied:
        checks.check(f"{line} {patch.name}: checkpatch",
                     functools.partial(checkpatch, checks.out, source, patch))


def checkpatch(out: steps.Steps, source: pathlib.Path, patch: pathlib.Path) -> typing.List[str]:
    status, text = out.attempt([CHECKPATCH, source, patch])
    found = [line.replace(f"{patch}:", "") for line in text.splitlines() if line.strip()]
    return found or ([f"checkpatch: exit status {status}"] if status else [])


def check_builds(checks: Checks, source: pathlib.Path,
                 targets: typing.Sequence[series_build.Target], todo: typing.Sequence[State]
                 ) -> None:
    """Each state in every configuration, against the pristine kernel in the same."""
    out = checks.out
    series_build.program_version("sparse")
    good = []
    for target in targets:
        if checks.check(f"{target.line} pristine, {target.configuration}: configured, built",
                        functools.partial(prepare, out, source, target)):
            good.append(target)
    for state in todo:
        for target in good:
            checks.check(f"{state.line} {state.name}, {target.configuration}: "
                         "builds, nothing new of gcc W=1, sparse, modpost",
                         functools.partial(build_state, out, source, state, target))


def build_state(out: steps.Steps, source: pathlib.Path, state: State,
                target: series_build.Target) -> typing.List[str]:
    return series_build.news(out, compose_state(out, source, state), target)


def prepare(out: steps.Steps, source: pathlib.Path, target: series_build.Target
            ) -> typing.List[str]:
    """The configuration, and the baseline unless it is known."""
    if not series_build.baseline(target):
        pristine = compose_state(out, source, State(target.line, "pristine", ()))
        series_build.configure(out, pristine.tree, target)
        series_build.make_baseline(out, pristine, target)
    return []


def compose_state(out: steps.Steps, source: pathlib.Path, state: State) -> compose.Composed:
    return compose.compose(out, compose.Source(out, source), f"{state.line}-series",
                           series.Series(state.patches))


def check_boots(checks: Checks, line: str) -> None:
    """The suite after each patch."""
    checks.check(f"{line}: the table of stages fits the patches",
                 functools.partial(series_boot.stale, line))
    for number, state in enumerate(states(line, every=True), 1):
        wanted = series_boot.job_of(line, number)
        checks.check(f"{line} {state.name}: the suite, as {wanted.judged_as}",
                     functools.partial(series_boot.complaints, checks.out, wanted))
