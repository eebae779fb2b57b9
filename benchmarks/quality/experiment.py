"""One experiment: a corpus, its split and examples, the sizes, and the models that the rows of a table start from.

A row starts from random weights, from our pre-training, or from a language model.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.quality.baselines.domain_adaptation import adapt_to_domain
from benchmarks.quality.sizes import SIZES, Size
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.tables.json_files import read_json_object
from ubm_embed.data.tasks.dataset import TaskDataset
from ubm_embed.data.tasks.examples import TaskExamples
from ubm_embed.data.tasks.split import Split
from ubm_embed.data.tasks.task import SplitKind, Task
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.model.checkpoint import Checkpoint
from ubm_embed.model.config import CONFIG_FILE
from ubm_embed.model.start import checkpoint_folder, fresh_model, model_from_checkpoint
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.progress import Progress, silent
from ubm_embed.training.finetuning.config import FinetuningConfig
from ubm_embed.training.pretraining.config import LOSSES, PretrainingConfig
from ubm_embed.training.pretraining.pretrain import pretrain
from ubm_embed.training.recipes import Recipe, finetuning_config, model_sizes, pretraining_config


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What all rows of a table share; models that several rows start from are trained once.

    Attributes:
        size: how large models are and how long they train.
        dataset: examples of the task, in the parts of the split.
        bert, electra: folders or hub names of language models; None if not given.
    """

    corpus: Corpus
    split: Split
    dataset: TaskDataset
    size: Size
    seed: int
    device: str = "cpu"
    bert: str | None = None
    electra: str | None = None
    progress: Progress = silent
    _checkpoints: dict[tuple[Any, ...], Checkpoint] = field(default_factory=dict)

    @cached_property
    def phrases(self) -> pl.Series:
        """Search phrases of the training part, which vocabularies are learned from: the test part stays unseen."""
        return self.split.training_phrases(self.corpus)

    @cached_property
    def examples(self) -> TaskExamples:
        """The questions of the test part."""
        published = self.split.kind is SplitKind.LEAVE_ONE_OUT  # published figures are over all questions
        return self.dataset.test(max_examples=2**31 if published else self.size.questions, seed=self.seed)

    @property
    def task(self) -> Task:
        """The task of the examples."""
        return self.dataset.task

    def finetuning(self, family: str, **settings: Any) -> FinetuningConfig:
        """Settings of fine-tuning for a family of rows: those for all, then the family's, then `settings`."""
        shared = ("all", *(["next item"] if self.task is Task.NIP else []))
        names = (*shared, family, *([f"{family}, products trained"] if settings.get("train_products") else []))
        for name in reversed(names):
            settings = {**self.size.finetuning.get(name, {}), **settings}
        return FinetuningConfig(task=self.task, seed=self.seed, **settings)

    def recipe_finetuning(self, recipe: Recipe) -> FinetuningConfig:
        """A recipe's settings of fine-tuning, within the limits of the size; all rows learn from the training part."""
        limits = {"refit": False, **self.size.recipes[recipe].get("finetuning", {})}
        return finetuning_config(recipe, self.task, seed=self.seed, **limits)

    def pretrained(self, *, bert: bool, without: str | None = None) -> Checkpoint:
        """A UBM, pre-trained in two stages on the training part; shared by the rows that start from it.

        Args:
            without: name of a loss to leave out (4.4).
        """
        if (bert, without) not in self._checkpoints:
            model, tokenizer = self.from_bert() if bert else self.scratch()
            config = PretrainingConfig(
                seed=self.seed,
                holdout=self.split.holdout,
                split=self.split.kind,
                losses=tuple(loss for loss in LOSSES if loss != without),
                **(self.size.bert_pretraining if bert else self.size.pretraining),
            )
            self._checkpoints[bert, without] = self._pretrain(model, tokenizer, config)
        return self._checkpoints[bert, without]

    def recipe_pretrained(self, recipe: Recipe) -> Checkpoint:
        """A UBM from scratch, pre-trained by a recipe within the limits of the size; shared by its rows."""
        if (recipe,) not in self._checkpoints:
            self._checkpoints[recipe,] = self._pretrain_recipe(recipe)
        return self._checkpoints[recipe,]

    def _pretrain_recipe(self, recipe: Recipe) -> Checkpoint:
        limits = self.size.recipes[recipe]
        sizes = {"max_interactions": self.size.max_interactions, **limits.get("model", {})}
        settings = model_sizes(recipe, **sizes).model_dump()
        model, tokenizer = fresh_model(self.corpus, phrases=self.phrases, seed=self.seed, **settings)
        split = {"holdout": self.split.holdout, "split": self.split.kind}
        # Some corpora have no purchases, and all rows must read the same sessions.
        settings = {"purchases_only": False, **split, **limits.get("pretraining", {})}
        config = pretraining_config(recipe, seed=self.seed, **settings)
        return self._pretrain(model, tokenizer, config)

    def scratch(self) -> tuple[UserBehaviorModel, InteractionTokenizer]:
        """An untrained UBM."""
        return fresh_model(
            self.corpus,
            phrases=self.phrases,
            seed=self.seed,
            max_interactions=self.size.max_interactions,
            **self.size.encoder,
        )

    def from_bert(self) -> tuple[UserBehaviorModel, InteractionTokenizer]:
        """A UBM whose interaction encoder has pre-trained layers."""
        return model_from_checkpoint(
            self._required(self.bert),
            self.corpus,
            seed=self.seed,
            max_interactions=self.size.max_interactions,
            **self.size.bert,
        )

    def language_model(self, source: str | None, layers: int) -> Checkpoint:
        """A pre-trained language model cut to `layers`; a session is the mean of its interactions (4.1.3)."""
        width = int(read_json_object(checkpoint_folder(self._required(source)) / CONFIG_FILE)["hidden_size"])
        model, tokenizer = model_from_checkpoint(
            self._required(source),
            self.corpus,
            seed=self.seed,
            layers=layers,
            session_layers=0,
            dimension=width,
            max_interactions=self.size.max_interactions,
        )
        return Checkpoint(model.to(self.device), tokenizer, "language-model")

    def adapted(self, checkpoint: Checkpoint, training: SessionTable) -> Checkpoint:
        """The same checkpoint, trained in place on masked words of these sessions."""
        corpus = TokenizedCorpus.from_corpus(self.corpus, checkpoint.tokenizer)
        adapt_to_domain(
            checkpoint.model.interaction_encoder,
            checkpoint.tokenizer,
            corpus.texts,
            training,
            steps=self.size.adaptation,
            seed=self.seed,
            progress=self.progress,
        )
        return checkpoint

    def _pretrain(
        self, model: UserBehaviorModel, tokenizer: InteractionTokenizer, config: PretrainingConfig
    ) -> Checkpoint:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "model"
            checkpoint = pretrain(
                self.corpus, model, tokenizer, out, config, device=self.device, progress=self.progress
            )
        return replace(checkpoint, model=checkpoint.model.to(self.device), folder=None)

    def _required(self, source: str | None) -> str:
        assert source is not None, "rows are left out where their checkpoint is missing"
        return source


