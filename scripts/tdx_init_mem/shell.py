# SPDX-License-Identifier: GPL-2.0-only
"""Boots the same machine with a shell on its console, the tests in /tests."""

import subprocess

from . import boot, errors, initramfs, job, paths, steps


def run(out: steps.Steps, wanted: job.Job) -> int:
    out.say(job.headline(wanted))
    directory = paths.RUN / "shell"
    with paths.locked(wanted.name, out.say):
        built = job.prepare(out, wanted)
        image = paths.BUILD / "initramfs" / f"{wanted.name}-shell.cpio"
        machine = boot.Machine(built.machine, built.kernel, image, directory, wanted.smp,
                               paths.PLUGIN if wanted.emulated else None)
        argv = [*machine.argv(), "-serial", "mon:stdio", "-serial",
                f"file:{directory / 'ktap.log'}"]
        out.command(argv)
        if out.dry_run:
            return errors.PASSED
        machine.write_files()
        orders = [initramfs.Order(path, wanted.timeout) for path in built.programs]
        initramfs.pack(out, image, built.obj, orders,
                       {**job.settings(wanted), "TDX_INIT_MEM_SHELL": "1"}, wanted.parameters)
    out.say("Ctrl-A x ends QEMU; the tests are in /tests")
    status = subprocess.run(argv, check=False, cwd=directory, preexec_fn=boot.dies_with_us).returncode
    return errors.PASSED if status == 0 else errors.BROKEN
