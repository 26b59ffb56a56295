# SPDX-License-Identifier: GPL-2.0-only
"""One run: a kernel, a variant, tests, from sources to verdict."""

import concurrent.futures
import dataclasses
import fnmatch
import hashlib
import os
import pathlib
import re
import threading
import time
import typing

from . import (boot, build, compose, configuration, errors, expectations, initramfs, judge, lanes,
               lines, paths, qemu, report, sanitizer, selftests, series, sources, steps, symbols,
               watchdog)
from .results import Status

PROGRAM_NAME = "tdx_init_mem_{}_test"
DEFAULT_TIMEOUT = 120
DEADLINE_MS = 10000  # of a step of a test, and of a task that does not run
KEPT_RUNS = 200
# Of the runner's own environment: how long the random tests go on, and what keeps a page missing.
PASSED_ON = ("TDX_INIT_MEM_STRESS_STEPS", "TDX_INIT_MEM_STRESS_MS", "TDX_INIT_MEM_PARK")
# What the tests may know about the kernel under them.
VARIANT_SETTINGS = {
    "shared-lock": {"TDX_INIT_MEM_SHARED_LOCK": "1"},
    "recursion": {"TDX_INIT_MEM_SHARED_LOCK": "1"},
    "mapped-once": {"TDX_INIT_MEM_SHARED_LOCK": "1"},
    "slots-locked": {"TDX_INIT_MEM_SHARED_LOCK": "1"},
    "decoupled": {"TDX_INIT_MEM_SHARED_LOCK": "1", "TDX_INIT_MEM_DECOUPLED": "1"},
}


@dataclasses.dataclass(frozen=True)
class Job:
    """What the user asked for."""

    line: str = lines.DEFAULT_LINES[-1]
    variant: str = "base"
    config: str = ""  # of configs/extra/, on top of the usual fragments
    kernel_src: typing.Optional[pathlib.Path] = None
    tarball: typing.Optional[pathlib.Path] = None
    applied: typing.Tuple[pathlib.Path, ...] = ()
    tests: typing.Tuple[str, ...] = ()
    smp: int = 2
    machines: int = 0  # that run at once; 0 for as many as the host is good for
    timeout: int = DEFAULT_TIMEOUT
    seed: int = 1
    qemu: typing.Optional[str] = None
    keep_going: bool = False
    emulated: bool = True
    emulator: typing.Tuple[str, ...] = ()
    # Of the guest's modules, as MODULE.NAME=VALUE.
    parameters: typing.Tuple[str, ...] = ()
    expected: str = ""  # judged by the rows of this variant, not of its own

    @property
    def judged_as(self) -> str:
        return self.expected or self.variant

    @property
    def base_name(self) -> str:
        if self.kernel_src:
            digest = hashlib.sha256(str(self.kernel_src.resolve()).encode()).hexdigest()
            return f"src-{digest[:8]}"
        if self.tarball:
            return f"tarball-{sources.sha256(self.tarball)[:12]}"
        return self.line

    @property
    def name(self) -> str:
        return f"{self.base_name}{suffix(self.variant, bool(self.applied), self.config)}"

    @property
    def extra(self) -> configuration.Configuration:
        return configuration.load(self.config)

    @property
    def seed_name(self) -> typing.Optional[str]:
        """The tree that differs least from ours and may have objects already."""
        nearest = [(variant, False, config) for config in (self.config, "")
                   for variant in (self.variant, "base", *lines.VARIANTS)]
        base, mine = self.base_name, self.name
        for name in [f"{base}{suffix(*one)}" for one in nearest]:
            if name != mine and (paths.OBJ / name / build.STAMP).exists():
                return name
        return None


def suffix(variant: str, applied: bool, config: str) -> str:
    """What tells the trees of one source apart."""
    return f"-{variant}{'-applied' if applied else ''}{f'-{config}' if config else ''}"


def model_version() -> str:
    header = paths.TDX_HOST / "module" / "tdxm.h"
    match = re.search(r'TDXM_MODEL_VERSION\s+"([^"]+)"', header.read_text(encoding="utf-8"))
    return match[1] if match else "unknown"


def kernel_version(job: Job) -> str:
    if job.kernel_src:
        return compose.kernel_version(job.kernel_src)
    if job.tarball:
        return f"of {job.tarball.name}"
    return lines.LINES[job.line].version


def headline(job: Job) -> str:
    """The first diagnostic line of every run: no emulated pass is ever quoted as silicon."""
    patches = series.of_variant(job.line, job.variant, job.applied)
    host = f"emulated, model {model_version()}" if job.emulated else "no TDX host"
    return (f"tdx_init_mem: {host}, kernel {kernel_version(job)}, variant {job.variant}"
            f"{f' + {len(job.applied)} applied' if job.applied else ''}, "
            f"{f'config {job.config}, ' if job.config else ''}series {patches.hash}, "
            f"{''.join(f'{parameter}, ' for parameter in job.parameters)}seed {job.seed}")


