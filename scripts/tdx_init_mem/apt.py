# SPDX-License-Identifier: GPL-2.0-only
"""Packages from the machine's own mirror without touching the machine's own state.

No mirror is named here: it is read from the configuration of apt.
"""

import os
import pathlib
import re
import shlex
import subprocess
import time
import typing

from . import errors, paths, steps

VARIABLE = "TDX_INIT_MEM_MIRROR"
KEYRINGS = ("/usr/share/keyrings/debian-archive-keyring.pgp",
            "/usr/share/keyrings/debian-archive-keyring.gpg")
HELPER = "/usr/lib/apt/apt-helper"
SUITES = ("trixie", "trixie-backports")
ATTEMPTS = 3
PAUSE = 5.0


def retry(out: steps.Steps, what: str, action: typing.Callable[[], typing.Any]) -> typing.Any:
    """Mirrors have bad moments."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return action()
        except errors.Stop as error:
            if attempt == ATTEMPTS:
                raise
            out.log(f"{what}, attempt {attempt}: {error}")
            time.sleep(PAUSE * attempt)
    return None


def mirror() -> str:
    """The Debian mirror that this machine uses, without the trailing slash."""
    named = os.environ.get(VARIABLE)
    if named:
        return named.rstrip("/")
    try:
        listing = subprocess.run(["apt-get", "indextargets", "Created-By: Packages"],
                                 capture_output=True, encoding="utf-8", check=False).stdout
    except OSError:
        raise errors.Broken("no apt on this machine: use --kernel-src or --tarball, and a QEMU "
                            "of your own in TDX_INIT_MEM_QEMU") from None
    best = pick_mirror(listing)
    if not best:
        raise errors.Broken(f"apt knows no Debian mirror: name one in {VARIABLE}")
    return best


def pick_mirror(listing: str) -> str:
    """From the output of apt-get indextargets: main archive before security, updates and others.

    On a machine that never ran apt-get update there is no Origin yet; the path has to do.
    """
    candidates = []
    for stanza in listing.split("\n\n"):
        fields = dict(re.findall(r"^([\w-]+): *(.*)$", stanza, re.MULTILINE))
        uri = fields.get("Repo-URI", fields.get("Site", "")).rstrip("/")
        if not uri or "security" in fields.get("Release", "") + uri:
            continue
        if fields.get("Origin") == "Debian" or uri.endswith("/debian"):
            candidates.append((uri.endswith("/debian"), uri))
    return max(candidates, default=(False, ""))[1]


class Private:
    """An apt with its own lists, cache and empty package status, all under build/apt.

    The machine's own settings (proxies, timeouts) apply; its sources and preferences do not.
    """

    def __init__(self, out: steps.Steps) -> None:
        self.out = out
        self.mirror = mirror()

    def update(self) -> None:
        if not self.out.dry_run:
            self._prepare()
        retry(self.out, "package lists", lambda: self._apt("update"))
        self._apt("autoclean")

    def _prepare(self) -> None:
        for name in ("state", "lists/partial", "cache/archives/partial"):
            (paths.APT / name).mkdir(parents=True, exist_ok=True)
        (paths.APT / "status").touch()
        keyring = next((name for name in KEYRINGS if os.path.exists(name)), None)
        if keyring is None:
            raise errors.Broken("no Debian archive keyring: install debian-archive-keyring")
        paths.write_text(paths.APT / "sources.list", "".join(
            f"deb [signed-by={keyring}] {self.mirror} {suite} main\n" for suite in SUITES))

    def _apt(self, *arguments: str) -> str:
        settings = {
            "Dir::State": paths.APT / "state", "Dir::State::lists": paths.APT / "lists",
            "Dir::State::status": paths.APT / "status", "Dir::Cache": paths.APT / "cache",
            "Dir::Cache::archives": paths.APT / "cache/archives",
            "Dir::Etc::sourcelist": paths.APT / "sources.list", "Dir::Etc::sourceparts": "-",
            "Dir::Etc::preferences": "-", "Dir::Etc::preferencesparts": "-",
            "APT::Architecture": "amd64", "APT::Architectures": "amd64",
            "APT::Install-Recommends": "0", "APT::Sandbox::User": "root",
            "Acquire::Languages": "none", "Acquire::Retries": "3",
        }
        options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
        return self.out.run(["apt-get", "-q", *options, *arguments], "apt-get failed")

    def download_with_dependencies(self, packages: typing.Sequence[str], suite: str
                                   ) -> typing.List[pathlib.Path]:
        """Everything that these packages need, with nothing installed to begin with."""
        retry(self.out, "packages", lambda: self._apt(
            "install", "--yes", "--download-only", "--target-release", suite, *packages))
        return sorted((paths.APT / "cache/archives").glob("*.deb"))


def fetch(out: steps.Steps, path: str, target: pathlib.Path, sha256: str) -> None:
    """A file of the pool by path, through apt's own transport (proxies, retries)."""
    uri = f"{mirror()}/{path}"

    def once() -> None:
        out.run([HELPER, "download-file", uri, target, f"SHA256:{sha256}"],
                f"cannot download {shlex.quote(uri)}")

    retry(out, uri, once)
