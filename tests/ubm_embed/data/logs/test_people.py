from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from ubm_embed.data.logs.people import MAX_DEVICES, name_people

NOON = datetime(2024, 1, 1, 12)
GAP = timedelta(minutes=30)
SCHEMA = {"anonymous_id": pl.String, "user_id": pl.String, "timestamp": pl.Datetime("us")}


Seen = tuple[str | None, str | None, int | None]


def log(events: Sequence[Seen]) -> pl.LazyFrame:
    timed = [
        (anonymous, user, None if minute is None else NOON + timedelta(minutes=minute))
        for anonymous, user, minute in events
    ]
    return pl.LazyFrame(timed, schema=SCHEMA, orient="row").with_row_index("order")


def people(*events: Seen, sightings: Sequence[Seen] = (), rows: int = 100) -> list[str | None]:
    """Whose the events of (anonymous id, user id, minute) are."""
    seen = log(sightings) if sightings else None
    with TemporaryDirectory() as folder:
        named = name_people(log(events), GAP, Path(folder), sightings=seen, rows=rows).collect().sort("order")
    assert set(named.columns) == {"order", "user_id", "timestamp"}
    return named["user_id"].to_list()


def test_an_anonymous_id_and_its_user_are_one_person_before_and_after() -> None:
    events = [("a", None, 0), ("a", "u", 5), ("a", None, 900), (None, "u", 901), ("b", None, 1)]
    assert people(*events) == ["u", "u", "u", "u", "b"]


def test_a_user_on_two_devices_is_one_person() -> None:
    assert people(("a", "u", 0), ("b", "u", 1), ("a", None, 2), ("b", None, 3)) == ["u"] * 4


def test_a_device_and_a_user_that_no_event_shows_together() -> None:
    assert people(("a", None, 0), (None, "u", 1), ("b", None, 2), sightings=[("a", "u", 9), ("b", "b", 9)]) == [
        *("u", "u", "b")
    ]
    assert people(("a", None, 0), ("b", None, 1), sightings=[("a", "u", 9)]) == ["u", "b"]


def test_logins_tell_who_used_a_shared_device_then() -> None:
    events = [("a", None, 0), ("a", None, 10), ("a", None, 100), ("a", None, 105), ("a", None, 900)]
    assert people(*events, sightings=[("a", "u", 5), ("a", "v", 103)]) == ["u", "u", "v", "v", "a"]


def test_a_log_without_anonymous_ids_stays() -> None:
    assert people((None, "u", 0), (None, None, 1)) == ["u", None]


def test_a_shared_device_does_not_make_its_users_one() -> None:
    events = [("a", "u", 0), ("a", None, 10), ("a", "v", 20), ("a", None, 25), ("a", None, 100), ("a", None, None)]
    # Who logs in next, who was logged in before, nobody.
    assert people(*events) == ["u", "v", "v", "v", "a", "a"]


def test_nobody_has_the_name_of_a_user() -> None:
    assert people(("17", None, 0), (None, "17", 0), ("18", None, 0)) == ["anonymous 17", "17", "18"]


def test_a_device_that_is_written_as_the_user_is_no_user() -> None:
    assert people(("a", "a", 0), ("a", "u", 1), ("b", "b", 2)) == ["u", "u", "b"]


def test_a_guest_of_a_thousand_devices_is_nobody() -> None:
    guests = [(f"a{number}", "guest", number) for number in range(MAX_DEVICES + 1)]
    assert people(*guests, ("b", "u", 0), (None, "guest", 1)) == [*(device for device, _, _ in guests), "u", "guest"]
    assert set(people(*guests[1:])) == {"guest"}


def test_a_kiosk_of_ten_thousand_users() -> None:
    visits = [("kiosk", user, 60 * number) for number in range(10_000) for user in (None, f"u{number}")]
    assert people(*visits, rows=1000) == [f"u{number}" for number in range(10_000) for _ in range(2)]


EVENTS = st.lists(
    st.tuples(st.none() | st.sampled_from("ab"), st.none() | st.sampled_from("uv"), st.none() | st.integers(0, 100)),
    max_size=15,
)


@settings(max_examples=60)
@given(EVENTS, st.integers(1, 20))
def test_users_keep_their_events_and_devices_of_one_user_are_theirs(events: list, at_once: int) -> None:
    users: dict[str, set[str]] = {}
    for anonymous, user, _ in events:
        users.setdefault(anonymous, set()).update({user} - {None})
    for (anonymous, user, _), person in zip(events, people(*events, rows=at_once), strict=True):
        if user or not anonymous:
            assert person == user
        elif len(users[anonymous]) < 2:
            assert person == next(iter(users[anonymous]), anonymous)
        else:
            assert person in users[anonymous] | {anonymous}
