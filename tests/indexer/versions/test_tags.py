"""Names of versions: given, moved, taken away, and never lost."""

from pathlib import Path

import pytest

from indexer.storage.storage import Storage
from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.live import make_live
from indexer.versions.revision import Revision
from indexer.versions.tags import add_tag, delete_tag, read_tags, resolve_number, resolve_published
from indexer.versions.version import METRIC, StoreVersion
from ubm_embed.errors import Conflict, InvalidData, NotFound

VERSION = StoreVersion(
    version=1,
    table_version=1,
    model_id="0123456789abcdef",
    dimension=16,
    kind="flat",
    metric=METRIC,
    products=8,
    indexed=8,
    recall_at_10=1.0,
    created="2026-01-02T03:04:05+00:00",
    software="0.1.0",
    source="products.parquet",
)


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    """Versions 1 and 2."""
    for number in (1, 2):
        folder = tmp_path / "versions" / str(number)
        folder.mkdir(parents=True)
        VERSION.replace(version=number).write(folder)
    return EmbeddingStore.from_uri(tmp_path)


def test_without_tags_there_are_none(store: EmbeddingStore) -> None:
    assert read_tags(store) == {}


def test_a_version_is_found_by_its_names_and_its_number(store: EmbeddingStore) -> None:
    for name, number in {"black-friday": 1, "before_v2.0": 1, "été": 2}.items():
        add_tag(store, name, number)
    assert read_tags(store) == {"black-friday": 1, "before_v2.0": 1, "été": 2}
    assert [resolve_number(store, name) for name in ("black-friday", "été", "2", "17")] == [1, 2, 2, 17]


def test_a_name_moves_to_another_version(store: EmbeddingStore) -> None:
    add_tag(store, "good", 1)
    add_tag(store, "good", 2)
    assert read_tags(store) == {"good": 2}


def test_a_name_that_is_taken_away_is_gone_and_others_stay(store: EmbeddingStore) -> None:
    add_tag(store, "good", 1)
    add_tag(store, "better", 2)
    delete_tag(store, "good")
    assert read_tags(store) == {"better": 2}


@pytest.mark.parametrize("name", ["", "12", "a b", "a/b", "a\n", "é" * 101, "*"])
def test_what_is_no_name_is_refused(store: EmbeddingStore, name: str) -> None:
    with pytest.raises(InvalidData, match="expected letters, digits"):
        add_tag(store, name, 1)
    assert read_tags(store) == {}


def test_a_version_that_is_not_there_gets_no_name(store: EmbeddingStore) -> None:
    with pytest.raises(NotFound, match=r"no version 3 in .*; known versions: 1, 2"):
        add_tag(store, "good", 3)


def test_an_unknown_name_is_answered_with_those_there_are(store: EmbeddingStore) -> None:
    with pytest.raises(NotFound, match=r"no version is tagged 'good'; known tags: \(none\)"):
        resolve_number(store, "good")
    add_tag(store, "worse", 1)
    add_tag(store, "better", 1)
    for look_up in (resolve_number, delete_tag):
        with pytest.raises(NotFound, match="no version is tagged 'good'; known tags: better, worse"):
            look_up(store, "good")


@pytest.mark.parametrize("text", ["", "[]", '{"good": "1"}', '{"good": 0}', '{"good": true}', '{"good": null}'])
def test_a_damaged_file_is_named(store: EmbeddingStore, tmp_path: Path, text: str) -> None:
    (tmp_path / "tags.json").write_text(text)
    with pytest.raises(InvalidData, match=r"tags\.json"):
        read_tags(store)


class ChangingStorage:
    """A storage in which another process tags a version after every read of the tags."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.uri = storage.uri

    def read(self, name: str) -> bytes:
        data = self._storage.read(name)
        if name == "tags.json":
            self._storage.write(name, b'{"theirs": 1}')
        return data

    def __getattr__(self, name: str) -> object:
        return getattr(self._storage, name)


def test_names_that_others_give_at_the_same_time_are_not_lost(store: EmbeddingStore) -> None:
    add_tag(store, "good", 1)
    changing = EmbeddingStore(ChangingStorage(store.storage))  # type: ignore[arg-type]
    with pytest.raises(Conflict):
        add_tag(changing, "mine", 2)
    assert read_tags(store) == {"theirs": 1}


class TestRevisions:
    @pytest.fixture
    def revised(self, store: EmbeddingStore) -> EmbeddingStore:
        """Version 1 as it was published, and 2.17."""
        revision = Revision(number=17, segments=(), created="2026-01-02T03:04:05+00:00")
        make_live(store, 2, known=None, revision=revision)
        return store

    @pytest.mark.parametrize(
        ("name", "expected"),
        [("2", (2, False)), ("2.17", (2, False)), ("2.0", (2, True)), ("1.0", (1, False)), ("1", (1, False))],
    )
    def test_the_last_one_and_none_have_a_name(
        self, revised: EmbeddingStore, name: str, expected: tuple[int, bool]
    ) -> None:
        assert resolve_published(revised, name) == expected

    @pytest.mark.parametrize(
        ("name", "problem"),
        [("2.16", "of version 2 only the last revision is kept, 2.17"), ("1.3", "version 1 has no revision")],
    )
    def test_others_are_not_kept(self, revised: EmbeddingStore, name: str, problem: str) -> None:
        with pytest.raises(NotFound, match=problem):
            resolve_number(revised, name)

    def test_what_reads_the_last_one_only_refuses_a_version_as_it_was_published(self, revised: EmbeddingStore) -> None:
        assert [resolve_number(revised, name) for name in ("2.17", "1.0")] == [2, 1]
        with pytest.raises(NotFound, match=r"of version 2 only the last revision is kept, 2\.17"):
            resolve_number(revised, "2.0")

    def test_a_tag_of_older_software_goes_first(self, revised: EmbeddingStore) -> None:
        revised.storage.write("tags.json", b'{"2.0": 1}')
        assert resolve_published(revised, "2.0") == (1, False)
        with pytest.raises(InvalidData, match="no number such as 3 or 3"):
            add_tag(revised, "2026.11", 1)
