# SPDX-License-Identifier: GPL-2.0-only
"""Builds KVM after patches, in several configurations, and tells what is new to it.

One object directory per line and configuration, in which make builds what a patch affects. What
was said of a unit when it was last built is kept with its object; what the pristine kernel says
is kept as the baseline.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import posixpath
import shutil
import typing

from . import build, complaints, compose, config, errors, exports, lines, paths, steps

FRAGMENTS = paths.CONFIGS / "series"
# Name -> fragments on top of the runner's own configuration; a later one wins.
CONFIGURATIONS: typing.Dict[str, typing.Tuple[str, ...]] = {
    "thp": ("sev-tdx", "thp", "quiet"),
    "no-thp": ("sev-tdx", "no-thp", "quiet"),
    "gmem-only": ("gmem-only", "thp", "quiet"),
}
# virt/kvm is built as part of arch/x86/kvm.
KVM = ("arch/x86/kvm", "virt/kvm")
MODULES = tuple(f"{KVM[0]}/{name}.ko" for name in ("kvm", "kvm-intel", "kvm-amd"))
# Sparse 0.6.4 lacks a keyword that 7.3 insists on, and does not take the length of a literal for
# the constant that MODULE_INFO() asserts it to be: it would give up on every module_param().
SPARSE = "CHECK=sparse -D__typeof_unqual__=__typeof__ -D__builtin_strlen=-1+sizeof"
FLAGS = ("W=1", "C=1", SPARSE, "KBUILD_MODPOST_WARN=1", "--output-sync=target")
STATE, BASELINE = ".series.json", ".baseline.json"


@dataclasses.dataclass(frozen=True)
class Target:
    """A line in a configuration, and the directory of its objects."""

    line: str
    configuration: str

    @property
    def obj(self) -> pathlib.Path:
        return paths.OBJ / f"{self.line}-series-{self.configuration}"

    @property
    def fragment(self) -> typing.Dict[str, str]:
        """What this is about: a kernel that lacks any of it is not this configuration."""
        merged: typing.Dict[str, str] = {}
        for name in CONFIGURATIONS[self.configuration]:
            file = FRAGMENTS / f"{name}.config"
            merged.update(config.parse(file.read_text(encoding="utf-8")))
        return merged

    @property
    def wanted(self) -> typing.Dict[str, str]:
        return {**config.merge(config.fragments()), **self.fragment}

    def key(self) -> str:
        """Of everything but the patches that the complaints depend on."""
        digest = hashlib.sha256()
        for part in (config.as_text(self.wanted), lines.LINES[self.line].sha256,
                     build.compiler_version(), program_version("sparse"), *FLAGS):
            digest.update(f"{part}\n".encode())
        return digest.hexdigest()


@dataclasses.dataclass(frozen=True)
class Said:
    """Of a state of the sources: complaints unit by unit, and symbols from elsewhere."""

    units: complaints.Units
    unresolved: exports.Unresolved


def program_version(name: str) -> str:
    program = shutil.which(name)
    if not program:
        raise errors.Broken(f"{name} is missing: run scripts/tdx-init-mem setup")
    real = os.path.realpath(program)
    return f"{real} {os.stat(real).st_size} {os.stat(real).st_mtime_ns}"


def load(target: Target, name: str) -> typing.Optional[typing.Dict[str, typing.Any]]:
    try:
        saved: typing.Dict[str, typing.Any] = json.loads(
            (target.obj / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return saved if saved.get("key") == target.key() else None


def save(target: Target, name: str, **content: typing.Any) -> None:
    paths.write_text(target.obj / name, json.dumps({"key": target.key(), **content}, indent=1))


def baseline(target: Target) -> typing.Optional[Said]:
    """What the pristine kernel says, if it is known."""
    saved = load(target, BASELINE)
    return Said(saved["units"], saved["unresolved"]) if saved else None


def configure(out: steps.Steps, tree: pathlib.Path, target: Target) -> None:
    if out.dry_run:
        build.configure_anew(out, tree, target.obj)
        return
    build.configure(out, tree, target.obj, target.wanted)
    check_configured(target)


def check_configured(target: Target) -> None:
    got = config.parse((target.obj / ".config").read_text(encoding="utf-8"))
    lost = config.lost(target.fragment, got)
    if lost:
        raise errors.NotBuilt(f"configuration {target.configuration} of {target.line} lacks "
                              f"{', '.join(lost)}")


def forget_objects(target: Target) -> None:
    """Of objects whose complaints nobody noted down: a former make was killed, or was another."""
    for directory in KVM:
        for pattern in ("*.o", ".*.cmd"):
            for path in (target.obj / directory).rglob(pattern):
                path.unlink()


def compile_kvm(out: steps.Steps, composed: compose.Composed, target: Target) -> Said:
    """Builds what changed; raises NotBuilt with the compiler's words."""
    tree = composed.tree
    make = ["make", "-C", tree, f"O={target.obj}", *build.compilers()]
    kvm = [*make, build.jobs(), *build.assignments(), *FLAGS, *MODULES]
    if out.dry_run:
        for command in ([*make, "olddefconfig"], kvm):
            out.command(command, build.environment())
        return Said({}, {})
    former = load(target, STATE)
    if former is None:
        forget_objects(target)
    (target.obj / STATE).unlink(missing_ok=True)
    out.run([*make, "olddefconfig"], "the kernel configuration failed", kind=errors.NotBuilt,
            env=build.environment())
    check_configured(target)
    status, text = out.attempt(kvm, env=build.environment())
    fresh, checked = complaints.parse(text, tree.name)
    units = {**(former["units"] if former else {}), **fresh}
    save(target, STATE, units=units)
    if status:
        raise errors.NotBuilt(f"does not build: {why(text, tree.name)}")
    unchecked = {unit for unit in complaints.compiled(text) - checked
                 if unit.startswith(KVM) and unit.endswith(".o") and not unit.endswith(".mod.o")}
    if unchecked:
        raise errors.Broken(f"sparse did not read {', '.join(sorted(unchecked))}")
    return Said(units, exports.unresolved(
        out, [(target.obj / module).with_suffix(".o") for module in MODULES]))


