# SPDX-License-Identifier: GPL-2.0-only
"""Coverage: counters of a guest, the JSON of gcov, sums, functions of a source, the verdict."""

import base64
import gzip
import io
import json
import typing
import unittest
import unittest.mock

from tdx_init_mem import (c_functions, coverage, coverage_reasons, coverage_scope, errors, gcov,
                          steps)

SOURCE = """\
struct pair {
\tint one, other;
};

static int helper(int a)
{
\treturn a;
}

/* Calls not_me() in a comment only. */
int tdx_vcpu_init_mem_region(struct kvm_vcpu *vcpu,
\t\t\t     int b)
{
\tif (b)
\t\treturn helper(b);
\treturn -EIO;
}

int not_me(void)
{
\treturn 0;
}
"""
TDX = coverage_scope.TDX


def dump(*files: typing.Tuple[str, bytes], end: str = "end\n") -> str:
    text = "begin tdx_init_mem_abi_test\n"
    for name, content in files:
        text += f"file {name}\n" + base64.encodebytes(gzip.compress(content)).decode()
    return text + end


def counted(counts: typing.Mapping[int, int]) -> gcov.Lines:
    return {TDX: {number: gcov.Line(count) for number, count in counts.items()}}


class Counters(unittest.TestCase):

    def test_the_last_complete_set_counts(self) -> None:
        first, second = dump(("/obj/a.gcda", b"1" * 500)), dump(("/obj/a.gcda", b"2" * 500))
        self.assertEqual(gcov.last_counters(first + second), {"/obj/a.gcda": b"2" * 500})
        self.assertEqual(gcov.last_counters(first + second[:-40]), {"/obj/a.gcda": b"1" * 500})
        self.assertEqual(gcov.last_counters(""), {})

    def test_a_set_with_a_damaged_file_is_none(self) -> None:
        good = dump(("/obj/a.gcda", b"1"))
        for bad in ("begin x\nfile /obj/a.gcda\n????\nend\n",
                    "begin x\nfile /obj/a.gcda\nAAAA\nend\n"):
            self.assertEqual(gcov.last_counters(good + bad), {"/obj/a.gcda": b"1"})


class Json(unittest.TestCase):

    TEXT = json.dumps({"files": [
        {"file": "../../tree/v7.3-base-gcov/arch/x86/kvm/../../../virt/kvm/guest_memfd.c",
         "lines": [
            {"line_number": 7, "function_name": "f", "count": 2, "branches": [
                {"count": 2}, {"count": 0}]},
            {"line_number": 7, "function_name": "g", "count": 1, "branches": [
                {"count": 0}, {"count": 1}]},
            {"line_number": 8, "function_name": "g", "count": 0, "branches": []}]},
        {"file": "./include/generated/x.h", "lines": []}]})

    def test_copies_of_a_line_are_one(self) -> None:
        self.assertEqual(gcov.parse(self.TEXT, "v7.3-base-gcov"), {
            coverage_scope.GMEM: {7: gcov.Line(3, [2, 1]), 8: gcov.Line(0, [])}})

    def test_boots_add_up(self) -> None:
        total = gcov.parse(self.TEXT, "v7.3-base-gcov")
        gcov.merge(total, {coverage_scope.GMEM: {8: gcov.Line(4, [4]), 9: gcov.Line(1)}, "x.c": {}})
        self.assertEqual(total[coverage_scope.GMEM], {
            7: gcov.Line(3, [2, 1]), 8: gcov.Line(4, [4]), 9: gcov.Line(1)})


class Source(unittest.TestCase):

    def test_functions_begin_with_their_name_and_end_with_the_brace(self) -> None:
        self.assertEqual(c_functions.functions(SOURCE), [
            c_functions.Function("helper", 5, 8),
            c_functions.Function("tdx_vcpu_init_mem_region", 11, 17),
            c_functions.Function("not_me", 19, 22)])

    def test_what_is_called_is_reached(self) -> None:
        self.assertEqual(c_functions.reached([SOURCE], ["tdx_vcpu_init_mem_region", "unknown"]),
                         {"tdx_vcpu_init_mem_region", "helper"})


class Verdict(unittest.TestCase):

    def judge(self, counts: typing.Mapping[int, int], *reasons: coverage_reasons.Reason
              ) -> typing.Tuple[int, str]:
        text = io.StringIO()
        with unittest.mock.patch.object(coverage_reasons, "REASONS", reasons), \
                unittest.mock.patch("sys.stdout", text):
            status = coverage.judge(steps.Steps(), {TDX: SOURCE}, counted(counts))
        return status, text.getvalue()

    def test_full_coverage_passes(self) -> None:
        status, text = self.judge({5: 1, 7: 1, 11: 3, 14: 3, 15: 1, 16: 2, 21: 0})
        self.assertEqual(status, errors.PASSED)
        self.assertIn("100.0 %", text)

    def test_a_missing_line_needs_a_reason(self) -> None:
        counts = {number: 1 for number in (5, 6, 7, 8, 11, 12, 13, 14, 15, 17)}
        status, text = self.judge({**counts, 16: 0})
        self.assertEqual(status, errors.FAILED)
        self.assertIn(f"{TDX}:16 tdx_vcpu_init_mem_region: return -EIO;\n    no reason known", text)
        why = coverage_reasons.Reason("tdx_vcpu_init_mem_region", "-EIO", "hardware breaks")
        status, text = self.judge({**counts, 16: 0}, why)
        self.assertEqual(status, errors.PASSED)
        self.assertIn("    hardware breaks", text)

    def test_a_reason_may_begin_in_the_line_before(self) -> None:
        lines = ["int f(int a)", "{", "\tif (a)", "\t\treturn  1;", "\treturn 2;"]
        self.assertTrue(coverage.is_at("if (a) return 1;", lines, 4))
        self.assertTrue(coverage.is_at("int f(", lines, 1))
        self.assertFalse(coverage.is_at("if (a)", lines, 4))
        self.assertFalse(coverage.is_at("return 1;", lines, 5))

    def test_reasons_do_not_replace_the_minimum(self) -> None:
        why = coverage_reasons.Reason("tdx_vcpu_init_mem_region", "", "who knows")
        self.assertEqual(self.judge({7: 1, 14: 1, 15: 0, 16: 0}, why)[0], errors.FAILED)

    def test_a_reason_for_a_line_that_runs_is_reported(self) -> None:
        stale = coverage_reasons.Reason("helper", "return a", "never")
        elsewhere = coverage_reasons.Reason("helper", "not in this kernel", "never")
        _, text = self.judge({7: 1, 14: 1, 15: 1, 16: 1}, stale, elsewhere)
        self.assertIn("its reason can go: helper: return a\n", text)
        self.assertNotIn("not in this kernel", text)


class Scope(unittest.TestCase):

    def test_reasons_are_unique_and_say_something(self) -> None:
        keys = [(one.function, one.text) for one in coverage_reasons.REASONS]
        self.assertEqual(len(keys), len(set(keys)))
        self.assertTrue(all(one.reason for one in coverage_reasons.REASONS))
