# SPDX-License-Identifier: GPL-2.0-only
"""Tells what the emulator's sanitizer found: rule, page, history of the page, backtrace."""

import typing

from . import symbols

Entry = typing.Mapping[str, typing.Any]
SHOWN = 3
# A line names the place by its innermost functions.
SHOWN_CALLERS = 3


def add_symbols(report: typing.Mapping[str, typing.Any], known: symbols.Symbols) -> None:
    """Names the addresses of the report, beside them."""
    for entry in report.get("sanitizer", []):
        entry["symbols"] = known.names(entry.get("backtrace", []))


def group(report: typing.Mapping[str, typing.Any]) -> typing.List[typing.List[Entry]]:
    """Findings of one rule from one place, in order: many pages meet the same fate."""
    groups: typing.Dict[typing.Tuple[str, ...], typing.List[Entry]] = {}
    for entry in report.get("sanitizer", []):
        key = (entry.get("rule", ""), *entry.get("symbols", []))
        groups.setdefault(key, []).append(entry)
    return list(groups.values())


def headlines(report: typing.Mapping[str, typing.Any]) -> typing.List[str]:
    return [headline(entries) for entries in group(report)]


def headline(entries: typing.Sequence[Entry]) -> str:
    first = entries[0]
    rule = f"{first['rule']}: " if "rule" in first else ""
    places = [name.partition("+")[0] for name in first.get("symbols", [])[:SHOWN_CALLERS]]
    where = f" in {' <- '.join(places)}" if places else ""
    return f"sanitizer: {rule}{first.get('text', first)}{where} ({count(entries)} times)"


def count(entries: typing.Sequence[Entry]) -> int:
    return sum(entry.get("count", 1) for entry in entries)


def details(report: typing.Mapping[str, typing.Any]) -> typing.List[str]:
    """The first findings in full; all of them are in tdx-host.json."""
    lines: typing.List[str] = []
    groups = [entries for entries in group(report) if "rule" in entries[0]]
    for entries in groups[:SHOWN]:
        first = entries[0]
        lines.append(f"{headline(entries)}, the first by {at(first)}")
        lines += [f"    {at(event)}: {event['leaf']} {event['status']}"
                  f"{times(event.get('count', 1))}" for event in first.get("history", [])]
        lines += [f"    {'<-' if number else 'in'} {name}"
                  for number, name in enumerate(first.get("symbols", []))]
    if len(groups) > SHOWN:
        lines.append(f"... and {len(groups) - SHOWN} more, see tdx-host.json")
    return lines


def at(event: Entry) -> str:
    vcpu = f"vCPU {event['lp']}" if event.get("lp", -1) >= 0 else "a device"
    return f"{vcpu} at {event.get('time_ns', 0) / 1e9:.6f} s"


def times(number: int) -> str:
    return f" ({number} times)" if number > 1 else ""
