import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.data.ids import BLANKS, PLACEHOLDERS, clean_id, clean_ids, is_no_id, is_odd_id

# What ids are made of, and what is done to them on the way.
PIECES = st.sampled_from([*sorted(PLACEHOLDERS), *BLANKS, "", "P1", "17", "-", ".0", ".00", ".5", "0", "\n", "Ünïcode"])
TEXTS = st.text() | st.lists(PIECES, max_size=4).map("".join) | PIECES.map(str.upper) | PIECES.map(str.title)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("P1", "P1"),
        (" P1\u00a0", "P1"),
        ("P 1", "P 1"),
        ("\u200bP1\u2060", "P1"),
        ("\u202aP\u200d1\u200e\u2069", "P\u200d1"),
        ("\u200b17.0\ufeff", "17"),
        ("\u200d", None),
        ("007", "007"),
        ("17.0", "17"),
        ("17.50", "17.50"),
        ("1.2.0", "1.2.0"),
        ("-3.00", "-3"),
        (" 17.0 ", "17"),
        ("undefined", None),
        ("NaN", None),
        ("\\N", None),
        ("(not set)", None),
        ("[object Object]", None),
        ("nullable", "nullable"),
        ("   ", None),
        ("", None),
    ],
)
def test_one_rule_for_ids(text: str, cleaned: str | None) -> None:
    assert clean_id(text) == cleaned


@given(TEXTS)
def test_a_column_is_cleaned_like_a_text(text: str) -> None:
    column = pl.Series([text, None])
    for check, expected in (
        (clean_ids, clean_id(text)),
        (is_odd_id, clean_id(text) != text),
        (is_no_id, clean_id(text) is None),
    ):
        assert pl.select(check(pl.lit(column))).to_series().to_list() == [expected, None]


@given(TEXTS)
def test_a_clean_id_stays(text: str) -> None:
    cleaned = clean_id(text)
    assert cleaned is None or clean_id(cleaned) == cleaned
