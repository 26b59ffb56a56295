# SPDX-License-Identifier: GPL-2.0-only
"""What is left of a failed case's diagnostics, and the page of such messages."""

import typing
import unittest
import unittest.mock

from tdx_init_mem import compose, failures

PLACE = "# x86/tdx_init_mem/tdx_init_mem_abi_test.c:303:page_twice_fails:"
SAID = ("Random seed: 0x1", "# tdx_init_mem: host=emulated kernel=7.3.4 model=0.2",
        f"{PLACE}Expected 0 (0) != tdx_errno_allows(twice_errno, -r) (0)",
        f"{PLACE}  want EEXIST, got success", "# page_twice_fails: Test failed")
ASSERTED = ("", "==== Test Assertion Failure ====", "  lib/kvm_util.c:1372: vcpu->fd >= 0",
            "  pid=103 tid=103 errno=16 - Device or resource busy", "  (stack trace empty)",
            "  KVM_CREATE_VCPU failed, rc: -1 errno: 16 (Device or resource busy)")


class Speech(unittest.TestCase):

    def test_words_of_the_test_go_before_its_expression(self) -> None:
        self.assertEqual(failures.speech(SAID), ("  want EEXIST, got success",))

    def test_expression_where_there_are_no_words(self) -> None:
        self.assertEqual(failures.speech(SAID[:3]),
                         ("Expected 0 (0) != tdx_errno_allows(twice_errno, -r) (0)",))

    def test_assertion_of_the_library(self) -> None:
        self.assertEqual(failures.speech(ASSERTED), (
            "KVM_CREATE_VCPU failed, rc: -1 errno: 16 (Device or resource busy)",))

    def test_nothing_twice(self) -> None:
        self.assertEqual(len(failures.speech(SAID * 2)), 1)

    def test_nothing_but_noise(self) -> None:
        self.assertEqual(failures.speech(SAID[:2]), ())


class Page(unittest.TestCase):

    @staticmethod
    def page(*killers: typing.Tuple[str, str, str, typing.Sequence[str]]) -> str:
        result = {"id": "one", "line": "v7.3", "variant": "decoupled", "breaks": "It breaks.",
                  "found_by": [dict(zip(("family", "case", "finding", "says"), killer))
                               for killer in killers]}
        programs = ["tdx_init_mem_abi_test", "tdx_init_mem_perf_test"]
        with unittest.mock.patch.object(compose, "programs", lambda: programs):
            return failures.page([result])

    def test_family_with_its_mutant_and_case(self) -> None:
        text = self.page(("abi", "order.page_twice_fails", "", failures.speech(SAID)))
        self.assertIn("one (v7.3, decoupled): It breaks.", text)
        self.assertIn("      want EEXIST, got success\n    not ok order.page_twice_fails\n", text)

    def test_a_case_with_words_goes_before_an_earlier_one_without(self) -> None:
        text = self.page(("abi", "first", "", failures.speech(SAID[:3])),
                         ("abi", "second", "", failures.speech(SAID)))
        self.assertIn("not ok second", text)
        self.assertNotIn("not ok first", text)

    def test_a_case_that_hangs_has_the_findings(self) -> None:
        text = self.page(("abi", "first", "", ()), ("abi", "", "hung task: blocked in a()", ()),
                         ("perf", "", "of another", ()))
        self.assertIn("    hung task: blocked in a()\n    not ok first\n", text)
        self.assertNotIn("of another", text)

    def test_family_without_a_mutant_is_named(self) -> None:
        self.assertIn("perf\n----\n\nNone of these", self.page())


if __name__ == "__main__":
    unittest.main()
