# SPDX-License-Identifier: GPL-2.0-only
"""Composed trees: a kernel source, the patches of a variant, and our selftests.

The patched and overlaid files are prepared aside. Only when every patch applied are they
synchronised into the tree, so a patch that does not apply leaves the former tree as it was. A
file is written only if its content changes: make then rebuilds exactly what is affected.
"""

import dataclasses
import filecmp
import json
import os
import pathlib
import re
import shutil
import stat
import time
import typing

from . import errors, paths, series, steps

# What a user or the build might write to in place. These are copied, the rest is hard links.
COPIED = ("arch/x86", "include", "kernel", "lib", "mm", "scripts", "tools", "virt", "Makefile")

MAKEFILE = f"{paths.KVM_SELFTESTS}/Makefile.kvm"
PROGRAMS = "x86/tdx_init_mem"
LIBRARY = "lib/x86/tdx"
# Our files in the kernel's selftests; they have the same path in a kernel tree.
OVERLAY = (f"include/{LIBRARY[4:]}", LIBRARY, PROGRAMS)
OVERLAY_SUFFIXES = (".c", ".h", ".S", ".rst")
OVERLAY_NAMES = ("config", "settings", ".gitignore")


class Newest:
    """The latest change in what the kernel is built from, and in what the tests are."""

    def __init__(self) -> None:
        self.kernel = 0.0
        self.tests = 0.0

    def note(self, path: str, mtime: float) -> None:
        if not path.startswith("tools/testing/selftests/"):
            self.kernel = max(self.kernel, mtime)
        if path.startswith("tools/") or "/uapi/" in path:
            self.tests = max(self.tests, mtime)


@dataclasses.dataclass(frozen=True)
class Composed:
    """What compose() made of a tree."""

    tree: pathlib.Path
    version: str
    series: series.Series
    newest: "Newest"


def programs() -> typing.List[str]:
    """Our test programs, by name."""
    return sorted(path.stem for path in (paths.ROOT / paths.KVM_SELFTESTS / PROGRAMS)
                  .glob("*_test.c"))


_BUILT = re.compile(r"^include/(?:config|generated)/|^arch/[^/]+/include/generated/|"
                    r"^\.tmp_|^vmlinux|\.(?:o|ko|a|cmd|mod|order|symvers|dtb)$")

Staged = typing.Dict[str, typing.Optional[pathlib.Path]]


def compose(out: steps.Steps, source: "Source", name: str, patches: series.Series) -> Composed:
    tree = paths.TREE / name
    if out.dry_run:
        for patch in patches.patches:
            out.command(["git", "apply", patch])
        return Composed(tree, "", patches, Newest())
    stage = paths.TREE / f".stage-{name}"
    paths.remove(stage)
    stage.mkdir(parents=True)
    try:
        staged = stage_patches(out, source, stage, patches)
        stage_overlay(source, stage, staged)
        if not tree.is_dir():
            source.copy_to(tree)
        newest = synchronise(out, source, tree, staged)
    finally:
        paths.remove(stage)
    return Composed(tree, kernel_version(tree), patches, newest)


def stage_patches(out: steps.Steps, source: "Source", stage: pathlib.Path,
                  patches: series.Series) -> Staged:
    """Applies the series to copies of just the files it touches."""
    touched = patches.touched()
    for path in touched:
        if (source.path / path).is_file():
            (stage / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source.path / path, stage / path)
    # Applied outside of any repository: paths mean the same wherever build/ lies.
    outside = {"GIT_CEILING_DIRECTORIES": os.fspath(stage.parent), "GIT_DIR": os.devnull}
    for patch in patches.patches:
        out.run(["git", "apply", "--whitespace=nowarn", patch.resolve()], env=outside,
                cwd=stage, kind=errors.NotBuilt,
                failure=f"patch {paths.shown(patch)} does not apply")
    return {path: stage / path if (stage / path).exists() else None for path in touched}