def open_experiment(
    data: Path,
    task: Task,
    size: str,
    *,
    split: str = "auto",
    holdout: float = 0.2,
    seed: int = 0,
    device: str = "cpu",
    bert: str | None = None,
    electra: str | None = None,
    sessions: int | None = None,
) -> Experiment:
    """An experiment on the corpus folder `data`; `size` names one of `SIZES`.

    Args:
        sessions: how many of the sessions make up the shop, with the products in them; None for all of both.

    Raises:
        UbmError: the corpus cannot be read, or does not fit the split or the task.
    """
    corpus = Corpus.open(data) if sessions is None else smaller_shop(Corpus.open(data), sessions)
    chosen = Split.choose(corpus.session_times(), holdout=holdout, kind=split)
    phrases = chosen.training_phrases(corpus)
    _, tokenizer = fresh_model(corpus, phrases=phrases, seed=seed, **SIZES[size].encoder)
    tokenized = TokenizedCorpus.from_corpus(corpus, tokenizer)
    return Experiment(
        corpus=corpus,
        split=chosen,
        dataset=TaskDataset.from_split(task, tokenized, chosen),
        size=SIZES[size],
        seed=seed,
        device=device,
        bert=bert,
        electra=electra,
        progress=_Progress(),
    )


def smaller_shop(corpus: Corpus, sessions: int) -> Corpus:
    """A shop of some of the sessions, the same ones each time, and the products in them."""
    ids = corpus.interactions["session_id"].unique(maintain_order=True)
    part = corpus.select_sessions(ids.sample(min(sessions, len(ids)), seed=0))
    seen = pl.col("product_id").is_in(part.interactions["product_id"].drop_nulls().implode())
    return Corpus(corpus.products.filter(seen), part.interactions)


@dataclass
class _Progress:
    """Prints a line every 15 seconds."""

    last: float = 0.0

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None:
        if time.monotonic() - self.last > 15 or done == total:
            self.last = time.monotonic()
            print(f"  {what}: {done} of {total} {note}", file=sys.stderr, flush=True)
