"""The static text baseline learns a toy world, and reads sessions as a tower must."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from benchmarks.quality.baselines.static_text import BagOfTokens, Recency, StaticText, positions_from_the_end
from ubm_embed.data.arrays import offsets_of
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.text.token_table import TokenTable

VIEW, BUY = 1, 3
COLOURS, KINDS = 5, 6
# A title is a colour, a kind and a meaningless word. A kind in one colour is followed by that kind in the next.
PRODUCTS = COLOURS * KINDS
VOCABULARY = COLOURS + KINDS + 3
UNSEEN = (7, 21)


def title(product):
    return [product // KINDS, COLOURS + product % KINDS, COLOURS + KINDS + product % 3]


PHRASE, EMPTY = PRODUCTS, PRODUCTS + 1
TEXTS = TokenTable.from_rows([*map(title, range(PRODUCTS)), [0, COLOURS], []])


def following(products):
    return (np.asarray(products) + KINDS) % PRODUCTS


def table(*sessions, action=VIEW):
    rows = np.array([row for session in sessions for row in session], dtype=np.int32)
    lengths = np.array([len(session) for session in sessions], dtype=np.int64)
    return SessionTable(np.full(rows.size, action, dtype=np.uint8), rows, offsets_of(lengths))


def tower(**settings):
    torch.manual_seed(0)
    sizes = {"dimension": 16, "layers": 1, "heads": 2, "dropout": 0.0, "max_interactions": 6}
    return StaticText(TEXTS, VOCABULARY, **(sizes | settings)).eval()


def random_sessions(count, last, rng):
    """Sessions of 1 to 5 products of which only the last, one of `last`, decides what follows."""
    known = np.setdiff1d(np.arange(PRODUCTS), UNSEEN)
    return [[*rng.choice(known, rng.integers(0, 5)), rng.choice(last)] for _ in range(count)]


def scores(model, sessions, products):
    session, product = model.sessions(table(*sessions)), model.products(products)
    return normalize(session) @ normalize(product).T / model.temperature


@pytest.fixture(scope="module")
def trained():
    """Trained on a shop that does not have the unseen products yet."""
    model, rng = tower(dimension=32, dropout=0.05).train(), np.random.default_rng(0)
    known = np.setdiff1d(np.arange(PRODUCTS), UNSEEN)
    lasts = known[np.isin(following(known), known)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(60):
        sessions = random_sessions(128, lasts, rng)
        targets = np.searchsorted(known, following([session[-1] for session in sessions]))
        optimizer.zero_grad()
        cross_entropy(scores(model, sessions, known), torch.from_numpy(targets)).backward()
        optimizer.step()
    return model.eval()


@torch.no_grad()
def hits(model, lasts):
    sessions = random_sessions(300, lasts, np.random.default_rng(1))
    best = scores(model, sessions, np.arange(PRODUCTS)).argmax(dim=1).numpy()
    return np.mean(best == following([session[-1] for session in sessions]))


def test_it_learns_what_follows(trained):
    lasts = [product for product in range(PRODUCTS) if not {product, following(product)} & {*UNSEEN}]
    assert hits(trained, lasts) > 0.9


def test_a_product_never_seen_ranks_first_by_its_words(trained):
    lasts = [product for product in range(PRODUCTS) if following(product) in UNSEEN]
    assert hits(trained, lasts) > 0.9


SESSIONS = [[3], [4, 9, PHRASE], [1, 2, 3, 4, 5], [EMPTY, 8], [EMPTY]]


@torch.no_grad()
def test_a_session_does_not_depend_on_the_others_of_its_batch():
    model = tower()
    alone = torch.cat([model.sessions(table(session)) for session in SESSIONS])
    torch.testing.assert_close(model.sessions(table(*SESSIONS)), alone)


def test_shapes_and_gradients_are_finite_whatever_the_lengths():
    model = tower().train()
    sessions, products = model.sessions(table(*SESSIONS)), model.products(np.array([2, EMPTY, 2]))
    assert (sessions.shape, products.shape) == ((5, 16), (3, 16))
    assert torch.equal(products[0], products[2])
    (sessions.square().sum() + products.square().sum()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    assert sessions.isfinite().all()


@torch.no_grad()
def test_a_long_session_is_read_from_its_last_interactions():
    model = tower()
    long = [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    torch.testing.assert_close(model.sessions(table(long)), model.sessions(table(long[-6:])))
    assert not torch.allclose(model.sessions(table(long)), model.sessions(table(long[-5:])))


@torch.no_grad()
def test_action_and_order_matter():
    model = tower()
    viewed = model.sessions(table([3, 4]))
    assert not torch.allclose(viewed, model.sessions(table([3, 4], action=BUY)), atol=1e-4)
    assert not torch.allclose(viewed, model.sessions(table([4, 3])), atol=1e-4)


@torch.no_grad()
def test_a_text_is_the_mlp_of_its_mean_token():
    texts = tower().text_encoder
    mean = texts.tokens.weight[title(9)].mean(dim=0)
    torch.testing.assert_close(texts(np.array([[9], [2]]))[0, 0], texts.mlp(mean))
    torch.testing.assert_close(texts(np.array([EMPTY]))[0], texts.mlp(torch.zeros(16)))


def test_each_distinct_text_is_computed_once():
    texts = BagOfTokens(TEXTS, VOCABULARY, 4, 0.0)
    sizes = []
    texts.mlp.register_forward_hook(lambda _, inputs, output: sizes.append(len(inputs[0])))
    assert texts(np.array([[3, 3, 5], [5, 3, 3]])).shape == (2, 3, 4)
    assert sizes == [2]


def test_recency_starts_as_a_geometric_series():
    outputs = torch.tensor([[[1.0], [2.0], [4.0]], [[1.0], [2.0], [4.0]]])
    absent = torch.tensor([[False, False, False], [False, True, True]])
    expected = torch.tensor([[(1 + 2 * 0.8 + 4 * 0.64) / (1 + 0.8 + 0.64)], [1.0]])
    torch.testing.assert_close(Recency(6)(outputs, absent), expected)


def test_positions_run_from_the_end_and_stay_in_their_session():
    indexes, present = positions_from_the_end(table([5, 6, 7], [8]))
    assert indexes.tolist() == [[2, 1, 0], [3, 3, 3]]
    assert present.tolist() == [[True, True, True], [True, False, False]]
