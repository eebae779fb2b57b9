"""What is said about titles and texts."""

from __future__ import annotations

import polars as pl
import pytest

from ubm_embed.data.corpus import PRODUCT_SCHEMA
from ubm_embed.data.inspection.texts import TextStatistics
from ubm_embed.data.inspection.title_cap import TitleCap
from ubm_embed.data.text.tokenizer import InteractionTokenizer

PHRASES = pl.Series(["shoe", None, "boot", "shoe"])


def measure(*titles: str | None, tokenizer: InteractionTokenizer | None = None) -> TextStatistics:
    rows = [(str(number), title, None, []) for number, title in enumerate(titles)]
    return TextStatistics.measure(pl.DataFrame(rows, PRODUCT_SCHEMA, orient="row"), PHRASES, tokenizer)


@pytest.mark.parametrize(
    ("title", "figure"),
    [
        (None, "empty_title_share"),
        ("  ", "empty_title_share"),
        ("1", "id_title_share"),
        ("1", "number_title_share"),
        ("978-3", "number_title_share"),
        ("Red shoe with lo...", "ellipsis_share"),
        ("Red shoe with lo…", "ellipsis_share"),
        ("Red &amp; blue", "markup_share"),
        ("5&#34; pipe", "markup_share"),
        ("<b>Red</b> shoe", "markup_share"),
        ("TÃ¼r", "broken_share"),
        ("Menâ€™s shoe", "broken_share"),
        ("T\ufffdr", "broken_share"),
        ("RED SHOE 42", "capitals_share"),
    ],
)
def test_a_flaw_is_counted(title: str | None, figure: str) -> None:
    assert getattr(measure("Plain shoe", title), figure) == 0.5


@pytest.mark.parametrize(
    "title", ["Shoe <3 you", "AT&T phone", "a < b and c > d", "Ã la carte", "x&y;", "鞋子", "Tür…los"]
)
def test_what_only_looks_like_a_flaw_is_not(title: str) -> None:
    found = measure("Plain shoe", title)
    flaws = ("markup_share", "broken_share", "ellipsis_share", "capitals_share", "number_title_share")
    assert {name: getattr(found, name) for name in flaws} == dict.fromkeys(flaws, 0.0)


def test_the_same_text_and_the_same_title() -> None:
    attributes = [[{"name": "size", "value": size}] for size in ("42", "43", "43", "44")]
    titles = ["shoe", "shoe", "shoe", "boot"]
    frame = pl.DataFrame(
        {"product_id": list("abcd"), "title": titles, "category": [None] * 4, "attributes": attributes}, PRODUCT_SCHEMA
    )
    found = TextStatistics.measure(frame, PHRASES)
    assert (found.same_text_share, found.same_title_share) == (0.5, 0.75)
    assert found.frequent_titles == {"shoe": 3}


def test_scripts_by_most_letters() -> None:
    found = measure("Red shoe", "Schön & groß", "Красные кроссовки Nike", "红色 A", "ქართული", "42")
    assert found.scripts == {"Latin": 2, "Cyrillic": 1, "Han": 1, "other": 1}


@pytest.mark.parametrize(
    ("title", "too_long"),
    [("word " * 32, False), ("word " * 33, True), ("a-b " * 10, False), ("a-b " * 11, True), ("鞋" * 33, True)],
)
def test_words_are_counted_as_the_tokenizer_splits(title: str, too_long: bool) -> None:
    found = measure(title)
    assert found.counted_in == "words"
    assert found.long_title_share == too_long


def test_a_long_title_alone_does_not_make_a_text_too_long() -> None:
    assert measure("word " * 500).long_text_share == 0


@pytest.mark.parametrize("title", ["red shoe", "shoe " * 32, "shoe " * 33, "unheardof " * 9])
@pytest.mark.parametrize("value", ["red " * 10, "red " * 27, "red " * 28, "red " * 29, "red " * 70])
def test_tokens_of_a_model(tokenizer: InteractionTokenizer, title: str, value: str) -> None:
    frame = pl.DataFrame([("a", title, None, [{"name": "colour", "value": value}])], PRODUCT_SCHEMA, orient="row")
    found = TextStatistics.measure(frame, PHRASES, tokenizer)
    in_title, in_value = (len(tokenizer.search_phrases([text]).row(0)) for text in (title, value))
    marks = 2  # [TITLE] and [COLOUR]
    assert found.counted_in == "tokens"
    assert found.long_title_share == (in_title > 32)
    assert found.long_text_share == (marks + min(in_title, 32) + in_value > 61)


def test_phrases_are_counted_once() -> None:
    assert measure("shoe").phrases == 2


def test_a_cap_stands_out_from_the_lengths_below_it() -> None:
    natural = [number for length in range(10, 60) for number in [length] * 5]
    assert TitleCap.find(pl.Series(natural).to_numpy()) is None
    cut = [min(length, 40) for length in natural]
    assert TitleCap.find(pl.Series(cut).to_numpy()) == TitleCap(40, 100, 0)


def test_a_few_longer_titles_from_elsewhere_do_not_hide_a_cap() -> None:
    lengths = [min(length, 40) for length in range(10, 60) for _ in range(5)] + [90, 91, 95]
    assert TitleCap.find(pl.Series(lengths).to_numpy()) == TitleCap(40, 100, 3)


def test_short_templates_are_no_cap() -> None:
    assert TitleCap.find(pl.Series([12] * 500 + [5] * 20).to_numpy()) is None
