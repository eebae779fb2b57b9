"""A shop of some of the sessions, and the tables of a report over several seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.quality.experiment import smaller_shop
from benchmarks.quality.shops import table
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.sample_shop import write_sample_shop


def row(name: str, hit: float, p: float | None) -> dict[str, Any]:
    metrics = {metric: {"value": hit, "low": 0.0, "high": 1.0} for metric in ("hit@10", "mrr@10", "ndcg@10")}
    return {"row": name, "metrics": metrics, "p_values": None if p is None else dict.fromkeys(metrics, p)}


def run(hit: float, p: float, seconds: float) -> dict[str, Any]:
    cost = {"pretrain": {"seconds": seconds, "peak_mb": round(1000 * seconds)}}
    return {"cost": cost, "results": {"examples": 42, "rows": [row("UBM", hit, None), row("POP", hit / 2, p)]}}


def test_a_table_has_means_and_the_largest_p_value() -> None:
    text = table({"settings": {"data": "a_shop"}, "runs": [run(0.2, 0.01, 1.0), run(0.4, 0.03, 3.0)]})
    assert text.startswith("a_shop, 42 questions, 2 seeds\n\n")
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if "--" not in line]
    assert ["UBM", "0.3000", "0.3000", "0.3000", ""] in lines
    assert ["POP", "0.1500", "0.1500", "0.1500", "0.0300"] in lines
    assert ["pretrain", "2", "3,000"] in lines


def test_a_smaller_shop_is_the_same_each_time_and_has_no_other_products(tmp_path: Path) -> None:
    write_sample_shop(tmp_path / "corpus", products=100, sessions=60, seed=1)
    corpus = Corpus.open(tmp_path / "corpus")
    part, again = smaller_shop(corpus, 20), smaller_shop(corpus, 20)
    assert part.sessions == 20
    assert part.interactions.equals(again.interactions)
    seen = part.interactions["product_id"].drop_nulls().unique().sort()
    assert part.products["product_id"].sort().equals(seen)
    part.write(tmp_path / "part")
    assert Corpus.open(tmp_path / "part").sessions == 20
