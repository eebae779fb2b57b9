"""How each kind of row is trained and evaluated: the same loop on the same questions for all of them.

Letters: E questions, M products, D width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from benchmarks.quality.baselines.mean_text import MeanText
from benchmarks.quality.experiment import Experiment
from ubm_embed.data.arrays import FloatArray
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.tasks.dataset import TaskDataset
from ubm_embed.data.tasks.task import Task
from ubm_embed.evaluation.evaluation import Predictions
from ubm_embed.evaluation.next_item import ranks_of
from ubm_embed.evaluation.uniformity import alignment, uniformity
from ubm_embed.model.checkpoint import Checkpoint
from ubm_embed.model.heads import Head, PurchaseIntentionHead, build_head
from ubm_embed.model.tower import TEMPERATURE, TextInteractions, Tower, UBMTower
from ubm_embed.training.finetuning.config import FinetuningConfig
from ubm_embed.training.finetuning.finetune import objective_of, task_objective
from ubm_embed.training.finetuning.finetuner import Finetuner
from ubm_embed.training.finetuning.head_objectives import HeadObjective
from ubm_embed.training.finetuning.interactions import cached_interactions
from ubm_embed.training.finetuning.objectives import NextItem
from ubm_embed.training.pretraining.views import session_views

_GEOMETRY_SESSIONS = 512


@dataclass(frozen=True)
class RowResult:
    """A trained row and its predictions.

    Attributes:
        predictions: its predictions for the test part.
        parameters: number of weights that fine-tuning trained.
        finetuning: the settings of fine-tuning, with the best step and its metrics.
        alignment, uniformity: of the test part's sessions and their masked copies, by the model before fine-tuning
            (4.6); None for rows without a text encoder to start from.
    """

    predictions: Predictions
    parameters: int
    finetuning: dict[str, Any]
    alignment: float | None = None
    uniformity: float | None = None


def train_tower(experiment: Experiment, name: str, tower: Tower, dimension: int, family: str) -> RowResult:
    """Train and evaluate a tower over the rows of the experiment's corpus.

    Args:
        dimension: D of the tower's vectors.
        family: of settings in `Size.finetuning`.
    """
    torch.manual_seed(experiment.seed)
    # A causal tower is trained at all positions of a session in one pass, as the model of our recipe is.
    all_positions = {"all_positions": True} if experiment.task is Task.NIP and hasattr(tower, "prefixes") else {}
    config = experiment.finetuning(family, **all_positions)
    dataset = _with_min_count(experiment.dataset, config)
    objective = task_objective(tower, _head(experiment, dimension), dataset, config)
    return _train(experiment, name, objective, dataset, config)


def _head(experiment: Experiment, dimension: int) -> Head | None:
    head = build_head(experiment.task, dimension)
    return None if head is None else head.to(experiment.device)


def train_checkpoint(
    experiment: Experiment, name: str, start: Checkpoint, config: FinetuningConfig, *, as_printed: bool = False
) -> RowResult:
    """Fine-tune and evaluate a UBM, pre-trained or not.

    Args:
        as_printed: score by h' V^T (3.4.3) in place of cosines, as `train_language_model` does.
    """
    dataset = _dataset_for(experiment, start, config)
    _, objective = objective_of(experiment.corpus, start, dataset, config, experiment.device, experiment.progress)
    if as_printed and isinstance(objective.tower, UBMTower) and experiment.task is Task.NIP:
        objective.tower.temperature = None
        objective.tower.frozen = _product_vectors(experiment, start, dataset.corpus)
    return _train(experiment, name, objective, dataset, config, start)


def train_language_model(experiment: Experiment, name: str, start: Checkpoint, **settings: Any) -> RowResult:
    """Fine-tune and evaluate a language model: all of it, or with `only_session_encoder` one layer on top.

    Unless products are trained, its scores are h' V^T as printed (3.4.3): without contrastive training vectors are
    nearly parallel, and their cosines nearly equal.
    """
    config = experiment.finetuning("language", **settings)
    dataset = _dataset_for(experiment, start, config)
    fixed = experiment.task is Task.NIP and not config.train_products
    frozen = _product_vectors(experiment, start, dataset.corpus) if fixed else None
    temperature = TEMPERATURE if config.train_products else None
    if not config.only_session_encoder:
        _, objective = objective_of(experiment.corpus, start, dataset, config, experiment.device, experiment.progress)
        assert isinstance(objective.tower, UBMTower)
        objective.tower.temperature, objective.tower.frozen = temperature, frozen
        return _train(experiment, name, objective, dataset, config, start)
    torch.manual_seed(experiment.seed)
    interactions = TextInteractions(start.model.interaction_encoder, start.tokenizer, dataset.corpus.texts)
    tower = MeanText(
        cached_interactions(interactions, dataset.corpus, products_too=config.train_products),
        max_interactions=experiment.size.max_interactions,
        frozen=frozen,
    ).to(experiment.device)
    objective = task_objective(tower, _head(experiment, start.model.config.dimension), dataset, config)
    return _train(experiment, name, objective, dataset, config, start)


def _dataset_for(experiment: Experiment, start: Checkpoint, config: FinetuningConfig) -> TaskDataset:
    """The same examples with the tokens of this model's tokenizer."""
    corpus = TokenizedCorpus.from_corpus(experiment.corpus, start.tokenizer)
    return replace(_with_min_count(experiment.dataset, config), corpus=corpus)


