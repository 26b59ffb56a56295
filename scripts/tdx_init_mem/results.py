# SPDX-License-Identifier: GPL-2.0-only
"""The vocabulary of results."""

import dataclasses
import enum
import typing


class Status(enum.Enum):
    """Of a case or a program. What is not known to have ended well has not ended well."""

    PASS = "pass"
    SKIP = "skip"
    KNOWN = "known bug"  # fails, as it must on this kernel
    FAIL = "fail"
    CRASH = "crash"      # ended without a result, or results are missing
    HANG = "hang"
    NOT_RUN = "not run"  # the run ended before

    @property
    def bad(self) -> bool:
        return self not in (Status.PASS, Status.SKIP, Status.KNOWN)


@dataclasses.dataclass
class Case:
    """One line of results of a program."""

    name: str
    status: Status
    reason: str = ""
    diagnostics: typing.List[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Splat:
    """A complaint of the kernel: what the user reads first, and the console lines behind it."""

    name: str
    quote: str
    hang: bool = False
    lines: typing.Tuple[str, ...] = ()


@dataclasses.dataclass
class Program:
    """A test program in one run."""

    name: str
    status: Status = Status.CRASH
    reason: str = ""
    cases: typing.List[Case] = dataclasses.field(default_factory=list)
    diagnostics: typing.List[str] = dataclasses.field(default_factory=list)
    splats: typing.List[Splat] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    exit: typing.Optional[int] = None  # as the guest's result line has it
    bailed: str = ""  # the guest's "Bail out!" after it

    @property
    def family(self) -> str:
        return self.name.removeprefix("tdx_init_mem_").removesuffix("_test")

    def count(self, status: Status) -> int:
        return sum(case.status is status for case in self.cases)
