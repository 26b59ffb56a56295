# SPDX-License-Identifier: GPL-2.0-only
"""Writes results: for the eye, and as KTAP, JUnit XML and JSON for machines."""

import json
import pathlib
import re
import typing
import xml.etree.ElementTree as xml

from . import errors, judge, ktap, paths, sanitizer, steps
from .results import Program, Status

COLOUR = {Status.PASS: "green", Status.SKIP: "yellow", Status.KNOWN: "yellow",
          Status.NOT_RUN: "yellow"}
WORDS = {errors.PASSED: "pass", errors.FAILED: "FAIL", errors.NOT_BUILT: "not built",
         errors.BROKEN: "BROKEN"}
# The first failures in full, more of them as one line each, all of them in the files.
SHOWN_DIAGNOSTICS = 8
SHOWN_IN_FULL = 3
SHOWN_CASES = 20
_ILLEGAL_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd]")


def print_programs(out: steps.Steps, programs: typing.Sequence[Program]) -> None:
    width = max((len(program.family) for program in programs), default=0)
    for program in programs:
        status = out.paint(COLOUR.get(program.status, "red"), f"{program.status.value:7}")
        counts = ", ".join(f"{program.count(kind)} {kind.value}" for kind in Status
                           if program.count(kind))
        reason = f"  {program.reason}" if program.reason else ""
        out.say(f"  {program.family:{width}}  {status}  {counts}{reason}")
        for case in program.cases:
            if case.status is Status.KNOWN:
                out.say(f"      known bug: {case.name}: {case.reason}")
        failed = [case for case in program.cases
                  if case.status.bad and case.status is not Status.NOT_RUN]
        for number, case in enumerate(failed[:SHOWN_CASES]):
            line = ktap.line(case.status, program.cases.index(case) + 1, case.name, case.reason)
            out.say(f"      {line}")
            for text in case.diagnostics[-SHOWN_DIAGNOSTICS:] if number < SHOWN_IN_FULL else []:
                out.say(f"        {text}")
        if len(failed) > SHOWN_CASES:
            out.say(f"      ... and {len(failed) - SHOWN_CASES} more")
        if program.status.bad and not failed:
            for text in program.diagnostics[-SHOWN_DIAGNOSTICS:]:
                out.say(f"        {text}")


def print_end(out: steps.Steps, verdict: judge.Verdict, directory: pathlib.Path) -> None:
    """The verdict, with what matters most in the last line."""
    bad = sum(program.status.bad for program in verdict.programs)
    colour = "green" if verdict.status == errors.PASSED else "red"
    for line in sanitizer.details(verdict.report):
        out.say(line)
    out.say(out.time_table())
    out.say(f"logs: {paths.shown(directory)}/console.log, ktap.log, run.log")
    cases = sum(len(program.cases) for program in verdict.programs)
    out.say(out.paint(colour, f"result: {WORDS[verdict.status]}: "
                      f"{len(verdict.programs) - bad} of {len(verdict.programs)} programs as they "
                      f"should be, {cases} cases"))
    for finding in verdict.findings:
        out.say(out.paint(colour, f"  {finding}"))


def write_files(verdict: judge.Verdict, headline: str,
                times: typing.Sequence[typing.Tuple[str, float]],
                ktap_file: typing.Optional[pathlib.Path],
                junit_file: typing.Optional[pathlib.Path],
                json_file: typing.Optional[pathlib.Path]) -> None:
    for file, content in ((ktap_file, lambda: ktap.write(verdict.programs, headline)),
                          (junit_file, lambda: junit(verdict, headline)),
                          (json_file, lambda: as_json(verdict, headline, times))):
        if file:
            try:
                file.write_text(content(), encoding="utf-8")
            except OSError as error:
                raise errors.Broken(f"cannot write {file}: {error.strerror}") from None


def junit(verdict: judge.Verdict, headline: str) -> str:
    top = xml.Element("testsuites", name=headline)
    for program in verdict.programs:
        suite = xml.SubElement(top, "testsuite", name=program.name,
                               time=f"{program.seconds:.1f}",
                               tests=str(max(len(program.cases), 1)),
                               failures=str(sum(case.status.bad for case in program.cases)
                                            or int(program.status.bad)))
        if program.splats:
            xml.SubElement(suite, "system-err").text = legal("\n".join(
                splat.name for splat in program.splats))
        for case in program.cases:
            add_case(suite, program.name, case.name, case.status, case.reason, case.diagnostics)
        if not program.cases or (program.status.bad
                                 and not any(case.status.bad for case in program.cases)):
            add_case(suite, program.name, program.name, program.status, program.reason,
                     program.diagnostics)
    xml.indent(top)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + xml.tostring(top, encoding="unicode") + "\n"


def add_case(suite: xml.Element, program: str, name: str, status: Status, reason: str,
             diagnostics: typing.Sequence[str]) -> None:
    case = xml.SubElement(suite, "testcase", classname=program, name=legal(name))
    text = legal("\n".join(diagnostics))
    if status in (Status.SKIP, Status.KNOWN):
        xml.SubElement(case, "skipped", message=legal(f"{status.value}: {reason}"))
    elif status.bad:
        xml.SubElement(case, "failure", message=legal(f"{status.value}: {reason}")).text = text


def legal(text: str) -> str:
    return _ILLEGAL_XML.sub("?", text)


def as_json(verdict: judge.Verdict, headline: str,
            times: typing.Sequence[typing.Tuple[str, float]]) -> str:
    return json.dumps({
        "headline": headline,
        "status": verdict.status,
        "findings": verdict.findings,
        "programs": [{
            "name": program.name,
            "status": program.status.value,
            "reason": program.reason,
            "seconds": round(program.seconds, 1),
            "splats": [{"name": splat.name, "quote": splat.quote, "hang": splat.hang}
                       for splat in program.splats],
            "cases": [{"name": case.name, "status": case.status.value, "reason": case.reason,
                       "diagnostics": case.diagnostics} for case in program.cases],
        } for program in verdict.programs],
        "emulator": verdict.report,
        "seconds": [{"phase": name, "seconds": round(took, 1)} for name, took in times],
    }, indent=1) + "\n"


def table(rows: typing.Sequence[typing.Sequence[str]], header: int = 1) -> typing.List[str]:
    """Plain columns; the first @header rows are the head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
             for row in rows]
    lines.insert(header, "  ".join("-" * width for width in widths))
    return lines
