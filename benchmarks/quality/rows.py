"""The rows of the paper's tables 1 and 2, and the baselines that the field expects beside them.

Rows over text start from a checkpoint where they have one; rows over ids and static text are towers of
`benchmarks.quality.baselines`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.quality.baselines.gru4rec import GRU4Rec
from benchmarks.quality.baselines.item_tower import ItemTower
from benchmarks.quality.baselines.prod2bert import Prod2BERT, pretrain_masked_items
from benchmarks.quality.baselines.sasrec import SASRec
from benchmarks.quality.baselines.sr_gnn import SRGNN
from benchmarks.quality.baselines.static_text import StaticText
from benchmarks.quality.experiment import Experiment
from benchmarks.quality.row_training import RowResult, train_checkpoint, train_language_model, train_tower
from ubm_embed.data.tasks.task import Task
from ubm_embed.model.checkpoint import Checkpoint
from ubm_embed.model.config import MAX_LAYERS
from ubm_embed.training.pretraining.config import LOSSES
from ubm_embed.training.recipes import Recipe


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        name: the paper's, where it has this row.
        group: "simple", "id", "text" or "ours".
        train: trains and evaluates it, under the name given.
        needs: the checkpoint that it cannot do without, "bert" or "electra".
        tasks: the tasks that it can be trained for.
        takes: a checkpoint that it starts from if there is one.
        note: printed below the table.
    """

    name: str
    group: str
    train: Callable[[Experiment, str], RowResult]
    needs: str | None = None
    tasks: frozenset[Task] = frozenset(Task)
    takes: str | None = None
    note: str = ""


def _ids(make: Callable[..., ItemTower]) -> Callable[[Experiment, str], RowResult]:
    def train(experiment: Experiment, name: str) -> RowResult:
        torch.manual_seed(experiment.seed)
        products, size = experiment.dataset.corpus.products, experiment.size
        tower = make(products, dimension=size.items, max_interactions=size.max_interactions).to(experiment.device)
        return train_tower(experiment, name, tower, size.items, "ids")

    return train


def _prod2bert(experiment: Experiment, name: str) -> RowResult:
    torch.manual_seed(experiment.seed)
    products, size = experiment.dataset.corpus.products, experiment.size
    tower = Prod2BERT(
        products, dimension=size.items, layers=size.item_layers, max_interactions=size.max_interactions
    ).to(experiment.device)
    pretrain_masked_items(
        tower,
        experiment.dataset.parts.training,
        steps=size.masked_items,
        batch=size.finetuning["all"]["batch"],
        learning_rate=experiment.finetuning("masked ids").learning_rate,
        seed=experiment.seed,
        progress=experiment.progress,
    )
    return train_tower(experiment, name, tower, size.items, "masked ids")


def _static_text(experiment: Experiment, name: str) -> RowResult:
    corpus, size = experiment.dataset.corpus, experiment.size
    torch.manual_seed(experiment.seed)
    tower = StaticText(
        corpus.texts,
        int(corpus.texts.ids.max()) + 1,
        dimension=size.items,
        max_interactions=size.max_interactions,
        actions=max(4, int(corpus.sessions.actions.max()) + 1),
    ).to(experiment.device)
    return train_tower(experiment, name, tower, size.items, "static")


def _language_model(
    source: str, layers: str | None, *, adapt: bool = False, **settings: Any
) -> Callable[[Experiment, str], RowResult]:
    def train(experiment: Experiment, name: str) -> RowResult:
        depth = getattr(experiment.size, layers) if layers is not None else MAX_LAYERS
        checkpoint = experiment.language_model(getattr(experiment, source), depth)
        if adapt:
            checkpoint = experiment.adapted(checkpoint, experiment.dataset.parts.training)
        return train_language_model(experiment, name, checkpoint, **settings)

    return train


def _ubm(*, bert: bool, without: str | None = None, **settings: Any) -> Callable[[Experiment, str], RowResult]:
    """A pre-trained UBM; with `without`, one of the losses is left out (4.4)."""

    def train(experiment: Experiment, name: str) -> RowResult:
        start = experiment.pretrained(bert=bert, without=without)
        return train_checkpoint(
            experiment, name, start, experiment.finetuning("bert" if bert else "scratch", **settings)
        )

    return train


def _ubm_of(recipe: Recipe) -> Callable[[Experiment, str], RowResult]:
    def train(experiment: Experiment, name: str) -> RowResult:
        return train_checkpoint(
            experiment, name, experiment.recipe_pretrained(recipe), experiment.recipe_finetuning(recipe)
        )

    return train


def _ubm_without_pretraining(experiment: Experiment, name: str) -> RowResult:
    model, tokenizer = experiment.from_bert() if experiment.bert is not None else experiment.scratch()
    start = Checkpoint(model.to(experiment.device), tokenizer, "not-pretrained")
    config = experiment.finetuning("bert" if experiment.bert is not None else "scratch")
    return train_checkpoint(experiment, name, start, config, as_printed=True)


_NIP = frozenset({Task.NIP})

# Quick rows first; the rows that the table is about come last.
TABLE_1 = (
    Row("GRU4Rec", "id", _ids(GRU4Rec)),
    Row("SASRec", "id", _ids(SASRec)),
    Row("SR-GNN", "id", _ids(SRGNN)),
    Row("Prod2BERT", "id", _prod2bert),
    Row("static text", "text", _static_text),
    Row("BERT_mini", "text", _language_model("bert", "bert_mini"), "bert"),
    Row("BERT_8layer", "text", _language_model("bert", "bert_8layer"), "bert"),
    Row("ELECTRA_small", "text", _language_model("electra", None), "electra"),
    Row("BERT_mini_domain", "text", _language_model("bert", "bert_mini", adapt=True), "bert"),
    Row("BERT_8layer_domain", "text", _language_model("bert", "bert_8layer", adapt=True), "bert"),
    Row("BERT_mini, products trained", "text", _language_model("bert", "bert_mini", train_products=True), "bert", _NIP),
    Row("UBM_wo", "ours", _ubm_without_pretraining, takes="bert"),
    Row("UBM_wo_BERT", "ours", _ubm(bert=False)),
    Row("UBM_wo_BERT, products trained", "ours", _ubm(bert=False, train_products=True), tasks=_NIP),
    Row("UBM", "ours", _ubm(bert=True), "bert"),
    Row("UBM, products trained", "ours", _ubm(bert=True, train_products=True), "bert", _NIP),
    Row("UBM, paper recipe", "ours", _ubm_of(Recipe.PAPER)),
    Row("UBM, shop recipe", "ours", _ubm_of(Recipe.SHOP)),
)

# Only the losses are compared, so all of these are trained from scratch, which is the quickest.
_SCRATCH = "from scratch, without pre-trained layers"
TABLE_2 = (
    Row("UBM", "ours", _ubm(bert=False), note=_SCRATCH),
    *(
        Row(f"UBM_no_loss{number}", "ours", _ubm(bert=False, without=loss), note=f"{_SCRATCH}, without {loss}")
        for number, loss in enumerate(LOSSES, 1)
    ),
)
TABLES = {1: TABLE_1, 2: TABLE_2}
