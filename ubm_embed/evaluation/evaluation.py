"""A model's metrics on sessions that training has not read, beside simple baselines.

Letters: E examples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.tasks.dataset import TaskDataset
from ubm_embed.data.tasks.examples import TaskExamples, remaining_length_examples
from ubm_embed.data.tasks.leaks import LeakReport, pretraining_problem
from ubm_embed.data.tasks.split import Split
from ubm_embed.data.tasks.task import Task
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.errors import InvalidData
from ubm_embed.evaluation.baselines import CoOccurrence, DirectionalCounts, Popularity, RecentCoOccurrence, Scorer
from ubm_embed.evaluation.counted_model import CountedModel
from ubm_embed.evaluation.head_baselines import count_baselines
from ubm_embed.evaluation.metric_summary import MetricSummary
from ubm_embed.evaluation.next_item import SessionModel, ranks_of
from ubm_embed.evaluation.session_neighbours import SessionNeighbours
from ubm_embed.evaluation.unseen import CorpusOverlap, UnseenPart
from ubm_embed.inference.embedder import Embedder
from ubm_embed.inference.predictor import Predictor
from ubm_embed.model.checkpoint import Checkpoint
from ubm_embed.model.folder import RECORD_FILE, require_task
from ubm_embed.progress import Progress, silent

MODEL, OTHER = "UBM", "the other model"


@dataclass(frozen=True)
class Predictions:
    """One model's predictions for E examples.

    Attributes:
        name: of the model.
        values: [E] ranks of the targets (NIP), probabilities of a purchase (PIP) or lengths (RLP), of which a model may
            give three each, [E, 3] (see `length_metrics`).
        threshold: PIP, a purchase is predicted above it.
    """

    name: str
    values: NDArray[Any]
    threshold: float = 0.5


@dataclass(frozen=True)
class Evaluation:
    """Metrics of a model and of what it is compared with, and what they were measured on.

    Attributes:
        model_id, against: of the model and the other one.
        examples: E.
        corpus: how the corpus relates to the one that the model was trained on.
        rows: the model first.
    """

    task: Task
    model_id: str
    against: str | None
    examples: int
    split: Split
    corpus: CorpusOverlap
    leaks: LeakReport
    rows: tuple[MetricSummary, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "task": str(self.task),
            "model_id": self.model_id,
            "against": self.against,
            "examples": self.examples,
            "split": self.split.to_dict(),
            "corpus": self.corpus.to_dict(),
            "leaks": self.leaks.to_dict(),
            "rows": [row.to_dict() for row in self.rows],
        }


def evaluate(
    task: Task,
    corpus: Corpus,
    checkpoint: Checkpoint,
    *,
    against: Checkpoint | None = None,
    max_examples: int = 10_000,
    seed: int = 0,
    repeats: bool | None = None,
    min_interactions: int | None = None,
    rounds: int | None = None,
    device: str = "auto",
    progress: Progress = silent,
) -> Evaluation:
    """Measure a model on what training has not read of a corpus; the baselines count what training may have read.

    The corpus is the one that the model was trained on, or a later one with other sessions and products: see
    `UnseenPart`. Of a later one, products that training has never seen are candidates and targets like any other.

    Args:
        against: another model, in the same table, with p-values of a paired test against the first.
        max_examples: the limit above which examples are drawn at random.
        repeats, min_interactions: as in `TaskDataset`; None as in fine-tuning.
        rounds: as in `MetricSummary.from_predictions`.

    Raises:
        InvalidData: the corpus has no example of the task, nothing in it is known to be unseen, or the model has no
            head for the task or was fine-tuned for another.
        Conflict: the other model was trained with another split.
    """
    for model in (checkpoint, against):
        if model is not None:
            require_task(model, task)
    tokenized = TokenizedCorpus.from_corpus(corpus, checkpoint.tokenizer)
    unseen = UnseenPart.from_checkpoint(checkpoint, corpus, tokenized)
    other = tokenized if against is None else TokenizedCorpus.from_corpus(corpus, against.tokenizer)
    if against is not None:
        theirs = UnseenPart.from_checkpoint(against, corpus, other)
        unseen = unseen.shared_with(theirs, tokenized, against.folder and against.folder / RECORD_FILE)
    dataset = _dataset(task, tokenized, unseen, checkpoint, repeats=repeats, min_interactions=min_interactions)
    examples = dataset.test(max_examples=max_examples, seed=seed)
    evaluator = Evaluator(corpus, dataset, examples, device, progress)
    models = [[*evaluator.model(MODEL, checkpoint, tokenized.texts)]]
    if against is not None:
        models.append([*evaluator.model(OTHER, against, other.texts)])
    predictions = [first for first, *_ in models]  # of the models as they answer
    predictions += [one for _, *rest in models for one in rest]
    predictions += evaluator.baselines(seed)
    return Evaluation(
        task=task,
        model_id=checkpoint.model_id,
        against=None if against is None else against.model_id,
        examples=len(examples),
        split=unseen.split,
        corpus=unseen.overlap,
        leaks=_leaks(corpus, tokenized, unseen, checkpoint, against),
        rows=tuple(summarize(dataset, examples, one, predictions[0], seed=seed, rounds=rounds) for one in predictions),
    )


def summarize(
    dataset: TaskDataset,
    examples: TaskExamples,
    predictions: Predictions,
    reference: Predictions,
    *,
    seed: int,
    rounds: int | None = None,
) -> MetricSummary:
    """The metrics of one model, with p-values against `reference` unless it is that one.

    Raises:
        InvalidData: too few examples to say how sure the metrics are.
    """
    try:
        return MetricSummary.from_predictions(
            predictions.name,
            dataset,
            examples,
            predictions.values,
            threshold=predictions.threshold,
            reference=None if predictions is reference else reference.values,
            reference_threshold=reference.threshold,
            rounds=rounds,
            seed=seed,
        )
    except ValueError as error:  # most resamples cannot be measured, such as those of one class
        raise InvalidData(f"{len(examples)} examples of {dataset.task} are too few for an interval: {error}") from None


def _dataset(
    task: Task, tokenized: TokenizedCorpus, unseen: UnseenPart, checkpoint: Checkpoint, **given: int | None
) -> TaskDataset:
    settings = _settings(checkpoint, given)
    if not unseen.overlap.is_training_corpus:
        # How often training saw a product is not known here: the part that it may have read can be empty.
        settings["min_eval_count"] = 0
    return TaskDataset.from_parts(task, tokenized, unseen.parts, unseen.split.kind, **settings)


def _settings(checkpoint: Checkpoint, given: Mapping[str, int | None]) -> dict[str, int]:
    """Settings that are given, else those of fine-tuning, else none, which leaves the defaults."""
    tuned = checkpoint.record.get("finetuning")
    tuned = dict(tuned) if isinstance(tuned, dict) else {}
    tuned.setdefault("min_interactions", tuned.get("least"))  # its name before 1.0
    chosen = {name: tuned.get(name) if value is None else value for name, value in given.items()}
    return {name: value for name, value in chosen.items() if value is not None}


def _leaks(corpus: Corpus, tokenized: TokenizedCorpus, unseen: UnseenPart, *models: Checkpoint | None) -> LeakReport:
    """What the parts share; the first problem of any model's pre-training counts for all of them."""
    problems = [pretraining_problem(model.record) for model in models if model is not None]
    return LeakReport.from_parts(
        corpus,
        tokenized,
        unseen.split,
        unseen.parts,
        unseen.membership,
        pretraining_problem=next((problem for problem in problems if problem is not None), None),
    )


