"""build-index, query and lookup, as a shell sees them."""

from __future__ import annotations

import io
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
import typer
from typer.testing import CliRunner, Result

from cli import build_index, lookup, main, query
from indexer.refresh.refresh import build_index as build
from ubm_embed.data.session import Product
from ubm_embed.data.tasks.task import Task
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.errors import Conflict, InvalidData, NotFound
from ubm_embed.inference.predictor import Predictor
from ubm_embed.model.checkpoint import save_checkpoint
from ubm_embed.model.user_behavior_model import UserBehaviorModel

ROOT = Path(__file__).parents[2]
APP = typer.Typer()
for command in (build_index, query, lookup):
    command.register(APP)

KNOWN = {"session_id": "s1", "interactions": [{"action": "view", "product_id": "p1"}]}
STRANGE = {"session_id": "s2", "interactions": [{"action": "view", "product_id": "x"}]}


def run(*arguments: object, stdin: str | None = None) -> Result:
    """One command; errors that `cli.main` would turn into a message come back as they are."""
    result = CliRunner().invoke(APP, list(map(str, arguments)), input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def model_folder(
    tmp_path: Path, model: UserBehaviorModel, tokenizer: InteractionTokenizer, with_graphs: Callable[[Path], Path]
) -> Path:
    (tmp_path / "model").mkdir()
    save_checkpoint(tmp_path / "model", model, tokenizer, {})
    return with_graphs(tmp_path / "model")


@pytest.fixture
def task_folders(tmp_path: Path, model: UserBehaviorModel, tokenizer: InteractionTokenizer) -> dict[Task, Path]:
    """A folder with a model for each task."""
    folders = {task: tmp_path / f"{task}_model" for task in Task}
    for task, folder in folders.items():
        folder.mkdir()
        save_checkpoint(folder, model.fine_tuned(task=task), tokenizer, {})
    return folders


@pytest.fixture
def products_file(tmp_path: Path, products: pl.DataFrame) -> Path:
    products.with_columns(price=pl.lit(9.5)).write_parquet(tmp_path / "products.parquet")
    return tmp_path / "products.parquet"


@pytest.fixture
def store(tmp_path: Path, model_folder: Path, products_file: Path) -> Path:
    build(model=model_folder, products=products_file, store=tmp_path / "store")
    return tmp_path / "store"


def session_file(folder: Path, text: Any) -> Path:
    (folder / "session.json").write_text(text if isinstance(text, str) else json.dumps(text))
    return folder / "session.json"


def lines(*documents: Any) -> str:
    return "".join(json.dumps(document) + "\n" for document in documents)


class Pipe(io.BytesIO):
    """Lines that come from a program. It notes what had been answered whenever more was read."""

    def __init__(self, texts: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        super().__init__()
        self.texts, self.capsys, self.answered = texts, capsys, list[str]()

    def read1(self, size: int | None = -1, /) -> bytes:
        self.answered.append(self.capsys.readouterr().out)
        return self.texts.pop(0).encode() if self.texts else b""


class TestBuildIndex:
    def test_stderr_names_the_live_version_and_stdout_stays_empty(
        self, tmp_path: Path, model_folder: Path, products_file: Path
    ) -> None:
        result = run("build-index", "--model", model_folder, "--products", products_file, "--store", tmp_path / "store")
        assert (result.exit_code, result.stdout) == (0, "")
        assert "version 1 is live, 8 products in" in result.stderr

    def test_writes_the_manifest_as_json(self, store: Path, model_folder: Path, products_file: Path) -> None:
        arguments = ("build-index", "--model", model_folder, "--products", products_file, "--store", store)
        summary = json.loads(run(*arguments, "--format", "json").stdout)
        assert (summary["version"], summary["products"], summary["recall_at_10"]) == (2, 8, 1.0)
        assert summary["seconds"] > 0
        assert run(*arguments, "--format", "jsonl").stdout.count("\n") == 1

    def test_counts_popularity(self, tmp_path: Path, store: Path, model_folder: Path, products_file: Path) -> None:
        log = tmp_path / "interactions.jsonl"
        log.write_text(lines({"session_id": "s", "position": 0, "action": "buy", "product_id": "p7"}))
        inputs = ("--model", model_folder, "--products", products_file, "--interactions", log)
        assert run("build-index", *inputs, "--store", store).exit_code == 0
        answer = json.loads(run("query", "--session", session_file(tmp_path, STRANGE), "--store", store).stdout)
        assert [match["product_id"] for match in answer["matches"]] == ["p7"]

    def test_another_folder_is_refused(self, tmp_path: Path, model_folder: Path, products_file: Path) -> None:
        with pytest.raises(Conflict):
            run("build-index", "--model", model_folder, "--products", products_file, "--store", tmp_path)

    def test_a_model_for_another_task_is_refused(
        self, tmp_path: Path, task_folders: dict[Task, Path], products_file: Path
    ) -> None:
        inputs = ("--model", task_folders[Task.PIP], "--products", products_file)
        with pytest.raises(InvalidData, match="fine-tuned for pip, not for nip") as caught:
            run("build-index", *inputs, "--store", tmp_path / "new")
        assert caught.value.exit_code == 3
        assert not (tmp_path / "new").exists()


class TestQuery:
    def test_one_session_is_answered_with_one_object(self, tmp_path: Path, store: Path) -> None:
        result = run("query", "--session", session_file(tmp_path, KNOWN), "--store", store, "-k", 3)
        answer = json.loads(result.stdout)
        assert list(answer) == [
            "session_id",
            "version",
            "revision",
            "model_id",
            "fallback",
            "unknown",
            "took_ms",
            "matches",
        ]
        assert (answer["session_id"], answer["version"], answer["unknown"]) == ("s1", 1, [])
        assert [match["rank"] for match in answer["matches"]] == [1, 2, 3]
        assert list(answer["matches"][0]) == ["rank", "product_id", "score", "title", "category", "price"]
        assert result.stderr == ""

    def test_a_list_is_answered_with_a_list(self, tmp_path: Path, store: Path) -> None:
        for sessions in ([KNOWN], [KNOWN, STRANGE]):
            result = run("query", "--session", session_file(tmp_path, sessions), "--store", store)
            assert [answer["session_id"] for answer in json.loads(result.stdout)] == ["s1", "s2"][: len(sessions)]

    def test_a_list_without_sessions_is_an_error(self, tmp_path: Path, store: Path) -> None:
        with pytest.raises(InvalidData, match=r"no session; expected at least one in the list"):
            run("query", "--session", session_file(tmp_path, " [ ]\n"), "--store", store)

    def test_lines_are_answered_with_lines(self, tmp_path: Path, store: Path) -> None:
        result = run("query", "--session", session_file(tmp_path, lines(KNOWN, STRANGE)), "--store", store)
        assert [json.loads(line)["session_id"] for line in result.stdout.splitlines()] == ["s1", "s2"]
        arguments = ("query", "--session", session_file(tmp_path, lines(KNOWN, STRANGE)), "--store", store)
        assert len(json.loads(run(*arguments, "--format", "json").stdout)) == 2

    def test_more_sessions_than_one_search(self, store: Path) -> None:
        many = [KNOWN | {"session_id": str(number)} for number in range(300)]
        result = run("query", "--session", "-", "--store", store, "-k", 1, stdin=lines(*many))
        answers = list(map(json.loads, result.stdout.splitlines()))
        assert [answer["session_id"] for answer in answers] == [str(number) for number in range(300)]
        assert len({answer["matches"][0]["product_id"] for answer in answers}) == 1

    def test_a_table_is_for_people(self, store: Path) -> None:
        result = run("query", "--session", "-", "--store", store, "--format", "table", stdin=json.dumps(KNOWN))
        head, *rows = result.stdout.splitlines()
        assert head.split() == ["rank", "score", "product", "id", "title", "category", "price"]
        assert len(rows) == 7
        assert "9.5" in rows[0]

    def test_seen_products_match_with_include_seen(self, store: Path) -> None:
        result = run("query", "--session", "-", "--store", store, "--include-seen", stdin=json.dumps(KNOWN))
        assert len(json.loads(result.stdout)["matches"]) == 8

    def test_skipped_products_are_named_on_stderr(self, store: Path) -> None:
        one = run("query", "--session", "-", "--store", store, stdin=json.dumps(STRANGE))
        assert "version 1 does not know x" in one.stderr
        assert "answered by popularity: no known product" in one.stderr
        assert json.loads(one.stdout)["unknown"] == ["x"]
        two = run("query", "--session", "-", "--store", store, stdin=json.dumps([KNOWN, STRANGE]))
        assert "1 of 2 sessions name products" in two.stderr
        assert "1 of 2 sessions are not answered by the model: see `fallback`" in two.stderr

    def test_an_older_version_answers_by_its_number(self, store: Path, model_folder: Path, products_file: Path) -> None:
        build(model=model_folder, products=products_file, store=store)
        arguments = ("query", "--session", "-", "--store", store)
        assert json.loads(run(*arguments, stdin=json.dumps(KNOWN)).stdout)["version"] == 2
        assert json.loads(run(*arguments, "--version", 1, stdin=json.dumps(KNOWN)).stdout)["version"] == 1

    @pytest.mark.parametrize("output", ["jsonl", "json", "table"])
    def test_sessions_before_an_invalid_line_are_answered(self, store: Path, output: str) -> None:
        text = lines(KNOWN, {"interactions": [{"action": "fly"}]}, KNOWN)
        result = CliRunner().invoke(
            APP, ["query", "--session", "-", "--store", str(store), "--format", output], input=text
        )
        assert isinstance(result.exception, InvalidData)
        assert (result.exception.file, result.exception.row) == ("stdin", 2)
        assert result.exception.field == "interactions[0].action"
        if output == "table":
            assert result.stdout.startswith("session s1\n")
        else:
            answers = json.loads(result.stdout)
            answers = answers if output == "json" else [answers]
            assert [answer["session_id"] for answer in answers] == ["s1"]

    def test_an_invalid_session_of_a_list_leaves_no_half_output(self, store: Path) -> None:
        text = json.dumps([KNOWN, {"interactions": [{"action": "fly"}]}])
        result = CliRunner().invoke(APP, ["query", "--session", "-", "--store", str(store)], input=text)
        assert isinstance(result.exception, InvalidData)
        assert result.stdout == ""

    def test_lines_are_answered_as_they_come(
        self, store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        pipe = Pipe([lines(KNOWN), lines(KNOWN | {"session_id": "x"}, STRANGE)], capsys)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(pipe))
        assert main.run(["query", "--session", "-", "--store", str(store)]) == 0
        answered = [[json.loads(line)["session_id"] for line in out.splitlines()] for out in pipe.answered]
        assert answered == [[], ["s1"], ["x", "s2"]]

    def test_bytes_that_are_not_utf_8_are_invalid_data(self, tmp_path: Path, store: Path) -> None:
        (tmp_path / "latin").write_bytes(b'{"session_id": "\xe9"}')
        with pytest.raises(InvalidData, match=r"latin: not UTF-8 text: .* at byte 16"):
            run("query", "--session", tmp_path / "latin", "--store", store)

    def test_a_missing_file_or_store_is_not_found(self, tmp_path: Path, store: Path) -> None:
        with pytest.raises(NotFound, match="no file at"):
            run("query", "--session", tmp_path / "none.json", "--store", store)
        with pytest.raises(NotFound, match="ubm-embed build-index"):
            run("query", "--session", session_file(tmp_path, KNOWN), "--store", tmp_path / "none")

    def test_k_below_1_is_a_usage_error(self, tmp_path: Path, store: Path) -> None:
        result = run("query", "--session", session_file(tmp_path, KNOWN), "--store", store, "-k", 0)
        assert result.exit_code == 2


class TestLookup:
    def test_by_text(self, store: Path) -> None:
        described = ("--title", "red running shoes", "--category", "shoes")
        attributes = ("--attribute", "colour=red", "--attribute", "size=42")
        answer = json.loads(run("lookup", "--store", store, *described, *attributes, "-k", 2).stdout)
        assert answer["matches"][0]["product_id"] == "p1"
        assert answer["matches"][0]["score"] > 1.01  # words of its own
        plain = run("lookup", "--store", store, *described, *attributes, "-k", 2, "--no-words").stdout
        assert json.loads(plain)["matches"][0]["score"] == pytest.approx(1, abs=1e-5)
        assert len(answer["matches"]) == 2

    def test_by_a_search(self, store: Path, tmp_path: Path) -> None:
        found = json.loads(run("lookup", "--store", store, "--query", "red shirts", "-k", 3).stdout)
        search = {"interactions": [{"action": "search", "query": "red shirts"}]}
        queried = run("query", "--session", session_file(tmp_path, search), "--store", store, "-k", 3).stdout
        assert found["matches"] == json.loads(queried)["matches"]
        for also in (("--title", "red"), ("--product-id", "p1")):
            assert run("lookup", "--store", store, "--query", "red", *also).exit_code == 2

    def test_a_category_or_an_attribute_is_text_too(self, store: Path) -> None:
        for described in (("--category", "shirts"), ("--attribute", "material=leather")):
            answer = json.loads(run("lookup", "--store", store, *described, "-k", 3).stdout)
            assert len(answer["matches"]) == 3
            assert answer["fallback"] is None

    def test_by_id(self, store: Path) -> None:
        answer = json.loads(run("lookup", "--store", store, "--product-id", "p1").stdout)
        assert "p1" not in [match["product_id"] for match in answer["matches"]]
        assert len(answer["matches"]) == 7

    def test_by_a_file_or_stdin(self, tmp_path: Path, store: Path) -> None:
        product = {"title": "leather belt", "attributes": {"colour": "brown"}}
        for result in (
            run("lookup", "--store", store, "--file", session_file(tmp_path, product)),
            run("lookup", "--store", store, "--file", "-", stdin=json.dumps(product)),
        ):
            assert json.loads(result.stdout)["matches"][0]["product_id"] == "p6"

    @pytest.mark.parametrize(
        "arguments",
        [
            (),
            ("--title", "a", "--product-id", "p1"),
            ("--title", "a", "--file", "product.json"),
            ("--category", " "),
            ("--product-id", "p1", "--category", "shoes"),
            ("--product-id", "p1", "--attribute", "a=b"),
            ("--title", " "),
            ("--title", "a", "--attribute", "colour"),
            ("--title", "a", "--attribute", "=red"),
            ("--title", "a", "--attribute", "colour="),
            ("--title", "a", "-k", "0"),
        ],
    )
    def test_a_wrong_combination_is_a_usage_error(self, store: Path, arguments: tuple[str, ...]) -> None:
        result = run("lookup", "--store", store, *arguments)
        assert (result.exit_code, result.stdout) == (2, "")

    def test_an_unknown_id_is_not_found(self, store: Path) -> None:
        with pytest.raises(NotFound, match="no product 'x'"):
            run("lookup", "--store", store, "--product-id", "x")

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("{", "not JSON: .* at column 2"),
            ("[" * 100_000, "not JSON that can be read: too many brackets"),
            ("[]", "expected a product object"),
            ('{"title": 7}', "field 'title': expected a string"),
            ("{}", "a product without text"),
        ],
    )
    def test_a_bad_file_is_named(self, tmp_path: Path, store: Path, text: str, problem: str) -> None:
        file = session_file(tmp_path, text)
        with pytest.raises(InvalidData, match=problem) as caught:
            run("lookup", "--store", store, "--file", file)
        assert caught.value.file == str(file)


