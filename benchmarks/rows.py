"""The rows of the paper's table 1, and what the field would ask for beside them: how each is made and trained.

Every row is trained by the same loop on the same questions. Rows over text name a checkpoint to start from where they
have one; rows over ids and the static text are towers of their own (`benchmarks.baselines`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.baselines.domain_adaptation import adapt_to_domain
from benchmarks.baselines.gru4rec import GRU4Rec
from benchmarks.baselines.item_tower import ItemTower
from benchmarks.baselines.prod2bert import Prod2BERT, pretrain_masked_items
from benchmarks.baselines.sasrec import SASRec
from benchmarks.baselines.sr_gnn import SRGNN
from benchmarks.baselines.static_text import StaticText
from benchmarks.sizes import Size
from ubm_embed.data.arrays import FloatArray
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.json_object import read_json_object
from ubm_embed.data.questions import Questions
from ubm_embed.data.session_table import SessionTable
from ubm_embed.data.split import Split
from ubm_embed.data.tasks import Examples, Task
from ubm_embed.data.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.tokenizer import InteractionTokenizer
from ubm_embed.evaluation.evaluation import Answers
from ubm_embed.evaluation.next_item import ranks_of
from ubm_embed.evaluation.uniformity import alignment, uniformity
from ubm_embed.model.checkpoint import Checkpoint
from ubm_embed.model.heads import PurchaseIntentionHead, head_of
from ubm_embed.model.interaction_encoder import MAX_LAYERS
from ubm_embed.model.start import checkpoint_folder, fresh_model, model_from
from ubm_embed.model.tower import Tower
from ubm_embed.model.user_behavior_model import CONFIG_FILE, UserBehaviorModel
from ubm_embed.progress import Progress, silent
from ubm_embed.training.config import PretrainingConfig
from ubm_embed.training.finetuning import Finetuner, objective_of, task_objective
from ubm_embed.training.finetuning_config import FinetuningConfig
from ubm_embed.training.objectives import NextItem, PurchaseIntention, RemainingLength
from ubm_embed.training.pretraining import pretrain
from ubm_embed.training.stages import LOSSES
from ubm_embed.training.views import session_views

_MAP_SESSIONS = 512


@dataclass(frozen=True)
class Trained:
    """A row, trained and asked.

    Attributes:
        answers: to the test part.
        alignment, uniformity: of the test part's sessions and their masked copies, by the model before fine-tuning
            (4.6); None for rows that read no text.
        parameters: that were trained.
    """

    answers: Answers
    alignment: float | None = None
    uniformity: float | None = None
    parameters: int = 0


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What all rows of a table share: the corpus, the split, the questions, the size, the checkpoints at hand."""

    corpus: Corpus
    split: Split
    questions: Questions
    size: Size
    seed: int
    device: str = "cpu"
    bert: str | None = None
    electra: str | None = None
    progress: Progress = silent

    @cached_property
    def examples(self) -> Examples:
        """The questions of the test part."""
        return self.questions.test(most=self.size.questions, seed=self.seed)

    @property
    def task(self) -> Task:
        """Which task."""
        return self.questions.task

    def finetuning(self, family: str, **settings: Any) -> FinetuningConfig:
        """How a family of rows is fine-tuned."""
        shared, own = (self.size.finetuning.get(name, {}) for name in ("all", family))
        return FinetuningConfig(task=self.task, seed=self.seed, **{**shared, **own, **settings})

    def of_tower(self, name: str, tower: Tower, dimension: int, family: str) -> Trained:
        """Train and ask a tower over the questions' own rows."""
        torch.manual_seed(self.seed)
        head = head_of(self.task, dimension)
        head = None if head is None else head.to(self.device)
        config = self.finetuning(family)
        return self._train(name, task_objective(tower, head, self.questions, config), self.questions, config)

    def of_checkpoint(self, name: str, start: Checkpoint, family: str, **settings: Any) -> Trained:
        """Fine-tune and ask a model over text."""
        config = self.finetuning(family, **settings)
        corpus = TokenizedCorpus.of(self.corpus, start.tokenizer)
        questions = replace(self.questions, corpus=corpus)
        torch.manual_seed(self.seed)
        geometry = self._geometry(start, corpus)
        _, objective = objective_of(self.corpus, start, questions, config, self.device, self.progress)
        return replace(self._train(name, objective, questions, config), alignment=geometry[0], uniformity=geometry[1])

    def _train(
        self,
        name: str,
        objective: NextItem | PurchaseIntention | RemainingLength,
        questions: Questions,
        config: FinetuningConfig,
    ) -> Trained:
        weights = sum(weight.numel() for weight in objective.parameters() if weight.requires_grad)
        Finetuner(objective, questions, config, progress=self.progress).train()
        objective.eval()
        if isinstance(objective, NextItem):
            answers = Answers(name, ranks_of(_Scorer(objective), self.examples, questions.corpus.products))
        else:
            threshold = objective.head.threshold if isinstance(objective.head, PurchaseIntentionHead) else 0.5
            answers = Answers(name, objective.answers(self.examples.prefixes), threshold)
        return Trained(answers, parameters=weights)

    @torch.no_grad()
    def _geometry(self, start: Checkpoint, corpus: TokenizedCorpus) -> tuple[float, float]:
        """Alignment with masked copies, and uniformity, of test sessions."""
        rng = np.random.default_rng([self.seed, 8])
        chosen = np.sort(rng.permutation(len(self.examples))[:_MAP_SESSIONS])
        sessions = self.examples.prefixes.take(chosen).last(start.model.config.max_interactions)
        masked = frozenset({"action_and_item_token_masking"})
        views = session_views(start.tokenizer, corpus.texts, sessions, masked, rng).to(start.model.device)
        vectors = start.model.eval()(views.batch)
        pairs = views.pairs["action_and_item_token_masking"]
        anchors = vectors[pairs.anchors]
        return alignment(anchors, vectors[pairs.positives]).item(), uniformity(anchors).item()

    def pretrained(self, start: tuple[UserBehaviorModel, InteractionTokenizer], **settings: Any) -> Checkpoint:
        """A UBM, pre-trained in two stages on the training part."""
        model, tokenizer = start
        config = PretrainingConfig(seed=self.seed, holdout=self.split.holdout, split=str(self.split.kind), **settings)
        with tempfile.TemporaryDirectory() as folder:
            made = pretrain(
                self.corpus,
                model,
                tokenizer,
                Path(folder) / "model",
                config,
                device=self.device,
                progress=self.progress,
            )
        return replace(made, folder=None)

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

    def adapted(self, checkpoint: Checkpoint) -> Checkpoint:
        """The same after masked-language training on the training part."""
        corpus = TokenizedCorpus.of(self.corpus, checkpoint.tokenizer)
        adapt_to_domain(
            checkpoint.model.interaction_encoder,
            checkpoint.tokenizer,
            corpus.texts,
            self.questions.parts.training,
            steps=self.size.adaptation,
            seed=self.seed,
            progress=self.progress,
        )
        return checkpoint

    def masked_items(self, tower: Prod2BERT) -> None:
        """Prod2BERT's pre-training, on the training part."""
        pretrain_masked_items(
            tower,
            self.questions.parts.training,
            steps=self.size.masked_items,
            batch=self.size.finetuning["all"]["batch"],
            learning_rate=self.finetuning("ids").learning_rate,
            seed=self.seed,
            progress=self.progress,
        )

    def _needed(self, source: str | None) -> str:
        assert source is not None, "rows that need a checkpoint are left out without one"
        return source


