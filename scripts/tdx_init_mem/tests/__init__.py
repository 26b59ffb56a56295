# SPDX-License-Identifier: GPL-2.0-only
"""Unit tests of the runner: python3 -m unittest discover -s scripts -t scripts"""

import pathlib

DATA = pathlib.Path(__file__).resolve().parent / "data"


def saved(name: str) -> str:
    return (DATA / name).read_text(encoding="utf-8")
