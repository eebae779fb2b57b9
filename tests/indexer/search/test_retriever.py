"""What a store answers, against the same arithmetic by hand, and how it refuses parts that do not belong together."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from indexer.index.vector_index import INDEX_FILE, VectorIndex
from indexer.refresh.gates import Gate
from indexer.refresh.refresh import build_index
from indexer.search import open_version
from indexer.search.open_version import gpu_number
from indexer.search.ranking import Rules
from indexer.search.retriever import Retriever
from indexer.versions.version import MANIFEST_FILE
from tests.indexer.search.toy_requests import ids, search, session, view
from ubm_embed.data.corpus import iter_products
from ubm_embed.data.session import Action, Interaction, Product, Session
from ubm_embed.errors import Conflict, InvalidData, NotFound
from ubm_embed.inference.embedder import Embedder
from ubm_embed.inference.runtimes import opening
from ubm_embed.model.folder import model_id_of


@pytest.fixture
def retriever(store: Path) -> Retriever:
    return Retriever.open(store)


@pytest.fixture
def catalogue(products: pl.DataFrame) -> list[Product]:
    return list(iter_products(products))


def test_matches_are_the_nearest_products(
    retriever: Retriever, products: pl.DataFrame, catalogue: list[Product]
) -> None:
    full = Session(
        (Interaction(Action.VIEW, product=catalogue[0]), search("red"), Interaction(Action.ADD, product=catalogue[2]))
    )
    vectors = retriever.embedder.embed_products(products)
    scores = vectors @ retriever.embedder.embed_sessions([full])[0]
    expected = [row for row in np.argsort(-scores) if row not in (0, 2)]
    by_id = session(view("p1"), search("red"), Interaction(Action.ADD, product_id="p3"))
    answer = retriever.recommend(by_id, 4, Rules(counts=False))
    assert ids(answer) == [f"p{row + 1}" for row in expected[:4]]
    np.testing.assert_allclose([match.score for match in answer.matches], scores[expected[:4]], atol=1e-5)
    assert [match.rank for match in answer.matches] == [1, 2, 3, 4]


def test_an_answer_says_where_it_comes_from(retriever: Retriever, model_folder: Path) -> None:
    answer = retriever.recommend(session(view("p1")))
    assert (answer.session_id, answer.version, answer.model_id) == ("s1", 1, model_id_of(model_folder))
    assert (answer.fallback, answer.unknown) == (None, ())
    assert answer.took_ms > 0


def test_a_match_shows_the_shops_columns_and_not_the_stores(retriever: Retriever) -> None:
    (match,) = [match for match in retriever.recommend(session(view("p1"))).matches if match.product_id == "p6"]
    document = match.to_dict()
    assert (document["title"], document["category"], document["price"]) == ("leather belt", None, 5.0)
    assert document.keys() == {"rank", "product_id", "score", "title", "category", "price"}


@pytest.mark.parametrize("given_inline", [False, True])
def test_seen_products_are_left_out_unless_the_rules_include_them(
    retriever: Retriever, catalogue: list[Product], given_inline: bool
) -> None:
    seen = [Interaction(Action.VIEW, product=catalogue[0]), Interaction(Action.BUY, product=catalogue[3])]
    by_id = session(view("p1"), Interaction(Action.BUY, product_id="p4"))
    visit = session(*seen) if given_inline else by_id
    assert sorted(ids(retriever.recommend(visit))) == ["p2", "p3", "p5", "p6", "p7", "p8"]
    assert len(retriever.recommend(visit, 6).matches) == 6
    assert len(retriever.recommend(visit, 10, rules=Rules(exclude_seen=False)).matches) == 8


def test_a_product_seen_long_ago_is_left_out_too(retriever: Retriever) -> None:
    answer = retriever.recommend(session(view("p1"), *[search("red")] * 20))  # the model reads the last 8
    assert "p1" not in ids(answer)


def test_when_all_is_seen_nothing_matches(retriever: Retriever) -> None:
    answer = retriever.recommend(session(*(view(f"p{row}") for row in range(1, 9))))
    assert (answer.matches, answer.fallback) == ((), None)


def test_unknown_products_are_skipped_and_listed(retriever: Retriever) -> None:
    with_strangers = session(view("x2"), view("p1"), view("x1"), search("red"), view("x2"))
    answer = retriever.recommend(with_strangers)
    assert answer.unknown == ("x2", "x1")
    assert answer.fallback is None
    assert answer.matches == retriever.recommend(session(view("p1"), search("red"))).matches


def test_ids_are_read_as_everywhere(retriever: Retriever) -> None:
    inline = Interaction(Action.VIEW, product=Product("red shirt", product_id="p3\u00a0"))
    answer = retriever.recommend(session(view(" p1 "), inline))
    assert answer.unknown == ()
    assert not {"p1", "p3"} & set(ids(answer))
    assert ids(retriever.lookup_id("\tp1")) == ids(retriever.lookup_id("p1"))


def test_an_id_that_is_none_is_skipped_and_listed_as_it_was_written(retriever: Retriever) -> None:
    answer = retriever.recommend(session(view(""), view("undefined"), view(" "), view("NaN "), view("p1")))
    assert answer.unknown == ("", "undefined", " ", "NaN ")
    assert answer.matches == retriever.recommend(session(view("p1"))).matches
    with pytest.raises(NotFound, match="'undefined'"):
        retriever.lookup_id("undefined")


def test_a_number_with_an_empty_fraction_is_the_number(tmp_path: Path, model_folder: Path) -> None:
    products = pl.DataFrame({"product_id": ["17", "18"], "title": ["red shoes", "blue shirt"]})
    products.write_csv(tmp_path / "numbers.csv")
    build_index(model=model_folder, products=tmp_path / "numbers.csv", store=tmp_path / "numbers")
    answer = Retriever.open(tmp_path / "numbers").recommend(session(view("17.0")))
    assert (answer.unknown, ids(answer)) == ((), ["18"])


class TestUnreadableText:
    """The toy model knows some English words."""

    FOREIGN = ("红色的鞋子", "👟🔥", "Ωμέγα", "\0")

    @pytest.mark.parametrize("text", FOREIGN)
    def test_a_session_of_it_is_answered_by_popularity(self, retriever: Retriever, text: str) -> None:
        inline = Interaction(Action.VIEW, product=Product(text, text, (("colour", text),)))
        for visit in (session(search(text)), session(inline, search(text)), session(*[search(text)] * 20)):
            answer = retriever.recommend(visit)
            assert answer.fallback == "text that the model cannot read"
            assert ids(answer) == ["p3", "p2", "p5"]
            assert {match.score for match in answer.matches} == {None}

    @pytest.mark.parametrize("text", FOREIGN)
    def test_in_a_session_it_is_left_out(self, retriever: Retriever, text: str) -> None:
        foreign = [search(text)] * 9  # the model reads the last 8
        answer = retriever.recommend(session(search("red"), view("p1"), *foreign), explain=True)
        expected = retriever.recommend(session(search("red"), view("p1")), explain=True)
        assert (answer.matches, answer.fallback) == (expected.matches, None)

    def test_one_known_word_is_enough(self, retriever: Retriever) -> None:
        assert retriever.recommend(session(search("红色 shoes"))).fallback is None

    def test_a_lookup_of_it_is_answered_by_popularity(self, retriever: Retriever) -> None:
        answer = retriever.lookup(Product("红色的鞋子"), 2)
        assert (answer.fallback, ids(answer)) == ("text that the model cannot read", ["p3", "p2"])

    def test_a_product_of_the_store_with_such_a_text_has_no_similar_ones(
        self, tmp_path: Path, model_folder: Path, interactions_file: Path
    ) -> None:
        products = pl.DataFrame({"product_id": ["p3", "p5", "x"], "title": ["红色的鞋子", "red shirt", "👟"]})
        products.write_parquet(tmp_path / "foreign.parquet")
        folder = tmp_path / "foreign"
        build_index(
            model=model_folder,
            products=tmp_path / "foreign.parquet",
            interactions=interactions_file,
            store=folder,
            allow=list(Gate),
        )
        retriever = Retriever.open(folder)
        answer = retriever.lookup_id("p3")
        assert (answer.fallback, ids(answer)) == ("text that the model cannot read", ["p5"])
        assert retriever.recommend(session(view("p3"))).fallback == "text that the model cannot read"
        assert retriever.lookup_id("p5").fallback is None


def test_an_inline_product_need_not_be_known(retriever: Retriever) -> None:
    inline = Product("red running shoes", "shoes", (("colour", "red"), ("size", "42")), product_id="new")
    rules = Rules(exclude_seen=False, counts=False)
    answer = retriever.recommend(session(Interaction(Action.VIEW, product=inline)), rules=rules)
    assert answer.unknown == ()
    assert answer.matches == retriever.recommend(session(view("p1")), rules=rules).matches


@pytest.mark.parametrize(
    ("visit", "fallback"),
    [
        (session(), "empty session"),
        (session(view("x1")), "no known product or search in the session"),
        (session(search(" ")), "no known product or search in the session"),
        (session(Interaction(Action.VIEW, product=Product(" "))), "no known product or search in the session"),
    ],
)
def test_the_popular_products_answer_when_there_is_nothing_to_read(
    retriever: Retriever, visit: Session, fallback: str
) -> None:
    answer = retriever.recommend(visit)
    assert answer.fallback == fallback
    assert ids(answer) == ["p3", "p2", "p5"]
    assert [match.score for match in answer.matches] == [None] * 3
    assert ids(retriever.recommend(visit, 2)) == ["p3", "p2"]


def test_without_popularity_nothing_answers_and_the_fallback_says_why(
    tmp_path: Path, model_folder: Path, products_file: Path
) -> None:
    build_index(model=model_folder, products=products_file, store=tmp_path / "plain")
    answer = Retriever.open(tmp_path / "plain").recommend(session())
    assert answer.matches == ()
    assert answer.fallback == "empty session; no popularity is known, so there is nothing to answer with"


def test_many_sessions_get_what_each_gets_alone(retriever: Retriever) -> None:
    many = [
        session(view("p1"), search("red")),
        session(),
        session(*(view(f"p{row}") for row in range(1, 7))),
        session(view("x")),
        session(search("leather"), view("p6"), view("x")),
        session(view("p1"), search("red")),
    ]
    for one, together in zip(many, retriever.recommend_many(many, 3), strict=True):
        alone = retriever.recommend(one, 3)
        assert ids(together) == ids(alone)
        assert (together.fallback, together.unknown) == (alone.fallback, alone.unknown)
        for match, same in zip(together.matches, alone.matches, strict=True):
            assert match.score == pytest.approx(same.score, abs=1e-5)


def test_many_sessions_cost_one_pass_of_the_model_and_one_search(
    retriever: Retriever, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    for owner, name in ((retriever.embedder, "embed_tokens"), (retriever.index, "search")):
        method = getattr(owner, name)
        monkeypatch.setattr(
            owner, name, lambda many, *rest, method=method: (calls.append(len(many)), method(many, *rest))[1]
        )
    retriever.recommend_many([session(view(f"p{row}")) for row in range(1, 6)] + [session()], 3)
    assert calls == [5, 5]


def test_no_sessions_no_answers(retriever: Retriever) -> None:
    assert retriever.recommend_many([]) == []


def test_the_same_question_gets_the_same_answer(store: Path, retriever: Retriever) -> None:
    visit = session(view("p1"), search("red"))
    assert retriever.recommend(visit).matches == Retriever.open(store).recommend(visit).matches


def test_a_lookup_by_text_finds_the_product_itself_first(retriever: Retriever, catalogue: list[Product]) -> None:
    answer = retriever.lookup(catalogue[4], 3, Rules(words=False))
    assert ids(retriever.lookup(catalogue[4], 3))[0] == ids(answer)[0] == "p5"
    assert answer.matches[0].score == pytest.approx(1, abs=1e-5)
    assert (len(answer.matches), answer.session_id, answer.fallback) == (3, None, None)


def test_a_lookup_by_id_is_by_its_vector_without_itself(retriever: Retriever, catalogue: list[Product]) -> None:
    by_text = retriever.lookup(catalogue[4], 8, Rules(words=False))
    by_id = retriever.lookup_id("p5", 7)
    assert ids(by_id) == ids(by_text)[1:]
    assert len(by_id.matches) == 7


def test_a_lookup_of_an_unknown_id_is_refused(retriever: Retriever) -> None:
    with pytest.raises(NotFound, match="version 1 has no product 'x'"):
        retriever.lookup_id("x")


def test_a_lookup_without_text_is_refused(retriever: Retriever) -> None:
    with pytest.raises(InvalidData, match="a product without text"):
        retriever.lookup(Product("  "))


def test_k_below_1_is_refused(retriever: Retriever) -> None:
    calls: list[Any] = [
        lambda: retriever.recommend(session(view("p1")), 0),
        lambda: retriever.recommend(session(), 0),
        lambda: retriever.lookup(Product("a"), 0),
        lambda: retriever.lookup_id("p1", 0),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="k must be at least 1, got 0"):
            call()


def test_equal_products_are_in_the_catalogues_order(tmp_path: Path, model_folder: Path, products_file: Path) -> None:
    one = pl.read_parquet(products_file).head(1)
    same = pl.concat([one.with_columns(product_id=pl.lit(f"q{row:02}")) for row in range(40)])
    same.write_parquet(products_file)
    allow = {Gate.UNIFORMITY}  # they are all alike
    build_index(model=model_folder, products=products_file, store=tmp_path / "same", allow=allow)
    answer = Retriever.open(tmp_path / "same").recommend(session(view("q03")), 5)
    assert ids(answer) == ["q00", "q01", "q02", "q04", "q05"]


def test_a_store_of_one_product_answers(tmp_path: Path, model_folder: Path, products_file: Path) -> None:
    pl.read_parquet(products_file).head(1).write_parquet(products_file)
    build_index(model=model_folder, products=products_file, store=tmp_path / "one")
    assert ids(Retriever.open(tmp_path / "one").recommend(session(search("red")))) == ["p1"]


def change_manifest(store: Path, **values: Any) -> None:
    file = store / "versions" / "1" / MANIFEST_FILE
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_vectors_are_never_searched_by_another_model(store: Path, other_model_folder: Path) -> None:
    other = model_id_of(other_model_folder)
    shutil.copytree(other_model_folder, store / "models" / other)
    (kept,) = (folder for folder in (store / "models").iterdir() if folder.name != other)
    shutil.rmtree(kept)
    shutil.copytree(other_model_folder, kept)
    with pytest.raises(Conflict, match=f"version 1 needs this model: .* is model {other}, expected {kept.name}"):
        Retriever.open(store)


def test_a_manifest_with_another_model_id_is_refused(store: Path) -> None:
    change_manifest(store, model_id="f" * 16)
    with pytest.raises(InvalidData, match="models/ffffffffffffffff: missing; version 1 needs this model"):
        Retriever.open(store)


def test_a_missing_model_is_named(store: Path) -> None:
    shutil.rmtree(store / "models")
    with pytest.raises(InvalidData, match=r"models/\w+: missing; version 1 needs this model"):
        Retriever.open(store)


def test_a_truncated_index_is_named(store: Path) -> None:
    file = store / "versions" / "1" / INDEX_FILE
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(InvalidData, match=r"versions/1/index\.faiss: truncated or damaged"):
        Retriever.open(store)


@pytest.mark.parametrize("name", [INDEX_FILE, "products.arrow"])
def test_a_missing_file_is_named(store: Path, name: str) -> None:
    (store / "versions" / "1" / name).unlink()
    with pytest.raises(InvalidData, match=f"versions/1/{name}: missing"):
        Retriever.open(store)


def as_of_older_software(store: Path) -> None:
    """A manifest that does not say which files belong to it."""
    change_manifest(store, files={})


@pytest.mark.parametrize(("shape", "problem"), [((7, 16), "7 vectors"), ((8, 4), "4 width")])
def test_an_index_of_other_vectors_is_refused(store: Path, shape: tuple[int, int], problem: str) -> None:
    as_of_older_software(store)
    VectorIndex.build([np.ones(shape, np.float32)]).save(store / "versions" / "1" / INDEX_FILE)
    with pytest.raises(InvalidData, match=f"{problem}, but the manifest says"):
        Retriever.open(store)


def test_a_store_or_version_that_is_not_there(store: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="ubm-embed build-index"):
        Retriever.open(tmp_path / "none")
    with pytest.raises(NotFound, match="no version 4"):
        Retriever.open(store, version=4)


def test_the_model_is_opened_before_the_products(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a version of older software are copied first, in vain if nothing reads its model."""
    shutil.rmtree(next((store / "models").glob("*/graphs")))
    monkeypatch.setattr(opening, "find_spec", lambda name: None)
    monkeypatch.setattr(open_version, "open_catalogue", pytest.fail)
    with pytest.raises(NotFound, match="PyTorch"):
        Retriever.open(store)


