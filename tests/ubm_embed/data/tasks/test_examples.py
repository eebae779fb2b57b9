"""The examples of each task against plain loops over the sessions."""

import itertools
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.data.batches.session_table import MAX_INTERACTIONS, SessionTable
from ubm_embed.data.session import Action
from ubm_embed.data.tasks.examples import (
    TargetRange,
    TaskExamples,
    purchase_examples,
    purchase_sequences,
    remaining_length_examples,
    remaining_length_sequences,
)
from ubm_embed.data.tasks.next_item_examples import next_item_examples, next_item_sequences
from ubm_embed.data.tasks.task import MIN_INTERACTIONS

SEARCH, VIEW, ADD, BUY, REMOVE = (action.code for action in Action)

# Text rows 0..3 are products, 4 and 5 search phrases. Few of each, so that runs and repeats are common.
IS_PRODUCT = np.arange(6) < 4
PRODUCTS = st.tuples(st.sampled_from([VIEW, VIEW, ADD, BUY]), st.integers(0, 3))
SEARCHES = st.tuples(st.just(SEARCH), st.integers(4, 5))
SESSIONS = st.lists(st.lists(PRODUCTS | SEARCHES, max_size=12), max_size=6)


def table(sessions):
    flat = [pair for session in sessions for pair in session]
    actions = np.array([action for action, _ in flat], dtype=np.uint8)
    rows = np.array([row for _, row in flat], dtype=np.int32)
    return SessionTable(actions, rows, np.cumsum([0, *map(len, sessions)]))


def listed(examples):
    """TaskExamples as (prefix, target), a prefix as (action, row) pairs."""
    prefixes = examples.prefixes
    pairs = list(zip(prefixes.actions.tolist(), prefixes.rows.tolist(), strict=True))
    shown = [pairs[start:stop] for start, stop in itertools.pairwise(prefixes.offsets.tolist())]
    return list(zip(shown, examples.targets.tolist(), strict=True))


def four_deviations(fraction, draws):
    """How far a fraction of random draws may be off by chance."""
    return 4 * (fraction * (1 - fraction) / draws) ** 0.5


def viewed(*rows):
    return [(VIEW if IS_PRODUCT[row] else SEARCH, row) for row in rows]


def next_items_in_a_loop(session, known=frozenset(range(6)), repeats=False, first=1):
    """Every question of a session: for each product in turn, what stood before it."""
    result = []
    for place, (_, row) in enumerate(session):
        before = [other for _, other in session[:place] if IS_PRODUCT[other]]
        if not IS_PRODUCT[row] or not before or place < first or row not in known:
            continue
        if before[-1] != row if repeats else row not in before:
            result.append((session[:place], row))
    return result


class TestRemovals:
    """Of models that read removals from the cart; the others get sessions without them."""

    # The first add is taken back, and so is product 3, which came into the cart before the session.
    SESSION: ClassVar = [
        (VIEW, 0),
        (ADD, 1),
        (VIEW, 2),
        (REMOVE, 1),
        (REMOVE, 3),
        (VIEW, 1),
        (VIEW, 3),
        (ADD, 2),
        (BUY, 2),
    ]

    @pytest.mark.parametrize("repeats", [False, True])
    def test_what_was_taken_back_is_no_target_and_was_seen(self, repeats):
        part = TargetRange.whole(table([self.SESSION]))
        examples = listed(next_item_examples(part, IS_PRODUCT, repeats=repeats))
        again = [(self.SESSION[:5], 1), (self.SESSION[:6], 3), (self.SESSION[:7], 2)]
        assert examples == [(self.SESSION[:2], 2), *(again if repeats else [])]
        sequences = next_item_sequences(part, IS_PRODUCT, np.random.default_rng(0), repeats=repeats)
        assert listed(sequences.examples) == examples

    def test_they_are_interactions_before_a_purchase_and_to_come(self):
        rng = np.random.default_rng(0)
        (prefix, bought) = listed(purchase_examples(table([self.SESSION]), rng, min_interactions=8))[0]
        assert (prefix, bought) == (self.SESSION[:8], True)
        (prefix, left) = listed(remaining_length_examples(table([self.SESSION]), rng, min_interactions=3))[0]
        assert len(prefix) + left == len(self.SESSION)


