# SPDX-License-Identifier: GPL-2.0-only
"""The command line: verbs, options, exit status."""

import argparse
import pathlib
import re
import signal
import sys
import traceback
import typing

from . import (compare, compose, configuration, coverage, errors, job, known_issues, lines, matrix,
               mutant, mutants, packages, paths, qemu, report, selftests, sentinels, series,
               series_build, series_check, shell, sources, steps)

DESCRIPTION = "Run the TDX init-mem tests of KVM on an emulated TDX host."
EXIT_STATUS = """\
exit status of run:
  0  every test passed, or skipped as expected
  1  a test failed; a splat, WARN, BUG, hang or emulator finding is a failure
  2  the kernel did not build, or a patch did not apply
  3  the machinery failed (no QEMU, no boot, wrong usage, ...)
bisect-run gives git bisect 0, 1 and, for the others, 125.

environment:
  TDX_INIT_MEM_QEMU    this QEMU, like --qemu
  TDX_INIT_MEM_MIRROR  the Debian mirror, where apt's own configuration names none
  TDX_INIT_MEM_JOBS    jobs of a build (default: one for each CPU)
  TDX_INIT_MEM_STRESS_STEPS, TDX_INIT_MEM_STRESS_MS
                       bounds of each case of the stress tests, for a soak with --timeout
  TDX_INIT_MEM_PARK    what keeps a source page missing: uffd, dev or fuse"""
BISECT = {errors.PASSED: 0, errors.FAILED: 1}
BISECT_SKIP = 125
BISECT_STOP = 128


class Parser(argparse.ArgumentParser):
    """Wrong usage is not status 2: that one means "did not build"."""

    def error(self, message: str) -> typing.NoReturn:
        # git bisect stops at 128; anything below but 125 would condemn the commit.
        status = BISECT_STOP if "bisect-run" in sys.argv[1:2] else errors.BROKEN
        self.exit(status, f"{self.prog}: {message}; see --help\n")


