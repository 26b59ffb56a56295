# SPDX-License-Identifier: GPL-2.0-only
"""Numbers in the diagnostics of the tests, and what many of them have in common.

A line reads "# metric: AREA.WHAT.NUMBER VALUE UNIT", or "blocked in FUNCTION" in place of value and
unit if the operation did not end while it was to be measured.
"""

import dataclasses
import re
import statistics
import typing

from . import errors
from .results import Program

_MARK = "# metric: "
_LINE = re.compile(r"^# metric: ([\w.]+) (?:(\d+\.\d+) (\S+)|blocked in (\S*))$")


@dataclasses.dataclass
class Series:
    """All samples of one number on one kernel."""

    unit: str = ""
    values: typing.List[float] = dataclasses.field(default_factory=list)
    blocked: typing.List[str] = dataclasses.field(default_factory=list)  # where, once a sample

    @property
    def samples(self) -> int:
        return len(self.values) + len(self.blocked)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def quartiles(self) -> typing.Tuple[float, float]:
        """The middle half of the values, which a single outlier does not move."""
        if len(self.values) < 2:
            return self.median, self.median
        low, _, high = statistics.quantiles(self.values, n=4, method="inclusive")
        return low, high


Numbers = typing.Dict[str, Series]


def add(numbers: Numbers, programs: typing.Iterable[Program]) -> None:
    """Adds what the cases of one run said. Names keep the order in which they came first."""
    for program in programs:
        for case in program.cases:
            for line in case.diagnostics:
                if line.startswith(_MARK):
                    add_line(numbers, line)


def merge(numbers: Numbers, others: Numbers) -> None:
    """Adds the samples of @others."""
    for name, other in others.items():
        series = numbers.setdefault(name, Series())
        if series.unit and other.unit and series.unit != other.unit:
            raise errors.Broken(f"{name} is in {series.unit} and in {other.unit}")
        series.unit = series.unit or other.unit
        series.values += other.values
        series.blocked += other.blocked


def add_line(numbers: Numbers, line: str) -> None:
    """A line that cannot be read is no number less, it is a bug."""
    match = _LINE.match(line)
    if not match:
        raise errors.Broken(f"not a metric: {line}")
    name, value, unit, where = match.groups()
    series = numbers.setdefault(name, Series())
    if value is None:
        series.blocked.append(where)
        return
    if series.unit and series.unit != unit:
        raise errors.Broken(f"{name} is in {series.unit} and in {unit}")
    series.unit = unit
    series.values.append(float(value))
