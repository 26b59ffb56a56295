# SPDX-License-Identifier: GPL-2.0-only
"""Measures kernels on the same machine, in turns, and tells what the patches change."""

import contextlib
import dataclasses
import json
import pathlib
import typing

from . import errors, job, metrics, paths, report, rst, steps
from .series import of_directory

BEFORE = "base"
# Column -> the variant, and the directory of the patches on top of it.
COLUMNS = {
    BEFORE: ("base", ""),
    "series": ("base", "arch/x86/kvm/patches"),
    "decoupled": ("decoupled", ""),
}
TESTS = ("perf", "blocked")
DEFAULT_RUNS = 10
TIMEOUT = 300  # of a program: base is given its time

# What the first word of a number's name stands for.
AREAS = {
    "populate": "Pages a second of KVM_TDX_INIT_MEM_REGION, 4096 pages a call: first in a new TD, "
                "again with its page tables in place; untimed without the modelled times of "
                "SEAMCALLs.",
    "hole": "PUNCH_HOLE of one populated page of the same guest_memfd: in a quiet TD, while "
            "another thread populates 2048 pages a call over and over, and while populate waits "
            "for its source page. Whole file: 4096 pages at once.",
    "fallocate": "The same for the allocation of one page.",
    "hold": "How long populate holds the invalidate lock of the guest_memfd, and what share of "
            "its time that is, by the lock events of lockdep. These cost time, most of all in "
            "sections with many locks: see populate, traced.",
    "parked": "What an operation takes that starts while populate waits for its source page; "
              "blocked if it does not end before the source page is there.",
}
KERNELS = ("Base is the kernel as released, series the same with the decoupling series, decoupled "
           "with the series and the guest_memfd test bed, which has a lock and a bitmap of its own "
           "for every page. What the series costs, or gains, is between base and series.")
METHOD = ("Median of all samples, and their first and third quartile; then the difference to base. "
          "One in parentheses is no difference: the quartiles overlap. The kernels were booted in "
          "turns.")
EMULATED = ("SEAMCALLs are emulated, and the CPU is: the times are those of this machine, and only "
            "their relation means something.")


@dataclasses.dataclass
class Comparison:
    """One kernel line: what each kernel said in the runs that passed."""

    line: str
    headlines: typing.List[str]
    runs: typing.Dict[str, int] = dataclasses.field(
        default_factory=lambda: {column: 0 for column in COLUMNS})
    numbers: typing.Dict[str, metrics.Numbers] = dataclasses.field(
        default_factory=lambda: {column: {} for column in COLUMNS})
    failures: typing.List[str] = dataclasses.field(default_factory=list)

    @property
    def names(self) -> typing.List[str]:
        """Of all numbers, in the order of the tests, i.e. of the kernel that has more of them."""
        longest_first = sorted(self.numbers.values(), key=len, reverse=True)
        return list(dict.fromkeys(name for numbers in longest_first for name in numbers))


def run(out: steps.Steps, kernels: typing.Sequence[str], runs: int,
        rst_file: typing.Optional[pathlib.Path], json_file: typing.Optional[pathlib.Path],
        earlier: typing.Sequence[pathlib.Path] = (), **common: typing.Any) -> int:
    """Prints the tables. Status 0 only if every run of every kernel passed."""
    samples = [entry for file in earlier for entry in read(file)]
    files = [file for file in (rst_file, json_file) if file and not out.dry_run]
    for file in files:
        file.touch()  # not to find out in an hour that it cannot be written
    compared: typing.List[Comparison] = []
    for line in kernels:
        jobs = {column: job_of(line, column, **common) for column in COLUMNS}
        result = Comparison(line, [job.headline(one) for one in jobs.values()])
        for entry in samples:
            add(result, entry)
        if runs:
            measure(out, result, runs, jobs)
        if out.dry_run:
            continue
        compared.append(result)
        for text in ["", *section(result)]:
            out.say(text)
        write(rst_file, document(compared))
        write(json_file, as_json(compared))
    out.say(out.time_table())
    failures = [text for one in compared for text in one.failures]
    for text in failures:
        out.say(out.paint("red", text))
    return errors.FAILED if failures else errors.PASSED


def job_of(line: str, column: str, **common: typing.Any) -> job.Job:
    variant, directory = COLUMNS[column]
    applied = tuple(of_directory(line, directory)) if directory else ()
    return job.Job(line=line, variant=variant, applied=applied, tests=TESTS,
                   machines=1, **common)


def write(file: typing.Optional[pathlib.Path], text: str) -> None:
    if file:
        file.write_text(text, encoding="utf-8")


def read(file: pathlib.Path) -> typing.List[Comparison]:
    """What a former call wrote to its --json."""
    try:
        return [Comparison(entry["line"], entry["headlines"], entry["runs"], {
            column: {name: metrics.Series(**each[column])
                     for name, each in entry["numbers"].items() if column in each}
            for column in COLUMNS}, entry["failures"])
                for entry in json.loads(file.read_text(encoding="utf-8"))]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise errors.Broken(f"{paths.shown(file)} is not what compare --json writes") from None


