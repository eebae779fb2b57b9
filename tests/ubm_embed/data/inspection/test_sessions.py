"""Counts of sessions and products."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ubm_embed.data.corpus import Corpus
from ubm_embed.data.inspection.numbered_corpus import NumberedCorpus
from ubm_embed.data.inspection.popularity import PopularityStatistics
from ubm_embed.data.inspection.sessions import SessionStatistics

CorpusOf = Callable[..., Corpus]


def measure(corpus: Corpus) -> SessionStatistics:
    return SessionStatistics.measure(NumberedCorpus.from_corpus(corpus))


def test_lengths_and_actions(corpus_of: CorpusOf) -> None:
    found = measure(corpus_of([["a"], ["search x", "a"], ["a", "add a", "buy a"], ["a", "b"] * 20]))
    assert (found.sessions, found.interactions) == (4, 46)
    assert found.lengths == {"1": 1, "2": 1, "3-5": 1, "6-10": 0, "11-20": 0, "21-32": 0, "over 32": 1}
    assert found.quantiles["50"] == 2
    assert found.quantiles["100"] == 40
    assert found.actions == {"search": 1, "view": 43, "add": 1, "buy": 1}
    assert (found.single_share, found.longer_than_read_share) == (0.25, 0.25)


def test_a_session_of_32_is_read_whole(corpus_of: CorpusOf) -> None:
    assert measure(corpus_of([["a", "b"] * 16])).longer_than_read_share == 0


def test_only_two_different_products_count_as_several(corpus_of: CorpusOf) -> None:
    assert measure(corpus_of([["a", "add a"], ["a", "search x"], ["a", "b"]])).several_products == 1


def test_repeats_of_the_last_product_and_of_an_earlier_one(corpus_of: CorpusOf) -> None:
    found = measure(corpus_of([["a", "add a", "search x", "a", "b", "a"], ["a"]]))
    # a, then: a (last), a (last, the search between does not count), b (new), a (earlier)
    assert found.next_products == 4
    assert (found.repeats_last_share, found.repeats_earlier_share) == (0.5, 0.25)


def test_the_same_action_with_the_same_product_again(corpus_of: CorpusOf) -> None:
    found = measure(corpus_of([["a", "a", "add a", "add a"], ["add a", "search x", "search y"]]))
    assert found.same_again_share == pytest.approx(2 / 7)


def test_products_by_how_often_they_are_seen(corpus_of: CorpusOf) -> None:
    sessions = [["once"], ["four"] * 4, ["five"] * 5, ["search never"]]
    corpus = corpus_of(sessions, products=["once", "four", "five", "never", "nor"])
    found = PopularityStatistics.measure(NumberedCorpus.from_corpus(corpus))
    assert found.products == 5
    assert found.seen == {"never": 2, "once": 1, "2-4": 1, "5-19": 1, "20-99": 0, "100 or more": 0}
    assert (found.never_share, found.rare_share, found.top_share) == (0.4, 0.4, 0.5)
