"""The demo: it leaves what it promises, tells it in words, and its lines work."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from cli import demo
from indexer.search.retriever import Retriever
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.session import parse_session


def test_it_leaves_a_corpus_a_model_a_store_and_a_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_PRODUCTS", 200)
    monkeypatch.setattr(demo, "_SESSIONS", 600)
    monkeypatch.setattr(demo, "_VOCABULARY", 512)
    monkeypatch.setitem(demo._PRETRAINING, "max_steps", 2)
    monkeypatch.setitem(demo._PRETRAINING, "session_max_steps", 1)
    monkeypatch.setitem(demo._FINETUNING, "max_steps", 4)
    monkeypatch.setitem(demo._FINETUNING, "validation_steps", 2)
    monkeypatch.setenv("COLUMNS", "200")  # wide enough that no title is wrapped
    app = typer.Typer()
    demo.register(app)
    result = CliRunner().invoke(app, ["--home", str(tmp_path / "home")], catch_exceptions=False)
    assert result.exit_code == 0
    assert {file.name for file in (tmp_path / "home").iterdir()} == {"corpus", "model", "store", "session.json"}
    assert f"--store {tmp_path / 'home' / 'store'}" in result.stdout
    assert [
        line.split()[0] for line in result.stdout.splitlines() if line.startswith(("UBM", "co-occ", "recent", "POP"))
    ] == [
        "UBM",
        "co-occurrence",
        "recent",
        "POP",
    ]
    session = parse_session(json.loads((tmp_path / "home/session.json").read_text()))
    assert session.session_id in demo._kept_out(Corpus.open(tmp_path / "home/corpus"), tmp_path / "home/model")
    answer = Retriever.open(tmp_path / "home/store").recommend(session, 5)
    assert [match.title for match in answer.matches if match.title not in result.stdout] == []


@pytest.mark.slow
def test_the_real_one_beats_popularity_by_far(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cli"]
    done = subprocess.run(
        [*command, "demo", "--home", str(tmp_path / "home")], capture_output=True, text=True, check=True
    )
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if line.strip()}
    assert float(rows["UBM"][0]) > 3 * float(rows["POP"][0])
    home = tmp_path / "home"
    asked = ["query", "--session", str(home / "session.json"), "--store", str(home / "store")]
    answer = json.loads(subprocess.run([*command, *asked], capture_output=True, text=True, check=True).stdout)
    assert len(answer["matches"]) == 10