class TestNextItemExamples:
    @given(sessions=SESSIONS, known=st.sets(st.integers(0, 5)), repeats=st.booleans(), data=st.data())
    def test_without_a_generator_all_examples_are_returned(self, sessions, known, repeats, data):
        first = [data.draw(st.integers(0, 9)) for _ in sessions]
        part = TargetRange(table(sessions), np.array(first, dtype=np.int64))
        allowed = np.isin(np.arange(6), list(known))
        result = next_item_examples(part, IS_PRODUCT, allowed=allowed, repeats=repeats)
        sequences = [
            next_items_in_a_loop(session, known, repeats, at) for session, at in zip(sessions, first, strict=True)
        ]
        assert listed(result) == list(itertools.chain(*sequences))

    @given(sessions=SESSIONS, limit=st.integers(0, 4), seed=st.integers(0, 9), repeats=st.booleans())
    def test_a_generator_draws_up_to_a_number_per_session(self, sessions, limit, seed, repeats):
        part = TargetRange.whole(table(sessions))
        result = listed(
            next_item_examples(part, IS_PRODUCT, np.random.default_rng(seed), max_per_session=limit, repeats=repeats)
        )
        for session in sessions:
            possible = next_items_in_a_loop(session, repeats=repeats)
            count = min(limit, len(possible))
            part, result = result[:count], result[count:]
            # The examples of a session keep their order: those drawn are a subsequence of all.
            rest = iter(possible)
            assert all(example in rest for example in part)
        assert not result

    @given(sessions=SESSIONS, seed=st.integers(0, 9))
    def test_the_target_is_a_product_that_the_prefix_lacks_and_the_prefix_holds_another(self, sessions, seed):
        part = TargetRange.whole(table(sessions))
        for prefix, target in listed(next_item_examples(part, IS_PRODUCT, np.random.default_rng(seed))):
            rows = [row for _, row in prefix]
            assert IS_PRODUCT[target]
            assert target not in rows
            assert IS_PRODUCT[rows].any()

    def test_a_hand_made_session(self):
        session = viewed(4, 0, 0, 5, 1, 0)
        part = TargetRange.whole(table([session, viewed(2), viewed(4, 3), []]))
        assert listed(next_item_examples(part, IS_PRODUCT)) == [(session[:4], 1)]
        with_repeats = next_item_examples(part, IS_PRODUCT, repeats=True)
        assert listed(with_repeats) == [(session[:4], 1), (session[:5], 0)]

    def test_a_search_between_two_views_of_a_product_makes_no_target(self):
        part = TargetRange.whole(table([viewed(0, 4, 0)]))
        assert len(next_item_examples(part, IS_PRODUCT, repeats=True)) == 0

    def test_every_example_of_a_session_is_drawn_equally_often(self):
        part = TargetRange.whole(table([viewed(0, 4, 1, 0, 2, 5)] * 1000))
        targets = next_item_examples(part, IS_PRODUCT, np.random.default_rng(0)).targets
        assert np.mean(targets == 1) == pytest.approx(0.5, abs=four_deviations(0.5, 1000))
        assert set(targets.tolist()) == {1, 2}

    def test_the_same_seed_draws_the_same_examples(self):
        part = TargetRange.whole(table([viewed(0, 1, 2, 3)] * 20))
        one, same, other = (
            listed(next_item_examples(part, IS_PRODUCT, np.random.default_rng(seed))) for seed in (1, 1, 2)
        )
        assert one == same != other

    def test_types_are_those_of_a_table_and_of_a_class(self):
        result = next_item_examples(TargetRange.whole(table([viewed(0, 1)])), IS_PRODUCT)
        assert (result.prefixes.rows.dtype, result.targets.dtype) == (np.int32, np.int64)

    def test_no_sessions_give_no_examples(self):
        for rng in (None, np.random.default_rng(0)):
            assert len(next_item_examples(TargetRange.whole(table([])), IS_PRODUCT, rng)) == 0


