from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.lexical.posting_lists import PostingListsBuilder, posting_lists
from indexer.lexical.words import word_hashes
from indexer.lexical.words_file import PostingLists, read_words, write_words
from ubm_embed.data.session import Product
from ubm_embed.errors import InvalidData

TITLES = st.lists(st.lists(st.sampled_from(["red", "blue", "shoe", "hat", "case"]), max_size=6), max_size=12)


def products(titles: list[list[str]]) -> list[Product]:
    return [Product(" ".join(words)) for words in titles]


def entries(lists: PostingLists, word: str) -> dict[int, int]:
    number = int(lists.find(word_hashes([word]))[0])
    if number < 0:
        return {}
    positions, frequencies = lists.list_of(number)
    return dict(zip(positions.tolist(), frequencies.tolist(), strict=True))


@given(TITLES)
def test_a_list_has_the_products_with_a_word_and_how_much_it_counts_there(titles: list[list[str]]) -> None:
    lists = posting_lists(products(titles))
    mean = sum(map(len, titles)) / len(titles) if titles else 1.0
    for word in ("red", "blue", "shoe", "hat", "case", "other"):
        expected = {
            at: words.count(word) / (words.count(word) + 1.2 * (0.25 + 0.75 * len(words) / mean))
            for at, words in enumerate(titles)
            if word in words
        }
        found = entries(lists, word)
        assert list(found) == list(expected)
        assert all(abs(found[at] / 255 - expected[at]) <= 0.003 for at in expected)


@given(TITLES, TITLES)
def test_lists_carried_over_are_those_of_all_products_together(first: list[list[str]], second: list[list[str]]) -> None:
    """Every other product is gone, and new ones stand among those that are left."""
    before = posting_lists(products(first))
    kept = list(range(0, len(first), 2))
    now = np.full(len(first), -1, np.int32)
    now[kept] = np.arange(len(kept)) * 2
    added = second[: max(len(kept) - 1, 0)]
    builder = PostingListsBuilder(before.mean_length)
    builder.carry(before, now)
    builder.add(np.arange(len(added)) * 2 + 1, products(added))
    anew = PostingListsBuilder(before.mean_length)
    anew.add(np.arange(len(kept)) * 2, products([first[at] for at in kept]))
    anew.add(np.arange(len(added)) * 2 + 1, products(added))
    for carried, expected in zip(_arrays(builder.build()), _arrays(anew.build()), strict=True):
        np.testing.assert_array_equal(carried, expected)


def _arrays(lists: PostingLists) -> tuple[np.ndarray, ...]:
    return lists.hashes, lists.offsets, lists.products, lists.frequencies


def test_a_file_has_what_was_written(tmp_path: Path) -> None:
    lists = posting_lists(products([["red", "shoe"], [], ["red"]]))
    write_words(tmp_path / "words.arrow", lists)
    read = read_words(tmp_path / "words.arrow", 3)
    (tmp_path / "words.arrow").unlink()
    read.require_valid()
    for mine, expected in zip(_arrays(read.lists), _arrays(lists), strict=True):
        np.testing.assert_array_equal(mine, expected)
    assert math.isclose(read.lists.mean_length, 1.0)


def test_a_file_says_how_many_products_came_after_the_mean_length_was_measured(tmp_path: Path) -> None:
    lists = posting_lists(products([["red"], ["blue", "hat"]]))
    assert lists.added_since == 0
    for expected in (1, 2):  # in two refreshes, one product each
        builder = PostingListsBuilder(lists.mean_length)
        builder.carry(lists, np.arange(1 + expected, dtype=np.int32))
        builder.add(np.array([1 + expected]), products([["case"]]))
        write_words(tmp_path / "words.arrow", builder.build())
        lists = read_words(tmp_path / "words.arrow", 2 + expected).lists
        assert (lists.added_since, lists.mean_length) == (expected, 1.5)


def test_a_shop_without_words_has_a_file(tmp_path: Path) -> None:
    write_words(tmp_path / "words.arrow", posting_lists([]))
    read = read_words(tmp_path / "words.arrow", 0)
    assert read.lists.find(word_hashes(["red"])).tolist() == [-1]
    assert read.lists.lengths(np.array([-1])).tolist() == [0]


@pytest.mark.parametrize("content", [b"", b"ARROW1", b"no words"])
def test_a_damaged_file_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "words.arrow").write_bytes(content)
    with pytest.raises(InvalidData, match=r"words\.arrow.*damaged"):
        read_words(tmp_path / "words.arrow", 3)
    with pytest.raises(InvalidData, match="missing"):
        read_words(tmp_path / "nothing.arrow", 3)


def test_another_file_is_no_file_of_words(tmp_path: Path) -> None:
    table = pa.table({"hash": [1]})
    with pa.OSFile(str(tmp_path / "words.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(InvalidData, match="other columns"):
        read_words(tmp_path / "words.arrow", 1)


@pytest.mark.parametrize("positions", [[0, 9], [1, 0], [-1, 0]])
def test_a_list_of_wrong_positions_is_an_error_that_names_its_row(tmp_path: Path, positions: list[int]) -> None:
    lists = posting_lists(products([["red"], ["red"]]))
    wrong = PostingLists(lists.hashes, lists.offsets, np.array(positions, np.int32), lists.frequencies, 1.0)
    write_words(tmp_path / "words.arrow", wrong)
    with pytest.raises(InvalidData, match=r"row 1.*products"):
        read_words(tmp_path / "words.arrow", 2).require_valid()
