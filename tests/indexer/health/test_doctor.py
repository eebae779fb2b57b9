"""Each kind of damage: no answer is wrong, the doctor names it, and what it says to type leads back to answers."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.main import run
from indexer.health.doctor import Finding, Severity, examine
from indexer.search.answer import Answer
from indexer.search.retriever import Retriever
from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.rollback import roll_back
from indexer.versions.tags import add_tag
from ubm_embed.data.session import Action, Interaction, Session
from ubm_embed.errors import NotFound, UbmError

SESSION = Session((Interaction(Action.VIEW, product_id="p1"), Interaction(Action.SEARCH, query="red")))
REPAIR = "ubm-embed doctor --repair"
BUILD = "ubm-embed build-index --model DIR --products FILE"

Damage = Callable[[Path], object]


def ask(store: Path, version: int | None = None) -> Answer:
    return Retriever.open(store, version=version, device="cpu").recommend(SESSION, 20)


def shown(answer: Answer) -> list[tuple[str, str | None, float, float]]:
    """What a shopper sees of an answer; scores as far as encoding anew makes them the same."""
    return [(one.product_id, one.title, one.fields["price"], round(one.score or 0.0, 5)) for one in answer.matches]


def errors(store: Path) -> list[Finding]:
    return [found for found in examine(store) if found.severity is Severity.ERROR]


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def newest_rows(store: Path) -> Path:
    """A data file that only the newest version of the table has."""
    return max((store / "products.lance/data").iterdir(), key=lambda file: file.stat().st_mtime_ns)


def model_of(store: Path) -> Path:
    return next((store / "models").iterdir())


def put(name: str, text: str | bytes) -> Damage:
    return lambda store: (store / name).write_bytes(text.encode() if isinstance(text, str) else text)


def gone(name: str) -> Damage:
    def remove(store: Path) -> None:
        shutil.rmtree(store / name) if (store / name).is_dir() else (store / name).unlink()

    return remove


def on(name: str, harm: Callable[[Path], object]) -> Damage:
    return lambda store: harm(store / name)


def manifest(**fields: Any) -> Damage:
    def change(store: Path) -> None:
        file = store / "versions/3/manifest.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | fields))

    return change


# Of the live version 3: what happens to it, what both a query and the doctor name, and what the doctor says to type.
DAMAGES: dict[str, tuple[Damage, str, str]] = {
    "index truncated": (on("versions/3/index.faiss", truncate), r"3/index\.faiss: truncated or damaged", REPAIR),
    "index emptied": (put("versions/3/index.faiss", b""), r"3/index\.faiss: truncated or damaged: 0 bytes", REPAIR),
    "index flipped": (on("versions/3/index.faiss", flip), r"3/index\.faiss: damaged: its content", REPAIR),
    "index missing": (gone("versions/3/index.faiss"), r"3/index\.faiss: missing", REPAIR),
    "ids truncated": (on("versions/3/ids.parquet", truncate), r"3/ids\.parquet: truncated or damaged", REPAIR),
    "ids flipped": (on("versions/3/ids.parquet", flip), r"3/ids\.parquet: damaged", REPAIR),
    "ids missing": (gone("versions/3/ids.parquet"), r"3/ids\.parquet: missing", REPAIR),
    "manifest missing": (gone("versions/3/manifest.json"), r"3/manifest\.json: missing", REPAIR),
    "manifest no text": (put("versions/3/manifest.json", b"\xff{"), r"3/manifest\.json: not JSON", REPAIR),
    "manifest no object": (put("versions/3/manifest.json", "[3]"), r"3/manifest\.json: must be an object", REPAIR),
    "manifest empty": (put("versions/3/manifest.json", "{}"), r"3/manifest\.json, field 'version': missing", REPAIR),
    "manifest of a newer software": (manifest(shine=1), r"manifest\.json, field 'shine': unknown", REPAIR),
    "manifest of another version": (
        manifest(version=2),
        r"field 'version': is 2, but the folder's number is 3",
        REPAIR,
    ),
    "manifest of other counts": (manifest(products=9, indexed=9), r"index\.faiss: 8 vectors", REPAIR),
    "manifest of another width": (manifest(dimension=17), r"index\.faiss: .*the manifest says", REPAIR),
    "version missing": (gone("versions/3"), "", REPAIR),
    "all versions missing": (gone("versions"), "", REPAIR),
    "live.json missing": (gone("live.json"), r"live\.json", "ubm-embed versions rollback 3"),
    "live.json garbage": (put("live.json", "three"), r"live\.json: not JSON", "ubm-embed versions rollback 3"),
    "live.json of a string": (
        put("live.json", '{"version": "3"}'),
        r"live\.json, field 'version'",
        "versions rollback 3",
    ),
    "live.json names none": (
        put("live.json", '{"version": 9, "history": [3, 2]}'),
        "",
        "ubm-embed versions rollback 3",
    ),
    "rows truncated": (
        lambda store: truncate(newest_rows(store)),
        r"products\.lance: ",
        "ubm-embed versions rollback 2",
    ),
    "rows emptied": (lambda store: newest_rows(store).write_bytes(b""), r"products\.lance: ", "versions rollback 2"),
    "rows missing": (lambda store: newest_rows(store).unlink(), r"products\.lance: ", "ubm-embed versions rollback 2"),
    "all rows missing": (gone("products.lance/data"), r"products\.lance: ", BUILD),
    "table missing": (gone("products.lance"), r"products\.lance: .*not found", BUILD),
    "table's versions missing": (gone("products.lance/_versions"), r"products\.lance: ", "then type " + BUILD),
    "models missing": (gone("models"), r"models/\w+: ", "ubm-embed refresh --model DIR --products FILE"),
    "model without its last file": (
        lambda store: (model_of(store) / "config.json").unlink(),
        "no model at .*config.json is missing",
        "ubm-embed refresh --model DIR",
    ),
    "weights truncated": (
        lambda store: truncate(model_of(store) / "model.safetensors"),
        "safetensors",
        "refresh --model",
    ),
    "weights flipped": (
        lambda store: flip(model_of(store) / "model.safetensors"),
        "holds model",
        "refresh --model DIR",
    ),
    "tokenizer garbage": (
        lambda store: put("tokenizer.json", "{}")(model_of(store)),
        "tokenizer.json",
        "refresh --model",
    ),
}


@pytest.fixture(params=list(DAMAGES.values()), ids=list(DAMAGES))
def damaged(request: pytest.FixtureRequest, nights: Path) -> tuple[Path, str, str]:
    """A store whose live version is damaged, what is named, what is to be typed."""
    harm, named, remedy = request.param
    harm(nights)
    return nights, named, remedy


def test_a_whole_store_is_whole(nights: Path) -> None:
    assert examine(nights) == []


def test_a_query_says_what_is_damaged_and_answers_nothing(damaged: tuple[Path, str, str]) -> None:
    store, named, _ = damaged
    with pytest.raises(UbmError) as caught:
        ask(store)
    assert caught.value.exit_code in (3, 4, 5)
    assert re.search(named, str(caught.value))
    assert "\n" not in str(caught.value)


def test_the_doctor_names_it_and_says_what_to_type(damaged: tuple[Path, str, str]) -> None:
    store, named, remedy = damaged
    found = [one for one in errors(store) if one.version in (3, 9, None)]
    assert len(found) == 1
    assert re.search(named, found[0].problem)
    assert remedy in found[0].remedy
    assert found[0].remedy.count("--store") == found[0].remedy.count(str(store)) - found[0].remedy.startswith("remove ")
    assert found[0].repairable == (remedy == REPAIR)


@pytest.mark.parametrize("name", ["index truncated", "version missing", "live.json missing", "table missing"])
def test_the_doctor_changes_nothing(nights: Path, name: str) -> None:
    DAMAGES[name][0](nights)
    before = {file: file.read_bytes() for file in nights.rglob("*") if file.is_file()}
    examine(nights)
    assert {file: file.read_bytes() for file in nights.rglob("*") if file.is_file()} == before


def follow(remedy: str, model: Path, products: Path) -> None:
    """Do what the doctor says."""
    first, _, rest = remedy.rpartition(", then type ")
    for path in first.removeprefix("remove ").split(" and ") if first else []:
        shutil.rmtree(path) if Path(path).is_dir() else Path(path).unlink()
    before, command = re.findall(r"`ubm-embed (.*?)`", rest), re.search(r"ubm-embed ([^,`]*)", rest)
    assert command, f"nothing to type in {remedy!r}"
    for typed in (*before, command[1]):
        words = [str({"DIR": model, "FILE": products}.get(word, word)) for word in shlex.split(typed)]
        assert run(words) == 0, typed


@pytest.mark.parametrize(("harm", "remedy"), [(harm, remedy) for harm, _, remedy in DAMAGES.values()], ids=DAMAGES)
def test_typing_what_the_doctor_says_leads_back_to_answers(
    nights: Path, model_folder: Path, catalogue: Callable[[int], Path], harm: Damage, remedy: str
) -> None:
    before = {float(night): shown(ask(nights, night)) for night in (2, 3)}
    harm(nights)
    for _ in range(3):
        if found := errors(nights):
            follow(found[0].remedy, model_folder, catalogue(3))
    assert errors(nights) == []
    after = shown(ask(nights))
    assert after == before[after[0][2]]
    assert after[0][2] == 3.0 or "rollback 2" in remedy


class TestManifestOfOtherRows:
    """A manifest that names another version of the table would answer with prices of another night."""

    @pytest.fixture
    def damaged(self, nights: Path) -> Path:
        table_version = EmbeddingStore.from_uri(nights).table.pins()[1]
        manifest(table_version=table_version)(nights)
        return nights

    def test_it_is_found_and_mended(self, nights: Path, damaged: Path) -> None:
        (found,) = errors(damaged)
        assert found.version == 3
        assert "field 'table_version': must be" in found.problem
        assert found.repairable
        assert run(["doctor", "--repair", "--store", str(damaged)]) == 0
        assert {match.fields["price"] for match in ask(damaged).matches} == {3.0}


class TestAnotherVersionThanTheLiveOne:
    def test_its_index_can_be_rebuilt(self, nights: Path) -> None:
        gone("versions/1/index.faiss")(nights)
        (found,) = errors(nights)
        assert (found.version, found.repairable) == (1, True)
        assert ask(nights).version == 3

    def test_one_whose_rows_are_lost_may_go(self, nights: Path, tmp_path: Path) -> None:
        roll_back(EmbeddingStore.open(nights), 2)
        newest_rows(nights).unlink()
        (found,) = errors(nights)
        assert found.version == 3
        assert found.remedy == f"ubm-embed versions prune --keep 1 --store {nights}"
        follow(found.remedy, tmp_path, tmp_path)
        assert examine(nights) == []
        assert ask(nights).version == 2

    def test_a_name_is_taken_away_first(self, nights: Path, tmp_path: Path) -> None:
        store = EmbeddingStore.open(nights)
        add_tag(store, "spring", 3)
        roll_back(store, 2)
        newest_rows(nights).unlink()
        (found,) = errors(nights)
        assert f"ubm-embed versions tag spring --delete --store {nights}" in found.remedy
        follow(found.remedy, tmp_path, tmp_path)
        assert examine(nights) == []

    def test_of_those_that_are_whole_the_one_that_was_live_before_is_proposed(self, nights: Path) -> None:
        """And not the newer one, which was withdrawn for a reason."""
        store = EmbeddingStore.open(nights)
        roll_back(store, 2)
        store.table.unpin(2)
        (found,) = errors(nights)
        assert (found.version, found.remedy) == (2, f"ubm-embed versions rollback 1 --store {nights}")


class TestTheTableBuiltAnew:
    """Its versions are counted from 1 again, so that older manifests come to mean other rows."""

    def test_no_older_version_answers_with_them(
        self, nights: Path, model_folder: Path, catalogue: Callable[[int], Path]
    ) -> None:
        gone("products.lance")(nights)
        built = ["build-index", "--model", str(model_folder), "--products", str(catalogue(4)), "--store", str(nights)]
        for _ in range(3):
            assert run(built) == 0
        assert examine(nights) == []
        assert {match.fields["price"] for match in ask(nights).matches} == {4.0}
        for number in (1, 2, 3):
            with pytest.raises(NotFound):
                ask(nights, number)


class TestNames:
    @pytest.mark.parametrize("text", ["{", "[3]", '{"spring": "3"}', '{"spring": 0}'])
    def test_damaged_ones_do_not_disturb_answers(self, nights: Path, text: str) -> None:
        put("tags.json", text)(nights)
        (found,) = examine(nights)
        assert str(nights / "tags.json") in found.problem
        assert found.remedy.startswith(f"remove {nights / 'tags.json'}")
        assert ask(nights).version == 3

    def test_one_of_a_version_that_is_gone_is_a_warning(self, nights: Path, tmp_path: Path) -> None:
        put("tags.json", '{"spring": 77}')(nights)
        (found,) = examine(nights)
        assert (found.severity, found.version) == (Severity.WARNING, 77)
        follow(found.remedy, tmp_path, tmp_path)
        assert examine(nights) == []


class TestWhatACrashLeft:
    def test_encoded_products_are_a_note(self, nights: Path, tmp_path: Path, catalogue: Callable[[int], Path]) -> None:
        (model,) = (nights / "models").iterdir()
        (nights / "staging" / model.name).mkdir(parents=True)
        put(f"staging/{model.name}/shard.parquet", "half")(nights)
        (found,) = examine(nights)
        assert (found.severity, found.repairable) == (Severity.NOTE, False)
        follow(found.remedy.partition(" resumes it")[0], tmp_path, catalogue(3))
        assert examine(nights) == []

    def test_what_another_model_encoded_is_kept_for_it_or_dropped(
        self, nights: Path, tmp_path: Path, catalogue: Callable[[int], Path]
    ) -> None:
        (nights / "staging" / "another").mkdir(parents=True)
        put("staging/another/shard.parquet", "half")(nights)
        follow(f"ubm-embed refresh --products FILE --store {nights}", tmp_path, catalogue(3))
        (found,) = examine(nights)
        assert "--model DIR, of that model, resumes it" in found.remedy
        follow(found.remedy.partition("to drop it: ")[2], tmp_path, tmp_path)
        assert examine(nights) == []

    def test_rows_of_a_version_that_never_came_to_be_are_a_note(self, nights: Path, tmp_path: Path) -> None:
        table = EmbeddingStore.from_uri(nights).table
        table.pin(12, table.pins()[1])
        (found,) = examine(nights)
        assert (found.severity, found.problem) == (
            Severity.NOTE,
            "the table keeps rows of versions that do not exist: 12",
        )
        follow(found.remedy, tmp_path, tmp_path)
        assert examine(nights) == []

    def test_rows_of_a_live_version_whose_folder_is_gone_are_kept(self, nights: Path) -> None:
        gone("versions/3")(nights)
        assert [found.severity for found in examine(nights)] == [Severity.ERROR]
        assert run(["versions", "prune", "--store", str(nights)]) == 0
        assert run(["doctor", "--repair", "--store", str(nights)]) == 0
        assert ask(nights).version == 3

    def test_foreign_files_are_left_alone(self, nights: Path) -> None:
        for name in ("notes.txt", "versions/notes.txt", "versions/3/notes.txt", "models/notes.txt"):
            put(name, "mine")(nights)
        assert examine(nights) == []
        assert ask(nights).version == 3


class TestNoStore:
    def test_a_place_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match="no store at"):
            examine(tmp_path / "none")
        assert not (tmp_path / "none").exists()

    def test_a_folder_of_something_else(self, tmp_path: Path, model_folder: Path) -> None:
        for folder in (tmp_path, model_folder):
            with pytest.raises(NotFound, match="no store at"):
                examine(folder)

    def test_a_store_in_which_nothing_was_published_yet(self, nights: Path) -> None:
        gone("versions")(nights)
        gone("live.json")(nights)
        (found,) = errors(nights)
        assert "live.json: missing" in found.problem
        assert BUILD in found.remedy


def test_progress_is_told(nights: Path) -> None:
    told: list[tuple[int, int]] = []
    examine(nights, progress=lambda what, done, total, note="": told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]
