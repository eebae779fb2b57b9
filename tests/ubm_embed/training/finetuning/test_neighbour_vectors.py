"""Vectors counted from sessions, against what all pairs of them should come to."""

import numpy as np
import pytest
import torch

from tests.rounding import rounding_error
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.evaluation.baselines import RecentCoOccurrence
from ubm_embed.training.finetuning.neighbour_vectors import neighbour_vectors

SETTINGS = {"length": 3.0, "seed": 0}

# float32 factors of matrices of up to 600 rows, of length 3.
ROUNDING = 3 * rounding_error(4, length=600)


def table(*sessions):
    rows = np.array([row for session in sessions for row in session], dtype=np.int32)
    return SessionTable(np.ones(rows.size, np.uint8), rows, np.cumsum([0, *map(len, sessions)]))


def aisles(products, *, size, sessions, seed=0):
    """Sessions of four different products of one aisle each; an aisle is `size` products in a row."""
    rng = np.random.default_rng(seed)
    picked = [rng.choice(size, 4, replace=False) + size * rng.integers(products // size) for _ in range(sessions)]
    return table(*[one.tolist() for one in picked])


def turns(products, *, size, sessions, seed=0):
    """Sessions of a product of an aisle's first half, then one of its second: eigenvalues in pairs of either sign."""
    rng = np.random.default_rng(seed)
    aisle, half = size * rng.integers(products // size, size=sessions), size // 2
    one, other = aisle + rng.integers(half, size=sessions), aisle + half + rng.integers(half, size=sessions)
    return table(*np.stack([one, other], axis=1).tolist())


@pytest.mark.parametrize("shop", [aisles, turns])
@pytest.mark.parametrize(("products", "dimension"), [(40, 16), (40, 64), (600, 48)])
def test_inner_products_come_as_close_as_so_few_dimensions_can(shop, products, dimension):
    sessions = shop(products, size=10, sessions=8 * products)
    vectors = neighbour_vectors(sessions, products, np.arange(products), dimension, **SETTINGS).double().numpy()
    wanted = np.sqrt(RecentCoOccurrence.fit(sessions, products).similarity.toarray()).astype(np.float64)
    values, directions = np.linalg.eigh(wanted)
    values[: max(0, products - dimension)] = 0.0
    best = (directions * values.clip(min=0)) @ directions.T
    assert vectors.shape == (products, dimension)
    assert error_of(vectors @ vectors.T, wanted) <= 1.02 * error_of(best, wanted)


def error_of(found, wanted):
    """Whatever the length of the vectors."""
    return np.linalg.norm(found * ((found * wanted).sum() / (found * found).sum()) - wanted)


def test_products_of_an_aisle_are_nearer_than_others_and_as_long_as_asked_on_average():
    vectors = neighbour_vectors(aisles(60, size=20, sessions=400), 60, np.arange(60), 8, **SETTINGS)
    assert vectors.norm(dim=1).mean().item() == pytest.approx(3.0, rel=ROUNDING)
    near = torch.nn.functional.normalize(vectors, dim=1)
    near = near @ near.T
    same = torch.arange(60)[:, None] // 20 == torch.arange(60) // 20
    assert near[same].min() > near[~same].max()


def test_each_number_says_about_as_much():
    spread = neighbour_vectors(aisles(200, size=20, sessions=2000), 200, np.arange(200), 16, **SETTINGS).std(dim=0)
    assert spread.max() < 4 * spread.min()


def test_only_chosen_products_have_one_in_their_order():
    sessions = aisles(40, size=10, sessions=300)
    forward = neighbour_vectors(sessions, 40, np.array([3, 7, 25]), 8, **SETTINGS)
    backward = neighbour_vectors(sessions, 40, np.array([25, 7, 3]), 8, **SETTINGS)
    assert forward @ forward.T == pytest.approx((backward @ backward.T).flip(0, 1), abs=10 * ROUNDING)


@pytest.mark.parametrize("sessions", [table([0], [1], [2]), table([0, 0, 3], [1, 3]), table()])
def test_without_neighbours_they_are_nothing(sessions):
    assert not neighbour_vectors(sessions, 3, np.arange(3), 8, **SETTINGS).any()
    assert neighbour_vectors(sessions, 3, np.arange(0), 8, **SETTINGS).shape == (0, 8)


def test_one_pair_is_one_direction():
    found = neighbour_vectors(table([0, 1], [2]), 3, np.arange(3), 8, **SETTINGS)
    assert found[0].numpy() == pytest.approx(found[1].numpy(), abs=ROUNDING)
    assert found.norm(dim=1).numpy() == pytest.approx([3, 3, 0], abs=10 * ROUNDING)


def test_they_are_the_same_each_time():
    sessions = aisles(90, size=10, sessions=300)
    one, other = (neighbour_vectors(sessions, 90, np.arange(90), 16, **SETTINGS) for _ in range(2))
    assert torch.equal(one, other)


def test_of_a_very_long_log_whole_sessions_are_drawn(monkeypatch):
    sessions, counted = aisles(60, size=20, sessions=2000), []
    fit = RecentCoOccurrence.fit
    monkeypatch.setattr(RecentCoOccurrence, "fit", lambda some, products: counted.append(some) or fit(some, products))
    vectors = neighbour_vectors(sessions, 60, np.arange(60), 8, max_counted=1603, **SETTINGS)
    near = vectors @ vectors.T
    assert counted[0].lengths.tolist() == [4] * 400
    assert len(np.unique(counted[0].rows // 20)) == 3, "not of the first sessions alone"
    assert near[0, 1:20].mean() > 2 * near[0, 20:].mean()
