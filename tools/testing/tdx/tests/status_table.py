#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Which unit test provokes which status of which leaf of the TDX module model.

Reads the declared table (output of leaf_status_test -t) and what the tests
provoked (the file that TDXM_COVERAGE named), prints the table of both, and
complains about each declared pair that no test provokes and each provoked pair
that is not declared.
"""

import collections
import sys
from typing import NamedTuple

ANY_LEAF = 0xFFFFFFFF
OPERANDS = {
    0x00: "RAX", 0x01: "RCX", 0x02: "RDX", 0x08: "R8", 0x09: "R9", 0x0A: "R10",
    0x40: "ATTRIBUTES", 0x41: "XFAM", 0x42: "CONFIG_FLAGS", 0x43: "EPTP_CONTROLS",
    0x44: "MAX_VCPUS", 0x45: "CPUID_CONFIG", 0x46: "TSC_FREQUENCY", 0x47: "NUM_L2_VMS",
    0x48: "ARCH_CAPABILITIES", 0x80: "TDR", 0x92: "SEPT_TREE", 0xA9: "TD_EPOCH",
    0xAC: "OP_STATE", 0xBA: "KOT", 0xBB: "KET", 0xBC: "WBCACHE",
}
# Their details always name an operand, also the one with id 0.
WITH_OPERAND = ("TDX_OPERAND_", "TDX_PAGE_METADATA_", "TDX_EPT_", "TDX_GPA_RANGE_", "TDX_TLB_")


class Declared(NamedTuple):
    """A row of the model's table: every status with the bits of mask equal."""

    leaf: int
    status: int
    mask: int
    leaf_name: str
    status_name: str

    def matches(self, leaf: int, status: int) -> bool:
        return leaf == self.leaf and not (status ^ self.status) & self.mask

    def text(self) -> str:
        details = self.status & 0xFFFFFFFF
        if details & ~self.mask or self.mask & 0xFFFFFFFF == 0:
            return f"{self.status_name}+n"
        if self.status_name.startswith(WITH_OPERAND):
            return f"{self.status_name}+{OPERANDS[details]}"
        if details and self.status >> 63:
            return f"{self.status_name}+0x{details:x}"
        return f"exit reason {details}" if details else self.status_name


def read_declared(path: str) -> list[Declared]:
    rows: dict[Declared, None] = {}
    with open(path, encoding="ascii") as file:
        for line in file:
            leaf, status, mask, leaf_name, status_name = line.split()
            rows[Declared(int(leaf, 16), int(status, 16), int(mask, 16), leaf_name,
                          status_name)] = None
    return list(rows)


def read_provoked(path: str) -> dict[tuple[int, int], list[str]]:
    pairs: dict[tuple[int, int], list[str]] = {}
    with open(path, encoding="ascii") as file:
        for line in file:
            leaf, status, case = line.split()
            cases = pairs.setdefault((int(leaf, 16), int(status, 16)), [])
            if case not in cases:
                cases.append(case)
    return pairs


def find(declared: list[Declared], leaf: int, status: int) -> Declared | None:
    """The row of the leaf itself, else the dispatcher's."""
    for number in (leaf, ANY_LEAF):
        for row in declared:
            if row.matches(number, status):
                return row
    return None


def main() -> int:
    if len(sys.argv) != 3:
        print("usage: status_table.py DECLARED PROVOKED", file=sys.stderr)
        return 2
    declared = read_declared(sys.argv[1])
    provoked_by: dict[Declared, list[str]] = {row: [] for row in declared}
    holes = []
    for (leaf, status), cases in read_provoked(sys.argv[2]).items():
        row = find(declared, leaf, status)
        if row:
            provoked_by[row] += cases
        else:
            holes.append(f"not declared: leaf 0x{leaf:x} status 0x{status:016x}, seen in {cases[0]}")

    # Of several cases, name the one that is about little else.
    weight = collections.Counter(case for cases in provoked_by.values() for case in cases)
    leaf_names = dict.fromkeys(row.leaf_name for row in declared)
    print(f"{len(declared)} pairs of {len(leaf_names)} leaves")
    for leaf_name in leaf_names:
        rows = [row for row in declared if row.leaf_name == leaf_name]
        print(f"\n{leaf_name}: {len(rows)}")
        for row in rows:
            cases = sorted(set(provoked_by[row]), key=lambda case: (weight[case], case))
            more = f" and {len(cases) - 1} more" if len(cases) > 1 else ""
            print(f"  {row.text():45} {(cases or ['-'])[0]}{more}")
            if not cases:
                holes.append(f"no test: {leaf_name} {row.text()}")
    for hole in holes:
        print(hole, file=sys.stderr)
    return 1 if holes else 0


if __name__ == "__main__":
    sys.exit(main())
