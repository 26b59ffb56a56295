# SPDX-License-Identifier: GPL-2.0-only
"""What is known beforehand, as data: skips that are right, bugs that a kernel really has.

Names are globs. A row that no longer applies is as loud in the matrix as a failure.
"""

import dataclasses
import fnmatch
import typing

from .results import Program, Status


@dataclasses.dataclass(frozen=True)
class Skip:
    """A case that has nothing to test on this kernel. Without a row, a skip is a failure."""

    line: str
    variant: str
    program: str
    case: str
    why: str


@dataclasses.dataclass(frozen=True)
class Detection:
    """A broken kernel on purpose: every program matched must name all of these splats."""

    line: str
    variant: str
    program: str
    splats: typing.Tuple[str, ...]
    why: str


@dataclasses.dataclass(frozen=True)
class Known:
    """A bug of a released kernel: this case fails on it, and it is news if it does not."""

    line: str
    variant: str
    program: str
    case: str
    fix: str


SKIPS: typing.Tuple[Skip, ...] = ()

DETECTIONS: typing.Tuple[Detection, ...] = (
    Detection("v6.18", "shared-lock", "*",
              ("possible recursive locking detected: *kvm_gmem_get_pfn under *kvm_gmem_populate",
               "hung task*"),
              "populate holds the invalidate lock when get_pfn takes it again"),
)

WRAP = ("arch/x86/kvm/patches/*/0001, not upstream yet: nr_pages << PAGE_SHIFT overflows, and the "
        "region passes for a short one")

WRAPS = "refused.nr_pages_wraps_in_bytes.region_untouched"

KNOWN: typing.Tuple[Known, ...] = (
    Known("*", "base", "tdx_init_mem_abi_test", WRAPS, WRAP),
    Known("v7.3", "shared-lock", "tdx_init_mem_abi_test", WRAPS, WRAP),
)


def skip_reason(line: str, variant: str, program: str, case: str) -> typing.Optional[str]:
    return next((row.why for row in SKIPS
                 if matches((line, row.line), (variant, row.variant), (program, row.program),
                            (case, row.case))), None)


def detection(line: str, variant: str, program: str) -> typing.Optional[Detection]:
    return next((row for row in DETECTIONS
                 if matches((line, row.line), (variant, row.variant), (program, row.program))),
                None)


def known(line: str, variant: str, program: str) -> typing.List[Known]:
    return [row for row in KNOWN
            if matches((line, row.line), (variant, row.variant), (program, row.program))]


def matches(*pairs: typing.Tuple[str, str]) -> bool:
    return all(fnmatch.fnmatchcase(value, pattern) for value, pattern in pairs)


@dataclasses.dataclass(frozen=True)
class Cell:
    """A program on a kernel, held against the tables."""

    text: str
    expected: bool
    detail: typing.Tuple[str, ...] = ()


def compare(line: str, variant: str, program: Program) -> Cell:
    """The one place that decides whether a result is as expected."""
    row = detection(line, variant, program.name)
    if row:
        return compare_detection(row, program)
    if not program.status.bad:
        return Cell(describe(program), True, tuple(
            f"{case.name}: {case.reason}" for case in program.cases
            if case.status is Status.KNOWN))
    return Cell(program.status.value.upper(), False, (program.reason,))


def compare_detection(row: Detection, program: Program) -> Cell:
    names = [splat.name for splat in program.splats]
    missing = [wanted for wanted in row.splats
               if not any(fnmatch.fnmatchcase(name, wanted) for name in names)]
    extra = [f"not of this bug: {name}" for name in names
             if not any(fnmatch.fnmatchcase(name, pattern) for pattern in row.splats)]
    extra += [f"not of this bug: {case.name} failed: {case.reason}" for case in program.cases
              if case.status is Status.FAIL]
    if program.status.bad and not missing and not extra:
        return Cell("detected", True,
                    tuple(f"{splat.quote} -> {splat.name}" for splat in program.splats))
    if not program.status.bad:
        return Cell("PASSES NOW", False, (f"must fail: {row.why}",))
    return Cell(program.status.value.upper(), False,
                (*(f"did not report: {wanted}" for wanted in missing), *extra))


def describe(program: Program) -> str:
    kinds = (Status.PASS, Status.SKIP, Status.KNOWN)
    return ", ".join(f"{program.count(kind)} {kind.value}" for kind in kinds
                     if kind is Status.PASS or program.count(kind))
