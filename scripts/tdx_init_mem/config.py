# SPDX-License-Identifier: GPL-2.0-only
"""Kernel configuration: fragments, and the check that each of their lines survived."""

import pathlib
import re
import typing

from . import compose, errors, paths, steps

_SET = re.compile(r"^(CONFIG_\w+)=(.*)$")
_UNSET = re.compile(r"^# (CONFIG_\w+) is not set$")
_SYMBOL = re.compile(r"^\s*(?:menu)?config\s+(\w+)", re.MULTILINE)


def fragments() -> typing.List[pathlib.Path]:
    return [*sorted(paths.CONFIGS.glob("*.config")),
            paths.ROOT / paths.KVM_SELFTESTS / compose.PROGRAMS / "config"]


def parse(text: str) -> typing.Dict[str, str]:
    """CONFIG_NAME -> value; "n" for what is not set."""
    found = {}
    for line in text.splitlines():
        is_set, unset = _SET.match(line.strip()), _UNSET.match(line.strip())
        if is_set:
            found[is_set[1]] = is_set[2]
        elif unset:
            found[unset[1]] = "n"
    return found


def merge(files: typing.Sequence[pathlib.Path]) -> typing.Dict[str, str]:
    """The request. Two fragments that disagree are our mistake: show both sides."""
    wanted: typing.Dict[str, typing.Tuple[str, pathlib.Path]] = {}
    for file in files:
        for name, value in parse(file.read_text(encoding="utf-8")).items():
            if name in wanted and wanted[name][0] != value:
                raise errors.Broken(f"{name} is {wanted[name][0]} in {wanted[name][1].name} "
                                    f"but {value} in {file}")
            wanted[name] = (value, file)
    return {name: value for name, (value, _) in wanted.items()}


def as_text(wanted: typing.Mapping[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in sorted(wanted.items()))


def lost(wanted: typing.Mapping[str, str], got: typing.Mapping[str, str]) -> typing.List[str]:
    """The requested lines that olddefconfig did not keep."""
    return [f"{name}={value}" for name, value in sorted(wanted.items())
            if got.get(name, "n") != value]


def known_symbols(tree: pathlib.Path, names: typing.Iterable[str]) -> typing.Set[str]:
    """Which of @names (with CONFIG_) this kernel has at all."""
    missing = {name[len("CONFIG_"):] for name in names}
    found = set()
    for file in tree.rglob("Kconfig*"):
        if not missing:
            break
        here = missing & set(_SYMBOL.findall(file.read_text(encoding="utf-8", errors="replace")))
        missing -= here
        found |= here
    return {f"CONFIG_{name}" for name in found}


def check(out: steps.Steps, tree: pathlib.Path, wanted: typing.Mapping[str, str],
          dot_config: pathlib.Path) -> None:
    """An option that the kernel has must have survived; one that it lacks is only noted."""
    bad = lost(wanted, parse(dot_config.read_text(encoding="utf-8")))
    known = known_symbols(tree, [line.partition("=")[0] for line in bad])
    gone = [line for line in bad if line.partition("=")[0] not in known]
    bad = [line for line in bad if line not in gone]
    if gone:
        out.say(f"config: not in this kernel: {', '.join(gone)}")
    if bad:
        raise errors.NotBuilt(f"the kernel configuration lost {', '.join(bad)}: "
                              "a dependency of them is missing in the fragments")
