"""Vectors of products and sessions: what they are, and that neither cache nor company changes them."""

import ctypes
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace
from threading import Barrier

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from tests.rounding import LAYER, rounding_error
from ubm_embed.data.batches.distinct_batches import NO_ACTION, session_batch
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.corpus import iter_products
from ubm_embed.data.session import Action, Interaction, Product, Session
from ubm_embed.data.tasks.task import Task
from ubm_embed.inference import embedder as embedder_module
from ubm_embed.inference.embedder import Embedder
from ubm_embed.inference.runtimes.torch_model import TorchModel
from ubm_embed.model.checkpoint import Checkpoint, save_checkpoint

# Both encoders of the tiny model: two layers each, and no sum of more than 64 terms.
ATOL = rounding_error(4 * LAYER, 64)

NEW = Product("green hat", "hats", (("colour", "green"),))


@pytest.fixture
def make(model, tokenizer):
    def make(**settings):
        return Embedder(Checkpoint(model, tokenizer, "toy"), device="cpu", **settings)

    return make


@pytest.fixture
def embedder(make):
    return make()


@pytest.fixture
def shop(products):
    """The toy products, as the interactions of a live session name them."""
    return list(iter_products(products))


@pytest.fixture
def sessions(shop):
    def view(*rows):
        return [Interaction(Action.VIEW, product=shop[row]) for row in rows]

    return [
        Session((Interaction(Action.SEARCH, query="red shoes"), *view(0, 1, 0))),
        Session(tuple(view(4))),
        Session((*view(1, 2), Interaction(Action.ADD, product=shop[2]))),
        Session((*view(6), Interaction(Action.BUY, product=NEW))),
    ]


@pytest.fixture
def encoded(monkeypatch):
    """How many sequences were read in each batch."""
    counts = []

    def counted(real):
        def encode(self, sequences):
            counts.append(len(sequences))
            return real(self, sequences)

        return encode

    for name in ("encode", "encode_interactions"):
        monkeypatch.setattr(TorchModel, name, counted(getattr(TorchModel, name)))
    return counts


def close(found, expected):
    return np.abs(found - expected).max() < ATOL


