"""What does a night cost if only prices changed, or some texts, against the code of an earlier commit in the same run?

git worktree add BEFORE COMMIT
(cd BEFORE && PYTHONPATH=. python -m benchmarks.retrieval.trained_shop HOME)
python -m benchmarks.refresh.nights HOME --before BEFORE

HOME is made by the earlier code, which does not read what later code writes; its store is copied for each code. Each
night changes the price, or the title, of a share of the products; both codes get the same feeds, in turns and each in
its own process. A first night, which is not counted, brings both copies to the form that their code writes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import polars as pl

from benchmarks.command_line import load_or_measure, runner_parser
from benchmarks.report import markdown_table, report_header
from benchmarks.retrieval.shop_home import TrainedShop
from ubm_embed.data.corpus import PRODUCTS_FILE

NAME = "nights"
CHANGES = ("prices", "titles")
_PROCESS = Path(__file__).with_name("night_process.py")
_ROOT = Path(__file__).resolve().parents[2]


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The report: every night by every code."""
    settings = {name: getattr(options, name) for name in ("share", "repeats")}
    shop = TrainedShop(options.home)
    report = report_header(NAME, settings, packages=("pylance", "faiss-cpu", "onnxruntime"))
    codes = {"now": _ROOT} | ({"before": options.before.resolve()} if options.before else {})
    report["commits"] = {name: commit_of(root) for name, root in codes.items()}
    with tempfile.TemporaryDirectory(prefix="ubm_embed_", dir=options.home) as folder:
        stores = {name: Path(shutil.copytree(shop.store, Path(folder) / name)) for name in codes}
        feed = Feed(shop.corpus / PRODUCTS_FILE, Path(folder) / "feed.parquet", options.share)
        report["products"] = feed.rows.height
        report["nights"] = []
        for night, change in enumerate(("titles", *CHANGES * options.repeats)):
            feed.change(change, night)
            # They take turns in going first.
            for name in sorted(codes, reverse=bool(night % 2)):
                figures = night_of(codes[name], stores[name], feed.file)
                print(f"night {night}, {change}, {name}: {figures['seconds']:.1f} s", file=sys.stderr, flush=True)
                if night:
                    report["nights"].append({"night": night, "change": change, "code": name, **figures})
    return report


class Feed:
    """The shop's catalogue, night after night.

    Args:
        catalogue: the first.
        file: each is written here.
        share: of the products that change in a night.
    """

    def __init__(self, catalogue: Path, file: Path, share: float) -> None:
        self.rows, self.file = pl.read_parquet(catalogue), file
        self._count = max(1, round(share * self.rows.height))

    def change(self, what: str, night: int) -> None:
        """Write the next: other products change each night."""
        changed = np.random.default_rng([night, self.rows.height]).choice(self.rows.height, self._count, replace=False)
        here = pl.Series(np.isin(np.arange(self.rows.height), changed))
        if what == "prices":
            value = pl.when(here).then(pl.col("price") + 0.01 * night).otherwise("price").alias("price")
        else:
            value = (
                pl.when(here).then(pl.format("{} {}", "title", pl.lit(str(night)))).otherwise("title").alias("title")
            )
        self.rows = self.rows.with_columns(value)
        self.rows.write_parquet(self.file)
        # A feed that was just written is looked at twice, a second apart.
        os.utime(self.file, times=(self.file.stat().st_mtime - 60,) * 2)


def night_of(code: Path, store: Path, feed: Path) -> dict[str, Any]:
    """The figures of one refresh by the code in a folder."""
    environment = {**os.environ, "PYTHONPATH": str(code)}
    command = [sys.executable, "-P", str(_PROCESS), str(store), str(feed)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment, cwd=code)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def commit_of(root: Path) -> str:
    """The commit of a checkout."""
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=root, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout.strip()


def table(report: dict[str, Any]) -> str:
    """A row for each kind of night and code."""
    columns = ["a night of", "code", "seconds", "beyond encoding", "after comparing", "CPU s", "peak MB", "recall@10"]
    rows = []
    for change in CHANGES:
        for code in report["commits"]:
            nights = [one for one in report["nights"] if (one["change"], one["code"]) == (change, code)]
            rows.append([change, code, *cells(nights)])
    return markdown_table(columns, rows)


def cells(nights: Sequence[dict[str, Any]]) -> list[str]:
    """Medians over nights, the highest peak and the lowest recall."""
    beyond = [one["seconds"] - one["steps"].get("encode", 0.0) for one in nights]
    compared = [
        rest - one["steps"]["compare"] - one["steps"].get("cut", 0.0) for rest, one in zip(beyond, nights, strict=True)
    ]
    recalls = [one["recall"] for one in nights if one["recall"] is not None]
    return [
        f"{median(one['seconds'] for one in nights):.1f}",
        f"{median(beyond):.1f}",
        f"{median(compared):.1f}",
        f"{median(one['cpu_seconds'] for one in nights):.1f}",
        f"{max(one['peak_mb'] for one in nights):,.0f}",
        f"{min(recalls):.3f}" if recalls else "",
    ]


def notes(report: dict[str, Any]) -> str:
    """The steps of each kind of night."""
    lines = []
    for change in CHANGES:
        for code in report["commits"]:
            steps = [one["steps"] for one in report["nights"] if (one["change"], one["code"]) == (change, code)]
            names = ", ".join(f"{name} {median(step.get(name, 0.0) for step in steps):.2f} s" for name in steps[0])
            lines.append(f"{change}, {code}: {names}")
    return "\n".join(lines)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line's options."""
    parser = runner_parser(f"refresh.{NAME}", __doc__)
    add = parser.add_argument
    add("home", type=Path, metavar="HOME", nargs="?", help="a folder of benchmarks.retrieval.trained_shop")
    add("--before", type=Path, metavar="DIR", help="a checkout of an earlier commit to compare with")
    add("--share", type=float, default=0.01, help="share of the products that change in a night")
    add("--repeats", type=int, default=3, help="nights of each kind")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, save the report and print its table; or print the table of a saved one."""
    report = load_or_measure(parse(arguments), measure)
    print(f"{table(report)}\n\n{notes(report)}")


if __name__ == "__main__":
    main()