def add(result: Comparison, other: Comparison) -> None:
    """The samples of @other, which have to be of the same kernels; of another line there are none."""
    if other.line != result.line:
        return
    if other.headlines != result.headlines:
        raise errors.Broken(f"samples of another kernel: {'; '.join(other.headlines)}")
    result.failures += other.failures
    for column in COLUMNS:
        result.runs[column] += other.runs[column]
        metrics.merge(result.numbers[column], other.numbers[column])


def measure(out: steps.Steps, result: Comparison, runs: int,
            jobs: typing.Mapping[str, job.Job]) -> None:
    """Builds the kernels, then boots them in turns."""
    with contextlib.ExitStack() as stack:
        built = {}
        for column, one in jobs.items():
            out.say(job.headline(one))
            stack.enter_context(paths.locked(one.name, out.say))
            built[column] = job.prepare(out, one)
        for column in order(1 if out.dry_run else runs):
            measure_once(out, result, column, jobs[column], built[column])


def order(runs: int) -> typing.List[str]:
    """To and fro, so that a machine that gets slower, or faster, is unfair to nobody."""
    turns = (tuple(COLUMNS), tuple(reversed(COLUMNS)))
    return [column for number in range(runs) for column in turns[number % 2]]


def measure_once(out: steps.Steps, result: Comparison, column: str, one: job.Job, built: job.Built
                 ) -> None:
    if out.dry_run:
        job.boot_all(out, one, built, paths.RUN / "dry-run")
        return
    directory = job.run_directory(one)
    out.log_to(directory / "run.log")
    verdict = job.boot_all(out, one, built, directory)
    if verdict.status != errors.PASSED:
        report.print_programs(out, verdict.programs)
        result.failures += [f"{one.line} {column}: {paths.shown(directory)}: {finding}"
                            for finding in verdict.findings or ["failed"]]
        return
    metrics.add(result.numbers[column], verdict.programs)
    result.runs[column] += 1


def rows(result: Comparison) -> typing.List[typing.List[str]]:
    """Name, unit, median and quartiles on each kernel, differences to the first."""
    others = [column for column in COLUMNS if column != BEFORE]
    found = [["number", "unit", *(f"{column} [q1, q3]" for column in COLUMNS), *others]]
    for name in result.names:
        each = {column: result.numbers[column].get(name, metrics.Series()) for column in COLUMNS}
        found.append([label(name), next((one.unit for one in each.values() if one.unit), ""),
                      *(cell(one) for one in each.values()),
                      *(difference(each[BEFORE], each[column]) for column in others)])
    return found


def label(name: str) -> str:
    return name.replace(".", ", ").replace("_", " ")


def number(value: float) -> str:
    """Three digits or more."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f}"


def cell(series: metrics.Series) -> str:
    if not series.samples:
        return "not measured"
    if not series.values:
        return "blocked"
    low, high = series.quartiles
    text = f"{number(series.median)} [{number(low)}, {number(high)}]"
    if series.blocked:
        text += f", blocked {len(series.blocked)} of {series.samples} times"
    return text


def difference(before: metrics.Series, after: metrics.Series) -> str:
    """Relative to @before, where both are numbers."""
    if not before.samples or not after.samples:
        return ""
    if before.blocked or after.blocked:
        if not after.blocked:
            return "not blocked"
        return "" if before.blocked else "NOW BLOCKED"
    if not before.median:
        return "" if not after.median else "from zero"
    text = f"{(after.median / before.median - 1) * 100:+.1f} %"
    (low, high), (other_low, other_high) = before.quartiles, after.quartiles
    return f"({text})" if low <= other_high and other_low <= high else text


def section(result: Comparison) -> typing.List[str]:
    """One kernel line, in RST."""
    lines = rst.heading(f"{result.line}: {', '.join(COLUMNS)}", "=")
    lines += [f"- {text}" for text in result.headlines]
    lines += [f"- runs: {', '.join(f'{column} {result.runs[column]}' for column in COLUMNS)}",
              ""]
    if result.failures:
        lines += [f"Left out: runs that did not pass, with {len(result.failures)} findings.", ""]
    return lines + (rst.table(rows(result)) if result.names else ["No run passed.", ""])


def document(compared: typing.Sequence[Comparison]) -> str:
    """A whole file, fit for Documentation."""
    lines = [".. SPDX-License-Identifier: GPL-2.0-only", ""]
    title = "KVM_TDX_INIT_MEM_REGION in numbers"
    lines += ["=" * len(title), *rst.heading(title, "=")]
    for text in ("Written by ``scripts/tdx-init-mem compare``.", EMULATED, KERNELS, METHOD):
        lines += rst.paragraph(text)
    for area, text in AREAS.items():
        lines += [area, *rst.paragraph(text, "    ")]
    for result in compared:
        lines += section(result)
    return "\n".join(lines).rstrip() + "\n"


def as_json(compared: typing.Sequence[Comparison]) -> str:
    return json.dumps([{
        "line": result.line, "headlines": result.headlines, "runs": result.runs,
        "failures": result.failures,
        "numbers": {name: {column: dataclasses.asdict(result.numbers[column][name])
                           for column in COLUMNS if name in result.numbers[column]}
                    for name in result.names},
    } for result in compared], indent=1) + "\n"
