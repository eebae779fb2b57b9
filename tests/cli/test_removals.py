"""Removals from the cart from one end to the other: a model that learned a token for them, and one that did not."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from cli.main import run
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.interactions import INTERACTION_SCHEMA
from ubm_embed.data.removals import MIN_REMOVALS
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.evaluation import evaluation

TINY = ("--layers", "1", "--width", "16", "--session-layers", "1", "--vocab-size", "256")
SHORT = (*TINY, "--max-steps", "2", "--item-batch", "8", "--session-batch", "8", "--split", "session")
SHORT_TUNING = ("--only-session-encoder", "--max-steps", "2", "--validation-steps", "2", "--min-interactions", "2")
ADDED, VIEWED, REMOVED = (
    {"action": action, "product_id": name} for action, name in (("add", "p1"), ("view", "p2"), ("remove", "p1"))
)


def interactions(sessions: int) -> pl.DataFrame:
    """Sessions that view two products, take others into the cart and out again, and may buy one."""
    rng, rows = np.random.default_rng(0), []
    for number in range(sessions):
        names = [f"p{1 + row}" for row in rng.permutation(8)]
        steps = [("view", names[0]), ("view", names[1])]
        steps += [(action, name) for name in names[2:6] for action in ("add", "remove")]
        steps += [("add", names[6]), *[("buy", names[6])] * (number % 2)]
        rows += [(f"s{number}", position, *step, None) for position, step in enumerate(steps)]
    return pl.DataFrame(rows, schema=INTERACTION_SCHEMA, orient="row")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, products: pl.DataFrame) -> Path:
    """A folder with two corpora, a pre-trained model and a store of each: one of many removals, and one of few."""
    folder = tmp_path_factory.mktemp("shop")
    for name, sessions in (("many", MIN_REMOVALS // 4 + 1), ("few", 60)):
        Corpus(products, interactions(sessions)).write(folder / f"{name}.corpus")
        where = ["--corpus", str(folder / f"{name}.corpus"), "--out", str(folder / name)]
        assert run(["pretrain", *where, *SHORT, "--holdout", "0.4"]) == 0
        catalogue = ["--products", str(folder / "many.corpus" / "products.parquet")]
        assert (
            run(["build-index", "--model", str(folder / name), *catalogue, "--store", str(folder / f"{name}.store")])
            == 0
        )
    return folder


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five are enough to see that there are intervals."""
    monkeypatch.setattr(evaluation, "evaluate", partial(evaluation.evaluate, rounds=5))


@pytest.fixture
def matches(shop: Path, ubm: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """The answer of a store to a session, seen products included."""

    def ask(name: str, *interactions: dict[str, str]) -> Any:
        (tmp_path / "session.json").write_text(json.dumps({"interactions": interactions}))
        arguments = ("--store", shop / f"{name}.store", "--include-seen", "--format", "json")
        done = ubm("query", "--session", tmp_path / "session.json", *arguments)
        assert done.code == 0, done.err
        return json.loads(done.out)

    return ask


@pytest.mark.parametrize(("name", "token"), [("many", True), ("few", False)])
def test_a_vocabulary_has_a_token_for_removals_where_there_are_many(shop: Path, name: str, token: bool) -> None:
    tokenizer = InteractionTokenizer.from_pretrained(shop / name)
    assert ("[REMOVE]" in tokenizer.tokens(range(tokenizer.vocab_size))) is token


def test_a_model_with_the_token_reads_a_removal(matches: Callable[..., Any]) -> None:
    whole, kept, rest = (
        [match["score"] for match in matches("many", *session)["matches"]]
        for session in ([ADDED, VIEWED, REMOVED], [ADDED, VIEWED], [VIEWED])
    )
    assert whole != kept
    assert whole != rest


def test_another_model_answers_as_if_the_add_had_not_been(matches: Callable[..., Any]) -> None:
    whole, rest = matches("few", ADDED, VIEWED, REMOVED), matches("few", VIEWED)
    assert whole["matches"] == rest["matches"]
    assert matches("few", ADDED, REMOVED)["fallback"].startswith("nothing in the session but products")


def test_a_removed_product_was_seen(shop: Path, ubm: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "session.json").write_text(json.dumps({"interactions": [ADDED, VIEWED, REMOVED]}))
    for name in ("many", "few"):
        arguments = ("--store", shop / f"{name}.store", "--format", "json")
        done = ubm("query", "--session", tmp_path / "session.json", *arguments)
        assert not {"p1", "p2"} & {match["product_id"] for match in json.loads(done.out)["matches"]}


@pytest.mark.parametrize(("name", "task"), [("many", "pip"), ("many", "rlp"), ("few", "pip"), ("few", "rlp")])
def test_both_models_are_fine_tuned_and_evaluated_on_a_log_with_removals(
    shop: Path, ubm: Callable[..., Any], tmp_path: Path, name: str, task: str
) -> None:
    corpus, out = shop / f"{name}.corpus", tmp_path / task
    done = ubm("finetune", task, "--model", shop / name, "--corpus", corpus, "--out", out, *SHORT_TUNING)
    assert done.code == 0, done.err
    done = ubm("evaluate", task, "--model", out, "--corpus", corpus, "--format", "jsonl")
    assert done.code == 0, done.err


def test_models_with_and_without_the_token_are_compared_on_one_log(shop: Path, ubm: Callable[..., Any]) -> None:
    for first, second in (("many", "few"), ("few", "many")):
        models = ("--model", shop / first, "--against", shop / second)
        done = ubm("evaluate", "nip", *models, "--corpus", shop / "many.corpus", "--format", "jsonl")
        assert done.code == 0, done.err
        assert len(done.out.splitlines()) > 2


def test_an_old_model_is_trained_further_on_a_log_with_many_removals(
    shop: Path, ubm: Callable[..., Any], tmp_path: Path
) -> None:
    arguments = ("--corpus", shop / "many.corpus", "--out", tmp_path / "more", *SHORT[6:])
    done = ubm("pretrain", "--init", shop / "few", *arguments)
    assert done.code == 0, done.err
    assert not InteractionTokenizer.from_pretrained(tmp_path / "more").reads_removals
