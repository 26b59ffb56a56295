# SPDX-License-Identifier: GPL-2.0-only
"""The patches of a variant: which, in which order, and the hash that names them in a report."""

import dataclasses
import hashlib
import pathlib
import re
import typing

from . import errors, lines, paths

HASH_LENGTH = 10
_PATCHED = re.compile(rb"^(?:---|\+\+\+|rename from|rename to|copy from) (\S+)|"
                      rb"^diff --git (\S+) (\S+)$", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Series:
    """Patches in order of application."""

    patches: typing.Tuple[pathlib.Path, ...]

    @property
    def hash(self) -> str:
        """Of the contents in order; "none" for an unpatched kernel."""
        if not self.patches:
            return "none"
        digest = hashlib.sha256()
        for patch in self.patches:
            content = read(patch)
            digest.update(b"%d\n%s" % (len(content), content))
        return digest.hexdigest()[:HASH_LENGTH]

    def touched(self) -> typing.Set[str]:
        """Every path in the tree that some patch reads or writes."""
        return {path for patch in self.patches for path in touched_paths(read(patch))}


def of_directory(line: str, directory: str) -> typing.List[pathlib.Path]:
    return sorted((paths.ROOT / directory / line).glob("*.patch"))


def of_variant(line: str, variant: str, applied: typing.Sequence[pathlib.Path]) -> Series:
    patches: typing.List[pathlib.Path] = []
    for directory in lines.VARIANTS[variant]:
        found = of_directory(line, directory)
        if not found:
            raise errors.NotBuilt(f"variant {variant} has no patches for {line}: "
                                  f"{directory}/{line}/ is empty; try --variant base")
        patches += found
    return Series(tuple(patches) + tuple(applied))


def has_patches(line: str, variant: str) -> bool:
    return all(of_directory(line, directory) for directory in lines.VARIANTS[variant])


def read(patch: pathlib.Path) -> bytes:
    try:
        return patch.read_bytes()
    except OSError as error:
        raise errors.NotBuilt(f"cannot read patch {patch}: {error.strerror}") from None


def touched_paths(patch: bytes) -> typing.Set[str]:
    found = set()
    for match in _PATCHED.finditer(patch):
        for name in match.groups():
            if not name or name == b"/dev/null":
                continue
            path = name.decode(errors="surrogateescape")
            if match[0].startswith((b"---", b"+++", b"diff")):
                path = path.partition("/")[2]
            if path and not path.startswith("/") and ".." not in path.split("/"):
                found.add(path)
    return found
