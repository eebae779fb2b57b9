"""What pruning keeps for others: files that versions share, and the segments of revisions."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from indexer.storage.local_storage import LocalStorage
from indexer.storage.storage import Storage
from indexer.store.embedding_store import EmbeddingStore, revision_folder
from indexer.store.product_table import ProductTable
from indexer.versions.live import make_live, publish_revision, read_live, version_numbers
from indexer.versions.pruning import KeepPolicy, PruneResult, needed_versions, prunable_versions, prune
from indexer.versions.revision import segment_path
from indexer.versions.rollback import require_complete, roll_back
from indexer.versions.tags import add_tag
from indexer.versions.version import manifest_name, read_version
from tests.indexer.refresh.kills import watch
from tests.indexer.versions.published import publish, revise, write_segment
from ubm_embed.errors import Conflict, InvalidData, UbmError

ONE = KeepPolicy(versions=1)


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    """A store without versions; see `publish`."""
    return EmbeddingStore.from_uri(tmp_path / "store")


def prune_locked(store: EmbeddingStore, keep: KeepPolicy = ONE) -> PruneResult:
    with store.write_lock():
        return prune(store, keep)


def segments(store: EmbeddingStore, number: int) -> set[str]:
    return set(store.storage.list(revision_folder(number)))


def age(store: EmbeddingStore, number: int) -> None:
    """Let all segments of a version be two hours old."""
    then = time.time() - 7200
    for name in segments(store, number):
        os.utime(Path(store.uri) / segment_path(number, name), (then, then))


class TestSharedFiles:
    def test_the_version_whose_files_the_live_one_shares_stays(self, store: EmbeddingStore) -> None:
        publish(store, 1, 2)
        publish(store, 3, 4, shares=2)
        assert needed_versions(store, ONE) == {2: (4,)}
        assert prunable_versions(store, ONE) == [1, 3]
        result = prune_locked(store)
        assert (result.versions, result.needed) == ((1, 3), {2: (4,)})
        assert version_numbers(store) == [2, 4]
        assert set(store.table.pins()) == {2}
        require_complete(store, read_version(store, 4))

    def test_it_goes_once_nothing_shares_its_files(self, store: EmbeddingStore) -> None:
        publish(store, 1)
        publish(store, 2, shares=1)
        publish(store, 3)
        result = prune_locked(store)
        assert (result.versions, result.needed) == ((1, 2), {})
        assert set(store.table.pins()) == {3}

    def test_a_tag_keeps_the_files_that_its_version_shares(self, store: EmbeddingStore) -> None:
        publish(store, 1)
        publish(store, 2, shares=1)
        add_tag(store, "spring", 2)
        publish(store, 3)
        assert prune_locked(store).needed == {1: (2,)}
        assert roll_back(store, 2).now.version == 2

    def test_so_does_a_version_that_is_young(self, store: EmbeddingStore) -> None:
        publish(store, 1, days_ago=40)
        publish(store, 2, shares=1)
        written = read_version(store, 2).replace(created=read_version(store, 1).created.replace("20", "99", 1))
        store.storage.write(manifest_name(2), written.to_bytes())
        publish(store, 3)
        assert prune_locked(store, KeepPolicy(versions=1, days=30)).needed == {1: (2,)}

    def test_its_model_stays(self, store: EmbeddingStore) -> None:
        publish(store, 1, model_id="m1")
        publish(store, 2, shares=1)
        assert prune_locked(store).models == ()

    def test_without_the_manifest_that_says_what_the_live_version_shares_nothing_goes(
        self, store: EmbeddingStore
    ) -> None:
        publish(store, 1, 2)
        publish(store, 3, shares=1)
        store.storage.write(manifest_name(3), b"{")
        with pytest.raises(InvalidData, match=r"versions/3/manifest\.json"):
            prune_locked(store)
        assert version_numbers(store) == [1, 2, 3]

    def test_a_version_without_the_files_that_it_shares_is_lost(self, store: EmbeddingStore) -> None:
        publish(store, 1)
        publish(store, 2, shares=1)
        publish(store, 3)
        store.storage.remove("versions/1")
        store.table.unpin(1)
        assert prunable_versions(store, KeepPolicy(versions=9)) == [2]

    @hypothesis.given(
        bases=st.lists(st.integers(0, 3), min_size=2, max_size=5),
        keep=st.integers(1, 4),
        live=st.integers(0, 4),
        tagged=st.integers(0, 4),
    )
    @hypothesis.settings(max_examples=15)
    def test_what_stays_is_always_whole(
        self, tmp_path_factory: pytest.TempPathFactory, bases: list[int], keep: int, live: int, tagged: int
    ) -> None:
        store = EmbeddingStore.from_uri(tmp_path_factory.mktemp("random") / "store")
        publish(store, 1)
        for number, base in enumerate(bases, start=2):
            full = [before for before in range(1, number) if read_version(store, before).shares_files_of is None]
            publish(store, number, shares=full[base % len(full)] if base else None)
        numbers = version_numbers(store)
        make_live(store, numbers[live % len(numbers)], known=read_live(store))
        add_tag(store, "spring", numbers[tagged % len(numbers)])
        policy, expected = KeepPolicy(versions=keep), read_live(store)
        announced = prunable_versions(store, policy)
        assert prune_locked(store, policy).versions == tuple(announced)
        left = version_numbers(store)
        wanted = {expected.version, numbers[tagged % len(numbers)], *expected.history[: keep - 1]}
        assert wanted <= set(left)
        for number in left:
            require_complete(store, read_version(store, number))


class TestRevisions:
    def test_those_of_removed_versions_go_and_those_of_others_stay(self, store: EmbeddingStore) -> None:
        publish(store, 1)
        revise(store, 5)
        publish(store, 2)
        revise(store, 7, 2)
        publish(store, 3)
        revise(store, 1)
        prune_locked(store, KeepPolicy(versions=2))
        assert set(read_live(store).revisions) == {2, 3}
        assert store.storage.list("revisions") == ["2", "3"]
        assert roll_back(store, 2).revision == read_live(store).revision

    def test_segments_that_no_revision_has_go_once_they_are_old(self, store: EmbeddingStore) -> None:
        publish(store, 1)
        named = {segment.name for segment in revise(store, 5).segments}
        write_segment(store, 1, 2, rows=1)
        age(store, 1)
        young = write_segment(store, 1, 2, rows=1).name
        prune_locked(store)
        assert segments(store, 1) == {*named, young}

    def test_a_segment_of_a_version_that_never_was_goes(self, store: EmbeddingStore) -> None:
        publish(store, 1)
        write_segment(store, 9, 1, rows=1)
        prune_locked(store)
        assert store.storage.list("revisions") == []

    def test_an_upsert_that_is_published_meanwhile_stays(
        self, store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        publish(store, 1)
        revise(store, 5)
        publish(store, 2)
        revise(store, 5)
        swap, numbers = LocalStorage.compare_and_swap, []

        def upsert_before(storage: LocalStorage, name: str, data: bytes, *, expected: bytes | None) -> None:
            if len(numbers) < 3:  # three times in a row, another process is faster
                numbers.append(0)
                known = read_live(store)
                live = known.with_revision(known.revisions[2].replace(number=known.revisions[2].number + 1))
                swap(storage, name, live.to_bytes(), expected=known.to_bytes())
            swap(storage, name, data, expected=expected)

        monkeypatch.setattr(LocalStorage, "compare_and_swap", upsert_before)
        prune_locked(store)
        assert {number: revision.number for number, revision in read_live(store).revisions.items()} == {2: 4}
        assert store.storage.list("revisions") == ["2"]

    def test_a_rollback_at_the_same_moment_keeps_its_revision_or_does_not_happen(
        self, store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        publish(store, 1)
        revise(store, 5)
        publish(store, 2)
        remove, outcome = LocalStorage.remove, []

        def roll_back_around(storage: LocalStorage, name: str) -> None:
            if name == manifest_name(1) and not outcome:
                outcome.append(roll_back(EmbeddingStore.from_uri(store.uri), 1).label)
            remove(storage, name)

        monkeypatch.setattr(LocalStorage, "remove", roll_back_around)
        assert prune_locked(store).versions == ()
        assert outcome == ["1.1"]
        live = read_live(store)
        assert live.version == 1
        assert live.revision is not None
        assert segments(store, 1) == {segment.name for segment in live.revision.segments}


class Killed(BaseException):
    """Stands for a signal: nothing of the process runs after it."""


STEPS: list[tuple[Any, str]] = [
    (LocalStorage, "write"),
    (LocalStorage, "compare_and_swap"),
    (LocalStorage, "remove"),
    *((ProductTable, name) for name in ("unpin", "cleanup")),
]


def stop_at(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Raise before or after the step numbered `at`."""
    passed = 0

    def step() -> None:
        nonlocal passed
        passed += 1
        if passed > at:
            raise Killed

    watch(STEPS, step, monkeypatch.setattr)


