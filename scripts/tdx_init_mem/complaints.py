# SPDX-License-Identifier: GPL-2.0-only
"""What compilers and checkers say of a kernel, unit by unit, out of the output of make.

A unit is one object, sparse's say on its source included. With make's --output-sync all that is
printed for it follows the line that announces it.
"""

import collections
import re
import typing

Units = typing.Dict[str, typing.List[str]]

CHECKED = ("CHECK",)
COMPILED = ("CC",)
_ANNOUNCED = re.compile(r"^  ([A-Z]+)(?: \[M\])? +(\S+)$")
_COMPLAINT = re.compile(r"\b(?:warning|error): ", re.IGNORECASE)
# What sparse puts below a complaint has its position, and is indented.
_CONTINUED = re.compile(r"^\S+:\d+:\d+: {3,}(\S.*)$")
_POSITION = re.compile(r"(\.[chS]):\d+(?::\d+)?:?")
_OFFSET = re.compile(r"\+0x[0-9a-f]+")
# Without vmlinux.o modpost finds most symbols missing. exports.py knows which really are.
_OF_NO_VMLINUX = re.compile(r'^(?:ERROR|WARNING): (?:modpost: ".*" \[.*\] undefined!|'
                            r"modpost: suppressed \d+ unresolved|vmlinux\.o is missing)")


def normalise(line: str, tree: str) -> str:
    """Without what depends on where the tree lies, how long the code above is, and the locale."""
    line = line.replace("\u2018", "'").replace("\u2019", "'")
    line = re.sub(rf"[^\s:(]*/{re.escape(tree)}/", "", line.strip())
    return _OFFSET.sub("+", _POSITION.sub(r"\1:", line))


def parse(output: str, tree: str) -> typing.Tuple[Units, typing.Set[str]]:
    """Complaints of every unit that was built, also of those with none; and what sparse read."""
    units: Units = {}
    checked: typing.Set[str] = set()
    unit = ""
    for line in output.splitlines():
        announced, continued = _ANNOUNCED.match(line), _CONTINUED.match(line)
        if announced and announced[1] in CHECKED:
            checked.add(unit)
        elif announced:
            unit = announced[2]
            units[unit] = []
        elif _OF_NO_VMLINUX.match(line):
            continue
        elif continued and units.get(unit):
            units[unit][-1] += f" {continued[1]}"
        elif _COMPLAINT.search(line):
            units.setdefault(unit, []).append(normalise(line, tree))
    return units, checked


def compiled(output: str) -> typing.Set[str]:
    """The units that are made of C."""
    found = (_ANNOUNCED.match(line) for line in output.splitlines())
    return {match[2] for match in found if match and match[1] in COMPILED}


def added(before: Units, after: Units) -> typing.List[str]:
    """The complaints that a unit has more often than before."""
    return [f"{unit}: {text}{f' ({count} times)' if count > 1 else ''}"
            for unit in sorted(after)
            for text, count in sorted((collections.Counter(after[unit])
                                       - collections.Counter(before.get(unit, []))).items())]
