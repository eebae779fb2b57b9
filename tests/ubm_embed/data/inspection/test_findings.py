"""Warnings in words: each where it is due, and none where it is not."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from ubm_embed.data.corpus import PRODUCT_SCHEMA, Corpus
from ubm_embed.data.inspection.corpus_report import CorpusReport, inspect_corpus
from ubm_embed.data.inspection.finding import Finding, Severity, by_severity
from ubm_embed.data.inspection.losses import IngestLosses
from ubm_embed.data.sample_shop import write_sample_shop
from ubm_embed.errors import InvalidData

CorpusOf = Callable[..., Corpus]
NOW = datetime(2025, 6, 1)
NOON = datetime(2025, 3, 1, 12)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("shop") / "corpus"
    write_sample_shop(folder, products=400, sessions=3000)
    return Corpus.open(folder)


@pytest.fixture(scope="module")
def said(shop: Corpus) -> dict[str, Severity]:
    """What is said about the shop as it is."""
    return problems(shop)


def problems(corpus: Corpus, losses: IngestLosses | None = None) -> dict[str, Severity]:
    report = inspect_corpus(corpus, losses=losses, now=NOW)
    return {finding.problem: finding.severity for finding in report.findings}


def with_titles(corpus: Corpus, titles: Sequence[str | None]) -> Corpus:
    """The corpus with these titles for its first products."""
    column = pl.Series("title", [*titles, *corpus.products["title"][len(titles) :]], dtype=pl.String)
    return replace(corpus, products=corpus.products.with_columns(column))


class TestTheSampleShop:
    def test_only_what_is_true_of_it_is_said(self, said: dict[str, Severity]) -> None:
        assert set(said.values()) == {Severity.NOTE}
        # Its visits begin at any hour, and a few thousand sessions are few to test on.
        assert all(
            problem.startswith(("hardly a night", "nip, split by time", "pip, split by time")) for problem in said
        )

    def test_a_report_repeats_itself(self, shop: Corpus) -> None:
        first, second = (inspect_corpus(shop, now=NOW).to_dict() for _ in range(2))
        assert first == second

    def test_a_report_is_json(self, shop: Corpus) -> None:
        document = inspect_corpus(shop, now=NOW).to_dict()
        assert json.loads(json.dumps(document, allow_nan=False)) == document
        assert list(document) == list(CorpusReport.__dataclass_fields__)

    def test_progress_ends(self, shop: Corpus) -> None:
        steps: list[tuple[int, int]] = []
        inspect_corpus(shop, now=NOW, progress=lambda what, done, total, note="": steps.append((done, total)))
        assert steps[-1] == (6, 6)
        assert steps == sorted(steps)


@pytest.mark.parametrize(
    ("titles", "words"),
    [
        ([None] * 30, "have no title"),
        ([f"{number}" for number in range(30)], "have no letter"),
        (["Default title"] * 30, "30 products have the title 'Default title'"),
        ([f"Fine shoe number {number}..." for number in range(30)], "end in an ellipsis"),
        ([f"{'words ' * 13}{number:012}" for number in range(30)], "exactly 90 characters"),
        ([f"Shoe &amp; boot {number}" for number in range(30)], "HTML"),
        ([f"TÃ¼r {number}" for number in range(30)], "decoded wrongly"),
        (["word " * 33 + str(number) for number in range(60)], "more than 32 words"),
        ([f"Кроссовки {number}" for number in range(60)], "several scripts: Latin 85%, Cyrillic 15%"),
    ],
)
def test_texts(shop: Corpus, said: dict[str, Severity], titles: list[str | None], words: str) -> None:
    assert not any(words in problem for problem in said)
    assert any(words in problem for problem in problems(with_titles(shop, titles)))


def test_products_with_one_text(shop: Corpus) -> None:
    twins = shop.products.head(50).with_columns(product_id=pl.format("twin of {}", "product_id"))
    found = problems(replace(shop, products=pl.concat([shop.products, twins])))
    (problem,) = (problem for problem in found if "share all of their text" in problem)
    assert problem.startswith("22% of the products")
    assert found[problem] is Severity.WARNING


def retimed(shop: Corpus, moment: pl.Expr) -> Corpus:
    return replace(shop, interactions=shop.interactions.with_columns(timestamp=moment))


TIME = pl.col("timestamp").cast(pl.Datetime("us"))


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        (pl.when(pl.int_range(pl.len()) % 10 > 0).then(TIME), "10% of the interactions have no timestamp"),
        (TIME.dt.offset_by("1y"), "100% of the timestamps are in the future"),
        (TIME.dt.offset_by("-40y"), "100% of the timestamps are before 1990"),
        (TIME.dt.truncate("1d"), "timestamps are whole days"),
        (TIME.min().over("session_id"), "have one time for all"),
        (TIME - pl.duration(hours=pl.col("position")), "a timestamp is earlier than the one before"),
        (TIME + pl.duration(days=pl.col("position")), "last longer than a day"),
        (pl.when(TIME.dt.day() < 20).then(TIME).otherwise(TIME.dt.offset_by("3d")), "3 days of 33 without"),
    ],
)
def test_times(shop: Corpus, said: dict[str, Severity], moment: pl.Expr, words: str) -> None:
    assert not any(words in problem for problem in said)
    assert any(words in problem for problem in problems(retimed(shop, moment)))


def test_a_shop_with_nights_is_not_told_that_it_has_none(shop: Corpus) -> None:
    by_day = retimed(
        shop, TIME.dt.truncate("1d") + pl.duration(hours=8 + TIME.dt.hour() // 2, minutes=TIME.dt.minute())
    )
    assert not any("night" in problem for problem in problems(by_day))


def test_no_timestamps_is_a_note(shop: Corpus) -> None:
    bare = replace(shop, interactions=shop.interactions.drop("timestamp"))
    assert problems(bare)["no timestamps"] is Severity.NOTE


def test_an_order_of_ids_is_an_error_and_comes_first(shop: Corpus) -> None:
    products = shop.interactions.filter(pl.col("action") != "search").drop("timestamp")
    listed = products.sort("session_id", "product_id").with_columns(
        position=pl.int_range(pl.len()).over("session_id").cast(pl.Int32)
    )
    report = inspect_corpus(replace(shop, interactions=listed), now=NOW)
    assert report.findings[0].severity is Severity.ERROR
    assert report.findings[0].section == "order"
    assert "that of the product ids" in report.findings[0].problem


def test_sessions_that_teach_nothing(corpus_of: CorpusOf) -> None:
    found = problems(corpus_of([["a"], ["b"]] * 50))
    assert found["no session has two different products"] is Severity.ERROR
    assert "100% of the sessions have one interaction" in found
    assert "no searches" in found


def test_repeats_and_length(corpus_of: CorpusOf) -> None:
    found = problems(corpus_of([["a", "a", "a", "b"] * 10] * 20))
    assert any("repeat the one just before" in problem for problem in found)
    assert any("are the last product again" in problem for problem in found)
    assert any("exceed 32 interactions" in problem for problem in found)


def test_removals_are_named(corpus_of: CorpusOf) -> None:
    found = problems(corpus_of([["a", "add a", "remove a", "b"]] * 5))
    assert found["5 removals from the cart, 25% of all interactions"] is Severity.NOTE


def test_most_products_are_rare_or_never_seen(corpus_of: CorpusOf) -> None:
    assert any("fewer than 5 times" in problem for problem in problems(corpus_of([["a", "b"]])))
    unseen = corpus_of([["a", "b"]], products=["a", "b", "c", "d", "e"])
    assert any("60% of the products are in no session" in problem for problem in problems(unseen))


def test_robots_and_shared_accounts(corpus_of: CorpusOf) -> None:
    times = [[NOON + timedelta(seconds=second) for second in range(1200)], [NOON, NOON + timedelta(minutes=1)]]
    found = problems(corpus_of([["a", "b"] * 600, ["a", "b"]], times=times, users=["robot", "u"]))
    assert any(problem.startswith("1 heavy session ") for problem in found)
    assert any(problem.startswith("1 heavy user ") for problem in found)


def test_what_a_task_needs(corpus_of: CorpusOf) -> None:
    session = ["a", "b", "c", "d", "e", "f", "g"]
    found = problems(corpus_of([session] * 300 + [["buy a"]]))
    assert "pip, split by session: all" in " ".join(found)
    assert "pip: no purchases" in problems(corpus_of([session] * 300))
    assert any("rlp, split by session: 0 examples" in problem for problem in problems(corpus_of([["a", "b"]] * 300)))


def test_events_of_unknown_products(shop: Corpus, said: dict[str, Severity]) -> None:
    losses = IngestLosses.from_counts(1000, {"product without text": 200, "no timestamp": 20, "repeated": 500})
    found = problems(shop, losses)
    assert found["40% of the events name products without text"] is Severity.WARNING
    assert found["4.0% of the events were dropped for other reasons"] is Severity.NOTE
    nothing = IngestLosses.from_counts(1000, {"repeated": 500, "other event": 100})
    assert problems(shop, nothing) == said


def test_the_worst_come_first_and_others_keep_their_order() -> None:
    findings = [
        Finding(Severity(name), name, str(number), "") for number, name in enumerate(("note", "error", "warning"))
    ]
    ranked = by_severity([*findings, Finding(Severity.ERROR, "error", "3", "")])
    assert [finding.problem for finding in ranked] == ["1", "3", "2", "0"]


@pytest.mark.parametrize("part", ["products", "interactions"])
def test_an_empty_corpus_is_refused(shop: Corpus, part: str) -> None:
    empty = replace(shop, **{part: getattr(shop, part).clear()})
    with pytest.raises(InvalidData, match="at least one"):
        inspect_corpus(empty)


def test_a_corpus_of_searches_alone(corpus_of: CorpusOf, tmp_path: Path) -> None:
    products = pl.DataFrame([("a", "Shoe", None, [])], PRODUCT_SCHEMA, orient="row")
    report = inspect_corpus(corpus_of([["search x", "search y"]], products=products), now=NOW)
    assert report.texts.phrases == 2
    assert report.products.never_share == 1
