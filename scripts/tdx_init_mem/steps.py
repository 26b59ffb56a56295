# SPDX-License-Identifier: GPL-2.0-only
"""What the user sees of the work: phases with their time, the commands in a log, nothing else.

On a terminal a running phase counts its seconds; elsewhere a plain line is printed at its end,
and every half minute while it lasts. With dry_run only the commands are printed.
"""

import contextlib
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import threading
import time
import typing

from . import errors, paths

COLOURS = {"red": "31;1", "green": "32;1", "yellow": "33;1"}
STILL_RUNNING_EVERY = 30.0
ERROR_MARKS = ("error:", "Error ", "*** ", "E: ", "undefined reference", "fatal:")

Argument = typing.Union[str, "os.PathLike[str]"]


class Steps:
    """Prints, times and logs the steps of one command of the runner."""

    def __init__(self, out: typing.Optional[typing.TextIO] = None, dry_run: bool = False,
                 verbose: bool = False) -> None:
        self._out = out or sys.stdout
        self._tty = self._out.isatty()
        self._colour = self._tty and "NO_COLOR" not in os.environ
        self._print_lock = threading.Lock()
        self._live = ""
        self._log: typing.Optional[typing.TextIO] = None
        self.log_path: typing.Optional[pathlib.Path] = None
        self.dry_run = dry_run
        self.verbose = verbose
        self.times: typing.List[typing.Tuple[str, float]] = []

    def log_to(self, path: pathlib.Path) -> None:
        if self.dry_run:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        self._log = open(path, "w", encoding="utf-8", errors="replace", buffering=1)
        self.log_path = path

    def paint(self, colour: str, text: str) -> str:
        return f"\033[{COLOURS[colour]}m{text}\033[0m" if self._colour else text

    def say(self, text: str = "") -> None:
        with self._print_lock:
            if self._live:
                print(f"\r{' ' * len(self._live)}\r", end="", file=self._out)
                self._live = ""
            print(text, file=self._out, flush=True)
        self.log(text)

    def log(self, text: str) -> None:
        if self._log:
            self._log.write(text + "\n")

    @contextlib.contextmanager
    def phase(self, name: str, what: str) -> typing.Iterator[None]:
        """One timed phase. Phases do not nest."""
        if self.dry_run:
            self.say(f"{name}: {what}")
            yield
            return
        self.log(f"\n=== {name}: {what}")
        start = time.monotonic()
        done = threading.Event()
        ticker = threading.Thread(target=self._tick, args=(name, what, start, done), daemon=True)
        ticker.start()
        verdict = "failed"
        try:
            yield
            verdict = ""
        except KeyboardInterrupt:
            verdict = "interrupted"
            raise
        finally:
            done.set()
            ticker.join()
            took = time.monotonic() - start
            self.times.append((name, took))
            self.say(f"{name}: {what} ({verdict + ' after ' if verdict else ''}{took:.1f} s)")

    def _tick(self, name: str, what: str, start: float, done: threading.Event) -> None:
        while not done.wait(0.5 if self._tty else STILL_RUNNING_EVERY):
            line = f"{name}: {what} {time.monotonic() - start:.0f} s"
            if not self._tty:
                self.say(f"{line} so far")
                continue
            with self._print_lock:
                self._live = line
                print(f"\r{line}", end="", file=self._out, flush=True)

    def command(self, argv: typing.Sequence[Argument],
                env: typing.Optional[typing.Mapping[str, str]] = None) -> str:
        """Notes a command as it could be pasted into a shell, and returns that line."""
        words = [f"{key}={shlex.quote(value)}" for key, value in (env or {}).items()]
        words += [shlex.quote(os.fspath(arg)) for arg in argv]
        line = " ".join(words)
        if self.dry_run:
            self.say(f"    {line}")
        else:
            self.log(f"$ {line}")
        return line

    def run(self, argv: typing.Sequence[Argument], failure: str,
            kind: typing.Type[errors.Stop] = errors.Broken,
            env: typing.Optional[typing.Mapping[str, str]] = None,
            cwd: typing.Optional[pathlib.Path] = None, tty: bool = False,
            log_output: bool = True) -> str:
        """Runs a command, its output into the log, and returns that output.

        If it fails, raises @kind with @failure and the first error line of the output. If the
        user interrupts, the whole process group of the command goes first. @tty commands (sudo)
        stay in our group, or they could not ask for a password.
        """
        try:
            status, lines = self._execute(argv, env, cwd, tty, log_output)
        except OSError as error:
            raise kind(f"{failure}: {os.fspath(argv[0])}: {error.strerror}") from None
        if status:
            raise kind(f"{failure}: {first_error(lines) or f'exit status {status}'}"
                       f"{f' (log: {paths.shown(self.log_path)})' if self.log_path else ''}")
        return "".join(lines)

    def attempt(self, argv: typing.Sequence[Argument],
                env: typing.Optional[typing.Mapping[str, str]] = None,
                cwd: typing.Optional[pathlib.Path] = None) -> typing.Tuple[int, str]:
        """Like run(), for a command whose failure is a result: exit status and output."""
        try:
            status, lines = self._execute(argv, env, cwd)
        except OSError as error:
            raise errors.Broken(f"{os.fspath(argv[0])}: {error.strerror}") from None
        return status, "".join(lines)

    def _execute(self, argv: typing.Sequence[Argument],
                 env: typing.Optional[typing.Mapping[str, str]],
                 cwd: typing.Optional[pathlib.Path], tty: bool = False, log_output: bool = True
                 ) -> typing.Tuple[int, typing.List[str]]:
        self.command(argv, env)
        if self.dry_run:
            return 0, []
        child = subprocess.Popen([os.fspath(arg) for arg in argv],
                                 stdin=None if tty else subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=cwd,
                                 env={**clean_environment(), **(env or {})},
                                 start_new_session=not tty, encoding="utf-8",
                                 errors="replace")
        lines = []
        assert child.stdout
        try:
            for line in child.stdout:
                lines.append(line)
                if log_output:
                    self.log(line.rstrip("\n"))
                if self.verbose:
                    self.say(line.rstrip("\n"))
            return child.wait(), lines
        except BaseException:
            end_process(child, group=not tty)
            raise
        finally:
            child.stdout.close()

    def time_table(self) -> str:
        total: typing.Dict[str, float] = {}
        for name, took in self.times:
            total[name] = total.get(name, 0.0) + took
        parts = [f"{name} {took:.1f} s" for name, took in total.items() if took >= 0.05]
        return f"time: {', '.join(parts) or 'nothing to do'}; total {sum(total.values()):.1f} s"


def clean_environment() -> typing.Dict[str, str]:
    """Ours, without what a make above us would tell the makes below: O=, V=, its job server."""
    kept = {name: value for name, value in os.environ.items()
            if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")}
    return {**kept, "LC_ALL": "C"}


def first_error(lines: typing.Sequence[str]) -> str:
    """The line that says why, or else the last one."""
    for line in lines:
        if any(mark in line for mark in ERROR_MARKS):
            return line.strip()
    return lines[-1].strip() if lines else ""


def end_process(child: "subprocess.Popen[typing.Any]", group: bool, patience: float = 5.0) -> None:
    """Ends a child, politely first, and with it its process group if it leads one."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            if group:
                os.killpg(child.pid, number)
            elif child.poll() is None:
                child.send_signal(number)
        except ProcessLookupError:
            pass
        try:
            child.wait(patience)
            return
        except subprocess.TimeoutExpired:
            continue
