"""Are products found that nobody has clicked yet, by their text alone?

    python -m benchmarks.quality.cold_start [--data DIR] [--sessions N] [--bert DIR]

A share of the products is kept out of everything that is trained and counted. Sessions of the test part are then asked
for their next product, once where it is one of these and once where it is a known one, over the whole catalogue.

Letters: E questions, M products.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.command_line import load_or_measure, runner_parser
from benchmarks.quality.baselines.text_match import TextMatch
from benchmarks.quality.experiment import Experiment, open_experiment, smaller_shop
from benchmarks.quality.new_products import CandidateFilter, NewProducts, questions_about
from benchmarks.quality.sizes import SIZES
from benchmarks.report import markdown_table, report_header
from ubm_embed.counts.ranking_weights import CountWeights
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.sample_shop import write_sample_shop
from ubm_embed.data.tasks.examples import TaskExamples
from ubm_embed.data.tasks.task import SplitKind, Task
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.errors import InvalidData, NotFound
from ubm_embed.evaluation.baselines import CoOccurrence, Popularity, RecentCoOccurrence, Scorer
from ubm_embed.evaluation.counted_model import CountedModel
from ubm_embed.evaluation.intervals import bootstrap_intervals
from ubm_embed.evaluation.next_item import SessionModel, ranks_of
from ubm_embed.evaluation.ranking import ranking_metrics
from ubm_embed.inference.embedder import Embedder
from ubm_embed.model.checkpoint import Checkpoint
from ubm_embed.training.finetuning.config import FinetuningConfig
from ubm_embed.training.finetuning.finetune import finetune
from ubm_embed.training.recipes import Recipe

SAMPLE_PRODUCTS, SAMPLE_SESSIONS = 3000, 20_000
# The target is a new product, any other product, or a new one with only new ones as candidates.
NEW, KNOWN, AMONG_NEW = "new", "known", "new among new"


@dataclass(frozen=True)
class ColdStart:
    """A shop with new products, and an experiment on the same shop without them.

    Attributes:
        home: a folder for temporary files.
        experiment: on the shop before the new products.
        tokenizer: trained on the shop before the new products.
        corpus: the whole shop, with the new products, in tokens of this tokenizer.
    """

    home: Path
    new_products: NewProducts
    experiment: Experiment
    tokenizer: InteractionTokenizer
    corpus: TokenizedCorpus

    @classmethod
    def from_options(cls, options: argparse.Namespace, home: Path) -> ColdStart:
        """Draw the new products and remove them from the training corpus."""
        if options.data is None:
            write_sample_shop(home / "shop", products=SAMPLE_PRODUCTS, sessions=SAMPLE_SESSIONS, seed=options.seed)
        shop = Corpus.open(options.data or home / "shop")
        shop = shop if options.sessions is None else smaller_shop(shop, options.sessions)
        new_products = NewProducts.draw(shop, options.share, options.seed)
        new_products.before().write(home / "before")
        settings = {name: getattr(options, name) for name in ("split", "holdout", "seed", "device")}
        experiment = open_experiment(home / "before", Task.NIP, options.size, **settings)
        _, tokenizer = experiment.scratch()
        return cls(home, new_products, experiment, tokenizer, TokenizedCorpus.from_corpus(new_products.shop, tokenizer))

    @cached_property
    def training(self) -> SessionTable:
        """The training sessions, over the product rows of `corpus`."""
        return self.new_products.training(self.experiment.split, self.tokenizer)

    @cached_property
    def questions(self) -> dict[str, TaskExamples]:
        """Questions about new products, and about known ones that training has seen.

        Raises:
            InvalidData: fewer than two test sessions lead to a new (or known) product.
        """
        seen = np.bincount(self.training.rows, minlength=self.corpus.products)[: self.corpus.products] > 0
        masks = {NEW: self.new_products.new, KNOWN: seen}
        limits = {"max_questions": self.experiment.size.questions, "seed": self.experiment.seed}
        questions = {
            name: questions_about(mask, self.corpus, self.experiment.split, **limits) for name, mask in masks.items()
        }
        for name, examples in questions.items():
            if len(examples) < 2:
                problem = f"{len(examples)} sessions of the test part lead to a {name} product, expected 2 or more"
                raise InvalidData(f"{problem}; use a larger --share or --holdout")
        return questions

    def counts(self) -> dict[str, Any]:
        """Numbers of products and questions, and of new products in the training part."""
        rows = self.training.rows[self.training.rows < self.corpus.products]
        return {
            "products": {NEW: int(self.new_products.new.sum()), KNOWN: int((~self.new_products.new).sum())},
            "training": {
                "sessions": len(self.training),
                "interactions": self.training.rows.size,
                "with_new_products": int(self.new_products.new[rows].sum()),
            },
            "split": self.experiment.split.to_dict(),
            "questions": {name: len(examples) for name, examples in self.questions.items()},
        }

    def scorers(self, bert: str | None, steps: int | None) -> dict[str, Callable[[], Scorer]]:
        """A constructor for the scorer of each row, quick ones first.

        Args:
            bert: a pre-trained text encoder, which adds a row.
            steps: the maximum of fine-tuning steps; 0 leaves fine-tuning out.
        """
        products, shop, last = self.corpus.products, self.new_products.shop, self.experiment.size.max_interactions
        rows: dict[str, Callable[[], Scorer]] = {
            "popularity": lambda: Popularity.fit(self.training, products),
            "co-occurrence": lambda: CoOccurrence.fit(self.training, products),
            "recent co-occurrence": lambda: RecentCoOccurrence.fit(self.training, products),
            "TF-IDF, mean": lambda: TextMatch.tf_idf(shop, last),
            "TF-IDF, concatenated": lambda: TextMatch.tf_idf(shop, last, concatenated=True),
        }
        if bert is not None:
            rows["text encoder, mean"] = lambda: TextMatch.encoder(shop, last, bert)
        rows["UBM, pre-trained"] = lambda: self.model(self.experiment.pretrained(bert=False))
        if steps != 0:
            rows["UBM, fine-tuned"] = partial(self._small_model, steps)
            rows["UBM, shop recipe, words only"] = lambda: self.model(self._shop_recipe(steps, words_only=True))
            rows["UBM, shop recipe, without counts"] = lambda: self.model(self._shop_recipe(steps))
            rows["UBM, shop recipe"] = lambda: self._counted(self._shop_recipe(steps))
        return rows

    def _small_model(self, steps: int | None) -> Scorer:
        config = self.experiment.finetuning("scratch", train_products=True)
        return self.model(self._finetune("fine-tuned", self.experiment.pretrained(bert=False), config, steps))

    def _shop_recipe(self, steps: int | None, *, words_only: bool = False) -> Checkpoint:
        """A model of the recipe; rows that share it train it once."""
        start, name = self.experiment.recipe_pretrained(Recipe.SHOP), "words-only-model" if words_only else "shop-model"
        if (self.home / name).exists():
            return Checkpoint.from_pretrained(self.home / name)
        config = self.experiment.recipe_finetuning(Recipe.SHOP).replace(item_embeddings=not words_only)
        return self._finetune(name, start, config, steps)

    def _counted(self, checkpoint: Checkpoint) -> Scorer:
        """The model as it answers: new products have the counts of their nearest."""
        weights = CountWeights.load(checkpoint.folder)
        return CountedModel.fit(self.model(checkpoint), self.training, weights)

    def _finetune(self, name: str, start: Checkpoint, config: FinetuningConfig, steps: int | None) -> Checkpoint:
        """Both towers fine-tuned on the next item, so the product tower learns what texts mean to shoppers."""
        experiment, out = self.experiment, self.home / name
        config = config if steps is None else config.replace(max_steps=steps)
        return finetune(experiment.corpus, start, out, config, device=experiment.device, progress=experiment.progress)

    def model(self, checkpoint: Checkpoint) -> SessionModel:
        """The vectors of a store, searched exactly: `benchmarks.retrieval` measures the recall of an index."""
        embedder = Embedder(checkpoint, device=self.experiment.device)
        return SessionModel.from_embedder(
            embedder, self.new_products.shop.products, self.corpus.texts, self.experiment.progress
        )

    def train_row(self, name: str, make: Callable[[], Scorer]) -> dict[str, Any]:
        """Make a scorer and evaluate it, with the seconds of making it."""
        print(f"training {name}", file=sys.stderr, flush=True)
        started = time.perf_counter()
        scorer = make()
        return self.row(name, time.perf_counter() - started, scorer)

    def row(self, name: str, seconds: float, scorer: Scorer) -> dict[str, Any]:
        """The metrics of a scorer."""
        cases = {
            NEW: (scorer, self.questions[NEW]),
            KNOWN: (scorer, self.questions[KNOWN]),
            AMONG_NEW: (CandidateFilter(scorer, self.new_products.new), self.questions[NEW]),
        }
        metrics = {
            name: _with_intervals(ranks_of(case, examples, self.corpus.products), self.experiment.seed)
            for name, (case, examples) in cases.items()
        }
        return {"row": name, "seconds": round(seconds, 1), "metrics": metrics}


def _with_intervals(ranks: NDArray[np.int64], seed: int) -> dict[str, dict[str, float]]:
    """hit@k and MRR@k of [E] ranks, each with its interval."""
    values = ranking_metrics(ranks)
    intervals = bootstrap_intervals(lambda drawn: ranking_metrics(ranks[drawn]), ranks.size, seed=seed)
    return {
        name: dict(zip(("value", "low", "high"), (round(one, 4) for one in (value, *intervals[name])), strict=True))
        for name, value in values.items()
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The report: train without the new products, then evaluate with them.

    Raises:
        UbmError: the corpus cannot be read, or does not fit the split or the questions.
    """
    name = options.data.name if options.data else "sample_shop"
    keys = ("sessions", "share", "size", "finetuning_steps", "split", "holdout", "seed", "device")
    settings = {"data": name, **{key: getattr(options, key) for key in keys}}
    report = report_header(f"cold_start_{name}", settings, packages=("scikit-learn",))
    with tempfile.TemporaryDirectory() as folder:
        cold_start = ColdStart.from_options(options, Path(folder))
        scorers = cold_start.scorers(options.bert, options.finetuning_steps)
        names = _selected(options.rows, scorers)
        report |= cold_start.counts()
        report["rows"] = [cold_start.train_row(name, scorers[name]) for name in names]
    return report


