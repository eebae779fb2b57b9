"""The features of a session are counts that anybody could make by hand."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.session import ACTIONS, Action
from ubm_embed.data.tasks.session_features import FEATURES, prefix_features, session_features


def table(sessions):
    flat = [pair for session in sessions for pair in session]
    return SessionTable(
        np.array([action.code for action, _ in flat], np.uint8),
        np.array([row for _, row in flat], np.int32),
        np.cumsum([0, *map(len, sessions)]),
    )


def by_hand(session):
    """The features of one session, one after another."""
    actions = [action for action, _ in session]
    products = [row for action, row in session if action is not Action.SEARCH]
    repeats = len(products) - len(set(products))
    action, row = session[-1]
    again = action is not Action.SEARCH and row in [row for action, row in session[:-1] if action is not Action.SEARCH]
    features = [len(session), *(actions.count(one) for one in ACTIONS), len(set(products)), repeats]
    features = [math.log1p(count) for count in features] + [repeats / len(session), float(again)]
    features += [1 / (1 + actions[::-1].index(one)) if one in actions else 0 for one in ACTIONS]
    for back in range(3):
        features += [float(len(actions) > back and actions[-1 - back] is one) for one in ACTIONS]
    return features


SESSIONS = st.lists(
    st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 3)), min_size=1, max_size=8), min_size=1, max_size=5
)


@given(sessions=SESSIONS)
def test_every_prefix_has_the_features_that_one_counts_by_hand(sessions):
    expected = [by_hand(session[:end]) for session in sessions for end in range(1, len(session) + 1)]
    features = prefix_features(table(sessions))
    assert features.shape == (len(expected), len(FEATURES))
    np.testing.assert_allclose(features, expected, rtol=1e-6)


@given(sessions=SESSIONS)
def test_those_of_a_session_are_those_of_its_longest_prefix(sessions):
    np.testing.assert_allclose(session_features(table(sessions)), [by_hand(session) for session in sessions], rtol=1e-6)


def test_no_sessions_have_no_features():
    assert session_features(table([])).shape == (0, len(FEATURES))
