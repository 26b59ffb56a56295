# SPDX-License-Identifier: GPL-2.0-only
"""What a failed case says: of its diagnostics what a reader wants, and a page of such messages."""

import re
import typing

from . import compose, mutant, rst

LONGEST = 6
MOST_FINDINGS = 2
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


def page(results: typing.Sequence[typing.Mapping[str, typing.Any]]) -> str:
    """For each family the message of one mutant, in reStructuredText. Of what --json has."""
    title = "What a failed test says"
    lines = [".. SPDX-License-Identifier: GPL-2.0-only", "", "=" * len(title), title,
             "=" * len(title), "",
             *rst.paragraph("One message of each family, of a kernel with a planted bug, without "
                            "file and line, and with what the kernel and the emulated host said of "
                            "it. Written by ``scripts/tdx-init-mem mutants --rst``.")]
    for program in compose.programs():
        name = mutant.family(program)
        lines += rst.heading(name, "-")
        found = example(results, name)
        if not found:
            lines += rst.paragraph("None of these bugs is found by this one.")
            continue
        result, killer = found
        lines += rst.paragraph(f"{result['id']} ({result['line']}, {result['variant']}): "
                               f"{result['breaks']}")
        lines += ["::", "", *(f"    {line}" for line in killer["says"])]
        lines += [f"    {other['finding']}" for other in result["found_by"]
                  if other["finding"] and other["family"] == name][:MOST_FINDINGS]
        lines += [f"    not ok {killer['case']}", ""]
    return "\n".join(lines).rstrip() + "\n"


def example(results: typing.Sequence[typing.Mapping[str, typing.Any]], family: str
            ) -> typing.Optional[typing.Tuple[typing.Mapping[str, typing.Any],
                                              typing.Mapping[str, typing.Any]]]:
    """Of the cases that said something themselves the first; else the first of all."""
    found = [(result, killer) for result in results for killer in result["found_by"]
             if killer["family"] == family and killer["case"]]
    spoken = [pair for pair in found
              if pair[1]["says"] and not pair[1]["says"][0].startswith("Expected ")]
    return next(iter(spoken or found), None)
