"""Next item questions: what is hidden was never seen, and what is shown holds a product."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.data.session_table import SessionTable
from ubm_embed.data.tasks import next_item_examples

IS_PRODUCT = np.arange(6) < 4
SESSIONS = st.lists(st.lists(st.integers(0, 5), max_size=8), max_size=6)


def table(sessions):
    rows = np.array([row for session in sessions for row in session], dtype=np.int32)
    return SessionTable(np.ones(rows.size, dtype=np.uint8), rows, np.cumsum([0, *map(len, sessions)]))


def questions(sessions, seed):
    examples = next_item_examples(table(sessions), IS_PRODUCT, np.random.default_rng(seed))
    offsets, rows = examples.prefixes.offsets.tolist(), examples.prefixes.rows.tolist()
    prefixes = [rows[start:stop] for start, stop in itertools.pairwise(offsets)]
    assert len(examples) == len(prefixes)
    return list(zip(prefixes, examples.targets.tolist(), strict=True))


@given(sessions=SESSIONS, seed=st.integers(0, 9))
def test_the_target_follows_a_prefix_that_holds_a_product_but_not_the_target(sessions, seed):
    able = [session for session in sessions if len({row for row in session if IS_PRODUCT[row]}) > 1]
    asked = questions(sessions, seed)
    assert len(asked) == len(able)
    for session, (prefix, target) in zip(able, asked, strict=True):
        assert session[: len(prefix) + 1] == [*prefix, target]
        assert IS_PRODUCT[target]
        assert target not in prefix
        assert any(IS_PRODUCT[row] for row in prefix)


def test_every_new_product_of_a_session_is_asked_about_equally_often():
    targets = [target for _, target in questions([[0, 4, 1, 0, 2, 5]] * 1000, seed=0)]
    assert set(targets) == {1, 2}
    assert targets.count(1) / len(targets) == pytest.approx(0.5, abs=0.05)


def test_the_same_seed_asks_the_same():
    sessions = [[0, 1, 2, 3]] * 20
    assert questions(sessions, 1) == questions(sessions, 1) != questions(sessions, 2)