class TestPredictions:
    @pytest.fixture
    def arguments(self, store: Path, task_folders: dict[Task, Path]) -> tuple[object, ...]:
        """The options of both models."""
        models = ("--purchase-intention", task_folders[Task.PIP], "--remaining-length", task_folders[Task.RLP])
        return ("--store", store, "-k", 3, *models)

    def test_a_session_is_answered_with_both(self, arguments: tuple[object, ...]) -> None:
        answer = json.loads(run("query", "--session", "-", *arguments, stdin=json.dumps(KNOWN)).stdout)
        assert list(answer)[5:8] == ["unknown", "purchase_intention", "remaining_length"]
        assert 0 < answer["purchase_intention"] < 1
        assert answer["remaining_length"] >= 0
        assert len(answer["matches"]) == 3

    def test_only_the_given_model_predicts(self, store: Path, task_folders: dict[Task, Path]) -> None:
        arguments = ("query", "--session", "-", "--store", store, "--remaining-length", task_folders[Task.RLP])
        answer = json.loads(run(*arguments, stdin=json.dumps(KNOWN)).stdout)
        assert "remaining_length" in answer
        assert "purchase_intention" not in answer

    def test_an_unreadable_session_gets_no_predictions(self, arguments: tuple[object, ...]) -> None:
        known, strange = run("query", "--session", "-", *arguments, stdin=lines(KNOWN, STRANGE)).stdout.splitlines()
        assert "purchase_intention" in json.loads(known)
        assert not {"purchase_intention", "remaining_length"} & json.loads(strange).keys()

    def test_a_table_has_them_on_a_line_below(self, arguments: tuple[object, ...]) -> None:
        line_below = re.compile(r"purchase intention \d\.\d{3}, remaining length \d+\.\d")
        one = run("query", "--session", "-", *arguments, "--format", "table", stdin=json.dumps(KNOWN)).stdout
        assert [bool(line_below.fullmatch(line)) for line in one.splitlines()] == [False] * 4 + [True]
        two = run("query", "--session", "-", *arguments, "--format", "table", stdin=lines(STRANGE, KNOWN)).stdout
        assert [line for line in two.splitlines() if line_below.fullmatch(line)] == two.splitlines()[-1:]

    def test_a_lookup_has_them_too(self, arguments: tuple[object, ...], task_folders: dict[Task, Path]) -> None:
        parts = ("--title", "red shirt", "--category", "shirts", "--attribute", "colour=red")
        by_text, by_id = (
            json.loads(run("lookup", *arguments, *product).stdout) for product in (parts, ("--product-id", "p3"))
        )
        expected = Predictor.from_pretrained(task_folders[Task.PIP]).predict_product(
            Product("red shirt", "shirts", (("colour", "red"),))
        )
        for answer in (by_text, by_id):
            assert answer["purchase_intention"] == pytest.approx(expected, abs=2e-6)
            assert answer["remaining_length"] >= 0

    @pytest.mark.parametrize("command", [("query", "--session", "-"), ("lookup", "--title", "shoes")])
    @pytest.mark.parametrize(
        ("option", "tuned", "problem"),
        [
            ("--purchase-intention", Task.RLP, "fine-tuned for rlp, not for pip"),
            ("--remaining-length", Task.NIP, "fine-tuned for nip, not for rlp"),
            ("--remaining-length", None, "no head for rlp: fine-tune one with `ubm-embed finetune rlp`"),
        ],
    )
    def test_a_model_for_something_else_is_refused_before_any_search(
        self,
        tmp_path: Path,
        model_folder: Path,
        task_folders: dict[Task, Path],
        command: tuple[str, ...],
        option: str,
        tuned: Task | None,
        problem: str,
    ) -> None:
        folder = model_folder if tuned is None else task_folders[tuned]
        with pytest.raises(InvalidData, match=problem) as caught:
            run(*command, "--store", tmp_path / "never opened", option, folder, stdin=json.dumps(KNOWN))
        assert caught.value.file == folder / "config.json"

    def test_a_folder_without_a_model_is_not_found(self, tmp_path: Path, store: Path) -> None:
        with pytest.raises(NotFound, match="no model at"):
            run("lookup", "--title", "shoes", "--store", store, "--purchase-intention", tmp_path / "none")


