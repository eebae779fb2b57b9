from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.inference.recently_used import RecentlyUsed

STEPS = st.lists(st.tuples(st.booleans(), st.lists(st.integers(0, 6), max_size=4)), max_size=30)


@given(size=st.integers(0, 4), steps=STEPS)
def test_it_keeps_what_was_used_last(size, steps):
    cache, expected = RecentlyUsed(size), OrderedDict()
    for keep, keys in steps:
        if keep:
            cache.keep({key: -key for key in keys})
        found = cache.found(keys)
        for key in dict.fromkeys(keys):
            if keep:
                expected.pop(key, None)
                expected[key] = -key
        while len(expected) > size:
            expected.popitem(last=False)
        assert found == {key: -key for key in keys if key in expected}
        for key in dict.fromkeys(keys):
            if key in expected:
                expected.move_to_end(key)
        assert len(cache) == len(expected) <= size


def test_finding_makes_recent():
    cache = RecentlyUsed(2)
    cache.keep({"a": 1, "b": 2})
    cache.found(["a"])
    cache.keep({"c": 3})
    assert cache.found(["a", "b", "c"]) == {"a": 1, "c": 3}


@pytest.mark.parametrize("keys", [[], ["z"]])
def test_what_is_not_there_is_not_found(keys):
    assert RecentlyUsed(3).found(keys) == {}
