"""What a cache keeps, and what it computes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.inference.shared_cache import SharedCache


def size_of_one(key, value):
    """The bytes that one entry is counted with."""
    cache = SharedCache(1 << 30)
    cache.get([key], lambda missing: [value])
    return cache.size


class TestSharedCache:
    STEPS = st.lists(st.lists(st.integers(1, 7), max_size=4), max_size=30)

    @given(room=st.integers(0, 4), steps=STEPS)
    def test_keeps_what_was_used_last_within_its_bytes_and_computes_the_rest_once(self, room, steps):
        """A plain list of the keys, least recently used first, is the reference."""
        max_bytes = 2 * room * size_of_one(1, -1)
        cache, used = SharedCache(max_bytes), []
        for keys in steps:
            computed = []

            def compute(missing, computed=computed):
                computed.extend(missing)
                return [-key for key in missing]

            assert cache.get(keys, compute) == [-key for key in keys]
            distinct = list(dict.fromkeys(keys))
            assert len(set(computed)) == len(computed)
            assert set(computed) <= set(distinct)
            assert not set(computed) & set(used[len(used) - min(room, len(used)) :])
            used = [key for key in used if key not in distinct] + distinct
            assert cache.size <= max_bytes
            assert {cache.peek(key) for key in used} <= {None, *(-key for key in used)}  # and is not a use of them
            latest = used[len(used) - min(room, len(used)) :]
            assert [cache.peek(key) for key in latest] == [-key for key in latest]

    @pytest.mark.parametrize("keys", [[], ["a"], ["a", "a"]])
    def test_computes_nothing_that_it_has(self, keys):
        cache = SharedCache(1 << 20)
        cache.get(["a"], lambda missing: ["value"])
        assert cache.get(keys, pytest.fail) == ["value"] * len(keys)

    def test_a_failed_computation_leaves_nothing_behind(self):
        cache = SharedCache(1 << 20)
        with pytest.raises(ZeroDivisionError):
            cache.get(["a"], lambda missing: [1 / 0])
        assert cache.get(["a"], lambda missing: ["value"]) == ["value"]

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("k" * 5000, b"value"),
            ("key", np.zeros(1250, np.float32)),
            (("view", "title", (("colour", "r" * 5000),)), True),
        ],
        ids=["key", "array", "nested"],
    )
    def test_keys_and_values_are_counted_whole(self, key, value):
        assert 5000 < size_of_one(key, value) < 6000

    def test_what_has_no_room_is_answered_and_not_kept(self):
        cache = SharedCache(1000)
        assert cache.get(["big", "a"], lambda missing: ["v" * 2000, "value"]) == ["v" * 2000, "value"]
        assert cache.size < 1000
        assert cache.get(["a"], pytest.fail) == ["value"]
