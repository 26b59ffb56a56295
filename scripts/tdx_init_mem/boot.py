# SPDX-License-Identifier: GPL-2.0-only
"""Boots the machine and watches it: console and KTAP on two serial ports, QMP to end it.

QEMU ends through QMP if need be, because the plugin writes its report when QEMU exits in order.
"""

import contextlib
import ctypes
import dataclasses
import json
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time
import typing

from . import errors, qemu, srat, steps, watchdog

GIB = 1 << 30
# The one record of the machine. No TDX-erratum model; CPUID details come from the plugin. Without
# ERMS, FSRM the kernel clears and copies by words: TCG takes eight times as long for bytes.
MACHINE = ("-M", "q35", "-accel", "tcg,thread=multi", "-m", "2G", "-display", "none",
           "-nodefaults", "-no-reboot", "-acpitable", "sig=SRAT,rev=3,data=srat.bin")
NODES = ((0, GIB), (GIB, GIB))  # of that memory
CPU = "max,vendor=GenuineIntel,family=6,model=173,stepping=1,-hypervisor,-svm,-erms,-fsrm"
CMDLINE = ("console=ttyS0,115200", "ignore_loglevel", "printk.devkmsg=on", "log_buf_len=4M",
           "panic=-1", "sysrq_always_enabled")
COUNTERS = "counters.log"  # of gcov, if the kernel has any
CPUS = "cpus.log"  # of a machine that hung
# What SysRq cannot tell of a kernel that does not listen yet, or no longer.
CPU_QUESTIONS = ("info registers -a", "info lapic 0", "info lapic 1", "info pic")
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)  # a thread that forks may not look for it any more
POLL = 0.1


@dataclasses.dataclass(frozen=True)
class Machine:
    """What to boot, and where its output goes."""

    qemu: qemu.Qemu
    kernel: pathlib.Path
    initramfs: pathlib.Path
    directory: pathlib.Path
    smp: int
    plugin: typing.Optional[pathlib.Path]
    plugin_options: typing.Tuple[str, ...] = ()
    cpu: str = CPU
    cmdline: typing.Tuple[str, ...] = CMDLINE

    @property
    def report(self) -> pathlib.Path:
        return self.directory / "tdx-host.json"

    def write_files(self) -> None:
        """What the command line refers to, in the directory that QEMU is started in."""
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "srat.bin").write_bytes(srat.payload(self.smp, NODES))

    def argv(self) -> typing.List[str]:
        argv = [*self.qemu.command, *MACHINE, "-cpu", self.cpu, "-smp", str(self.smp),
                "-kernel", os.fspath(self.kernel), "-initrd", os.fspath(self.initramfs),
                "-append", " ".join(self.cmdline)]
        if self.plugin:
            argv += ["-plugin", ",".join((f"file={self.plugin}", f"report={self.report}",
                                          *self.plugin_options))]
        return argv


@dataclasses.dataclass
class Outcome:
    """What came out of a boot."""

    console: str = ""
    ktap: str = ""
    ready: bool = False
    ready_after: float = 0.0
    complete: bool = False
    reason: str = ""  # why the host ended it; empty if the guest ended by itself
    qemu_status: int = 0  # negative: the signal it died of
    stderr: str = ""
    report: typing.Optional[typing.Dict[str, typing.Any]] = None


class Tail:
    """Follows a file that QEMU writes. A file never makes QEMU wait, so no character gets lost."""

    def __init__(self, path: pathlib.Path) -> None:
        self._file = open(path, "wb+", buffering=0)
        self._pending = b""

    def lines(self) -> typing.List[str]:
        """The complete lines that are new."""
        *lines, self._pending = (self._pending + self._file.read()).split(b"\n")
        return [line.decode(errors="replace").rstrip("\r") for line in lines]

    def close(self) -> None:
        self._file.close()


