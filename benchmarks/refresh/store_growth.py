"""How large does a store grow that is refreshed each night and upserted to each day, and how good does its index stay?

python -m benchmarks.refresh.store_growth --products 20000 --nights 50 --upserts 200
python -m benchmarks.refresh.store_growth --home HOME --nights 50 --upserts 200

Each day some products are upserted, one revision each; each night a share of the products gets a new title and as many
a new price. The store's size after every night is compared with that of a fresh store over the same catalogue. With
HOME, a folder of `benchmarks.retrieval.trained_shop`, a copy of its store is refreshed, whose vectors are those of a
trained model, so that the recall of the index means something.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.changed_catalogue import change
from benchmarks.command_line import load_or_measure, runner_parser
from benchmarks.refresh.toy_store import ALLOW, ENCODERS, SETTINGS, write_catalogue, write_model
from benchmarks.report import markdown_table, report_header
from benchmarks.retrieval.shop_home import TrainedShop
from indexer.refresh.refresh import build_index, refresh
from indexer.refresh.report import RefreshReport
from indexer.store.embedding_store import EmbeddingStore
from indexer.updates.updater import Updater
from ubm_embed.data.corpus import PRODUCTS_FILE

NAME = "store_growth"


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The report: sizes after each night, and of a fresh store."""
    settings = {name: getattr(options, name) for name in ("products", "nights", "upserts", "share", "encoder", "seed")}
    settings["trained"] = options.home is not None
    report = report_header(NAME, settings, packages=("pylance", "lancedb"))
    with tempfile.TemporaryDirectory(prefix="ubm_embed_", dir=options.home) as name:
        folder = Path(name)
        catalogue, model, store = start(folder, options)
        nights = [size_of(store)]
        for night in range(1, options.nights + 1):
            largest = upsert_all_day(store, catalogue, options.upserts, night)
            changed = change(catalogue, options.share, night)
            changed.replace(catalogue)
            done = refresh(products=catalogue, store=store, settings=SETTINGS, allow=ALLOW)
            nights.append({**size_of(store), "largest": largest, **index_of(done)})
            print(f"night {night}: {nights[-1]}", file=sys.stderr, flush=True)
        build_index(model=model, products=catalogue, store=folder / "fresh", settings=SETTINGS, allow=ALLOW)
        report["fresh"] = size_of(folder / "fresh")
    report["nights"] = nights
    return report


def start(folder: Path, options: argparse.Namespace) -> tuple[Path, Path, Path]:
    """A catalogue, a model and a store of both, in a folder."""
    store = folder / "store"
    if options.home:
        shop = TrainedShop(options.home)
        catalogue = Path(shutil.copy(shop.corpus / PRODUCTS_FILE, folder / PRODUCTS_FILE))
        return catalogue, shop.model, Path(shutil.copytree(shop.store, store))
    catalogue = write_catalogue(folder, options.products, options.seed)
    model = write_model(folder, catalogue, options.encoder, options.seed)
    build_index(model=model, products=catalogue, store=store, settings=SETTINGS, allow=ALLOW)
    return catalogue, model, store


def upsert_all_day(store: Path, catalogue: Path, count: int, day: int) -> int:
    """Upsert products one by one, every third with another title, the others with another price.

    Returns the largest size of the store, looked at after every tenth.
    """
    rows = pl.read_parquet(catalogue, columns=["product_id", "title"])
    chosen = rows[np.random.default_rng([day, 1]).integers(0, rows.height, count)]
    largest = int(size_of(store)["store"])
    with Updater(store, device="cpu") as updater:
        for number, (name, title) in enumerate(chosen.iter_rows()):
            value = {"price": float(day * count + number)} if number % 3 else {"title": f"{title} {day} {number}"}
            updater.upsert([{"product_id": name, **value}])
            if number % 10 == 0:
                largest = max(largest, int(size_of(store)["store"]))
    return largest


def index_of(report: RefreshReport) -> dict[str, Any]:
    """How a refresh made its index, and how good it is."""
    assert report.published is not None, "every night changes something"
    return {"recall": report.published.recall_at_10, "index_update": dict(report.published.index_update)}


def size_of(store: Path) -> dict[str, Any]:
    """Bytes of a store and of each part."""
    storage = EmbeddingStore.open(store).storage
    parts = {name: storage.size(name) for name in ("products.lance", "versions", "revisions", "models")}
    return {"store": storage.size(), **parts}


def table(report: dict[str, Any]) -> str:
    """The fresh store, and the refreshed one after some nights and at its largest."""
    nights, fresh = report["nights"], report["fresh"]
    largest = max(range(len(nights)), key=lambda night: nights[night]["store"])
    selected = sorted({0, 1, 2, 10, len(nights) // 2, len(nights) - 1, largest} & set(range(len(nights))))
    rows = [[f"night {night}" + " (largest)" * (night == largest), *cells(nights[night], fresh)] for night in selected]
    columns = ["", "MB", "table", "versions", "models", "of fresh", "largest that day", "recall@10", "index"]
    return markdown_table(columns, [["fresh", *cells(fresh, fresh)], *rows])


def cells(size: dict[str, Any], fresh: dict[str, Any]) -> list[str]:
    """The size of a store and its parts in MB, and the ratio of the whole to a fresh store."""
    parts = (size[name] / 1e6 for name in ("store", "products.lance", "versions", "models"))
    largest = f"{size['largest'] / 1e6:.1f}" if "largest" in size else ""
    recall = f"{size['recall']:.4f}" if "recall" in size else ""
    action = size.get("index_update", {}).get("action", "")
    ratio = f"{size['store'] / fresh['store']:.2f} x"
    return [*(f"{part:.1f}" for part in parts), ratio, largest, recall, action]


def notes(report: dict[str, Any]) -> str:
    """The lowest recall, and how often an index was made in which way."""
    nights = [night for night in report["nights"] if "recall" in night]
    if not nights:
        return ""
    actions = Counter(night["index_update"].get("action", "") for night in nights)
    ways = ", ".join(f"{action} {count}" for action, count in actions.items())
    return f"lowest recall@10 of {len(nights)} nights {min(night['recall'] for night in nights):.4f}; indexes: {ways}"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line's options."""
    parser = runner_parser(f"refresh.{NAME}", __doc__)
    add = parser.add_argument
    add("--home", type=Path, metavar="HOME", help="a folder of benchmarks.retrieval.trained_shop")
    add("--products", type=int, default=20_000, help="without HOME")
    add("--upserts", type=int, default=200, help="products upserted one by one each day")
    add("--nights", type=int, default=50)
    add("--share", type=float, default=0.01, help="share of products with a new title, and as many with a new price")
    add("--encoder", choices=sorted(ENCODERS), default="tiny")
    add("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, save the report and print its table; or print the table of a saved one."""
    report = load_or_measure(parse(arguments), measure)
    print(f"{table(report)}\n\n{notes(report)}")


if __name__ == "__main__":
    main()
