"""Makes HOME, which other runners need: a large catalogue with vectors of a trained model, in a store.

python -m benchmarks.retrieval.trained_shop HOME --products 1000000

A model of the paper's sizes is trained on a sample shop of 5,000 products and 20,000 sessions, since the distribution
of vectors decides what an index finds. Then another sample shop, with --products products and another seed, is embedded
into a store. Parts that HOME already has are not made again.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.command_line import add_quick_option, parse_with_quick
from benchmarks.retrieval.shop_home import QUERIES_FILE, TrainedShop
from indexer.export.formats import ExportFormat
from indexer.export.vectors import VECTORS_FILE, export_vectors
from indexer.refresh.gates import Gate
from indexer.refresh.refresh import build_index
from ubm_embed.data.arrays import FloatArray
from ubm_embed.data.corpus import PRODUCTS_FILE, Corpus
from ubm_embed.data.product_rows import iter_products
from ubm_embed.data.sample_shop import write_sample_shop
from ubm_embed.data.session import Product, Session, parse_session
from ubm_embed.inference.embedder import Embedder
from ubm_embed.model.start import fresh_model
from ubm_embed.outputs import output_folder
from ubm_embed.training.pretraining.config import PretrainingConfig
from ubm_embed.training.pretraining.pretrain import pretrain

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
# Vectors of a model that has learned little: for a first look at times, not at recall.
QUICK = {"products": 10_000, "steps": 20}
_VOCAB_SIZE = 8192
_NUM_QUERIES = 1000
_SECONDS_BETWEEN_LINES = 20


def make_trained_shop(
    home: Path, products: int, allow: Collection[Gate] = (), training: PretrainingConfig = TRAINING
) -> TrainedShop:
    """Make the parts that HOME lacks."""
    shop = TrainedShop(home)
    if not shop.model.exists():
        write_sample_shop(home / "learned", products=5000, sessions=20_000, seed=1, overwrite=True)
        learned = Corpus.open(home / "learned")
        model, tokenizer = fresh_model(learned, vocab_size=_VOCAB_SIZE)
        pretrain(learned, model, tokenizer, shop.model, training, overwrite=True, progress=Lines())
    if not shop.corpus.exists():
        write_sample_shop(shop.corpus, products=products, sessions=SESSIONS, seed=0)
    if not (shop.store / "live.json").exists():
        catalogue = shop.corpus / PRODUCTS_FILE
        build_index(model=shop.model, products=catalogue, store=shop.store, allow=allow, progress=Lines())
    if not (home / VECTORS_FILE).exists():
        with output_folder(home / "exported", overwrite=True) as aside:
            export_vectors(shop.store, aside / "npy", ExportFormat.NPY)
        (home / "exported" / "npy" / VECTORS_FILE).rename(home / VECTORS_FILE)
    if not (home / QUERIES_FILE).exists():
        np.save(home / QUERIES_FILE, _session_vectors(shop))
    return shop


def _session_vectors(shop: TrainedShop) -> FloatArray:
    sessions = [parse_session(document) for document in shop.sessions()]
    sessions = [session for session in sessions if session.interactions][:_NUM_QUERIES]
    names = {one.product_id for session in sessions for one in session.interactions}
    rows = Corpus.open(shop.corpus).products.filter(pl.col("product_id").is_in(names - {None}))
    products = dict(zip(rows["product_id"], iter_products(rows), strict=True))
    return Embedder.from_pretrained(shop.model).embed_sessions([_in_full(one, products) for one in sessions])


def _in_full(session: Session, products: Mapping[str, Product]) -> Session:
    interactions = tuple(
        one if one.product_id is None else replace(one, product_id=None, product=products[one.product_id])
        for one in session.interactions
    )
    return replace(session, interactions=interactions)


class Lines:
    """Prints progress every 20 seconds."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None:
        """As `Progress`."""
        if done == total or time.monotonic() > self._last + _SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            print(f"{what}: {done:,} of {total:,} {note}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the parts that HOME lacks."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.retrieval.trained_shop",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("home", type=Path, metavar="HOME")
    parser.add_argument("--products", type=int, default=1_000_000)
    parser.add_argument("--steps", type=int, default=TRAINING.max_steps, help="training steps of stage 1")
    add_quick_option(parser, QUICK)
    options = parse_with_quick(parser, QUICK, arguments)
    # A model of few steps does not pass the gates that check its neighbours.
    allow = list(Gate) if options.quick else ()
    session_steps = min(options.steps, TRAINING.session_max_steps or options.steps)
    training = TRAINING.replace(max_steps=options.steps, session_max_steps=session_steps)
    make_trained_shop(options.home, options.products, allow, training)


if __name__ == "__main__":
    main()
