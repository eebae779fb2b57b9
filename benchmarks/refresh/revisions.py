"""What do revisions cost: to publish one product, to see it in an answer, and to answer with many of them?

python -m benchmarks.refresh.revisions HOME

HOME is a folder of `benchmarks.retrieval.trained_shop`; its store is copied, and refreshed once so that it has today's
form. Then, one after the other:

upserts     one product each, in this process: in turns a new product, another title, another price
to answer   from the start of `ubm-embed upsert`, and from a POST, until a running service shows the product
queries     the same queries in turns on one version without revision and with shares of its products changed: half of
            them have another price, half another title
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.command_line import load_or_measure, runner_parser
from benchmarks.memory import peak_megabytes
from benchmarks.refresh.nights import Feed
from benchmarks.report import markdown_table, report_header
from benchmarks.retrieval.shop_home import TrainedShop
from benchmarks.serving.server_process import HOST, ServerProcess
from indexer.refresh.refresh import refresh
from indexer.search.ranking import Rules
from indexer.search.retriever import Retriever
from indexer.storage.storage import open_storage
from indexer.updates.limits import UpdateLimits
from indexer.updates.updater import Updater
from ubm_embed.data.corpus import PRODUCTS_FILE
from ubm_embed.data.session import Session, parse_session

NAME = "revisions"
SHARES = (0.0, 0.01, 0.05)
RULES = {"no rules": Rules(), "where, cap, diversity": Rules(where="in_stock", max_per={"category": 3}, diversity=0.2)}
_WARM_UP = 50
_SERVICE_SECONDS = 30.0


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The report."""
    settings = {name: getattr(options, name) for name in ("upserts", "answers", "queries")}
    report = report_header(NAME, settings, packages=("faiss-cpu", "onnxruntime", "fastapi", "pylance"))
    shop = TrainedShop(options.home)
    with tempfile.TemporaryDirectory(prefix="ubm_embed_", dir=options.home) as folder:
        store = Path(shutil.copytree(shop.store, Path(folder) / "store"))
        feed = Feed(shop.corpus / PRODUCTS_FILE, Path(folder) / "feed.parquet", 0.001)
        feed.change("titles", 0)
        refresh(store=store, products=feed.file)
        report["products"] = feed.rows.height
        report["upserts"] = upserts(store, feed.rows, options.upserts)
        report["to_answer"] = seconds_to_answer(store, Path(folder), options.answers)
        sessions = [parse_session(document) for document in shop.sessions()[: options.queries + _WARM_UP]]
        report["queries"] = queries(store, feed.rows, sessions)
        report["peak_mb"] = peak_megabytes()
    return report


def upserts(store: Path, rows: pl.DataFrame, count: int) -> dict[str, Any]:
    """Milliseconds of each upsert, and the files and bytes that they leave."""
    size = storage_size(store)
    milliseconds = []
    with Updater(store, device="cpu") as updater:
        for number, change in enumerate(single_changes(rows, count)):
            started = time.perf_counter()
            report = updater.upsert([change])
            milliseconds.append(round((time.perf_counter() - started) * 1000, 3))
            assert report.published, f"upsert {number} changed nothing"
    segments = list((store / "revisions").rglob("*.arrow"))
    return {
        "milliseconds": milliseconds,
        "files": len(segments),
        "bytes": sum(file.stat().st_size for file in segments),
        "store_grew_by": storage_size(store) - size,
    }


def single_changes(rows: pl.DataFrame, count: int) -> list[dict[str, Any]]:
    """Products to upsert one by one: in turns a new one, another title, another price."""
    chosen = rows[np.random.default_rng(1).choice(rows.height, count, replace=False)]
    changes = []
    for number, row in enumerate(chosen.iter_rows(named=True)):
        name = row["product_id"]
        title = {"product_id": name, "title": f"{row['title']} mark {number}"}
        price = {"product_id": name, "price": row["price"] + 1}
        changes.append([row | {"product_id": f"new{number}"}, title, price][number % 3])
    return changes


def seconds_to_answer(store: Path, folder: Path, count: int) -> dict[str, list[float]]:
    """Seconds until a service answers with a new product: upserted by the command, and by a request."""
    command = [str(Path(sys.executable).with_name("ubm-embed")), "serve", "--store", str(store), "--port", "{port}"]
    cores = sorted(os.sched_getaffinity(0))
    seconds: dict[str, list[float]] = {"command": [], "request": []}
    with ServerProcess(command, cores, folder / "serve.log") as server:
        server.wait_until_ready("/readyz")
        for number in range(count):
            for way, upsert in (("command", by_command), ("request", by_request)):
                name = f"{way}-{number}"
                product = {"product_id": name, "title": f"Norvik trail shoe {name}", "price": 9.5, "in_stock": True}
                started = time.perf_counter()
                upsert(product, store, server.port)
                wait_for(f"http://{HOST}:{server.port}/v1/products/{name}/similar")
                seconds[way].append(round(time.perf_counter() - started, 4))
    return seconds


def by_command(product: dict[str, Any], store: Path, port: int) -> None:
    """Upsert a product by the command line, whose start counts."""
    del port
    command = [str(Path(sys.executable).with_name("ubm-embed")), "upsert", "--products", "-", "--store", str(store)]
    subprocess.run(command, input=json.dumps(product), text=True, check=True, stdout=subprocess.DEVNULL)


