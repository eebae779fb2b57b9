"""Who may wait: one rule for single requests and batches, by how fast work is done."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.service.engine.admission import Admission, DrainRate, Queue
from indexer.service.engine.overload import Overloaded


@pytest.fixture
def reported() -> list[int]:
    return []


@pytest.fixture
def admission(reported: list[int]) -> Admission:
    return Admission(10, 2.0, reported.append)


def refusal(admit: Callable[[], None]) -> Overloaded:
    with pytest.raises(Overloaded) as caught:
        admit()
    return caught.value


class TestRoom:
    def test_is_bounded_in_sessions_over_all_queues(self, admission: Admission, reported: list[int]) -> None:
        fast, slow = Queue(), Queue()
        admission.admit(6, fast)
        admission.admit(4, slow)
        error = refusal(lambda: admission.admit(1, fast))
        assert (error.reason, error.retry_after) == ("queue", 1)
        admission.finish(4, slow)
        admission.admit(4, fast)
        assert (admission.waiting, fast.waiting, slow.waiting) == (10, 10, 0)
        assert reported == [6, 10, 6, 10]

    @given(st.lists(st.integers(1, 8)))
    def test_is_the_same_for_one_large_request_and_many_small_ones(self, sizes: list[int]) -> None:
        def admits(parts: list[int]) -> int:
            room, queue = Admission(10, 2.0, lambda waiting: None), Queue()
            for size in parts:
                try:
                    room.admit(size, queue)
                except Overloaded:
                    break
            return room.waiting

        assert max(admits(sizes), 10) == 10
        assert admits([1] * sum(sizes)) == min(sum(sizes), 10)

    def test_has_a_place_for_any_request_when_nothing_waits(self, admission: Admission) -> None:
        admission.admit(50, Queue())
        assert admission.waiting == 50


class TestRate:
    def test_a_request_is_refused_if_what_waits_takes_longer_than_it_may_wait(self, admission: Admission) -> None:
        queue = Queue()
        queue.rate.add(4, 1.0)
        admission.admit(4, queue)
        admission.admit(1, queue)  # in time: what waits takes exactly one second, half of the timeout
        error = refusal(lambda: admission.admit(1, queue))
        assert (error.reason, error.retry_after) == ("queue", 2)

    def test_the_time_since_a_request_came_counts_as_waiting(self, admission: Admission) -> None:
        queue = Queue()
        queue.rate.add(4, 1.0)
        admission.admit(2, queue)
        refusal(lambda: admission.admit(1, queue, age=1.6))
        admission.admit(1, queue, age=1.5)

    def test_what_is_on_its_way_counts_as_waiting(self, admission: Admission) -> None:
        queue = Queue()
        queue.rate.add(4, 1.0)
        assert admission.has_room(1, queue, ahead=4)
        assert not admission.has_room(1, queue, ahead=5)

    def test_a_small_request_waits_for_one_turn_of_a_large_one(self) -> None:
        admission, queue = Admission(512, 2.0, lambda waiting: None), Queue()
        queue.rate.add(20, 1.0)
        admission.admit(100, queue, turn=8)
        admission.admit(8, queue)  # 0.4 seconds, although all that waits takes 5
        refusal(lambda: admission.admit(9, queue))
        admission.finish(100, queue, turn=8)
        admission.admit(9, queue)

    def test_a_slow_queue_does_not_keep_others_from_a_fast_one(self, admission: Admission) -> None:
        slow, fast = Queue(), Queue()
        slow.rate.add(1, 9.0)
        admission.admit(1, slow)
        refusal(lambda: admission.admit(1, slow))
        admission.admit(1, fast)

    def test_nothing_is_guessed_before_something_was_measured(self, admission: Admission) -> None:
        queue = Queue()
        admission.admit(9, queue)
        admission.admit(1, queue)
        assert queue.seconds == 0

    def test_retry_after_has_bounds(self) -> None:
        queue = Queue()
        assert queue.retry_after == 1
        queue.waiting = 100
        queue.rate.add(1, 10.0)
        assert queue.retry_after == 60

    def test_is_of_the_last_seconds_of_work(self) -> None:
        rate = DrainRate()
        for _ in range(100):
            rate.add(1, 1.0)
        assert rate.seconds_for(10) == pytest.approx(10)
        for _ in range(1_000):
            rate.add(1, 0.01)
        assert rate.seconds_for(10) < 0.5

    def test_does_not_depend_on_how_batches_are_cut(self) -> None:
        small, large = DrainRate(), DrainRate()
        for _ in range(32):
            small.add(1, 0.001)
        large.add(32, 0.032)
        assert small.seconds_for(1_000) == pytest.approx(large.seconds_for(1_000), rel=0.05)


class TestPastCapacity:
    """Ten seconds of more than can be done, by a clock of our own."""

    @pytest.mark.parametrize("times", [1.5, 3, 10])
    @pytest.mark.parametrize("batch", [1, 32])
    def test_work_goes_on_at_capacity_and_nobody_waits_too_long(self, times: float, batch: int) -> None:
        capacity, timeout, seconds = 200, 2.0, 10.0
        admission, queue = Admission(512, timeout, lambda waiting: None), Queue()
        arrivals = deque(number / (times * capacity) for number in range(round(times * capacity * seconds)))
        waiting: deque[float] = deque()
        waits, now = [], 0.0
        while now < seconds:
            while arrivals and arrivals[0] <= now:
                arrival = arrivals.popleft()
                with suppress(Overloaded):
                    admission.admit(1, queue, now - arrival)
                    waiting.append(arrival)
            taken = [waiting.popleft() for _ in range(min(batch, len(waiting)))]
            now += max(len(taken), 1) / capacity
            waits += [now - arrival for arrival in taken]
            queue.rate.add(len(taken), len(taken) / capacity)
            admission.finish(len(taken), queue)
        assert len(waits) >= 0.95 * capacity * seconds
        assert max(waits) < 0.75 * timeout
