# SPDX-License-Identifier: GPL-2.0-only
"""The tables themselves."""

import fnmatch
import unittest

from tdx_init_mem import compose, expectations, known_issues, lines

ROWS = (*known_issues.KNOWN, *expectations.SKIPS, *expectations.DETECTIONS)


class Tables(unittest.TestCase):

    def test_rows_are_of_programs_and_kernels_that_there_are(self) -> None:
        variants = [*lines.VARIANTS, *(stage.variant for stage in expectations.STAGES)]
        for row in ROWS:
            self.assertTrue(fnmatch.filter(compose.programs(), row.program), row)
            self.assertTrue(fnmatch.filter(lines.LINES, row.line), row)
            self.assertTrue(fnmatch.filter(variants, row.variant), row)

    def test_bugs_are_explained(self) -> None:
        for row in known_issues.KNOWN:
            self.assertIsInstance(row.fix, str, row)
            self.assertTrue(row.fix, row)
            self.assertIsInstance(row.traces, tuple, row)


class Issues(unittest.TestCase):

    def test_neighbours_are_one_span(self) -> None:
        self.assertEqual(known_issues.span(["v6.16", "v6.17", "v6.19", "v7.2", "v7.3"]),
                         "v6.16-v6.17, v6.19, v7.2-v7.3")

    def test_a_bug_is_listed_once(self) -> None:
        issues = known_issues.of_releases()
        self.assertEqual(len(issues), len({(case, fix) for _, case, fix in issues}))
        self.assertIn(("v6.16-v6.17", "prefault/prefault.while_slot_is_deleted_ends",
                       known_issues.PREFAULT_DELETION), issues)

    def test_what_a_series_has_in_its_middle_is_none(self) -> None:
        self.assertNotIn(known_issues.RETRIED, [fix for _, _, fix in known_issues.of_releases()])