def table_of_own_rows(sessions):
    """Sessions whose rows tell whose they are, 6 n to 6 n + 5, and which of these are products."""
    own = [[(action, 6 * number + row) for action, row in session] for number, session in enumerate(sessions)]
    return table(own), np.tile(IS_PRODUCT, len(sessions))


def by_session(sequences):
    """Of each session what is read, and what is asked after how many interactions of it."""
    pairs = list(zip(sequences.sessions.actions.tolist(), sequences.sessions.rows.tolist(), strict=True))
    result = []
    for start, stop in itertools.pairwise(sequences.sessions.offsets.tolist()):
        inside = [place for place, where in enumerate(sequences.positions.tolist()) if start <= where < stop]
        part = {int(sequences.positions[place]) - start + 1: int(sequences.targets[place]) for place in inside}
        result.append((pairs[start:stop], part))
    return result


def windows_in_a_loop(session, limit, repeats):
    """What may be made of a session: of each run, what is read of it and the answers after how many interactions."""
    places = {len(before): row for before, row in next_items_in_a_loop(session, repeats=repeats)}
    starts = range(max(0, len(session) - limit - 1) + 1)
    return [
        (
            session[start : start + limit + 1][:-1],
            {place - start: row for place, row in places.items() if start < place <= start + limit},
        )
        for start in starts
    ]


def searches_in_a_loop(session, known, repeats, first):
    """After each search, every product up to the next search that may be a target."""
    result = []
    for place, (_, row) in enumerate(session):
        before = [other for _, other in session[:place] if IS_PRODUCT[other]]
        asked = [at for at in range(place) if not IS_PRODUCT[session[at][1]]]
        if not IS_PRODUCT[row] or not asked or place < first or row not in known:
            continue
        if not before or (before[-1] != row if repeats else row not in before):
            result.append((session[: asked[-1] + 1], row))
    return result


class TestSearches:
    @given(sessions=SESSIONS, known=st.sets(st.integers(0, 5)), repeats=st.booleans(), data=st.data())
    def test_each_product_up_to_the_next_search_is_a_target(self, sessions, known, repeats, data):
        first = [data.draw(st.integers(0, 9)) for _ in sessions]
        part, allowed = TargetRange(table(sessions), np.array(first, np.int64)), np.isin(np.arange(6), list(known))
        result = next_item_examples(part, IS_PRODUCT, allowed=allowed, repeats=repeats, searches=True)
        expected = []
        for session, at in zip(sessions, first, strict=True):
            after_products = next_items_in_a_loop(session, known, repeats, at)
            expected += [(prefix, row) for prefix, row in after_products if IS_PRODUCT[prefix[-1][1]]]
            expected += searches_in_a_loop(session, known, repeats, at)
        assert sorted(listed(result)) == sorted(expected)
        sequences = next_item_sequences(
            part, IS_PRODUCT, np.random.default_rng(0), allowed=allowed, repeats=repeats, searches=True
        )
        assert listed(sequences.examples) == listed(result)
        assert np.all(np.diff(sequences.positions) >= 0)

    def test_a_window_keeps_pairs_that_it_holds_whole(self):
        session = viewed(4, 0, 1, 2, 5, 3)
        for seed in range(9):
            rng = np.random.default_rng(seed)
            part = TargetRange.whole(table([session]))
            for prefix, target in listed(next_item_sequences(part, IS_PRODUCT, rng, limit=3, searches=True).examples):
                place = [row for _, row in session].index(prefix[-1][1])
                assert prefix == session[place + 1 - len(prefix) : place + 1]
                assert target in [row for _, row in session[place + 1 :]]
                assert len(prefix) <= 3

    def test_one_example_of_a_session_is_drawn_of_all(self):
        part = TargetRange.whole(table([viewed(4, 0, 1)] * 2000))
        drawn = listed(next_item_examples(part, IS_PRODUCT, np.random.default_rng(0), searches=True))
        assert len(drawn) == 2000
        shares = [
            drawn.count((viewed(*prefix), target)) / 2000 for prefix, target in (((4,), 0), ((4,), 1), ((4, 0), 1))
        ]
        assert shares == pytest.approx([1 / 3] * 3, abs=four_deviations(1 / 3, 2000))


