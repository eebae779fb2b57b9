"""`ubm-embed upsert` and `ubm-embed delete`, as a shell sees them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# The fixtures are those of tests/cli/conftest.py.
Shell = Callable[..., Any]
Contents = Callable[[Path], dict[str, bytes]]

PROGRAM = """
import sys
from cli.main import run
code = run(sys.argv[1:])
print(sorted({"torch", "lance", "lancedb", "faiss", "onnxruntime", "pandas"} & sys.modules.keys()), file=sys.stderr)
sys.exit(code)
"""


def in_a_process(*arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)


def write(tmp_path: Path, name: str, text: str) -> Path:
    (tmp_path / name).write_text(text)
    return tmp_path / name


def test_the_report_is_json_with_a_sentence_on_stderr(ubm: Shell, nights: Path, tmp_path: Path) -> None:
    rows = write(tmp_path, "rows.csv", "product_id,price,title\np1,9.5,red running shoes\nn1,3,green boots\n")
    ran = ubm("upsert", "--products", rows, "--store", nights)
    assert ran.code == 0
    assert f"{nights}: version 3.1 is live; 1 new, 1 updated, 1 encoded in" in ran.err
    report = json.loads(ran.out)
    assert report.pop("seconds") > 0
    assert report == {
        "version": 3,
        "revision": 1,
        "published": True,
        "new": 1,
        "changed": 0,
        "updated": 1,
        "unchanged": 0,
        "deleted": 0,
        "unknown": [],
        "encoded": 1,
    }
    again = ubm("upsert", "--products", rows, "--store", nights, "--format", "table")
    assert f"{nights}: nothing changed; version 3.1 stays live" in again.err
    assert ["unchanged", "2"] in [line.split() for line in again.out.splitlines()]


def test_prices_from_stdin_need_no_model_no_table_and_no_index(nights: Path) -> None:
    ran = in_a_process("upsert", "--products", "-", "--store", nights, stdin='{"product_id": "p1", "price": 5}\n')
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["updated"] == 1
    assert ran.stderr.splitlines()[-1] == "[]"
    deleted = in_a_process("delete", "--ids", "-", "--product-id", "p3", "--store", nights, stdin="p1\nnope\n")
    assert deleted.returncode == 0, deleted.stderr
    assert json.loads(deleted.stdout)["deleted"] == 2
    assert deleted.stderr.splitlines()[-1] == "[]"
    assert "warning: 1 id not in the store: 'nope'" in deleted.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["upsert", "--products", "bad.csv"], 3, "bad.csv, row 1, field 'price': expected a number, got 'cheap'"),
        (["upsert", "--products", "nowhere.csv"], 4, "nowhere.csv"),
        (["upsert"], 2, "--products"),
        (["delete"], 2, "give --ids FILE, or --product-id ID"),
        (["delete", "--ids", "bad.csv", "--config", "small.toml"], 5, "ubm-embed refresh"),
        (["delete", "--product-id", "p1", "--config", "wrong.toml"], 3, "wrong.toml, field 'updates.max_mb'"),
    ],
)
def test_errors_have_their_exit_codes_and_change_nothing(
    ubm: Shell,
    nights: Path,
    contents: Contents,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "bad.csv", "product_id,price\np1,cheap\np2,3\n")
    write(tmp_path, "small.toml", "[updates]\nmin_products = 1\nmax_products = 1\n")
    write(tmp_path, "wrong.toml", "[updates]\nmax_mb = 0\n")
    before = contents(nights)
    ran = ubm(*arguments, "--store", nights)
    assert ran.code == code
    assert message in ran.err
    assert ran.out == ""
    assert contents(nights) == before


@pytest.mark.parametrize("command", ["upsert", "delete"])
def test_the_help_names_the_section_of_the_limits(ubm: Shell, command: str) -> None:
    assert "[updates]" in ubm(command, "--help").out


def test_options_come_from_the_environment(
    ubm: Shell, nights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UBM_EMBED_STORE", str(nights))
    monkeypatch.setenv("UBM_EMBED_CONFIG", str(write(tmp_path, "small.toml", "[updates]\nmax_products = 1\n")))
    monkeypatch.setenv("UBM_EMBED_FORMAT", "jsonl")
    assert json.loads(ubm("delete", "--product-id", "p1").out)["deleted"] == 1
    assert ubm("delete", "--product-id", "p2").code == 5


def test_a_store_that_is_not_there_is_not_found(ubm: Shell, tmp_path: Path) -> None:
    rows = write(tmp_path, "rows.csv", "product_id,price\np1,3\n")
    for command in (("upsert", "--products", rows), ("delete", "--product-id", "p1")):
        ran = ubm(*command, "--store", tmp_path / "nowhere")
        assert ran.code == 4
        assert "no store at" in ran.err


def test_stdin_has_a_limit(nights: Path, tmp_path: Path) -> None:
    config = write(tmp_path, "small.toml", "[updates]\nmax_mb = 1\n")
    rows = "product_id,price\n" + "p1,3\n" * 250_000
    ran = in_a_process("upsert", "--products", "-", "--store", nights, "--config", config, stdin=rows)
    assert ran.returncode == 3
    assert "stdin: larger than 1 MB" in ran.stderr


def test_only_ids_that_are_not_there_are_listed_and_not_too_many(ubm: Shell, nights: Path, tmp_path: Path) -> None:
    ids = write(tmp_path, "ids.txt", "".join(f"x{number}\n" for number in range(30)))
    ran = ubm("delete", "--ids", ids, "--store", nights)
    assert ran.code == 0
    assert "30 ids not in the store: 'x0', 'x1'," in ran.err
    assert "'x19', ..." in ran.err
    assert "'x20'" not in ran.err
    assert len(json.loads(ran.out)["unknown"]) == 30


def test_nothing_to_delete_is_no_error(nights: Path) -> None:
    ran = in_a_process("delete", "--ids", "-", "--store", nights)
    assert ran.returncode == 0, ran.stderr
    assert "nothing changed; version 3 stays live" in ran.stderr


def test_a_mapping_names_the_columns(ubm: Shell, nights: Path, tmp_path: Path) -> None:
    rows = write(tmp_path, "rows.csv", "sku,name\np1,long socks\n")
    mapping = write(tmp_path, "map.toml", '[catalogue.columns]\nproduct_id = "sku"\ntitle = "name"\n')
    ran = ubm("upsert", "--products", rows, "--map", mapping, "--store", nights)
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["changed"] == 1
