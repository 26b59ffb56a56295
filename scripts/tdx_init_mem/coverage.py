# SPDX-License-Identifier: GPL-2.0-only
"""The verb "coverage": which lines of KVM the suite runs, and why it does not run the others."""

import dataclasses
import fnmatch
import pathlib
import typing

from . import (boot, c_functions, coverage_reasons, coverage_scope, errors, gcov, job, paths,
               report, steps)

CONFIG = "gcov"
PATH_TITLE = "KVM_TDX_INIT_MEM_REGION"

Texts = typing.Mapping[str, str]  # path in the kernel tree -> the source


@dataclasses.dataclass(frozen=True)
class Function:
    """A function of the kernel with those of its lines that have code."""

    path: str
    name: str
    lines: typing.Mapping[int, gcov.Line]

    @property
    def missing(self) -> typing.List[int]:
        return [number for number, line in sorted(self.lines.items()) if not line.count]


@dataclasses.dataclass(frozen=True)
class Missing:
    """A line that did not run, and why not, if anybody knows."""

    path: str
    number: int
    function: str
    text: str
    reason: str


def run(out: steps.Steps, wanted: job.Job, former: typing.Optional[pathlib.Path]) -> int:
    """Runs the suite, or takes the logs of a @former run of the same kernel, and reports."""
    wanted = dataclasses.replace(wanted, config=CONFIG, keep_going=True)
    directory = former or (paths.RUN / "dry-run" if out.dry_run else job.run_directory(wanted))
    status = errors.PASSED
    if not former:
        out.log_to(directory / "run.log")
        verdict = job.run(out, wanted, directory)
        if out.dry_run:
            return errors.PASSED
        report.print_end(out, verdict, directory)
        status = verdict.status
        if status == errors.BROKEN:
            return status
        out.say()
    lines = read_boots(out, wanted, directory)
    texts = {path: (paths.TREE / wanted.name / path).read_text(encoding="utf-8")
             for path in lines if path in coverage_scope.FILES}
    return max(status, judge(out, texts, lines))


def read_boots(out: steps.Steps, wanted: job.Job, directory: pathlib.Path) -> gcov.Lines:
    """The sum over all boots of a run."""
    total: gcov.Lines = {}
    logs = sorted(directory.rglob(boot.COUNTERS))
    with out.phase("gcov", f"{wanted.name}: {len(logs)} boots"):
        for log in logs:
            counters = gcov.last_counters(log.read_text(encoding="ascii", errors="replace"))
            if not counters:
                out.say(f"no counters in {paths.shown(log)}")
            gcov.merge(total, gcov.read(out, counters, paths.OBJ / wanted.name,
                                        log.with_name("gcov")))
    if not total:
        raise errors.Broken(f"no counters in {paths.shown(directory)}")
    return total


def judge(out: steps.Steps, texts: Texts, lines: gcov.Lines) -> int:
    """Prints everything; fails for too little of the path of init-mem, and for a line without a reason."""
    functions = [function for path, text in sorted(texts.items())
                 for function in of_file(path, text, lines[path])]
    missing: typing.List[Missing] = []
    status = errors.PASSED
    for title, chosen in sections(texts, functions):
        found = [one for function in chosen for one in missing_of(function, texts[function.path])]
        out.say()
        for line in report.table(rows(title, chosen)):
            out.say(line)
        if title == PATH_TITLE:
            status = judge_path(out, chosen, found)
        missing += found
    out.say("\nNot covered:")
    for one in missing:
        out.say(f"{one.path}:{one.number} {one.function}: {one.text}")
        out.say(f"    {one.reason or 'no reason known'}")
    for reason in stale(functions, texts):
        out.say(f"covered, its reason can go: {reason.function}: {reason.text}")
    unexplained = sum(not one.reason for one in missing)
    out.say(f"coverage: {len(missing)} lines in all are missing, {unexplained} of them without a reason")
    return errors.FAILED if unexplained else status