def _selected(names: Sequence[str] | None, rows: Collection[str]) -> list[str]:
    if unknown := sorted(set(names or ()) - set(rows)):
        raise NotFound(f"no row {', '.join(unknown)}; the rows are: {'; '.join(rows)}")
    return [name for name in rows if names is None or name in names]


def table(report: Mapping[str, Any]) -> str:
    """The table of a report, with its numbers of products and questions above."""
    products, questions, training = report["products"], report["questions"], report["training"]
    columns = (NEW, KNOWN, AMONG_NEW)
    lines = [(row["row"], *(_cell(row["metrics"][name]["hit@10"]) for name in columns)) for row in report["rows"]]
    everything = products[NEW] + products[KNOWN]
    chance = [10 / everything, 10 / everything, min(1.0, 10 / products[NEW])]
    lines.insert(0, ("chance", *(f"{value:.3f}" for value in chance)))
    counts = (
        f"{report['settings']['data']}: {products[NEW]:,} of {everything:,} products are new; {training['sessions']:,} "
        f"sessions to train on, {training['with_new_products']} interactions in them with new products; "
        f"{questions[NEW]:,} questions about new products, {questions[KNOWN]:,} about known ones"
    )
    return f"{counts}\n\n{markdown_table(('hit@10', *columns), lines)}"


