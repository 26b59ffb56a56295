# SPDX-License-Identifier: GPL-2.0-only
"""git am of patches, in a repository of just the files that they touch."""

import contextlib
import os
import pathlib
import re
import shutil
import tempfile
import typing

from . import errors, paths, series, steps

# Nothing of the user's own configuration: neither names nor a leniency for whitespace.
ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "GIT_EDITOR": "true",
    **{f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER")
       for what, value in (("NAME", "tdx"), ("EMAIL", "tdx@localhost"))},
}
STRICT = ("--whitespace=error-all",)
ADVICE = ("Applying:", "hint:", "When you ", "If you ", "To restore ")
_MOVED = re.compile(r"^Hunk #\d+ succeeded at \d+ .*(?:offset|fuzz).*$", re.MULTILINE)


class Repository:
    """The files of a tree that some patches touch, committed as they are."""

    def __init__(self, out: steps.Steps, directory: pathlib.Path) -> None:
        self.out = out
        self.directory = directory

    def git(self, *arguments: steps.Argument) -> str:
        return self.out.run(["git", *arguments], "git failed", env=ENVIRONMENT,
                            cwd=self.directory)

    def apply(self, patch: pathlib.Path) -> typing.List[str]:
        """Complaints; raises NotBuilt if the patch does not apply."""
        file = patch.resolve()
        _, said = self.out.attempt(["git", "apply", "--check", "--verbose", *STRICT, file],
                                   env=ENVIRONMENT, cwd=self.directory)
        status, text = self.out.attempt(["git", "am", *STRICT, file], env=ENVIRONMENT,
                                        cwd=self.directory)
        if status:
            lines = [line.replace(f"{file}", patch.name) for line in text.splitlines()
                     if line.strip() and not line.startswith(ADVICE)]
            raise errors.NotBuilt(f"{paths.shown(patch)} does not apply: {'; '.join(lines[:4])}")
        return [f"{paths.shown(patch)} is off: {line}" for line in _MOVED.findall(said)]


@contextlib.contextmanager
def repository(out: steps.Steps, source: pathlib.Path,
               patches: typing.Sequence[pathlib.Path]) -> typing.Iterator[Repository]:
    with tempfile.TemporaryDirectory(dir=paths.BUILD, prefix="am-") as name:
        made = Repository(out, pathlib.Path(name))
        for path in series.Series(tuple(patches)).touched():
            if (source / path).is_file():
                (made.directory / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source / path, made.directory / path)
        for command in (("init", "--quiet"), ("add", "--force", "--all"),
                        ("commit", "--quiet", "--message=pristine")):
            made.git(*command)
        yield made


def complaints(out: steps.Steps, source: pathlib.Path, patches: typing.Sequence[pathlib.Path]
               ) -> typing.List[str]:
    """Of all @patches, applied in order onto @source."""
    if out.dry_run:
        out.command(["git", "am", *STRICT, *patches])
        return []
    found: typing.List[str] = []
    with repository(out, source, patches) as made:
        for patch in patches:
            found += made.apply(patch)
        count = made.git("rev-list", "--count", "HEAD").strip()
        if int(count) != len(patches) + 1:
            raise errors.NotBuilt(f"{len(patches)} patches made {int(count) - 1} commits")
    return found
