# SPDX-License-Identifier: GPL-2.0-only
"""The little of reStructuredText that is needed to write tables into Documentation."""

import textwrap
import typing

WIDTH = 80


def heading(text: str, mark: str) -> typing.List[str]:
    return [text, mark * len(text), ""]


def paragraph(text: str, indent: str = "") -> typing.List[str]:
    return [*textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent,
                           break_on_hyphens=False), ""]


def table(rows: typing.Sequence[typing.Sequence[str]]) -> typing.List[str]:
    """A simple table; the first row is the head. The first cell of a row may not be empty."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rule = "  ".join("=" * width for width in widths)
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
             for row in rows]
    return [rule, lines[0], rule, *lines[1:], rule, ""]