class TestDevice:
    """An index is on the same GPU as the model."""

    @pytest.mark.parametrize(
        ("device", "gpu"), [("cpu", None), ("auto", 0), ("cuda", 0), ("cuda:0", 0), ("cuda:1", 1), ("cuda:12", 12)]
    )
    def test_a_device_names_a_gpu(self, device: str, gpu: int | None) -> None:
        assert gpu_number(device) == gpu

    @pytest.mark.parametrize(("device", "gpus"), [("cpu", []), ("auto", [0]), ("cuda:1", [1])])
    def test_the_index_moves_to_the_gpu_of_the_device(
        self, store: Path, monkeypatch: pytest.MonkeyPatch, device: str, gpus: list[int]
    ) -> None:
        moved: list[int] = []
        monkeypatch.setattr(VectorIndex, "move_to_gpu", lambda index, gpu=0: moved.append(gpu))
        with Retriever.open(store) as on_cpu:  # whose model is taken, as this machine has no such GPU
            moved.clear()
            Retriever.open(store, device=device, embedder=on_cpu.embedder).close()
        assert moved == gpus


class TestClosing:
    def test_a_closed_one_does_not_answer(self, store: Path) -> None:
        with Retriever.open(store) as retriever:
            assert retriever.recommend(session(view("p1"))).matches
        retriever.close()
        for call in (lambda: retriever.recommend(session()), lambda: retriever.lookup_id("p1")):
            with pytest.raises(ValueError, match="the retriever is closed"):
                call()

    def test_the_model_of_another_is_shared_if_it_is_the_versions(self, store: Path, other_model_folder: Path) -> None:
        with Retriever.open(store) as first:
            second = Retriever.open(store, embedder=first.embedder)
        assert second.embedder is first.embedder
        visit = session(view("p1"), search("red"))
        assert second.recommend(visit).matches == Retriever.open(store).recommend(visit).matches
        other = Embedder.from_pretrained(other_model_folder)
        assert Retriever.open(store, embedder=other).embedder.model_id == second.version.model_id
