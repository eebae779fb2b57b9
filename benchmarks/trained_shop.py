"""A large catalogue with vectors of a trained model: how they lie decides what an index finds, so random ones will not do.

python -m benchmarks.trained_shop HOME --products 1000000

A model of the paper's sizes is trained on a sample shop of 5,000 products and 20,000 sessions; then another sample shop,
as large as asked and drawn from another seed, is embedded into a store. What HOME already holds is not made again.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from indexer.build import build_index
from indexer.indexes.request import IndexRequest
from indexer.update.settings import RefreshSettings
from ubm_embed.data.corpus import PRODUCTS_FILE, Corpus
from ubm_embed.data.sample_shop import write_sample_shop
from ubm_embed.model.start import fresh_model
from ubm_embed.training.config import PretrainingConfig
from ubm_embed.training.pretraining import pretrain

# Three minutes on two cores.
TRAINING = PretrainingConfig(
    item_batch=64,
    session_batch=16,
    learning_rate=3e-4,
    session_learning_rate=3e-5,
    max_steps=250,
    session_max_steps=40,
)
SESSIONS = 4000
_VOCAB_SIZE = 8192
_SECONDS_BETWEEN_LINES = 20


@dataclass(frozen=True)
class TrainedShop:
    """What HOME holds.

    Attributes:
        home: the folder.
    """

    home: Path

    @property
    def model(self) -> Path:
        """The trained model."""
        return self.home / "model"

    @property
    def corpus(self) -> Path:
        """The large shop."""
        return self.home / "corpus"

    @property
    def store(self) -> Path:
        """Its products, embedded."""
        return self.home / "store"


def make_trained_shop(home: Path, products: int, index: str = "auto") -> TrainedShop:
    """Make what is not there yet."""
    shop = TrainedShop(home)
    if not shop.model.exists():
        write_sample_shop(home / "learned", products=5000, sessions=20_000, seed=1, overwrite=True)
        learned = Corpus.open(home / "learned")
        model, tokenizer = fresh_model(learned, vocab_size=_VOCAB_SIZE)
        pretrain(learned, model, tokenizer, shop.model, TRAINING, overwrite=True, progress=Lines())
    if not shop.corpus.exists():
        write_sample_shop(shop.corpus, products=products, sessions=SESSIONS, seed=0)
    if not (shop.store / "live.json").exists():
        settings = RefreshSettings(index=IndexRequest(index=index))
        catalogue = shop.corpus / PRODUCTS_FILE
        build_index(model=shop.model, products=catalogue, store=shop.store, settings=settings, progress=Lines())
    return shop


class Lines:
    """Progress as a line now and then."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None:
        """As `Progress`."""
        if done == total or time.monotonic() > self._last + _SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            print(f"{what}: {done:,} of {total:,} {note}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser("python -m benchmarks.trained_shop", description=__doc__.splitlines()[0])
    parser.add_argument("home", type=Path, metavar="HOME")
    parser.add_argument("--products", type=int, default=1_000_000)
    options = parser.parse_args(arguments)
    make_trained_shop(options.home, options.products)


if __name__ == "__main__":
    main()
