"""What a cache keeps, and what it computes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.inference.shared_cache import SharedCache


class TestSharedCache:
    """A plain list of entries, least recently used first, is the reference."""

    STEPS = st.lists(st.lists(st.integers(0, 6), max_size=4), max_size=30)

    @given(max_entries=st.integers(0, 4), steps=STEPS)
    def test_keeps_what_was_used_last_and_computes_the_rest_once(self, max_entries, steps):
        cache, entries = SharedCache(max_entries), []
        for keys in steps:
            computed = []

            def compute(missing, computed=computed):
                computed.extend(missing)
                return [-key for key in missing]

            assert cache.get(keys, compute) == [-key for key in keys]
            distinct = list(dict.fromkeys(keys))
            assert computed == [key for key in distinct if key not in entries]
            used = [key for key in distinct if key not in computed] + computed
            entries = [key for key in entries if key not in used] + used
            entries = entries[len(entries) - min(max_entries, len(entries)) :]
            assert set(cache.entries) == set(entries)

    @pytest.mark.parametrize("keys", [[], ["a"], ["a", "a"]])
    def test_computes_nothing_that_it_has(self, keys):
        cache = SharedCache(2)
        cache.get(["a"], lambda missing: ["value"])
        assert cache.get(keys, pytest.fail) == ["value"] * len(keys)

    def test_a_failed_computation_leaves_nothing_behind(self):
        cache = SharedCache(2)
        with pytest.raises(ZeroDivisionError):
            cache.get(["a"], lambda missing: [1 / 0])
        assert cache.get(["a"], lambda missing: ["value"]) == ["value"]
