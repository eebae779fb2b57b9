"""What a reader's measurement needs, made once: stores that each state of the code can read, sessions and rules."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.report import RESULTS
from benchmarks.retrieval.reader_process import Side
from benchmarks.retrieval.shop_home import TrainedShop
from indexer.refresh.gates import Gate
from ubm_embed.data.corpus import PRODUCTS_FILE, Corpus
from ubm_embed.data.sample_shop import write_sample_shop
from ubm_embed.outputs import output_folder

BEFORE, TODAY = "before", "today"
# As many products as `ubm-embed demo` has.
SMALL_SHOP = 1500
VARIANTS = 5
_EXCLUDED, _BOOSTED, _MATCHING = 20_000, 1000, 0.01
_CHANGED = 0.001


@dataclass(frozen=True)
class Inputs:
    """What is measured.

    Attributes:
        sides: the states of the code.
        sessions: file with the sessions that are asked.
        session: file with one of them, of the small shop.
        rules: by name, some of each kind, so that a reader meets each for the first time.
        versions: of today's store; the last is live.
    """

    sides: tuple[Side, ...]
    sessions: Path
    session: Path
    rules: Mapping[str, Sequence[Mapping[str, Any]]]
    versions: tuple[int, ...]


def prepare(shop: TrainedShop, scratch: Path, before: Path | None, sessions: int) -> Inputs:
    """Make what `scratch` lacks.

    Raises:
        RuntimeError: a store could not be made; stderr has why.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    today = Side(TODAY, RESULTS.parents[1], scratch / "store", scratch / "small_today")
    sides = [today] if before is None else [Side(BEFORE, before, shop.store, scratch / "small_before"), today]
    _republish(shop, today, scratch)
    small = TrainedShop(scratch / "small_shop")
    if not small.corpus.exists():
        write_sample_shop(small.corpus, products=SMALL_SHOP, sessions=100, seed=0)
    for side in sides:
        _build(shop, side, small.corpus / PRODUCTS_FILE)
    asked = scratch / "sessions.json"
    asked.write_text(json.dumps(_long_enough(shop.sessions())[:sessions]), "utf-8")
    one = scratch / "session.json"
    one.write_text(json.dumps(_long_enough(small.sessions())[0]), "utf-8")
    versions = sorted(int(folder.name) for folder in (today.store / "versions").iterdir())
    return Inputs(tuple(sides), asked, one, rules(Corpus.open(shop.corpus).products), tuple(versions))


def rules(products: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Rules of each kind; those of one kind differ, but not in what they ask of a reader."""
    price = float(products["price"].quantile(_MATCHING) or 0)
    numbers = range(VARIANTS)
    shuffled = [products["product_id"].sample(fraction=1, shuffle=True, seed=number).to_list() for number in numbers]
    kinds: dict[str, list[dict[str, Any]]] = {
        "where": [{"where": f"price <= {price + number / 1000:.3f}"} for number in numbers],
        "max_per": [{"max_per": {"category": 1 + number}} for number in numbers],
        "diversity": [{"diversity": 0.3 + number / 100} for number in numbers],
        "exclude": [{"exclude": names[: min(_EXCLUDED, len(names) // 2)]} for names in shuffled],
        "boost": [{"boost": _boosts(names[-_BOOSTED:], number)} for number, names in enumerate(shuffled)],
    }
    together: list[dict[str, Any]] = [dict(ChainMap(*parts)) for parts in zip(*kinds.values(), strict=True)]
    return {"none": [{}], **kinds, "all": together}


def _boosts(names: Sequence[str], seed: int) -> dict[str, float]:
    drawn = np.random.default_rng(seed).uniform(-0.1, 0.1, len(names))
    return dict(zip(names, drawn.round(4).tolist(), strict=True))


def _republish(shop: TrainedShop, side: Side, scratch: Path) -> None:
    """A copy of the shop's store with two versions by this code, for changing over from one to the other."""
    if side.store.exists():
        return
    from benchmarks.changed_catalogue import change  # polars with it, whose pages a reader would share

    with output_folder(side.store) as aside:
        shutil.copytree(shop.store, aside, dirs_exist_ok=True)
        catalogue = scratch / PRODUCTS_FILE
        shutil.copyfile(shop.corpus / PRODUCTS_FILE, catalogue)
        for night in (1, 2):
            _command(side, "refresh", "--store", aside, "--products", change(catalogue, _CHANGED, night))


def _build(shop: TrainedShop, side: Side, catalogue: Path) -> None:
    if not side.small_store.exists():
        with output_folder(side.small_store) as aside:
            _command(side, "build-index", "--model", shop.model, "--products", catalogue, "--store", aside)


def _command(side: Side, *arguments: str | Path) -> None:
    """Run a command of this code; gates are open, as the model need not be a good one."""
    gates = [part for gate in Gate for part in ("--allow", gate.value)]
    command = [sys.executable, "-P", "-m", "cli", *map(str, arguments), "--device", "cpu", *gates]
    if subprocess.run(command, env=side.environment(), stdout=subprocess.DEVNULL, check=False).returncode:
        raise RuntimeError(f"failed: {' '.join(command)}")


def _long_enough(sessions: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sessions of two interactions or more: without the last there is still something to read."""
    return [session for session in sessions if len(session["interactions"]) > 1]
