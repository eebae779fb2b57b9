"""For each kind of damage: no answer is wrong, the doctor names it, and its remedy leads back to answers."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli.main import run
from indexer.health.doctor import Finding, Severity, examine
from indexer.search.answer import Answer
from indexer.search.retriever import Retriever
from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.rollback import roll_back
from indexer.versions.tags import add_tag
from tests.indexer.same_answers import assert_same_matches
from ubm_embed.data.arrays import FloatArray, unit_rows
from ubm_embed.data.session import Action, Interaction, Product, Session
from ubm_embed.errors import InvalidData, NotFound, UbmError
from ubm_embed.inference import embedder as embedder_module
from ubm_embed.inference.embedder import Embedder

SESSION = Session((Interaction(Action.VIEW, product_id="p1"), Interaction(Action.SEARCH, query="red")))
REPAIR = "ubm-embed doctor --repair"
BUILD = "ubm-embed build-index --model DIR --products FILE"

Damage = Callable[[Path], object]


def recommend(store: Path, version: int | None = None) -> Answer:
    return Retriever.open(store, version=version, device="cpu").recommend(SESSION, 20)


def errors(store: Path) -> list[Finding]:
    return [finding for finding in examine(store) if finding.severity is Severity.ERROR]


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


def overwrite(name: str, text: str | bytes) -> Damage:
    return lambda store: (store / name).write_bytes(text.encode() if isinstance(text, str) else text)


def missing(name: str) -> Damage:
    def remove(store: Path) -> None:
        shutil.rmtree(store / name) if (store / name).is_dir() else (store / name).unlink()

    return remove


def on(name: str, damage: Callable[[Path], object]) -> Damage:
    return lambda store: damage(store / name)


def manifest(**fields: Any) -> Damage:
    def change(store: Path) -> None:
        file = store / "versions/3/manifest.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | fields))

    return change


# For the live version 3: the damage, the message of both a query and the doctor, and the remedy.
DAMAGES: dict[str, tuple[Damage, str, str]] = {
    "index truncated": (on("versions/3/index.faiss", truncate), r"3/index\.faiss: truncated or damaged", REPAIR),
    "index emptied": (
        overwrite("versions/3/index.faiss", b""),
        r"3/index\.faiss: truncated or damaged: 0 bytes",
        REPAIR,
    ),
    "index flipped": (on("versions/3/index.faiss", flip), r"3/index\.faiss: damaged: its content", REPAIR),
    "index missing": (missing("versions/3/index.faiss"), r"3/index\.faiss: missing", REPAIR),
    "products truncated": (on("versions/3/products.arrow", truncate), r"3/products\.arrow: truncated or dam", REPAIR),
    "products flipped": (on("versions/3/products.arrow", flip), r"3/products\.arrow: damaged", REPAIR),
    "hashes missing": (missing("versions/3/id_hashes.npy"), r"3/id_hashes\.npy: missing", REPAIR),
    "manifest missing": (missing("versions/3/manifest.json"), r"3/manifest\.json: missing", REPAIR),
    "manifest no text": (overwrite("versions/3/manifest.json", b"\xff{"), r"3/manifest\.json: not JSON", REPAIR),
    "manifest no object": (
        overwrite("versions/3/manifest.json", "[3]"),
        r"3/manifest\.json: must be an object",
        REPAIR,
    ),
    "manifest empty": (
        overwrite("versions/3/manifest.json", "{}"),
        r"3/manifest\.json, field 'version': missing",
        REPAIR,
    ),
    "manifest of another version": (
        manifest(version=2),
        r"field 'version': is 2, but the folder's number is 3",
        REPAIR,
    ),
    "manifest of other counts": (manifest(products=9, indexed=9), r"index\.faiss: 8 vectors", REPAIR),
    "manifest of another width": (manifest(dimension=17), r"(index\.faiss|models/\w+): .*the manifest says", REPAIR),
    "version missing": (missing("versions/3"), "", REPAIR),
    "all versions missing": (missing("versions"), "", REPAIR),
    "live.json missing": (missing("live.json"), r"live\.json", "ubm-embed versions rollback 3"),
    "live.json garbage": (overwrite("live.json", "three"), r"live\.json: not JSON", "ubm-embed versions rollback 3"),
    "live.json of a string": (
        overwrite("live.json", '{"version": "3"}'),
        r"live\.json, field 'version'",
        "versions rollback 3",
    ),
    "live.json names none": (
        overwrite("live.json", '{"version": 9, "history": [3, 2]}'),
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
    "all rows missing": (missing("products.lance/data"), r"products\.lance: ", BUILD),
    "table missing": (missing("products.lance"), r"products\.lance: .*not found", BUILD),
    "table's versions missing": (missing("products.lance/_versions"), r"products\.lance: ", "then type " + BUILD),
    "models missing": (missing("models"), r"models/\w+: ", "ubm-embed refresh --model DIR --products FILE"),
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
        "was written as model .* damaged",
        "refresh --model DIR",
    ),
    "graphs truncated": (
        lambda store: truncate(model_of(store) / "graphs/sessions.onnx"),
        r"graphs/sessions\.onnx: truncated or damaged",
        "refresh --model DIR",
    ),
    "graphs flipped": (
        lambda store: flip(model_of(store) / "graphs/sessions.onnx"),
        r"graphs/sessions\.onnx: damaged",
        "refresh --model DIR",
    ),
    "tokenizer garbage": (
        lambda store: overwrite("tokenizer.json", "{}")(model_of(store)),
        "tokenizer.json",
        "refresh --model",
    ),
}


@pytest.fixture(params=list(DAMAGES.values()), ids=list(DAMAGES))
def damaged(request: pytest.FixtureRequest, nights: Path) -> tuple[Path, str, str]:
    """A store whose live version is damaged, the message, and the remedy."""
    damage, message, remedy = request.param
    damage(nights)
    return nights, message, remedy


def test_a_whole_store_is_whole(nights: Path) -> None:
    assert examine(nights) == []


@pytest.mark.parametrize("name", [name for name in DAMAGES if not name.endswith("flipped")])
def test_a_query_reports_the_damage_or_answers_as_before(nights: Path, name: str) -> None:
    """Only what nobody but the doctor reads may be damaged: rows in the table, and single bits."""
    before, (damage, message, _) = recommend(nights).matches, DAMAGES[name]
    damage(nights)
    try:
        assert_same_matches(recommend(nights).matches, before)
        assert "rows" in name or "table" in name
    except UbmError as error:
        reported = str(error)
        assert error.exit_code in (3, 4, 5)  # noqa: PT017
        assert re.search(message, reported)
        assert "\n" not in reported


@pytest.mark.parametrize("fields", [{"layout": 9}, {"shine": 1}])
def test_a_version_of_newer_software_is_left_to_newer_software(nights: Path, fields: dict[str, int]) -> None:
    manifest(**fields)(nights)
    with pytest.raises(InvalidData, match="written by newer software; upgrade ubm-embed"):
        recommend(nights)
    (finding,) = errors(nights)
    assert (finding.version, finding.repairable) == (3, False)
    assert finding.remedy == "pip install --upgrade ubm-embed"


def test_the_doctor_reports_the_damage_and_its_remedy(damaged: tuple[Path, str, str]) -> None:
    store, message, remedy = damaged
    (finding,) = (finding for finding in errors(store) if finding.version in (3, 9, None))
    assert re.search(message, finding.problem)
    assert remedy in finding.remedy
    assert finding.remedy.count("--store") == finding.remedy.count(str(store)) - finding.remedy.startswith("remove ")
    assert finding.repairable == (remedy == REPAIR)


@pytest.mark.parametrize("name", ["index truncated", "version missing", "live.json missing", "table missing"])
def test_the_doctor_changes_nothing(nights: Path, name: str) -> None:
    DAMAGES[name][0](nights)
    before = {file: file.read_bytes() for file in nights.rglob("*") if file.is_file()}
    examine(nights)
    assert {file: file.read_bytes() for file in nights.rglob("*") if file.is_file()} == before


def follow(remedy: str, model: Path, products: Path) -> None:
    """Type the commands of a remedy."""
    first, _, rest = remedy.rpartition(", then type ")
    for path in first.removeprefix("remove ").split(" and ") if first else []:
        shutil.rmtree(path) if Path(path).is_dir() else Path(path).unlink()
    before, command = re.findall(r"`ubm-embed (.*?)`", rest), re.search(r"ubm-embed ([^,`]*)", rest)
    assert command, f"no command in {remedy!r}"
    for typed in (*before, command[1]):
        words = [str({"DIR": model, "FILE": products}.get(word, word)) for word in shlex.split(typed)]
        assert run(words) == 0, typed


@pytest.mark.parametrize(
    ("damage", "remedy"), [(damage, remedy) for damage, _, remedy in DAMAGES.values()], ids=DAMAGES
)
def test_following_the_remedies_leads_back_to_answers(
    nights: Path, model_folder: Path, catalogue: Callable[[int], Path], damage: Damage, remedy: str
) -> None:
    before = {float(night): recommend(nights, night).matches for night in (2, 3)}
    damage(nights)
    for _ in range(3):
        if findings := errors(nights):
            follow(findings[0].remedy, model_folder, catalogue(3))
    assert errors(nights) == []
    after = recommend(nights).matches
    price = after[0].fields["price"]
    assert_same_matches(after, before[price])
    assert price == 3.0 or "rollback 2" in remedy


class TestManifestOfOtherRows:
    """A manifest that names another version of the table would answer with prices of another night."""

    @pytest.fixture
    def damaged(self, nights: Path) -> Path:
        table_version = EmbeddingStore.from_uri(nights).table.pins()[1]
        manifest(table_version=table_version)(nights)
        return nights

    def test_it_is_found_and_repaired(self, nights: Path, damaged: Path) -> None:
        (finding,) = errors(damaged)
        assert finding.version == 3
        assert "field 'table_version': must be" in finding.problem
        assert finding.repairable
        assert run(["doctor", "--repair", "--store", str(damaged)]) == 0
        assert {match.fields["price"] for match in recommend(damaged).matches} == {3.0}


class TestAVersionThatIsNotLive:
    def test_its_index_can_be_rebuilt(self, nights: Path) -> None:
        missing("versions/1/index.faiss")(nights)
        (finding,) = errors(nights)
        assert (finding.version, finding.repairable) == (1, True)
        assert recommend(nights).version == 3

    def test_one_whose_rows_are_lost_may_be_pruned(self, nights: Path, tmp_path: Path) -> None:
        roll_back(EmbeddingStore.open(nights), 2)
        newest_rows(nights).unlink()
        (finding,) = errors(nights)
        assert finding.version == 3
        assert finding.remedy == f"ubm-embed versions prune --keep 1 --store {nights}"
        follow(finding.remedy, tmp_path, tmp_path)
        assert examine(nights) == []
        assert recommend(nights).version == 2

    def test_its_tag_is_removed_first(self, nights: Path, tmp_path: Path) -> None:
        store = EmbeddingStore.open(nights)
        add_tag(store, "spring", 3)
        roll_back(store, 2)
        newest_rows(nights).unlink()
        (finding,) = errors(nights)
        assert f"ubm-embed versions tag spring --delete --store {nights}" in finding.remedy
        follow(finding.remedy, tmp_path, tmp_path)
        assert examine(nights) == []

    def test_the_remedy_is_the_whole_version_that_was_live_before(self, nights: Path) -> None:
        """Not the newer one, which was withdrawn for a reason."""
        store = EmbeddingStore.open(nights)
        roll_back(store, 2)
        store.table.unpin(2)
        (finding,) = errors(nights)
        assert (finding.version, finding.remedy) == (2, f"ubm-embed versions rollback 1 --store {nights}")


class TestATableThatWasBuiltAgain:
    """Its versions count from 1 again, so older manifests would mean other rows."""

    def test_no_older_version_answers_with_its_rows(
        self, nights: Path, model_folder: Path, catalogue: Callable[[int], Path]
    ) -> None:
        missing("products.lance")(nights)
        built = ["build-index", "--model", str(model_folder), "--products", str(catalogue(4)), "--store", str(nights)]
        for _ in range(3):
            assert run(built) == 0
        assert examine(nights) == []
        assert {match.fields["price"] for match in recommend(nights).matches} == {4.0}
        for number in (1, 2, 3):
            with pytest.raises(NotFound):
                recommend(nights, number)


class TestTags:
    @pytest.mark.parametrize("text", ["{", "[3]", '{"spring": "3"}', '{"spring": 0}'])
    def test_a_damaged_file_does_not_disturb_answers(self, nights: Path, text: str) -> None:
        overwrite("tags.json", text)(nights)
        (finding,) = examine(nights)
        assert str(nights / "tags.json") in finding.problem
        assert finding.remedy.startswith(f"remove {nights / 'tags.json'}")
        assert recommend(nights).version == 3

    def test_a_tag_of_a_missing_version_is_a_warning(self, nights: Path, tmp_path: Path) -> None:
        overwrite("tags.json", '{"spring": 77}')(nights)
        (finding,) = examine(nights)
        assert (finding.severity, finding.version) == (Severity.WARNING, 77)
        follow(finding.remedy, tmp_path, tmp_path)
        assert examine(nights) == []


class TestLeftoversOfACrash:
    def test_encoded_products_are_a_note(self, nights: Path, tmp_path: Path, catalogue: Callable[[int], Path]) -> None:
        (model,) = (nights / "models").iterdir()
        (nights / "staging" / model.name).mkdir(parents=True)
        overwrite(f"staging/{model.name}/shard.parquet", "half")(nights)
        (finding,) = examine(nights)
        assert (finding.severity, finding.repairable) == (Severity.NOTE, False)
        follow(finding.remedy.partition(" resumes it")[0], tmp_path, catalogue(3))
        assert examine(nights) == []

    def test_products_that_another_model_encoded_are_resumed_or_dropped(
        self, nights: Path, tmp_path: Path, catalogue: Callable[[int], Path]
    ) -> None:
        (nights / "staging" / "another").mkdir(parents=True)
        overwrite("staging/another/shard.parquet", "half")(nights)
        follow(f"ubm-embed refresh --products FILE --store {nights}", tmp_path, catalogue(3))
        (finding,) = examine(nights)
        assert "--model DIR, of that model, resumes it" in finding.remedy
        follow(finding.remedy.partition("to drop it: ")[2], tmp_path, tmp_path)
        assert examine(nights) == []

    def test_rows_of_a_version_that_was_never_published_are_a_note(self, nights: Path, tmp_path: Path) -> None:
        table = EmbeddingStore.from_uri(nights).table
        table.pin(12, table.pins()[1])
        (finding,) = examine(nights)
        assert (finding.severity, finding.problem) == (
            Severity.NOTE,
            "the table keeps rows of versions that do not exist: 12",
        )
        follow(finding.remedy, tmp_path, tmp_path)
        assert examine(nights) == []

    def test_rows_of_a_live_version_without_its_folder_are_kept(self, nights: Path) -> None:
        missing("versions/3")(nights)
        assert [finding.severity for finding in examine(nights)] == [Severity.ERROR]
        assert run(["versions", "prune", "--store", str(nights)]) == 0
        assert run(["doctor", "--repair", "--store", str(nights)]) == 0
        assert recommend(nights).version == 3

    def test_foreign_files_are_left_alone(self, nights: Path) -> None:
        for name in ("notes.txt", "versions/notes.txt", "versions/3/notes.txt", "models/notes.txt"):
            overwrite(name, "mine")(nights)
        assert examine(nights) == []
        assert recommend(nights).version == 3


class TestTheModelsVectors:
    """What the model makes of the texts that a version was published with."""

    @pytest.fixture
    def turn(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
        """Turns all vectors of products, as a library that computes differently would."""
        embed = Embedder.embed_product_list

        def turn(by: float) -> None:
            def turned(embedder: Embedder, products: Sequence[Product]) -> FloatArray:
                vectors = embed(embedder, products)
                return unit_rows(vectors + np.float32(by) * np.roll(vectors, 1, axis=1))

            monkeypatch.setattr(Embedder, "embed_product_list", turned)

        return turn

    @pytest.mark.parametrize(("by", "severity"), [(0.05, Severity.WARNING), (1.0, Severity.ERROR)])
    def test_that_changed_are_reported_for_each_version(
        self, nights: Path, turn: Callable[[float], None], by: float, severity: Severity
    ) -> None:
        turn(by)
        findings = examine(nights)
        assert [(finding.version, finding.severity) for finding in findings] == [
            (1, severity),
            (2, severity),
            (3, severity),
        ]
        assert all("the model makes other vectors" in finding.problem for finding in findings)
        assert BUILD in findings[0].remedy
        assert not any(finding.repairable for finding in findings)

    def test_are_not_looked_at_without_the_library_that_reads_the_model(
        self, nights: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*args: object) -> None:
            raise NotFound("not installed")

        monkeypatch.setattr(embedder_module, "open_model_runtime", refuse)
        assert examine(nights) == []

    def test_are_read_by_one_opened_model(self, nights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        opened = []
        open_runtime = embedder_module.open_model_runtime
        monkeypatch.setattr(
            embedder_module, "open_model_runtime", lambda *args: opened.append(args) or open_runtime(*args)
        )
        assert examine(nights) == []
        assert len(opened) == 1


class TestNoStore:
    def test_a_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match="no store at"):
            examine(tmp_path / "none")
        assert not (tmp_path / "none").exists()

    def test_a_folder_of_something_else(self, tmp_path: Path, model_folder: Path) -> None:
        for folder in (tmp_path, model_folder):
            with pytest.raises(NotFound, match="no store at"):
                examine(folder)

    def test_a_store_without_a_published_version(self, nights: Path) -> None:
        missing("versions")(nights)
        missing("live.json")(nights)
        (finding,) = errors(nights)
        assert "live.json: missing" in finding.problem
        assert BUILD in finding.remedy


def test_progress_is_reported(nights: Path) -> None:
    reports: list[tuple[int, int]] = []
    examine(nights, progress=lambda what, done, total, note="": reports.append((done, total)))
    assert reports == [(1, 3), (2, 3), (3, 3)]