class TestNextItemSequences:
    @given(
        sessions=SESSIONS,
        known=st.sets(st.integers(0, 5)),
        repeats=st.booleans(),
        limit=st.integers(11, 20),
        data=st.data(),
    )
    def test_sessions_within_the_limit_have_all_targets(self, sessions, known, repeats, limit, data):
        first = [data.draw(st.integers(0, 9)) for _ in sessions]
        part = TargetRange(table(sessions), np.array(first, dtype=np.int64))
        allowed = np.isin(np.arange(6), list(known))
        rng = np.random.default_rng(0)
        result = next_item_sequences(part, IS_PRODUCT, rng, limit=limit, allowed=allowed, repeats=repeats)
        expected = [
            next_items_in_a_loop(session, known, repeats, at) for session, at in zip(sessions, first, strict=True)
        ]
        assert listed(result.examples) == list(itertools.chain(*expected))
        assert listed(result.examples) == listed(next_item_examples(part, IS_PRODUCT, allowed=allowed, repeats=repeats))
        assert len(result) == len([questions for questions in expected if questions])

    @given(sessions=SESSIONS, limit=st.integers(1, 9), repeats=st.booleans(), seed=st.integers(0, 9))
    def test_a_longer_session_gives_a_window_and_the_target_after_it(self, sessions, limit, repeats, seed):
        own, is_product = table_of_own_rows(sessions)
        rng = np.random.default_rng(seed)
        sequences = next_item_sequences(TargetRange.whole(own), is_product, rng, limit=limit, repeats=repeats)
        result = {number: [] for number in range(len(sessions))}
        for shown, part in by_session(sequences):
            number = shown[0][1] // 6
            assert not result[number], "a session is asked in one run"
            plain = [(action, row - 6 * number) for action, row in shown]
            result[number] = [(plain, {place: target - 6 * number for place, target in part.items()})]
        for number, session in enumerate(sessions):
            possible = windows_in_a_loop(session, limit, repeats)
            if result[number]:
                assert result[number][0] in possible
                assert result[number][0][1], "a session without a question is left out"
            else:
                assert any(not part for _, part in possible)
        assert np.all(sequences.sessions.lengths <= limit)
        assert np.all(np.diff(sequences.positions) > 0)

    def test_every_window_of_a_long_session_is_drawn_equally_often(self):
        session, is_product = [(VIEW, row) for row in range(8)], np.ones(8, dtype=bool)
        part = TargetRange.whole(table([session] * 2000))
        sequences = next_item_sequences(part, is_product, np.random.default_rng(0), limit=4)
        starts, counts = np.unique(sequences.sessions.rows[sequences.sessions.offsets[:-1]], return_counts=True)
        assert starts.tolist() == [0, 1, 2, 3]
        assert counts / 2000 == pytest.approx(0.25, abs=four_deviations(0.25, 2000))
        assert set(sequences.sessions.lengths.tolist()) == {4}

    def test_a_window_has_as_many_interactions_as_in_the_paper_and_a_target_after_them(self):
        sessions = [[(VIEW, row) for row in range(MAX_INTERACTIONS + more)] for more in (0, 1, 2)]
        sequences = next_item_sequences(
            TargetRange.whole(table(sessions)), np.ones(MAX_INTERACTIONS + 2, dtype=bool), np.random.default_rng(0)
        )
        assert sequences.sessions.lengths.tolist() == [MAX_INTERACTIONS - 1, MAX_INTERACTIONS, MAX_INTERACTIONS]
        assert sequences.positions.size == 3 * MAX_INTERACTIONS - 1

    def test_a_hand_made_session(self):
        sequences = next_item_sequences(
            TargetRange.whole(table([viewed(4, 0, 0, 5, 1, 2), viewed(4, 3)])), IS_PRODUCT, np.random.default_rng(0)
        )
        assert by_session(sequences) == [(viewed(4, 0, 0, 5, 1), {4: 1, 5: 2})]
        assert (sequences.sessions.rows.dtype, sequences.targets.dtype) == (np.int32, np.int64)

    @given(sessions=SESSIONS, data=st.data())
    def test_are_taken_in_the_given_order(self, sessions, data):
        sequences = next_item_sequences(
            TargetRange.whole(table(sessions)), IS_PRODUCT, np.random.default_rng(0), repeats=True
        )
        order = data.draw(st.permutations(range(len(sequences))))
        chosen = order[: data.draw(st.integers(0, len(order)))]
        taken = sequences.take(np.array(chosen, dtype=np.int64))
        assert by_session(taken) == [by_session(sequences)[place] for place in chosen]
        assert len(taken) == len(chosen)
        shown = [(pairs[:count], target) for pairs, part in by_session(taken) for count, target in part.items()]
        assert listed(taken.examples) == shown


