"""The rows of the paper's table 1, of table 2, and what the field would ask for beside them.

Rows over text name a checkpoint to start from where they have one; rows over ids and the static text are towers of
their own (`benchmarks.quality.baselines`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.quality.baselines.gru4rec import GRU4Rec
from benchmarks.quality.baselines.item_tower import ItemTower
from benchmarks.quality.baselines.prod2bert import Prod2BERT
from benchmarks.quality.baselines.sasrec import SASRec
from benchmarks.quality.baselines.sr_gnn import SRGNN
from benchmarks.quality.baselines.static_text import StaticText
from benchmarks.quality.bench import Bench, Trained
from ubm_embed.data.tasks.task import Task
from ubm_embed.model.checkpoint import Checkpoint
from ubm_embed.model.interaction_encoder import MAX_LAYERS
from ubm_embed.training.pretraining.config import LOSSES
from ubm_embed.training.recipes import Recipe


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        name: the paper's, where it has it.
        group: "simple", "id", "text" or "ours".
        train: makes it, under this name.
        needs: the checkpoint that it starts from, "bert" or "electra".
        tasks: those it is for.
        takes: a checkpoint that it starts from where there is one.
        note: what to know of it.
    """

    name: str
    group: str
    train: Callable[[Bench, str], Trained]
    needs: str | None = None
    tasks: frozenset[Task] = frozenset(Task)
    takes: str | None = None
    note: str = ""


def _ids(make: Callable[..., ItemTower]) -> Callable[[Bench, str], Trained]:
    def train(bench: Bench, name: str) -> Trained:
        torch.manual_seed(bench.seed)
        products, size = bench.questions.corpus.products, bench.size
        tower = make(products, dimension=size.items, max_interactions=size.max_interactions).to(bench.device)
        return bench.of_tower(name, tower, size.items, "ids")

    return train


def _prod2bert(bench: Bench, name: str) -> Trained:
    torch.manual_seed(bench.seed)
    products, size = bench.questions.corpus.products, bench.size
    tower = Prod2BERT(
        products, dimension=size.items, layers=size.item_layers, max_interactions=size.max_interactions
    ).to(bench.device)
    bench.masked_items(tower)
    return bench.of_tower(name, tower, size.items, "masked ids")


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
        if adapt:
            checkpoint = bench.adapted(checkpoint, bench.questions.parts.training)
        return bench.of_language_model(name, checkpoint, **settings)

    return train


def _ubm(*, bert: bool, without: str | None = None, **settings: Any) -> Callable[[Bench, str], Trained]:
    """A pre-trained UBM, with one of the losses left out (4.4)."""

    def train(bench: Bench, name: str) -> Trained:
        start = bench.pretrained(bert=bert, without=without)
        return bench.of_checkpoint(name, start, bench.finetuning("bert" if bert else "scratch", **settings))

    return train


def _ubm_of(recipe: Recipe) -> Callable[[Bench, str], Trained]:
    def train(bench: Bench, name: str) -> Trained:
        return bench.of_checkpoint(name, bench.recipe_pretrained(recipe), bench.recipe_finetuning(recipe))

    return train


def _ubm_without_pretraining(bench: Bench, name: str) -> Trained:
    model, tokenizer = bench.from_bert() if bench.bert is not None else bench.scratch()
    start = Checkpoint(model.to(bench.device), tokenizer, "not-pretrained")
    config = bench.finetuning("bert" if bench.bert is not None else "scratch")
    return bench.of_checkpoint(name, start, config, as_printed=True)


_NIP = frozenset({Task.NIP})

# Quick rows first, and what the table is about last but for what it is compared with.
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

# The losses are compared with each other, so all of these are trained from scratch, which is the quickest.
_SCRATCH = "from scratch, without pre-trained layers"
TABLE_2 = (
    Row("UBM", "ours", _ubm(bert=False), note=_SCRATCH),
    *(
        Row(f"UBM_no_loss{number}", "ours", _ubm(bert=False, without=loss), note=f"{_SCRATCH}, without {loss}")
        for number, loss in enumerate(LOSSES, 1)
    ),
)
TABLES = {1: TABLE_1, 2: TABLE_2}
