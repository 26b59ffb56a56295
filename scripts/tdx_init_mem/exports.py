# SPDX-License-Identifier: GPL-2.0-only
"""Symbols that modules need and nobody exports, without a vmlinux to ask.

What a pristine module takes from outside is exported there, or it could not be loaded. What it
takes in addition has to be exported by one of the modules here, or somewhere else in the source.
"""

import pathlib
import typing

from . import errors, steps

Unresolved = typing.Dict[str, typing.List[str]]

EXPORTED = "__export_symbol_"
_NO_MATCH = 1


def symbols(listing: str) -> typing.Tuple[typing.Set[str], typing.Set[str]]:
    """(undefined, exported) out of the output of nm."""
    undefined, exported = set(), set()
    for line in listing.splitlines():
        words = line.split()
        if words[:-1] == ["U"]:
            undefined.add(words[-1])
        elif len(words) == 3 and words[2].startswith(EXPORTED):
            exported.add(words[2][len(EXPORTED):])
    return undefined, exported


def unresolved(out: steps.Steps, modules: typing.Sequence[pathlib.Path]) -> Unresolved:
    """Module -> what it needs and none of them exports."""
    found = {module.stem: symbols(out.run(["nm", module], "cannot read the symbols of a module",
                                          log_output=False)) for module in modules}
    exported = set().union(*(exports for _, exports in found.values()))
    return {name: sorted(undefined - exported) for name, (undefined, _) in found.items()}


def missing(out: steps.Steps, tree: pathlib.Path, own: typing.Sequence[str], before: Unresolved,
            after: Unresolved) -> typing.List[str]:
    """What is needed since, and has no EXPORT_SYMBOL in @tree outside of the directories @own."""
    return [f"{module}.ko needs {symbol}, which nothing exports"
            for module, names in after.items()
            for symbol in sorted(set(names) - set(before.get(module, [])))
            if not exported_in(out, tree, own, symbol)]


def exported_in(out: steps.Steps, tree: pathlib.Path, own: typing.Sequence[str], symbol: str
                ) -> bool:
    pattern = rf"\bEXPORT_[A-Z_]+\([[:space:]]*{symbol}\b"
    status, text = out.attempt(["grep", "-rlE", "--include=*.[chS]", pattern, "."], cwd=tree)
    if status > _NO_MATCH:
        raise errors.Broken(f"cannot search {tree} for the export of {symbol}: {text.strip()}")
    return any(not name.removeprefix("./").startswith(tuple(own)) for name in text.splitlines())