def purchases_in_a_loop(session, least):
    """Every allowed cut of a session, and whether a purchase follows: none is shown, and something is hidden."""
    actions = [action for action, _ in session]
    cuts = [cut for cut in range(least, len(session)) if BUY not in actions[:cut]]
    return {cut: BUY in actions[cut:] for cut in cuts}


class TestPurchaseExamples:
    @given(sessions=SESSIONS, least=st.integers(1, 6), seed=st.integers(0, 9))
    def test_each_session_that_can_be_cut_is_cut_once(self, sessions, least, seed):
        result = listed(purchase_examples(table(sessions), np.random.default_rng(seed), min_interactions=least))
        able = [session for session in sessions if purchases_in_a_loop(session, least)]
        assert len(result) == len(able)
        for session, (prefix, follows) in zip(able, result, strict=True):
            assert prefix == session[: len(prefix)]
            assert purchases_in_a_loop(session, least)[len(prefix)] is follows

    @pytest.mark.parametrize("ending", [[(BUY, 0)], [(VIEW, 0)]])
    def test_both_classes_are_cut_alike(self, ending):
        # As many interactions before the purchase as before the end: every cut after 5 to 8 of them, equally often.
        sessions = [viewed(*[1] * 8) + ending] * 2000
        examples = purchase_examples(table(sessions), np.random.default_rng(0))
        lengths, counts = np.unique(examples.prefixes.lengths, return_counts=True)
        assert lengths.tolist() == [5, 6, 7, 8]
        assert counts / 2000 == pytest.approx(0.25, abs=four_deviations(0.25, 2000))
        assert set(examples.targets.tolist()) == {ending[0][0] == BUY}

    def test_interactions_after_the_first_purchase_are_never_in_a_prefix(self):
        session = [*viewed(*[1] * 5), (BUY, 1), *viewed(*[2] * 20)]
        result = purchase_examples(table([session] * 50), np.random.default_rng(0))
        assert set(result.prefixes.lengths.tolist()) == {5}
        assert result.targets.all()

    def test_a_purchase_too_early_leaves_the_session_out(self):
        early = [*viewed(*[1] * 4), (BUY, 1), *viewed(*[2] * 20), (BUY, 2)]
        assert len(purchase_examples(table([early]), np.random.default_rng(0))) == 0

    def test_at_least_five_interactions_as_in_the_paper_and_one_hidden(self):
        assert MIN_INTERACTIONS == 5
        result = purchase_examples(table([viewed(*[1] * 5), viewed(*[1] * 6)]), np.random.default_rng(0))
        assert listed(result) == [(viewed(*[1] * 5), False)]


def lengths_in_a_loop(session, least, limit):
    return {cut: len(session) - cut for cut in range(least, len(session)) if cut < limit}


