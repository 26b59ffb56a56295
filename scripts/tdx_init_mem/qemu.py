# SPDX-License-Identifier: GPL-2.0-only
"""Finds a QEMU that can host the plugin, or makes a private root with one from packages."""

import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import typing

from . import apt, errors, paths, steps

NEEDED = (11, 1)
VARIABLE = "TDX_INIT_MEM_QEMU"
PROGRAM = "qemu-system-x86_64"
SUITE = "trixie-backports"
PACKAGES = ("qemu-system-x86", "seabios")
LOADER = "ld-linux-x86-64.so.2"
LIBDIR = "usr/lib/x86_64-linux-gnu"
ADVICE = "run scripts/tdx-init-mem setup"


@dataclasses.dataclass(frozen=True)
class Qemu:
    """How to start a usable QEMU."""

    command: typing.Tuple[str, ...]
    version: str
    origin: str


def find(choice: typing.Optional[str] = None, dry_run: bool = False) -> Qemu:
    """The user's choice, which must be usable; else the system's; else the private root's.

    With @dry_run, the one that setup would get.
    """
    named = choice or os.environ.get(VARIABLE)
    if named:
        source = "--qemu" if choice else VARIABLE
        program = shutil.which(named)
        reason = "no such program" if not program else unusable([program])
        if reason or not program:
            raise errors.Broken(f"{source} names {named}, which is not usable ({reason}): point it "
                                f"to QEMU >= {wanted()} with plugins, or unset it and {ADVICE}")
        return Qemu((program,), version_text([program]), source)
    system = shutil.which(PROGRAM)
    if system and not unusable([system]):
        return Qemu((system,), version_text([system]), "system")
    private = private_command()
    if private and not unusable(private):
        return Qemu(tuple(private), version_text(private), paths.shown(paths.QEMU_ROOT))
    if dry_run:
        return Qemu((PROGRAM,), "", "setup")
    raise errors.Broken(f"no QEMU >= {wanted()} with plugins on this machine: {ADVICE}")


def wanted() -> str:
    return ".".join(map(str, NEEDED))


def unusable(command: typing.Sequence[str]) -> str:
    """Why this QEMU cannot host the plugin; empty if it can."""
    text = version_text(command)
    numbers = re.match(r"(\d+)\.(\d+)", text)
    if not numbers:
        return "does not start" if not text else f"says version {text}"
    if (int(numbers[1]), int(numbers[2])) < NEEDED:
        return f"is version {text}"
    if "-plugin" not in ask(command, "--help"):
        return "is built without plugins"
    return ""


def version_text(command: typing.Sequence[str]) -> str:
    match = re.search(r"version (\S+)", ask(command, "--version"))
    return match[1] if match else ""


def ask(command: typing.Sequence[str], option: str) -> str:
    try:
        done = subprocess.run([*command, option], stdin=subprocess.DEVNULL, capture_output=True,
                              encoding="utf-8", errors="replace", timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def private_command(root: typing.Optional[pathlib.Path] = None) -> typing.List[str]:
    """Starts the private QEMU through the loader and libraries of its own root."""
    root = root or paths.QEMU_ROOT
    libdir = root / LIBDIR
    if not (libdir / LOADER).exists():
        return []
    directories = sorted({library.parent for library in libdir.rglob("*.so*")})
    directories.sort(key=lambda path: path != libdir)
    return [os.fspath(libdir / LOADER), "--library-path", ":".join(map(os.fspath, directories)),
            os.fspath(root / "usr/bin" / PROGRAM), "-L", os.fspath(root / "usr/share/qemu"),
            "-L", os.fspath(root / "usr/share/seabios")]


def ensure(out: steps.Steps, choice: typing.Optional[str] = None) -> typing.Optional[Qemu]:
    """Part of setup: a usable QEMU, from packages if this machine has none."""
    with out.phase("qemu", f"QEMU >= {wanted()} with plugins"):
        try:
            return find(choice)
        except errors.Broken:
            if choice or os.environ.get(VARIABLE):
                raise
        make_root(out)
        return None if out.dry_run else find()


def make_root(out: steps.Steps) -> None:
    """Unpacks QEMU and every package it depends on, libc included, into a root of their own."""
    private = apt.Private(out)
    private.update()
    packages = private.download_with_dependencies(PACKAGES, SUITE)
    if out.dry_run:
        out.command(["dpkg-deb", "-x", "(each of them)", paths.QEMU_ROOT])
        return
    with paths.into_place(paths.QEMU_ROOT) as temporary:
        # Packages of different age disagree on whether /lib is a link: give all the same view.
        for name in ("bin", "lib", "lib64", "sbin"):
            (temporary / "usr" / name).mkdir(parents=True)
            (temporary / name).symlink_to(f"usr/{name}")
        for package in packages:
            unpack(out, package, temporary)
        reason = unusable(private_command(temporary))
        if reason:
            raise errors.Broken(f"the QEMU of {SUITE} {reason}: set {VARIABLE} to another one")


def unpack(out: steps.Steps, package: pathlib.Path, root: pathlib.Path) -> None:
    """Like dpkg-deb -x, but keeps the links that stand for /lib and friends."""
    out.command(["dpkg-deb", "-x", package, root])
    reader = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE)
    try:
        tar = subprocess.run(["tar", "-x", "--keep-directory-symlink", "--no-same-owner",
                              "-C", root], stdin=reader.stdout, capture_output=True,
                             encoding="utf-8", errors="replace", check=False)
    finally:
        if reader.stdout:
            reader.stdout.close()
        status = reader.wait()
    if tar.returncode or status:
        raise errors.Broken(f"cannot unpack {package.name}: {tar.stderr.strip()}")