def run_directory(job: Job) -> pathlib.Path:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    directory = paths.RUN / f"{stamp}-{job.name}"
    number = 1
    while directory.exists():
        number += 1
        directory = paths.RUN / f"{stamp}-{job.name}-{number}"
    directory.mkdir(parents=True)
    for old in sorted(path for path in paths.RUN.iterdir() if path.is_dir()
                      and not path.is_symlink())[:-KEPT_RUNS]:
        paths.remove(old)
    with paths.into_place(paths.RUN / "latest") as link:
        link.symlink_to(directory.name)
    return directory


def source_of(out: steps.Steps, job: Job) -> compose.Source:
    if job.kernel_src:
        compose.kernel_version(job.kernel_src)
        return compose.UserSource(out, job.kernel_src.resolve())
    if job.tarball:
        return compose.Source(out, sources.of_tarball(out, job.tarball))
    return compose.Source(out, sources.ensure(out, job.line))


@dataclasses.dataclass(frozen=True)
class Built:
    """Everything that a boot needs, but for the choice of tests."""

    machine: qemu.Qemu
    obj: pathlib.Path
    programs: typing.List[pathlib.Path]

    @property
    def kernel(self) -> pathlib.Path:
        return self.obj / "arch/x86/boot/bzImage"


def machine_of(job: Job, built: Built, image: pathlib.Path, directory: pathlib.Path
               ) -> boot.Machine:
    """What the job boots."""
    return boot.Machine(built.machine, built.kernel, image, directory, job.smp,
                        paths.PLUGIN if job.emulated else None, job.emulator,
                        cmdline=(*boot.CMDLINE, *job.extra.cmdline))


def compose_tree(out: steps.Steps, job: Job) -> compose.Composed:
    patches = series.of_variant(job.line, job.variant, job.applied)
    source = source_of(out, job)
    with out.phase("compose", f"{job.name}: {len(patches.patches)} patches, "
                   f"{len(compose.programs())} test programs"):
        return compose.compose(out, source, job.name, patches)


def prepare(out: steps.Steps, job: Job) -> Built:
    """Everything up to the boot. The cheapest reason to stop comes first."""
    machine = qemu.find(job.qemu, out.dry_run)
    composed = compose_tree(out, job)
    obj = build.build(out, composed, job.seed_name, job.extra)
    programs = selftests.build_tests(out, composed, job.seed_name)
    if job.emulated:
        with paths.locked("emulator", out.say), out.phase("emulator", "the plugin, libtdx-host.so"):
            out.run(["make", "-C", paths.TDX_HOST, build.jobs()], "the plugin does not build")
    return Built(machine, obj, programs)


def select(programs: typing.Sequence[str], globs: typing.Sequence[str]
           ) -> typing.List[lanes.Chosen]:
    """(program, case pattern) in order. A glob is FAMILY or FAMILY/CASE; full names do as well."""
    if not globs:
        return [(name, "") for name in programs]
    chosen: typing.Dict[str, str] = {}
    for glob in globs:
        family, _, case = glob.partition("/")
        matching = [name for name in programs
                    if any(fnmatch.fnmatchcase(name, pattern)
                           for pattern in (family, PROGRAM_NAME.format(family)))]
        if not matching:
            raise errors.Broken(f"no test matches {glob}: see scripts/tdx-init-mem list")
        for name in matching:
            if chosen.setdefault(name, case) != case:
                raise errors.Broken(f"{name} can run with one choice of cases only, not with both "
                                    f"{chosen[name] or 'all'} and {case or 'all'}")
    return [(name, chosen[name]) for name in programs if name in chosen]


def settings(job: Job) -> typing.Dict[str, str]:
    passed_on = {name: os.environ[name] for name in PASSED_ON if os.environ.get(name)}
    # The machine is nobody else's, and a kernel that complained does not run the next test.
    return {"TDX_INIT_MEM_SEED": str(job.seed), "TDX_INIT_MEM_DISRUPT": "1",
            "TDX_INIT_MEM_DEADLINE_MS": str(DEADLINE_MS * job.extra.slowness), **passed_on,
            **VARIANT_SETTINGS.get(job.judged_as, {})}