def _with_min_count(dataset: TaskDataset, config: FinetuningConfig) -> TaskDataset:
    """The same validation and test examples; training examples as the settings want them."""
    return replace(dataset, min_count=min(dataset.min_count, config.min_count))


@torch.no_grad()
def _product_vectors(experiment: Experiment, start: Checkpoint, corpus: TokenizedCorpus) -> Tensor:
    """V as the model computes it, not normalised: [M, D]."""
    model = start.model.to(experiment.device).eval()
    tower = UBMTower(model, TextInteractions(model.interaction_encoder, start.tokenizer, corpus.texts), None)
    parts = np.array_split(np.arange(corpus.products), 1 + corpus.products // 512)
    return torch.cat([tower.products(part) for part in parts])


def _train(
    experiment: Experiment,
    name: str,
    objective: NextItem | HeadObjective,
    dataset: TaskDataset,
    config: FinetuningConfig,
    start: Checkpoint | None = None,
) -> RowResult:
    weights = sum(weight.numel() for weight in objective.parameters() if weight.requires_grad)
    best = Finetuner(objective, dataset, config, progress=experiment.progress).train()
    if isinstance(objective, NextItem):
        predictions = Predictions(name, ranks_of(_Scorer(objective), experiment.examples, dataset.corpus.products))
    else:
        threshold = objective.head.threshold if isinstance(objective.head, PurchaseIntentionHead) else 0.5
        predictions = Predictions(name, objective.predict(experiment.examples.prefixes), threshold)
    settings = {**config.model_dump(mode="json"), "best_step": best.step, **best.metrics}
    if start is None:
        return RowResult(predictions, weights, settings)
    return RowResult(predictions, weights, settings, *_geometry(experiment, start, dataset.corpus))


@torch.no_grad()
def _geometry(experiment: Experiment, start: Checkpoint, corpus: TokenizedCorpus) -> tuple[float, float]:
    """Alignment of test sessions with their masked copies, and their uniformity."""
    rng = np.random.default_rng([experiment.seed, 8])
    chosen = np.sort(rng.permutation(len(experiment.examples))[:_GEOMETRY_SESSIONS])
    sessions = experiment.examples.prefixes.take(chosen).last(start.model.config.max_interactions)
    masked = frozenset({"action_and_item_token_masking"})
    views = session_views(start.tokenizer, corpus.texts, sessions, masked, rng).to(start.model.device)
    vectors = start.model.eval()(views.batch).numpy(force=True)
    pairs = views.pairs["action_and_item_token_masking"]
    anchors = vectors[pairs.anchors.numpy(force=True)]
    return alignment(anchors, vectors[pairs.positives.numpy(force=True)]), uniformity(anchors)


@dataclass(frozen=True)
class _Scorer:
    """A trained objective as a `Scorer`."""

    objective: NextItem

    @cached_property
    def vectors(self) -> Tensor:
        """Product vectors [M, D], computed once."""
        return self.objective.product_vectors()

    def scores(self, prefixes: SessionTable) -> FloatArray:
        """As `Scorer`: [E, M]."""
        with torch.no_grad():
            scores = self.objective.scores(prefixes, np.arange(self.objective.products), self.vectors)
        return cast(FloatArray, scores.cpu().numpy())