def _cell(metric: Mapping[str, float]) -> str:
    return f"{metric['value']:.3f} [{metric['low']:.3f}, {metric['high']:.3f}]"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line's options."""
    parser = runner_parser("quality.cold_start", __doc__, default_out="cold_start_DATA")
    add = parser.add_argument
    add("--data", type=Path, metavar="DIR", help="a corpus folder (docs/data.md); default: a sample shop")
    add("--sessions", type=int, metavar="N", help="a shop of N of the sessions and the products in them; default: all")
    add("--share", type=float, default=0.2, help="share of the products that is new")
    add("--size", choices=list(SIZES), default="small")
    add("--rows", nargs="+", metavar="NAME", help="only these rows, named as in the table")
    add("--finetuning-steps", type=int, metavar="N", help="maximum of steps; 0 leaves fine-tuning out")
    add("--bert", metavar="DIR_OR_NAME", help="a pre-trained text encoder, which adds a row")
    add("--split", choices=list(SplitKind), default=SplitKind.AUTO, help="how to split the sessions")
    add("--holdout", type=float, default=0.2, help="share of validation and test sessions, half each")
    add("--seed", type=int, default=0)
    add("--device", default="cpu")
    options = parser.parse_args(arguments)
    if not 0 < options.share < 1:
        parser.error(f"argument --share: expected a number between 0 and 1, got {options.share:g}")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, save the report and print its table; or print the table of a saved one."""
    print(table(load_or_measure(parse(arguments), measure)))


if __name__ == "__main__":
    main()
