# SPDX-License-Identifier: GPL-2.0-only
"""What the sanitizer found is told once for each place."""

import typing
import unittest

from tdx_init_mem import judge, sanitizer, symbols

KNOWN = symbols.Symbols([symbols.Function(0x1000, "clear_page"),
                         symbols.Function(0x2000, "populate", "kvm")])


def entry(page: int, *backtrace: int, rule: str = "host-store") -> typing.Dict[str, typing.Any]:
    return {"rule": rule, "text": f"page {page:#x}", "count": 2, "page": f"{page:#x}", "lp": 1,
            "time_ns": 2_500_000_000, "backtrace": [f"{address:#x}" for address in backtrace],
            "history": [{"leaf": "TDH.MEM.PAGE.ADD", "lp": 0, "time_ns": 2_000_000_000,
                         "status": "TDX_SUCCESS", "count": 3}]}


def report(*entries: typing.Dict[str, typing.Any]) -> typing.Dict[str, typing.Any]:
    made = {"sanitizer": list(entries)}
    sanitizer.add_symbols(made, KNOWN)
    return made


class Lines(unittest.TestCase):

    def test_pages_of_one_place_are_one_line(self) -> None:
        made = report(entry(0x5000, 0x1000, 0x2010), entry(0x6000, 0x1000, 0x2010))
        self.assertEqual(sanitizer.headlines(made), [
            "sanitizer: host-store: page 0x5000 in clear_page <- populate (4 times)"])

    def test_another_rule_or_place_is_another_line(self) -> None:
        made = report(entry(0x5000, 0x1000), entry(0x5000, 0x2000),
                      entry(0x5000, 0x1000, rule="leak"))
        self.assertEqual(len(sanitizer.headlines(made)), 3)

    def test_details_have_history_and_backtrace(self) -> None:
        self.assertEqual(sanitizer.details(report(entry(0x5000, 0x1004, 0x2010))), [
            "sanitizer: host-store: page 0x5000 in clear_page <- populate (2 times), "
            "the first by vCPU 1 at 2.500000 s",
            "    vCPU 0 at 2.000000 s: TDH.MEM.PAGE.ADD TDX_SUCCESS (3 times)",
            "    in clear_page+0x4",
            "    <- populate+0x10 [kvm]"])

    def test_only_the_first_are_told_in_full(self) -> None:
        made = report(*(entry(0x5000, 0x1000, rule=f"rule-{number}") for number in range(5)))
        self.assertEqual(sanitizer.details(made)[-1], "... and 2 more, see tdx-host.json")
        self.assertEqual(len(judge.emulator_findings(made)), 5)

    def test_store_of_a_device_has_no_vcpu(self) -> None:
        made = entry(0x5000)
        made["lp"] = -1
        self.assertIn("the first by a device at", sanitizer.details(report(made))[0])

    def test_nothing_found_is_nothing_said(self) -> None:
        self.assertEqual((sanitizer.headlines({}), sanitizer.details({})), ([], []))


if __name__ == "__main__":
    unittest.main()