def test_stopped_anywhere_every_version_that_is_left_is_whole_and_the_next_pruning_completes(
    tmp_path: Path,
) -> None:
    for at in range(100):
        store = EmbeddingStore.from_uri(tmp_path / str(at))
        publish(store, 1)
        revise(store, 5)
        publish(store, 2, shares=1)
        revise(store, 3)
        publish(store, 3)
        revise(store, 2)
        publish(store, 4, shares=3)
        revise(store, 1)
        with pytest.MonkeyPatch.context() as patch:
            stop_at(patch, at)
            try:
                prune_locked(store)
                break
            except Killed:
                pass
        require_whole(store)
        prune_locked(store)
        require_whole(store)
        assert version_numbers(store) == [3, 4]
        assert set(read_live(store).revisions) == {3, 4}
        assert store.storage.list("revisions") == ["3", "4"]
        assert set(store.table.pins()) == {3}
    else:
        pytest.fail("a pruning has fewer steps")
    assert at > 10


def require_whole(store: EmbeddingStore) -> None:
    """Each version that has its manifest can be rolled back to, with its revision."""
    live = read_live(store)
    for number in version_numbers(store):
        if store.storage.exists(manifest_name(number)):
            require_complete(store, read_version(store, number))
            revision = live.revisions[number]
            assert {segment.name for segment in revision.segments} <= segments(store, number)
    assert live.version in version_numbers(store)


