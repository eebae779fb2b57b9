"""Batches are read ahead, in order, and their errors come in their turn."""

import threading

import pytest

from ubm_embed.training.pretraining.pretrainer import read_ahead


@pytest.mark.parametrize("count", [0, 1, 2, 9])
def test_items_come_in_order_with_what_was_read_of_them(count):
    assert list(read_ahead(lambda item: item * 10, range(count))) == [(item, item * 10) for item in range(count)]


def test_the_next_one_is_read_while_this_one_is_used():
    read = {item: threading.Event() for item in range(3)}

    def note(item):
        read[item].set()

    for item, _ in read_ahead(note, range(3)):
        assert read[min(item + 1, 2)].wait(timeout=120)


def test_what_reading_raises_is_raised_at_its_item():
    def fail_at_two(item):
        if item == 2:
            raise ValueError("no such batch")
        return item

    seen = []
    with pytest.raises(ValueError, match="no such batch"):
        seen += [item for item, _ in read_ahead(fail_at_two, range(4)) if seen.append(item) is None]
    assert seen == [0, 1]


def test_leaving_early_leaves_no_thread_behind():
    before = threading.active_count()
    batches = read_ahead(str, range(5))
    next(batches)
    batches.close()
    assert threading.active_count() == before
