# SPDX-License-Identifier: GPL-2.0-only
"""Other configurations of the kernel, one file in configs/extra/ each.

Beside CONFIG_ lines, which win over those of the usual fragments, a file has directives:

    # tdx-init-mem: slowness N         every limit on time is N times as long
    # tdx-init-mem: make NAME=VALUE    also on make's command line
    # tdx-init-mem: cmdline PARAMETER  also on the kernel's
"""

import dataclasses
import re
import typing

from . import config, errors, paths

EXTRA = paths.CONFIGS / "extra"
_DIRECTIVE = re.compile(r"^# tdx-init-mem: (\w+) (.+)$", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Configuration:
    """What one asks for; the default is the usual configuration."""

    options: typing.Mapping[str, str] = dataclasses.field(default_factory=dict)
    make: typing.Tuple[str, ...] = ()
    cmdline: typing.Tuple[str, ...] = ()
    slowness: int = 1

    @property
    def wanted(self) -> typing.Dict[str, str]:
        """All that is requested of the kernel configuration."""
        return {**config.merge(config.fragments()), **self.options}


def names() -> typing.List[str]:
    """What --config takes."""
    return sorted(file.stem for file in EXTRA.glob("*.config"))


def load(name: str) -> Configuration:
    """The configuration @name; "" is the usual one."""
    if not name:
        return Configuration()
    return parse((EXTRA / f"{name}.config").read_text(encoding="utf-8"))


def parse(text: str) -> Configuration:
    """Reads one file. A directive that nobody knows is a mistake, not a comment."""
    words: typing.Dict[str, typing.List[str]] = {"make": [], "cmdline": []}
    slowness = 1
    for directive, value in _DIRECTIVE.findall(text):
        if directive in words:
            words[directive].append(value)
        elif directive == "slowness" and value.isdigit() and int(value) > 0:
            slowness = int(value)
        else:
            raise errors.Broken(f"no such directive of a configuration: {directive} {value}")
    return Configuration(config.parse(text), tuple(words["make"]), tuple(words["cmdline"]), slowness)