class TestRemainingLengthExamples:
    @given(sessions=SESSIONS, least=st.integers(1, 6), limit=st.integers(1, 12), seed=st.integers(0, 9))
    def test_each_session_that_can_be_cut_is_cut_once(self, sessions, least, limit, seed):
        rng = np.random.default_rng(seed)
        result = listed(remaining_length_examples(table(sessions), rng, min_interactions=least, limit=limit))
        able = [session for session in sessions if lengths_in_a_loop(session, least, limit)]
        assert len(result) == len(able)
        for session, (prefix, remaining) in zip(able, result, strict=True):
            assert prefix == session[: len(prefix)]
            assert lengths_in_a_loop(session, least, limit)[len(prefix)] == remaining

    def test_a_long_session_is_cut_before_its_32nd_interaction_and_counted_to_its_end(self):
        examples = remaining_length_examples(table([viewed(*[1] * 100)] * 1000), np.random.default_rng(0))
        assert set(examples.prefixes.lengths.tolist()) == set(range(MIN_INTERACTIONS, MAX_INTERACTIONS))
        assert set((examples.prefixes.lengths + examples.targets).tolist()) == {100}
        assert examples.targets.dtype == np.int64


@pytest.mark.parametrize("examples_of", [purchase_examples, remaining_length_examples])
class TestCuts:
    SESSIONS = tuple(viewed(*[number % 4] * length) for number, length in enumerate(range(1, 41)))

    def test_the_same_seed_cuts_the_same(self, examples_of):
        one, same, other = (
            listed(examples_of(table(self.SESSIONS), np.random.default_rng(seed))) for seed in (1, 1, 2)
        )
        assert one == same != other

    def test_neither_later_sessions_nor_the_length_of_earlier_ones_move_a_cut(self, examples_of):
        alone = [viewed(1), *self.SESSIONS]
        among = [viewed(*[1] * 30), *self.SESSIONS, *self.SESSIONS]
        result, found_among = (listed(examples_of(table(some), np.random.default_rng(1))) for some in (alone, among))
        assert found_among[1 : len(result) + 1] == result

    def test_sessions_too_short_are_left_out(self, examples_of):
        assert len(examples_of(table(self.SESSIONS[:5]), np.random.default_rng(0))) == 0
        assert len(examples_of(table([]), np.random.default_rng(0))) == 0


def test_examples_are_taken_in_the_given_order_with_repeats():
    examples = TaskExamples(table([viewed(0), viewed(1, 2), viewed(3)]), np.array([5, 6, 7]))
    assert listed(examples.take(np.array([2, 1, 1]))) == [(viewed(3), 7), (viewed(1, 2), 6), (viewed(1, 2), 6)]
    assert len(examples) == 3


class TestAllCuts:
    @given(sessions=SESSIONS, least=st.integers(1, 6), seed=st.integers(0, 9))
    def test_a_session_within_the_limit_is_asked_after_every_cut(self, sessions, least, seed):
        rng = np.random.default_rng(seed)
        for sequences_of, in_a_loop in (
            (purchase_sequences, purchases_in_a_loop),
            (remaining_length_sequences, lambda session, least: lengths_in_a_loop(session, least, MAX_INTERACTIONS)),
        ):
            result = listed(sequences_of(table(sessions), rng, min_interactions=least).examples)
            expected = [
                (session[:cut], target) for session in sessions for cut, target in in_a_loop(session, least).items()
            ]
            assert result == expected

    @given(length=st.integers(2, 20), least=st.integers(1, 6), limit=st.integers(1, 8), seed=st.integers(0, 99))
    def test_of_a_longer_one_the_last_within_the_limit_of_a_random_end(self, length, least, limit, seed):
        session = [(VIEW, row % 4) for row in range(length)]
        rng = np.random.default_rng(seed)
        sequences = purchase_sequences(table([session] * 2), rng, min_interactions=least, limit=limit)
        for prefixes in (sequences.take(np.array([number])).examples.prefixes for number in range(len(sequences))):
            end = prefixes.lengths.max()
            assert min(length - 1, max(limit, least)) <= end <= length - 1
            assert prefixes.lengths.tolist() == list(range(max(least, end - limit + 1), end + 1))

    def test_every_end_of_a_long_session_is_drawn_equally_often(self):
        sequences = purchase_sequences(
            table([viewed(*[1] * 9)] * 2000), np.random.default_rng(0), min_interactions=2, limit=6
        )
        ends, counts = np.unique(sequences.sessions.lengths, return_counts=True)
        assert ends.tolist() == [6, 7, 8]
        assert counts / 2000 == pytest.approx(1 / 3, abs=four_deviations(1 / 3, 2000))
