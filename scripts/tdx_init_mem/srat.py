# SPDX-License-Identifier: GPL-2.0-only
"""The ACPI table that makes two NUMA nodes of the machine: all CPUs in the first, memory in both.

QEMU's own nodes come with a RAM block each, while the plugin knows a machine with one; and where
the kernel emulates nodes it deals the CPUs out among them, which no package has and 7.3 warns of.
Layout: ACPI specification, System Resource Affinity Table, without the common header.
"""

import struct
import typing

_TABLE = struct.Struct("<I8x")
_CPU = struct.Struct("<BBBBIB3sI")
_MEMORY = struct.Struct("<BBI2xQQ4xI8x")
_ENABLED = 1


def payload(cpus: int, nodes: typing.Sequence[typing.Tuple[int, int]]) -> bytes:
    """What follows the header. @nodes: base and size of the memory of each, in bytes."""
    return b"".join([
        _TABLE.pack(1),
        *(_CPU.pack(0, _CPU.size, 0, apic_id, _ENABLED, 0, bytes(3), 0)
          for apic_id in range(cpus)),
        *(_MEMORY.pack(1, _MEMORY.size, node, base, size, _ENABLED)
          for node, (base, size) in enumerate(nodes))])
