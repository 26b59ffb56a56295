# SPDX-License-Identifier: GPL-2.0-only
"""Where things lie. Everything generated is under build/, but what ccache keeps."""

import contextlib
import fcntl
import os
import pathlib
import shutil
import typing

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / "build"
CACHE = BUILD / "cache"
SRC = BUILD / "src"
TREE = BUILD / "tree"
OBJ = BUILD / "obj"
KSELFTEST = BUILD / "kselftest"
QEMU_ROOT = BUILD / "qemu" / "root"
APT = BUILD / "apt"
RUN = BUILD / "run"
PLUGIN = BUILD / "tdx" / "libtdx-host.so"

HERE = pathlib.Path(__file__).resolve().parent
CONFIGS = HERE / "configs"
TDX_HOST = ROOT / "tools" / "testing" / "tdx"
KVM_SELFTESTS = pathlib.PurePosixPath("tools/testing/selftests/kvm")


def shown(path: "os.PathLike[str]") -> str:
    """The path as a user wants to paste it: relative if that is shorter."""
    full = os.fspath(path)
    return min(full, os.path.relpath(full), key=len)


@contextlib.contextmanager
def locked(name: str, waiting: typing.Callable[[str], None]) -> typing.Iterator[None]:
    """Keeps a second runner out of the same directory; the kernel drops the lock when we die."""
    BUILD.mkdir(exist_ok=True)
    with open(BUILD / f".lock-{name}", "w", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting(f"waiting for another run that uses {name}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def into_place(final: pathlib.Path) -> typing.Iterator[pathlib.Path]:
    """A temporary path beside @final, renamed to it if the body succeeds and removed if not.

    What an earlier run left behind when it was killed goes first: callers hold the lock.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.with_name(f".{final.name}.tmp")
    remove(temporary)
    try:
        yield temporary
        if final.is_dir() and not final.is_symlink():
            remove(final)
        os.replace(temporary, final)
    finally:
        remove(temporary)


def remove(path: pathlib.Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_text(path: pathlib.Path, text: str) -> None:
    with into_place(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
