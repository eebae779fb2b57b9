"""Writes beyond_accuracy.json: a small random case, and what RePlay and ranx say of it.

Their requirements conflict with this project's, so run it in an environment of its own:

    python -m venv oracles && oracles/bin/pip install replay-rec==0.22.0 ranx==0.3.21
    oracles/bin/python make_beyond_accuracy.py
"""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import polars as pl
from ranx import Qrels, Run, evaluate
from replay.metrics import CategoricalDiversity, Coverage, HitRate, Novelty, Surprisal, Unexpectedness

PRODUCTS, ANSWERED, SESSIONS, OTHERS, K, CATEGORIES = 40, 25, 30, 60, 10, 6


def main():
    rng = np.random.default_rng(21)
    popular = rng.zipf(1.6, 5000) % PRODUCTS
    answers = [rng.permutation(ANSWERED)[:K].tolist() for _ in range(SESSIONS)]
    expected = [rng.permutation(PRODUCTS)[:K].tolist() for _ in range(SESSIONS)]
    held = [sorted({*rng.integers(PRODUCTS, size=rng.integers(1, 8)).tolist()}) for _ in range(SESSIONS)]
    others = [sorted({*rng.choice(popular, size=rng.integers(1, 6)).tolist()}) for _ in range(OTHERS)]
    targets = rng.integers(PRODUCTS, size=SESSIONS).tolist()
    categories = rng.integers(CATEGORIES, size=PRODUCTS).tolist()
    answered = frame(answers).with_columns(
        category_id=pl.col("item_id").replace_strict(dict(enumerate(categories)), return_dtype=pl.Int64)
    )
    truth = frame([[target] for target in targets])
    metrics = {
        "coverage_of_interacted": value(Coverage(K)(answered, frame(others))),
        "novelty": value(Novelty(K)(answered, frame(held))),
        "surprisal": value(Surprisal(K)(answered, frame(others))),
        "unexpectedness": value(Unexpectedness(K)(answered, frame(expected))),
        "categorical_diversity": value(CategoricalDiversity(K)(answered)),
        "hit_at_10": value(HitRate(K)(answered, truth)),
        **ranked(answers, targets),
    }
    case = {
        "versions": {name: version(name) for name in ("replay-rec", "ranx")},
        "products": PRODUCTS,
        "answers": answers,
        "expected": expected,
        "held": held,
        "others": others,
        "targets": targets,
        "categories": categories,
        "metrics": metrics,
    }
    file = Path(__file__).with_name("beyond_accuracy.json")
    file.write_text(json.dumps(case) + "\n")


def frame(lists):
    """One row a product of each list, rated by its place."""
    rows = [(query, item, float(-place)) for query, items in enumerate(lists) for place, item in enumerate(items)]
    return pl.DataFrame(rows, schema=["query_id", "item_id", "rating"], orient="row")


def value(result):
    """The only figure of a result of RePlay."""
    (figure,) = result.values()
    return float(figure)


def ranked(answers, targets):
    """NDCG@10 and hit@10 of ranx."""
    run = Run({str(q): {str(item): float(K - place) for place, item in enumerate(a)} for q, a in enumerate(answers)})
    qrels = Qrels({str(query): {str(target): 1} for query, target in enumerate(targets)})
    figures = evaluate(qrels, run, ["ndcg@10", "hit_rate@10", "mrr@10"])
    return {name.replace("hit_rate", "ranx_hit").replace("@", "_at_"): float(figures[name]) for name in figures}


if __name__ == "__main__":
    main()