def of_file(path: str, text: str, lines: typing.Mapping[int, gcov.Line]) -> typing.List[Function]:
    found = [Function(path, function.name, {
        number: line for number, line in lines.items()
        if function.first <= number <= function.last}) for function in c_functions.functions(text)]
    return [function for function in found if function.lines]


def sections(texts: Texts, functions: typing.Sequence[Function]
             ) -> typing.List[typing.Tuple[str, typing.List[Function]]]:
    """Each function in the first section that it belongs to."""
    path = c_functions.reached([texts[name] for name in coverage_scope.PATH_FILES if name in texts],
                               coverage_scope.PATH_ROOTS)
    found = [(PATH_TITLE, [function for function in functions if function.name in path
                           and function.path in coverage_scope.PATH_FILES])]
    taken = {id(function) for function in found[0][1]}
    for section in coverage_scope.SECTIONS:
        chosen = [function for function in functions if id(function) not in taken
                  and any(fnmatch.fnmatchcase(function.name, glob)
                          for glob in section.globs.get(function.path, ()))]
        taken |= {id(function) for function in chosen}
        found.append((section.title, chosen))
    return found


def rows(title: str, chosen: typing.Sequence[Function]) -> typing.List[typing.List[str]]:
    """Function, lines, branches; ends with the sum."""
    found = [[title, "lines", "", "branches", ""]]
    for name, of in [*((one.name, [one]) for one in chosen), ("all of these", chosen)]:
        total = sum(len(one.lines) for one in of)
        branches = [count for one in of for line in one.lines.values() for count in line.branches]
        found.append([name, *ratio(total - sum(len(one.missing) for one in of), total),
                      *ratio(sum(count > 0 for count in branches), len(branches))])
    return found


def ratio(hit: int, total: int) -> typing.List[str]:
    return [f"{hit}/{total}", f"{100 * hit / total:.1f} %"] if total else ["-", ""]


def judge_path(out: steps.Steps, chosen: typing.Sequence[Function],
               missing: typing.Sequence[Missing]) -> int:
    total = sum(len(function.lines) for function in chosen)
    percent = 100 * (total - len(missing)) / total if total else 0
    unexplained = sum(not one.reason for one in missing)
    good = percent >= coverage_scope.PATH_MINIMUM and not unexplained
    out.say(out.paint("green" if good else "red", f"coverage: {'ok' if good else 'FAIL'}: "
                      f"{percent:.1f} % of the lines of {PATH_TITLE}, at least "
                      f"{coverage_scope.PATH_MINIMUM} % wanted; {unexplained} of {len(missing)} "
                      "that are missing without a reason"))
    return errors.PASSED if good else errors.FAILED


def missing_of(function: Function, text: str) -> typing.List[Missing]:
    lines = text.splitlines()
    found = []
    for number in function.missing:
        line = lines[number - 1].strip()
        found.append(Missing(function.path, number, function.name, line, next(
            (reason.reason for reason in coverage_reasons.REASONS
             if reason.function == function.name and is_at(reason.text, lines, number)), "")))
    return found


def is_at(text: str, lines: typing.Sequence[str], number: int) -> bool:
    """Whether @text is in a line, or begins in the one before it: "if (x) return -EIO;"."""
    before = " ".join(lines[number - 2].split()) if number > 1 else ""
    both = f"{before} {' '.join(lines[number - 1].split())}"
    where = both.rfind(text)
    return where >= 0 and where + len(text) > len(before) + 1


def stale(functions: typing.Sequence[Function], texts: Texts
          ) -> typing.List[coverage_reasons.Reason]:
    """Reasons for lines that this kernel has, and that did run, all of them."""
    found = []
    for reason in coverage_reasons.REASONS:
        counts = [line.count for function in functions if function.name == reason.function
                  for number, line in function.lines.items()
                  if is_at(reason.text, texts[function.path].splitlines(), number)]
        if counts and all(counts):
            found.append(reason)
    return found
