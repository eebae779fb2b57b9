"""Figure 4: do a UBM from scratch and a language model arrange sessions by what shoppers do?

python -m benchmarks.figures_of_the_paper.session_map --data DIR --size small --bert FOLDER

The paper shows three sessions: two of one behaviour in different categories, and a third of another behaviour in the
category of the first. Here many such sessions of the test part are drawn: in the two most frequent categories, those
that add a product to the cart after several views, and those with views only. `separation` is the mean silhouette of
the behaviours over the full vectors: 1 where they are apart, 0 where they are mixed.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score, silhouette_score
from sklearn.model_selection import cross_val_predict

from benchmarks.command_line import runner_parser
from benchmarks.quality.experiment import Experiment, open_experiment
from benchmarks.quality.sizes import SIZES
from benchmarks.report import report_header, write_report
from ubm_embed.data.arrays import FloatArray, unit_rows
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.session import ACTIONS, Action
from ubm_embed.data.tasks.task import Task
from ubm_embed.errors import InvalidData, UbmError
from ubm_embed.evaluation.assortativity import assortativity
from ubm_embed.evaluation.nearest import NearestOthers
from ubm_embed.inference.embedder import Embedder
from ubm_embed.model.checkpoint import Checkpoint

BUYERS, LOOKERS = "puts into the cart after looking", "only looks"
_EACH, _VIEWS, _NEIGHBOURS = 40, 3, 10
# Of the map without the categories' means.
WITHIN = "within categories"


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the models, compute their maps and write the report."""
    parser = runner_parser("figures_of_the_paper.session_map", __doc__, default_out="figure_4_DATA", show=False)
    parser.add_argument("--data", type=Path, required=True, help="a corpus folder with categories and all actions")
    parser.add_argument("--size", choices=list(SIZES), default="small")
    parser.add_argument("--bert", metavar="DIR_OR_NAME", help="a language model to compare with")
    parser.add_argument("--model", type=Path, metavar="DIR", help="a trained model; default: train one from scratch")
    parser.add_argument("--each", type=int, default=_EACH, help="sessions of a behaviour in a category, at most")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    size = options.size if options.model is None else "a trained model"
    settings = {"data": options.data.name, "size": size, "seed": options.seed, "each": options.each}
    report = report_header(f"figure_4_{options.data.name}", settings, packages=("scikit-learn",))
    try:
        experiment = open_experiment(options.data, Task.PIP, options.size, seed=options.seed, bert=options.bert)
        trained = None if options.model is None else Checkpoint.from_pretrained(options.model)
        print(write_report({**report, **session_map(experiment, trained, options.each)}, options.out))
    except UbmError as error:
        sys.exit(f"error: {error}")


def session_map(experiment: Experiment, trained: Checkpoint | None = None, each: int = _EACH) -> dict[str, Any]:
    """The sessions, their coordinates in each model, the separation of the behaviours, and why it is so."""
    sessions, described = _select_sessions(experiment, each)
    models = {"UBM_wo_BERT": trained or experiment.pretrained(bert=False)}
    if experiment.bert is not None:
        models["BERT_mini"] = experiment.language_model(experiment.bert, experiment.size.bert_mini)
    vectors = {name: _vectors(experiment, model, sessions) for name, model in models.items()}
    categories, behaviours = ([session[key] for session in described] for key in ("category", "group"))
    within = {f"{name}, {WITHIN}": _less_means(array, categories) for name, array in vectors.items()}
    return {
        "sessions": described,
        "models": {name: _plane(array) for name, array in (vectors | within).items()},
        "separation": {
            name: round(float(silhouette_score(array, behaviours, metric="cosine")), 4)
            for name, array in (vectors | within).items()
        },
        "readings": {name: _readings(array, categories, behaviours) for name, array in vectors.items()},
    }


def _readings(vectors: FloatArray, categories: Sequence[str], behaviours: Sequence[str]) -> dict[str, Any]:
    """Where the categories and the behaviours are in the vectors: [S, D]."""
    neighbours = NearestOthers.find(unit_rows(vectors), _NEIGHBOURS).rows
    kinds = {"category": categories, "behaviour": behaviours}
    return {
        "share_of_variance": {kind: round(_share_between(vectors, labels), 4) for kind, labels in kinds.items()},
        "assortativity": {kind: assortativity(labels, neighbours) for kind, labels in kinds.items()},
        "behaviour_auroc": _auroc(vectors, behaviours),
    }


