"""`ubm-embed versions`, as a shell sees it."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from indexer.refresh.refresh import refresh
from indexer.refresh.settings import RefreshSettings
from indexer.store.embedding_store import EmbeddingStore
from indexer.store.product_table import ProductTable
from indexer.updates.updater import Updater
from indexer.versions.pruning import KeepPolicy

ROOT = Path(__file__).parents[2]

# `ubm` returns a `Ran` of tests/cli/conftest.py.
Shell = Callable[..., Any]
Contents = Callable[[Path], dict[str, bytes]]


def live(store: Path) -> int:
    return int(json.loads((store / "live.json").read_text())["version"])


class TestList:
    def test_as_json(self, ubm: Shell, nights: Path) -> None:
        ubm("versions", "tag", "spring", 2, "--store", nights)
        ran = ubm("versions", "list", "--store", nights)
        assert (ran.code, ran.err) == (0, "")
        rows = [(row["version"], row["state"], row["tags"], row["products"]) for row in json.loads(ran.out)]
        assert rows == [(3, "live", [], 8), (2, "before", ["spring"], 8), (1, "before", [], 8)]

    def test_as_lines(self, ubm: Shell, nights: Path) -> None:
        ran = ubm("versions", "list", "--store", nights, "--format", "jsonl")
        assert [json.loads(line)["version"] for line in ran.out.splitlines()] == [3, 2, 1]

    def test_as_a_table(self, ubm: Shell, nights: Path) -> None:
        ubm("versions", "tag", "spring", 2, "--store", nights)
        head, *rows = ubm("versions", "list", "--store", nights, "--format", "table").out.splitlines()
        assert head.split()[:5] == ["version", "state", "tags", "products", "model_id"]
        assert [row.split()[:2] for row in rows] == [["3", "live"], ["2", "before"], ["1", "before"]]
        assert rows[1].split()[2] == "spring"

    def test_a_damaged_version_has_its_problem(self, ubm: Shell, nights: Path) -> None:
        (nights / "versions/2/manifest.json").write_text("{")
        ran = ubm("versions", "list", "--store", nights, "--format", "table")
        assert ran.code == 0
        assert f"{nights}/versions/2/manifest.json: not JSON" in ran.out


class TestShow:
    def test_the_live_version_is_the_default(self, ubm: Shell, nights: Path) -> None:
        assert json.loads(ubm("versions", "show", "--store", nights).out)["version"] == 3
        document = json.loads(ubm("versions", "show", 1, "--store", nights).out)
        assert (document["version"], document["state"], document["source"]) == (1, "before", "night1.parquet")
        assert {"model_id", "gates", "files", "bytes", "tags", "uniformity"} <= document.keys()

    def test_by_its_name(self, ubm: Shell, nights: Path) -> None:
        ubm("versions", "tag", "spring", 2, "--store", nights)
        ran = ubm("versions", "show", "spring", "--store", nights, "--format", "jsonl")
        assert ran.out.count("\n") == 1
        assert json.loads(ran.out)["version"] == 2

    def test_as_a_table_each_gate_has_its_line(self, ubm: Shell, nights: Path) -> None:
        rows = ubm("versions", "show", "--store", nights, "--format", "table").out.splitlines()
        names = [row.split()[0] for row in rows]
        assert {"version", "gates.recall", "changes.encoded", "files.index.faiss"} <= set(names)

    @pytest.mark.parametrize(
        ("named", "problem"),
        [
            (9, "no version 9 in .*; known versions: 1, 2, 3"),
            ("spring", "no version is tagged 'spring'; known tags: .none."),
        ],
    )
    def test_one_that_is_not_there(self, ubm: Shell, nights: Path, named: object, problem: str) -> None:
        ran = ubm("versions", "show", named, "--store", nights)
        assert (ran.code, ran.out) == (4, "")
        assert re.search(problem, ran.err)


class TestDiff:
    def test_with_what_was_live_before(self, ubm: Shell, nights: Path) -> None:
        ran = ubm("versions", "diff", "--store", nights)
        assert (ran.code, ran.err) == (0, "")
        document = json.loads(ran.out)
        assert (document["before"], document["after"]) == (2, 3)
        assert {name: document[name] for name in ("new", "changed", "updated", "removed", "unchanged")} == {
            "new": 0,
            "changed": 1,
            "updated": 7,
            "removed": 0,
            "unchanged": 0,
        }
        assert document["manifest"]["source"] == ["night2.parquet", "night3.parquet"]
        assert document["ids"]["changed"] == ["p3"]

    def test_between_two_that_are_named(self, ubm: Shell, nights: Path) -> None:
        ubm("versions", "tag", "first", 1, "--store", nights)
        ran = ubm("versions", "diff", "first", 2, "--store", nights, "--ids", 1, "--format", "jsonl")
        assert ran.out.count("\n") == 1
        document = json.loads(ran.out)
        assert (document["before"], document["after"], document["ids"]["updated"]) == (1, 2, ["p1"])

    def test_as_tables(self, ubm: Shell, nights: Path) -> None:
        out = ubm("versions", "diff", 1, 3, "--store", nights, "--format", "table").out
        assert out.splitlines()[0].split() == ["version", "1", "version", "3"]
        assert ["changed", "1", "p3"] in [line.split() for line in out.splitlines()]

    def test_without_a_version_before(self, ubm: Shell, nights: Path) -> None:
        (nights / "live.json").write_text('{"version": 1, "history": []}')
        ran = ubm("versions", "diff", "--store", nights)
        assert (ran.code, ran.out) == (4, "")
        assert "no version was live before this one" in ran.err


class TestTag:
    def test_given_moved_and_taken_away(self, ubm: Shell, nights: Path) -> None:
        ran = ubm("versions", "tag", "spring", "--store", nights)
        assert (ran.code, ran.out, ran.err) == (0, "", f"{nights}: version 3 is tagged spring\n")
        assert ubm("versions", "tag", "sale", "spring", "--store", nights).err.endswith("version 3 is tagged sale\n")
        assert ubm("versions", "tag", "spring", 1, "--store", nights).err.endswith("version 1 is tagged spring\n")
        ran = ubm("versions", "tag", "spring", "--delete", "--store", nights)
        assert (ran.code, ran.err) == (0, f"{nights}: no version is tagged spring any more\n")
        assert json.loads((nights / "tags.json").read_text()) == {"sale": 3}

    @pytest.mark.parametrize("name", ["7", "3.17", "a b", "", "../x", "a" * 101])
    def test_what_is_no_name(self, ubm: Shell, nights: Path, name: str) -> None:
        ran = ubm("versions", "tag", name, "--store", nights)
        assert (ran.code, ran.out) == (3, "")
        assert "expected letters, digits, '_', '.' or '-', and no number such as 3 or 3.17" in ran.err
        assert not (nights / "tags.json").exists()

    def test_a_name_that_no_version_has(self, ubm: Shell, nights: Path) -> None:
        ran = ubm("versions", "tag", "spring", "--delete", "--store", nights)
        assert (ran.code, "no version is tagged 'spring'; known tags: (none)" in ran.err) == (4, True)

    def test_a_version_that_is_not_there(self, ubm: Shell, nights: Path) -> None:
        assert ubm("versions", "tag", "spring", 9, "--store", nights).code == 4

    def test_deleting_takes_no_version(self, ubm: Shell, nights: Path) -> None:
        ran = ubm("versions", "tag", "spring", 3, "--delete", "--store", nights)
        assert (ran.code, "--delete takes the tag only" in ran.err) == (2, True)


class TestRollback:
    def test_to_the_version_before(self, ubm: Shell, nights: Path) -> None:
        ran = ubm("versions", "rollback", "--store", nights)
        assert (ran.code, ran.out) == (0, "")
        assert f"{nights}: version 2 is live instead of 3, 8 products (" in ran.err
        assert live(nights) == 2

    def test_to_a_tag(self, ubm: Shell, nights: Path) -> None:
        ubm("versions", "tag", "first", 1, "--store", nights)
        assert ubm("versions", "rollback", "first", "--store", nights).code == 0
        assert live(nights) == 1

    def test_without_a_version_before(self, ubm: Shell, nights: Path) -> None:
        (nights / "live.json").write_text('{"version": 1, "history": []}')
        ran = ubm("versions", "rollback", "--store", nights)
        assert (ran.code, ran.out) == (4, "")
        assert "no version was live before this one" in ran.err

    def test_to_the_live_version(self, ubm: Shell, nights: Path) -> None:
        ran = ubm("versions", "rollback", 3, "--store", nights)
        assert (ran.code, ran.err) == (0, f"{nights}: version 3 is live already\n")

    def test_to_a_missing_version(self, ubm: Shell, nights: Path) -> None:
        ran = ubm("versions", "rollback", 9, "--store", nights)
        assert (ran.code, "no version 9" in ran.err) == (4, True)

    def test_to_a_damaged_version(self, ubm: Shell, nights: Path) -> None:
        (nights / "versions/2/index.faiss").write_bytes(b"")
        ran = ubm("versions", "rollback", "--store", nights)
        assert (ran.code, ran.out) == (3, "")
        assert f"version 2 is damaged; see: ubm-embed doctor --store {nights}" in ran.err
        assert live(nights) == 3

    @pytest.mark.parametrize("text", [None, "garbage"])
    def test_a_given_number_repairs_live_json(self, ubm: Shell, nights: Path, text: str | None) -> None:
        (nights / "live.json").unlink() if text is None else (nights / "live.json").write_text(text)
        ran = ubm("versions", "rollback", "--store", nights)
        assert ran.code == 3
        assert f"{nights}/live.json: " in ran.err
        assert f"name a version: ubm-embed versions rollback NUMBER --store {nights}" in ran.err
        ran = ubm("versions", "rollback", 2, "--store", nights)
        assert ran.code == 0
        assert f"{nights}: version 2 is live, 8 products" in ran.err
        assert live(nights) == 2

    def test_beside_a_writer(self, ubm: Shell, nights: Path) -> None:
        with EmbeddingStore.open(nights).write_lock():
            assert ubm("versions", "rollback", "--store", nights).code == 0


class TestRevisions:
    @pytest.fixture
    def revised(self, nights: Path) -> Path:
        """Version 3.2: p4 has another price, and p8 is deleted."""
        with Updater(nights) as updater:
            updater.upsert([{"product_id": "p4", "price": 99.0}])
            updater.delete(["p8"])
        return nights

    def test_a_list_has_their_labels(self, ubm: Shell, revised: Path) -> None:
        _, *rows = ubm("versions", "list", "--store", revised, "--format", "table").out.splitlines()
        assert [row.split()[0] for row in rows] == ["3.2", "2", "1"]
        (first, *_) = json.loads(ubm("versions", "list", "--store", revised).out)
        assert (first["label"], first["revision"]["number"], first["revision"]["rows"]) == ("3.2", 2, 2)

    def test_what_they_changed(self, ubm: Shell, revised: Path) -> None:
        document = json.loads(ubm("versions", "diff", "3.0", "3.2", "--store", revised).out)
        assert document["labels"] == ["3", "3.2"]
        assert (document["ids"]["updated"], document["ids"]["removed"]) == (["p4"], ["p8"])

    def test_a_rollback_takes_them_along(self, ubm: Shell, revised: Path) -> None:
        assert "version 2 is live instead of 3.2" in ubm("versions", "rollback", "--store", revised).err
        assert "version 3.2 is live instead of 2" in ubm("versions", "rollback", "3", "--store", revised).err

    def test_a_rollback_to_the_version_as_it_was_published_drops_them(self, ubm: Shell, revised: Path) -> None:
        ran = ubm("versions", "rollback", "3.0", "--store", revised)
        assert ran.code == 0
        assert "version 3.3 is live instead of 3.2, 8 products, after dropping 2 changes" in ran.err
        matches = json.loads(ubm("lookup", "--product-id", "p4", "--store", revised, "--k", 8).out)["matches"]
        assert "p8" in {match["product_id"] for match in matches}
        assert {match["price"] for match in matches} == {3.0}
        assert "version 3.3 is live already" in ubm("versions", "rollback", "3.0", "--store", revised).err

    def test_one_that_is_not_the_last_is_not_there(self, ubm: Shell, revised: Path) -> None:
        ran = ubm("versions", "rollback", "3.1", "--store", revised)
        assert (ran.code, "of version 3 only the last revision is kept, 3.2" in ran.err) == (4, True)


def test_pruning_says_which_version_stays_for_its_files(
    ubm: Shell, nights: Path, catalogue: Callable[[int], Path], tmp_path: Path
) -> None:
    price = pl.when(pl.col("product_id") == "p1").then(pl.lit(50.0)).otherwise("price")
    pl.read_parquet(catalogue(3)).with_columns(price=price).write_parquet(tmp_path / "fourth.parquet")
    refresh(products=tmp_path / "fourth.parquet", store=nights, settings=RefreshSettings(keep=KeepPolicy(versions=9)))
    for options in (("--dry-run",), ()):
        ran = ubm("versions", "prune", "--keep", 1, "--store", nights, *options)
        document = json.loads(ran.out)
        assert (document["versions"], document["kept"]) == ([1, 2], {"3": [4]})
        assert f"{nights}: version 3 stays, as version 4 shares its files\n" in ran.err
    assert json.loads(ubm("versions", "show", "--store", nights).out)["shares_files_of"] == 3


class TestPrune:
    def test_a_dry_run_changes_nothing(self, ubm: Shell, nights: Path, contents: Contents) -> None:
        before = contents(nights)
        ran = ubm("versions", "prune", "--keep", 1, "--dry-run", "--store", nights)
        assert (ran.code, json.loads(ran.out)) == (0, {"versions": [1, 2], "kept": {}})
        assert ran.err == f"{nights}: would remove versions 1, 2; nothing was changed\n"
        assert contents(nights) == before

    def test_only_the_live_version_stays(self, ubm: Shell, nights: Path) -> None:
        ran = ubm("versions", "prune", "--keep", 1, "--store", nights, "--format", "jsonl")
        assert ran.code == 0
        assert ran.out.count("\n") == 1
        document = json.loads(ran.out)
        assert (document["versions"], document["models"]) == ([1, 2], [])
        assert document["freed_bytes"] > 0
        assert f"{nights}: removed versions 1, 2, 0.1 MB freed" in ran.err
        assert [path.name for path in (nights / "versions").iterdir()] == ["3"]

    def test_two_versions_stay_by_default(self, ubm: Shell, nights: Path) -> None:
        ran = ubm("versions", "prune", "--store", nights, "--format", "table")
        assert (ran.code, ran.out) == (0, "")
        assert "removed version 1," in ran.err
        assert "removed no version," in ubm("versions", "prune", "--store", nights).err

    def test_tagged_versions_stay(self, ubm: Shell, nights: Path) -> None:
        ubm("versions", "tag", "first", 1, "--store", nights)
        assert json.loads(ubm("versions", "prune", "--keep", 1, "--store", nights).out)["versions"] == [2]
        assert ubm("versions", "rollback", "first", "--store", nights).code == 0

    def test_young_versions_stay_on_request(self, ubm: Shell, nights: Path) -> None:
        ran = ubm("versions", "prune", "--keep", 1, "--days", 0.5, "--store", nights)
        assert json.loads(ran.out)["versions"] == []

    def test_the_configuration_has_the_policy(self, ubm: Shell, tmp_path: Path, nights: Path) -> None:
        (tmp_path / "keep.toml").write_text("[keep]\nversions = 1\n")
        command = ("versions", "prune", "--dry-run", "--store", nights, "--config", tmp_path / "keep.toml")
        assert json.loads(ubm(*command).out)["versions"] == [1, 2]
        assert json.loads(ubm(*command, "--keep", 2).out)["versions"] == [1]

    @pytest.mark.parametrize("invalid", [("--keep", 0), ("--keep", "two"), ("--days", -1), ("--days", "nan")])
    def test_an_invalid_number_is_a_usage_error(
        self, ubm: Shell, nights: Path, contents: Contents, invalid: tuple[object, ...]
    ) -> None:
        before = contents(nights)
        assert ubm("versions", "prune", *invalid, "--store", nights).code == 2
        assert contents(nights) == before

    def test_a_full_disk_halfway_does_not_claim_that_nothing_was_changed(
        self, ubm: Shell, nights: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object, **__: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device", str(nights / "products.lance"))

        monkeypatch.setattr(ProductTable, "cleanup", refuse)
        ran = ubm("versions", "prune", "--keep", 1, "--store", nights)
        assert (ran.code, ran.err) == (1, f"error: No space left on device: {nights}/products.lance\n")
        assert [path.name for path in (nights / "versions").iterdir()] == ["3"], "two versions are gone"

    def test_beside_a_writer(self, ubm: Shell, nights: Path) -> None:
        with EmbeddingStore.open(nights).write_lock():
            ran = ubm("versions", "prune", "--store", nights)
        assert (ran.code, "another process is writing" in ran.err) == (5, True)


COMMANDS = [("list",), ("show",), ("diff",), ("tag", "x"), ("rollback",), ("prune",)]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
class TestWithoutAStore:
    @pytest.mark.parametrize("name", ["none", "empty", "model"])
    def test_nothing_is_found_or_changed(
        self,
        ubm: Shell,
        tmp_path: Path,
        model_folder: Path,
        contents: Contents,
        command: tuple[str, ...],
        name: str,
    ) -> None:
        (tmp_path / "empty").mkdir()
        before = contents(tmp_path)
        ran = ubm("versions", *command, "--store", tmp_path / name)
        assert (ran.code, ran.out) == (4, "")
        assert ran.err.startswith("error: no ")
        assert contents(tmp_path) == before
        assert not (tmp_path / "none").exists()

    def test_an_unsupported_uri_is_refused(self, ubm: Shell, command: tuple[str, ...]) -> None:
        ran = ubm("versions", *command, "--store", "ftp://x")
        assert (ran.code, ran.out) == (3, "")
        assert "expected a folder or a URI of s3, gs, az, got 'ftp://x'" in ran.err

    def test_a_missing_option_is_a_usage_error(self, ubm: Shell, command: tuple[str, ...]) -> None:
        ran = ubm("versions", *command)
        assert (ran.code, "--store" in ran.err) == (2, True)


class TestEnvironment:
    """Every option is also UBM_EMBED_<OPTION>, in a group of commands too."""

    @pytest.fixture(autouse=True)
    def store(self, nights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("UBM_EMBED_STORE", str(nights))

    def test_the_store_and_the_format(self, ubm: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
        assert len(json.loads(ubm("versions", "list").out)) == 3
        monkeypatch.setenv("UBM_EMBED_FORMAT", "jsonl")
        assert ubm("versions", "list").out.count("\n") == 3

    def test_the_number_of_ids(self, ubm: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("UBM_EMBED_IDS", "2")
        assert json.loads(ubm("versions", "diff").out)["ids"]["updated"] == ["p1", "p2"]

    def test_the_policy(self, ubm: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("UBM_EMBED_KEEP", "1")
        monkeypatch.setenv("UBM_EMBED_DRY_RUN", "1")
        assert json.loads(ubm("versions", "prune").out) == {"versions": [1, 2], "kept": {}}
        monkeypatch.setenv("UBM_EMBED_DAYS", "1")
        assert json.loads(ubm("versions", "prune").out) == {"versions": [], "kept": {}}

    def test_removing_a_tag(self, ubm: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
        ubm("versions", "tag", "spring")
        monkeypatch.setenv("UBM_EMBED_DELETE", "1")
        assert ubm("versions", "tag", "spring").err.endswith("no version is tagged spring any more\n")


def test_in_a_new_process(nights: Path) -> None:
    command = [sys.executable, "-m", "cli", "versions", "rollback", "--store", str(nights)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    assert "version 2 is live instead of 3" in done.stderr