class TestVectors:
    def test_have_length_1_in_float32(self, embedder, products, sessions):
        for vectors in (embedder.embed_products(products), embedder.embed_sessions(sessions)):
            assert vectors.dtype == np.float32
            assert vectors.shape == (len(vectors), embedder.dimension)
            assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=ATOL)
        assert np.linalg.norm(embedder.embed_product(NEW)) == pytest.approx(1.0, abs=ATOL)

    def test_a_product_is_a_session_of_length_1_without_an_action(self, embedder, model, tokenizer, products):
        texts = tokenizer.product_texts(products)
        alone = [(np.array([NO_ACTION]), np.array([row])) for row in range(products.height)]
        with torch.no_grad():
            expected = normalize(model(session_batch(tokenizer, texts, alone)), dim=1).numpy()
        assert close(embedder.embed_products(products), expected)

    def test_a_product_given_alone_is_the_product_of_the_catalogue(self, embedder, products, shop):
        together = embedder.embed_products(products)
        assert all(close(embedder.embed_product(product), together[row]) for row, product in enumerate(shop))

    def test_a_session_is_what_the_model_says(self, embedder, model, tokenizer, products, sessions):
        phrases = tokenizer.search_phrases(["red shoes"])
        texts = type(phrases).concatenate([tokenizer.product_texts(products), phrases])
        search, view, add = (Action.SEARCH.code, Action.VIEW.code, Action.ADD.code)
        arrays = [
            (np.array([search, view, view, view]), np.array([8, 0, 1, 0])),
            (np.array([view]), np.array([4])),
            (np.array([view, view, add]), np.array([1, 2, 2])),
        ]
        with torch.no_grad():
            expected = normalize(model(session_batch(tokenizer, texts, arrays)), dim=1).numpy()
        assert close(embedder.embed_sessions(sessions[:3]), expected)
        actions, rows = (np.concatenate(column) for column in zip(*arrays, strict=True))
        offsets = np.cumsum([0, *(actions.size for actions, _ in arrays)])
        table = SessionTable(actions.astype(np.uint8), rows.astype(np.int32), offsets)
        assert close(embedder.embed_table(texts, table), expected)

    def test_a_removal_takes_the_add_back_where_the_model_has_no_token_for_it(
        self, embedder, tokenizer, products, shop
    ):
        steps = [(Action.ADD, 0), (Action.VIEW, 1), (Action.REMOVE, 0)]
        session = Session(tuple(Interaction(action, product=shop[row]) for action, row in steps))
        expected = embedder.embed_sessions([Session(session.interactions[1:2])])
        assert np.array_equal(embedder.embed_sessions([session]), expected)
        codes = np.array([action.code for action, _ in steps], np.uint8)
        table = SessionTable(codes, np.array([row for _, row in steps], np.int32), np.array([0, 3]))
        assert np.array_equal(embedder.embed_table(tokenizer.product_texts(products), table), expected)

    def test_nothing_is_left_of_a_session_whose_only_add_is_taken_back(self, embedder, tokenizer, products, shop):
        steps = [Interaction(action, product=shop[0]) for action in (Action.ADD, Action.REMOVE)]
        with pytest.raises(ValueError, match="a session without interactions has no vector"):
            embedder.embed_sessions([Session(tuple(steps))])
        codes = np.array([Action.ADD.code, Action.REMOVE.code, Action.ADD.code], np.uint8)
        table = SessionTable(codes, np.zeros(3, np.int32), np.array([0, 2, 3]))
        vectors = embedder.embed_table(tokenizer.product_texts(products), table)
        assert not vectors[0].any()
        assert np.array_equal(vectors[1:], embedder.embed_sessions([Session(tuple(steps[:1]))]))

    def test_a_removal_is_read_by_a_model_that_has_a_token_for_it(self, model, removal_tokenizer, shop):
        embedder = Embedder(Checkpoint(model, removal_tokenizer, "toy"), device="cpu")
        add, view, remove = (
            Interaction(action, product=shop[row])
            for action, row in ((Action.ADD, 0), (Action.VIEW, 1), (Action.REMOVE, 0))
        )
        whole, rest = embedder.embed_sessions([Session((add, view, remove)), Session((view,))])
        assert not np.array_equal(whole, rest)

    def test_action_and_order_matter(self, embedder, shop):
        first, second = (Interaction(Action.VIEW, product=shop[row]) for row in (0, 3))
        added = Interaction(Action.ADD, product=shop[3])
        vectors = embedder.embed_sessions(
            [Session(pair) for pair in ((first, second), (second, first), (first, added))]
        )
        assert torch.pdist(torch.from_numpy(vectors)).min() > 1e-3

    def test_dropout_is_off_even_for_a_model_fresh_from_training(self, model, make, products):
        model.train()
        embedder = make()
        assert np.array_equal(embedder.embed_products(products), embedder.embed_products(products))


class TestEncoded:
    """h' as the session encoder has it: what the heads read."""

    def test_sessions_are_the_unit_vectors_before_they_are_made_unit(self, embedder, sessions):
        encoded = embedder.encode_sessions(sessions)
        lengths = np.linalg.norm(encoded, axis=1)
        assert (encoded.shape, encoded.dtype) == ((len(sessions), 16), np.float32)
        assert close(encoded / lengths[:, None], embedder.embed_sessions(sessions))
        assert np.abs(lengths - 1).min() > 1e-3

    def test_of_no_sessions_there_are_none(self, embedder):
        assert embedder.encode_sessions([]).shape == (0, 16)

    def test_a_table_is_what_the_model_says_of_the_last_interactions(self, embedder, model, tokenizer, products):
        texts = tokenizer.product_texts(products)
        rows = np.arange(19) % 8  # sessions of 11 and of 8 interactions, of which the model reads 8
        table = SessionTable(np.full(19, Action.VIEW.code, np.uint8), rows.astype(np.int32), np.array([0, 11, 19]))
        kept = [(np.full(8, Action.VIEW.code), rows[3:11]), (np.full(8, Action.VIEW.code), rows[11:])]
        with torch.no_grad():
            expected = model(session_batch(tokenizer, texts, kept))
        assert close(embedder.encode_table(texts, table), expected.numpy())
        assert close(embedder.embed_table(texts, table), normalize(expected, dim=1).numpy())

    def test_tokenised_products_are_the_unit_vectors_before_they_are_made_unit(self, embedder, tokenizer, products):
        encoded = embedder.encode_texts(tokenizer.product_texts(products))
        lengths = np.linalg.norm(encoded, axis=1)
        assert close(encoded / lengths[:, None], embedder.embed_products(products))
        assert np.abs(lengths - 1).min() > 1e-3

    def test_a_product_as_a_session_has_no_action(self, embedder, model, tokenizer, products, shop):
        texts = tokenizer.product_texts(products)
        with torch.no_grad():
            expected = model(session_batch(tokenizer, texts, [(np.array([NO_ACTION]), np.array([3]))]))
        assert close(embedder.encode_product_as_session(shop[3]), expected.numpy())