@dataclass(frozen=True)
class Evaluator:
    """A task's test examples, and the predictions of models and baselines for them."""

    corpus: Corpus
    dataset: TaskDataset
    examples: TaskExamples
    device: str = "auto"
    progress: Progress = silent

    def model(self, name: str, checkpoint: Checkpoint, texts: TokenTable) -> Iterator[Predictions]:
        """The predictions of a model; for NIP as it answers, with counts of the training part, and without them.

        Args:
            texts: of the corpus by the model's own tokenizer, with the same rows as those of the dataset.
        """
        if self.dataset.task is not Task.NIP:
            predictor = Predictor.from_checkpoint(checkpoint, device=self.device)
            yield Predictions(name, predictor.guesses(texts, self.examples.prefixes), predictor.threshold)
            return
        embedder = Embedder(checkpoint, device=self.device)
        model = SessionModel.from_embedder(embedder, self.corpus.products, texts, self.progress)
        if not len(training := self.dataset.parts.training):
            yield self.scorer(name, model)
            return
        yield self.scorer(name, CountedModel.fit(model, training, checkpoint.count_weights))
        yield self.scorer(f"{name} without counts", model)

    def scorer(self, name: str, scorer: Scorer) -> Predictions:
        """NIP: the ranks of the targets by a scorer of all products."""
        products, repeats = self.dataset.corpus.products, self.dataset.repeats
        ranks = ranks_of(scorer, self.examples, products, repeats=repeats, name=name, progress=self.progress)
        return Predictions(name, ranks)

    def baselines(self, seed: int) -> Iterator[Predictions]:
        """RAND for PIP, FIXED for RLP (4.1.3), what counting gives for both; five that count for NIP.

        Those that count training sessions are left out where the corpus has none, as a later one may.
        """
        training, products = self.dataset.parts.training, self.dataset.corpus.products
        rng, count = np.random.default_rng([seed, 7]), len(self.examples)
        match self.dataset.task:
            case Task.NIP if len(training):
                yield self.scorer("co-occurrence", CoOccurrence.fit(training, products))
                yield self.scorer("recent co-occurrence", RecentCoOccurrence.fit(training, products))
                yield self.scorer("directional counting", DirectionalCounts.fit(training, products))
                yield self.scorer("VMIS-kNN", SessionNeighbours.fit(training, products))
                yield self.scorer("POP", Popularity.fit(training, products))
            case Task.PIP:
                yield Predictions("RAND", rng.random(count, dtype=np.float32))
                yield from self._count_baselines(seed)
            case Task.RLP:
                lengths = remaining_length_examples(
                    training, rng, min_interactions=self.dataset.min_interactions
                ).targets
                if lengths.size:
                    yield Predictions("FIXED", np.full(count, lengths.mean(), dtype=np.float32))
                yield from self._count_baselines(seed)

    def _count_baselines(self, seed: int) -> Iterator[Predictions]:
        return (Predictions(*row) for row in count_baselines(self.dataset, self.examples, seed))
