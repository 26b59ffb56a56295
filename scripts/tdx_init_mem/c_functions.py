# SPDX-License-Identifier: GPL-2.0-only
"""Which lines of a C file, in kernel style, are which function, and which functions that mentions.

gcov gives the lines of what was inlined early to the function it was inlined into.
"""

import dataclasses
import re
import typing

_HEAD = re.compile(r"^[A-Za-z_].*?\b(\w+)\(")
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_WORD = re.compile(r"\b[A-Za-z_]\w*\b")


@dataclasses.dataclass(frozen=True)
class Function:
    """Lines from the one with the name to the closing brace, counted from 1."""

    name: str
    first: int
    last: int


def functions(text: str) -> typing.List[Function]:
    """All of a file. A body is what is between braces in the first column."""
    lines = text.splitlines()
    found: typing.List[Function] = []
    body = head = 0
    name = ""
    for number, line in enumerate(lines, 1):
        match = _HEAD.match(line)
        if line.startswith("{") and name:
            body = head
        elif line.startswith("}"):
            if body:
                found.append(Function(name, body, number))
            body, name = 0, ""
        elif match and not body:
            name, head = match[1], number
        elif not line or line.endswith(";"):
            name = name if body else ""
    return found


def reached(texts: typing.Iterable[str], roots: typing.Collection[str]) -> typing.Set[str]:
    """@roots, and what of the functions in @texts they call or mention, and so on."""
    mentions: typing.Dict[str, typing.Set[str]] = {}
    for text in texts:
        lines = text.splitlines()
        for function in functions(text):
            body = _COMMENT.sub("", "\n".join(lines[function.first - 1:function.last]))
            mentions.setdefault(function.name, set()).update(_WORD.findall(body))
    found: typing.Set[str] = set()
    waiting = [name for name in roots if name in mentions]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [word for word in mentions[name] if word in mentions]
    return found