@dataclasses.dataclass(frozen=True)
class Lane:
    """One of the machines that run at once."""

    out: steps.Steps
    job: Job
    built: Built
    directory: pathlib.Path
    image: pathlib.Path
    stop: threading.Event

    def machine(self, directory: pathlib.Path) -> boot.Machine:
        return machine_of(self.job, self.built, self.image, directory)

    def boot_once(self, directory: pathlib.Path, chosen: typing.Sequence[lanes.Chosen]
                  ) -> judge.Verdict:
        job = self.job
        by_name = {path.name: path for path in self.built.programs}
        slow = job.extra.slowness
        orders = [initramfs.Order(by_name[name], job.timeout * slow, case) for name, case in chosen]
        initramfs.pack(self.out, self.image, self.built.obj, orders, settings(job), job.parameters)
        outcome = self.boot_up(directory)
        self.out.log(f"userspace after {outcome.ready_after:.1f} s")
        if outcome.report and outcome.report.get("sanitizer"):
            sanitizer.add_symbols(outcome.report, symbols.load(self.built.obj, outcome.console))
        kernel = judge.Kernel(job.line, job.judged_as, emulated=job.emulated,
                              released=not (job.kernel_src or job.tarball),
                              patched=bool(job.applied))
        return judge.judge(outcome, [name for name, _ in chosen], kernel)

    def boot_up(self, directory: pathlib.Path) -> boot.Outcome:
        """Once more if it falls silent before userspace: one boot of hundreds does, why is not known."""
        for where in (directory, directory / "again"):
            outcome = boot.boot(self.out, self.machine(where),
                                watchdog.Watchdog(slowness=self.job.extra.slowness), self.stop)
            if outcome.ready or not outcome.reason.startswith(watchdog.SILENT):
                break
            self.out.say(f"the machine did not boot: {outcome.reason}; what its CPUs did is in "
                         f"{paths.shown(where / boot.CPUS)}")
        return outcome

    def run(self, chosen: typing.Sequence[lanes.Chosen]) -> judge.Verdict:
        """After a splat the rest runs on a fresh boot; after a hang, only with keep_going."""
        total = self.boot_once(self.directory, chosen)
        rest = unrun(total, chosen)
        while (rest and total.status == errors.FAILED and not self.stop.is_set()
               and (self.job.keep_going or not hung(total))):
            more = self.boot_once(self.directory / f"boot-{len(chosen) - len(rest) + 1}", rest)
            left = unrun(more, rest)
            total = judge.merge(total, more)
            if len(left) == len(rest):
                break
            rest = left
        return total


def deal(job: Job, chosen: typing.Sequence[lanes.Chosen]
         ) -> typing.List[typing.List[lanes.Chosen]]:
    """Where all hang, the first to do so is the verdict: the same one whatever took longest."""
    if not job.keep_going and expectations.deadlocks(job.line, job.judged_as):
        return [list(chosen)]
    return lanes.deal(chosen, job.machines or lanes.default_machines(), lanes.remembered(),
                      lambda name: expectations.complains(job.line, job.judged_as, name))


def boot_all(out: steps.Steps, job: Job, built: Built, directory: pathlib.Path) -> judge.Verdict:
    """The programs, dealt to machines. Interrupted, or broken, all of them stop."""
    chosen = select([path.name for path in built.programs], job.tests)
    hands = deal(job, chosen)
    stop = threading.Event()
    several = [Lane(out, job, built, directory / f"machine-{number}" if number > 1 else directory,
                    paths.BUILD / "initramfs" / f"{job.name}-{number}.cpio", stop)
               for number in range(1, len(hands) + 1)]
    with out.phase("boot", f"{job.name}: {len(chosen)} programs, "
                   f"{len(hands)} machines of {job.smp} CPUs"):
        if out.dry_run:
            for lane in several:
                out.command(lane.machine(lane.directory).argv())
            return judge.Verdict()
        with concurrent.futures.ThreadPoolExecutor(len(several)) as pool:
            waiting = [pool.submit(lane.run, hand) for lane, hand in zip(several, hands)]
            try:
                for done in concurrent.futures.as_completed(waiting):
                    done.result()
            except BaseException:
                stop.set()
                raise
    total = judge.join([one.result() for one in waiting], [name for name, _ in chosen])
    remember(total, chosen)
    return total


def remember(verdict: judge.Verdict, chosen: typing.Sequence[lanes.Chosen]) -> None:
    """How long those took that ran whole."""
    whole = {name for name, case in chosen if not case}
    lanes.remember({program.name: round(program.seconds, 1) for program in verdict.programs
                    if program.name in whole and program.seconds and not program.status.bad})


def hung(verdict: judge.Verdict) -> bool:
    return any(program.status is Status.HANG for program in verdict.programs)


def unrun(verdict: judge.Verdict, chosen: typing.Sequence[lanes.Chosen]
          ) -> typing.List[lanes.Chosen]:
    waiting = {program.name for program in verdict.programs if program.status is Status.NOT_RUN}
    return [(name, case) for name, case in chosen if name in waiting]


def run(out: steps.Steps, job: Job, directory: typing.Optional[pathlib.Path] = None
        ) -> judge.Verdict:
    """Everything, with the summary printed; raises Stop for statuses 2 and 3 before the boot."""
    out.say(headline(job))
    if directory is None:
        directory = paths.RUN / "dry-run" if out.dry_run else run_directory(job)
        out.log_to(directory / "run.log")
        out.log(headline(job))
    with paths.locked(job.name, out.say):
        built = prepare(out, job)
        verdict = boot_all(out, job, built, directory)
    if not out.dry_run:
        report.print_programs(out, verdict.programs)
    return verdict
