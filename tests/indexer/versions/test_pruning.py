"""The versions that a policy keeps stay whole; the others are removed, and their space is freed."""

from pathlib import Path

import numpy as np
import pytest

from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.live import make_live, read_live, version_numbers
from indexer.versions.pruning import KeepPolicy, PruneResult, prunable_versions, prune
from indexer.versions.tags import add_tag
from tests.indexer.versions.published import ROWS, TABLE_BYTES, WIDTH, publish, write
from ubm_embed.errors import InvalidData


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    """A store without versions; see `publish`."""
    return EmbeddingStore.from_uri(tmp_path / "store")


def prune_locked(store: EmbeddingStore, keep: KeepPolicy | None = None) -> PruneResult:
    with store.write_lock():
        return prune(store, keep or KeepPolicy())


def first_ids(store: EmbeddingStore) -> dict[int, str]:
    """The first product of each version whose rows the table pins."""
    return {
        number: store.table.read(version, ["product_id"])["product_id"][0]
        for number, version in store.table.pins().items()
    }


@pytest.mark.parametrize(("num_kept", "removed"), [(1, [1, 2, 3, 4]), (2, [1, 2, 3]), (4, [1]), (5, []), (50, [])])
def test_the_newest_versions_stay(store: EmbeddingStore, num_kept: int, removed: list[int]) -> None:
    publish(store, 1, 2, 3, 4, 5)
    assert prunable_versions(store, KeepPolicy(versions=num_kept)) == removed
    assert prune_locked(store, KeepPolicy(versions=num_kept)).versions == tuple(removed)
    left = [number for number in (1, 2, 3, 4, 5) if number not in removed]
    assert version_numbers(store) == left
    assert first_ids(store) == {number: f"p{number}-0" for number in left}


def test_listing_what_would_go_removes_nothing(store: EmbeddingStore, tmp_path: Path) -> None:
    publish(store, 1, 2, 3)
    before = sorted((tmp_path / "store").rglob("*"))
    assert prunable_versions(store, KeepPolicy(versions=1)) == [1, 2]
    assert sorted((tmp_path / "store").rglob("*")) == before


def test_young_versions_stay_too(store: EmbeddingStore) -> None:
    publish(store, 1, days_ago=40)
    publish(store, 2, days_ago=20)
    publish(store, 3, 4, days_ago=5)
    publish(store, 5)
    one = {"versions": 1}
    assert prunable_versions(store, KeepPolicy(**one, days=0)) == [1, 2, 3, 4]
    assert prunable_versions(store, KeepPolicy(**one, days=10)) == [1, 2]
    assert prunable_versions(store, KeepPolicy(**one, days=30)) == [1]
    assert prunable_versions(store, KeepPolicy(versions=4, days=10)) == [1]
    for days in (365, 1e9, float("inf")):
        assert prunable_versions(store, KeepPolicy(**one, days=days)) == []


def test_an_unreadable_version_counts_as_old(store: EmbeddingStore) -> None:
    publish(store, 1, 2, 3)
    store.storage.write("versions/1/manifest.json", b"{")
    assert prunable_versions(store, KeepPolicy(versions=1, days=30)) == [1]


def test_tagged_versions_stay_until_the_tag_is_removed(store: EmbeddingStore) -> None:
    publish(store, 1, 2, 3, 4)
    add_tag(store, "black-friday", 1)
    assert prune_locked(store, KeepPolicy(versions=1)).versions == (2, 3)
    assert first_ids(store) == {1: "p1-0", 4: "p4-0"}
    add_tag(store, "black-friday", 4)
    assert prune_locked(store, KeepPolicy(versions=1)).versions == (1,)
    assert first_ids(store) == {4: "p4-0"}


def test_the_live_version_stays_even_if_others_are_newer(store: EmbeddingStore) -> None:
    publish(store, 1, 2, 3)
    make_live(store, 1, known=read_live(store))
    assert prune_locked(store, KeepPolicy(versions=1)).versions == (2, 3)
    assert first_ids(store) == {1: "p1-0"}


def test_after_a_rollback_withdrawn_versions_are_removed_and_earlier_ones_stay(store: EmbeddingStore) -> None:
    publish(store, 1, 2, 3, 4)
    make_live(store, 3, known=read_live(store))
    assert prune_locked(store).versions == (1, 4)
    assert version_numbers(store) == [2, 3]
    publish(store, 5)
    assert prune_locked(store).versions == (2,)
    assert version_numbers(store) == [3, 5]


