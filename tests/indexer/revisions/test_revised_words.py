from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from indexer.index.selection import Selection
from indexer.lexical.posting_lists import posting_lists
from indexer.lexical.words_file import PostingLists, VersionWords
from indexer.revisions import revised_words
from indexer.revisions.appended_words import AppendedWords
from indexer.revisions.revised_words import RevisedWords
from ubm_embed.data.session import Product

WORDS = ["red", "blue", "shoe", "hat", "case", "phone", "cable"]


def made_up(count: int, seed: int = 0) -> list[str]:
    random = np.random.default_rng(seed)
    rates = 1 / np.arange(1, len(WORDS) + 1)
    return [" ".join(random.choice(WORDS, random.integers(1, 8), p=rates / rates.sum())) for _ in range(count)]


def version_words(titles: Sequence[str]) -> VersionWords:
    return VersionWords(posting_lists(list(map(Product, titles))), len(titles), Path("words.arrow"))


def bm25(titles: Sequence[str], words: Sequence[str], mean: float) -> dict[int, float]:
    """The scores of all titles that have some of the words, as the formula is printed."""
    texts, total = [title.split() for title in titles], dict[int, float]()
    alive = sum(bool(text) for text in texts)
    for word in words:
        having = sum(word in text for text in texts)
        rarity = math.log(1 + (alive - having + 0.5) / (having + 0.5))
        for at, text in enumerate(texts):
            if word in text:
                count = text.count(word)
                norm = 1.2 * (0.25 + 0.75 * len(text) / mean)
                total[at] = total.get(at, 0) + rarity * count * 2.2 / (count + norm)
    return total


def assert_scores(words: RevisedWords, titles: Sequence[str], query: Sequence[str]) -> None:
    expected = bm25(titles, query, words.published.lists.mean_length)
    positions, scores = words.candidates(query)
    assert positions.tolist() == sorted(expected)
    assert scores.tolist() == pytest.approx([expected[at] for at in sorted(expected)], rel=0.01)


QUERIES = [["red"], ["phone", "case"], ["cable", "hat", "unknown"], ["unknown"], [], WORDS]


@pytest.mark.parametrize("query", QUERIES)
def test_products_with_the_words_are_scored_by_bm25(query: list[str]) -> None:
    titles = made_up(60)
    assert_scores(RevisedWords.as_published(version_words(titles)), titles, query)


@pytest.mark.parametrize("query", QUERIES)
def test_under_a_revision_they_are_scored_as_if_all_were_published(query: list[str]) -> None:
    """Some products are gone, and others appended in several steps."""
    titles, added = made_up(60), made_up(30, seed=1)
    appended = AppendedWords(version_words(titles).lists.mean_length)
    for first in range(0, 30, 7):
        appended = appended.extended([Product(title) for title in added[first : first + 7]])
    assert len(appended.parts) <= math.log2(120)
    mask = np.random.default_rng(2).random(90) < 0.7
    words = RevisedWords(version_words(titles), appended, Selection(mask))
    assert_scores(words, [title if mask[at] else "" for at, title in enumerate(titles + added)], query)


def test_positions_without_a_product_are_passed_over() -> None:
    appended = AppendedWords(1.0).extended([None, Product("red"), None]).extended([Product("red")])
    words = RevisedWords(version_words([]), appended, None)
    assert words.candidates(["red"])[0].tolist() == [1, 3]


def test_words_of_very_many_products_only_add_to_what_rarer_ones_find(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revised_words, "MAX_ENTRIES", 10)
    titles = ["red case"] * 8 + ["red"] * 20 + ["case"] * 20
    words = RevisedWords.as_published(version_words([*titles, "red case phone"]))
    positions, scores = words.candidates(["red", "case", "phone"])
    everything = bm25([*titles, "red case phone"], ["red", "case", "phone"], words.published.lists.mean_length)
    assert positions.tolist() == [48]
    assert scores.tolist() == pytest.approx([everything[48]], rel=0.01)
    assert words.candidates(["red"])[0].tolist() == []


def test_a_hostile_query_reads_a_bounded_number_of_words(monkeypatch: pytest.MonkeyPatch) -> None:
    read = list[int]()
    published = version_words([f"w{number}" for number in range(200)])
    words = RevisedWords.as_published(published)
    list_of = PostingLists.list_of

    def counted(lists: PostingLists, word: int) -> object:
        read.append(word)
        return list_of(lists, word)

    monkeypatch.setattr(PostingLists, "list_of", counted)
    words.candidates([f"w{number}" for number in range(10_000)])
    assert len(set(read)) == 64
