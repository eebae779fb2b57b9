"""Leaks counted in a corpus small enough to count them by hand."""

import json

import numpy as np
import polars as pl
import pytest

from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.tasks.leaks import LeakReport, pretraining_problem
from ubm_embed.data.tasks.split import Split
from ubm_embed.data.tasks.task import SplitKind
from ubm_embed.errors import InvalidData

DAY = 24 * 60

# (session, user, [(minute, action, product or phrase)]); "new" and what follows it is the test part.
SESSIONS = [
    ("one", "ann", [(0, "search", "red shoes"), (5, "view", "p1")]),
    ("two", "bob", [(10, "view", "p1"), (12, "buy", "p1")]),
    ("long", "cid", [(20, "view", "p2"), (DAY + 3, "add", "p2")]),
    ("other", None, [(30, "view", "p3"), (40, "view", "p4")]),
    ("between", "dee", [(DAY // 2, "view", "p5"), (DAY + 9, "view", "p6")]),
    ("new", "ann", [(DAY, "search", "red shoes"), (DAY + 5, "view", "p1")]),  # repeats "one"
    ("action", "eve", [(DAY + 10, "view", "p1"), (DAY + 12, "add", "p1")]),  # "two" but for an action
    ("again", "bob", [(DAY + 20, "view", "p3"), (DAY + 21, "view", "p4")]),  # repeats "other"
    ("part", None, [(DAY + 30, "view", "p3")]),  # the beginning of "other"
    ("back", "dee", [(DAY + 40, "view", "p4"), (DAY + 41, "view", "p3")]),  # "other" the other way round
]


def minute(number):
    return np.datetime64("2026-03-01T00:00", "us") + np.timedelta64(number, "m")


BY_TIME = Split(
    kind=SplitKind.TIME,
    holdout=0.6,
    validation_from=int(minute(DAY // 2).astype(np.int64)),
    test_from=int(minute(DAY).astype(np.int64)),
)


@pytest.fixture(scope="module")
def corpus(products):
    rows = [
        (name, place, action, None if action == "search" else what, what if action == "search" else None, user, at)
        for name, user, interactions in SESSIONS
        for place, (at, action, what) in enumerate(interactions)
    ]
    names = ["session_id", "position", "action", "product_id", "query", "user_id", "timestamp"]
    frame = pl.DataFrame(rows, schema=names, orient="row")
    start = pl.lit(minute(0).item())
    return Corpus(products, frame.with_columns(timestamp=start + pl.duration(minutes=pl.col("timestamp"))))


@pytest.fixture
def report(tokenizer):
    def make(corpus, split, problem=None):
        tokenized = TokenizedCorpus.from_corpus(corpus, tokenizer)
        return LeakReport.from_split(corpus, tokenized, split, pretraining_problem=problem)

    return make


def without(corpus, *columns):
    return Corpus(corpus.products, corpus.interactions.drop(*columns))


def test_a_hand_made_corpus(report, corpus):
    assert report(corpus, BY_TIME) == LeakReport(
        split="time",
        training=4,
        validation=1,
        test=5,
        repeated_sessions=2,  # "new" and "again"
        shared_users=2,  # Ann and Bob; Dee was in the validation part
        overlapping_sessions=1,  # "long"; "between" is not a training session
        pretraining_problem=None,
    )


def test_a_user_of_several_sessions_counts_once_and_one_interaction_may_name_her(report, corpus):
    named = pl.when(pl.col("session_id").is_in(["one", "new", "action"])).then(pl.lit("ann"))
    named = pl.when(pl.col("position") == 1).then(named)  # the first interaction names nobody
    assert report(Corpus(corpus.products, corpus.interactions.with_columns(user_id=named)), BY_TIME).shared_users == 1


def test_a_log_without_users_or_times(report, corpus):
    by_session = Split(kind=SplitKind.SESSION, holdout=0.6)
    assert report(without(corpus, "user_id"), BY_TIME).shared_users is None
    nobody = Corpus(corpus.products, corpus.interactions.with_columns(user_id=pl.lit(None, pl.String)))
    assert report(nobody, BY_TIME).shared_users is None
    assert report(without(corpus, "timestamp"), by_session).overlapping_sessions is None


def test_by_session_users_are_compared_and_times_are_not(report, corpus, tokenizer):
    split = Split(kind=SplitKind.SESSION, holdout=0.6)
    part = split.membership(TokenizedCorpus.from_corpus(corpus, tokenizer))
    sessions = {name: [one for one, where in zip(SESSIONS, part, strict=True) if where == name] for name in set(part)}
    users = [{user for _, user, _ in sessions[name]} - {None} for name in ("training", "test")]
    leaks = report(corpus, split)
    assert leaks.overlapping_sessions is None, "sessions of all times are on both sides, on purpose"
    assert leaks.shared_users == len(users[0] & users[1])
    assert (leaks.training, leaks.validation, leaks.test) == tuple(
        np.sum(part == name) for name in ("training", "validation", "test")
    )


def test_nothing_held_out_leaks_nothing(report, corpus):
    leaks = report(corpus, Split(kind=SplitKind.SESSION, holdout=0))
    assert (leaks.training, leaks.test, leaks.repeated_sessions) == (10, 0, 0)
    assert (leaks.shared_users, leaks.overlapping_sessions) == (0, None)


def test_leave_one_out_has_everybody_on_both_sides(report, corpus):
    three = [(name, position) for name in ("long", "back") for position in range(3)]
    frame = pl.DataFrame(three, schema=["session_id", "position"], orient="row").with_columns(
        action=pl.lit("view"), product_id=pl.lit("p1"), query=pl.lit(None, pl.String), user_id=pl.lit("ann")
    )
    leaks = report(Corpus(corpus.products, frame), Split(kind=SplitKind.LEAVE_ONE_OUT, holdout=0.1))
    assert (leaks.training, leaks.validation, leaks.test) == (2, 2, 2)
    assert (leaks.shared_users, leaks.overlapping_sessions) == (None, None)


def test_goes_through_json(report, corpus):
    for problem in (None, "another corpus"):
        leaks = report(corpus, BY_TIME, problem)
        document = json.loads(json.dumps(leaks.to_dict()))
        assert document["pretraining_respects_split"] is (problem is None)
        assert LeakReport.from_dict(document) == leaks


@pytest.mark.parametrize(("pretrained", "problem"), [("yes", None), ("unknown", "unknown")])
def test_reads_what_versions_before_1_0_recorded(report, corpus, pretrained, problem):
    leaks = report(corpus, BY_TIME, problem)
    counts = {"split": "time", "training": 4, "validation": 1, "test": 5}
    old = {**counts, "repeated": 2, "users": 2, "overlapping": 1, "pretrained": pretrained}
    assert LeakReport.from_dict(old) == leaks


def test_a_report_that_lacks_a_count_is_refused(report, corpus):
    document = report(corpus, BY_TIME).to_dict()
    del document["shared_users"]
    with pytest.raises(InvalidData, match=r"field 'leaks': not a leak report: shared_users is missing"):
        LeakReport.from_dict(document)


def test_says_what_it_leaks(report, corpus):
    assert str(report(corpus, BY_TIME)) == (
        "split by time: 4 sessions for training, 1 for validation, 5 for the test; "
        "test sessions that equal a training session: 2; "
        "users of the test part with a session in training: 2; "
        "training sessions still going on when the test part begins: 1"
    )


def test_says_nothing_of_what_it_cannot_know(report, corpus):
    text = str(report(without(corpus, "user_id", "timestamp"), Split(kind=SplitKind.SESSION, holdout=0.6), "unknown"))
    assert "users" not in text
    assert "going on" not in text
    assert text.endswith("; pre-training may have seen the test part (unknown)")


@pytest.mark.parametrize(
    ("leaks", "problem"),
    [
        ({"pretraining_problem": None}, None),
        ({"pretraining_problem": "another corpus"}, "another corpus"),
        ({"pretrained": "yes"}, None),
        ({"pretrained": "unknown"}, "unknown"),
    ],
)
def test_a_record_says_whether_pre_training_kept_to_the_split(leaks, problem):
    assert pretraining_problem({"leaks": leaks}) == problem
    assert pretraining_problem({}) is None, "a model that is fresh from pre-training"


@pytest.mark.parametrize("leaks", [None, [], {}, {"pretrained": 1}, {"pretraining_problem": 1}])
def test_a_damaged_record_is_named(leaks):
    with pytest.raises(InvalidData, match=r"field 'leaks': .*expected a leak report"):
        pretraining_problem({"leaks": leaks})
