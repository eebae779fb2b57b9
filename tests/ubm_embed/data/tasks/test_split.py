"""Parts never share a session, and every caller gets the same parts."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.tasks.split import Split, held_out
from ubm_embed.data.tasks.task import SplitKind
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.errors import InvalidData

TEXTS = TokenTable.from_rows([[7], [8], [9], [10]])
APART = ("time", "session")
PARTS = ("training", "validation", "test")
# Few moments, so that many sessions begin at the same one; before and after 1970.
STARTS = st.lists(st.integers(-5, 5) | st.integers(0, 2**50), min_size=1, max_size=30)
HOLDOUTS = st.floats(0.01, 0.99)


def corpus_of(sessions, starts=None, names="s{}"):
    rows = np.array([row for session in sessions for row in session], dtype=np.int32)
    table = SessionTable(np.ones(rows.size, dtype=np.uint8), rows, np.cumsum([0, *map(len, sessions)]))
    ids = np.array([names.format(number) for number in range(len(sessions))], dtype=object)
    return TokenizedCorpus(TEXTS, len(TEXTS), table, ids, None if starts is None else np.array(starts, dtype=np.int64))


def numbered(count, starts=None):
    """Sessions that say which they are, as their length."""
    return corpus_of([[0] * (number + 1) for number in range(count)], starts)


def members(split, corpus):
    """Which sessions of `numbered` each part has."""
    parts = split.parts(corpus)
    return {
        "training": (parts.training.lengths - 1).tolist(),
        "validation": (parts.validation.sessions.lengths - 1).tolist(),
        "test": (parts.test.sessions.lengths - 1).tolist(),
    }


def listed(table):
    return [table.rows[start:stop].tolist() for start, stop in zip(table.offsets[:-1], table.offsets[1:], strict=True)]


class TestApart:
    @given(starts=STARTS, holdout=HOLDOUTS, kind=st.sampled_from(APART))
    def test_every_session_is_in_one_part_and_parts_keep_their_order(self, starts, holdout, kind):
        corpus = numbered(len(starts), starts)
        split = Split.choose(corpus, holdout=holdout, kind=kind)
        result = members(split, corpus)
        assert sorted(itertools.chain(*result.values())) == list(range(len(starts)))
        assert all(numbers == sorted(numbers) for numbers in result.values())
        assert result == {name: np.flatnonzero(split.membership(corpus) == name).tolist() for name in PARTS}

    @pytest.mark.parametrize("kind", APART)
    def test_targets_may_come_after_the_first_interaction(self, kind):
        corpus = numbered(50, range(50))
        parts = Split.choose(corpus, holdout=0.5, kind=kind).parts(corpus)
        for asked in (parts.validation, parts.test):
            assert asked.first.tolist() == [1] * len(asked.sessions)

    @pytest.mark.parametrize("kind", APART)
    @pytest.mark.parametrize("holdout", [0.1, 0.2, 0.5])
    def test_half_of_the_share_chooses_and_half_judges(self, kind, holdout):
        corpus = corpus_of([[0]] * 4000, np.random.default_rng(0).permutation(4000))
        part = Split.choose(corpus, holdout=holdout, kind=kind).membership(corpus)
        within = 0.001 if kind == "time" else 0.03
        assert np.mean(part == "validation") == pytest.approx(holdout / 2, abs=within)
        assert np.mean(part == "test") == pytest.approx(holdout / 2, abs=within)

    @pytest.mark.parametrize("kind", list(SplitKind))
    @pytest.mark.parametrize("starts", [None, range(9)])
    def test_no_holdout_holds_out_nothing(self, kind, starts):
        if kind == "time" and starts is None:
            return
        corpus = numbered(9, starts)
        split = Split.choose(corpus, holdout=0, kind=kind)
        assert members(split, corpus) == {"training": list(range(9)), "validation": [], "test": []}


class TestByTime:
    @given(starts=STARTS, holdout=HOLDOUTS)
    def test_parts_follow_each_other(self, starts, holdout):
        corpus = numbered(len(starts), starts)
        result = members(Split.choose(corpus, holdout=holdout, kind="time"), corpus)
        moments = [{starts[number] for number in result[name]} for name in PARTS]
        filled = [part for part in moments if part]
        assert all(max(earlier) < min(later) for earlier, later in itertools.pairwise(filled))
        assert moments[-1]

    def test_a_hand_made_corpus(self):
        corpus = numbered(10, [30, 10, 20, 90, 50, 80, 60, 70, 40, 0])
        split = Split.choose(corpus, holdout=0.4)
        assert (split.kind, split.validation_from, split.test_from) == (SplitKind.TIME, 60, 80)
        assert members(split, corpus) == {"training": [0, 1, 2, 4, 8, 9], "validation": [6, 7], "test": [3, 5]}

    def test_sessions_that_begin_together_stay_together(self):
        corpus = numbered(10, [1] * 4 + [2] * 6)
        assert members(Split.choose(corpus, holdout=0.2), corpus)["test"] == [4, 5, 6, 7, 8, 9]

    def test_sessions_that_come_later_are_of_the_test_part(self):
        small, large = numbered(10, range(10)), numbered(20, range(20))
        split = Split.choose(small, holdout=0.2)
        assert members(split, large) == members(split, small) | {"test": list(range(9, 20))}

    def test_needs_timestamps(self):
        with pytest.raises(InvalidData, match=r"'timestamp'.*split by time needs a timestamp.*split by session"):
            Split.choose(numbered(5), holdout=0.1, kind="time")
        split = Split.choose(numbered(5, range(5)), holdout=0.4)
        for use in (split.parts, split.membership):
            with pytest.raises(InvalidData, match="needs a timestamp in every session"):
                use(numbered(5))


class TestBySession:
    @given(holdout=HOLDOUTS, count=st.integers(1, 60))
    def test_a_session_stays_in_its_part_while_the_corpus_grows(self, holdout, count):
        split = Split(kind=SplitKind.SESSION, holdout=holdout)
        assert split.membership(numbered(60))[:count].tolist() == split.membership(numbered(count)).tolist()

    def test_times_do_not_matter(self):
        corpus, timed = numbered(60), numbered(60, range(60))
        split = Split.choose(timed, holdout=0.3, kind="session")
        assert split == Split.choose(corpus, holdout=0.3, kind="session")
        assert members(split, timed) == members(split, corpus)

    def test_a_larger_share_trains_on_nothing_that_a_smaller_one_asks(self):
        corpus = numbered(200)
        few, many = (members(Split(kind=SplitKind.SESSION, holdout=share), corpus) for share in (0.1, 0.4))
        assert set(many["training"]) <= set(few["training"])


class TestLeaveOneOut:
    @given(st.lists(st.lists(st.integers(0, 3), max_size=6), max_size=6))
    def test_the_last_is_the_test_and_the_one_before_it_the_validation(self, sessions):
        corpus = corpus_of(sessions)
        parts = Split.choose(corpus, holdout=0.1, kind="leave-one-out").parts(corpus)
        long_enough = [session for session in sessions if len(session) >= 3]
        assert listed(parts.training) == [session[:-2] if len(session) >= 3 else session for session in sessions]
        assert listed(parts.validation.sessions) == [session[:-1] for session in long_enough]
        assert listed(parts.test.sessions) == long_enough
        assert parts.validation.first.tolist() == [len(session) - 2 for session in long_enough]
        assert parts.test.first.tolist() == [len(session) - 1 for session in long_enough]

    def test_has_no_membership(self):
        corpus = numbered(9)
        with pytest.raises(ValueError, match="leave-one-out split has every session in all of its parts"):
            Split.choose(corpus, holdout=0.1, kind="leave-one-out").membership(corpus)


class TestChoose:
    def test_auto_is_by_time_where_there_are_times(self):
        assert Split.choose(numbered(5, range(5)), holdout=0.1).kind is SplitKind.TIME
        assert Split.choose(numbered(5), holdout=0.1).kind is SplitKind.SESSION

    def test_an_unknown_kind(self):
        with pytest.raises(ValueError, match="by size"):
            Split.choose(numbered(5), holdout=0.1, kind="by size")


class TestRecord:
    @given(starts=STARTS, holdout=st.just(0.0) | HOLDOUTS, kind=st.sampled_from(list(SplitKind)))
    def test_a_split_comes_back_from_json(self, starts, holdout, kind):
        split = Split.choose(numbered(len(starts), starts), holdout=holdout, kind=kind)
        assert Split.from_dict(json.loads(json.dumps(split.to_dict()))) == split

    def test_times_are_written_for_people(self):
        split = Split(kind=SplitKind.TIME, holdout=0.1, validation_from=0, test_from=86_400_000_001)
        assert split.to_dict() == {
            "kind": "time",
            "holdout": 0.1,
            "validation_from": "1970-01-01T00:00:00",
            "test_from": "1970-01-02T00:00:00.000001",
        }

    @pytest.mark.parametrize(
        "document",
        [
            {},
            {"kind": "session"},
            {"kind": "by size", "holdout": 0.1},
            {"kind": "session", "holdout": None},
            {"kind": "time", "holdout": 0.1},
            {"kind": "time", "holdout": 0.1, "validation_from": "1970-01-01T00:00:00"},
            {"kind": "time", "holdout": 0.1, "validation_from": 5, "test_from": 6},
            {"kind": "time", "holdout": 0.1, "validation_from": "May", "test_from": "June"},
        ],
    )
    def test_an_invalid_split_is_refused(self, document):
        with pytest.raises(ValueError, match=r"."):
            Split.from_dict(document)

    def test_holds_for_the_corpus_that_it_was_made_of_only(self):
        corpus, other = numbered(9, range(9)), numbered(8, range(8))
        split = Split.choose(corpus, holdout=0.3)
        record = {"corpus": corpus.fingerprint(), "split": split.to_dict()}
        assert Split.from_record(record, corpus) == split
        assert Split.from_record(record, other) is None
        assert Split.from_record({"corpus": corpus.fingerprint()}, corpus) is None
        assert Split.from_record({"split": split.to_dict()}, corpus) is None


IDS = np.array([f"session {number}" for number in range(5000)], dtype=object)


class TestHeldOut:
    @pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 0.9])
    def test_is_about_that_fraction(self, fraction):
        four_standard_deviations = 4 * (0.25 / IDS.size) ** 0.5
        assert held_out(IDS, fraction).mean() == pytest.approx(fraction, abs=four_standard_deviations)

    def test_a_session_stays_on_its_side_while_the_corpus_grows(self):
        some = IDS[1::3]
        assert np.array_equal(held_out(IDS, 0.3)[1::3], held_out(some, 0.3))

    def test_a_larger_fraction_contains_the_smaller_one(self):
        assert held_out(IDS, 0.5)[held_out(IDS, 0.1)].all()

    def test_another_process_holds_out_the_same(self):
        code = (
            "import numpy as np\n"
            "from ubm_embed.data.tasks.split import held_out\n"
            "ids = np.array([f'session {number}' for number in range(200)], dtype=object)\n"
            "print(''.join('01'[out] for out in held_out(ids, 0.3).astype(int)))\n"
        )
        root = str(Path(__file__).resolve().parents[3])
        environment = os.environ | {"PYTHONHASHSEED": "12345", "PYTHONPATH": root}
        process = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        assert process.stdout.strip() == "".join("01"[out] for out in held_out(IDS[:200], 0.3).astype(int))


def log_of(sessions, starts=None):
    """A corpus of sessions of search phrases."""
    rows = [(name, place, phrase) for name, phrases in sessions.items() for place, phrase in enumerate(phrases)]
    frame = pl.DataFrame(rows, schema=["session_id", "position", "query"], orient="row")
    if starts is not None:
        start = pl.col("session_id").replace_strict(starts, return_dtype=pl.Int64) * 1_000_000
        frame = frame.with_columns(timestamp=(start + pl.col("position")).cast(pl.Datetime("us")))
    product = pl.lit(None, pl.String)
    return Corpus(pl.DataFrame(), frame.with_columns(action=pl.lit("search"), product_id=product))


class TestTrainingPhrases:
    SESSIONS: ClassVar = {
        f"s{number}": [f"phrase {number}", f"more {number}", f"last {number}"] for number in range(40)
    }

    @pytest.mark.parametrize("kind", APART)
    def test_are_those_of_the_training_part_only(self, kind):
        corpus = log_of(self.SESSIONS, {name: number for number, name in enumerate(self.SESSIONS)})
        split = Split.choose(corpus.session_times(), holdout=0.5, kind=kind)
        part = dict(zip(self.SESSIONS, split.membership(corpus.session_times()), strict=True))
        expected = [phrase for name, phrases in self.SESSIONS.items() if part[name] == "training" for phrase in phrases]
        assert 0 < len(expected) < 3 * 40
        assert split.training_phrases(corpus).to_list() == expected

    def test_of_leave_one_out_are_all_but_the_last_two_interactions(self):
        corpus = log_of({"long": ["a", "b", "c", "d"], "short": ["e", "f"]})
        split = Split(kind=SplitKind.LEAVE_ONE_OUT, holdout=0.1)
        assert split.training_phrases(corpus).to_list() == ["a", "b", "e", "f"]

    def test_of_leave_one_out_are_counted_without_rare_removals_which_no_vocabulary_has_a_token_for(self):
        corpus = log_of({"long": ["a", "b", "c", "d", "e"]})
        action = pl.Series(["search", "search", "search", "add", "remove"])
        product = pl.when(action.is_in(["add", "remove"])).then(pl.lit("p1"))
        interactions = corpus.interactions.with_columns(
            action=action, product_id=product, query=pl.when(product.is_null()).then("query")
        )
        split = Split(kind=SplitKind.LEAVE_ONE_OUT, holdout=0.1)
        assert split.training_phrases(Corpus(corpus.products, interactions)).to_list() == ["a"]

    @pytest.mark.parametrize("kind", [SplitKind.SESSION, SplitKind.LEAVE_ONE_OUT])
    def test_without_a_holdout_are_all(self, kind):
        phrases = Split(kind=kind, holdout=0.0).training_phrases(log_of(self.SESSIONS))
        assert phrases.to_list() == list(itertools.chain(*self.SESSIONS.values()))

    def test_a_corpus_and_its_tokens_are_split_alike(self, products, tokenizer):
        frame = log_of(self.SESSIONS, {name: -number for number, name in enumerate(self.SESSIONS)}).interactions
        corpus = Corpus(products, frame)
        tokenized = TokenizedCorpus.from_corpus(corpus, tokenizer)
        split = Split.choose(tokenized, holdout=0.4)
        assert split.kind is SplitKind.TIME
        assert split == Split.choose(corpus.session_times(), holdout=0.4)
        assert np.array_equal(split.membership(tokenized), split.membership(corpus.session_times()))
