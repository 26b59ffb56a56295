# SPDX-License-Identifier: GPL-2.0-only
"""Which machine runs what."""

import typing
import unittest
import unittest.mock

from tdx_init_mem import console, errors, job, judge, lanes
from tdx_init_mem.results import Program, Status

TIMES = {"long": 40.0, "middle": 30.0, "short": 20.0, "spoiler": 35.0}


def dealt(names: typing.Sequence[str], machines: int,
          times: typing.Optional[typing.Mapping[str, float]] = None,
          spoils: typing.Sequence[str] = ()) -> typing.List[typing.List[str]]:
    hands = lanes.deal([(name, "") for name in names], machines,
                       TIMES if times is None else times, lambda name: name in spoils)
    return [[name for name, _ in hand] for hand in hands]


class Deal(unittest.TestCase):

    def test_everything_is_dealt_once(self) -> None:
        names = [f"program{number}" for number in range(36)]
        hands = dealt(names, 5)
        self.assertEqual(len(hands), 5)
        self.assertEqual(sorted(name for hand in hands for name in hand), sorted(names))

    def test_longest_first_to_who_has_least(self) -> None:
        self.assertEqual(dealt(["short", "middle", "long"], 2), [["long"], ["middle", "short"]])

    def test_who_spoils_a_boot_comes_last(self) -> None:
        self.assertEqual(dealt(["spoiler", "long", "middle", "short"], 1, spoils=["spoiler"]),
                         [["long", "middle", "short", "spoiler"]])

    def test_no_more_machines_than_programs(self) -> None:
        self.assertEqual(dealt(["long"], 8), [["long"]])

    def test_one_machine_for_what_takes_no_longer_than_its_boot(self) -> None:
        self.assertEqual(len(dealt(["a", "b"], 2, {"a": 1.0, "b": 2.0})), 1)

    def test_unknown_programs_are_spread(self) -> None:
        self.assertEqual([len(hand) for hand in dealt([str(n) for n in range(8)], 2, {})], [4, 4])


class WhereAllHang(unittest.TestCase):
    """The first hang is the verdict, and lockdep speaks but once: no matter what took longest."""

    CHOSEN = [("tdx_init_mem_abi_test", ""), ("tdx_init_mem_perf_test", "")]

    def hands(self, **changes: typing.Any) -> typing.List[typing.List[str]]:
        wanted = job.Job(**{"line": "v6.18", "variant": "shared-lock", "machines": 2, **changes})
        with unittest.mock.patch.object(lanes, "remembered", lambda: {
                "tdx_init_mem_abi_test": 20.0, "tdx_init_mem_perf_test": 90.0}):
            return [[name for name, _ in hand] for hand in job.deal(wanted, self.CHOSEN)]

    def test_one_machine_in_order(self) -> None:
        self.assertEqual(self.hands(), [["tdx_init_mem_abi_test", "tdx_init_mem_perf_test"]])

    def test_dealt_if_each_gets_its_turn(self) -> None:
        self.assertEqual(len(self.hands(keep_going=True)), 2)

    def test_dealt_on_another_kernel(self) -> None:
        self.assertEqual(self.hands(variant="decoupled"),
                         [["tdx_init_mem_perf_test"], ["tdx_init_mem_abi_test"]])


class Seconds(unittest.TestCase):

    def test_from_start_to_done(self) -> None:
        self.assertEqual(console.seconds(
            "[    8.500000] tdx-init-mem: start a_test\n"
            "[    9.000000][  T12] something else\n"
            "[   10.750000][  T12] tdx-init-mem: done a_test status=0\n"
            "[   11.000000] tdx-init-mem: start b_test\n"), {"a_test": 2.25})


class Join(unittest.TestCase):

    def test_order_is_that_of_one_machine_and_status_the_worst(self) -> None:
        first = judge.Verdict(errors.PASSED, [Program("c", Status.PASS)], [], [],
                              {"model_version": "1", "unimplemented": [], "sanitizer": [1]})
        second = judge.Verdict(errors.FAILED, [Program("a", Status.PASS), Program("b")],
                               ["b: crash"], ["outside"], {"unimplemented": [2], "sanitizer": [3]})
        joined = judge.join([first, second], ["a", "b", "c"])
        self.assertEqual([program.name for program in joined.programs], ["a", "b", "c"])
        self.assertEqual((joined.status, joined.findings, joined.outside),
                         (errors.FAILED, ["b: crash"], ["outside"]))
        self.assertEqual(joined.report, {"model_version": "1", "unimplemented": [2],
                                         "sanitizer": [1, 3]})

    def test_the_first_has_the_last_word(self) -> None:
        joined = judge.join([judge.Verdict(findings=["first"]), judge.Verdict(findings=["second"])],
                            [])
        self.assertEqual(joined.findings[-1], "first")
