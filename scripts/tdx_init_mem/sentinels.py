# SPDX-License-Identifier: GPL-2.0-only
"""What each test file is for: a planted bug that no other file finds, its sentinel.

Whether the file finds it, is asked of each mutant alone. Whether the rest of the suite does, of
several planted at once, as it hardly ever does, and takes long; the files that find one are asked of
each again. Of the files whose mutants are planted at once, each sees the others' mutants alone.
"""

import collections
import dataclasses
import fnmatch
import itertools
import json
import typing

from . import compose, errors, failures, kills, matrix, mutant, mutants, report, steps
from .results import Status

TOGETHER = 4

# Files that have none, and what they are there for.
WORTH: typing.Dict[str, str] = {
    "emulator": "tests the emulated host: what the others make it do, and that it tells of misuse",
    "migrate": "finds a bug of 7.x that no other file finds: known_issues.MIGRATED",
    "perf": "measures, for compare and a reader, and is no judge of what comes out",
    "stress": "random programs: what it alone finds is a rule that a file is to be written for",
    "stress_race": "random programs of two threads: as for stress",
}


Killers = typing.Tuple[kills.Killer, ...]


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A mutant whose header gives it to one file."""

    family: str
    mutant: mutant.Mutant


@dataclasses.dataclass(frozen=True)
class Sentinel:
    """A candidate that proved true."""

    mutant: mutant.Mutant
    killers: Killers  # of its file
    programs: int  # of other files, which found nothing
    cases: int

    def as_data(self) -> typing.Dict[str, typing.Any]:
        one = self.mutant
        return {"line": one.line, "variant": one.variant, "id": one.id, "breaks": one.breaks,
                "found_by": mutants.found_by(self.killers), "other_programs": self.programs,
                "other_cases": self.cases}


@dataclasses.dataclass(frozen=True)
class Seen:
    """What some files make of a kernel."""

    killers: Killers = ()
    programs: int = 0
    cases: int = 0  # that passed
    broken: str = ""  # why there is nothing to be said

    @property
    def families(self) -> typing.Set[str]:
        return {killer.family for killer in self.killers if killer.family}

    @property
    def summary(self) -> str:
        return self.broken or (f"found by {self.killers[0]}" if self.killers else "found by none")


Found = typing.Dict[str, Sentinel]  # by family


def candidates(planted: typing.Sequence[mutant.Mutant], families: typing.Sequence[str]
               ) -> typing.Dict[str, typing.List[Candidate]]:
    """By family; those of the kernel first that has candidates for the most of them."""
    found: typing.Dict[str, typing.List[Candidate]] = {name: [] for name in families}
    for one in planted:
        named = {name for glob in one.killed_by
                 for name in fnmatch.filter(families, glob.partition("/")[0])}
        if len(named) == 1:
            found[min(named)].append(Candidate(min(named), one))
    wide = collections.Counter(kernel for some in found.values()
                               for kernel in {one.mutant.kernel for one in some})
    for some in found.values():
        some.sort(key=lambda one: -wide[one.mutant.kernel])
    return found


def run(out: steps.Steps, order: mutants.Order) -> int:
    """Status 0 only if each file has a sentinel, or else a word on what it is for."""
    families = [mutant.family(program) for program in compose.programs()]
    waiting = candidates(order.mutants, families)
    if order.some:
        families = [name for name in families if waiting[name]]
    found: Found = {}
    broken: typing.Dict[typing.Any, typing.Tuple[int, str]] = {}
    while True:
        tried = [waiting[name].pop(0) for name in families if name not in found and waiting[name]]
        if not tried:
            break
        tried.sort(key=lambda one: one.mutant.kernel)
        for kernel, group in itertools.groupby(tried, key=lambda one: one.mutant.kernel):
            several = list(group)
            if kernel not in broken:
                broken[kernel] = mutants.control(out, mutants.job_of(order, several[0].mutant))
            if broken[kernel][0]:
                continue
            for start in range(0, len(several), TOGETHER):
                found.update(prove(out, order, several[start:start + TOGETHER]))
    if out.dry_run:
        return errors.PASSED
    return summarise(out, order, families, found, [why for _, why in broken.values() if why])


def prove(out: steps.Steps, order: mutants.Order, several: typing.Sequence[Candidate]) -> Found:
    """Those of the candidates, of one kernel, that are sentinels."""
    names = [one.family for one in several]
    own = {one.family: by_its_own(out, order, one, names) for one in several}
    return by_nobody_else(out, order, [one for one in several if own[one.family]], own)


def by_its_own(out: steps.Steps, order: mutants.Order, one: Candidate,
               names: typing.Sequence[str]) -> Killers:
    """What of its file finds it; nothing if none does, or if another of @names does."""
    out.say(f"\nmutant {one.mutant}: does {one.family} find it? {one.mutant.breaks}")
    seen = look(out, order, [one], names)
    if out.dry_run:
        return (kills.Killer(one.family, ""),)
    own = tuple(killer for killer in seen.killers if killer.family == one.family)
    if own and seen.families != {one.family}:
        # The others may have failed at what this failure left behind.
        seen = look(out, order, [one], [name for name in names if name != one.family])
        seen = dataclasses.replace(seen, killers=(*own, *seen.killers))
    if own and seen.families == {one.family} and not seen.broken:
        return own
    others = tuple(killer for killer in seen.killers if killer.family != one.family)
    out.say(f"mutant {one.mutant}: "
            f"{dataclasses.replace(seen, killers=others).summary}{' as well' if own else ''}")
    return ()


def by_nobody_else(out: steps.Steps, order: mutants.Order, several: typing.Sequence[Candidate],
                   own: typing.Mapping[str, Killers]) -> Found:
    if not several:
        return {}
    without = {one.family for one in several}
    named = ", ".join(str(one.mutant) for one in several)
    out.say(f"\nmutants {named}: who finds them without {', '.join(sorted(without))}?")
    seen = look(out, order, several, [name for name in map(mutant.family, compose.programs())
                                      if name not in without])
    if seen.broken or seen.killers:
        out.say(f"mutants {named}: {seen.summary}")
    if seen.killers and len(several) == 1:
        return {}
    left = [one for one in several if not seen.killers or not finds(out, order, one, seen.families)]
    if not seen.broken and (not seen.killers or len(left) < len(several)):
        # Those that are left were there while all the other files found nothing.
        return {one.family: Sentinel(one.mutant, own[one.family], seen.programs, seen.cases)
                for one in left}
    half = len(several) // 2
    return {} if not half else {**by_nobody_else(out, order, several[:half], own),
                                **by_nobody_else(out, order, several[half:], own)}


def finds(out: steps.Steps, order: mutants.Order, one: Candidate, families: typing.Set[str]) -> bool:
    """Whether one of these files finds the mutant, if it is planted alone."""
    if not families:
        return True
    seen = look(out, order, [one], sorted(families))
    out.say(f"mutant {one.mutant}: {seen.summary}")
    return bool(seen.broken or seen.killers)


def look(out: steps.Steps, order: mutants.Order, several: typing.Sequence[Candidate],
         families: typing.Sequence[str]) -> Seen:
    """What @families make of the kernel with all these mutants."""
    if not families:  # which a job takes for all of them
        return Seen()
    first = several[0].mutant
    wanted = dataclasses.replace(mutants.job_of(order, first, tuple(families)), keep_going=True,
                                 applied=tuple(one.mutant.patch for one in several))
    try:
        verdict = matrix.run_one(out, wanted)
        if out.dry_run:
            return Seen()
        if any(program.status is Status.NOT_RUN for program in verdict.programs):
            raise errors.Broken("not every program came to its turn")
        return Seen(kills.of_verdict(first.line, first.variant, verdict), len(verdict.programs),
                    sum(program.count(Status.PASS) for program in verdict.programs))
    except errors.Stop as stop:
        return Seen(broken=str(stop))


def complaint(name: str, found: Found) -> str:
    if name in found:
        return "has a mutant of its own: strike its reason" if name in WORTH else ""
    return "" if name in WORTH else "no mutant is found by it alone"


def summarise(out: steps.Steps, order: mutants.Order, families: typing.Sequence[str], found: Found,
              broken: typing.Sequence[str]) -> int:
    rows = [["file", "kernel", "a mutant that no other file finds, or what the file is for",
             "found by", "not by"]]
    for name in families:
        if name in found:
            one = found[name]
            rows.append([name, f"{one.mutant.line} {one.mutant.variant}", one.mutant.id,
                         str(one.killers[0]), f"{one.programs} files, {one.cases} cases"])
        else:
            rows.append([name, "", WORTH.get(name, f"! {complaint(name, found)}"), "", ""])
    out.say()
    for line in report.table(rows):
        out.say(line)
    wrong = [f"{name}: {complaint(name, found)}" for name in families if complaint(name, found)]
    for line in [*broken, *wrong]:
        out.say(f"sentinels: {line}")
    status = errors.FAILED if broken or wrong else errors.PASSED
    argued = sum(name not in found and name in WORTH for name in families)
    out.say(out.paint("red" if status else "green",
                      f"{len(families)} files: {len(found)} with a mutant that no other finds, "
                      f"{argued} for another reason, {len(families) - len(found) - argued} with "
                      "neither"))
    if order.json:
        order.json.write_text(json.dumps(
            {name: found[name].as_data() if name in found else
             {"worth": WORTH.get(name, ""), "complaint": complaint(name, found)}
             for name in families}, indent=1) + "\n", encoding="utf-8")
    if order.rst:
        order.rst.write_text(failures.page([one.as_data() for one in found.values()]),
                             encoding="utf-8")
    return status
