"""`ingest`: a log to a corpus and its reports, and what it refuses."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from cli import ingest
from ubm_embed.data.corpus import Corpus
from ubm_embed.errors import InvalidData

LOG = "session_id,action,product_id,title\ns,view,p,Shoe\ns,view,p,\ns,view,q,\n"


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    ingest.register(app)
    return app


def test_ingest_writes_the_corpus_and_both_reports(app: typer.Typer, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(LOG)
    (tmp_path / "products.csv").write_text("product_id,title\np,Boot\n")
    arguments = [str(tmp_path / "log.csv"), "--from", "native", "--out", str(tmp_path / "out")]
    arguments += ["--catalogue", str(tmp_path / "products.csv"), "--report", str(tmp_path / "report.json")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert Corpus.open(tmp_path / "out").products["title"].to_list() == ["Boot"]
    assert "dropped 1: repeated" in result.stderr
    assert not result.stdout
    assert json.loads((tmp_path / "report.json").read_text())["interactions"] == 1


def test_bad_input_raises_our_own_error(app: typer.Typer, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("session_id,action,product_id\ns,wish,p\n")
    result = CliRunner().invoke(
        app, [str(tmp_path / "log.csv"), "--from", "native", "--out", str(tmp_path / "out"), "--report", "never.json"]
    )
    assert isinstance(result.exception, InvalidData)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("extra", [["--from", "webtrends"], ["--from", "native", "--session-gap", "0"]])
def test_wrong_options_are_usage_errors(app: typer.Typer, tmp_path: Path, extra: list[str]) -> None:
    result = CliRunner().invoke(app, ["log.csv", "--out", str(tmp_path / "out"), *extra])
    assert result.exit_code == 2


def test_standard_input_is_called_so_in_the_report(app: typer.Typer, tmp_path: Path) -> None:
    arguments = ["-", "--from", "native", "--out", str(tmp_path / "out"), "--report", str(tmp_path / "report.json")]
    result = CliRunner().invoke(app, arguments, input=LOG)
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["rows"] == {"stdin": 3}
    assert report["examples"]["repeated"][0]["file"] == "stdin"


def test_what_was_not_read_of_a_folder_is_said(app: typer.Typer, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.csv").write_text(LOG)
    (tmp_path / "logs" / "b.csv").touch()
    (tmp_path / "logs" / "c.csv").symlink_to("a.csv")
    result = CliRunner().invoke(app, [str(tmp_path / "logs"), "--from", "native", "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert f"left out b.csv (empty), c.csv (the same file as {tmp_path / 'logs' / 'a.csv'})" in result.stderr
