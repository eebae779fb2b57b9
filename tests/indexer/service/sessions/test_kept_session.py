from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.service.experiments.outcome_counts import by_group
from indexer.service.sessions.event import Event
from indexer.service.sessions.kept_answer import MAX_ANSWERS, MAX_SHOWN
from indexer.service.sessions.kept_interaction import MAX_CHARACTERS, MAX_INTERACTIONS
from indexer.service.sessions.kept_session import MAX_AGE, MAX_EVENT_IDS, MAX_GROUPS, KeptSession
from indexer.service.sessions.record import DamagedRecord, decode, encode
from indexer.service.sessions.session_store import Outcome, ShownAnswer
from ubm_embed.data.removals import take_back
from ubm_embed.data.session import Action, Interaction, Product, Session

NOW = 1_700_000_000.0
WINDOW = 1_800.0


def event(
    product_id: str = "p1",
    action: Action = Action.VIEW,
    moment: float = NOW,
    event_id: str | None = None,
    answer_id: str | None = None,
) -> Event:
    return Event(Interaction(action, product_id=product_id), moment, event_id, answer_id)


def answer(
    answer_id: str = "a1",
    product_ids: Sequence[str] = ("p1", "p2"),
    moment: float = NOW - 10,
    version: int = 1,
    arm: str = "",
    teams: tuple[int, ...] = (),
) -> ShownAnswer:
    return ShownAnswer(answer_id, moment, version, arm, tuple(product_ids), teams)


def after(*events: Event, kept: KeptSession | None = None, now: float = NOW) -> KeptSession:
    return (kept or KeptSession()).with_events(events, now, WINDOW).session


def answered(*answers: ShownAnswer, now: float = NOW) -> KeptSession:
    kept = KeptSession()
    for one in answers:
        kept = kept.with_answer(one, now, WINDOW).session
    return kept


def ids(kept: KeptSession) -> list[str | None]:
    return [one.interaction.product_id for one in kept.interactions]


