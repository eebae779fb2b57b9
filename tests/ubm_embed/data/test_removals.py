"""Removals from the cart: on sessions, on frames, and when they are frequent."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.data.removals import MIN_REMOVALS, are_frequent, frequent_removals, take_back, taken_back
from ubm_embed.data.session import ACTIONS, Action, Interaction, Product

ADD, VIEW, BUY, REMOVE = Action.ADD, Action.VIEW, Action.BUY, Action.REMOVE
SHOE = Product("shoe", product_id="a")
STEPS = st.lists(st.tuples(st.sampled_from(ACTIONS), st.sampled_from("abc")), max_size=30)


def by_id(*steps: tuple[Action, str]) -> list[Interaction]:
    return [
        Interaction(action, query=name) if action is Action.SEARCH else Interaction(action, product_id=name)
        for action, name in steps
    ]


def frame(*sessions: list[Interaction]) -> pl.DataFrame:
    rows = [
        {"session_id": f"s{number}", "action": str(one.action), "product_id": one.product_id, "query": one.query}
        for number, session in enumerate(sessions)
        for one in session
    ]
    return pl.DataFrame(rows, schema=dict.fromkeys(("session_id", "action", "product_id", "query"), pl.String))


@pytest.mark.parametrize(
    ("steps", "left"),
    [
        ([(ADD, "a"), (VIEW, "b"), (REMOVE, "a")], [(VIEW, "b")]),
        ([(REMOVE, "a"), (ADD, "a")], [(ADD, "a")]),
        ([(ADD, "a"), (REMOVE, "b"), (BUY, "a")], [(ADD, "a"), (BUY, "a")]),
        ([(VIEW, "a"), (ADD, "a"), (REMOVE, "a"), (ADD, "a")], [(VIEW, "a"), (ADD, "a")]),
        ([(ADD, "a"), (REMOVE, "a"), (REMOVE, "a"), (ADD, "a")], [(ADD, "a")]),
        ([(ADD, "a"), (ADD, "b"), (ADD, "a"), (REMOVE, "a"), (REMOVE, "a")], [(ADD, "b")]),
    ],
)
def test_a_removal_takes_back_an_earlier_add_of_its_product(steps, left):
    assert take_back(by_id(*steps)) == tuple(by_id(*left))


def test_the_latest_add_is_taken_back():
    session = by_id((ADD, "a"), (VIEW, "b"), (ADD, "a"), (REMOVE, "a"))
    assert take_back(session) == tuple(session[:2])
    assert taken_back(frame(session)).to_list() == [False, False, True, True]


def test_a_product_given_inline_is_the_one_of_its_id():
    session = [Interaction(ADD, product_id="a"), Interaction(REMOVE, product=SHOE)]
    assert take_back(session) == ()


def test_a_product_without_an_id_is_known_by_all_that_was_given():
    shoe, other = Interaction(ADD, product=Product("shoe")), Interaction(ADD, product=Product("hat"))
    assert take_back([shoe, other, Interaction(REMOVE, product=Product("shoe"))]) == (other,)


@given(st.lists(STEPS, max_size=5))
def test_frames_and_sessions_agree(steps):
    sessions = [by_id(*some) for some in steps]
    table = frame(*sessions)
    left = table.filter(~taken_back(table))
    assert left.equals(frame(*map(take_back, sessions)))


@given(STEPS, st.randoms(use_true_random=False))
def test_interleaved_sessions_do_not_meet(steps, random):
    """Rows of other sessions may stand between: only their order within a session counts."""
    table = frame(by_id(*steps), by_id(*steps))
    numbered = table.with_columns(taken=taken_back(table)).with_row_index()
    halves = [half.rows(named=True) for half in numbered.partition_by("session_id")]
    mixed = [half.pop(0) for half in random.sample([half for half in halves for _ in half], table.height) if half]
    rows = pl.DataFrame(mixed, schema=numbered.schema)
    assert taken_back(rows).to_list() == rows["taken"].to_list()


@pytest.mark.parametrize(
    ("removals", "interactions", "enough"),
    [
        (MIN_REMOVALS, 100 * MIN_REMOVALS, True),
        (MIN_REMOVALS, 100 * MIN_REMOVALS + 1, False),
        (MIN_REMOVALS - 1, 2 * MIN_REMOVALS, False),
        (0, 0, False),
    ],
)
def test_removals_are_frequent_from_a_hundredth_of_the_interactions_and_a_thousand_on(removals, interactions, enough):
    assert are_frequent(removals, interactions) is enough


def test_frequent_removals_are_counted_among_all_interactions():
    actions = pl.Series("action", ["remove"] * MIN_REMOVALS + ["view"])
    assert frequent_removals(actions.to_frame())
    assert not frequent_removals(actions.to_frame()[1:])
