"""Figure 4: sessions in two dimensions, as a UBM from scratch and as a language model see them.

python -m benchmarks.figures_of_the_paper.session_map --data DIR --size small --bert FOLDER

The paper shows three sessions: two of one behaviour in different categories, and a third of another behaviour in the
category of the first. Here many such sessions of the test part are drawn: of the two commonest categories, those that
put a product into the cart after looking at several, and those that only look. `separation` is the mean silhouette of
the behaviours over the full vectors: 1 where each keeps to itself, 0 where they are mixed.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score

from benchmarks.quality.bench import Bench
from benchmarks.quality.sizes import SIZES
from benchmarks.quality.tables import bench_of
from benchmarks.report import report_header, write_report
from ubm_embed.data.arrays import FloatArray
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.session import ACTIONS, Action
from ubm_embed.data.tasks.task import Task
from ubm_embed.errors import InvalidData, UbmError
from ubm_embed.inference.embedder import Embedder
from ubm_embed.model.checkpoint import Checkpoint

BUYERS, LOOKERS = "puts into the cart after looking", "only looks"
_EACH, _VIEWS = 40, 3


def main() -> None:
    """Train, map, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a corpus folder with categories and all actions")
    parser.add_argument("--size", choices=list(SIZES), default="small")
    parser.add_argument("--bert", metavar="DIR_OR_NAME", help="the language model to compare with")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="default: results/figure_4_DATA.json")
    options = parser.parse_args()
    settings = {"data": options.data.name, "size": options.size, "seed": options.seed}
    report = report_header(f"figure_4_{options.data.name}", settings, packages=("scikit-learn",))
    try:
        bench = bench_of(options.data, Task.PIP, options.size, seed=options.seed, bert=options.bert)
        print(write_report({**report, **session_map(bench)}, options.out))
    except UbmError as error:
        sys.exit(f"error: {error}")


def session_map(bench: Bench) -> dict[str, Any]:
    """The sessions, their coordinates by each model, and how far the behaviours are apart."""
    sessions, described = _chosen(bench)
    models = {"UBM_wo_BERT": bench.pretrained(bert=False)}
    if bench.bert is not None:
        models["BERT_mini"] = bench.language_model(bench.bert, bench.size.bert_mini)
    vectors = {name: _vectors(bench, model, sessions) for name, model in models.items()}
    behaviours = [session["group"] for session in described]
    return {
        "sessions": described,
        "models": {name: _plane(found) for name, found in vectors.items()},
        "separation": {
            name: round(float(silhouette_score(found, behaviours, metric="cosine")), 4)
            for name, found in vectors.items()
        },
    }


def _chosen(bench: Bench) -> tuple[SessionTable, list[dict[str, Any]]]:
    """Up to 40 sessions of each behaviour in each of the two commonest categories."""
    sessions = bench.questions.parts.test.sessions
    categories = bench.corpus.products["category"].fill_null("").to_list()
    found: dict[tuple[str, str], list[int]] = {}
    for number in range(len(sessions)):
        actions, rows = _interactions(sessions, number)
        behaviour = _behaviour(actions)
        held = Counter(categories[row] for row in rows.tolist() if row < len(categories))
        if behaviour is not None and held:
            found.setdefault((held.most_common(1)[0][0], behaviour), []).append(number)
    # Where the rarer behaviour is commonest: both must be there to be told apart.
    both = {name: min(len(found.get((name, which), ())) for which in (BUYERS, LOOKERS)) for name, _ in found}
    common = sorted(both, key=lambda name: (-both[name], name))[:2]
    chosen = {
        number: {"group": behaviour, "category": category}
        for category in common
        for behaviour in (BUYERS, LOOKERS)
        for number in found.get((category, behaviour), [])[:_EACH]
    }
    if not common or both[common[0]] < 2:
        raise InvalidData(f"no category has two sessions of each behaviour, {BUYERS!r} and {LOOKERS!r}")
    described = [
        {"session_id": f"session {number}", **about, "text": _told(bench, sessions, number)}
        for number, about in chosen.items()
    ]
    return sessions.take(np.array(list(chosen))), described


def _interactions(sessions: SessionTable, number: int) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    place = slice(sessions.offsets[number], sessions.offsets[number + 1])
    return sessions.actions[place], sessions.rows[place]


def _behaviour(actions: NDArray[np.uint8]) -> str | None:
    """Which of the two a session of at least three views is, if it is one of them."""
    third = np.flatnonzero(actions == Action.VIEW.code)[_VIEWS - 1 : _VIEWS]
    if not third.size:
        return None
    chosen = np.flatnonzero((actions == Action.ADD.code) | (actions == Action.BUY.code))
    if not chosen.size:
        return LOOKERS
    return BUYERS if chosen[0] > third[0] and actions[chosen[0]] == Action.ADD.code else None


def _told(bench: Bench, sessions: SessionTable, number: int) -> list[str]:
    """A session in words."""
    titles = bench.corpus.products["title"]
    actions, rows = _interactions(sessions, number)
    return [
        f"{ACTIONS[action]} {titles[row] if row < titles.len() else 'something'}"
        for action, row in zip(actions.tolist(), rows.tolist(), strict=True)
    ]


def _vectors(bench: Bench, model: Checkpoint, sessions: SessionTable) -> FloatArray:
    texts = TokenizedCorpus.from_corpus(bench.corpus, model.tokenizer).texts
    return Embedder(model, device=bench.device).embed_table(texts, sessions)


def _plane(vectors: FloatArray) -> list[list[float]]:
    """The first two principal components, signs as scikit-learn settles them."""
    coordinates = PCA(2, svd_solver="full").fit_transform(vectors)
    return [[round(float(x), 4), round(float(y), 4)] for x, y in coordinates]


if __name__ == "__main__":
    main()
