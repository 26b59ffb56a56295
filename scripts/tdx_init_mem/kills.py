# SPDX-License-Identifier: GPL-2.0-only
"""From the verdict on a kernel with a planted bug to who found it.

What the kernel without that bug does, too, i.e. what the tables of expectations list, is not held
against the mutant.
"""

import dataclasses
import enum
import fnmatch
import typing

from . import errors, expectations, judge, ktap, mutant
from .results import Program, Status


class Outcome(enum.Enum):
    """What became of a mutant."""

    KILLED = "killed"
    SURVIVED = "survived"
    BROKEN = "broken"


@dataclasses.dataclass(frozen=True)
class Killer:
    """A failed case, or a finding of the kernel, the emulator or the machine."""

    family: str  # "" for what no test program answers for
    case: str
    finding: str = ""
    says: typing.Tuple[str, ...] = ()  # the case's diagnostics

    def __str__(self) -> str:
        where = f"{self.family}/{self.case}" if self.case else self.family
        return ": ".join(part for part in (where, self.finding) if part)


@dataclasses.dataclass(frozen=True)
class Result:
    """A judged mutant."""

    mutant: mutant.Mutant
    outcome: Outcome
    status: int = errors.PASSED  # why it is broken
    killers: typing.Tuple[Killer, ...] = ()
    why: str = ""
    seconds: float = 0.0
    whole_suite: bool = False

    @property
    def families(self) -> typing.List[str]:
        return sorted({killer.family for killer in self.killers if killer.family})


def of_program(line: str, variant: str, program: Program) -> typing.List[Killer]:
    if program.status is Status.NOT_RUN:
        return []
    if not program.cases and program.reason == ktap.NO_CASE:
        raise errors.Broken(f"no case of {program.name} is as Killed-by has it")
    cell = expectations.compare(line, variant, program)
    if cell.expected:
        return []
    found = [Killer(program.family, case.name, says=tuple(case.diagnostics)) for case in program.cases
             if case.status.bad and case.status is not Status.NOT_RUN]
    found += [Killer(program.family, "", splat.name) for splat in program.splats]
    return found or [Killer(program.family, "", ", ".join(cell.detail) or cell.text)]


def of_verdict(line: str, variant: str, verdict: judge.Verdict) -> typing.Tuple[Killer, ...]:
    """Raises the Stop of a verdict that says nothing about the kernel."""
    if verdict.status >= errors.NOT_BUILT:
        raise errors.Broken((verdict.findings or ["the machinery failed"])[-1])
    return (*(killer for program in verdict.programs
              for killer in of_program(line, variant, program)),
            *(Killer("", "", finding) for finding in verdict.outside))


def is_named(killed_by: typing.Sequence[str], killer: Killer) -> bool:
    """Whether Killed-by foretold this one; of a splat it can only tell the program."""
    for glob in killed_by:
        family, _, case = glob.partition("/")
        if fnmatch.fnmatchcase(killer.family, family) and (
                not case or not killer.case or fnmatch.fnmatchcase(killer.case, case)):
            return True
    return False


def complaint(result: Result) -> str:
    """What is wrong between a result and what the header promises; "" for nothing."""
    one = result.mutant
    if result.outcome is Outcome.BROKEN:
        return result.why
    if result.outcome is Outcome.SURVIVED:
        return "" if one.survives else "survives, and no Survives says why"
    if one.survives:
        return f"is killed by {result.killers[0]}, though it Survives: {one.survives}"
    if not any(is_named(one.killed_by, killer) for killer in result.killers) \
            and result.whole_suite:
        return f"is killed by {result.killers[0]}, not by its Killed-by {', '.join(one.killed_by)}"
    return ""


def status(result: Result) -> int:
    if result.outcome is Outcome.BROKEN:
        return result.status
    return errors.FAILED if complaint(result) else errors.PASSED


def only_by(results: typing.Iterable[Result]) -> typing.Dict[str, typing.List[str]]:
    """Family -> the mutants that survive without its file. Of whole-suite runs only.

    A finding of no program is no other file's merit: each case asks for new ones, and fails.
    """
    found: typing.Dict[str, typing.List[str]] = {}
    for result in results:
        if result.outcome is Outcome.KILLED and len(result.families) == 1:
            found.setdefault(result.families[0], []).append(str(result.mutant))
    return found
