"""A report says where its figures come from and is written whole."""

from __future__ import annotations

import json
import os
import platform
import socket
from pathlib import Path

import pytest

from benchmarks.report import markdown_table, report_header, versions, write_report


def test_a_heading_says_machine_versions_date_and_settings() -> None:
    report = report_header("speed", {"steps": 3}, packages=("pytest",))
    assert report["benchmark"] == "speed"
    assert report["date"].endswith("+00:00")
    assert report["settings"] == {"steps": 3}
    assert report["versions"]["python"] == platform.python_version()
    assert report["versions"]["pytest"] == pytest.__version__
    assert 1 <= report["machine"]["cores"] <= (os.cpu_count() or 1)
    assert socket.gethostname() not in json.dumps(report), "a report is published: no names"


def test_a_package_that_is_not_installed_has_no_version() -> None:
    assert list(versions(["no-such-package-at-all"])) == ["python"]


def test_a_report_replaces_the_one_before_it(tmp_path: Path) -> None:
    for figure in (1, 2):
        write_report({"benchmark": "speed", "figure": figure}, tmp_path / "results" / "speed.json")
    assert [file.name for file in (tmp_path / "results").iterdir()] == ["speed.json"]
    assert json.loads((tmp_path / "results" / "speed.json").read_text("utf-8"))["figure"] == 2


def test_a_report_that_cannot_be_written_leaves_the_one_before_it(tmp_path: Path) -> None:
    file = write_report({"benchmark": "speed"}, tmp_path / "speed.json")
    with pytest.raises(TypeError):
        write_report({"benchmark": "speed", "figure": object()}, file)
    assert json.loads(file.read_text("utf-8")) == {"benchmark": "speed"}
    assert list(tmp_path.iterdir()) == [file]


def test_a_table_is_aligned() -> None:
    assert markdown_table(("form", "s"), [("ours", "1.5"), ("plain", "20")]).splitlines() == [
        "| form  |   s |",
        "| ----- | --: |",
        "| ours  | 1.5 |",
        "| plain |  20 |",
    ]
