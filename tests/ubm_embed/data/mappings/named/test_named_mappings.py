"""Every ready-made mapping reads a small file of its shape through the command line.

A shape is a folder `samples/NAME`: the files as the tool writes them, and `expected.json`:

    from        the mapping's name, where it is not the folder's
    sources     files to ingest; without it the folder
    catalogue   a file of products beside the log
    products_by the mapping that reads it, if another
    sessions    by name, each a list of `ACTION ID` or `search PHRASE`, in order
    products    by id, the fields that are not empty; attributes as an object
    dropped     counts by reason
    taken_back, lost, catalogues: as in the report, if there are any; the last by the file's name
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cli.main import run
from ubm_embed.data.corpus import Corpus

SAMPLES = Path(__file__).parent / "samples"
SHAPES = sorted(file.parent.name for file in SAMPLES.glob("*/expected.json"))
NAMED = Path(__file__).parents[5] / "ubm_embed/data/mappings/named"


@pytest.mark.parametrize("shape", SHAPES)
def test_a_sample_becomes_the_expected_corpus(shape: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = json.loads((SAMPLES / shape / "expected.json").read_text("utf-8"))
    log = shutil.copytree(SAMPLES / shape, tmp_path / "log", ignore=shutil.ignore_patterns("expected.json"))
    sources = [str(log / name) for name in expected.get("sources", [""])]
    options = ["--from", expected.get("from", shape), "--out", str(tmp_path / "out")]
    if "catalogue" in expected:
        options += ["--catalogue", str(log / expected["catalogue"])]
    if "products_by" in expected:
        options += ["--catalogue-map", expected["products_by"]]
    code = run(["ingest", *sources, *options, "--report", str(tmp_path / "report.json")])
    assert code == 0, capsys.readouterr().err
    report = json.loads((tmp_path / "report.json").read_text("utf-8"))
    corpus = Corpus.open(tmp_path / "out")
    assert _sessions(corpus) == expected["sessions"]
    assert _products(corpus) == expected["products"]
    assert report["dropped"] == expected["dropped"]
    assert report["taken_back"] == expected.get("taken_back", 0)
    assert report["lost"] == expected.get("lost", {})
    changes = {Path(file).name: lines for file, lines in report["catalogues"].items()}
    assert changes == expected.get("catalogues", {})
    kept = sum(map(len, expected["sessions"].values()))
    assert report["events"] == kept + report["taken_back"] + sum(expected["dropped"].values())


def test_a_mapping_of_products_reads_no_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "feed.csv").write_text("id,title\n1,Shoe\n")
    code = run(["ingest", str(tmp_path / "feed.csv"), "--from", "google_merchant", "--out", str(tmp_path / "out")])
    assert code == 3
    assert "--catalogue" in capsys.readouterr().err


def test_every_named_mapping_has_a_sample() -> None:
    samples = {shape: json.loads((SAMPLES / shape / "expected.json").read_text("utf-8")) for shape in SHAPES}
    tried = {
        name for shape, sample in samples.items() for name in (sample.get("from", shape), sample.get("products_by"))
    }
    assert {file.stem for file in NAMED.glob("*.toml")} <= tried


def _sessions(corpus: Corpus) -> dict[str, list[str]]:
    sessions: dict[str, list[str]] = {}
    for row in corpus.interactions.sort("session_id", "position").iter_rows(named=True):
        acted_on = row["query"] if row["action"] == "search" else row["product_id"]
        sessions.setdefault(row["session_id"], []).append(f"{row['action']} {acted_on}")
    return sessions


def _products(corpus: Corpus) -> dict[str, dict[str, Any]]:
    return {row.pop("product_id"): _filled(row) for row in corpus.products.to_dicts()}


def _filled(row: dict[str, Any]) -> dict[str, Any]:
    row["attributes"] = {pair["name"]: pair["value"] for pair in row["attributes"]}
    return {name: value for name, value in row.items() if value not in (None, {}, "")}
