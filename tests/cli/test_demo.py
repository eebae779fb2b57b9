"""The demo leaves what it promises, tells its story, and the commands it prints work."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli.demo import DemoSizes, held_out_sessions, run_demo
from indexer.search.retriever import Retriever
from indexer.updates.updater import Updater
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.session import parse_session

SMALL = DemoSizes(
    products=200,
    sessions=600,
    vocabulary=512,
    pretraining={"max_steps": 2, "session_max_steps": 1, "holdout": 0.2},
    finetuning={"max_steps": 4, "validation_steps": 2},
)

ROWS = (
    "UBM",
    "UBM without counts",
    "co-occurrence",
    "recent co-occurrence",
    "directional counting",
    "VMIS-kNN",
    "POP",
)


def test_it_leaves_a_corpus_a_model_a_store_and_a_session(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # wide enough that no title is wrapped
    home = tmp_path / "home"
    run_demo(home, seed=0, overwrite=False, sizes=SMALL)
    story = capsys.readouterr().out
    assert {file.name for file in home.iterdir()} == {"corpus", "model", "store", "session.json"}
    assert f"--store {home / 'store'}" in story
    names = [line.split("  ")[0] for line in story.splitlines() if line.startswith(ROWS)]
    assert names[: len(ROWS)] == list(ROWS)
    assert "times those of UBM" not in story, "it is compared with counting"
    session = parse_session(json.loads((home / "session.json").read_text()))
    assert session.session_id in held_out_sessions(Corpus.open(home / "corpus"), home / "model")
    answer = Retriever.open(home / "store").recommend(session, 5)
    assert [match.title for match in answer.matches if match.title not in story] == []
    line = next(line for line in story.splitlines() if "ubm-embed upsert" in line)
    with Updater(home / "store") as updater:
        assert updater.upsert([json.loads(line.split("'")[1])]).updated == 1


@pytest.mark.slow
def test_the_real_one_beats_popularity_by_far(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cli"]
    done = subprocess.run(
        [*command, "demo", "--home", str(tmp_path / "home")], capture_output=True, text=True, check=True
    )
    hits = [
        next(float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith(f"{name}  "))
        for name in ("UBM", "POP")
    ]
    assert hits[0] > 3 * hits[1]
    home = tmp_path / "home"
    query = ["query", "--session", str(home / "session.json"), "--store", str(home / "store")]
    answer = json.loads(subprocess.run([*command, *query], capture_output=True, text=True, check=True).stdout)
    assert len(answer["matches"]) == 10
