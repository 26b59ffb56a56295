# SPDX-License-Identifier: GPL-2.0-only
"""What is expected of a kernel: skips that are right, splats that are due, and how a result is judged.

Names are globs. A row that no longer applies is as loud in the matrix as a failure.
"""

import dataclasses
import fnmatch
import typing

from .known_issues import known, matches
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
class Answer:
    """What a kernel has to complain of, as the program makes its TDX module fail.

    The program counts them itself, and fails for one too few or too many.
    """

    program: str
    traces: typing.Tuple[str, ...]
    why: str


NO_MMAP = "guest_memfd can be mapped since 6.18"

NO_HUGE = "guest_memfd has folios of 2 MiB by virt/kvm/patches/*/0004 only"

NO_POLICY = "guest_memfd keeps memory policies since 6.19"

SKIPS: typing.Tuple[Skip, ...] = (
    *(Skip(line, "base", program, case, NO_MMAP)
      for line in ("v6.16", "v6.17")
      for program, case in (("tdx_init_mem_lockdep_test", "order.*"),
                            ("tdx_init_mem_misuse_test", "misuse.*_unmaps_shared_half"),
                            ("tdx_init_mem_preparedness_test", "user.*"),
                            ("tdx_init_mem_preparedness_test", "race.*"),
                            ("tdx_init_mem_source_test", "*.guest_memfd.*"))),
    *(Skip("*", "base", program, case, NO_HUGE)
      for program, case in (("tdx_init_mem_huge_*_test", "*"),
                            ("tdx_init_mem_preparedness_test", "*with_2m_folios.*"),
                            ("tdx_init_mem_preparedness_test", "reused.*"),
                            ("tdx_init_mem_numa_test", "*.with_2m_folios.*"))),
    *(Skip("v6.1[678]", "*", "tdx_init_mem_numa_test", case, NO_POLICY)
      for case in ("*_policy_of_the_file", "*.two_policies_*", "*.new_policy_*")),
)

DETECTIONS: typing.Tuple[Detection, ...] = (
    # Fixed in 6.19; a user may bring it about by a limit of memory.
    *(Detection(line, "base", "tdx_init_mem_fault_populate_test",
                # A general protection fault under KASAN, which looks at its shadow first.
                ("* fault*is_page_fault_stale", "*: blocked in *"),
                "without memory for a root populate takes INVALID_PAGE for one, oopses and keeps "
                "mmu_lock")
      for line in ("v6.16", "v6.17", "v6.18")),
    # Its first case maps a guest_memfd, and lockdep reports the first thing that it finds only.
    Detection("v6.18", "shared-lock", "tdx_init_mem_preparedness_test",
              ("possible circular locking dependency detected: *gup_fast* under *kvm_gmem_populate",
               "hung task*"),
              "populate waits for mmap_lock with the invalidate lock held, a user fault the other way"),
    *(Detection("v6.18", variant, "*",
                ("possible recursive locking detected: *kvm_gmem_get_pfn under *kvm_gmem_populate",
                 "hung task*"),
                "populate holds the invalidate lock when get_pfn takes it again")
      for variant in ("shared-lock", "recursion")),
)

# Families enough to see the deadlocks, as each costs a boot and a hang: whatever populates has the
# recursion, and who maps a guest_memfd before the two orders of mmap_lock.
DEADLOCKED: typing.Tuple[str, ...] = ("abi", "preparedness")

@dataclasses.dataclass(frozen=True)
class Stage:
    """From this patch on, a kernel is judged by the rows of @variant; before the first, as base.

    What a later patch cures may be cured.
    """

    line: str
    since: str  # the patch's file name, without its number
    variant: str
    why: str


STAGES: typing.Tuple[Stage, ...] = (
    Stage("v6.18", "KVM-guest_memfd-Hold-the-invalidate-lock-shared-in-k", "recursion",
          "get_pfn under populate, and a user fault that takes no lock"),
    Stage("v6.18", "KVM-guest_memfd-Hold-the-invalidate-lock-shared-in-t", "shared-lock",
          "both deadlocks"),
    Stage("v7.3", "KVM-guest_memfd-Use-huge-folios-if-told-to", "shared-lock",
          "nothing less is in the tables of the whole test bed"),
    Stage("v6.18", "KVM-TDX-Add-a-page-of-the-initial-image-in-the-act-o", "mapped-once",
          "no second get_pfn under populate any more, but the source is still pinned there"),
    Stage("v6.18", "KVM-TDX-Decouple-KVM_TDX_INIT_MEM_REGION-from-kvm_gm", "slots-locked",
          "no populate, but the source is still pinned under slots_lock"),
    Stage("v6.18", "KVM-TDX-Pin-the-source-of-an-initial-page-without-sl", "decoupled",
          "nobody waits for the source"),
    Stage("v7.3", "KVM-TDX-Pin-the-source-of-initial-pages-without-any-", "decoupled",
          "no populate, and nobody waits for the source"),
)

ANSWERS: typing.Tuple[Answer, ...] = (
    Answer("tdx_init_mem_fault_fatal_test", ("WARNING at arch/x86/kvm/vmx/tdx.c:*",),
           "KVM_BUG_ON and TDX_BUG_ON for a status that KVM has no other answer to"),
)


def answers(program: str) -> typing.List[str]:
    return [trace for row in ANSWERS if row.program == program for trace in row.traces]


def skip_reason(line: str, variant: str, program: str, case: str) -> typing.Optional[str]:
    return next((row.why for row in SKIPS
                 if matches((line, row.line), (variant, row.variant), (program, row.program),
                            (case, row.case))), None)


def detection(line: str, variant: str, program: str) -> typing.Optional[Detection]:
    return next((row for row in DETECTIONS
                 if matches((line, row.line), (variant, row.variant), (program, row.program))),
                None)


def deadlocks(line: str, variant: str) -> bool:
    """Whether whatever populates on this kernel hangs."""
    return all(detection(line, variant, f"tdx_init_mem_{family}_test") for family in DEADLOCKED)


def complains(line: str, variant: str, program: str) -> bool:
    """Whether the kernel will be the worse for this program."""
    return bool(answers(program) or detection(line, variant, program)
                or any(row.traces for row in known(line, variant, program)))


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
    kinds = (Status.PASS, Status.SKIP, Status.KNOWN, Status.NOT_RUN)
    return ", ".join(f"{program.count(kind)} {kind.value}" for kind in kinds
                     if kind is Status.PASS or program.count(kind))
