# SPDX-License-Identifier: GPL-2.0-only
"""Deals the programs to machines that run at once, by the time that they took last.

A test is one thread of the guest most of the time: two machines of two CPUs are not too many for
two CPUs of the host.
"""

import json
import os
import statistics
import typing

from . import paths

GIB_KB = 1 << 20
# Of the host, for one machine: its memory, and what QEMU needs to translate and trace it.
MEMORY_KB = 3 * GIB_KB
# What a boot costs, in seconds of a program.
BOOT = 6.0
TIMES = paths.BUILD / "times.json"

Chosen = typing.Tuple[str, str]  # program, and which of its cases


def default_machines() -> int:
    """One for each CPU, as far as the memory goes."""
    return max(1, min(os.cpu_count() or 1, available_kb() // MEMORY_KB))


def available_kb() -> int:
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1])
    except OSError:
        pass
    return MEMORY_KB


def deal(chosen: typing.Sequence[Chosen], machines: int, times: typing.Mapping[str, float],
         spoils: typing.Callable[[str], bool]) -> typing.List[typing.List[Chosen]]:
    """Longest first, each to the machine that has least; those that @spoils says so come last.

    After a complaint of the kernel the rest of the programs gets another boot: behind such a
    program there had better be none. For what takes no longer than to boot, one machine will do.
    """
    typical = statistics.median(times.values()) if times else BOOT

    def cost(one: Chosen) -> float:
        return times.get(one[0], typical) + (BOOT if spoils(one[0]) else 0.0)

    worth = int(sum(map(cost, chosen)) // (2 * BOOT)) + 1
    hands: typing.List[typing.List[Chosen]] = [
        [] for _ in range(min(machines, len(chosen), worth))]
    load = [0.0] * len(hands)
    ordered = sorted(chosen, key=lambda one: (spoils(one[0]), -cost(one), chosen.index(one)))
    for one in ordered:
        least = load.index(min(load))
        hands[least].append(one)
        load[least] += cost(one)
    return hands


def remembered() -> typing.Dict[str, float]:
    """Program -> seconds, of earlier runs."""
    try:
        found = json.loads(TIMES.read_text(encoding="utf-8"))
        return {str(name): float(seconds) for name, seconds in found.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def remember(times: typing.Mapping[str, float]) -> None:
    with paths.locked("times", lambda _: None):
        paths.write_text(TIMES, json.dumps({**remembered(), **times}, indent=1, sort_keys=True) + "\n")