class TestProductTower:
    """Products are read by the product tower, sessions by the model itself."""

    @pytest.fixture
    def tuned(self, model, stir):
        tuned = model.fine_tuned(task=Task.NIP, product_tower="base")
        stir(tuned)
        return tuned

    @pytest.fixture
    def towers(self, model, tuned, tokenizer):
        return Embedder(Checkpoint(tuned, tokenizer, "tuned", product_tower=Checkpoint(model, tokenizer, "base")))

    def test_products_are_those_of_the_tower(self, towers, embedder, products):
        assert np.array_equal(towers.embed_products(products), embedder.embed_products(products))
        assert np.array_equal(towers.embed_product(NEW), embedder.embed_product(NEW))

    def test_tokenised_products_are_those_of_the_tower(self, towers, embedder, tokenizer, products):
        texts = tokenizer.product_texts(products)
        assert np.array_equal(towers.encode_texts(texts), embedder.encode_texts(texts))

    def test_sessions_are_not(self, towers, tuned, embedder, tokenizer, sessions):
        found = towers.embed_sessions(sessions)
        assert not close(found, embedder.embed_sessions(sessions))
        alone = Embedder(Checkpoint(tuned, tokenizer, "tuned"), device="cpu")
        assert np.array_equal(found, alone.embed_sessions(sessions))
        encoded, expected = (one.encode_product_as_session(NEW) for one in (towers, alone))
        assert np.array_equal(encoded, expected)

    def test_their_id_is_the_session_tower_s(self, towers):
        assert towers.model_id == "tuned"


class TestCompany:
    """A vector depends neither on what is embedded beside it, nor on the order, nor on the batch size."""

    def test_products(self, embedder, make, products):
        together = embedder.embed_products(products)
        assert close(embedder.embed_products(products[::-1]), together[::-1])
        assert all(close(embedder.embed_products(products[row]), together[row]) for row in range(products.height))
        assert close(make(products_per_chunk=3, tokens_per_batch=10).embed_products(products), together)

    def test_sessions(self, make, sessions):
        together = make().embed_sessions(sessions)
        assert close(make().embed_sessions(sessions[::-1]), together[::-1])
        assert all(close(make().embed_sessions([one])[0], together[row]) for row, one in enumerate(sessions))
        assert close(make(tokens_per_batch=10).embed_sessions(sessions), together)

    def test_a_long_session_is_read_from_its_last_interactions(self, embedder, shop):
        interactions = tuple(Interaction(Action.VIEW, product=shop[row % 8]) for row in range(11))
        long, short = embedder.embed_sessions([Session(interactions), Session(interactions[-8:])])
        assert np.array_equal(long, short)
        assert not close(long, embedder.embed_sessions([Session(interactions[:8])])[0])