class Control:
    """QMP over a socket pair, and the keys that a user would type on the console."""

    def __init__(self) -> None:
        self._qmp, self._their_qmp = socket.socketpair()
        self._their_keys, self._keys = os.pipe()
        self._send("qmp_capabilities")

    @property
    def inherited(self) -> typing.List[int]:
        return [self._their_qmp.fileno(), self._their_keys]

    def options(self) -> typing.List[str]:
        return ["-chardev", "file,id=console,path=console.log,"
                f"input-path=/proc/self/fd/{self._their_keys}", "-serial", "chardev:console",
                "-serial", "file:ktap.log", "-serial", f"file:{COUNTERS}", "-chardev",
                f"socket,id=qmp,fd={self._their_qmp.fileno()}", "-qmp", "chardev:qmp"]

    def quit(self) -> None:
        self._send("quit")

    def sysrq(self, key: str) -> None:
        """A break on the console, then the key: needs no working userspace."""
        self._send("chardev-send-break", id="console")
        time.sleep(0.2)
        os.write(self._keys, key.encode())

    def ask_for_cpus(self) -> None:
        for question in CPU_QUESTIONS:
            self._send("human-monitor-command", **{"command-line": question})

    def answers(self) -> str:
        """To all such questions so far."""
        raw = b""
        with contextlib.suppress(OSError):
            while more := self._qmp.recv(1 << 16, socket.MSG_DONTWAIT):
                raw += more
        found = []
        for line in raw.splitlines():
            with contextlib.suppress(ValueError):
                answer = json.loads(line).get("return")
                found += [answer] if isinstance(answer, str) else []
        return "\n".join(found).replace("\r", "")

    def _send(self, command: str, **arguments: str) -> None:
        request = json.dumps({"execute": command, "arguments": arguments})
        with contextlib.suppress(OSError):  # QEMU is gone: the caller will notice
            self._qmp.sendall(request.encode() + b"\n")

    def close(self) -> None:
        self._qmp.close()
        self._their_qmp.close()
        os.close(self._keys)
        os.close(self._their_keys)


def dies_with_us() -> None:
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def boot(out: steps.Steps, machine: Machine, dog: watchdog.Watchdog,
         stop: typing.Optional[threading.Event] = None) -> Outcome:
    """Runs the machine to its end, or until @stop. Never raises for what the guest does."""
    machine.write_files()
    with contextlib.ExitStack() as stack:
        console, ktap = (Tail(machine.directory / name) for name in ("console.log", "ktap.log"))
        control = Control()
        for opened in (console, ktap, control):
            stack.callback(opened.close)
        stderr = stack.enter_context(open(machine.directory / "qemu.log", "w+", encoding="utf-8",
                                          errors="replace"))
        argv = [*machine.argv(), *control.options()]
        out.command(argv)
        try:
            child = subprocess.Popen(argv, cwd=machine.directory, stdin=subprocess.DEVNULL,
                                     stdout=stderr, stderr=stderr, pass_fds=control.inherited,
                                     start_new_session=True, preexec_fn=dies_with_us)
        except OSError as error:
            raise errors.Broken(f"QEMU does not start: {error.strerror}") from None
        try:
            watch(child, console, ktap, control, dog, stop or threading.Event())
        finally:
            if child.poll() is None:
                steps.end_process(child, group=True)
        answers = control.answers()
        if answers:
            (machine.directory / CPUS).write_text(answers, encoding="utf-8")
        stderr.seek(0)
        return collect(machine, dog, child.returncode, stderr.read())


def watch(child: "subprocess.Popen[typing.Any]", console: Tail, ktap: Tail, control: Control,
          dog: watchdog.Watchdog, stop: threading.Event) -> None:
    ended = False
    while not ended and not stop.is_set():
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(POLL)
        ended = child.poll() is not None
        dog.console(console.lines())
        dog.ktap(ktap.lines())
        for action in dog.due(time.monotonic()) if not ended else []:
            if action == watchdog.QUIT:
                control.quit()
            elif action == watchdog.KILL:
                return
            elif action == watchdog.CPUS:
                control.ask_for_cpus()
            else:
                control.sysrq(action)


def collect(machine: Machine, dog: watchdog.Watchdog, status: int, stderr: str) -> Outcome:
    outcome = Outcome(qemu_status=status, ready=dog.ready_after > 0, ready_after=dog.ready_after,
                      complete=dog.ended, reason=dog.reason, stderr=stderr.strip())
    for name in ("console", "ktap"):
        raw = (machine.directory / f"{name}.log").read_bytes()
        setattr(outcome, name, raw.decode(errors="replace").replace("\r", ""))
    if machine.plugin:
        try:
            outcome.report = json.loads(machine.report.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            outcome.report = None
    return outcome
