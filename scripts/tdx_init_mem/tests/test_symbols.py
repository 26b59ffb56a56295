# SPDX-License-Identifier: GPL-2.0-only
"""Addresses get the names that the kernel would print."""

import struct
import typing
import unittest

from tdx_init_mem import symbols

MAP = """\
ffffffff81000000 T _stext
ffffffff81000100 t inner
ffffffff81000180 d data_between
ffffffff81000200 T outer
"""
CONSOLE = """\
[    1.0] tdx-init-mem: module kvm .noinstr.text=0xffffffffa0002000 .text=0xffffffffa0001000
[    1.1] tdx-init-mem: module kvm_intel .text=0xffffffffa0100000
[    1.2] tdx-init-mem: ready, tdx=Y
"""
FUNC, OBJECT = 2, 1


def elf(*wanted: typing.Tuple[str, int, str, int]) -> bytes:
    """A relocatable file with sections .text and .data, and (name, type, section, value) symbols."""
    titles = b"\0.text\0.data\0.symtab\0.strtab\0"
    index = {".text": 1, ".data": 2}
    strings, table = b"\0", b"\0" * 24
    for name, kind, section, value in wanted:
        table += struct.pack("<IBBHQQ", len(strings), kind, 0, index[section], value, 16)
        strings += name.encode() + b"\0"
    at = 64
    headers = [b"\0" * 64]
    for title, kind, content, link in ((".text", 1, b"", 0), (".data", 1, b"", 0),
                                       (".symtab", 2, table, 4), (".strtab", 3, strings, 0),
                                       (".strtab", 3, titles, 0)):
        headers.append(struct.pack("<IIQQQQIIQQ", titles.index(title.encode()), kind, 0, 0, at,
                                   len(content), link, 0, 0, 0))
        at += len(content)
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF", 1, 62, 1, 0, 0, at, 0, 64, 0, 0, 64,
                         len(headers), len(headers) - 1)
    return header + table + strings + titles + b"".join(headers)


class Kernel(unittest.TestCase):

    def setUp(self) -> None:
        self.known = symbols.Symbols(symbols.system_map(MAP))

    def test_offset_into_the_function(self) -> None:
        self.assertEqual(self.known.name(0xffffffff81000105), "inner+0x5")

    def test_data_is_no_function(self) -> None:
        self.assertEqual(self.known.name(0xffffffff81000190), "inner+0x90")

    def test_return_behind_the_last_call_is_still_inside(self) -> None:
        self.assertEqual(self.known.name(0xffffffff81000200), "outer+0x0")
        self.assertEqual(self.known.name(0xffffffff81000200, is_return=True), "inner+0x100")

    def test_backtrace_starts_with_the_place_itself(self) -> None:
        self.assertEqual(self.known.names(["0xffffffff81000200", "0xffffffff81000200"]),
                         ["outer+0x0", "inner+0x100"])

    def test_unknown_address_stays_a_number(self) -> None:
        self.assertEqual(self.known.name(0x1000), "0x1000")
        self.assertEqual(symbols.Symbols().names(["0x1000"]), ["0x1000"])


class Modules(unittest.TestCase):

    def test_places_come_from_the_console(self) -> None:
        self.assertEqual(symbols.module_places(CONSOLE), {
            "kvm": {".noinstr.text": 0xffffffffa0002000, ".text": 0xffffffffa0001000},
            "kvm_intel": {".text": 0xffffffffa0100000}})

    def test_functions_move_with_their_section(self) -> None:
        place = symbols.module_places(CONSOLE)["kvm"]
        functions = symbols.module_functions(
            elf(("run", FUNC, ".text", 0x20), ("count", OBJECT, ".text", 0x30),
                ("table", FUNC, ".data", 0)), place, "kvm")
        self.assertEqual(functions, [symbols.Function(0xffffffffa0001020, "run", "kvm")])
        self.assertEqual(symbols.Symbols(functions).name(0xffffffffa0001024), "run+0x4 [kvm]")


if __name__ == "__main__":
    unittest.main()
