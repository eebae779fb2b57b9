"""A shop for the benchmarks of retrieval and serving: their figures of so small a one mean nothing."""

from __future__ import annotations

import pytest

from benchmarks.refresh.toy_store import ALLOW, write_catalogue, write_model
from benchmarks.retrieval.shop_home import TrainedShop
from benchmarks.retrieval.trained_shop import make_trained_shop

PRODUCTS = 1200


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> TrainedShop:
    """With an untrained model and `PRODUCTS` products."""
    home = tmp_path_factory.mktemp("home")
    write_model(home, write_catalogue(home / "learned", 300, seed=1), "tiny", seed=0)
    return make_trained_shop(home, PRODUCTS, ALLOW)