def shell(*arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """One command in a process of its own."""
    command = [sys.executable, "-m", "cli", *map(str, arguments)]
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    return subprocess.run(command, cwd=ROOT, input=stdin, capture_output=True, text=True, env=settings, check=False)


class TestHostileInput:
    """What is refused or read, as a shell sees it: exit code and message."""

    @pytest.fixture
    def shop(self, store: Path, capsys: pytest.CaptureFixture[str]) -> Any:
        """Runs a command on a store: exit code, stdout, stderr."""

        def command(*arguments: object) -> tuple[int, str, str]:
            capsys.readouterr()
            return main.run([*map(str, arguments), "--store", str(store), "--format", "jsonl"]), *capsys.readouterr()

        return command

    @pytest.mark.parametrize(
        ("where", "message"),
        [
            ("\"category\" = 'shoes'", "write `category` for the column"),
            ("category = 'shoes'; price < 1", "nothing after a semicolon is read"),
            ("price < 50 price > 60", "ends before 'price'"),
            ("category = '\udcff'", "half a character"),
            ("\x1b[31mprice < 5", r"unexpected '\x1b' at character 1"),
        ],
    )
    def test_a_condition_that_means_something_else(self, shop: Any, where: str, message: str) -> None:
        code, out, error = shop("lookup", "--title", "red shoes", "--where", where)
        assert (code, out) == (3, "")
        assert message in error

    def test_half_a_character_and_null_in_options(self, shop: Any) -> None:
        code, out, _ = shop("lookup", "--title", "red \udcff\0 shoes", "--attribute", "col\udcffour=r\udcffd", "-k", 1)
        assert code == 0
        assert json.loads(out)["fallback"] is None
        code, _, error = shop("lookup", "--product-id", "p\udcff")
        assert (code, r"no product 'p\udcff'" in error) == (4, True)
        assert shop("query", "--session", "no\x1bwhere\udcff.json")[0] == 4

    def test_text_that_the_model_cannot_read(self, shop: Any) -> None:
        code, out, error = shop("lookup", "--title", "红色的鞋子")
        assert code == 0
        assert json.loads(out)["fallback"].startswith("text that the model cannot read")
        assert "answered by popularity: text that the model cannot read" in error

    def test_ids_are_read_as_everywhere(self, shop: Any, tmp_path: Path) -> None:
        odd = ["undefined", "p1\u00a0", 17.0, "\x1b[31mx", "\ud83d", "a\0b"]
        session = {"interactions": [{"action": "view", "product_id": one} for one in odd]}
        code, out, error = shop("query", "--session", session_file(tmp_path, session))
        assert code == 0
        assert json.loads(out)["unknown"] == ["undefined", "17", "\x1b[31mx", "?", "a\0b"]
        assert "\x1b" not in out + error
        assert shop("lookup", "--product-id", " p1 ")[0] == 0

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('{"interactions": ' + "[" * 100_000, "not JSON that can be read"),
            (json.dumps({"interactions": [{"action": "search", "query": "x" * 10**7}]}), "at most 100,000 characters"),
            (json.dumps({"interactions": [1] * 10**6}), "field 'interactions[999000]': expected an interaction object"),
        ],
        ids=["deep", "wide", "long"],
    )
    def test_a_session_without_end(self, shop: Any, tmp_path: Path, text: str, message: str) -> None:
        code, out, error = shop("query", "--session", session_file(tmp_path, text))
        assert (code, out) == (3, "")
        assert message in error

    def test_sessions_with_more_than_a_model_reads(self, shop: Any, tmp_path: Path) -> None:
        long = {"interactions": [{"action": "view", "product_id": "p1"}] * 200_000}
        wide = {"interactions": [{"action": "search", "query": "red shoes " * 9_000}] * 20}
        code, out, error = shop("query", "--session", session_file(tmp_path, lines(long, wide)), "-k", 1)
        assert (code, error) == (0, "")
        assert [len(json.loads(line)["matches"]) for line in out.splitlines()] == [1, 1]

    def test_more_matches_than_anybody_reads(self, shop: Any, tmp_path: Path) -> None:
        for command in (("query", "--session", session_file(tmp_path, KNOWN)), ("lookup", "--title", "shoes")):
            code, out, error = shop(*command, "-k", 10**9)
            assert (code, out, error) == (3, "", "error: field 'k': expected at most 1,000, got 1,000,000,000\n")

    def test_empty_rule_files_mean_none(self, shop: Any, tmp_path: Path) -> None:
        (tmp_path / "none.csv").touch()
        arguments = (
            "lookup",
            "--product-id",
            "p1",
            "--exclude",
            tmp_path / "none.csv",
            "--boost",
            tmp_path / "none.csv",
        )
        code, out, _ = shop(*arguments)
        assert (code, len(json.loads(out)["matches"])) == (0, 7)


