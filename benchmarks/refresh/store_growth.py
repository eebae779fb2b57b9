"""How large does a store grow that is refreshed night after night?

python -m benchmarks.refresh.store_growth --products 20000 --nights 50

Each night a share of the products gets a new title and as many a new price. The store's size after every night is
compared with that of a fresh store over the same catalogue.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.command_line import load_or_measure, runner_parser
from benchmarks.refresh.toy_store import ALLOW, ENCODERS, SETTINGS, change, write_catalogue, write_model
from benchmarks.report import markdown_table, report_header
from indexer.refresh.refresh import build_index, refresh
from indexer.store.embedding_store import EmbeddingStore

NAME = "store_growth"


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The report: sizes after each night, and of a fresh store."""
    settings = {name: getattr(options, name) for name in ("products", "nights", "share", "encoder", "seed")}
    report = report_header(NAME, settings, packages=("pylance", "lancedb"))
    with tempfile.TemporaryDirectory(prefix="ubm_embed_") as name:
        home = Path(name)
        catalogue = write_catalogue(home, options.products, options.seed)
        model = write_model(home, catalogue, options.encoder, options.seed)
        build_index(model=model, products=catalogue, store=home / "store", settings=SETTINGS, allow=ALLOW)
        sizes = [size_of(home / "store")]
        for night in range(1, options.nights + 1):
            changed = change(catalogue, options.share, night)
            changed.replace(catalogue)
            refresh(products=catalogue, store=home / "store", settings=SETTINGS, allow=ALLOW)
            sizes.append(size_of(home / "store"))
            print(f"night {night}: {sizes[-1]['store'] / 1e6:.1f} MB", file=sys.stderr)
        build_index(model=model, products=catalogue, store=home / "fresh", settings=SETTINGS, allow=ALLOW)
        report["fresh"] = size_of(home / "fresh")
    report["nights"] = sizes
    return report


def size_of(store: Path) -> dict[str, int]:
    """Bytes of a store and of each part."""
    storage = EmbeddingStore.open(store).storage
    parts = {name: storage.size(name) for name in ("products.lance", "versions", "models")}
    return {"store": storage.size(), **parts}


def table(report: dict[str, Any]) -> str:
    """The fresh store, and the refreshed one after some nights and at its largest."""
    nights, fresh = report["nights"], report["fresh"]
    largest = max(range(len(nights)), key=lambda night: nights[night]["store"])
    selected = sorted({0, 1, 2, 10, len(nights) // 2, len(nights) - 1, largest} & set(range(len(nights))))
    rows = [[f"night {night}" + " (largest)" * (night == largest), *cells(nights[night], fresh)] for night in selected]
    return markdown_table(
        ["", "MB", "table", "indexes", "models", "of fresh"], [["fresh", *cells(fresh, fresh)], *rows]
    )


def cells(size: dict[str, int], fresh: dict[str, int]) -> list[str]:
    """The size of a store and its parts in MB, and the ratio of the whole to a fresh store."""
    parts = (size[name] / 1e6 for name in ("store", "products.lance", "versions", "models"))
    return [*(f"{part:.1f}" for part in parts), f"{size['store'] / fresh['store']:.2f} x"]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line's options."""
    parser = runner_parser(f"refresh.{NAME}", __doc__)
    add = parser.add_argument
    add("--products", type=int, default=20_000)
    add("--nights", type=int, default=50)
    add("--share", type=float, default=0.01, help="share of products with a new title, and as many with a new price")
    add("--encoder", choices=sorted(ENCODERS), default="tiny")
    add("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, save the report and print its table; or print the table of a saved one."""
    print(table(load_or_measure(parse(arguments), measure)))


if __name__ == "__main__":
    main()
