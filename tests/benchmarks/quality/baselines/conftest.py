"""A toy world with a known next product, and how a tower is trained and evaluated on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from ubm_embed.data.arrays import IntArray, offsets_of
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.session import Action
from ubm_embed.evaluation.ranking import hit_at_k, target_ranks
from ubm_embed.model.tower import Tower

RINGS, RING = 3, 8


def table_of(sessions: Sequence[Sequence[int]]) -> SessionTable:
    rows = np.array([row for session in sessions for row in session], dtype=np.int32)
    actions = np.full(rows.size, Action.VIEW.code, dtype=np.uint8)
    return SessionTable(actions, rows, offsets_of(np.array([len(session) for session in sessions])))


@dataclass(frozen=True)
class RingWalks:
    """Walks around rings of products, forwards or backwards: what comes next depends on the last two products."""

    sessions: SessionTable
    targets: IntArray

    def take(self, chosen: IntArray) -> RingWalks:
        return RingWalks(self.sessions.take(chosen), self.targets[chosen])


@pytest.fixture(name="table_of")
def table_of_fixture() -> Callable[[Sequence[Sequence[int]]], SessionTable]:
    return table_of


@pytest.fixture(scope="session")
def world_products() -> int:
    return RINGS * RING


@pytest.fixture(scope="session")
def walks() -> tuple[RingWalks, RingWalks]:
    """Walks of 2 to 7 products for training, and others for testing."""
    sessions, targets = [], []
    for ring in range(RINGS):
        for start in range(RING):
            for direction in (1, -1):
                for length in range(2, 8):
                    walk = [ring * RING + (start + direction * step) % RING for step in range(length + 1)]
                    sessions.append(walk[:-1])
                    targets.append(walk[-1])
    every = RingWalks(table_of(sessions), np.array(targets))
    order = np.random.default_rng(0).permutation(len(targets))
    held_out = len(targets) // 4
    return every.take(order[held_out:]), every.take(order[:held_out])


def scores_of(tower: Tower, sessions: SessionTable) -> Tensor:
    """Scores [B, M], as a `Tower` defines them."""
    vectors, products = tower.sessions(sessions), tower.products(np.arange(RINGS * RING))
    if tower.temperature is None:
        return vectors @ products.T
    return normalize(vectors, dim=1) @ normalize(products, dim=1).T / tower.temperature


@pytest.fixture
def hit_after_training(walks: tuple[RingWalks, RingWalks]) -> Callable[[Tower], float]:
    """hit@1 over the held-out walks after some steps of full softmax over the others."""

    def train_and_test(tower: Tower, steps: int = 60, rate: float = 1e-2) -> float:
        training, test = walks
        targets = torch.from_numpy(training.targets)
        optimizer = torch.optim.Adam(tower.parameters(), lr=rate)
        for _ in range(steps):
            optimizer.zero_grad()
            cross_entropy(scores_of(tower, training.sessions), targets).backward()
            optimizer.step()
        tower.eval()
        with torch.no_grad():
            return hit_at_k(target_ranks(scores_of(tower, test.sessions).numpy(), test.targets), 1)

    return train_and_test
