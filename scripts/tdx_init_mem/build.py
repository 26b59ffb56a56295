# SPDX-License-Identifier: GPL-2.0-only
"""Builds the kernel of a composed tree: one object directory per tree, only what changed."""

import hashlib
import json
import os
import pathlib
import shutil
import typing

from . import compose, config, configuration, errors, paths, steps

TARGETS = ("bzImage", "modules")
# The same bytes whoever builds, whenever: a rebuilt vmlinux differs only if the source does.
REPRODUCIBLE = {"KBUILD_BUILD_TIMESTAMP": "1970-01-01", "KBUILD_BUILD_USER": "tdx",
                "KBUILD_BUILD_HOST": "tdx", "KBUILD_BUILD_VERSION": "1"}
STAMP = ".tdx-init-mem.json"
REQUEST = ".requested.config"


def environment() -> typing.Dict[str, str]:
    """The cache is the user's own, so that a second clone builds in a fraction of the time.

    Depend mode: a file that is not in the cache is not preprocessed twice to find that out.
    """
    return {"CCACHE_BASEDIR": os.fspath(paths.ROOT), "CCACHE_NOHASHDIR": "1", "CCACHE_DEPEND": "1"}


def compilers() -> typing.List[str]:
    if not shutil.which("ccache"):
        return []
    return ["CC=ccache gcc", "HOSTCC=ccache gcc"]


def jobs() -> str:
    return f"-j{os.environ.get('TDX_INIT_MEM_JOBS') or os.cpu_count() or 1}"


def make(out: steps.Steps, directory: pathlib.Path, *arguments: str, failure: str,
         env: typing.Optional[typing.Mapping[str, str]] = None) -> None:
    out.run(["make", "-C", directory, jobs(), *arguments], failure, kind=errors.NotBuilt,
            env=environment() if env is None else env)


def build(out: steps.Steps, composed: compose.Composed, seed: typing.Optional[str],
          extra: configuration.Configuration) -> pathlib.Path:
    """Returns the object directory. A first build starts from the objects of the tree @seed."""
    tree, obj = composed.tree, paths.OBJ / composed.tree.name
    wanted = extra.wanted
    stamp = obj / STAMP
    key = {"config": wanted, "make": list(extra.make), "series": composed.series.hash,
           "compiler": compiler_version()}
    with out.phase("build", f"{tree.name}: {' and '.join(TARGETS)}"):
        if out.dry_run:
            configure_anew(out, tree, obj)
            make_targets(out, tree, obj, extra.make)
            return obj
        bzimage = obj / "arch/x86/boot/bzImage"
        if is_current(stamp, key, composed.newest.kernel) and bzimage.exists():
            return obj
        if seed and not obj.is_dir():
            seed_objects(out, paths.OBJ, seed, tree.name)
        stamp.unlink(missing_ok=True)
        configure(out, tree, obj, wanted)
        make_targets(out, tree, obj, extra.make)
        paths.write_text(stamp, json.dumps(key, indent=1, sort_keys=True) + "\n")
    return obj


def assignments() -> typing.List[str]:
    return [f"{name}={value}" for name, value in REPRODUCIBLE.items()]


def make_targets(out: steps.Steps, tree: pathlib.Path, obj: pathlib.Path,
                 extra: typing.Sequence[str]) -> None:
    make(out, tree, f"O={obj}", *compilers(), *assignments(), *extra, *TARGETS,
         failure=f"the kernel {tree.name} does not build")


def is_current(stamp: pathlib.Path, key: typing.Mapping[str, object], newest: float) -> bool:
    try:
        return (json.loads(stamp.read_text(encoding="utf-8")) == key
                and stamp.stat().st_mtime > newest)
    except (OSError, ValueError):
        return False


def compiler_version() -> str:
    gcc = shutil.which("gcc")
    if not gcc:
        return "missing"  # the build will say so
    real = os.path.realpath(gcc)
    return f"{real} {os.stat(real).st_size} {os.stat(real).st_mtime_ns}"


def configure(out: steps.Steps, tree: pathlib.Path, obj: pathlib.Path,
              wanted: typing.Mapping[str, str]) -> None:
    """Configures anew only if the request changed; the kernel's own syncconfig does the rest."""
    text = config.as_text(wanted)
    dot_config = obj / ".config"
    digest = hashlib.sha256(text.encode() + (tree / "Makefile").read_bytes()).hexdigest()
    done = obj / ".requested.sha256"
    if dot_config.exists() and done.exists() and done.read_text(encoding="ascii") == digest:
        make(out, tree, f"O={obj}", *compilers(), "olddefconfig",
             failure="the kernel configuration failed")
    else:
        obj.mkdir(parents=True, exist_ok=True)
        paths.write_text(obj / REQUEST, text)
        configure_anew(out, tree, obj)
    config.check(out, tree, wanted, dot_config)
    paths.write_text(done, digest)


def configure_anew(out: steps.Steps, tree: pathlib.Path, obj: pathlib.Path) -> None:
    make(out, tree, f"O={obj}", *compilers(), f"KCONFIG_ALLCONFIG={obj / REQUEST}", "allnoconfig",
         failure="the kernel configuration failed")


def seed_objects(out: steps.Steps, top: pathlib.Path, seed: str, name: str) -> None:
    """Starts @top/@name from a copy of what was built of another tree with nearly the same files.

    kbuild records the command line and the dependencies of each object, in part with absolute
    paths: they are rewritten to ours. Which files really differ, their mtimes tell.
    """
    renames = [(f"{parent / seed}{end}".encode(), f"{parent / name}{end}".encode())
               for parent in (paths.TREE, top) for end in ("/", " ", "\n")]
    with paths.into_place(top / name) as temporary:
        out.run(["cp", "-a", "--reflink=auto", top / seed, temporary], "cannot copy the objects")
        (temporary / STAMP).unlink(missing_ok=True)
        for record in (path for kind in ("*.cmd", "*.d") for path in temporary.rglob(kind)):
            before = record.read_bytes()
            after = before
            for old, new in renames:
                after = after.replace(old, new)
            if after != before:
                record.write_bytes(after)
        (temporary / "source").unlink(missing_ok=True)
        (temporary / "source").symlink_to(paths.TREE / name)