class TestInAShell:
    def test_a_query_with_predictions(self, store: Path, task_folders: dict[Task, Path]) -> None:
        models = ("--purchase-intention", task_folders[Task.PIP], "--remaining-length", task_folders[Task.RLP])
        done = shell("query", "--session", "-", "--store", store, *models, stdin=json.dumps(KNOWN))
        assert (done.returncode, done.stderr) == (0, "")
        assert {"purchase_intention", "remaining_length", "matches"} <= json.loads(done.stdout).keys()

    def test_a_query_with_a_condition_in_double_quotes(self, store: Path) -> None:
        arguments = ("--store", store, "--where", "\"category\" = 'shoes'")
        done = shell("query", "--session", "-", *arguments, stdin=json.dumps(KNOWN))
        assert (done.returncode, done.stdout) == (3, "")
        message = "field 'where': \"category\" at character 1 stands in double quotes, which LanceDB reads as a text"
        assert done.stderr.startswith(f"error: {message}")

    def test_a_query_with_a_model_for_another_task(self, store: Path, task_folders: dict[Task, Path]) -> None:
        arguments = ("--store", store, "--purchase-intention", task_folders[Task.RLP])
        done = shell("query", "--session", "-", *arguments, stdin=json.dumps(KNOWN))
        assert (done.returncode, done.stdout) == (3, "")
        assert f"{task_folders[Task.RLP]}/config.json, field 'task': the model was fine-tuned for rlp" in done.stderr


