# SPDX-License-Identifier: GPL-2.0-only
"""Boots the same machine by hand: a shell on its console, or one command in its place."""

import pathlib
import re
import subprocess
import typing

from . import boot, console, errors, initramfs, job, paths, selftests, steps, watchdog

_DONE = re.compile(r"tdx-init-mem: done command status=(\d+)")
_ALIVE = re.compile(r"^# tdx-init-mem: alive \d+\n", re.MULTILINE)


def run(out: steps.Steps, wanted: job.Job, kselftest: bool = False, command: str = "") -> int:
    out.say(job.headline(wanted))
    directory = paths.RUN / "shell"
    with paths.locked(wanted.name, out.say):
        built = job.prepare(out, wanted)
        tree = install(out, wanted) if kselftest else None
        image = paths.BUILD / "initramfs" / f"{wanted.name}-shell.cpio"
        machine = job.machine_of(wanted, built, image, directory)
        argv = [*machine.argv(), "-serial", "mon:stdio", "-serial",
                f"file:{directory / 'ktap.log'}"]
        if out.dry_run or not command:
            out.command(argv)
        if out.dry_run:
            return errors.PASSED
        machine.write_files()
        orders = [initramfs.Order(path, wanted.timeout) for path in built.programs]
        kind = {"TDX_INIT_MEM_COMMAND": command, "TDX_INIT_MEM_COMMAND_TIMEOUT": str(wanted.timeout)
                } if command else {"TDX_INIT_MEM_SHELL": "1"}
        settings = {**job.settings(wanted), **kind}
        if kselftest:
            # Its programs share one boot: what one spoils is missed by the next.
            del settings["TDX_INIT_MEM_DISRUPT"]
        initramfs.pack(out, image, built.obj, orders, settings, wanted.parameters, tree)
        if command:
            return judge(out, boot.boot(out, machine, watchdog.Watchdog(
                slowness=wanted.extra.slowness)))
    out.say("Ctrl-A x ends QEMU; the tests are in /tests"
            f"{', and installed in /kselftest' if kselftest else ''}")
    status = subprocess.run(argv, check=False, cwd=directory, preexec_fn=boot.dies_with_us).returncode
    return errors.PASSED if status == 0 else errors.BROKEN


def install(out: steps.Steps, wanted: job.Job) -> pathlib.Path:
    """Our programs only: all of kvm would not leave much memory to the guest."""
    tree = paths.KSELFTEST / wanted.name / "install"
    if not out.dry_run:
        paths.remove(tree)
        tree.mkdir(parents=True)
    selftests.install(out, paths.TREE / wanted.name, tree)
    return tree


def judge(out: steps.Steps, outcome: boot.Outcome) -> int:
    """What the command printed, and then whatever is wrong."""
    out.say(_ALIVE.sub("", outcome.ktap).rstrip("\n"))
    done = _DONE.search(outcome.console)
    wrong: typing.List[str] = [splat.name for found in console.find(outcome.console).values()
                               for splat in found]
    if not outcome.ready:
        raise errors.Broken(f"the machine did not boot: {outcome.reason or outcome.stderr[-200:]}")
    if not done:
        wrong.append(f"the command did not end: {outcome.reason or 'timeout'}")
    elif done[1] != "0":
        wrong.append(f"the command ended with status {done[1]}")
    for line in wrong:
        out.say(f"  {line}")
    return errors.FAILED if wrong else errors.PASSED
