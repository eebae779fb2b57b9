import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.data.logs.report import Tally
from ubm_embed.data.logs.taking_back import take_back


def taken(*events: str) -> tuple[list[str], Tally]:
    """What is left of events such as "s add p", with the counts."""
    rows = [event.split() for event in events]
    frame = pl.DataFrame(
        rows, schema=dict.fromkeys(["session_id", "action", "product_id"], pl.String), orient="row"
    ).with_row_index("order")
    tally = Tally()
    left = take_back(frame, tally)
    return [" ".join(row) for row in left.drop("order").rows()], tally


def test_a_removal_takes_the_latest_add_of_its_product_back() -> None:
    left, tally = taken("s add p", "s view p", "s add p", "s add q", "s remove p")
    assert left == ["s add p", "s view p", "s add q"]
    assert (tally.taken_back, tally.dropped) == (2, {})


def test_a_removal_without_an_add_before_it_in_its_session_is_dropped() -> None:
    left, tally = taken("s remove p", "s add p", "t remove p", "t add q", "t remove q", "t remove q")
    assert left == ["s add p"]
    assert (tally.taken_back, tally.dropped) == (2, {"removal without add": 3})


@given(
    st.lists(
        st.builds(
            "{} {} {}".format, st.sampled_from("st"), st.sampled_from(["add", "remove", "view"]), st.sampled_from("pq")
        )
    )
)
def test_every_event_is_left_or_counted(events: list[str]) -> None:
    events = sorted(events, key=lambda event: event[0])  # whole sessions
    left, tally = taken(*events)
    in_cart: dict[str, list[int]] = {}
    gone, alone = set(), 0
    for place, event in enumerate(events):
        session, action, product = event.split()
        cart = in_cart.setdefault(session + product, [])
        if action == "add":
            cart.append(place)
        elif action == "remove":
            gone.add(place)
            if cart:
                gone.add(cart.pop())
            else:
                alone += 1
    assert left == [event for place, event in enumerate(events) if place not in gone]
    assert tally.dropped.total() == alone
    assert tally.taken_back == len(gone) - alone