def _share_between(vectors: FloatArray, labels: Sequence[str]) -> float:
    """The share of the variance that lies between the means of the labels."""
    return 1 - float(_less_means(vectors, labels).var(axis=0).sum() / vectors.var(axis=0).sum())


def _less_means(vectors: FloatArray, labels: Sequence[str]) -> FloatArray:
    """The vectors without the mean vector of their label."""
    rest, named = vectors.copy(), np.asarray(labels)
    for label in np.unique(named):
        rest[named == label] -= rest[named == label].mean(axis=0)
    return rest


def _auroc(vectors: FloatArray, behaviours: Sequence[str]) -> float | None:
    """How well a linear classifier tells the behaviour of sessions that it has not read; None of too few."""
    bought = np.array(behaviours) == BUYERS
    folds = min(5, int(bought.sum()), int((~bought).sum()))
    if folds < 2:
        return None
    classifier = LogisticRegression(C=10.0, max_iter=2000)
    scores = cross_val_predict(classifier, vectors, bought, cv=folds, method="decision_function")
    return round(float(roc_auc_score(bought, scores)), 4)


def _select_sessions(experiment: Experiment, each: int) -> tuple[SessionTable, list[dict[str, Any]]]:
    """Up to `each` sessions of each behaviour in each of the two most frequent categories."""
    sessions = experiment.dataset.parts.test.sessions
    categories = experiment.corpus.products["category"].fill_null("").to_list()
    numbers: dict[tuple[str, str], list[int]] = {}
    for number in range(len(sessions)):
        actions, rows = _interactions(sessions, number)
        behaviour = _behaviour(actions)
        in_session = Counter(categories[row] for row in rows.tolist() if row < len(categories))
        if behaviour is not None and in_session:
            numbers.setdefault((in_session.most_common(1)[0][0], behaviour), []).append(number)
    # By the rarer behaviour: a category is of use only with sessions of both.
    both = {name: min(len(numbers.get((name, which), ())) for which in (BUYERS, LOOKERS)) for name, _ in numbers}
    common = sorted(both, key=lambda name: (-both[name], name))[:2]
    selected = {
        number: {"group": behaviour, "category": category}
        for category in common
        for behaviour in (BUYERS, LOOKERS)
        for number in numbers.get((category, behaviour), [])[:each]
    }
    if not common or both[common[0]] < 2:
        raise InvalidData(f"no category has two sessions of each behaviour, {BUYERS!r} and {LOOKERS!r}")
    described = [
        {"session_id": f"session {number}", **labels, "text": _titles(experiment, sessions, number)}
        for number, labels in selected.items()
    ]
    return sessions.take(np.array(list(selected))), described


def _interactions(sessions: SessionTable, number: int) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    interactions = slice(sessions.offsets[number], sessions.offsets[number + 1])
    return sessions.actions[interactions], sessions.rows[interactions]


def _behaviour(actions: NDArray[np.uint8]) -> str | None:
    """The behaviour of a session of three views or more; None where it is neither of the two."""
    third = np.flatnonzero(actions == Action.VIEW.code)[_VIEWS - 1 : _VIEWS]
    if not third.size:
        return None
    purchases = np.flatnonzero((actions == Action.ADD.code) | (actions == Action.BUY.code))
    if not purchases.size:
        return LOOKERS
    return BUYERS if purchases[0] > third[0] and actions[purchases[0]] == Action.ADD.code else None


def _titles(experiment: Experiment, sessions: SessionTable, number: int) -> list[str]:
    """Each interaction of a session, as its action and the product's title."""
    titles = experiment.corpus.products["title"]
    actions, rows = _interactions(sessions, number)
    return [
        f"{ACTIONS[action]} {titles[row] if row < titles.len() else 'something'}"
        for action, row in zip(actions.tolist(), rows.tolist(), strict=True)
    ]


def _vectors(experiment: Experiment, model: Checkpoint, sessions: SessionTable) -> FloatArray:
    texts = TokenizedCorpus.from_corpus(experiment.corpus, model.tokenizer).texts
    return Embedder(model, device=experiment.device).embed_table(texts, sessions)


def _plane(vectors: FloatArray) -> list[list[float]]:
    """The first two principal components, with scikit-learn's signs."""
    coordinates = PCA(2, svd_solver="full").fit_transform(vectors)
    return [[round(float(x), 4), round(float(y), 4)] for x, y in coordinates]


if __name__ == "__main__":
    main()
