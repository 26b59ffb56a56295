# SPDX-License-Identifier: GPL-2.0-only
"""Numbers of the tests, and the tables made of them."""

import contextlib
import io
import json
import pathlib
import tempfile
import typing
import unittest
import unittest.mock

from tdx_init_mem import cli, compare, errors, job, judge, metrics, paths, rst, steps
from tdx_init_mem.results import Case, Program, Status


def series(*values: float, unit: str = "us", blocked: int = 0) -> metrics.Series:
    return metrics.Series(unit, list(values), ["down_write"] * blocked)


def program(*lines: str) -> Program:
    return Program("tdx_init_mem_perf_test", Status.PASS,
                   cases=[Case("one", Status.PASS, diagnostics=["# seed 1", *lines])])


class Parse(unittest.TestCase):

    def test_samples_of_a_name_are_collected_in_order(self) -> None:
        numbers: metrics.Numbers = {}
        metrics.add(numbers, [program("# metric: b.x.y 2.500 us", "# metric: a.x.y 7.000 %"),
                              program("# metric: b.x.y 3.000 us")])
        self.assertEqual(list(numbers), ["b.x.y", "a.x.y"])
        self.assertEqual(numbers["b.x.y"].values, [2.5, 3.0])
        self.assertEqual(numbers["a.x.y"].unit, "%")

    def test_blocked_is_a_sample_without_a_value(self) -> None:
        numbers: metrics.Numbers = {}
        metrics.add(numbers, [program("# metric: a.b.c blocked in kvm_gmem_fallocate",
                                      "# metric: a.b.c blocked in ")])
        self.assertEqual(numbers["a.b.c"].blocked, ["kvm_gmem_fallocate", ""])
        self.assertEqual((numbers["a.b.c"].values, numbers["a.b.c"].samples), ([], 2))

    def test_what_cannot_be_read_is_no_silence(self) -> None:
        for line in ("# metric: a.b.c", "# metric: a.b.c nan us", "# metric: a.b.c 1.000",
                     "# metric: a.b.c 1 us"):
            with self.assertRaisesRegex(errors.Broken, "not a metric"):
                metrics.add({}, [program(line)])

    def test_units_must_agree(self) -> None:
        with self.assertRaisesRegex(errors.Broken, "in us and in ms"):
            metrics.add({}, [program("# metric: a.b.c 1.000 us", "# metric: a.b.c 1.000 ms")])

    def test_quartiles(self) -> None:
        self.assertEqual(series(5).quartiles, (5, 5))
        self.assertEqual(series(1, 2, 3, 4, 1000).quartiles, (2, 4))


class Difference(unittest.TestCase):

    def test_clear_and_unclear(self) -> None:
        self.assertEqual(compare.difference(series(10, 10, 11), series(20, 20, 21)), "+100.0 %")
        self.assertEqual(compare.difference(series(10, 10, 14), series(9, 11, 12)), "(+10.0 %)")
        self.assertEqual(compare.difference(series(10, 11), series(5, 6)), "-47.6 %")

    def test_zero_is_no_divisor(self) -> None:
        self.assertEqual(compare.difference(series(0), series(0)), "")
        self.assertEqual(compare.difference(series(0), series(5)), "from zero")
        self.assertEqual(compare.difference(series(5), series(0)), "-100.0 %")

    def test_blocked(self) -> None:
        blocked = series(blocked=3)
        self.assertEqual(compare.difference(blocked, series(5)), "not blocked")
        self.assertEqual(compare.difference(series(5), blocked), "NOW BLOCKED")
        self.assertEqual(compare.difference(series(5), series(5, blocked=1)), "NOW BLOCKED")
        self.assertEqual(compare.difference(blocked, series(5, blocked=1)), "")
        self.assertEqual(compare.difference(series(5), series()), "")

    def test_cells(self) -> None:
        self.assertEqual(compare.cell(series()), "not measured")
        self.assertEqual(compare.cell(series(blocked=2)), "blocked")
        self.assertEqual(compare.cell(series(1234.5)), "1234 [1234, 1234]")
        self.assertEqual(compare.cell(series(1.234, blocked=1)),
                         "1.23 [1.23, 1.23], blocked 1 of 2 times")
        self.assertEqual(compare.number(12.34), "12.3")


class Order(unittest.TestCase):

    def test_each_as_often_and_in_turns(self) -> None:
        self.assertEqual(compare.order(2), ["base", "series", "decoupled",
                                            "decoupled", "series", "base"])
        for runs in (1, 3, 10):
            order = compare.order(runs)
            self.assertEqual([order.count(column) for column in compare.COLUMNS], [runs] * 3)

    def test_series_is_on_top_of_the_release(self) -> None:
        one = compare.job_of("v7.3", "series")
        self.assertEqual((one.variant, one.applied[0].name[:4]), ("base", "0001"))
        self.assertEqual(compare.job_of("v7.3", "base").applied, ())