class TestRollback:
    @pytest.fixture
    def revised(self, store: EmbeddingStore) -> EmbeddingStore:
        """Versions 1.1 and 2.2; 2 is live."""
        publish(store, 1)
        revise(store, 5)
        publish(store, 2)
        revise(store, 4)
        revise(store, 6)
        return store

    def test_it_takes_its_revisions_along(self, revised: EmbeddingStore) -> None:
        before = read_live(revised).revisions
        result = roll_back(revised)
        assert (result.before_label, result.label) == ("2.2", "1.1")
        assert read_live(revised).revisions == before
        assert roll_back(revised, 2).label == "2.2"

    def test_to_a_version_as_it_was_published_drops_its_revision(self, revised: EmbeddingStore) -> None:
        result = roll_back(revised, 2, as_published=True)
        assert (result.before_label, result.label, result.dropped) == ("2.2", "2.3", 6)
        revision = read_live(revised).revision
        assert revision is not None
        assert revision.segments == ()
        assert not revision.continues(2), "a reader of 2.2 must not keep what it has"
        assert roll_back(revised, 2, as_published=True).label == "2.3", "there is nothing more to drop"

    def test_what_is_upserted_after_it_still_says_so(self, revised: EmbeddingStore) -> None:
        roll_back(revised, 2, as_published=True)
        later = revise(revised, 1)
        assert (later.number, later.since) == (4, 3)
        assert [later.continues(number) for number in (0, 1, 2, 3, 4, 5)] == [True, False, False, True, True, False]

    def test_to_a_version_as_it_was_published_that_is_not_live(self, revised: EmbeddingStore) -> None:
        assert roll_back(revised, 1, as_published=True).label == "1.2"
        assert roll_back(revised, 2).label == "2.2"

    @pytest.mark.parametrize("damage", ["missing", "truncated"])
    def test_to_a_revision_that_is_damaged_publishes_nothing(self, revised: EmbeddingStore, damage: str) -> None:
        (segment,) = read_live(revised).revisions[1].segments
        file = Path(revised.uri) / segment_path(1, segment.name)
        file.unlink() if damage == "missing" else file.write_bytes(b"x")
        with pytest.raises(
            InvalidData, match=r"(missing|1 bytes, expected 15); .* versions rollback 1\.0 --store"
        ) as e:
            roll_back(revised, 1)
        assert e.value.file == str(file)
        assert read_live(revised).version == 2
        assert roll_back(revised, 1, as_published=True).label == "1.2"

    def test_to_a_version_without_the_files_that_it_shares(self, store: EmbeddingStore) -> None:
        publish(store, 1)
        publish(store, 2, shares=1)
        publish(store, 3)
        (Path(store.uri) / "versions/1/index.faiss").unlink()
        with pytest.raises(InvalidData, match=r"versions/1/index\.faiss: missing; version 2 is damaged"):
            roll_back(store, 2)
        store.storage.remove("versions/1")
        with pytest.raises(InvalidData, match="versions/1: missing; version 2 shares its files"):
            roll_back(store, 2)

    def test_it_does_not_wait_for_upserts_that_never_stop(
        self, revised: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        exists, upserts = LocalStorage.exists, []

        def upsert_meanwhile(storage: Storage, name: str) -> bool:
            known = read_live(revised)
            if known.version == 2:
                upserts.append(revise(revised, 1).number)
            return exists(storage, name)  # type: ignore[arg-type]

        monkeypatch.setattr(LocalStorage, "exists", upsert_meanwhile)
        assert roll_back(revised).label == "1.1"
        assert upserts
        assert read_live(revised).revisions[2].number == upserts[-1]

    def test_an_upsert_that_began_before_it_is_not_lost_but_refused(self, revised: EmbeddingStore) -> None:
        known = read_live(revised)
        assert known.revision is not None
        roll_back(revised)
        with pytest.raises(Conflict):
            publish_revision(revised, known.revision.replace(number=3), known=known)

    def test_a_lost_live_json_drops_revisions_for_good(self, revised: EmbeddingStore) -> None:
        (Path(revised.uri) / "live.json").unlink()
        assert roll_back(revised, 2).label == "2.3"
        assert read_live(revised).revisions[1].number == 2
        assert not read_live(revised).revisions[2].continues(2)
        with pytest.raises(UbmError):
            roll_back(revised)
