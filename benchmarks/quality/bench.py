"""What all rows of a table share, and how each kind of row is trained and asked.

Every row is trained by the same loop on the same questions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from benchmarks.quality.baselines.mean_text import MeanText
from benchmarks.quality.baselines.prod2bert import Prod2BERT, pretrain_masked_items
from benchmarks.quality.starts import Starts
from ubm_embed.data.arrays import FloatArray
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.tasks.dataset import TaskDataset
from ubm_embed.data.tasks.examples import TaskExamples
from ubm_embed.data.tasks.task import SplitKind, Task
from ubm_embed.evaluation.evaluation import Answers
from ubm_embed.evaluation.next_item import ranks_of
from ubm_embed.evaluation.uniformity import alignment, uniformity
from ubm_embed.model.checkpoint import Checkpoint
from ubm_embed.model.heads import Head, PurchaseIntentionHead, head_of
from ubm_embed.model.tower import TEMPERATURE, TextInteractions, Tower, UBMTower
from ubm_embed.training.finetuning.config import FinetuningConfig
from ubm_embed.training.finetuning.finetune import cached_interactions, objective_of, task_objective
from ubm_embed.training.finetuning.finetuner import Finetuner
from ubm_embed.training.finetuning.objectives import NextItem, PurchaseIntention, RemainingLength
from ubm_embed.training.pretraining.views import session_views
from ubm_embed.training.recipes import Recipe, finetuning_config

_GEOMETRY_SESSIONS = 512


@dataclass(frozen=True)
class Trained:
    """A row, trained and asked.

    Attributes:
        answers: to the test part.
        parameters: that fine-tuning trained.
        finetuning: how: steps at most, batch, rate and the rest.
        alignment, uniformity: of the test part's sessions and their masked copies, by the model before fine-tuning
            (4.6); None for rows that start from no encoder of text.
    """

    answers: Answers
    parameters: int
    finetuning: dict[str, Any]
    alignment: float | None = None
    uniformity: float | None = None


@dataclass(frozen=True, kw_only=True)
class Bench(Starts):
    """What all rows of a table share: the corpus, the split, the questions, the size, the checkpoints at hand."""

    questions: TaskDataset
    electra: str | None = None

    @cached_property
    def examples(self) -> TaskExamples:
        """The questions of the test part."""
        published = self.split.kind is SplitKind.LEAVE_ONE_OUT  # of which every question is asked
        return self.questions.test(max_examples=2**31 if published else self.size.questions, seed=self.seed)

    @property
    def task(self) -> Task:
        """Which task."""
        return self.questions.task

    def finetuning(self, family: str, **settings: Any) -> FinetuningConfig:
        """How a family of rows is fine-tuned."""
        everybody = ("all", *(["next item"] if self.task is Task.NIP else []))
        names = (*everybody, family, *([f"{family}, products trained"] if settings.get("train_products") else []))
        for name in reversed(names):
            settings = {**self.size.finetuning.get(name, {}), **settings}
        return FinetuningConfig(task=self.task, seed=self.seed, **settings)

    def recipe_finetuning(self, recipe: Recipe) -> FinetuningConfig:
        """How a recipe fine-tunes, within the size's limits."""
        limits = self.size.recipes[recipe].get("finetuning", {})
        return finetuning_config(recipe, self.task, seed=self.seed, **limits)

    def of_tower(self, name: str, tower: Tower, dimension: int, family: str) -> Trained:
        """Train and ask a tower over the questions' own rows."""
        torch.manual_seed(self.seed)
        # A causal tower is asked at every place at once, as our recipe's model is.
        all_positions = {"all_positions": True} if self.task is Task.NIP and hasattr(tower, "beginnings") else {}
        config = self.finetuning(family, **all_positions)
        questions = self._posed(config)
        objective = task_objective(tower, self._head(dimension), questions, config)
        return self._train(name, objective, questions, config)

    def _head(self, dimension: int) -> Head | None:
        head = head_of(self.task, dimension)
        return None if head is None else head.to(self.device)

    def of_checkpoint(
        self, name: str, start: Checkpoint, config: FinetuningConfig, *, as_printed: bool = False
    ) -> Trained:
        """Fine-tune and ask a UBM, pre-trained or not.

        Args:
            as_printed: score by h' V^T, as `of_language_model` does.
        """
        questions = self._questions(start, config)
        _, objective = objective_of(self.corpus, start, questions, config, self.device, self.progress)
        if as_printed and isinstance(objective.tower, UBMTower) and self.task is Task.NIP:
            objective.tower.temperature, objective.tower.frozen = None, self._product_vectors(start, questions.corpus)
        return self._with_geometry(self._train(name, objective, questions, config), start, questions.corpus)

    def of_language_model(self, name: str, start: Checkpoint, **settings: Any) -> Trained:
        """Fine-tune and ask a language model: as a whole, or with `only_session_encoder` one layer over it.

        As a whole its scores are h' V^T as printed (3.4.3), unless products are trained: vectors that no contrastive
        training has spread out are nearly parallel, and their cosines nearly equal.
        """
        config = self.finetuning("language", **settings)
        questions = self._questions(start, config)
        fixed = self.task is Task.NIP and not config.train_products
        frozen = self._product_vectors(start, questions.corpus) if fixed else None
        temperature = TEMPERATURE if config.train_products else None
        if not config.only_session_encoder:
            _, objective = objective_of(self.corpus, start, questions, config, self.device, self.progress)
            assert isinstance(objective.tower, UBMTower)
            objective.tower.temperature, objective.tower.frozen = temperature, frozen
            return self._with_geometry(self._train(name, objective, questions, config), start, questions.corpus)
        torch.manual_seed(self.seed)
        interactions = TextInteractions(start.model.interaction_encoder, start.tokenizer, questions.corpus.texts)
        tower = MeanText(
            cached_interactions(interactions, questions.corpus, products_too=config.train_products),
            max_interactions=self.size.max_interactions,
            frozen=frozen,
        ).to(self.device)
        objective = task_objective(tower, self._head(start.model.config.dimension), questions, config)
        return self._with_geometry(self._train(name, objective, questions, config), start, questions.corpus)

    def _questions(self, start: Checkpoint, config: FinetuningConfig) -> TaskDataset:
        """The same questions over the texts as this model's tokenizer has them."""
        return replace(self._posed(config), corpus=TokenizedCorpus.from_corpus(self.corpus, start.tokenizer))

    def _posed(self, config: FinetuningConfig) -> TaskDataset:
        """The same questions to choose and judge by; to train on, those that the settings name."""
        return replace(self.questions, min_count=min(self.questions.min_count, config.min_count))

    @torch.no_grad()
    def _product_vectors(self, start: Checkpoint, corpus: TokenizedCorpus) -> Tensor:
        """V as the model has it, of whatever length: [M, D]."""
        model = start.model.to(self.device).eval()
        tower = UBMTower(model, TextInteractions(model.interaction_encoder, start.tokenizer, corpus.texts), None)
        parts = np.array_split(np.arange(corpus.products), 1 + corpus.products // 512)
        return torch.cat([tower.products(part) for part in parts])

    def _with_geometry(self, trained: Trained, start: Checkpoint, corpus: TokenizedCorpus) -> Trained:
        aligned, uniform = self._geometry(start, corpus)
        return replace(trained, alignment=aligned, uniformity=uniform)

    def _train(
        self,
        name: str,
        objective: NextItem | PurchaseIntention | RemainingLength,
        questions: TaskDataset,
        config: FinetuningConfig,
    ) -> Trained:
        weights = sum(weight.numel() for weight in objective.parameters() if weight.requires_grad)
        best = Finetuner(objective, questions, config, progress=self.progress).train()
        if isinstance(objective, NextItem):
            answers = Answers(name, ranks_of(_Scorer(objective), self.examples, questions.corpus.products))
        else:
            threshold = objective.head.threshold if isinstance(objective.head, PurchaseIntentionHead) else 0.5
            answers = Answers(name, objective.answers(self.examples.prefixes), threshold)
        return Trained(answers, weights, {**config.model_dump(mode="json"), "best_step": best.step, **best.shown})

    @torch.no_grad()
    def _geometry(self, start: Checkpoint, corpus: TokenizedCorpus) -> tuple[float, float]:
        """Alignment with masked copies, and uniformity, of test sessions."""
        rng = np.random.default_rng([self.seed, 8])
        chosen = np.sort(rng.permutation(len(self.examples))[:_GEOMETRY_SESSIONS])
        sessions = self.examples.prefixes.take(chosen).last(start.model.config.max_interactions)
        masked = frozenset({"action_and_item_token_masking"})
        views = session_views(start.tokenizer, corpus.texts, sessions, masked, rng).to(start.model.device)
        vectors = start.model.eval()(views.batch)
        pairs = views.pairs["action_and_item_token_masking"]
        anchors = vectors[pairs.anchors]
        return alignment(anchors, vectors[pairs.positives]).item(), uniformity(anchors).item()

    def masked_items(self, tower: Prod2BERT) -> None:
        """Prod2BERT's pre-training, on the training part."""
        pretrain_masked_items(
            tower,
            self.questions.parts.training,
            steps=self.size.masked_items,
            batch=self.size.finetuning["all"]["batch"],
            learning_rate=self.finetuning("masked ids").learning_rate,
            seed=self.seed,
            progress=self.progress,
        )


@dataclass(frozen=True)
class _Scorer:
    """An objective, asked as a scorer is."""

    objective: NextItem

    @cached_property
    def vectors(self) -> Tensor:
        """[M, D], once for all questions."""
        return self.objective.product_vectors()

    def scores(self, prefixes: SessionTable) -> FloatArray:
        """[E, M]."""
        with torch.no_grad():
            scores = self.objective.scores(prefixes, np.arange(self.objective.products), self.vectors)
        return cast(FloatArray, scores.cpu().numpy())
