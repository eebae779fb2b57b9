"""What a session will come to: the head's answer to the embedder's vectors."""

import numpy as np
import pytest
import torch

from tests.rounding import LAYER, rounding_error
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.corpus import iter_products
from ubm_embed.data.session import Action, Interaction, Product, Session
from ubm_embed.data.tasks.session_features import FEATURES, session_features
from ubm_embed.data.tasks.task import Task
from ubm_embed.errors import InvalidData, NotFound
from ubm_embed.inference.predictor import Predictor, session_table
from ubm_embed.model.checkpoint import Checkpoint, save_checkpoint
from ubm_embed.model.config import CONFIG_FILE

# Both encoders of the tiny model and a head, and no sum of more than 64 terms.
ATOL = rounding_error(4 * LAYER + 3, 64)

ROWS = ([0, 1, 0], [4], [1, 2, 2, 5], [row % 8 for row in range(11)])  # the last is longer than the model reads


@pytest.fixture(params=[Task.PIP, Task.RLP])
def task(request):
    return request.param


@pytest.fixture
def checkpoint(model, tokenizer, stir, task):
    tuned = model.fine_tuned(task=task).eval()
    stir(tuned.head)
    for buffer in tuned.head.buffers():
        buffer.fill_(0.2)
    return Checkpoint(tuned, tokenizer, "toy")


@pytest.fixture
def predictor(checkpoint):
    return Predictor.from_checkpoint(checkpoint, device="cpu")


@pytest.fixture
def sessions(products):
    shop = list(iter_products(products))
    return [Session(tuple(Interaction(Action.VIEW, product=shop[row]) for row in rows)) for rows in ROWS]


@pytest.fixture
def table():
    rows = np.concatenate(ROWS).astype(np.int32)
    return SessionTable(np.full(rows.size, Action.VIEW.code, np.uint8), rows, np.cumsum([0, *map(len, ROWS)]))


def test_is_the_heads_prediction_for_the_embedders_vectors(predictor, checkpoint, sessions):
    with torch.no_grad():
        vectors = torch.from_numpy(predictor.embedder.encode_sessions(sessions))
        expected = checkpoint.model.head.predict(vectors).numpy()
    found = predictor.predict(sessions)
    assert found.dtype == np.float32
    assert np.array_equal(found, expected)
    assert np.ptp(found) > 1e-4, "sessions differ"


def test_a_probability_or_a_length(predictor, sessions, task):
    found = predictor.predict(sessions)
    assert (found >= 0).all()
    assert task is Task.RLP or (found <= 1).all()
    assert predictor.task is task


@pytest.mark.parametrize("at_once", [1, 3, 512])
def test_a_table_is_the_sessions_it_holds(predictor, tokenizer, products, sessions, table, at_once):
    texts = tokenizer.product_texts(products)
    assert predictor.predict_table(texts, table, batch=at_once) == pytest.approx(predictor.predict(sessions), abs=ATOL)


def test_no_sessions_have_no_predictions(predictor, tokenizer, products, table):
    assert predictor.predict([]).shape == (0,)
    assert predictor.predict_table(tokenizer.product_texts(products), table.take(np.arange(0))).shape == (0,)


def test_a_product_is_a_session_that_holds_nothing_else(predictor, checkpoint):
    product = Product("green hat", "hats", (("colour", "green"),))
    with torch.no_grad():
        vectors = torch.from_numpy(predictor.embedder.encode_product_as_session(product))
        expected = checkpoint.model.head.predict(vectors)
    found = predictor.predict_product(product)
    assert isinstance(found, float)
    assert found == pytest.approx(expected.item())


def test_the_threshold_is_the_heads(predictor, task):
    assert predictor.threshold == pytest.approx(0.2 if task is Task.PIP else 0.5)


def test_opens_a_folder(checkpoint, tmp_path, sessions, predictor, tokenizer):
    save_checkpoint(tmp_path, checkpoint.model, tokenizer, {})
    opened = Predictor.from_pretrained(tmp_path, device="cpu")
    assert np.array_equal(opened.predict(sessions), predictor.predict(sessions))
    assert opened.threshold == predictor.threshold
    with pytest.raises(NotFound, match="no model at"):
        Predictor.from_pretrained(tmp_path / "gone")


@pytest.mark.parametrize("tuned", [False, True], ids=["pre-trained", "nip"])
def test_a_model_without_a_head_is_named(model, tokenizer, tmp_path, tuned):
    save_checkpoint(tmp_path, model.fine_tuned(task=Task.NIP) if tuned else model, tokenizer, {})
    with pytest.raises(InvalidData, match=r"no head to predict with: .*`ubm-embed finetune pip`") as caught:
        Predictor.from_pretrained(tmp_path)
    assert (caught.value.file, caught.value.field) == (tmp_path / CONFIG_FILE, "task")


def test_refuses_the_sessions_that_the_embedder_refuses(predictor):
    with pytest.raises(ValueError, match="without interactions"):
        predictor.predict([Session(())])


class TestFeatures:
    """Heads that read what counting says beside the vector."""

    @pytest.fixture
    def checkpoint(self, model, tokenizer, stir, task):
        tuned = model.fine_tuned(task=task, head_features=len(FEATURES)).eval()
        stir(tuned.head)
        for buffer in tuned.head.buffers():
            buffer.copy_(torch.linspace(0.2, 0.7, buffer.numel()).reshape(buffer.shape))
        return Checkpoint(tuned, tokenizer, "toy")

    def test_are_counted_in_all_of_the_session(self, predictor, checkpoint, sessions, table):
        with torch.no_grad():
            vectors = torch.from_numpy(predictor.embedder.encode_sessions(sessions))
            features = torch.from_numpy(session_features(table))
            expected = checkpoint.model.head.predict(torch.cat([vectors, features], dim=1)).numpy()
        found = predictor.predict(sessions)
        assert found == pytest.approx(expected if expected.ndim == 1 else expected[:, 0], abs=ATOL)
        assert np.ptp(found) > 1e-4, "sessions differ"

    def test_a_table_is_the_sessions_it_holds(self, predictor, tokenizer, products, sessions, table):
        texts = tokenizer.product_texts(products)
        assert predictor.predict_table(texts, table, batch=3) == pytest.approx(predictor.predict(sessions), abs=ATOL)

    def test_lengths_have_three_guesses(self, predictor, tokenizer, products, table, task):
        guesses = predictor.guesses(tokenizer.product_texts(products), table)
        assert guesses.shape == ((4, 3) if task is Task.RLP else (4,))

    def test_a_product_alone_counts_as_viewed(self, predictor, products):
        product = next(iter(iter_products(products)))
        assert predictor.predict_product(product) >= 0

    def test_a_product_is_the_same_by_its_id_and_a_search_is_none(self):
        cap, mug = Product("cap", product_id="1"), Product("mug", product_id="2")
        renamed = Product("a cap", product_id="1")
        steps = [Interaction(Action.VIEW, product=one) for one in (cap, mug, renamed)]
        found = session_table([[Interaction(Action.SEARCH, query="1"), *steps], steps[:1]])
        assert found.actions.tolist() == [Action.SEARCH.code, *[Action.VIEW.code] * 4]
        assert found.offsets.tolist() == [0, 4, 5]
        rows = found.rows.tolist()
        assert rows[1] == rows[3] == rows[4] != rows[2]
