"""A catalogue under revisions says what one says that is written anew with the products as they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.catalogue.mapped_catalogue import MappedCatalogue
from indexer.revisions import overlay as overlays
from indexer.revisions.overlay import Overlay
from indexer.revisions.revised_catalogue import RevisedCatalogue
from tests.indexer.revisions.shop import (
    CHANGES,
    DIMENSION,
    SEGMENT,
    SHOPS,
    Change,
    Row,
    Shop,
    changed,
    described,
    from_scratch,
    segment_rows,
    table,
)
from ubm_embed.errors import InvalidData

SHOE = Row("shoe", price=1.0)


@pytest.fixture(autouse=True, scope="module")
def small() -> Iterator[None]:
    """Rows are merged and dead positions dropped after a few changes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overlays, "_MAX_TAIL", 3)
        patch.setattr(overlays, "_MIN_GARBAGE", 2)
        yield


def opened(shop: Shop) -> Overlay:
    return Overlay.of_base(MappedCatalogue.from_table(table(shop, shop)), DIMENSION)


def catalogue(shop: Shop, *batches: Sequence[Change]) -> RevisedCatalogue:
    overlay, first = opened(shop), 1
    for batch in batches:
        overlay, first = overlay.advanced(segment_rows(shop, batch, first)), first + len(batch)
    return RevisedCatalogue(overlay.base, overlay)


@settings(max_examples=25)
@given(SHOPS, CHANGES, st.integers(1, 5))
def test_it_says_what_a_new_catalogue_says(shop: Shop, changes: list[Change], size: int) -> None:
    revised = catalogue(shop, *(changes[first : first + size] for first in range(0, len(changes), size)))
    assert described(revised) == from_scratch(shop, changed(shop, changes))


@settings(max_examples=40)
@given(SHOPS, CHANGES)
def test_vectors_and_popularity_are_where_the_products_are(shop: Shop, changes: list[Change]) -> None:
    overlay = opened(shop)
    for number, change in enumerate(changes, 1):
        before, overlay = overlay, overlay.advanced(segment_rows(shop, [change], number))
        assert overlay.number == number
        added = overlay.appended_vectors_since(before if overlay.continues(before) else None)
        known = before.appended_count if overlay.continues(before) else 0
        assert len(added) == overlay.appended_count - known
        after = changed(shop, changes[:number])
        for name, position in RevisedCatalogue(overlay.base, overlay).find(after).items():
            if position < overlay.base_count:
                assert after[name].text_hash == shop[name].text_hash
            else:
                np.testing.assert_array_equal(overlay.vectors(np.array([position])), [after[name].vector])
    assert overlay.rows == len({name for name, _ in changes})


@settings(max_examples=8)
@given(SHOPS, CHANGES, CHANGES)
def test_an_earlier_snapshot_stays_as_it_was(shop: Shop, changes: list[Change], later: list[Change]) -> None:
    before = catalogue(shop, changes)
    said = described(before)
    after = before.overlay
    for number, change in enumerate(later, len(changes) + 1):
        after = after.advanced(segment_rows(shop, [change], number))
        described(RevisedCatalogue(after.base, after))
    assert described(before) == said == described(RevisedCatalogue(before.base, before.overlay))


@settings(max_examples=40)
@given(SHOPS, CHANGES)
def test_what_was_revised_has_another_key_than_before(shop: Shop, changes: list[Change]) -> None:
    """A value that is kept by a product's key is never that of another text or position."""
    kept: dict[object, object] = {}
    overlay = opened(shop)
    for number, change in enumerate(changes, 1):
        overlay = overlay.advanced(segment_rows(shop, [change], number))
        revised = RevisedCatalogue(overlay.base, overlay)
        found = revised.find(name for name, _ in changes)
        for name, _ in changes:
            key, position = (name, revised.revised(name)), found.get(name)
            product = None if position is None else revised.products([position])[position]
            assert kept.setdefault(key, (position, product)) == (position, product)


def test_only_another_text_or_position_makes_another_key() -> None:
    shop = {"a": SHOE, "17": SHOE}
    cheaper = catalogue(shop, [("a", Row("shoe", price=0.5))])
    assert cheaper.revised("a") is None
    boot = catalogue(shop, [("a", Row("boot"))])
    cheaper_boot = catalogue(shop, [("a", Row("boot"))], [("a", Row("boot", price=3.0))])
    assert boot.revised("a") is not None
    assert cheaper_boot.revised("a") == boot.revised("a")
    assert catalogue(shop, [("a", None)]).revised("a") not in (None, boot.revised("a"))
    assert boot.revised("17.0") is None
    deleted = catalogue(shop, [("17", None)])
    assert deleted.revised("17.0") is not None
    assert deleted.revised("17.0") != catalogue(shop, [("17", Row("boot"))]).revised("17.0")