@dataclass(frozen=True)
class _Scorer:
    """An objective, asked as a scorer is."""

    objective: NextItem

    def scores(self, prefixes: SessionTable) -> FloatArray:
        """[E, M]."""
        return self.objective.answers(prefixes)


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        name: the paper's, where it has it.
        group: "simple", "id", "text" or "ours".
        train: makes it, under this name.
        needs: the checkpoint that it starts from, "bert" or "electra".
        tasks: those it is for.
    """

    name: str
    group: str
    train: Callable[[Bench, str], Trained]
    needs: str | None = None
    tasks: frozenset[Task] = frozenset(Task)


def _ids(make: Callable[..., ItemTower]) -> Callable[[Bench, str], Trained]:
    def train(bench: Bench, name: str) -> Trained:
        torch.manual_seed(bench.seed)
        products, size = bench.questions.corpus.products, bench.size
        tower = make(products, dimension=size.items, max_interactions=size.max_interactions).to(bench.device)
        if isinstance(tower, Prod2BERT):
            bench.masked_items(tower)
        return bench.of_tower(name, tower, size.items, "ids")

    return train


def _static_text(bench: Bench, name: str) -> Trained:
    texts, size = bench.questions.corpus.texts, bench.size
    torch.manual_seed(bench.seed)
    tower = StaticText(
        texts, int(texts.ids.max()) + 1, dimension=size.items, max_interactions=size.max_interactions
    ).to(bench.device)
    return bench.of_tower(name, tower, size.items, "static")


def _language_model(
    source: str, layers: str | None, *, adapt: bool = False, **settings: Any
) -> Callable[[Bench, str], Trained]:
    def train(bench: Bench, name: str) -> Trained:
        depth = getattr(bench.size, layers) if layers is not None else MAX_LAYERS
        checkpoint = bench.language_model(getattr(bench, source), depth)
        start = bench.adapted(checkpoint) if adapt else checkpoint
        return bench.of_checkpoint(name, start, "language", **settings)

    return train


def _ubm(*, bert: bool, without: str | None = None, **settings: Any) -> Callable[[Bench, str], Trained]:
    """A pre-trained UBM, with one of the losses left out (4.4)."""

    def train(bench: Bench, name: str) -> Trained:
        start = bench.from_bert() if bert else bench.scratch()
        steps = bench.size.bert_pretraining if bert else bench.size.pretraining
        losses = tuple(loss for loss in LOSSES if loss != without)
        return bench.of_checkpoint(
            name, bench.pretrained(start, losses=losses, **steps), "bert" if bert else "scratch", **settings
        )

    return train


def _ubm_without_pretraining(bench: Bench, name: str) -> Trained:
    model, tokenizer = bench.from_bert() if bench.bert is not None else bench.scratch()
    start = Checkpoint(model.to(bench.device), tokenizer, "not-pretrained")
    return bench.of_checkpoint(name, start, "bert" if bench.bert is not None else "scratch")


_NIP = frozenset({Task.NIP})

# Quick rows first, and what the table is about last but for what it is compared with.
TABLE_1 = (
    Row("GRU4Rec", "id", _ids(GRU4Rec)),
    Row("SASRec", "id", _ids(SASRec)),
    Row("SR-GNN", "id", _ids(SRGNN)),
    Row("Prod2BERT", "id", _ids(Prod2BERT)),
    Row("static text", "text", _static_text),
    Row("BERT_mini", "text", _language_model("bert", "bert_mini"), "bert"),
    Row("BERT_8layer", "text", _language_model("bert", "bert_8layer"), "bert"),
    Row("ELECTRA_small", "text", _language_model("electra", None), "electra"),
    Row("BERT_mini_domain", "text", _language_model("bert", "bert_mini", adapt=True), "bert"),
    Row("BERT_8layer_domain", "text", _language_model("bert", "bert_8layer", adapt=True), "bert"),
    Row("BERT_mini, products trained", "text", _language_model("bert", "bert_mini", train_products=True), "bert", _NIP),
    Row("UBM_wo", "ours", _ubm_without_pretraining),
    Row("UBM_wo_BERT", "ours", _ubm(bert=False)),
    Row("UBM_wo_BERT, products trained", "ours", _ubm(bert=False, train_products=True), tasks=_NIP),
    Row("UBM", "ours", _ubm(bert=True), "bert"),
    Row("UBM, products trained", "ours", _ubm(bert=True, train_products=True), "bert", _NIP),
)

# Without pre-trained layers where none are given: the losses are compared with each other.
TABLE_2 = (
    Row("UBM", "ours", _ubm(bert=False)),
    *(Row(f"UBM_no_loss{number}", "ours", _ubm(bert=False, without=loss)) for number, loss in enumerate(LOSSES, 1)),
)
TABLES = {1: TABLE_1, 2: TABLE_2}
