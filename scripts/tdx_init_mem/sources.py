# SPDX-License-Identifier: GPL-2.0-only
"""Kernel sources: the cache, then Debian's packages; unpacked under build/src."""

import hashlib
import pathlib
import subprocess
import typing

from . import apt, errors, lines, paths, steps

POOL = "pool/main/l/linux"
CHUNK = 1 << 20


def ensure(out: steps.Steps, name: str) -> pathlib.Path:
    """The pristine tree of a line. Present means complete: it gets its name at the end."""
    if name not in lines.LINES:
        raise errors.Broken(f"no kernel line {name}: there are {', '.join(lines.LINES)}")
    line = lines.LINES[name]
    tree = paths.SRC / name
    with out.phase("sources", f"{name}: Linux {line.version}"), \
            paths.locked(f"src-{name}", out.say):
        if not tree.is_dir():
            package = paths.CACHE / line.file
            download(out, line, package)
            unpack(out, package, tree)
    return tree


def download(out: steps.Steps, line: lines.Line, package: pathlib.Path) -> None:
    if package.exists() and sha256(package) == line.sha256:
        return
    if out.dry_run:
        out.command([apt.HELPER, "download-file", f"{apt.mirror()}/{POOL}/{line.file}", package,
                     f"SHA256:{line.sha256}"])
        return
    with paths.into_place(package) as temporary:
        apt.fetch(out, f"{POOL}/{line.file}", temporary, line.sha256)
        got = sha256(temporary)
        if got != line.sha256:
            raise errors.Broken(f"{line.file} has sha256 {got}, not {line.sha256}")


def sha256(path: pathlib.Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


def of_tarball(out: steps.Steps, tarball: pathlib.Path) -> pathlib.Path:
    """The user's release tarball or linux-source package, named by its content."""
    if not tarball.is_file():
        raise errors.Broken(f"no such file: {tarball}")
    with out.phase("sources", tarball.name):
        tree = paths.SRC / f"tarball-{sha256(tarball)[:12]}"
        with paths.locked(tree.name, out.say):
            if not tree.is_dir():
                unpack(out, tarball, tree)
    return tree


def unpack(out: steps.Steps, archive: pathlib.Path, tree: pathlib.Path) -> None:
    """A tarball, or a package that holds one, without its top directory."""
    if archive.suffix != ".deb":
        untar: typing.List[typing.Sequence[str]] = [
            ["tar", "-x", "--strip-components=1", "-f", str(archive)]]
    else:
        untar = [["dpkg-deb", "--fsys-tarfile", str(archive)],
                 ["tar", "-x", "--wildcards", "--to-stdout", "./usr/src/linux-source-*.tar.xz"],
                 ["tar", "-x", "--xz", "--strip-components=1"]]
    for command in untar:
        out.command(command)
    if out.dry_run:
        return
    with paths.into_place(tree) as temporary:
        temporary.mkdir(parents=True)
        pipeline(untar, temporary, f"cannot unpack {archive.name}")
        if not (temporary / "Kconfig").exists():
            raise errors.Broken(f"{archive.name} holds no kernel source")


def pipeline(commands: typing.Sequence[typing.Sequence[str]], cwd: pathlib.Path,
             failure: str) -> None:
    children: typing.List["subprocess.Popen[bytes]"] = []
    try:
        for command in commands:
            stdin = children[-1].stdout if children else subprocess.DEVNULL
            last = len(children) == len(commands) - 1
            children.append(subprocess.Popen(
                command, cwd=cwd, stdin=stdin, start_new_session=True,
                stdout=subprocess.DEVNULL if last else subprocess.PIPE))
            if len(children) > 1 and children[-2].stdout:
                children[-2].stdout.close()
        statuses = [child.wait() for child in children]
    except BaseException:
        for child in children:
            steps.end_process(child, group=True)
        raise
    if any(statuses):
        raise errors.Broken(failure)