def stage_overlay(source: "Source", stage: pathlib.Path, staged: Staged) -> None:
    selftests = paths.ROOT / paths.KVM_SELFTESTS
    for directory in OVERLAY:
        for path in sorted((selftests / directory).rglob("*")):
            if path.suffix in OVERLAY_SUFFIXES or path.name in OVERLAY_NAMES:
                staged[path.relative_to(paths.ROOT).as_posix()] = path
    original = staged.get(MAKEFILE) or source.path / MAKEFILE
    if not original.is_file():
        raise errors.NotBuilt(f"{paths.shown(source.path)} has no {MAKEFILE}: too old a kernel?")
    text = original.read_text(encoding="utf-8")
    edited = stage / "overlay" / MAKEFILE
    edited.parent.mkdir(parents=True)
    edited.write_text(add_to_makefile(text, overlay_rules(staged)), encoding="utf-8")
    staged[MAKEFILE] = edited


def overlay_rules(staged: typing.Iterable[str]) -> typing.Dict[str, typing.List[str]]:
    """Variable of Makefile.kvm -> our values: each *_test.c a program, each library .c a source."""
    inside = [str(pathlib.PurePosixPath(path).relative_to(paths.KVM_SELFTESTS))
              for path in sorted(staged) if path.startswith(f"{paths.KVM_SELFTESTS}/")]
    return {
        "LIBKVM_x86": [path for path in inside
                       if path.startswith(f"{LIBRARY}/") and path.endswith((".c", ".S"))],
        "TEST_GEN_PROGS_x86": [path[:-2] for path in inside
                               if path.startswith(f"{PROGRAMS}/") and path.endswith("_test.c")],
    }


def add_to_makefile(text: str, rules: typing.Dict[str, typing.List[str]]) -> str:
    """Adds our values behind the last upstream line of their variable, unless already there."""
    result = text.splitlines(keepends=True)
    for variable, values in rules.items():
        last = max((number for number, line in enumerate(result)
                    if re.match(rf"{variable}\s*\+?=", line)), default=None)
        if last is None:
            raise errors.NotBuilt(f"{MAKEFILE} has no {variable}: cannot add the tests")
        missing = [f"{variable} += {value}\n" for value in values
                   if not any(line.split() == [variable, "+=", value] for line in result)]
        result[last + 1:last + 1] = missing
    return "".join(result)


def synchronise(out: steps.Steps, source: "Source", tree: pathlib.Path, staged: Staged) -> Newest:
    """Makes @tree equal to the source with @staged in place of its own files.

    A file with the source's size and mtime is taken as equal; any other is compared. The result
    knows the mtimes of those others, so that a mere touch is a reason to build, too.
    """
    wanted = source.files()
    present = list_files(tree)
    newest, restored = Newest(), []
    known = read_manifest(tree)
    write_manifest(tree, known | set(staged))
    for path in sorted(set(wanted) | set(present) | set(staged)):
        origin = staged[path] if path in staged else (
            source.path / path if path in wanted else None)
        if origin is None:
            if path in present:
                (tree / path).unlink()
                newest.note(path, time.time())
            continue
        mine, theirs = present.get(path), wanted.get(path)
        if path not in staged and mine and theirs and mine.same(theirs):
            continue
        if mine and same_content(origin, tree / path):
            newest.note(path, mine.mtime_ns / 1e9)
            continue
        if mine and path not in staged and path not in known and source.pristine:
            restored.append(path)
        newest.note(path, put(origin, tree / path))
    write_manifest(tree, set(staged))
    if restored:
        out.say(f"compose: restored {len(restored)} file(s) edited in {paths.shown(tree)}: "
                f"{', '.join(restored[:3])}; keep a change with --apply or --kernel-src")
    return newest


def put(origin: pathlib.Path, target: pathlib.Path) -> float:
    target.parent.mkdir(parents=True, exist_ok=True)
    with paths.into_place(target) as temporary:
        if origin.is_symlink():
            temporary.symlink_to(os.readlink(origin))
        else:
            shutil.copyfile(origin, temporary)
            shutil.copymode(origin, temporary)
    return target.lstat().st_mtime


def same_content(one: pathlib.Path, other: pathlib.Path) -> bool:
    if one.is_symlink() or other.is_symlink():
        return (one.is_symlink() and other.is_symlink()
                and os.readlink(one) == os.readlink(other))
    return (filecmp.cmp(one, other, shallow=False)
            and one.stat().st_mode & 0o111 == other.stat().st_mode & 0o111)


def manifest(tree: pathlib.Path) -> pathlib.Path:
    return tree.with_name(f"{tree.name}.json")


