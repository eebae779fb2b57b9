"""`ubm-embed doctor`, as a shell sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from indexer.store.embedding_store import EmbeddingStore

ROOT = Path(__file__).parents[2]

# `ubm` returns a `Ran` of tests/cli/conftest.py.
Shell = Callable[..., Any]
Contents = Callable[[Path], dict[str, bytes]]


@pytest.fixture
def damaged(nights: Path) -> Path:
    """A store whose live version has no index, and with a stopped refresh."""
    (nights / "versions/3/index.faiss").unlink()
    (model,) = (nights / "models").iterdir()
    (nights / "staging" / model.name).mkdir(parents=True)
    (nights / "staging" / model.name / "shard.parquet").write_bytes(b"half")
    return nights


def test_a_whole_store(ubm: Shell, nights: Path, contents: Contents) -> None:
    before = contents(nights)
    ran = ubm("doctor", "--store", nights)
    assert (ran.code, json.loads(ran.out)) == (0, [])
    assert ran.err.endswith(f"{nights}: every version is whole\n")
    assert contents(nights) == before


def test_a_note_alone_is_no_failure(ubm: Shell, nights: Path) -> None:
    (model,) = (nights / "models").iterdir()
    (nights / "staging" / model.name).mkdir(parents=True)
    (nights / "staging" / model.name / "shard.parquet").write_bytes(b"half")
    ran = ubm("doctor", "--store", nights)
    assert (ran.code, [finding["severity"] for finding in json.loads(ran.out)]) == (0, ["note"])


def test_findings_as_json_the_worst_first(ubm: Shell, damaged: Path) -> None:
    ran = ubm("doctor", "--store", damaged)
    assert ran.code == 3
    error, note = json.loads(ran.out)
    assert error == {
        "severity": "error",
        "version": 3,
        "problem": f"{damaged}/versions/3/index.faiss: missing; the store is damaged",
        "remedy": f"ubm-embed doctor --repair --store {damaged}",
        "repairable": True,
    }
    assert (note["severity"], note["version"], note["repairable"]) == ("note", None, False)
    assert ran.err.endswith(f"{damaged}: 1 error\n")


def test_as_lines(ubm: Shell, damaged: Path) -> None:
    ran = ubm("doctor", "--store", damaged, "--format", "jsonl")
    assert [json.loads(line)["severity"] for line in ran.out.splitlines()] == ["error", "note"]


def test_as_text(ubm: Shell, damaged: Path) -> None:
    lines = ubm("doctor", "--store", damaged, "--format", "table").out.splitlines()
    assert lines[0].startswith("error (version 3): ")
    assert lines[1] == f"    type: ubm-embed doctor --repair --store {damaged}"
    assert lines[2].startswith("note: ")


def test_repair_rebuilds_an_index_from_the_table(ubm: Shell, damaged: Path) -> None:
    ran = ubm("doctor", "--repair", "--store", damaged)
    assert ran.code == 0
    assert f"{damaged}: the index of version 3 was rebuilt, 8 products" in ran.err
    assert [finding["severity"] for finding in json.loads(ran.out)] == ["note"]


def test_what_repair_cannot_mend_is_reported(ubm: Shell, nights: Path) -> None:
    (nights / "live.json").write_text("garbage")
    (nights / "versions/1/id_hashes.npy").unlink()
    ran = ubm("doctor", "--repair", "--store", nights)
    assert ran.code == 3
    (finding,) = json.loads(ran.out)
    assert finding["remedy"] == f"ubm-embed versions rollback 3 --store {nights}"


def test_repair_beside_a_writer(ubm: Shell, damaged: Path) -> None:
    with EmbeddingStore.open(damaged).write_lock():
        assert ubm("doctor", "--store", damaged).code == 3
        ran = ubm("doctor", "--repair", "--store", damaged)
    assert (ran.code, ran.out) == (5, "")
    assert "another process is writing" in ran.err


@pytest.mark.parametrize("name", ["none", "empty", "model"])
@pytest.mark.parametrize("options", [(), ("--repair",)])
def test_without_a_store(
    ubm: Shell, tmp_path: Path, model_folder: Path, contents: Contents, name: str, options: tuple[str, ...]
) -> None:
    (tmp_path / "empty").mkdir()
    before = contents(tmp_path)
    ran = ubm("doctor", *options, "--store", tmp_path / name)
    assert (ran.code, ran.out) == (4, "")
    assert f"no store at {tmp_path / name}" in ran.err
    assert contents(tmp_path) == before
    assert not (tmp_path / "none").exists()


def test_an_unsupported_uri(ubm: Shell) -> None:
    ran = ubm("doctor", "--store", "ftp://x")
    assert (ran.code, "got 'ftp://x'" in ran.err) == (3, True)


def test_every_option_is_in_the_environment_too(ubm: Shell, damaged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UBM_EMBED_STORE", str(damaged))
    monkeypatch.setenv("UBM_EMBED_FORMAT", "jsonl")
    assert ubm("doctor").out.count("\n") == 2
    monkeypatch.setenv("UBM_EMBED_REPAIR", "1")
    assert ubm("doctor").code == 0


def test_in_a_new_process(damaged: Path) -> None:
    command = [sys.executable, "-m", "cli", "doctor", "--store", str(damaged)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 3
    assert len(json.loads(done.stdout)) == 2
    assert done.stderr.endswith(f"{damaged}: 1 error\n")