# Runs commands in one process, and writes what they have loaded of the modules named.
_LOADS = """
import contextlib, io, json, sys
modules, commands = map(json.loads, sys.argv[1:])
from cli.main import run
for command in commands:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = run(command)
    print(json.dumps([code, bool(out.getvalue()), sorted(sys.modules.keys() & set(modules))]))
"""
# What takes longer to load than a query to answer.
_HEAVY = (
    *("torch", "transformers", "safetensors.torch", "scipy", "sklearn", "onnx", "rich"),
    *("polars", "lance", "lancedb", "pyarrow.compute", "pyarrow.dataset", "cli.demo", "cli.pretrain"),
)


def test_reading_commands_load_nothing_that_they_do_not_need(tmp_path: Path, store: Path) -> None:
    file = session_file(tmp_path, KNOWN)
    commands = [
        ["versions", "list", "--store", str(store)],
        ["query", "--session", str(file), "--store", str(store), "--diversity", "0.1", "--explain"],
        ["lookup", "--title", "red shoes", "--store", str(store), "--diversity", "0.1"],
    ]
    arguments = [sys.executable, "-c", _LOADS, json.dumps(_HEAVY), json.dumps(commands)]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=True)
    assert [json.loads(line) for line in done.stdout.splitlines()] == [[0, True, []]] * 3


