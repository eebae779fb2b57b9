"""A shop with products that its model has never read: what is trained without them, and how each model does.

Letters: E questions, M products.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.baselines.text_match import TextMatch
from benchmarks.quality.bench import Bench
from benchmarks.quality.new_products import Among, NewProducts, questions_about
from benchmarks.quality.tables import bench_of
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.sample_shop import write_sample_shop
from ubm_embed.data.tasks.examples import TaskExamples
from ubm_embed.data.tasks.task import Task
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.errors import InvalidData
from ubm_embed.evaluation.baselines import CoOccurrence, Popularity, RecentCoOccurrence, Scorer
from ubm_embed.evaluation.intervals import bootstrap_intervals
from ubm_embed.evaluation.next_item import SessionModel, ranks_of
from ubm_embed.evaluation.task_metrics import ranking_metrics
from ubm_embed.inference.embedder import Embedder
from ubm_embed.model.checkpoint import Checkpoint
from ubm_embed.training.finetuning.config import FinetuningConfig
from ubm_embed.training.finetuning.finetune import finetune
from ubm_embed.training.recipes import Recipe

SAMPLE_PRODUCTS, SAMPLE_SESSIONS = 3000, 20_000
# A new product out of all, another out of all, a new one out of the new ones.
NEW, KNOWN, AMONG_NEW = "new", "known", "new among new"


@dataclass(frozen=True)
class Trial:
    """A shop with new products, and what is trained on the shop as it was without them.

    Attributes:
        home: a folder to work in.
        bench: trains on the shop as it was, and splits it.
        tokenizer: of the shop as it was.
        corpus: the whole shop, new products and all, as this tokenizer has it.
    """

    home: Path
    new_products: NewProducts
    bench: Bench
    tokenizer: InteractionTokenizer
    corpus: TokenizedCorpus

    @classmethod
    def of(cls, options: argparse.Namespace, home: Path) -> Trial:
        """Draw the new products, and take them out of what is trained on."""
        if options.data is None:
            write_sample_shop(home / "shop", products=SAMPLE_PRODUCTS, sessions=SAMPLE_SESSIONS, seed=options.seed)
        new_products = NewProducts.draw(Corpus.open(options.data or home / "shop"), options.share, options.seed)
        new_products.before().write(home / "before")
        how = {"holdout": options.holdout, "seed": options.seed, "device": options.device}
        bench = bench_of(home / "before", Task.NIP, options.size, **how)
        _, tokenizer = bench.scratch()
        return cls(home, new_products, bench, tokenizer, TokenizedCorpus.from_corpus(new_products.shop, tokenizer))

    @cached_property
    def training(self) -> SessionTable:
        """The sessions that training reads, over the rows of `corpus`'s products."""
        return self.new_products.training(self.bench.split, self.tokenizer)

    @cached_property
    def questions(self) -> dict[str, TaskExamples]:
        """About new products, and about others that training has seen.

        Raises:
            InvalidData: hardly a session of the test part asks for one.
        """
        seen = np.bincount(self.training.rows, minlength=self.corpus.products)[: self.corpus.products] > 0
        wanted = {NEW: self.new_products.new, KNOWN: seen}
        how = {"most": self.bench.size.questions, "seed": self.bench.seed}
        asked = {name: questions_about(some, self.corpus, self.bench.split, **how) for name, some in wanted.items()}
        for name, examples in asked.items():
            if len(examples) < 2:
                problem = f"{len(examples)} sessions of the test part come to a {name} product, expected 2 or more"
                raise InvalidData(f"{problem}; take a larger --share or --holdout")
        return asked

    def counts(self) -> dict[str, Any]:
        """What is asked, out of what, and what training holds of the new products."""
        rows = self.training.rows[self.training.rows < self.corpus.products]
        return {
            "products": {NEW: int(self.new_products.new.sum()), KNOWN: int((~self.new_products.new).sum())},
            "training": {
                "sessions": len(self.training),
                "interactions": self.training.rows.size,
                "with_new_products": int(self.new_products.new[rows].sum()),
            },
            "split": self.bench.split.to_dict(),
            "questions": {name: len(examples) for name, examples in self.questions.items()},
        }

    def scorers(self, bert: str | None, steps: int | None) -> dict[str, Callable[[], Scorer]]:
        """What makes each row's, the quick ones first.

        Args:
            bert: a pre-trained text encoder, for a row of its own.
            steps: of fine-tuning at most; 0 leaves it out.
        """
        products, shop, last = self.corpus.products, self.new_products.shop, self.bench.size.max_interactions
        rows: dict[str, Callable[[], Scorer]] = {
            "popularity": lambda: Popularity.fit(self.training, products),
            "co-occurrence": lambda: CoOccurrence.fit(self.training, products),
            "recent co-occurrence": lambda: RecentCoOccurrence.fit(self.training, products),
            "TF-IDF, mean": lambda: TextMatch.tf_idf(shop, last),
            "TF-IDF, concatenated": lambda: TextMatch.tf_idf(shop, last, concatenated=True),
        }
        if bert is not None:
            rows["text encoder, mean"] = lambda: TextMatch.encoder(shop, last, bert)
        rows["UBM, pre-trained"] = lambda: self.model(self.bench.pretrained(bert=False))
        if steps != 0:
            rows["UBM, fine-tuned"] = partial(self._finetuned_plainly, steps)
            for name, known in (("UBM, shop recipe, words only", False), ("UBM, shop recipe", True)):
                rows[name] = partial(self._of_shop_recipe, steps, item_embeddings=known)
        return rows

    def _finetuned_plainly(self, steps: int | None) -> Scorer:
        config = self.bench.finetuning("scratch", train_products=True)
        return self.model(self._finetuned("fine-tuned", self.bench.pretrained(bert=False), config, steps))

    def _of_shop_recipe(self, steps: int | None, *, item_embeddings: bool) -> Scorer:
        start, name = self.bench.recipe_pretrained(Recipe.SHOP), "shop" if item_embeddings else "words-only"
        config = self.bench.recipe_finetuning(Recipe.SHOP).replace(item_embeddings=item_embeddings)
        return self.model(self._finetuned(name, start, config, steps))

    def _finetuned(self, name: str, start: Checkpoint, config: FinetuningConfig, steps: int | None) -> Checkpoint:
        """Both towers on the next item; what a product's text means to shoppers is learned in the product tower."""
        bench, out = self.bench, self.home / name
        config = config if steps is None else config.replace(max_steps=steps)
        return finetune(bench.corpus, start, out, config, device=bench.device, progress=bench.progress)

    def model(self, checkpoint: Checkpoint) -> SessionModel:
        """Vectors as a store holds them, searched exactly: an index kind's recall is measured elsewhere."""
        embedder = Embedder(checkpoint, device=self.bench.device)
        return SessionModel.from_embedder(embedder, self.new_products.shop.products, self.corpus.texts, self.bench.progress)

    def made_row(self, name: str, make: Callable[[], Scorer]) -> dict[str, Any]:
        """A scorer, made and asked, with the seconds that making it took."""
        print(f"making {name}", file=sys.stderr, flush=True)
        started = time.perf_counter()
        scorer = make()
        return self.row(name, time.perf_counter() - started, scorer)

    def row(self, name: str, seconds: float, scorer: Scorer) -> dict[str, Any]:
        """A scorer, asked."""
        asked = {
            NEW: (scorer, self.questions[NEW]),
            KNOWN: (scorer, self.questions[KNOWN]),
            AMONG_NEW: (Among(scorer, self.new_products.new), self.questions[NEW]),
        }
        metrics = {
            what: _measured(ranks_of(one, examples, self.corpus.products), self.bench.seed)
            for what, (one, examples) in asked.items()
        }
        return {"row": name, "seconds": round(seconds, 1), "metrics": metrics}


def _measured(ranks: NDArray[np.int64], seed: int) -> dict[str, dict[str, float]]:
    """hit@k and MRR@k of [E] ranks, each with its interval."""
    values = ranking_metrics(ranks)
    intervals = bootstrap_intervals(lambda drawn: ranking_metrics(ranks[drawn]), ranks.size, seed=seed)
    return {
        name: dict(zip(("value", "low", "high"), (round(one, 4) for one in (value, *intervals[name])), strict=True))
        for name, value in values.items()
    }
