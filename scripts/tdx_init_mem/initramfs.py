# SPDX-License-Identifier: GPL-2.0-only
"""Packs the guest: busybox, the kvm modules, the tests with their libraries, and what to run."""

import dataclasses
import os
import pathlib
import re
import shlex
import shutil
import stat
import typing

from . import errors, paths, steps

MODULES = ("kvm_intel", "hwpoison_inject", "brd")
ELF = b"\x7fELF"
# Without it a program may take as long as it likes, whatever the file "settings" says.
KSELFTEST_TOOLS = ("/usr/bin/timeout",)
_DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")
_LIBRARY = re.compile(r"(?:=> )?(/\S+) \(0x")


@dataclasses.dataclass(frozen=True)
class Order:
    """One program for the guest to run; no cases means all of them."""

    program: pathlib.Path
    timeout: int
    cases: str = ""


class Cpio:
    """Writes the "newc" format, the one that the kernel unpacks. Inode numbers only need differ."""

    def __init__(self, file: typing.BinaryIO) -> None:
        self._file = file
        self._inode = 0
        self._known: typing.Set[str] = set()

    def directory(self, path: str) -> None:
        parts = path.strip("/").split("/")
        for end in range(1, len(parts) + 1):
            name = "/".join(parts[:end])
            if name and name not in self._known:
                self._known.add(name)
                self._entry(name, stat.S_IFDIR | 0o755, b"")

    def file(self, path: str, content: bytes, mode: int = 0o755) -> None:
        if path not in self._known:
            self._known.add(path)
            self.directory(os.path.dirname(path))
            self._entry(path.lstrip("/"), stat.S_IFREG | mode, content)

    def link(self, path: str, target: str) -> None:
        self._known.add(path)
        self._entry(path, stat.S_IFLNK | 0o777, target.encode())

    def device(self, path: str, major: int, minor: int) -> None:
        self.directory(os.path.dirname(path))
        self._entry(path.lstrip("/"), stat.S_IFCHR | 0o600, b"", (major, minor))

    def end(self) -> None:
        self._entry("TRAILER!!!", 0, b"")

    def _entry(self, name: str, mode: int, content: bytes,
               device: typing.Tuple[int, int] = (0, 0)) -> None:
        self._inode += 1
        encoded = name.encode() + b"\0"
        fields = (self._inode, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(encoded), 0)
        header = b"070701" + b"".join(b"%08x" % field for field in fields)
        for part in (header + encoded, content):
            self._file.write(part + b"\0" * (-len(part) % 4))


def pack(out: steps.Steps, target: pathlib.Path, obj: pathlib.Path,
         orders: typing.Sequence[Order], settings: typing.Mapping[str, str],
         parameters: typing.Sequence[str] = (), kselftest: typing.Optional[pathlib.Path] = None
         ) -> None:
    """@kselftest, an installed tree, is /kselftest of the guest."""
    busybox = find_busybox()
    modules = module_order(obj)
    with paths.into_place(target) as temporary, open(temporary, "wb") as file:
        cpio = Cpio(file)
        for name in ("dev", "proc", "sys", "tmp", "bin", "tests", "modules"):
            cpio.directory(name)
        cpio.device("dev/console", 5, 1)
        cpio.device("dev/kmsg", 1, 11)
        cpio.device("dev/null", 1, 3)
        cpio.file("bin/busybox", busybox.read_bytes())
        # Links cost the guest less if they come with the rest than if busybox installs them.
        for applet in out.run([busybox, "--list"], "busybox --list failed",
                              log_output=False).split():
            if applet != "busybox":
                cpio.link(f"bin/{applet}", "busybox")
        cpio.file("init", (paths.HERE / "guest-init.sh").read_bytes())
        cpio.file("run.conf", run_conf(modules, orders, settings, parameters).encode(), 0o644)
        for module in modules:
            cpio.file(f"modules/{module.name}", module.read_bytes(), 0o644)
        for order in orders:
            cpio.file(f"tests/{order.program.name}", order.program.read_bytes())
            pack_libraries(out, cpio, order.program)
        if kselftest:
            pack_kselftest(out, cpio, kselftest)
        cpio.end()


def pack_libraries(out: steps.Steps, cpio: Cpio, program: pathlib.Path) -> None:
    for library in libraries(out, program):
        cpio.file(library, pathlib.Path(library).read_bytes())


def pack_kselftest(out: steps.Steps, cpio: Cpio, tree: pathlib.Path) -> None:
    """With what run_kselftest.sh uses if it is there, and busybox does not have as it wants it."""
    for path in sorted(path for path in tree.rglob("*") if path.is_file()):
        content = path.read_bytes()
        cpio.file(f"kselftest/{path.relative_to(tree)}", content, path.stat().st_mode & 0o777)
        if content.startswith(ELF):
            pack_libraries(out, cpio, path)
    for tool in map(pathlib.Path, KSELFTEST_TOOLS):
        if tool.exists():
            cpio.file(str(tool), tool.read_bytes())
            pack_libraries(out, cpio, tool)


def run_conf(modules: typing.Sequence[pathlib.Path], orders: typing.Sequence[Order],
             settings: typing.Mapping[str, str], parameters: typing.Sequence[str] = ()) -> str:
    """Read by the guest's shell: the environment of the tests, the modules, the tests in order."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in settings.items()]
    lines.append(f"modules={shlex.quote(' '.join(module.name for module in modules))}")
    lines += [f"options_{module}={shlex.quote(' '.join(options))}"
              for module, options in module_options(parameters).items()]
    lines.append(f"plan={len(orders)}")
    lines.append("run_tests() {")
    lines.append("\t:")
    for order in orders:
        lines.append(f"\trun_one {order.program.name} {order.timeout} {shlex.quote(order.cases)}")
    lines.append("}")
    return "\n".join(lines) + "\n"


def module_options(parameters: typing.Sequence[str]) -> typing.Dict[str, typing.List[str]]:
    """What insmod gets, by module. Parameters are MODULE.NAME=VALUE."""
    options: typing.Dict[str, typing.List[str]] = {"kvm_intel": ["tdx=1"]}
    for parameter in parameters:
        module, _, option = parameter.partition(".")
        options.setdefault(module, []).append(option)
    return options


def find_busybox() -> pathlib.Path:
    found = shutil.which("busybox", path="/bin:/usr/bin:" + os.environ.get("PATH", ""))
    if not found:
        raise errors.Broken("no busybox: run scripts/tdx-init-mem setup")
    if b"/ld-linux" in pathlib.Path(found).read_bytes()[:4096]:
        raise errors.Broken("busybox is not static (package busybox-static): "
                            "run scripts/tdx-init-mem setup")
    return pathlib.Path(found)


def module_order(obj: pathlib.Path) -> typing.List[pathlib.Path]:
    """The modules in the order of insertion, dependencies first, as their modinfo says."""
    available = {path.stem.replace("-", "_"): path for path in obj.rglob("*.ko")}
    ordered: typing.List[pathlib.Path] = []

    def visit(name: str) -> None:
        path = available.get(name)
        if path is None or path in ordered:
            return
        match = _DEPENDS.search(path.read_bytes())
        for needed in (match[1].decode().split(",") if match else []):
            visit(needed.replace("-", "_"))
        ordered.append(path)

    for name in MODULES:
        visit(name)
    return ordered


def libraries(out: steps.Steps, program: pathlib.Path) -> typing.List[str]:
    listing = out.run(["ldd", program], f"ldd {program.name} failed", log_output=False)
    return _LIBRARY.findall(listing)