def by_request(product: dict[str, Any], store: Path, port: int) -> None:
    """Upsert a product over HTTP."""
    del store
    body = json.dumps({"products": [product]}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://{HOST}:{port}/v1/products", body, headers, method="POST")
    urllib.request.urlopen(request, timeout=_SERVICE_SECONDS).read()


def wait_for(url: str) -> None:
    """Ask until the answer is no error.

    Raises:
        TimeoutError: it is one for half a minute.
    """
    end = time.monotonic() + _SERVICE_SECONDS
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(url, timeout=_SERVICE_SECONDS).read()
        except urllib.error.HTTPError:
            time.sleep(0.002)
        else:
            return
    raise TimeoutError(url)


def queries(store: Path, rows: pl.DataFrame, sessions: Sequence[Session]) -> dict[str, Any]:
    """Milliseconds and CPU milliseconds of warm queries, by the share of products that revisions changed."""
    retrievers: dict[float, Retriever] = {}
    order = np.random.default_rng(2).permutation(rows.height)
    limits = UpdateLimits(max_products=rows.height, max_share=1.0, max_mb=4096)
    done = 0
    with Updater(store, device="cpu", limits=limits) as updater:
        for share in SHARES:
            wanted = round(share * rows.height)
            if wanted > done:
                updater.upsert(bulk_changes(rows[order[done:wanted]]))
                done = wanted
            # Each stays open: what is published later does not change it.
            retrievers[share] = Retriever.open(store, device="cpu")
    return {name: timed(retrievers, sessions, rules) for name, rules in RULES.items()}


def bulk_changes(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Half of the products with another price, half with another title."""
    return [
        {"product_id": row["product_id"], "price": row["price"] + 1}
        if number % 2
        else {"product_id": row["product_id"], "title": f"{row['title']} again"}
        for number, row in enumerate(rows.iter_rows(named=True))
    ]


def timed(retrievers: dict[float, Retriever], sessions: Sequence[Session], rules: Rules) -> list[dict[str, Any]]:
    """Figures of each retriever, which take turns query by query."""
    for retriever in retrievers.values():
        for session in sessions:  # every interaction is read once, and the rules are compiled
            retriever.recommend(session, rules=rules)
    times: dict[float, list[float]] = {share: [] for share in retrievers}
    cpu: dict[float, float] = dict.fromkeys(retrievers, 0.0)
    for number, session in enumerate(sessions[_WARM_UP:]):
        shares = list(retrievers)
        for share in shares[number % len(shares) :] + shares[: number % len(shares)]:
            wall, used = clocked(partial(retrievers[share].recommend, session, rules=rules))
            times[share].append(round(wall, 4))
            cpu[share] += used
    count = len(sessions) - _WARM_UP
    return [
        {
            "share": share,
            "revision_rows": retriever.revision.rows if retriever.revision else 0,
            "milliseconds": times[share],
            "cpu_ms": round(cpu[share] / count, 4),
        }
        for share, retriever in retrievers.items()
    ]


def clocked(call: Callable[[], Any]) -> tuple[float, float]:
    """Milliseconds and CPU milliseconds of a call."""
    used, started = time.process_time(), time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1000, (time.process_time() - used) * 1000


def storage_size(store: Path) -> int:
    """Bytes of a store."""
    return open_storage(store).size()


def table(report: dict[str, Any]) -> str:
    """Queries by rules and share; above it one line for upserts and one for answers."""
    ups = report["upserts"]
    p50, p99 = np.percentile(ups["milliseconds"], [50, 99])
    upserted = f"{len(ups['milliseconds']):,} upserts: p50 {p50:.1f} ms, p99 {p99:.1f} ms, {ups['files']} files"
    waits = ", ".join(
        f"{way} {np.median(values):.2f} s (max {max(values):.2f})" for way, values in report["to_answer"].items()
    )
    rows = []
    for name, entries in report["queries"].items():
        base = np.median(entries[0]["milliseconds"])
        for one in entries:
            p50, p99 = np.percentile(one["milliseconds"], [50, 99])
            rows.append(
                [
                    name,
                    f"{one['share']:.0%}",
                    f"{p50:.3f}",
                    f"{p50 / base - 1:+.1%}",
                    f"{p99:.2f}",
                    f"{one['cpu_ms']:.3f}",
                ]
            )
    columns = ["queries", "in revisions", "p50 ms", "against 0%", "p99 ms", "CPU ms"]
    return f"{upserted}\nto the first answer: {waits}\n\n{markdown_table(columns, rows)}"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line's options."""
    parser = runner_parser(f"refresh.{NAME}", __doc__)
    add = parser.add_argument
    add("home", type=Path, metavar="HOME", nargs="?", help="a folder of benchmarks.retrieval.trained_shop")
    add("--upserts", type=int, default=1000)
    add("--answers", type=int, default=10, help="upserts of each way that a service must show")
    add("--queries", type=int, default=1000)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, save the report and print its table; or print the table of a saved one."""
    print(table(load_or_measure(parse(arguments), measure)))


if __name__ == "__main__":
    main()
