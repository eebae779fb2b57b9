"""`ubm-embed diagnose`, as a shell sees it."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import polars as pl
import pytest

from cli.diagnose import diagnose
from cli.diagnose_options import SETTINGS
from cli.main import run
from indexer.diagnostics.geometry.space_health import space_section
from indexer.diagnostics.json_schema import document_schema, schema_text
from indexer.diagnostics.metric_names import METRIC_NEEDS
from indexer.diagnostics.report import Section
from indexer.diagnostics.settings import DiagnosisSettings
from indexer.diagnostics.space import VersionSpace
from indexer.updates.updater import Updater
from ubm_embed.data.corpus import INTERACTIONS_FILE, PRODUCTS_FILE

ROOT = Path(__file__).parents[2]
Shell = Callable[..., Any]  # returns a `Ran` of tests/cli/conftest.py


@pytest.fixture
def corpus(tmp_path: Path, products: pl.DataFrame) -> Path:
    """Forty sessions of the toy shop."""
    (tmp_path / "corpus").mkdir()
    products.write_parquet(tmp_path / "corpus" / PRODUCTS_FILE)
    rows = [
        {
            "session_id": f"s{session}",
            "position": position,
            "action": "view",
            "product_id": f"p{1 + (session + position) % 8}",
        }
        for session in range(40)
        for position in range(4)
    ]
    pl.DataFrame(rows).write_parquet(tmp_path / "corpus" / INTERACTIONS_FILE)
    return tmp_path / "corpus"


def test_the_published_schema_is_that_of_the_code(ubm: Shell) -> None:
    file = ROOT / "docs" / "diagnosis.schema.json"
    assert file.read_text("utf-8") == schema_text(), (
        "write it: ubm-embed diagnose --schema > docs/diagnosis.schema.json"
    )
    jsonschema.Draft202012Validator.check_schema(document_schema())
    assert json.loads(ubm("diagnose", "--schema").out) == document_schema()


def test_options_have_the_defaults_of_the_settings() -> None:
    defaults = {name: inspect.signature(diagnose).parameters[name].default for name in SETTINGS}
    assert defaults == DiagnosisSettings().model_dump()


class TestAVersion:
    def test_as_json(self, ubm: Shell, nights: Path, corpus: Path) -> None:
        ran = ubm("diagnose", "--store", nights, "--against", 2, "--corpus", corpus)
        assert ran.code == 0
        document = json.loads(ran.out)
        jsonschema.validate(document, document_schema(), cls=jsonschema.Draft202012Validator)
        assert document["subject"]["version"] == 3
        assert {"alignment", "space", "integrity", "answers", "changes", "timeline"} <= document["sections"].keys()
        assert ran.err.splitlines()[-1].startswith(f"{nights}, version 3 against 2: ")

    def test_a_seed_gives_one_report(self, ubm: Shell, nights: Path, corpus: Path) -> None:
        runs = [json.loads(ubm("diagnose", "--store", nights, "--corpus", corpus).out) for _ in range(2)]
        for document in runs:
            del document["created"]
        assert runs[0] == runs[1]

    def test_as_lines(self, ubm: Shell, nights: Path) -> None:
        document = json.loads(ubm("diagnose", "--store", nights).out)
        lines = [json.loads(line) for line in ubm("diagnose", "--store", nights, "--format", "jsonl").out.splitlines()]
        report, *others = lines
        assert report["report"]["subject"] == document["subject"]
        assert [line["finding"] for line in others if "finding" in line] == document["findings"]
        sections = {line.pop("section"): line for line in others if "section" in line}
        assert sections == document["sections"]

    def test_as_tables(self, ubm: Shell, nights: Path) -> None:
        document = json.loads(ubm("diagnose", "--store", nights).out)
        ran = ubm("diagnose", "--store", nights, "--format", "table")
        assert ran.code == 0
        for section in document["sections"].values():
            assert section["title"] in ran.out
            for metric in section["metrics"]:
                assert metric in ran.out
        for finding in document["findings"]:
            assert f"{finding['severity']}, {finding['fault']}: {finding['problem']}" in ran.out

    def test_by_tag(self, ubm: Shell, nights: Path) -> None:
        assert ubm("versions", "tag", "before", 1, "--store", nights).code == 0
        ran = ubm("diagnose", "--store", nights, "--version", 2, "--against", "before")
        assert ran.code == 0
        assert json.loads(ran.out)["subject"] | {"version": 2, "against": 1} == json.loads(ran.out)["subject"]

    def test_what_was_left_out_is_said(self, ubm: Shell, nights: Path, corpus: Path) -> None:
        notes = json.loads(ubm("diagnose", "--store", nights).out)["notes"]
        assert any("--corpus" in note for note in notes)
        assert any("--against" in note for note in notes)
        notes = json.loads(ubm("diagnose", "--store", nights, "--corpus", corpus, "--against", 1).out)["notes"]
        assert not any("--corpus" in note or "--against" in note for note in notes)

    def test_a_revision_that_is_left_out_is_said(self, ubm: Shell, nights: Path) -> None:
        before = json.loads(ubm("diagnose", "--store", nights).out)
        with Updater(nights) as updater:
            updater.upsert([{"product_id": "p9", "title": "green hat"}])
            updater.delete(["p8"])
        after = json.loads(ubm("diagnose", "--store", nights).out)
        note = "the changes of revision 3.2 were not looked at; the next refresh makes them part of a version"
        assert after["notes"] == [*before["notes"], note]
        assert after["sections"] == before["sections"]

    def test_a_version_that_shares_files_is_looked_at_with_them(
        self, ubm: Shell, nights: Path, catalogue: Callable[[int], Path], tmp_path: Path
    ) -> None:
        price = pl.when(pl.col("product_id") == "p1").then(pl.lit(50.0)).otherwise("price")
        pl.read_parquet(catalogue(3)).with_columns(price=price).write_parquet(tmp_path / "fourth.parquet")
        assert ubm("refresh", "--products", tmp_path / "fourth.parquet", "--store", nights).code == 0
        ran = ubm("diagnose", "--store", nights, "--against", 3)
        assert ran.code == 0
        assert json.loads(ran.out)["sections"]["changes"]["metrics"]["share_changed"]["value"] == 0

    def test_a_title_cannot_steer_the_terminal(self, ubm: Shell, nights: Path, corpus: Path) -> None:
        file = corpus / PRODUCTS_FILE
        pl.read_parquet(file).with_columns(pl.format("\x1b[31m{}", "title").alias("title")).write_parquet(file)
        model = nights / "models"
        ran = ubm("diagnose", "--model", next(model.iterdir()), "--corpus", corpus, "--format", "table")
        assert ran.code == 0
        assert "\x1b[31m" not in ran.out

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (("--version", 9), 4, "no version 9"),
            (("--version", "nobody"), 4, "no version is tagged 'nobody'"),
            (("--against", 9), 4, "no version 9"),
            (("--against", 3), 5, "cannot be compared with itself"),
            (("--corpus", "nowhere"), 4, "nowhere"),
            (("--corpus", "nowhere", "--purchase-intention", "nowhere"), 4, "nowhere"),
            (("--against", 2, "--config", "nowhere"), 4, "nowhere"),
        ],
    )
    def test_what_is_not_there(
        self, ubm: Shell, nights: Path, arguments: tuple[Any, ...], code: int, message: str
    ) -> None:
        ran = ubm("diagnose", "--store", nights, *arguments)
        assert (ran.code, ran.out) == (code, "")
        assert message in ran.err


def test_models_beside_each_other(ubm: Shell, model_folder: Path, corpus: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.symlink_to(model_folder)
    ran = ubm("diagnose", "--model", model_folder, "--model", other, "--corpus", corpus)
    assert ran.code == 0
    document = json.loads(ran.out)
    jsonschema.validate(document, document_schema(), cls=jsonschema.Draft202012Validator)
    assert document["subject"]["kind"] == "model"
    assert len(document["subject"]["models"]) == len({*document["subject"]["models"]}) == 2
    ran = ubm("diagnose", "--model", model_folder, "--model", model_folder, "--corpus", corpus)
    assert (ran.code, ran.out) == (5, "")
    assert "is given twice" in ran.err


def test_a_version_that_is_removed_meanwhile_is_not_called_damaged(
    ubm: Shell, nights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def after_pruning(space: VersionSpace, *arguments: Any) -> Section:
        assert run(["versions", "prune", "--keep", "1", "--store", str(nights)]) == 0
        return space_section(space, *arguments)

    monkeypatch.setattr("indexer.diagnostics.diagnosis.space_section", after_pruning)
    ran = ubm("diagnose", "--store", nights, "--version", 1)
    assert ran.code == 4
    assert f"version 1 of {nights} was removed while it was diagnosed" in ran.err


def test_an_interrupt_is_said(ubm: Shell, nights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cli.diagnose._diagnose", interrupt)
    ran = ubm("diagnose", "--store", nights)
    assert (ran.code, ran.out, ran.err) == (130, "", "error: interrupted\n")


class TestUsage:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((), "one of --store, --model and --run, got none of them"),
            (("--store", "s", "--run", "r"), "got --store and --run"),
            (("--store", "s", "--model", "m", "--corpus", "c"), "got --store and --model"),
            (("--model", "m"), "--model needs --corpus"),
            (("--run", "r", "--against", 1), "--against needs --store"),
            (("--model", "m", "--corpus", "c", "--version", 1), "--version needs --store"),
            (("--run", "r", "--corpus", "c"), "--corpus needs --store or --model"),
            (("--store", "s", "--purchase-intention", "p"), "--purchase-intention needs --corpus"),
            (("--run", "r", "--config", "f"), "--config needs --against"),
            (("--store", "s", "--map-method", "tsne"), "--map-method needs --html or --png"),
            (("--store", "s", "--overwrite"), "--overwrite needs --png"),
            (("--store", "s", "--sample-products", 1), "--sample-products must be at least 2, got 1"),
            (("--store", "s", "--seed", -1), "--seed must be at least 0"),
            (("--store", "s", "--fail-on", "retention<1"), "retention is measured with --against only"),
            (("--store", "s", "--fail-on", "retension<1"), "did you mean 'retention'"),
            (("--store", "s", "--fail-on", "bad"), "'bad' is no condition"),
            (("--store", "s", "--device", "abacus"), "--device"),
        ],
    )
    def test_options_that_do_not_go_together(self, ubm: Shell, arguments: tuple[Any, ...], message: str) -> None:
        ran = ubm("diagnose", *arguments)
        assert (ran.code, ran.out) == (2, "")
        assert message in " ".join(ran.err.replace("│", " ").split())


class TestEnvironment:
    """Variables are shared by all commands, so that many a variable is there for another one."""

    @pytest.fixture(autouse=True)
    def variables(self, monkeypatch: pytest.MonkeyPatch, nights: Path) -> None:
        monkeypatch.setenv("UBM_EMBED_STORE", str(nights))
        for name, value in {"CONFIG": "x.toml", "MAP": "x.toml", "SESSIONS": "memory", "OVERWRITE": "1"}.items():
            monkeypatch.setenv(f"UBM_EMBED_{name}", value)

    def test_says_what_to_diagnose(self, ubm: Shell, nights: Path) -> None:
        assert json.loads(ubm("diagnose").out)["subject"]["store"] == str(nights)

    def test_what_is_typed_comes_first(self, ubm: Shell, model_folder: Path, corpus: Path) -> None:
        ran = ubm("diagnose", "--model", model_folder, "--corpus", corpus)
        assert json.loads(ran.out)["subject"]["kind"] == "model"

    def test_what_is_of_no_use_is_left_out(
        self, ubm: Shell, monkeypatch: pytest.MonkeyPatch, model_folder: Path
    ) -> None:
        monkeypatch.setenv("UBM_EMBED_CORPUS", "nowhere")
        ran = ubm("diagnose", "--run", model_folder)
        assert ran.code == 4
        assert "metrics.jsonl" in ran.err

    def test_what_is_typed_is_never_left_out(self, ubm: Shell) -> None:
        assert ubm("diagnose", "--run", "r", "--against", 1).code == 2


class TestConditions:
    def test_each_that_holds_is_named(self, ubm: Shell, nights: Path) -> None:
        value = json.loads(ubm("diagnose", "--store", nights).out)["sections"]["alignment"]["metrics"]["uniformity"]
        limit = value["value"]
        ran = ubm("diagnose", "--store", nights, "--fail-on", f"uniformity>{limit - 1},uniformity<{limit - 1}")
        assert ran.code == 6
        assert json.loads(ran.out)["sections"]
        lines = [line for line in ran.err.splitlines() if line.startswith("error: --fail-on")]
        assert len(lines) == 1
        assert f"uniformity>{limit - 1}" in lines[0]

    def test_none_that_holds(self, ubm: Shell, nights: Path) -> None:
        assert ubm("diagnose", "--store", nights, "--fail-on", "uniformity>0.1").code == 0

    def test_a_metric_that_could_not_be_measured_is_no_pass(self, ubm: Shell, nights: Path) -> None:
        # The toy shop's manifests are of this software, but no gate compared the first version with another one.
        pl.DataFrame({"product_id": ["p1"], "title": ["red shoes"]}).write_csv(nights.parent / "one.csv")
        store = nights.parent / "one"
        model = next((nights / "models").iterdir())
        assert ubm("build-index", "--model", model, "--products", nights.parent / "one.csv", "--store", store).code == 0
        ran = ubm("diagnose", "--store", store, "--fail-on", "uniformity>-1.5")
        assert ran.code == 3
        assert "uniformity could not be measured" in ran.err
        assert json.loads(ran.out)["subject"]["version"] == 1

    @pytest.mark.parametrize("output_format", ["table", "json"])
    def test_one_that_holds_counts_even_if_nobody_reads_the_report(self, nights: Path, output_format: str) -> None:
        read, write = os.pipe()
        os.close(read)
        command = [sys.executable, "-m", "cli", "diagnose", "--store", str(nights), "--format", output_format]
        with os.fdopen(write, "wb") as pipe:
            done = subprocess.run(
                [*command, "--fail-on", "uniformity<1"], stdout=pipe, stderr=subprocess.PIPE, check=False
            )
        assert done.returncode == 6
        assert b"error: --fail-on uniformity<1" in done.stderr


class TestPictures:
    def test_a_page_and_its_pictures(self, ubm: Shell, nights: Path, corpus: Path, tmp_path: Path) -> None:
        page, folder = tmp_path / "new" / "page.html", tmp_path / "new" / "pictures"
        ran = ubm("diagnose", "--store", nights, "--corpus", corpus, "--html", page, "--png", folder)
        assert ran.code == 0, ran.err
        assert page.read_text("utf-8").lower().startswith("<!doctype html>")
        assert {file.suffix for file in folder.iterdir()} == {".png"}
        assert "map" in json.loads(ran.out)["sections"]

    def test_outputs_are_checked_before_the_work(self, ubm: Shell, tmp_path: Path) -> None:
        (tmp_path / "pictures").mkdir()
        (tmp_path / "pictures" / "old.png").touch()
        for option in (("--html", tmp_path), ("--png", tmp_path / "pictures")):
            ran = ubm("diagnose", "--store", tmp_path / "nowhere", *option)
            assert (ran.code, ran.out) == (5, "")


def test_every_metric_is_documented() -> None:
    text = (ROOT / "docs" / "diagnostics.md").read_text("utf-8")
    assert [name for name in METRIC_NEEDS if f"`{name}`" not in text] == []