class Table(unittest.TestCase):

    def test_columns_are_as_wide_as_their_widest_cell(self) -> None:
        self.assertEqual(rst.table([["a", "bc"], ["longer", ""]]), [
            "======  ==", "a       bc", "======  ==", "longer", "======  ==", ""])

    def result(self) -> compare.Comparison:
        result = compare.Comparison("v7.3", ["one", "other"])
        result.numbers["base"] = {"parked.enable_cap.took": series(unit="", blocked=1)}
        result.numbers["series"] = {"new.x.y": series(2)}
        result.numbers["decoupled"] = {"parked.enable_cap.took": series(7), "new.x.y": series(1),
                                       "hold.x.y_share": series(5, unit="percent")}
        return result

    def test_rows_have_what_either_variant_said(self) -> None:
        self.assertEqual(compare.rows(self.result())[1:], [
            ["parked, enable cap, took", "us", "blocked", "not measured", "7.00 [7.00, 7.00]", "",
             "not blocked"],
            ["new, x, y", "us", "not measured", "2.00 [2.00, 2.00]", "1.00 [1.00, 1.00]", "", ""],
            ["hold, x, y share", "percent", "not measured", "not measured", "5.00 [5.00, 5.00]",
             "", ""]])

    def test_document_is_rst(self) -> None:
        try:
            import docutils.core  # pylint: disable=import-outside-toplevel
        except ImportError:
            self.skipTest("no docutils")
        html = docutils.core.publish_string(
            compare.document([self.result()]), writer_name="html",
            settings_overrides={"halt_level": 1, "report_level": 1}).decode()
        self.assertIn("not blocked", html)
        self.assertEqual(html.count("<tr>"), 4)

    def test_json_has_every_sample(self) -> None:
        data, = json.loads(compare.as_json([self.result()]))
        self.assertEqual(data["numbers"]["parked.enable_cap.took"]["base"]["blocked"],
                         ["down_write"])
        self.assertEqual(list(data["numbers"]["new.x.y"]), ["series", "decoupled"])


class Run(unittest.TestCase):
    """With the machine left out."""

    def compare(self, verdicts: typing.Sequence[judge.Verdict], *options: str
                ) -> typing.Tuple[int, str, typing.List[str]]:
        text = io.StringIO()
        booted: typing.List[str] = []
        queue = list(verdicts)

        def boot(_out: steps.Steps, one: job.Job, _built: job.Built, _where: pathlib.Path
                 ) -> judge.Verdict:
            booted.append("series" if one.applied else one.variant)
            return queue.pop(0)

        with tempfile.TemporaryDirectory() as name, contextlib.redirect_stdout(text), \
                unittest.mock.patch.object(paths, "locked"), \
                unittest.mock.patch.object(job, "prepare"), \
                unittest.mock.patch.object(job, "boot_all", side_effect=boot), \
                unittest.mock.patch.object(job, "run_directory", return_value=pathlib.Path(name)):
            status = cli.main(["compare", "--kernel", "v7.3", *options])
        return status, text.getvalue(), booted

    def good(self, value: int) -> judge.Verdict:
        return judge.Verdict(programs=[program(f"# metric: hole.quiet.median {value}.000 us")])

    def test_table_of_passing_runs(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            file = pathlib.Path(name) / "table.rst"
            status, text, booted = self.compare(
                [self.good(value) for value in (10, 5, 20, 20, 7, 12)], "--runs", "2",
                "--rst", str(file))
            self.assertIn("hole, quiet, median", file.read_text(encoding="utf-8"))
        self.assertEqual((status, booted), (errors.PASSED, compare.order(2)))
        self.assertRegex(text, r"hole, quiet, median +us +11\.0 .* 6\.00 .* 20\.0 .* -45\.5 % +\+81\.8 %")

    def test_samples_of_earlier_calls_are_added(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            first, second = (str(pathlib.Path(name) / file) for file in ("1.json", "2.json"))
            self.compare([self.good(10), self.good(5), self.good(20)], "--runs", "1",
                         "--json", first)
            status, text, _ = self.compare([self.good(12), self.good(7), self.good(24)],
                                           "--runs", "1",
                                           "--json", second, "--add", first)
            self.assertIn("runs: base 2, series 2, decoupled 2", text)
            status, again, booted = self.compare([], "--runs", "0", "--add", second)
        self.assertEqual((status, booted), (errors.PASSED, []))
        for both in text, again:
            self.assertRegex(both, r"hole, quiet, median +us +11\.0 .* 22\.0 .* \+100\.0 %")

    def test_samples_of_another_kernel_are_refused(self) -> None:
        with tempfile.TemporaryDirectory() as name, contextlib.redirect_stderr(io.StringIO()):
            file = pathlib.Path(name) / "1.json"
            self.compare([self.good(10), self.good(5), self.good(20)], "--runs", "1",
                         "--json", str(file))
            file.write_text(file.read_text(encoding="utf-8").replace("7.3.4", "7.3.5"),
                            encoding="utf-8")
            status, _, booted = self.compare([], "--add", str(file))
            self.assertEqual((status, booted), (errors.BROKEN, []))
            file.write_text("[{}]", encoding="utf-8")
            status, _, booted = self.compare([], "--add", str(file))
        self.assertEqual((status, booted), (errors.BROKEN, []))

    def test_failed_run_is_left_out_and_told(self) -> None:
        status, text, _ = self.compare(
            [self.good(10), self.good(5), judge.Verdict(errors.FAILED, [], ["WARNING at x"])],
            "--runs", "1")
        self.assertEqual(status, errors.FAILED)
        self.assertIn("v7.3 decoupled: ", text)
        self.assertIn("WARNING at x", text)
        self.assertIn("runs: base 1, series 1, decoupled 0", text)

    def test_unwritable_file_is_found_out_first(self) -> None:
        with contextlib.redirect_stderr(io.StringIO()):
            status, _, booted = self.compare([], "--rst", "/no/such/file")
        self.assertEqual((status, booted), (errors.BROKEN, []))

    def test_line_without_the_series_is_wrong_usage(self) -> None:
        with contextlib.redirect_stderr(io.StringIO()), self.assertRaises(SystemExit):
            self.compare([], "--kernel", "v6.16")


if __name__ == "__main__":
    unittest.main()
