# SPDX-License-Identifier: GPL-2.0-only
"""The NUMA nodes of the machine."""

import pathlib
import struct
import tempfile
import unittest

from tdx_init_mem import boot, qemu, srat


class Payload(unittest.TestCase):

    def entries(self, table: bytes) -> "list[bytes]":
        found, at = [], 12
        while at < len(table):
            found.append(table[at:at + table[at + 1]])
            at += table[at + 1]
        return found

    def test_all_cpus_are_in_the_first_node(self) -> None:
        cpus = [entry for entry in self.entries(srat.payload(3, ())) if entry[0] == 0]
        self.assertEqual([(len(cpu), cpu[2], cpu[3], cpu[4]) for cpu in cpus],
                         [(16, 0, number, 1) for number in range(3)])

    def test_memory_is_in_both(self) -> None:
        memory = self.entries(srat.payload(1, boot.NODES))[1:]
        self.assertEqual([struct.unpack_from("<BBIHQQII", entry) for entry in memory],
                         [(1, 40, node, 0, node << 30, 1 << 30, 0, 1) for node in (0, 1)])

    def test_nodes_are_the_memory_of_the_machine(self) -> None:
        size = boot.MACHINE[boot.MACHINE.index("-m") + 1]
        self.assertEqual(size, f"{sum(size for _, size in boot.NODES) >> 30}G")

    def test_table_is_where_qemu_looks_for_it(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            machine = boot.Machine(qemu.Qemu(("qemu",), "", ""), pathlib.Path("k"), pathlib.Path("i"),
                                   pathlib.Path(name), 2, None)
            machine.write_files()
            table = machine.argv()[machine.argv().index("-acpitable") + 1]
            self.assertEqual((pathlib.Path(name) / table.partition("data=")[2]).read_bytes(),
                             srat.payload(2, boot.NODES))


if __name__ == "__main__":
    unittest.main()
