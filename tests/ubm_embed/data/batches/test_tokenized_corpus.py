"""Which text row each interaction gets, when sessions began, and what identifies the data."""

import dataclasses

import numpy as np
import polars as pl
import pytest

from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.session import ACTIONS

INTERACTIONS = [
    ("z", "search", None, "red shoes"),
    ("z", "view", "p8", None),
    ("z", "buy", "p1", None),
    ("a", "search", None, "blue shirt"),
    ("a", "search", None, "red shoes"),
    ("m", "add", "p8", None),
]


@pytest.fixture
def corpus(products):
    columns = ["session_id", "action", "product_id", "query"]
    return Corpus(products, pl.DataFrame(INTERACTIONS, schema=columns, orient="row"))


@pytest.fixture
def tokenized(corpus, tokenizer):
    return TokenizedCorpus.from_corpus(corpus, tokenizer)


class TestOf:
    def test_products_come_first_then_each_phrase_once(self, tokenized, tokenizer, products):
        expected = [
            *map(tokenizer.product_texts(products).row, range(8)),
            *map(tokenizer.search_phrases(["red shoes", "blue shirt"]).row, range(2)),
        ]
        assert [row.tolist() for row in map(tokenized.texts.row, range(len(tokenized.texts)))] == [
            row.tolist() for row in expected
        ]
        assert tokenized.products == 8
        assert tokenized.is_product.tolist() == [True] * 8 + [False] * 2

    def test_every_interaction_keeps_its_action_and_gets_its_text(self, tokenized):
        assert [str(ACTIONS[code]) for code in tokenized.sessions.actions] == [row[1] for row in INTERACTIONS]
        assert tokenized.sessions.rows.tolist() == [8, 7, 0, 9, 8, 7]

    def test_sessions_are_in_the_order_of_the_corpus(self, tokenized):
        assert tokenized.session_ids.tolist() == ["z", "a", "m"]
        assert tokenized.sessions.offsets.tolist() == [0, 3, 5, 6]

    def test_removals_take_adds_back_unless_there_is_a_token_for_them(self, corpus, tokenizer, removal_tokenizer):
        rows = [("m", "remove", "p8", None), ("n", "view", "p1", None), ("n", "remove", "p1", None)]
        added = pl.DataFrame(rows, schema=corpus.interactions.schema, orient="row")
        removing = Corpus(corpus.products, pl.concat([corpus.interactions, added]))
        without, reading = (TokenizedCorpus.from_corpus(removing, one) for one in (tokenizer, removal_tokenizer))
        assert reading.sessions.offsets.tolist() == [0, 3, 5, 7, 9]
        assert reading.sessions.actions.tolist()[-4:] == [
            ACTIONS.index(name) for name in ("add", "remove", "view", "remove")
        ]
        assert without.sessions.offsets.tolist() == [0, 3, 5, 5, 6], "a session may be left empty"
        assert without.sessions.actions.tolist()[-1] == ACTIONS.index("view")
        assert without.session_ids.tolist() == reading.session_ids.tolist() == ["z", "a", "m", "n"]

    def test_types_are_small(self, tokenized):
        assert (tokenized.sessions.actions.dtype, tokenized.sessions.rows.dtype) == (np.uint8, np.int32)

    def test_a_shop_without_searches(self, corpus, tokenizer):
        viewed = Corpus(corpus.products, corpus.interactions.filter(pl.col("action") != "search"))
        tokenized = TokenizedCorpus.from_corpus(viewed, tokenizer)
        assert len(tokenized.texts) == 8
        assert tokenized.sessions.rows.tolist() == [7, 0, 7]


MOMENTS = ["2026-03-02T08:00:05", "2026-03-02T08:00:00", "2026-03-02T09:00:00", None, "2026-03-01T00:00:00", None]
EIGHT, MARCH = 1_772_438_400_000_000, 1_772_323_200_000_000


def timed(corpus, moments):
    return Corpus(corpus.products, corpus.interactions.with_columns(timestamp=moments))


class TestStarts:
    def test_a_session_begins_with_its_earliest_interaction(self, corpus, tokenizer):
        moments = pl.Series([*MOMENTS[:5], "1969-12-31T23:59:59.999999"]).str.to_datetime(time_unit="us")
        starts = TokenizedCorpus.from_corpus(timed(corpus, moments), tokenizer).starts
        assert starts.tolist() == [EIGHT, MARCH, -1]  # in the order of the sessions, not of time
        assert starts.dtype == np.int64

    @pytest.mark.parametrize("unit", ["ms", "us", "ns"])
    @pytest.mark.parametrize("zone", [None, "Asia/Tokyo"])
    def test_units_and_zones_are_one_clock(self, corpus, tokenizer, unit, zone):
        moments = pl.Series([EIGHT] * 6).cast(pl.Datetime("us", "UTC")).cast(pl.Datetime(unit, "UTC"))
        moments = moments.dt.replace_time_zone(None) if zone is None else moments.dt.convert_time_zone(zone)
        assert TokenizedCorpus.from_corpus(timed(corpus, moments), tokenizer).starts.tolist() == [EIGHT] * 3

    def test_seconds_since_1970_and_dates(self, corpus, tokenizer):
        for moments in (pl.Series([MARCH // 10**6] * 6), pl.Series([MARCH]).cast(pl.Datetime("us")).cast(pl.Date)):
            moments = moments.new_from_index(0, 6)
            assert TokenizedCorpus.from_corpus(timed(corpus, moments), tokenizer).starts.tolist() == [MARCH] * 3

    def test_none_where_a_session_or_the_log_has_no_time(self, tokenized, corpus, tokenizer):
        moments = pl.Series(MOMENTS).str.to_datetime(time_unit="us")
        assert moments.null_count() == 2  # one beside another in its session, one alone
        assert TokenizedCorpus.from_corpus(timed(corpus, moments), tokenizer).starts is None
        assert tokenized.starts is None


class TestFingerprint:
    def test_equal_data_has_one_name_that_says_how_much_it_is(self, tokenized, corpus, tokenizer):
        name = tokenized.fingerprint()
        assert name == TokenizedCorpus.from_corpus(corpus, tokenizer).fingerprint()
        assert name.startswith("10 texts, 3 sessions, 6 interactions, ")
        assert len(name.rpartition(", ")[2]) == 16

    def test_any_change_gives_another(self, tokenized):
        sessions, texts = tokenized.sessions, tokenized.texts
        changes = [
            {"session_ids": tokenized.session_ids[::-1]},
            {"sessions": dataclasses.replace(sessions, actions=sessions.actions[::-1])},
            {"sessions": dataclasses.replace(sessions, rows=sessions.rows[::-1])},
            {"sessions": dataclasses.replace(sessions, offsets=np.array([0, 2, 5, 6]))},
            {"texts": dataclasses.replace(texts, ids=texts.ids + 1)},
        ]
        names = {tokenized.fingerprint(), *(dataclasses.replace(tokenized, **one).fingerprint() for one in changes)}
        assert len(names) == 1 + len(changes)

    def test_how_arrays_lie_in_memory_does_not_matter(self, tokenized):
        rows = np.repeat(tokenized.sessions.rows, 2)[::2]
        assert not rows.flags.contiguous
        strided = dataclasses.replace(tokenized, sessions=dataclasses.replace(tokenized.sessions, rows=rows))
        assert strided.fingerprint() == tokenized.fingerprint()
