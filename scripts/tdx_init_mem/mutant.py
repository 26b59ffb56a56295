# SPDX-License-Identifier: GPL-2.0-only
"""A mutant: a kernel patch that plants one bug, and what its header promises of it.

The header, all above the diff, is made of trailers only; a line that starts with a blank goes on
with the one before. What a trailer may say is decided here, before anything is built.
"""

import dataclasses
import fnmatch
import pathlib
import re
import typing

from . import compose, errors, lines, paths

DIRECTORY = paths.ROOT / "scripts" / "mutants"
_TRAILER = re.compile(r"^([A-Z][A-Za-z-]*): +(\S.*)$")
_DIFF = re.compile(r"^(?:---(?: |$)|diff --git )")
PREFIX, SUFFIX = "tdx_init_mem_", "_test"


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One patch. Either some tests are named that kill it, or a reason why none can."""

    id: str
    line: str
    patch: pathlib.Path
    variant: str
    breaks: str
    killed_by: typing.Tuple[str, ...] = ()
    survives: str = ""
    settings: typing.Mapping[str, typing.Any] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.line}/{self.id}"

    @property
    def kernel(self) -> typing.Tuple[str, str, str]:
        """What the bug is planted in, and how that runs: those of one kernel share a build."""
        return self.line, self.variant, repr(sorted(self.settings.items()))


def _cpus(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"{text} is not a positive number")
    return int(text)


def _option(text: str) -> str:
    if not re.fullmatch(r"\w+=\S+", text):
        raise ValueError(f"{text} is not OPTION=VALUE")
    return text


def _parameter(text: str) -> str:
    if not re.fullmatch(r"\w+\.\w+=\S+", text):
        raise ValueError(f"{text} is not MODULE.NAME=VALUE")
    return text


# Trailer -> field of job.Job and how to read it; of those with a tuple there may be several.
SETTINGS: typing.Dict[str, typing.Tuple[str, typing.Callable[[str], typing.Any], bool]] = {
    "Smp": ("smp", _cpus, False),
    "Emulator": ("emulator", _option, True),
    "Module-param": ("parameters", _parameter, True),
}
ONCE = {"Variant", "Breaks", "Survives", *(name for name, row in SETTINGS.items() if not row[2])}
KNOWN = ("Variant", "Breaks", "Killed-by", "Survives", *SETTINGS)


def family(program: str) -> str:
    return program[len(PREFIX):-len(SUFFIX)]


def trailers(text: str) -> typing.Iterator[typing.Tuple[str, str]]:
    """The header as (name, value) pairs; raises ValueError for what is none."""
    name, value = "", ""
    for number, line in enumerate(text.splitlines(), 1):
        if _DIFF.match(line):
            break
        if line[:1] in (" ", "\t") and name and line.strip():
            value = f"{value} {line.strip()}"
            continue
        match = _TRAILER.match(line)
        if not match and line.strip():
            raise ValueError(f"line {number} is no trailer: {line.strip()[:40]}")
        if name:
            yield name, value
        name, value = (match[1], match[2].strip()) if match else ("", "")
    else:
        raise ValueError("no diff")
    if name:
        yield name, value


def parse(path: pathlib.Path, line: str) -> Mutant:
    """Raises Broken, with one line, for whatever is wrong in the header."""
    try:
        return _parse(path, line)
    except (ValueError, OSError) as error:
        raise errors.Broken(f"mutant {paths.shown(path)}: {error}") from None


def _parse(path: pathlib.Path, line: str) -> Mutant:
    found: typing.Dict[str, typing.List[str]] = {}
    for name, value in trailers(path.read_text(encoding="utf-8")):
        if name not in KNOWN:
            raise ValueError(f"unknown trailer {name}: there are {', '.join(KNOWN)}")
        if name in found and name in ONCE:
            raise ValueError(f"more than one {name}")
        found.setdefault(name, []).append(value)
    for name in ("Variant", "Breaks"):
        if name not in found:
            raise ValueError(f"no {name}")
    variant, killed_by = found["Variant"][0], tuple(found.get("Killed-by", ()))
    if variant not in lines.VARIANTS:
        raise ValueError(f"no variant {variant}: there are {', '.join(lines.VARIANTS)}")
    if bool(killed_by) == ("Survives" in found):
        raise ValueError("either Killed-by or Survives, one of them and not both")
    programs = [family(program) for program in compose.programs()]
    for glob in killed_by:
        if not fnmatch.filter(programs, glob.partition("/")[0]):
            raise ValueError(f"Killed-by {glob}: no such test, see scripts/tdx-init-mem list")
    settings: typing.Dict[str, typing.Any] = {}
    for name, (field, read, several) in SETTINGS.items():
        values = [read(value) for value in found.get(name, [])]
        if values:
            settings[field] = tuple(values) if several else values[0]
    return Mutant(path.stem, line, path, variant, found["Breaks"][0], killed_by,
                  found.get("Survives", [""])[0], settings)


def load(wanted_lines: typing.Sequence[str], ids: typing.Sequence[str],
         directory: pathlib.Path = DIRECTORY) -> typing.List[Mutant]:
    """Those asked for, by line and kernel; each glob of @ids must name some."""
    found = [parse(path, line) for line in wanted_lines
             for path in sorted((directory / line).glob("*.patch"))]
    for glob in ids:
        if not any(fnmatch.fnmatchcase(one.id, glob) for one in found):
            raise errors.Broken(f"no mutant {glob}: see scripts/tdx-init-mem mutants --list")
    if not found:
        raise errors.Broken(f"no mutants of {' '.join(wanted_lines)} in {paths.shown(directory)}")
    return sorted((one for one in found
                   if not ids or any(fnmatch.fnmatchcase(one.id, glob) for glob in ids)),
                  key=lambda one: (*one.kernel, one.id))
