# SPDX-License-Identifier: GPL-2.0-only
"""Counters of a kernel under gcov: out of what the guest wrote, through gcov, into sums.

After each program the guest writes all counters since its boot (see guest-init.sh), so that a
boot loses those of the program only in which it dies. Of each boot the last complete set counts.
"""

import base64
import binascii
import dataclasses
import gzip
import itertools
import json
import os
import pathlib
import posixpath
import typing

from . import errors, paths, steps

_BEGIN, _FILE, _END = "begin ", "file ", "end"

Counters = typing.Dict[str, bytes]  # path of a .gcda in the guest -> its content


@dataclasses.dataclass
class Line:
    """How often a line ran, and each way out of it was taken."""

    count: int = 0
    branches: typing.List[int] = dataclasses.field(default_factory=list)

    def add(self, other: "Line") -> None:
        self.count += other.count
        self.branches = [sum(each) for each in itertools.zip_longest(
            self.branches, other.branches, fillvalue=0)]


Lines = typing.Dict[str, typing.Dict[int, Line]]  # path in the kernel tree -> number -> line


def last_counters(text: str) -> Counters:
    """The last complete set in what a guest wrote; empty if there is none."""
    last: Counters = {}
    current: typing.Optional[typing.Dict[str, typing.List[str]]] = None
    name = ""
    for line in text.splitlines():
        if line.startswith(_BEGIN):
            current, name = {}, ""
        elif line.startswith(_FILE) and current is not None:
            name = line[len(_FILE):]
            current[name] = []
        elif line == _END and current is not None:
            last, current = decoded(current) or last, None
        elif current is not None and name:
            current[name].append(line)
    return last


def decoded(encoded: typing.Mapping[str, typing.Sequence[str]]) -> Counters:
    """Nothing at all of a set with a file that did not arrive well."""
    try:
        return {name: gzip.decompress(base64.b64decode("".join(lines), validate=True))
                for name, lines in encoded.items()}
    except (binascii.Error, EOFError, OSError):
        return {}


def parse(text: str, tree: str) -> Lines:
    """What gcov --json-format says of the files in the kernel tree of this name."""
    found: Lines = {}
    for file in json.loads(text)["files"]:
        inside = posixpath.normpath(file["file"]).partition(f"/{tree}/")[2]
        if not inside:
            continue
        of_file = found.setdefault(inside, {})
        # A line is there once for each function that has a copy of it.
        for line in file["lines"]:
            of_file.setdefault(line["line_number"], Line()).add(Line(
                line["count"], [branch["count"] for branch in line["branches"]]))
    return found


def merge(total: Lines, more: Lines) -> None:
    """Adds the counts of another boot, or of another object with the same source."""
    for path, lines in more.items():
        of_file = total.setdefault(path, {})
        for number, line in lines.items():
            of_file.setdefault(number, Line()).add(line)


def read(out: steps.Steps, counters: Counters, obj: pathlib.Path, scratch: pathlib.Path) -> Lines:
    """Runs gcov on the counters of a boot, with the notes that the compiler left in @obj."""
    total: Lines = {}
    paths.remove(scratch)
    for number, (name, content) in enumerate(sorted(counters.items())):
        inside = name.partition(f"/{obj.name}/")[2]
        notes = (obj / inside).with_suffix(".gcno")
        if not inside or not notes.is_file():
            raise errors.Broken(f"no notes of the compiler for the counters {name}")
        directory = scratch / str(number)
        directory.mkdir(parents=True)
        data = directory / notes.with_suffix(".gcda").name
        data.write_bytes(content)
        os.symlink(notes, directory / notes.name)
        merge(total, parse(run(out, data), obj.name))
    return total


def run(out: steps.Steps, data: pathlib.Path) -> str:
    """The JSON of gcov, which warns in the same stream, and goes on, about what does not match."""
    text = out.run(["gcov", "--json-format", "--branch-probabilities", "--stdout", data.name],
                   "gcov failed", cwd=data.parent, log_output=False)
    said = [line for line in text.splitlines() if not line.startswith("{")]
    if said:
        raise errors.Broken(f"gcov: {said[0]}")
    return text
