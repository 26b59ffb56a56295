# SPDX-License-Identifier: GPL-2.0-only
"""Builds the selftests of a composed tree through the kernel's own makefiles."""

import json
import pathlib
import typing

from . import build, compose, paths, steps


# Not what build.environment() has: CCACHE_BASEDIR makes the targets in .d files relative, while
# the selftests' make knows absolute ones only, and would not rebuild for a changed header. The user's
# ccache.conf may have one.
ENVIRONMENT: typing.Mapping[str, str] = {"CCACHE_BASEDIR": ""}


def make_options(output: pathlib.Path, everything: bool) -> typing.List[str]:
    """Of TARGETS=kvm: where, how, and unless @everything our programs alone."""
    only = [] if everything else [
        "TEST_GEN_PROGS_x86=" + " ".join(f"{compose.PROGRAMS}/{name}" for name in compose.programs()),
        "TEST_GEN_PROGS_EXTENDED_x86=", "TEST_PROGS_x86="]
    return ["TARGETS=kvm", "FORCE_TARGETS=1", f"O={output}", *build.compilers()[:1], *only]


def install(out: steps.Steps, tree: pathlib.Path, target: pathlib.Path, everything: bool = False
            ) -> None:
    """What "make install" makes of build_tests(): kselftest's own runner, its list, the programs."""
    output = paths.KSELFTEST / tree.name
    with out.phase("install", f"{tree.name}: {paths.shown(target)}"):
        build.make(out, tree / "tools/testing/selftests", *make_options(output, everything),
                   f"INSTALL_PATH={target.resolve()}", "install",
                   failure="the selftests do not install", env=ENVIRONMENT)


def build_tests(out: steps.Steps, composed: compose.Composed, seed: typing.Optional[str] = None,
                everything: bool = False) -> typing.List[pathlib.Path]:
    """Returns our programs. Without @everything the make variables name ours only."""
    tree, output = composed.tree, paths.KSELFTEST / composed.tree.name
    kvm = output / "kselftest" / "kvm"
    programs = compose.programs()
    stamp = output / build.STAMP
    key = {"programs": programs, "everything": everything, "compiler": build.compiler_version(),
           "series": composed.series.hash, "version": composed.version}
    what = "all of TARGETS=kvm" if everything else f"{len(programs)} programs"
    with out.phase("selftests", f"{tree.name}: {what}"):
        if not build.is_current(stamp, key, composed.newest.tests):
            if not out.dry_run:
                stamp.unlink(missing_ok=True)
                if seed and not output.is_dir() and (paths.KSELFTEST / seed).is_dir():
                    build.seed_objects(out, paths.KSELFTEST, seed, tree.name)
                output.mkdir(parents=True, exist_ok=True)
            build.make(out, tree, f"O={output}", *build.compilers(), "headers",
                       failure="the kernel headers do not install", env=ENVIRONMENT)
            build.make(out, tree / "tools/testing/selftests", *make_options(output, everything),
                       failure="the selftests do not build", env=ENVIRONMENT)
            if not out.dry_run:
                paths.write_text(stamp, json.dumps(key, indent=1, sort_keys=True) + "\n")
    return [kvm / compose.PROGRAMS / name for name in programs]