def parser() -> Parser:
    top = Parser(prog="tdx-init-mem", description=DESCRIPTION, epilog=EXIT_STATUS,
                 formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = top.add_subparsers(dest="verb", required=True, metavar="COMMAND")

    def verb(name: str, text: str, function: typing.Callable[..., int]) -> Parser:
        made: Parser = verbs.add_parser(name, help=text, description=text, epilog=EXIT_STATUS,
                                        formatter_class=argparse.RawDescriptionHelpFormatter)
        made.set_defaults(function=function)
        made.add_argument("--dry-run", action="store_true",
                          help="print every step and its command, do nothing")
        made.add_argument("--verbose", action="store_true", help="show the output of the commands")
        made.add_argument("--qemu", metavar="PROGRAM",
                          help=f"this QEMU instead of the system's or the private one (also "
                          f"{qemu.VARIABLE})")
        return made

    setup = verb("setup", "get packages, QEMU and kernel sources", do_setup)
    setup.add_argument("--kernel", action="append", choices=list(lines.LINES), metavar="LINE",
                       help="sources of this line (default: those of the matrix); repeatable")
    run = verb("run", "run the tests on one kernel", do_run)
    add_kernel_options(run)
    add_run_options(run)
    add_config(run)
    for kind in ("ktap", "junit", "json"):
        run.add_argument(f"--{kind}", type=pathlib.Path, metavar="FILE",
                         help=f"write the results as {kind} to FILE")
    table = verb("matrix", "run every line and variant, compare with what is expected", do_matrix)
    table.add_argument("--kernel", action="append", choices=list(lines.LINES), metavar="LINE")
    table.add_argument("--variant", action="append", choices=list(lines.VARIANTS),
                       metavar="VARIANT")
    add_run_options(table)
    add_config(table)
    table.add_argument("--json", type=pathlib.Path, metavar="FILE")
    patches = verb("series", "hold the patches against what a maintainer asks of a series",
                   do_series)
    patches.add_argument("--kernel", action="append", choices=series_check.patched_lines(),
                         metavar="LINE", help="the patches of this line (default: of all that "
                         "have any); repeatable")
    patches.add_argument("--all-patches", action="store_true",
                         help="build, and boot, after each patch, not only after the last")
    patches.add_argument("--no-boot", action="store_true", help="build only")
    patches.add_argument("--configuration", action="append", metavar="NAME",
                         choices=list(series_build.CONFIGURATIONS), help="build in this one of "
                         f"{', '.join(series_build.CONFIGURATIONS)} only; repeatable")
    patches.add_argument("--apply", type=pathlib.Path, action="append", default=[],
                         metavar="PATCH", help="judge this patch on top of the series, not the "
                         "series; repeatable")
    patches.add_argument("--json", type=pathlib.Path, metavar="FILE")
    measured = verb("compare", "measure base, series and decoupled in turns, print a table",
                    do_compare)
    measured.add_argument("--kernel", action="append", metavar="LINE",
                          choices=[line for line in lines.LINES
                                   if series.has_patches(line, "decoupled")],
                          help="only this line (default: all that have the series); repeatable")
    measured.add_argument("--runs", type=natural, default=compare.DEFAULT_RUNS, metavar="N",
                          help="boots of each kernel (default: %(default)s); 0 with --add")
    measured.add_argument("--add", type=pathlib.Path, action="append", default=[],
                          metavar="FILE", help="add the samples in this file of --json, of the "
                          "same kernels; repeatable")
    measured.add_argument("--smp", type=positive, default=2, metavar="N",
                          help="CPUs of the machine (default: %(default)s)")
    measured.add_argument("--timeout", type=positive, default=compare.TIMEOUT, metavar="S",
                          help="seconds for one test program (default: %(default)s)")
    for kind, text in (("rst", "the tables, for Documentation"), ("json", "every sample")):
        measured.add_argument(f"--{kind}", type=pathlib.Path, metavar="FILE",
                              help=f"write {text} to FILE")
    planted = verb("mutants", "plant one bug after the other, see which tests find it", do_mutants)
    planted.add_argument("--kernel", action="append", choices=list(lines.LINES), metavar="LINE",
                         help="mutants of this line (default: those of the matrix); repeatable")
    planted.add_argument("--only", action="append", default=[], metavar="ID",
                         help="these mutants, by glob; repeatable")
    breadth = planted.add_mutually_exclusive_group()
    breadth.add_argument("--full", action="store_true",
                         help="the whole suite for each, and what only one test file finds")
    breadth.add_argument("--files", action="store_true",
                         help="for each test file a mutant that no other file finds")
    planted.add_argument("--list", action="store_true", help="list them, plant nothing")
    planted.add_argument("--json", type=pathlib.Path, metavar="FILE")
    planted.add_argument("--rst", type=pathlib.Path, metavar="FILE",
                         help="what the failed cases said, one of each family")
    covered = verb("coverage", "run with gcov, print what the tests reach of KVM, and what not",
                   do_coverage)
    add_kernel_options(covered)
    add_run_options(covered)
    covered.add_argument("--from", dest="former", type=pathlib.Path, metavar="DIR",
                         help="do not run, report on this former run of the same kernel")
    bisect = verb("bisect-run", "run, with the exit status that git bisect wants", do_bisect_run)
    add_kernel_options(bisect)
    add_run_options(bisect)
    add_config(bisect)
    bisect.set_defaults(ktap=None, junit=None, json=None)
    interactive = verb("shell", "boot, and give a shell on the guest's console", do_shell)
    add_kernel_options(interactive)
    add_run_options(interactive)
    add_config(interactive)
    interactive.add_argument("--kselftest", action="store_true", help="with the tests in /kselftest "
                             "as well, as \"make TARGETS=kvm install\" installs them")
    interactive.add_argument("--command", metavar="COMMAND", help="run this in /kselftest, or else "
                             "in /tests, for at most --timeout seconds, instead of a shell; status 1 "
                             "if it fails or the kernel complains")
    tests = verb("selftests", "build all of TARGETS=kvm of a composed tree, ours and upstream's",
                 do_selftests)
    add_kernel_options(tests)
    tests.add_argument("--install", type=pathlib.Path, metavar="DIR", help="install them in DIR, to be "
                       "run by DIR/run_kselftest.sh")
    listing = verb("list", "list kernel lines, variants and tests", do_list)
    listing.add_argument("--bugs", action="store_true",
                         help="the bugs that released kernels are known to have, instead")
    return top


def add_kernel_options(made: Parser) -> None:
    made.add_argument("--kernel", choices=list(lines.LINES), metavar="LINE",
                      help=f"one of {', '.join(lines.LINES)} (default: {lines.DEFAULT_LINES[-1]})")
    made.add_argument("--variant", choices=list(lines.VARIANTS), default="base", metavar="V",
                      help=f"one of {', '.join(lines.VARIANTS)} (default: %(default)s)")
    where = made.add_mutually_exclusive_group()
    where.add_argument("--kernel-src", type=pathlib.Path, metavar="DIR",
                       help="this kernel tree; it is read, never written")
    where.add_argument("--tarball", type=pathlib.Path, metavar="FILE",
                       help="this release tarball or linux-source package")
    made.add_argument("--apply", type=pathlib.Path, action="append", default=[], metavar="PATCH",
                      help="a kernel patch on top of the variant; repeatable")


def add_config(made: Parser) -> None:
    names = configuration.names()
    made.add_argument("--config", choices=names, default="", metavar="NAME",
                      help=f"another configuration of the kernel, one of {', '.join(names)}")


def add_run_options(made: Parser) -> None:
    made.add_argument("--test", action="append", default=[], metavar="GLOB",
                      help="only these: FAMILY or FAMILY/CASE; repeatable")
    made.add_argument("--smp", type=positive, default=2, metavar="N",
                      help="CPUs of the machine (default: %(default)s)")
    made.add_argument("--machines", type=positive, default=0, metavar="N",
                      help="machines that run at once, each with a part of the tests (default: one "
                           "for each CPU of this host, as memory allows)")
    made.add_argument("--timeout", type=positive, default=job.DEFAULT_TIMEOUT, metavar="S",
                      help="seconds for one test program (default: %(default)s)")
    made.add_argument("--seed", type=int, default=1, metavar="N",
                      help="of what the tests choose at random (default: %(default)s)")
    made.add_argument("--keep-going", action="store_true",
                      help="boot again for the tests that a hang or splat cut off")
    made.add_argument("--emulator", action="append", default=[], metavar="OPTION=VALUE",
                      help="trace=FILE, latency=PERCENT or busy=once of the emulated TDX host; "
                           "repeatable")
    made.add_argument("--module-param", action="append", default=[], type=parameter,
                      metavar="MODULE.NAME=VALUE",
                      help="a parameter of kvm or kvm_intel, e.g. kvm.gmem_huge_folios=1 with the "
                           "patches of virt/kvm/patches/; repeatable")
    made.add_argument("--no-emulator", action="store_true",
                      help="boot without the emulated TDX host, where every test skips")


def natural(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text} is not a number")
    return int(text)


def positive(text: str) -> int:
    if not natural(text):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return int(text)


def parameter(text: str) -> str:
    if not re.fullmatch(r"(?:kvm|kvm_intel)\.[a-z0-9_]+=[A-Za-z0-9_,.-]+", text):
        raise argparse.ArgumentTypeError(f"{text} is not a parameter like kvm.NAME=VALUE")
    return text


def job_of(options: argparse.Namespace) -> job.Job:
    return job.Job(
        line=options.kernel or line_of(options), variant=options.variant,
        config=getattr(options, "config", ""),
        kernel_src=options.kernel_src, tarball=options.tarball, applied=tuple(options.apply),
        tests=tuple(getattr(options, "test", ())), smp=getattr(options, "smp", 2),
        machines=getattr(options, "machines", 0),
        timeout=getattr(options, "timeout", job.DEFAULT_TIMEOUT),
        seed=getattr(options, "seed", 1), qemu=options.qemu,
        keep_going=getattr(options, "keep_going", False),
        emulated=not getattr(options, "no_emulator", False),
        emulator=tuple(getattr(options, "emulator", ())),
        parameters=tuple(getattr(options, "module_param", ())))


def line_of(options: argparse.Namespace) -> str:
    """The line whose patches fit a tree of the user's own."""
    if options.kernel_src:
        version = compose.kernel_version(options.kernel_src)
        return "v" + ".".join(version.split(".")[:2])
    return lines.DEFAULT_LINES[-1]


def do_setup(out: steps.Steps, options: argparse.Namespace) -> int:
    packages.ensure(out)
    qemu.ensure(out, options.qemu)
    for name in options.kernel or lines.DEFAULT_LINES:
        sources.ensure(out, name)
    out.say(out.time_table())
    return errors.PASSED


def do_run(out: steps.Steps, options: argparse.Namespace) -> int:
    wanted = job_of(options)
    directory = paths.RUN / "dry-run" if out.dry_run else job.run_directory(wanted)
    out.log_to(directory / "run.log")
    verdict = job.run(out, wanted, directory)
    if out.dry_run:
        return errors.PASSED
    report.print_end(out, verdict, directory)
    report.write_files(verdict, job.headline(wanted), out.times, options.ktap, options.junit,
                       options.json)
    return verdict.status


def do_bisect_run(out: steps.Steps, options: argparse.Namespace) -> int:
    return BISECT.get(do_run(out, options), BISECT_SKIP)


def do_matrix(out: steps.Steps, options: argparse.Namespace) -> int:
    return matrix.run(out, matrix.jobs(
        options.kernel or list(lines.DEFAULT_LINES), options.variant or list(lines.VARIANTS),
        tests=tuple(options.test), smp=options.smp, machines=options.machines,
        timeout=options.timeout, seed=options.seed, qemu=options.qemu,
        emulated=not options.no_emulator, keep_going=True,
        parameters=tuple(options.module_param), config=options.config), options.json)


def do_series(out: steps.Steps, options: argparse.Namespace) -> int:
    out.log_to(paths.RUN / "series.log")
    every = options.all_patches
    boot = every and not options.no_boot and not options.apply
    return series_check.run(out, series_check.Request(
        options.kernel or series_check.patched_lines(), every, boot,
        tuple(options.apply), options.configuration or tuple(series_build.CONFIGURATIONS)),
        options.json)


def do_compare(out: steps.Steps, options: argparse.Namespace) -> int:
    return compare.run(out, options.kernel or lines.DEFAULT_LINES, options.runs, options.rst,
                       options.json, options.add, smp=options.smp, timeout=options.timeout,
                       qemu=options.qemu)


def do_mutants(out: steps.Steps, options: argparse.Namespace) -> int:
    found = mutant.load(options.kernel or list(lines.DEFAULT_LINES), options.only)
    if options.list:
        return mutants.print_list(out, found)
    order = mutants.Order(found, options.full, bool(options.only), options.qemu, options.json,
                          options.rst)
    return sentinels.run(out, order) if options.files else mutants.run(out, order)


def do_coverage(out: steps.Steps, options: argparse.Namespace) -> int:
    return coverage.run(out, job_of(options), options.former)


def do_selftests(out: steps.Steps, options: argparse.Namespace) -> int:
    wanted = job_of(options)
    with paths.locked(wanted.name, out.say):
        composed = job.compose_tree(out, wanted)
        programs = selftests.build_tests(out, composed, everything=True)
        if options.install:
            selftests.install(out, composed.tree, options.install, everything=True)
    for program in programs:
        out.say(paths.shown(program))
    return errors.PASSED


def do_shell(out: steps.Steps, options: argparse.Namespace) -> int:
    return shell.run(out, job_of(options), options.kselftest, options.command or "")


def do_list(out: steps.Steps, options: argparse.Namespace) -> int:
    if options.bugs:
        return list_bugs(out)
    out.say("kernel lines:")
    for line in lines.LINES.values():
        variants = [name for name in lines.VARIANTS if series.has_patches(line.name, name)]
        out.say(f"  {line.name:6} {line.version:8} {', '.join(variants)}")
    out.say("tests:")
    for program in compose.programs():
        out.say(f"  {program}")
    return errors.PASSED


def list_bugs(out: steps.Steps) -> int:
    for where, case, fix in known_issues.of_releases():
        out.say(f"{where}: {case}")
        out.say(f"    {fix}")
    return errors.PASSED


def main(arguments: typing.Sequence[str]) -> int:
    """Runs one command. One line on stderr for everything that stops it."""
    options = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    out = steps.Steps(dry_run=options.dry_run, verbose=options.verbose)
    try:
        status: int = options.function(out, options)
        return status
    except errors.Stop as stop:
        out.log(f"{type(stop).__name__}: {stop}")
        print(f"tdx-init-mem: {stop}", file=sys.stderr)
        status = stop.status
    except KeyboardInterrupt:
        print("tdx-init-mem: interrupted; the same command continues", file=sys.stderr)
        return errors.INTERRUPTED
    except OSError as error:
        print(f"tdx-init-mem: {error}", file=sys.stderr)
        status = errors.BROKEN
    except Exception as error:  # a bug of the runner says nothing about the kernel
        out.log(traceback.format_exc())
        what = " ".join(f"{type(error).__name__}: {error}".split())
        print(f"tdx-init-mem: a bug of the runner: {what}; see {out.log_path or 'no log'}",
              file=sys.stderr)
        status = errors.BROKEN
    return BISECT_SKIP if options.verb == "bisect-run" else status