def test_what_is_known_already_is_skipped() -> None:
    shop, changes = {"a": SHOE}, [("b", Row("boot")), ("a", Row("boot"))]
    rows = segment_rows(shop, changes)
    overlay = opened(shop).advanced(rows)
    again = overlay.advanced(rows)
    assert again is overlay
    assert overlay.advanced(rows.slice(0, 1), 7).number == 7
    newer = overlay.advanced(pa.concat_tables([rows, segment_rows(shop, [("c", SHOE)], 3)]))
    assert (newer.number, newer.appended_count) == (3, 3)


def test_a_row_without_a_vector_needs_a_product_of_the_base() -> None:
    rows = segment_rows({"b": SHOE}, [("b", SHOE)])
    with pytest.raises(InvalidData, match=r"no product 'b' in the version"):
        opened({"a": SHOE}).advanced(rows)


def test_conditions_are_refused_as_by_the_base() -> None:
    revised = catalogue({"a": SHOE}, [("b", Row("boot"))])
    for condition in ("prize < 3", "price <", "_row_deleted", "text_hash IS NULL"):
        with pytest.raises(InvalidData) as expected:
            revised.base.where(condition)
        with pytest.raises(InvalidData) as refused:
            revised.where(condition)
        assert str(refused.value) == str(expected.value)


def test_dead_positions_are_dropped_once_they_outnumber_the_others() -> None:
    shop = dict.fromkeys("abc", SHOE)
    overlay, lengths = opened(shop), []
    for number in range(1, 41):
        overlay = overlay.advanced(segment_rows(shop, [("a", Row(f"boot {number}"))], number))
        lengths.append(overlay.appended_count)
    assert max(lengths) <= 4
    assert overlay.vectors(np.array([RevisedCatalogue(overlay.base, overlay).find(["a"])["a"]])).tolist() == [
        pytest.approx(Row("boot 40").vector)
    ]


def test_vectors_stay_with_their_products_when_dead_positions_are_dropped() -> None:
    texts = {"x": Row("left"), "y": Row("right"), "x again": Row("left", price=2.0)}
    changes = [("x", texts["x"]), ("y", texts["y"]), ("x", texts["x again"])]
    changes += [("z", Row(f"boot {number}")) for number in range(9)]
    overlay, generations = opened({}), 0
    for number, change in enumerate(changes, 1):
        before, overlay = overlay, overlay.advanced(segment_rows({}, [change], number))
        generations += not overlay.continues(before)
        found = RevisedCatalogue(overlay.base, overlay).find(["x", "y"])
        for name, position in found.items():
            np.testing.assert_array_equal(overlay.vectors(np.array([position])), [texts[name].vector])
    assert generations


def test_the_work_of_a_change_does_not_grow_with_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that are copied, and rows that conditions are evaluated over."""
    monkeypatch.setattr(overlays, "_MAX_TAIL", 8)
    shop = {f"p{row}": SHOE for row in range(200)}
    overlay = opened(shop).advanced(segment_rows(shop, [(name, Row("boot")) for name in list(shop)[:100]]))
    run, _ = overlay.layers
    RevisedCatalogue(overlay.base, overlay).where("price < 3")
    scanned = list[int]()
    monkeypatch.setattr(overlays.Layer, "where", _counting(overlays.Layer.where, scanned))
    for number in range(101, 109):
        overlay = overlay.advanced(segment_rows(shop, [(f"p{number}", Row("boot"))], number))
        RevisedCatalogue(overlay.base, overlay).where("price < 3")
        assert overlay.layers[0] is run, "only the tail is copied"
    assert len(overlay.layers[1]) == 8
    assert scanned == [size for tail in range(1, 9) for size in (100, tail)]


def _counting(where, scanned: list[int]):  # type: ignore[no-untyped-def]
    def counted(layer: overlays.Layer, condition: str) -> np.ndarray:
        scanned.append(len(layer))
        return where(layer, condition)

    return counted


def test_a_patch_is_the_first_revision_of_all() -> None:
    shop = {"a": SHOE, "b": Row("boot", price=2.0)}
    patch = segment_rows(shop, [("a", Row("shoe", price=9.0))], first=0).drop_columns(["vector"])
    overlay = Overlay.of_base(opened(shop).base, DIMENSION, patch)
    assert (overlay.number, overlay.rows, overlay.visible) == (0, 1, None)
    revised = RevisedCatalogue(overlay.base, overlay)
    assert described(revised) == from_scratch(shop, {**shop, "a": Row("shoe", price=9.0)})
    later = overlay.advanced(segment_rows(shop, [("a", None), ("b", SHOE)]))
    assert described(RevisedCatalogue(later.base, later)) == from_scratch(shop, {"b": SHOE})


def test_no_change_is_no_change() -> None:
    shop = {"a": SHOE}
    overlay = opened(shop)
    assert overlay.advanced(SEGMENT.empty_table()) is overlay
    assert described(RevisedCatalogue(overlay.base, overlay)) == from_scratch(shop, shop)
