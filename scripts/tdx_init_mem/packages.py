# SPDX-License-Identifier: GPL-2.0-only
"""The Debian packages that building and running needs, installed if missing."""

import os
import pathlib
import shutil
import subprocess
import typing

from . import apt, errors, steps

NEEDED = (
    "bc", "bison", "busybox-static", "ca-certificates", "ccache", "clang", "clang-format",
    "debian-archive-keyring", "flex", "gcc", "git", "libc6-dev", "libclang-rt-dev", "libelf-dev",
    "libglib2.0-dev", "libssl-dev", "libzydis-dev", "make", "nettle-dev", "perl", "pkg-config",
    "python3", "python3-docutils", "rsync", "shellcheck", "sparse", "uuid-dev", "xz-utils",
)
# pkg-config is a virtual name on newer releases.
PROVIDED_BY = {"pkg-config": ("pkg-config", "pkgconf")}


def missing() -> typing.List[str]:
    names = {name for package in NEEDED for name in PROVIDED_BY.get(package, (package,))}
    done = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n",
                           *sorted(names)], capture_output=True, encoding="utf-8", check=False)
    installed = {line.split()[0] for line in done.stdout.splitlines()
                 if line.endswith(" installed")}
    return [package for package in NEEDED
            if not installed & set(PROVIDED_BY.get(package, (package,)))]


def ensure(out: steps.Steps) -> None:
    with out.phase("packages", "build tools and libraries"):
        if not is_debian_family():
            out.say("packages: no Debian-family machine: the tools must be there already")
            return
        wanted = missing()
        if not wanted:
            return
        tty = bool(root_prefix())
        command = [*root_prefix(), "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q",
                   "-o", "DPkg::Lock::Timeout=120", "-o", "Acquire::Retries=3"]
        apt.retry(out, "package lists", lambda: out.run(
            [*command, "update"], "apt-get update failed", tty=tty))
        apt.retry(out, "packages", lambda: out.run(
            [*command, "install", "--yes", "--no-install-recommends", *wanted],
            "apt-get install failed", tty=tty))


def is_debian_family() -> bool:
    return pathlib.Path("/etc/debian_version").exists() and bool(shutil.which("dpkg-query"))


def root_prefix() -> typing.List[str]:
    if os.geteuid() == 0:
        return []
    if not shutil.which("sudo"):
        raise errors.Broken(f"packages are missing ({', '.join(missing())}): install them as root")
    return ["sudo"]
