# SPDX-License-Identifier: GPL-2.0-only
"""Names the addresses of a guest kernel: System.map, and the .ko files where the guest has them."""

import bisect
import pathlib
import re
import struct
import typing

# What the guest's init says of a loaded module: "module kvm .noinstr.text=0x... .text=0x...".
_MODULE = re.compile(r"tdx-init-mem: module (\w+)((?: \.[\w.]+=0x[0-9a-f]+)+)")
_SECTION = re.compile(r" (\.[\w.]+)=(0x[0-9a-f]+)")
_CODE = "tTwW"
# What is read of an ELF file: header, section headers, symbols.
_HEADER = struct.Struct("<40xQ10xHHH")
_SECTION_HEADER = struct.Struct("<II16xQQI20x")
_SYMBOL = struct.Struct("<IBxHQ8x")
_SYMTAB, _FUNC = 2, 2

Place = typing.Mapping[str, int]  # section -> address


class Function(typing.NamedTuple):
    """Code from an address on."""

    start: int
    name: str
    module: str = ""


class Symbols:
    """The functions of a kernel and of its modules, by address."""

    def __init__(self, functions: typing.Iterable[Function] = ()) -> None:
        self._functions = sorted(functions)
        self._starts = [function.start for function in self._functions]

    def name(self, address: int, is_return: bool = False) -> str:
        """As the kernel prints it; a call can be the last instruction of its function."""
        number = bisect.bisect_right(self._starts, address - is_return) - 1
        if number < 0:
            return f"{address:#x}"
        function = self._functions[number]
        return (f"{function.name}+{address - function.start:#x}"
                f"{f' [{function.module}]' if function.module else ''}")

    def names(self, backtrace: typing.Sequence[str]) -> typing.List[str]:
        """Of program counters, innermost first: all but the first are return addresses."""
        return [self.name(int(address, 16), number > 0) for number, address in enumerate(backtrace)]


def load(obj: pathlib.Path, console: str) -> Symbols:
    """Of a kernel that was built in @obj, and of the modules that its console tells of."""
    functions = system_map((obj / "System.map").read_text(encoding="ascii"))
    files = {path.stem.replace("-", "_"): path for path in obj.rglob("*.ko")}
    for module, place in module_places(console).items():
        if module in files:
            functions += module_functions(files[module].read_bytes(), place, module)
    return Symbols(functions)


def system_map(text: str) -> typing.List[Function]:
    fields = (line.split() for line in text.splitlines())
    return [Function(int(address, 16), name) for address, kind, name in fields if kind in _CODE]


def module_places(console: str) -> typing.Dict[str, Place]:
    """Module -> where the guest has its sections."""
    return {match[1]: {name: int(address, 16) for name, address in _SECTION.findall(match[2])}
            for match in _MODULE.finditer(console)}


def module_functions(elf: bytes, place: Place, module: str) -> typing.List[Function]:
    """The functions of a relocatable ELF file."""
    start, size, count, names = _HEADER.unpack_from(elf)
    sections = [_SECTION_HEADER.unpack_from(elf, start + size * number) for number in range(count)]
    base = {index: place.get(string(elf, sections[names][2] + title))
            for index, (title, *_) in enumerate(sections)}
    functions = []
    for _, kind, offset, length, link in sections:
        for at in range(offset, offset + length if kind == _SYMTAB else offset, _SYMBOL.size):
            name, info, index, value = _SYMBOL.unpack_from(elf, at)
            address = base.get(index)
            if info & 15 == _FUNC and address is not None:
                functions.append(Function(address + value, string(elf, sections[link][2] + name),
                                          module))
    return functions


def string(data: bytes, start: int) -> str:
    return data[start:data.index(b"\0", start)].decode()