class TestRules:
    """Rules about the answer: the same options for query and lookup."""

    def ids(self, *arguments: object) -> list[str]:
        return [match["product_id"] for match in json.loads(run(*arguments).stdout)["matches"]]

    @pytest.fixture
    def arguments(self, tmp_path: Path, store: Path) -> tuple[object, ...]:
        return ("query", "--session", session_file(tmp_path, KNOWN), "--store", store, "-k", 8)

    def test_only_products_that_satisfy_a_condition_match(self, arguments: tuple[object, ...], store: Path) -> None:
        assert set(self.ids(*arguments, "--where", "category = 'shirts'")) == {"p3", "p4", "p8"}
        assert set(self.ids("lookup", "--title", "boots", "--store", store, "--where", "category = 'shoes'")) == {
            "p1",
            "p2",
            "p5",
        }

    def test_the_error_says_what_is_wrong_with_a_condition(self, arguments: tuple[object, ...]) -> None:
        with pytest.raises(InvalidData, match="no column 'prize'; did you mean 'price'"):
            run(*arguments, "--where", "prize < 5")

    def test_files_exclude_and_boost(self, arguments: tuple[object, ...], tmp_path: Path) -> None:
        (tmp_path / "out.csv").write_text("product_id\np2\np3\n")
        (tmp_path / "up.csv").write_text("product_id,boost\np7,2\n")
        ids = self.ids(*arguments, "--exclude", tmp_path / "out.csv", "--boost", tmp_path / "up.csv")
        assert ids[0] == "p7"
        assert not {"p2", "p3"} & set(ids)

    def test_excluded_and_boosted_products_that_are_unknown_are_counted(
        self, arguments: tuple[object, ...], store: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "out.csv").write_text("product_id\np2\ny\nx\n")
        (tmp_path / "up.csv").write_text("product_id,boost\nz,2\n")
        rules = ("--exclude", tmp_path / "out.csv", "--boost", tmp_path / "up.csv")
        for command in (arguments, ("lookup", "--product-id", "p1", "--store", store)):
            ran = run(*command, *rules)
            assert (ran.exit_code, ran.stderr.splitlines()) == (
                0,
                [
                    "warning: version 1 does not know 2 of 3 ids in --exclude, such as 'x'",
                    "warning: version 1 does not know 1 of 1 id in --boost, such as 'z'",
                ],
            )

    def test_a_value_of_a_column_may_be_capped(self, arguments: tuple[object, ...]) -> None:
        matches = json.loads(run(*arguments, "--max-per", "category=1").stdout)["matches"]
        categories = [match["category"] for match in matches if match["category"] is not None]
        assert len(categories) == len(set(categories)) == 2

    @pytest.mark.parametrize("wrong", [("--max-per", "category"), ("--max-per", "category=0"), ("--diversity", "2")])
    def test_an_invalid_rule_is_a_usage_error(self, arguments: tuple[object, ...], wrong: tuple[str, str]) -> None:
        assert run(*arguments, *wrong).exit_code == 2

    def test_diversity_changes_the_matches_but_not_their_number(self, arguments: tuple[object, ...]) -> None:
        best, diverse = self.ids(*arguments[:-1], 4), self.ids(*arguments[:-1], 4, "--diversity", "0.9")
        assert best[0] == diverse[0]
        assert best != diverse
        assert len(diverse) == 4

    def test_explain_adds_reasons(self, arguments: tuple[object, ...]) -> None:
        matches = json.loads(run(*arguments, "--explain").stdout)["matches"]
        (reason,) = matches[0]["reasons"]
        assert (reason["interaction"], reason["action"], reason["product_id"]) == (1, "view", "p1")
        assert "reasons" not in json.loads(run(*arguments).stdout)["matches"][0]

    def test_counts_may_be_left_out(self, tmp_path: Path, store: Path, model_folder: Path, products_file: Path) -> None:
        log = pl.DataFrame(
            {"session_id": "s", "position": [0, 1, 2], "action": "view", "product_id": ["p3", "p5", "p2"]}
        )
        log.write_parquet(tmp_path / "log.parquet")
        build(model=model_folder, products=products_file, store=store, interactions=tmp_path / "log.parquet")
        file = session_file(tmp_path, {"interactions": [{"action": "view", "product_id": "p3"}]})
        with_counts, without = (
            {one["product_id"]: one["score"] for one in json.loads(run(*query, "-k", 8).stdout)["matches"]}
            for query in (
                ("query", "--session", file, "--store", store),
                ("query", "--session", file, "--store", store, "--no-counts"),
            )
        )
        assert {name for name in without if with_counts[name] > without[name]} >= {"p5", "p2"}, "they followed p3"