class TestSharing:
    def test_a_text_that_repeats_is_encoded_once(self, embedder, encoded, products):
        twice = products.select("title", "category", "attributes").vstack(
            products.select("title", "category", "attributes")
        )
        vectors = embedder.embed_products(twice)
        assert sum(encoded) == products.height
        assert np.array_equal(vectors[: products.height], vectors[products.height :])

    def test_an_interaction_that_repeats_is_encoded_once(self, embedder, encoded, sessions):
        embedder.embed_sessions([*sessions, *sessions])
        # A search, views of 0, 1, 4, 2 and 6, an add of 2 and a buy.
        assert sum(encoded) == 8

    def test_the_cache_answers_the_same_and_encodes_nothing_again(self, embedder, encoded, make, sessions):
        first = embedder.embed_sessions(sessions)
        encoded.clear()
        assert np.array_equal(embedder.embed_sessions(sessions), first)
        assert encoded == []
        assert close(make(cache_bytes=0).embed_sessions(sessions), first)

    def test_a_text_that_came_before_is_not_split_into_tokens_again(self, embedder, sessions, monkeypatch):
        expected = embedder.embed_sessions(sessions)
        monkeypatch.setattr(embedder.tokenizer, "texts", pytest.fail)
        assert close(embedder.embed_sessions(sessions), expected)

    def test_no_sessions_have_no_vectors(self, embedder):
        nothing = SessionTable(np.empty(0, np.uint8), np.empty(0, np.int32), np.zeros(1, np.int64))
        texts = embedder.tokenizer.search_phrases(["belt"])
        assert embedder.embed_sessions([]).shape == (0, embedder.dimension)
        assert embedder.embed_table(texts, nothing).shape == (0, embedder.dimension)

    def test_products_of_one_text_share_a_vector(self, embedder, encoded, shop):
        twin = replace(shop[0], product_id="another")
        views = [Session((Interaction(Action.VIEW, product=product),)) for product in (shop[0], twin)]
        first, second = embedder.embed_sessions(views)
        assert np.array_equal(first, second)
        assert encoded == [1]

    def test_only_what_is_new_is_encoded(self, embedder, encoded, sessions):
        embedder.embed_sessions(sessions[:1])
        encoded.clear()
        together = embedder.embed_sessions(sessions)
        assert sum(encoded) == 8 - 3
        assert close(embedder.embed_sessions(sessions[2:])[0], together[2])

    @pytest.mark.parametrize("cache_bytes", [0, 1_000, 5_000, 1 << 20])
    def test_a_full_cache_forgets_and_stays_right(self, make, sessions, cache_bytes):
        expected = make().embed_sessions(sessions)
        embedder = make(cache_bytes=cache_bytes)
        for order in ([0, 1, 2, 3], [3, 2], [1], [2, 0], [0, 0, 3]):
            assert close(embedder.embed_sessions([sessions[row] for row in order]), expected[order])
            assert embedder.cached_bytes <= cache_bytes

    def test_counts_what_it_keeps(self, embedder, sessions):
        embedder.embed_sessions(sessions)
        # Eight interactions: their vectors, and at least a byte for each letter of their texts.
        assert 8 * 4 * embedder.dimension < embedder.cached_bytes < 8 * 3_000

    def test_threads_get_right_answers(self, make, sessions):
        expected = make().embed_sessions(sessions)
        embedder, together = make(cache_bytes=3_000), Barrier(4)

        def all_right(first):
            together.wait()  # so that all threads are in the caches at once
            rows = [(first + turn) % len(sessions) for turn in range(40)]
            return all(close(embedder.embed_sessions([sessions[row]])[0], expected[row]) for row in rows)

        with ThreadPoolExecutor(4) as threads:
            assert all(threads.map(all_right, range(4)))


class TestTheCallersModel:
    """It is as it was: an embedder that needs another device or mode takes a copy."""

    def modes(self, model):
        return [module.training for module in model.modules()]

    def test_keeps_its_training_mode(self, model, make, products, sessions):
        expected = make().embed_sessions(sessions)
        model.train()
        model.session_encoder.eval()  # as fine-tuning has it, which may leave one encoder alone
        before = self.modes(model)
        embedder = make()
        embedder.embed_products(products)
        assert np.array_equal(embedder.embed_sessions(sessions), expected)
        assert self.modes(model) == before

    def test_stays_on_its_device(self, model, tokenizer):
        # "meta" is the one other device that every machine has; its tensors hold no data, so they cannot be copied.
        elsewhere = deepcopy(model).to("meta")
        with pytest.raises(NotImplementedError, match="meta tensor"):
            Embedder(Checkpoint(elsewhere, tokenizer, "toy"), device="cpu")
        assert elsewhere.device.type == "meta"

    def test_the_product_tower_is_left_alone_too(self, model, tokenizer, products):
        tuned = model.fine_tuned(task=Task.NIP).eval()
        model.train()
        towers = Checkpoint(tuned, tokenizer, "tuned", product_tower=Checkpoint(model, tokenizer, "base"))
        Embedder(towers, device="cpu").embed_products(products)
        assert all(self.modes(model))

    def test_is_not_copied_if_it_is_ready(self, model, make):
        assert make().model_runtime.model is model

    def test_embedding_asks_nothing_of_the_c_library(self, make, products, sessions, monkeypatch):
        # Memory settings hold for the whole process, so commands make them.
        monkeypatch.setattr(ctypes, "CDLL", pytest.fail)
        embedder = make()
        embedder.embed_products(products)
        embedder.embed_sessions(sessions)