class TestInteractions:
    def test_they_are_in_the_order_of_their_moments(self) -> None:
        late = after(event("p1", moment=NOW - 1), event("p2"), event("p3", moment=NOW - 2))
        assert ids(late) == ["p3", "p1", "p2"]

    def test_those_of_one_moment_stay_in_the_order_in_which_they_came(self) -> None:
        assert ids(after(event("p2"), event("p1"), kept=after(event("p3")))) == ["p3", "p2", "p1"]

    def test_the_last_ones_are_kept(self) -> None:
        kept = after(*(event(f"p{number}", moment=NOW + number) for number in range(50)), now=NOW + 50)
        assert ids(kept) == [f"p{number}" for number in range(50 - MAX_INTERACTIONS, 50)]

    def test_texts_are_bounded_together(self) -> None:
        phrase = "x" * (MAX_CHARACTERS // 4)
        searches = [Event(Interaction(Action.SEARCH, query=phrase), NOW) for _ in range(9)]
        assert len(after(*searches).interactions) == 4
        described = Product(phrase, phrase, (("colour", phrase), ("size", phrase)))
        assert after(Event(Interaction(Action.VIEW, product=described), NOW)).interactions == ()

    def test_an_event_that_comes_again_changes_nothing(self) -> None:
        first = after(event(event_id="e1"))
        changed = first.with_events([event("p2", event_id="e1")], NOW, WINDOW)
        assert (changed.session, changed.added.accepted, changed.added.duplicates) == (first, 0, 1)

    def test_an_event_that_comes_twice_at_once_counts_once(self) -> None:
        added = KeptSession().with_events([event(event_id="e1")] * 3, NOW, WINDOW).added
        assert (added.accepted, added.duplicates) == (1, 2)

    def test_events_without_ids_are_events_of_their_own(self) -> None:
        assert ids(after(event(), event())) == ["p1", "p1"]

    def test_known_event_ids_are_bounded(self) -> None:
        kept = after(*(event(event_id=f"e{number}") for number in range(MAX_EVENT_IDS + 1)))
        changed = kept.with_events([event(event_id="e0"), event(event_id=f"e{MAX_EVENT_IDS}")], NOW, WINDOW)
        assert (changed.added.accepted, changed.added.duplicates) == (1, 1)

    def test_an_old_event_finds_its_place_in_a_session_but_begins_none(self) -> None:
        old = event("p0", moment=NOW - MAX_AGE - 1)
        changed = KeptSession().with_events([old], NOW, WINDOW)
        assert (changed.session, changed.added.accepted, changed.added.expired) == (KeptSession(), 0, 1)
        assert ids(after(old, kept=after(event()))) == ["p0", "p1"]

    def test_what_came_while_the_clock_was_ahead_comes_before_what_comes_now(self) -> None:
        ahead = after(event("p1", moment=NOW + 9_999), now=NOW + 9_999)
        assert ids(after(event("p2"), kept=ahead)) == ["p1", "p2"]

    def test_a_session_without_interactions_is_none(self) -> None:
        assert answered(answer()).session("s") is None
        assert after(event()).session("s") == Session((event().interaction,), "s")

    @given(
        st.lists(
            st.lists(
                st.builds(
                    event,
                    st.sampled_from(["p1", "p2", "p3"]),
                    st.sampled_from([Action.VIEW, Action.ADD, Action.BUY, Action.REMOVE]),
                    st.integers(0, 20).map(lambda ago: NOW - ago),
                    st.none() | st.sampled_from([f"e{number}" for number in range(20)]),
                ),
                max_size=12,
            ),
            max_size=8,
        )
    )
    def test_any_stream_keeps_what_an_obvious_model_keeps(self, requests: list[list[Event]]) -> None:
        kept, unique, seen = KeptSession(), [], set()
        for request in requests:
            kept = after(*request, kept=kept)
            for one in request:
                if one.event_id is None or one.event_id not in seen:
                    unique.append(one)
                seen.add(one.event_id)
        expected = [one.interaction for one in sorted(unique, key=lambda one: one.moment)][-MAX_INTERACTIONS:]
        assert [one.interaction for one in kept.interactions] == expected
        assert decode(encode(kept)) == kept
        session = kept.session("s")
        assert take_back(session.interactions if session else ()) == take_back(expected)


class TestOutcomes:
    def outcomes(self, kept: KeptSession, *events: Event) -> list[tuple[str, str, str]]:
        found = kept.with_events(events, NOW, WINDOW).added.outcomes
        return [(one.kind, one.answer_id, one.product_id) for one in found]

    @pytest.mark.parametrize(("action", "kind"), [(Action.VIEW, "click"), (Action.ADD, "add"), (Action.BUY, "buy")])
    def test_an_action_with_a_match_counts(self, action: Action, kind: str) -> None:
        added = answered(answer(version=3, arm="b")).with_events([event("p2", action)], NOW, WINDOW).added
        assert added.outcomes == (Outcome(kind, "a1", 3, "b", "p2"),)  # type: ignore[arg-type]

    def test_what_says_nothing_of_a_match_does_not(self) -> None:
        search = Event(Interaction(Action.SEARCH, query="p1"), NOW)
        others = [event("p1", Action.REMOVE), event("p9"), search]
        assert self.outcomes(answered(answer()), *others) == []

    def test_an_inline_product_counts_by_its_id(self) -> None:
        inline = Interaction(Action.VIEW, product=Product("red shirt", product_id="p1"))
        assert self.outcomes(answered(answer()), Event(inline, NOW)) == [("click", "a1", "p1")]

    def test_the_latest_answer_that_showed_it_counts(self) -> None:
        kept = answered(answer("a1"), answer("a2", moment=NOW - 5), answer("a3", ["p7"], moment=NOW - 1))
        assert self.outcomes(kept, event()) == [("click", "a2", "p1")]
        assert self.outcomes(kept, event(moment=NOW - 6)) == [("click", "a1", "p1")]

    def test_the_answer_that_the_event_names_counts_whatever_the_clock_of_the_shopper_says(self) -> None:
        kept = answered(answer("a1"), answer("a2"))
        assert self.outcomes(kept, event(answer_id="a1", moment=NOW - 9_999)) == [("click", "a1", "p1")]
        assert self.outcomes(kept, event(answer_id="unknown")) == []

    def test_an_event_before_the_answer_or_after_the_window_does_not_count(self) -> None:
        kept = answered(answer(moment=NOW))
        assert self.outcomes(kept, event(moment=NOW - 1)) == []
        assert kept.with_events([event(moment=NOW + WINDOW + 1)], NOW + WINDOW + 1, WINDOW).added.outcomes == ()

    def test_each_kind_counts_once_for_an_answer_and_a_product(self) -> None:
        kept = answered(answer())
        clicked = self.outcomes(kept, event(), event(), event("p2"), event("p1", Action.BUY))
        assert clicked == [("click", "a1", "p1"), ("click", "a1", "p2"), ("buy", "a1", "p1")]
        assert self.outcomes(after(event(), kept=kept), event()) == []

    def test_an_answer_that_is_added_again_counts_once(self) -> None:
        assert answered(answer(), answer()) == answered(answer())

    def test_answers_and_what_they_showed_are_bounded(self) -> None:
        assert len(answered(*(answer(f"a{number}") for number in range(MAX_ANSWERS + 5))).answers) == MAX_ANSWERS
        long = [answer(f"a{number}", [f"p{row}" for row in range(MAX_SHOWN // 3)]) for number in range(9)]
        assert [one.shown.answer_id for one in answered(*long).answers] == ["a6", "a7", "a8"]
        (one,) = answered(answer("a", [f"p{row}" for row in range(MAX_SHOWN + 1)], teams=(0, 1) * MAX_SHOWN)).answers
        assert len(one.shown.product_ids) == len(one.shown.teams) == MAX_SHOWN

    def test_answers_beyond_the_window_are_dropped(self) -> None:
        kept = answered(answer("a1", moment=NOW - WINDOW - 1), answer("a2", moment=NOW))
        assert [one.shown.answer_id for one in kept.answers] == ["a2"]

    def test_versions_and_arms_are_bounded(self) -> None:
        kept = answered(*(answer(f"a{number}", version=number + 1) for number in range(MAX_GROUPS + 3)))
        assert len(kept.tallies) == MAX_GROUPS

    def test_counts_are_those_of_the_session_at_its_end(self) -> None:
        steps: list[ShownAnswer | Event] = [answer(), event(), event(), answer("a2"), event("p2", Action.BUY), event()]
        counts, kept = Counter[str](), KeptSession()
        for step in steps:
            if isinstance(step, ShownAnswer):
                changed = kept.with_answer(step, NOW, WINDOW)
            else:
                changed = kept.with_events([step], NOW, WINDOW)
            kept = changed.session
            counts.update(changed.counts)
        (sums,) = by_group(counts).values()
        assert {name: sums.get(name, 0) for name in ("sessions", "answers", "clicks", "adds", "buys")} == {
            "sessions": 1,
            "answers": 2,
            "clicks": 2,
            "adds": 0,
            "buys": 1,
        }
        assert (sums["answers_squared"], sums["clicks_squared"]) == (4, 4)

    def test_credits_go_to_the_list_that_a_match_was_drafted_from(self) -> None:
        changed = answered(answer(teams=(1, 0))).with_events([event("p1")], NOW, WINDOW)
        assert changed.session.tallies[0].tally.credits == (0, 1)


class TestRecord:
    def test_a_session_comes_back(self) -> None:
        product = Product("emoji \N{SNOWMAN}", "shoes", (("colour", "red"),), "p9")
        search = Event(Interaction(Action.SEARCH, query="p1"), NOW)
        kept = after(event(event_id="e1"), search, Event(Interaction(Action.ADD, product=product), NOW))
        kept = kept.with_answer(answer(teams=(0, 1)), NOW, WINDOW).session
        kept = after(event("p2", Action.BUY, event_id="e2"), kept=kept)
        assert decode(encode(kept)) == kept

    @pytest.mark.parametrize(
        "record",
        [b"", b"\x00", b"junk", encode(KeptSession())[:-1], encode(KeptSession()).replace(b"\x01", b"\x02", 1)],
        ids=["empty", "a number", "text", "cut", "another format"],
    )
    def test_a_damaged_one_is_refused(self, record: bytes) -> None:
        with pytest.raises(DamagedRecord):
            decode(record)

    @given(st.binary(max_size=200))
    def test_no_bytes_do_harm(self, record: bytes) -> None:
        with contextlib.suppress(DamagedRecord):
            decode(record)

    def test_a_record_is_small(self) -> None:
        kept = after(*(event(f"{number:08}", moment=NOW + number, event_id=f"e{number}") for number in range(20)))
        kept = kept.with_answer(answer(product_ids=[f"{number:08}" for number in range(10)]), NOW, WINDOW).session
        assert len(encode(kept)) < 1_000


def test_a_later_event_does_not_depend_on_how_events_are_split_into_requests() -> None:
    events = [replace(event(f"p{number}"), moment=NOW - number % 3) for number in range(9)]
    one_by_one = KeptSession()
    for one in events:
        one_by_one = after(one, kept=one_by_one)
    assert one_by_one.interactions == after(*events).interactions
