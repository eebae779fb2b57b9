import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.data.tables.csv_escapes import without_escapes
from ubm_embed.data.tables.formats import CsvFormat

TEXTS = st.text(alphabet="\\\\\\\t\n\rNa").map(str.encode)


def plain(*chunks: bytes) -> bytes:
    return b"".join(without_escapes(iter(chunks), "\\"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (rb"plain", rb"plain"),
        (b"a\\\tb\tc\\\nd\n", b"a b\tc d\n"),
        (b"a\\\r\nb\r\n", b"a b\r\n"),
        (b"a\\\\\tb", b"a\\\tb"),
        (rb"C:\\new\N", rb"C:\new\N"),
        (b"end\\", b"end\\"),
    ],
)
def test_what_a_backslash_is_before_is_part_of_the_value(text: bytes, expected: bytes) -> None:
    assert plain(text) == expected


@given(TEXTS, st.lists(st.integers(0, 20)))
def test_chunks_may_end_anywhere(text: bytes, cuts: list[int]) -> None:
    bounds = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    assert plain(*(text[start:end] for start, end in pairwise(bounds))) == plain(text)


@given(st.lists(st.text(alphabet="\\\t\na"), max_size=4))
def test_values_come_back_with_blanks(values: list[str]) -> None:
    written = "\t".join(re.sub(r"[\\\t\n]", r"\\\g<0>", value) for value in values)
    assert plain(written.encode()).decode() == "\t".join(re.sub(r"[\t\n]", " ", value) for value in values)


@pytest.mark.parametrize("other", [{}, {"separator": ","}, {"separator": "\t", "escape": "\n"}])
def test_escapes_are_of_files_that_are_separated_by_tabs(other: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="escape must be"):
        CsvFormat(**{"escape": "\\", **other})