def blind(units: complaints.Units, touched: typing.Collection[str]) -> typing.List[str]:
    """Patched sources on which sparse gives up, as gcc does not: its silence says nothing."""
    return [f"{unit}: sparse gives up: {text}" for unit, said in units.items()
            if posixpath.normpath(unit).removesuffix(".o") + ".c" in touched
            for text in said if ": error: " in text]


def why(text: str, tree: str) -> str:
    """The first complaints of a failed build: errors, but for those of sparse on good code."""
    found = [complaints.normalise(line, tree) for line in text.splitlines()
             if " error: " in line or line.startswith(("ERROR: ", "fatal:"))]
    return "; ".join(dict.fromkeys(found[:4])) or text[-300:]


def make_baseline(out: steps.Steps, pristine: compose.Composed, target: Target) -> None:
    said = compile_kvm(out, pristine, target)
    if out.dry_run:
        return
    if not any(unit.startswith(KVM) for unit in said.units):
        raise errors.Broken(f"{target.obj.name}: nothing of KVM was built")
    save(target, BASELINE, units=said.units, unresolved=said.unresolved)


def news(out: steps.Steps, composed: compose.Composed, target: Target) -> typing.List[str]:
    """What the compilers say of a patched kernel, and not of the pristine one."""
    after = compile_kvm(out, composed, target)
    if out.dry_run:
        return []
    before = baseline(target)
    if before is None:
        raise errors.Broken(f"{target.obj.name} has no baseline")
    return [*blind(after.units, composed.series.touched()),
            *complaints.added(before.units, after.units),
            *exports.missing(out, composed.tree, KVM, before.unresolved, after.unresolved)]
