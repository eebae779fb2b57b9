import html

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.data.texts import clean_texts


def clean(text: str | None) -> str | None:
    return clean_texts(pl.Series([text], dtype=pl.String)).item()


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Salt &amp; pepper", "Salt & pepper"),
        ("Caf&eacute; &#39;noir&#x27;", "Café 'noir'"),
        ("&lt;b&gt;", "<b>"),
        ("&amp;amp;", "&"),
        ("&a\x00mp;", "&"),
        ("R&D, AT&T, black &notebook, pen & &notebook; a&b;", "R&D, AT&T, black &notebook, pen & &notebook; a&b;"),
        ("Boot \x00\x1b[31m", "Boot [31m"),
        ("two\r\n\tlines", "two lines"),
        (" \u00a0Shoe\ufeff", "Shoe"),
        ("Shoe \u202eder\u202c\ufeff \u2066x\u2069", "Shoe der x"),
        ("&#x202e;Shoe &amp;#8234;", "Shoe"),
        ("two\u2028more\u2029\nlines", "two more lines"),
        ("👩\u200d💻 می\u200cخواهم", "👩\u200d💻 می\u200cخواهم"),
        ("\u200bShoe\u2060", "Shoe"),
        ("&nbsp;", None),
        ("\x00", None),
        ("", None),
        (None, None),
        ("Schuhe für Kinder 👟", "Schuhe für Kinder 👟"),
    ],
)
def test_texts_are_cleaned(text: str | None, cleaned: str | None) -> None:
    assert clean(text) == cleaned


@given(
    st.text(st.characters(exclude_categories=["Cc", "Cs", "Z", "Cf"]), min_size=1).filter(lambda text: "&" not in text)
)
def test_other_texts_are_as_they_were_and_escaped_ones_come_back(text: str) -> None:
    assert clean(text) == text
    assert clean(html.escape(f"<{text}'>")) == f"<{text}'>"


@given(st.lists(st.text(alphabet="a&;#x0 \n\x00\x9fmp") | st.none()))
def test_nothing_odd_is_left(texts: list[str | None]) -> None:
    for text in clean_texts(pl.Series(texts, dtype=pl.String)):
        assert text is None or (text.strip() == text != "" and text.isprintable())


@given(st.lists(st.sampled_from(["&", "amp;", "#38;", "lt;", "#0;", "\x00", " ", "a"]), max_size=8))
def test_texts_that_are_read_twice_are_the_same(pieces: list[str]) -> None:
    once = clean("".join(pieces))
    assert clean(once) == once
