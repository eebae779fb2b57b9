"""`ubm-embed refresh`, as a shell sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from indexer.refresh.gates import Gate
from indexer.store.embedding_store import EmbeddingStore
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.model.checkpoint import save_checkpoint
from ubm_embed.model.user_behavior_model import UserBehaviorModel

ROOT = Path(__file__).parents[2]
ALLOW = ("--allow", "neighbours", "--allow", "centroid")

# The fixtures are those of tests/cli/conftest.py.
Shell = Callable[..., Any]
Catalogue = Callable[[int], Path]
Contents = Callable[[Path], dict[str, bytes]]


class TestSummary:
    def test_as_json_on_stdout_with_a_sentence_on_stderr(self, ubm: Shell, nights: Path, catalogue: Catalogue) -> None:
        ran = ubm("refresh", "--products", catalogue(4), "--store", nights, *ALLOW)
        assert ran.code == 0
        assert f"{nights}: version 4 is live after 3; 1 products encoded, 8 written, 0 removed in" in ran.err
        done = json.loads(ran.out)
        counts = {name: done[name] for name in ("new", "changed", "updated", "unchanged", "removed")}
        assert counts == {"new": 0, "changed": 1, "updated": 7, "unchanged": 0, "removed": 0}
        assert (done["base"], done["version"], done["written"], done["encoded"]) == (3, 4, 8, 1)
        assert {"rows", "vectors", "indexed", "recall"} <= done["gates"].keys()
        assert list(done["pruned"]) == [1, 2]

    def test_as_one_line(self, ubm: Shell, nights: Path, catalogue: Catalogue) -> None:
        ran = ubm("refresh", "--products", catalogue(4), "--store", nights, *ALLOW, "--format", "jsonl")
        assert ran.out.count("\n") == 1
        assert json.loads(ran.out)["version"] == 4

    def test_as_tables(self, ubm: Shell, nights: Path, catalogue: Catalogue) -> None:
        ran = ubm("refresh", "--products", catalogue(4), "--store", nights, *ALLOW, "--format", "table")
        rows = [line.split() for line in ran.out.splitlines()]
        assert rows[0] == ["products", "number"]
        assert ["changed", "1"] in rows
        assert ["updated", "7"] in rows
        assert ["rows", "0.0000", "0.2000", "passed"] in rows

    @pytest.mark.parametrize(("feed_time", "kept"), [("2020-01-01", True), ("2120-01-01T04:00:00+01:00", False)])
    def test_products_that_were_upserted_are_counted(
        self,
        ubm: Shell,
        nights: Path,
        catalogue: Catalogue,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        feed_time: str,
        kept: bool,
    ) -> None:
        (tmp_path / "price.csv").write_text("product_id,price\np2,42\n")
        ubm("upsert", "--products", tmp_path / "price.csv", "--store", nights)
        monkeypatch.setenv("UBM_EMBED_FEED_TIME", feed_time)
        counts = f"{kept:d} newer than the catalogue, {not kept:d} as in the catalogue"
        planned = ubm("refresh", "--products", catalogue(3), "--store", nights, *ALLOW, "--dry-run").err
        assert planned.endswith(f"; nothing was changed; products upserted or deleted: {counts}\n")
        said = ubm("refresh", "--products", catalogue(3), "--store", nights, *ALLOW).err
        assert ("time is in the future (2120-01-01 04:00 UTC+01:00): no upsert is newer than it" in said) != kept
        assert (
            f"{nights}: version 4 is live after 3, sharing the files of 3; 0 products encoded, {kept:d} written" in said
        )
        assert said.endswith(f" s; products upserted or deleted: {counts}\n")

    @pytest.mark.parametrize("time", ["yesterday", "30.11.2026", "2026-13-01", "1767225600", ""])
    def test_what_is_no_time_is_refused(self, ubm: Shell, nights: Path, catalogue: Catalogue, time: str) -> None:
        ran = ubm("refresh", "--products", catalogue(3), "--store", nights, "--feed-time", time)
        assert ran.code == 2
        assert f"expected a time such as 2026-01-31T04:00:00+00:00, got {time!r}" in " ".join(ran.err.split())

    def test_a_second_run_says_that_nothing_changed(
        self, ubm: Shell, nights: Path, catalogue: Catalogue, contents: Contents
    ) -> None:
        command = ("refresh", "--products", catalogue(4), "--store", nights, *ALLOW)
        ubm(*command)
        before = contents(nights)
        ran = ubm(*command)
        assert (ran.code, ran.err) == (0, f"{nights}: nothing changed; version 4 stays live\n")
        done = json.loads(ran.out)
        assert (done["version"], done["unchanged"], done["written"], done["encoded"]) == (None, 8, 0, 0)
        assert contents(nights) == before


class TestDryRun:
    def test_it_reports_what_would_happen_and_changes_nothing(
        self, ubm: Shell, nights: Path, catalogue: Catalogue, contents: Contents
    ) -> None:
        before = contents(nights)
        ran = ubm("refresh", "--products", catalogue(4), "--store", nights, "--dry-run")
        assert ran.code == 0
        assert ran.err == f"{nights}: would encode 1 products and write 8; nothing was changed\n"
        assert json.loads(ran.out)["version"] is None
        assert contents(nights) == before

    def test_a_new_model_would_encode_every_product(
        self, ubm: Shell, nights: Path, catalogue: Catalogue, other: Path
    ) -> None:
        ran = ubm("refresh", "--products", catalogue(3), "--store", nights, "--model", other, "--dry-run")
        assert "would encode 8 products and write 8 (another model made version 3, so every row is written)" in ran.err

    def test_a_gate_that_would_fail_is_reported(self, ubm: Shell, nights: Path, half: Path) -> None:
        command = ("refresh", "--products", half, "--store", nights, "--dry-run")
        ran = ubm(*command)
        assert ran.code == 0
        assert "warning: gate 'rows' would fail: 0.5, with a limit of 0.2" in ran.err
        assert "would fail" not in ubm(*command, "--allow", "rows").err

    def test_it_runs_beside_a_writer(self, ubm: Shell, nights: Path, catalogue: Catalogue) -> None:
        with EmbeddingStore.open(nights).write_lock():
            assert ubm("refresh", "--products", catalogue(4), "--store", nights, "--dry-run").code == 0


@pytest.fixture
def other(
    tmp_path: Path,
    model_folder: Path,  # saved first: stirring changes the weights in place
    model: UserBehaviorModel,
    tokenizer: InteractionTokenizer,
    stir: Callable[[nn.Module], None],
) -> Path:
    """A folder with another model."""
    (tmp_path / "other").mkdir()
    stir(model)
    save_checkpoint(tmp_path / "other", model, tokenizer, {})
    return tmp_path / "other"


def test_a_new_model_encodes_every_product(ubm: Shell, nights: Path, catalogue: Catalogue, other: Path) -> None:
    ran = ubm(
        *("refresh", "--products", catalogue(3), "--store", nights, "--model", other),
        *(option for gate in Gate for option in ("--allow", gate)),
    )
    assert ran.code == 0
    done = json.loads(ran.out)
    assert (done["version"], done["encoded"], done["reason"]) == (4, 8, "another model made version 3")


def test_a_lost_copy_of_the_model_is_restored(
    ubm: Shell, nights: Path, catalogue: Catalogue, model_folder: Path
) -> None:
    (model,) = (nights / "models").iterdir()
    (model / "model.safetensors").write_bytes(b"")
    ran = ubm("refresh", "--products", catalogue(3), "--store", nights, "--model", model_folder)
    assert (ran.code, "nothing changed" in ran.err) == (0, True)
    assert (model / "model.safetensors").read_bytes() == (model_folder / "model.safetensors").read_bytes()


class TestGates:
    def test_a_catalogue_that_lost_half_is_refused(
        self, ubm: Shell, nights: Path, half: Path, contents: Contents
    ) -> None:
        before = contents(nights)
        ran = ubm("refresh", "--products", half, "--store", nights)
        assert (ran.code, ran.out) == (6, "")
        assert (
            "error: gate 'rows': the catalogue lacks 4 of the 8 products of the live version, a share of 0.5" in ran.err
        )
        assert "expected at most 0.2" in ran.err
        assert "--allow rows" in ran.err
        assert ran.err.endswith("nothing was published\n")
        assert contents(nights) == before

    def test_unless_it_is_allowed(self, ubm: Shell, nights: Path, half: Path) -> None:
        ran = ubm("refresh", "--products", half, "--store", nights, "--allow", "rows", *ALLOW)
        assert ran.code == 0
        done = json.loads(ran.out)
        assert (done["removed"], done["gates"]["rows"]["passed"]) == (4, False)

    def test_an_allowed_failure_is_in_the_table(self, ubm: Shell, nights: Path, half: Path) -> None:
        ran = ubm("refresh", "--products", half, "--store", nights, "--allow", "rows", *ALLOW, "--format", "table")
        assert ["rows", "0.5000", "0.2000", "allowed"] in [line.split() for line in ran.out.splitlines()]

    def test_or_the_configuration_has_another_limit(self, ubm: Shell, tmp_path: Path, nights: Path, half: Path) -> None:
        (tmp_path / "limits.toml").write_text("[gates]\nmax_lost = 0.5\nmax_shift = 2\nmin_overlap = 0\n")
        ran = ubm("refresh", "--products", half, "--store", nights, "--config", tmp_path / "limits.toml")
        assert ran.code == 0
        assert json.loads(ran.out)["gates"]["rows"] == {"value": 0.5, "limit": 0.5, "passed": True}

    def test_a_gate_that_fails_after_encoding_keeps_the_live_version(
        self, ubm: Shell, tmp_path: Path, nights: Path, catalogue: Catalogue
    ) -> None:
        (tmp_path / "limits.toml").write_text("[gates]\nmax_uniformity = -3\n")
        ran = ubm(
            *("refresh", "--products", catalogue(4), "--store", nights, *ALLOW),
            *("--config", tmp_path / "limits.toml"),
        )
        assert (ran.code, ran.out) == (6, "")
        assert "gate 'uniformity': uniformity of the vectors is -0." in ran.err
        assert "expected at most -3; to publish anyway: --allow uniformity" in ran.err
        assert json.loads((nights / "live.json").read_text())["version"] == 3

    def test_an_unknown_gate_is_a_usage_error_that_lists_them(self, ubm: Shell, nights: Path, half: Path) -> None:
        ran = ubm("refresh", "--products", half, "--store", nights, "--allow", "row")
        assert (ran.code, ran.out) == (2, "")
        assert all(f"'{gate}'" in ran.err for gate in Gate)


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("[gates]\nmax_lst = 0.5", "field 'gates.max_lst': unknown; expected one of"),
            ("[keep]\nversions = 0", "field 'keep.versions': must be at least 1, got 0"),
            ("gates", "not TOML"),
        ],
    )
    def test_a_wrong_configuration(
        self, ubm: Shell, tmp_path: Path, nights: Path, catalogue: Catalogue, text: str, problem: str
    ) -> None:
        (tmp_path / "wrong.toml").write_text(text)
        ran = ubm("refresh", "--products", catalogue(4), "--store", nights, "--config", tmp_path / "wrong.toml")
        assert (ran.code, ran.out) == (3, "")
        assert str(tmp_path / "wrong.toml") in ran.err
        assert problem in ran.err

    @pytest.mark.parametrize("option", ["--config", "--products", "--model", "--interactions"])
    def test_a_missing_file(
        self, ubm: Shell, tmp_path: Path, nights: Path, catalogue: Catalogue, contents: Contents, option: str
    ) -> None:
        before = contents(nights)
        ran = ubm("refresh", "--products", catalogue(4), "--store", nights, option, tmp_path / "none")
        assert (ran.code, ran.out) == (4, "")
        assert str(tmp_path / "none") in ran.err
        assert contents(nights) == before

    def test_a_second_writer(self, ubm: Shell, nights: Path, catalogue: Catalogue) -> None:
        with EmbeddingStore.open(nights).write_lock():
            ran = ubm("refresh", "--products", catalogue(4), "--store", nights)
        assert (ran.code, ran.out) == (5, "")
        assert f"another process is writing to {nights}" in ran.err

    @pytest.mark.parametrize("name", ["none", "empty", "model"])
    def test_a_folder_without_a_store(
        self, ubm: Shell, tmp_path: Path, model_folder: Path, catalogue: Catalogue, contents: Contents, name: str
    ) -> None:
        (tmp_path / "empty").mkdir()
        before = contents(tmp_path / name)
        ran = ubm("refresh", "--products", catalogue(4), "--store", tmp_path / name)
        assert (ran.code, ran.out) == (4, "")
        assert f"build one: ubm-embed build-index --model DIR --products FILE --store {tmp_path / name}" in ran.err
        assert contents(tmp_path / name) == before

    def test_a_uri_of_an_unknown_kind(self, ubm: Shell, catalogue: Catalogue) -> None:
        ran = ubm("refresh", "--products", catalogue(4), "--store", "ftp://shop/store")
        assert (ran.code, ran.out) == (3, "")
        assert "expected a folder or a URI of s3, gs, az, got 'ftp://shop/store'" in ran.err

    def test_a_damaged_live_version_is_reported_though_nothing_changed(
        self, ubm: Shell, nights: Path, catalogue: Catalogue
    ) -> None:
        """A nightly job that says "nothing changed" about a store that cannot answer would hide it for weeks."""
        (nights / "versions/3/index.faiss").unlink()
        ran = ubm("refresh", "--products", catalogue(3), "--store", nights)
        assert (ran.code, ran.out) == (3, "")
        assert "3/index.faiss: missing; version 3 is damaged; see: ubm-embed doctor" in ran.err

    def test_damaged_tags_are_reported_before_publishing(self, ubm: Shell, nights: Path, catalogue: Catalogue) -> None:
        (nights / "tags.json").write_text("{")
        ran = ubm("refresh", "--products", catalogue(4), "--store", nights, *ALLOW)
        assert (ran.code, "tags.json: not JSON" in ran.err) == (3, True)
        assert json.loads((nights / "live.json").read_text())["version"] == 3


def test_every_option_is_in_the_environment_too(
    ubm: Shell, tmp_path: Path, nights: Path, half: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "limits.toml").write_text("[keep]\nversions = 4\n")
    options = {"STORE": nights, "PRODUCTS": half, "FORMAT": "jsonl", "CONFIG": tmp_path / "limits.toml"}
    for name, value in options.items():
        monkeypatch.setenv(f"UBM_EMBED_{name}", str(value))
    monkeypatch.setenv("UBM_EMBED_DRY_RUN", "1")
    assert "nothing was changed" in ubm("refresh").err
    monkeypatch.setenv("UBM_EMBED_DRY_RUN", "0")
    assert ubm("refresh").code == 6
    monkeypatch.setenv("UBM_EMBED_ALLOW", "rows neighbours centroid")
    ran = ubm("refresh")
    assert ran.code == 0
    assert json.loads(ran.out)["pruned"] == []


def test_in_a_shell_of_its_own(nights: Path, half: Path) -> None:
    command = [sys.executable, "-m", "cli", "refresh", "--store", str(nights), "--products", str(half)]
    settings = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=settings, check=False)
    assert (done.returncode, done.stdout) == (6, "")
    *notices, error = done.stderr.splitlines()
    assert all(line.startswith("warning: the column ") for line in notices)
    assert error.startswith("error: gate 'rows': ")
    assert "--allow rows" in error