class TestEdges:
    def test_nothing_has_no_vectors(self, embedder, products):
        assert embedder.embed_products(products[:0]).shape == (0, 16)
        assert embedder.embed_sessions([]).shape == (0, 16)

    def test_a_session_without_interactions(self, embedder, sessions):
        with pytest.raises(ValueError, match="without interactions"):
            embedder.embed_sessions([sessions[0], Session(())])

    def test_a_product_named_by_its_id_only(self, embedder):
        with pytest.raises(ValueError, match="product 'p1' is named by its id only"):
            embedder.embed_sessions([Session((Interaction(Action.VIEW, product_id="p1"),))])

    def test_embedding_products_reports_progress(self, make, products):
        reports = []
        make(products_per_chunk=3, tokens_per_batch=10).embed_products(
            products, progress=lambda what, done, total, note="": reports.append((what, done, total))
        )
        assert [done for _, done, _ in reports] == sorted({done for _, done, _ in reports})
        assert {(what, total) for what, _, total in reports} == {("embedding products", 8)}
        assert reports[-1][1] == 8

    def test_opens_a_folder(self, make, model, tokenizer, tmp_path, sessions):
        model_id = save_checkpoint(tmp_path, model, tokenizer, {})
        opened = Embedder.from_pretrained(tmp_path, device="cpu")
        assert (opened.model_id, opened.dimension) == (model_id, 16)
        assert close(opened.embed_sessions(sessions), make().embed_sessions(sessions))


class TestRuntime:
    @pytest.fixture
    def chosen(self, monkeypatch):
        """The names by which a runtime was chosen, and for how many texts."""
        calls = []

        class Chosen:
            tokens_per_batch = 1_000

            def __init__(self, name, exact):
                self.name, self.encode = name, exact.encode

        def choose(name, model, exact, sequences, device):
            calls.append((str(name), len(sequences)))
            return Chosen(name, exact)

        monkeypatch.setattr(embedder_module, "choose_runtime", choose)
        return calls

    def test_is_chosen_once_with_the_first_texts(self, make, products, chosen):
        embedder = make(runtime="openvino")
        assert embedder.runtime is None
        embedder.embed_products(products.head(3))
        embedder.embed_products(products)
        embedder.embed_product(NEW)
        assert chosen == [("openvino", 3)]
        assert embedder.runtime == "openvino"

    def test_is_what_reads_the_sessions_unless_told_otherwise(self, make, products, chosen):
        embedder = make()
        embedder.embed_products(products)
        assert chosen == []
        assert embedder.runtime == "torch"

    def test_of_another_name_is_refused(self, make):
        with pytest.raises(ValueError, match="tensorflow"):
            make(runtime="tensorflow")

    def test_reads_by_the_product_tower(self, model, tokenizer, products, stir):
        tuned = model.fine_tuned(task=Task.NIP)
        stir(tuned)
        towers = Checkpoint(tuned, tokenizer, "tuned", product_tower=Checkpoint(model, tokenizer, "base"))
        embedder = Embedder(towers, device="cpu", runtime="torch")
        assert close(
            embedder.embed_products(products), Embedder(towers.product_tower, device="cpu").embed_products(products)
        )

    def test_has_nothing_to_do_for_no_products(self, make, products, chosen):
        assert make().embed_products(products.head(0)).shape == (0, 16)
        assert chosen == []