def read_manifest(tree: pathlib.Path) -> typing.Set[str]:
    try:
        return set(json.loads(manifest(tree).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return set()


def write_manifest(tree: pathlib.Path, changed: typing.Set[str]) -> None:
    """The files that are ours or patched, on disk before any of them is touched."""
    paths.write_text(manifest(tree), json.dumps(sorted(changed), indent=1) + "\n")


@dataclasses.dataclass(frozen=True)
class FileStat:
    """What tells a changed file from an unchanged one without reading it."""

    size: int
    mtime_ns: int

    def same(self, other: "FileStat") -> bool:
        return self.size == other.size and self.mtime_ns == other.mtime_ns


def list_files(top: pathlib.Path) -> typing.Dict[str, FileStat]:
    found: typing.Dict[str, FileStat] = {}
    pending = [""]
    while pending:
        directory = pending.pop()
        with os.scandir(top / directory) as entries:
            for entry in entries:
                path = f"{directory}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    pending.append(f"{path}/")
                else:
                    found[path] = file_stat(entry.stat(follow_symlinks=False))
    return found


def file_stat(result: os.stat_result) -> FileStat:
    link = stat.S_ISLNK(result.st_mode)
    return FileStat(result.st_size, 0 if link else result.st_mtime_ns)


class Source:
    """A kernel source to compose from: a pristine tree of ours."""

    pristine = True

    def __init__(self, out: steps.Steps, path: pathlib.Path) -> None:
        self.out = out
        self.path = path

    def files(self) -> typing.Dict[str, FileStat]:
        return list_files(self.path)

    def copy_to(self, tree: pathlib.Path) -> None:
        with paths.into_place(tree) as temporary:
            self.out.run(["cp", "-al", self.path, temporary], "cannot copy the kernel source")
            for name in COPIED:
                paths.remove(temporary / name)
                self.out.run(["cp", "-a", self.path / name, temporary / name],
                             "cannot copy the kernel source")


class UserSource(Source):
    """The user's own tree, read only, without what was built in it.

    In a work tree git knows what that is. Elsewhere .gitignore cannot tell: that of a
    distribution's source package ignores all of the kernel.
    """

    pristine = False

    def files(self) -> typing.Dict[str, FileStat]:
        if not (self.path / ".git").exists():
            return {name: state for name, state in list_files(self.path).items()
                    if not is_built(name)}
        found = {}
        for name in self._names():
            try:
                result = os.lstat(self.path / name)
            except FileNotFoundError:
                continue  # tracked, and deleted in the work tree
            if not stat.S_ISDIR(result.st_mode):
                found[name] = file_stat(result)
        return found

    def _names(self) -> typing.List[str]:
        listing = self.out.run(["git", "-C", self.path, "ls-files", "-z", "--cached", "--others",
                                "--exclude-standard"], "cannot list the kernel source",
                               log_output=False)
        return sorted({name for name in listing.split("\0") if name})

    def copy_to(self, tree: pathlib.Path) -> None:
        """Copies with the mtimes, never links: the tree is the user's."""
        with paths.into_place(tree) as temporary:
            temporary.mkdir(parents=True)
            for name in self.files():
                (temporary / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(self.path / name, temporary / name, follow_symlinks=False)


def is_built(path: str) -> bool:
    """Whether a file is a product of kbuild; with such a product around, O= is refused."""
    return path == ".config" or bool(_BUILT.search(path))


def kernel_version(tree: pathlib.Path) -> str:
    try:
        text = (tree / "Makefile").read_text(encoding="utf-8")
    except OSError:
        raise errors.Broken(f"{paths.shown(tree)} is no kernel tree: no Makefile") from None
    fields = dict(re.findall(r"^(VERSION|PATCHLEVEL|SUBLEVEL|EXTRAVERSION) *= *(\S*)$", text,
                             re.MULTILINE))
    if "VERSION" not in fields or "PATCHLEVEL" not in fields:
        raise errors.Broken(f"{paths.shown(tree)} is no kernel tree: no VERSION in its Makefile")
    return (f"{fields['VERSION']}.{fields['PATCHLEVEL']}.{fields.get('SUBLEVEL') or 0}"
            f"{fields.get('EXTRAVERSION', '')}")
