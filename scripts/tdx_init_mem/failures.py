# SPDX-License-Identifier: GPL-2.0-only
"""What a failed case says: of its diagnostics what a reader wants, and a page of such messages."""

import re
import typing

from . import compose, mutant, rst
from .kills import Killer, Result

LONGEST = 6
# What the harness, the program's header and the library add to what the test says itself.
_LOCATION = re.compile(r"^\S+\.[ch]:\d+:\w+:")
_NOISE = re.compile(r"^(Random seed: |tdx_init_mem: host=|metric: |\w+: Test (failed|terminated)|"
                    r"Expected |(=+ )?Test Assertion Failure|lib/\S+:\d+: |pid=\d+ |"
                    r"\(stack trace empty\)|0x[0-9a-f]+: |$)")


def speech(diagnostics: typing.Iterable[str]) -> typing.Tuple[str, ...]:
    """Without file and line, and without the expression where the test has words for it."""
    lines = [_LOCATION.sub("", line.strip().removeprefix("#").lstrip()) for line in diagnostics]
    # A second failure of the same kind says nothing new.
    said = list(dict.fromkeys(line.rstrip() for line in lines if not _NOISE.match(line.strip())))
    return tuple(said[:LONGEST]) or tuple(line for line in lines if line.startswith("Expected "))[:1]


def page(results: typing.Sequence[Result]) -> str:
    """For each family the message of one mutant, in reStructuredText."""
    lines = [".. SPDX-License-Identifier: GPL-2.0-only", "",
             *rst.heading("What a failed test says", "=")[:1], "=" * 23, "",
             *rst.paragraph("One message of each family, of a kernel with a planted bug, without "
                            "file and line. Written by ``scripts/tdx-init-mem mutants --rst``.")]
    for program in compose.programs():
        name = mutant.family(program)
        lines += rst.heading(name, "-")
        found = example(results, name)
        if not found:
            lines += rst.paragraph("No mutant of these is found by this one.")
            continue
        result, killer = found
        lines += rst.paragraph(f"{result.mutant.id} ({result.mutant.line}, "
                               f"{result.mutant.variant}): {result.mutant.breaks}")
        lines += ["::", "", *(f"    {line}" for line in speech(killer.says)),
                  f"    not ok {killer.case}", ""]
    return "\n".join(lines).rstrip() + "\n"


def example(results: typing.Sequence[Result], family: str
            ) -> typing.Optional[typing.Tuple[Result, Killer]]:
    """Of the cases that said something themselves the first; else the first of all."""
    found = [(result, killer) for result in results for killer in result.killers
             if killer.family == family and killer.case and speech(killer.says)]
    spoken = [pair for pair in found if not speech(pair[1].says)[0].startswith("Expected ")]
    return next(iter(spoken or found), None)
