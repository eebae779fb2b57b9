"""`ubm-embed inspect`, as a shell sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ubm_embed.data.corpus import INTERACTIONS_FILE
from ubm_embed.data.sample_shop import write_sample_shop

ROOT = Path(__file__).parents[2]
Shell = Callable[..., Any]  # returns a `Ran` of tests/cli/conftest.py
SECTIONS = ["sessions", "products", "texts", "times", "order", "verdict", "traffic", "tasks", "dropped"]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    write_sample_shop(tmp_path / "shop", products=60, sessions=400)
    return tmp_path / "shop"


def test_as_json(ubm: Shell, shop: Path) -> None:
    ran = ubm("inspect", shop)
    assert ran.code == 0
    document = json.loads(ran.out)
    assert list(document) == [*SECTIONS, "findings"]
    assert document["sessions"]["sessions"] == 400
    assert document["dropped"] is None
    assert {"severity", "section", "problem", "remedy"} == document["findings"][0].keys()
    assert ran.err.splitlines()[-1].startswith(f"{shop}: ")


def test_as_lines(ubm: Shell, shop: Path) -> None:
    document = json.loads(ubm("inspect", shop).out)
    lines = [json.loads(line) for line in ubm("inspect", shop, "--format", "jsonl").out.splitlines()]
    assert [line["finding"] for line in lines if "finding" in line] == document.pop("findings")
    assert {line["section"]: line["figures"] for line in lines if "section" in line} == document


def test_as_tables(ubm: Shell, shop: Path) -> None:
    ran = ubm("inspect", shop, "--format", "table")
    assert ran.code == 0
    first, *rest = ran.out.splitlines()
    severity, _, words = first.partition(", ")
    assert severity in ("error", "warning", "note")
    assert ": " in words
    for title in ("Sessions", "Products", "Texts", "Times (UTC)", "Order within sessions", "Examples of each task"):
        assert any(line.startswith(title) for line in rest)


def test_the_page(ubm: Shell, shop: Path, tmp_path: Path) -> None:
    ran = ubm("inspect", shop, "--html", tmp_path / "new" / "page.html")
    assert ran.code == 0
    page = (tmp_path / "new" / "page.html").read_text("utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "<h1>Corpus shop</h1>" in page


def test_a_page_cannot_replace_a_folder(ubm: Shell, shop: Path, tmp_path: Path) -> None:
    ran = ubm("inspect", shop, "--html", tmp_path)
    assert (ran.code, ran.out) == (5, "")


def test_what_ingest_dropped(ubm: Shell, shop: Path, tmp_path: Path) -> None:
    report = {"events": 10, "dropped": {"product without text": 4}}
    (tmp_path / "report.json").write_text(json.dumps(report))
    ran = ubm("inspect", shop, "--ingest-report", tmp_path / "report.json")
    assert json.loads(ran.out)["dropped"]["unknown_product_share"] == 0.4


def test_tokens_of_a_model(ubm: Shell, shop: Path, model_folder: Path) -> None:
    assert json.loads(ubm("inspect", shop, "--model", model_folder).out)["texts"]["counted_in"] == "tokens"


def test_a_title_cannot_steer_the_terminal(ubm: Shell, shop: Path) -> None:
    file = shop / INTERACTIONS_FILE
    pl.read_parquet(file).with_columns(pl.format("\x1b[31m{}", "session_id").alias("session_id")).write_parquet(file)
    ran = ubm("inspect", shop, "--format", "table")
    assert ran.code == 0
    assert "\x1b[31m" not in ran.out


@pytest.mark.parametrize("option", ["--model", "--ingest-report", None])
def test_what_is_not_there(ubm: Shell, shop: Path, tmp_path: Path, option: str | None) -> None:
    arguments = (tmp_path / "nowhere",) if option is None else (shop, option, tmp_path / "nowhere")
    ran = ubm("inspect", *arguments, "--html", tmp_path / "page.html")
    assert (ran.code, ran.out) == (4, "")
    assert "nowhere" in ran.err
    assert not (tmp_path / "page.html").exists()


def test_a_broken_corpus(ubm: Shell, shop: Path) -> None:
    (shop / INTERACTIONS_FILE).write_bytes(b"half")
    ran = ubm("inspect", shop)
    assert (ran.code, ran.out) == (3, "")
    assert INTERACTIONS_FILE in ran.err


def test_in_a_new_process(shop: Path) -> None:
    command = [sys.executable, "-m", "cli", "inspect", str(shop), "--format", "jsonl"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= len(SECTIONS)