def test_pruning_frees_space(store: EmbeddingStore) -> None:
    publish(store, 1)
    one = store.storage.size()
    publish(store, 2, 3, 4)
    four = store.storage.size()
    assert four > 3.5 * one
    result = prune_locked(store, KeepPolicy(versions=1))
    assert result.bytes == four - store.storage.size() > 3 * 2 * TABLE_BYTES  # the table's and the index's
    assert store.storage.size() < 1.3 * one


def test_a_tagged_version_does_not_hold_the_space_of_others(store: EmbeddingStore) -> None:
    publish(store, 1)
    one = store.storage.size()
    add_tag(store, "first", 1)
    publish(store, 2, 3, 4, 5, 6)
    prune_locked(store, KeepPolicy(versions=1))
    assert store.storage.size() < 2.3 * one


def test_pruning_twice_removes_nothing_more(store: EmbeddingStore) -> None:
    publish(store, 1, 2, 3)
    prune_locked(store)
    second = prune_locked(store)
    assert (second.versions, second.models) == ((), ())
    assert first_ids(store) == {2: "p2-0", 3: "p3-0"}


def test_models_that_no_version_needs_are_removed(store: EmbeddingStore) -> None:
    publish(store, 1, model_id="m1")
    publish(store, 2, 3, model_id="m2")
    publish(store, 4, model_id="m3")
    assert prune_locked(store, KeepPolicy(versions=2)).models == ("m1",)
    assert store.storage.list("models") == ["m2", "m3"]
    make_live(store, 3, known=read_live(store))
    assert prune_locked(store, KeepPolicy(versions=1)).models == ("m3",)
    assert store.storage.list("models") == ["m2"]


def test_no_model_is_removed_if_a_manifest_cannot_be_read(store: EmbeddingStore) -> None:
    publish(store, 1, model_id="m1")
    publish(store, 2, 3, model_id="m2")
    store.storage.write("versions/2/manifest.json", b"{")
    result = prune_locked(store, KeepPolicy(versions=2))
    assert (result.versions, result.models) == ((1,), ())
    assert store.storage.list("models") == ["m1", "m2"]


def test_a_refresh_that_can_be_resumed_keeps_its_model_and_rows(store: EmbeddingStore) -> None:
    publish(store, 1, 2)
    store.storage.write("models/next/config.json", b"{}")
    store.storage.write("staging/key.json", b"{}")
    rows = store.table.read(store.table.pins()[2])
    fragments = store.table.write_fragments(rows, np.ones((ROWS, WIDTH), np.float32), overwrite=False)
    assert prune_locked(store, KeepPolicy(versions=1)).models == ()
    assert store.storage.exists("models/next/config.json")
    assert store.table.has_files(fragments)
    store.storage.remove("staging")
    assert prune_locked(store, KeepPolicy(versions=1)).models == ("next",)
    assert not store.table.has_files(fragments)


def test_a_version_that_was_never_live_is_removed_with_its_pin(store: EmbeddingStore) -> None:
    """A writer that was killed shortly before publishing leaves such a version, or only its pin."""
    publish(store, 1)
    write(store, 2)
    store.table.pin(3, store.table.pins()[2])
    publish(store, 4)
    assert prune_locked(store).versions == (2,)
    assert first_ids(store) == {1: "p1-0", 4: "p4-0"}


def test_versions_of_older_software_are_pinned_before_the_table_is_cleaned_up(store: EmbeddingStore) -> None:
    publish(store, 1, 2, 3, pinned=False)
    assert prune_locked(store).versions == (1,)
    assert first_ids(store) == {2: "p2-0", 3: "p3-0"}


@pytest.mark.parametrize("name", ["live.json", "tags.json"])
def test_nothing_is_removed_if_a_list_of_versions_to_keep_is_damaged(store: EmbeddingStore, name: str) -> None:
    publish(store, 1, 2, 3)
    store.storage.write(name, b"{")
    with pytest.raises(InvalidData, match=name):
        prune_locked(store, KeepPolicy(versions=1))
    assert version_numbers(store) == [1, 2, 3]
    assert set(store.table.pins()) == {1, 2, 3}


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"versions": 0}, "versions must be at least 1, got 0"),
        ({"days": -1}, "days must be at least 0, got -1"),
        ({"days": float("nan")}, "days must be at least 0, got nan"),
    ],
)
def test_a_policy_that_keeps_less_than_the_live_version_is_refused(options: dict[str, float], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        KeepPolicy(**options)  # type: ignore[arg-type]
