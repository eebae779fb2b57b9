"""The models that the rows of a table start from: at random, pre-trained by us, or somebody's language model."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.quality.baselines.domain_adaptation import adapt_to_domain
from benchmarks.quality.sizes import Size
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.tables.json_object import read_json_object
from ubm_embed.data.tasks.split import Split
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.model.checkpoint import Checkpoint
from ubm_embed.model.start import checkpoint_folder, fresh_model, model_from
from ubm_embed.model.user_behavior_model import CONFIG_FILE, UserBehaviorModel
from ubm_embed.progress import Progress, silent
from ubm_embed.training.pretraining.config import LOSSES, PretrainingConfig
from ubm_embed.training.pretraining.pretrain import pretrain
from ubm_embed.training.recipes import Recipe, model_sizes, pretraining_config


@dataclass(frozen=True, kw_only=True)
class Starts:
    """What they are made of, and those that were made."""

    corpus: Corpus
    split: Split
    size: Size
    seed: int
    device: str = "cpu"
    bert: str | None = None
    progress: Progress = silent
    _made: dict[tuple[Any, ...], Checkpoint] = field(default_factory=dict)

    def pretrained(self, *, bert: bool, without: str | None = None) -> Checkpoint:
        """A UBM, pre-trained in two stages on the training part; rows that start from the same one share it.

        Args:
            without: a loss to leave out (4.4).
        """
        if (bert, without) not in self._made:
            model, tokenizer = self.from_bert() if bert else self.scratch()
            config = PretrainingConfig(
                seed=self.seed,
                holdout=self.split.holdout,
                split=self.split.kind,
                losses=tuple(loss for loss in LOSSES if loss != without),
                **(self.size.bert_pretraining if bert else self.size.pretraining),
            )
            self._made[bert, without] = self._pretrain(model, tokenizer, config)
        return self._made[bert, without]

    def recipe_pretrained(self, recipe: Recipe) -> Checkpoint:
        """A UBM from scratch, pre-trained by a recipe within the size's limits; rows that start from it share it."""
        if (recipe,) not in self._made:
            self._made[recipe,] = self._pretrained_by(recipe)
        return self._made[recipe,]

    def _pretrained_by(self, recipe: Recipe) -> Checkpoint:
        limits = self.size.recipes[recipe]
        sizes = {"max_interactions": self.size.max_interactions, **limits.get("model", {})}
        model, tokenizer = fresh_model(self.corpus, seed=self.seed, **model_sizes(recipe, **sizes).model_dump())
        split = {"holdout": self.split.holdout, "split": self.split.kind}
        # Not every corpus has purchases, and all rows read the same sessions.
        settings = {"purchases_only": False, **split, **limits.get("pretraining", {})}
        config = pretraining_config(recipe, seed=self.seed, **settings)
        return self._pretrain(model, tokenizer, config)

    def scratch(self) -> tuple[UserBehaviorModel, InteractionTokenizer]:
        """A UBM of random weights."""
        return fresh_model(
            self.corpus, seed=self.seed, max_interactions=self.size.max_interactions, **self.size.encoder
        )

    def from_bert(self) -> tuple[UserBehaviorModel, InteractionTokenizer]:
        """A UBM whose interaction encoder starts from pre-trained layers."""
        return model_from(
            self._needed(self.bert),
            self.corpus,
            seed=self.seed,
            max_interactions=self.size.max_interactions,
            **self.size.bert,
        )

    def language_model(self, source: str | None, layers: int) -> Checkpoint:
        """A pre-trained language model; a session is the mean of its interactions (4.1.3)."""
        width = int(read_json_object(checkpoint_folder(self._needed(source)) / CONFIG_FILE)["hidden_size"])
        model, tokenizer = model_from(
            self._needed(source),
            self.corpus,
            seed=self.seed,
            layers=layers,
            session_layers=0,
            dimension=width,
            max_interactions=self.size.max_interactions,
        )
        return Checkpoint(model.to(self.device), tokenizer, "language-model")

    def adapted(self, checkpoint: Checkpoint, training: SessionTable) -> Checkpoint:
        """The same after masked-language training on these sessions."""
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
            made = pretrain(self.corpus, model, tokenizer, out, config, device=self.device, progress=self.progress)
        return replace(made, model=made.model.to(self.device), folder=None)

    def _needed(self, source: str | None) -> str:
        assert source is not None, "rows that need a checkpoint are left out without one"
        return source
