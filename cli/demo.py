"""`ubm-embed demo`: from a made-up shop to answers, in a few minutes on two cores."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import progress, write_table
from cli.extras import EXTRAS
from cli.process import set_up_process
from cli.store_options import quiet_lance
from ubm_embed.training.settings import MAX_SEED

if TYPE_CHECKING:
    import polars as pl

    from indexer.search.retriever import Retriever
    from ubm_embed.data.corpus import Corpus
    from ubm_embed.data.session import Session
    from ubm_embed.evaluation.evaluation import Evaluation


@dataclass(frozen=True)
class DemoSizes:
    """The size of the demo; the recipe's own steps are for a real shop, these take two cores two minutes.

    Attributes:
        products, sessions: of the made-up shop.
        vocabulary: tokens that the tokenizer learns.
        pretraining, finetuning: settings in place of the recipe's.
    """

    products: int = 1500
    sessions: int = 15_000
    vocabulary: int = 2048
    pretraining: Mapping[str, Any] = field(
        default_factory=lambda: {"max_steps": 60, "session_max_steps": 10, "holdout": 0.2}
    )
    finetuning: Mapping[str, Any] = field(default_factory=lambda: {"max_steps": 150, "validation_steps": 50})


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    home: Annotated[Path, typer.Option("--home", metavar="DIR", help="Where to leave the results.")] = Path("demo"),
    seed: Annotated[int, typer.Option("--seed", min=0, max=MAX_SEED, help="Seed of the shop and of the training.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is at DIR.")] = False,
) -> None:
    """Make up a shop, train on it, index it and query it: all of ubm-embed on one small example.

    Leaves corpus/, model/, store/ and session.json at DIR. Nothing in the shop is real. The story goes to stdout,
    progress to stderr.
    """

    set_up_process()
    quiet_lance()
    run_demo(home, seed=seed, overwrite=overwrite)


def run_demo(home: Path, *, seed: int, overwrite: bool, sizes: DemoSizes | None = None) -> None:
    """Run every step and tell the story on stdout; `home` appears when all of them are done."""
    from ubm_embed.outputs import output_folder

    started, sizes = time.monotonic(), sizes or DemoSizes()
    _require_libraries()
    with output_folder(home, overwrite=overwrite) as aside:
        corpus = _make_shop(aside / "corpus", seed, sizes)
        evaluation = _train(corpus, aside / "model", seed, sizes)
        retriever = _index(aside)
        _show_session(corpus, retriever, held_out_sessions(corpus, aside / "model"), aside / "session.json")
        _show_new_products(corpus, retriever)
        _show_evaluation(evaluation)
    typer.echo(f"\nDone in {time.monotonic() - started:.0f} s. Query it yourself:\n")
    typer.echo(f"  ubm-embed query --session {home / 'session.json'} --store {home / 'store'}")
    typer.echo(f'  ubm-embed lookup --title "blue trail running shoes" --store {home / "store"}')
    changed = '{"product_id": "p0000001", "price": 9.90, "in_stock": true}'
    typer.echo(f"  echo '{changed}' | ubm-embed upsert --products - --store {home / 'store'}")
    typer.echo(f"  ubm-embed serve --store {home / 'store'}    # and open http://127.0.0.1:8080/docs")
    typer.echo(f"  ubm-embed diagnose --store {home / 'store'} --corpus {home / 'corpus'}")


def _require_libraries() -> None:
    """Load what the later steps need, so that a missing library ends the demo before its first one."""
    from indexer.index.faiss_factory import load_faiss

    for library, extra in EXTRAS.items():
        if extra == "train":
            import_module(library)
    load_faiss()


def _make_shop(folder: Path, seed: int, sizes: DemoSizes) -> Corpus:
    from ubm_embed.data.corpus import Corpus
    from ubm_embed.data.sample_shop import write_sample_shop

    typer.echo(f"1. A made-up shop: {sizes.products:,} products, {sizes.sessions:,} sessions of generated shoppers.")
    write_sample_shop(folder, products=sizes.products, sessions=sizes.sessions, seed=seed)
    corpus = Corpus.open(folder)
    example = corpus.products.row(0, named=True)
    typer.echo(f"   A product: {example['title']} ({example['category']}), {example['price']:.2f}")
    return corpus


def _train(corpus: Corpus, folder: Path, seed: int, sizes: DemoSizes) -> Evaluation:
    from ubm_embed.data.tasks.task import Task
    from ubm_embed.evaluation.evaluation import evaluate
    from ubm_embed.model.start import fresh_model
    from ubm_embed.training.finetuning.finetune import finetune
    from ubm_embed.training.pretraining.pretrain import pretrain, split_of
    from ubm_embed.training.recipes import Recipe, finetuning_config, model_sizes, pretraining_config

    typer.echo(
        "\n2. Pre-train a User Behavior Model, stage 1 on products, stage 2 on sessions, and fine-tune it for the next "
        "product. One session in five is held out: half of these find out how long to train, and are then trained on "
        "as well; the other half are the test."
    )
    model_config = model_sizes(Recipe.SHOP, vocab_size=sizes.vocabulary)
    first = pretraining_config(Recipe.SHOP, seed=seed, **sizes.pretraining)
    phrases = split_of(corpus.session_times(), first).training_phrases(corpus)
    model, tokenizer = fresh_model(corpus, phrases=phrases, seed=seed, **model_config.model_dump())
    with progress() as report, TemporaryDirectory() as aside:
        pretrained = pretrain(corpus, model, tokenizer, Path(aside) / "pretrained", first, progress=report)
        then = finetuning_config(Recipe.SHOP, Task.NIP, seed=seed, **sizes.finetuning)
        finetuned = finetune(corpus, pretrained, folder, then, progress=report)
        return evaluate(Task.NIP, corpus, finetuned, progress=report)


def _index(home: Path) -> Retriever:
    from indexer.refresh.refresh import build_index
    from indexer.search.retriever import Retriever

    typer.echo("\n3. Embed the catalogue into a store and publish an index over it.")
    with progress() as report:
        version = build_index(
            model=home / "model",
            products=home / "corpus" / "products.parquet",
            interactions=home / "corpus" / "interactions.parquet",
            store=home / "store",
            progress=report,
        )
    typer.echo(f"   version {version.version}: {version.products:,} products, model {version.model_id}")
    return Retriever.open(home / "store")


def _show_session(corpus: Corpus, retriever: Retriever, test_ids: set[str], file: Path) -> None:
    from ubm_embed.data.session import parse_session

    document = _example_session(corpus, test_ids)
    file.write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", "utf-8")
    titles = dict(corpus.products.select("product_id", "title").iter_rows())
    typer.echo("\n4. A shopper of the test part, whom the training did not see, did this:")
    for interaction in document["interactions"]:
        typer.echo(f"   {interaction['action']:<7} {interaction.get('query') or titles[interaction['product_id']]}")
    typer.echo("   What they may want next:\n")
    _write_matches(retriever, parse_session(document))


def held_out_sessions(corpus: Corpus, model: Path) -> set[str]:
    """Ids of the sessions in the test part."""
    from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
    from ubm_embed.data.tasks.split import Split
    from ubm_embed.model.checkpoint import Checkpoint

    checkpoint = Checkpoint.from_pretrained(model)
    tokenized = TokenizedCorpus.from_corpus(corpus, checkpoint.tokenizer)
    part = Split.from_dict(checkpoint.record["split"]).membership(tokenized)
    return set(tokenized.session_ids[part == "test"])


def _example_session(corpus: Corpus, test_ids: set[str]) -> dict[str, Any]:
    """A session of the test part that searches, compares and puts something into the cart."""
    for (session_id,), frame in corpus.interactions.group_by("session_id", maintain_order=True):
        actions = frame["action"].to_list()
        if session_id in test_ids and {"search", "add"} <= set(actions) and 5 <= len(actions) <= 9:
            return {"session_id": session_id, "interactions": _interactions(frame)}
    raise AssertionError("among thousands of sessions there is one like this")


def _interactions(frame: pl.DataFrame) -> list[dict[str, str]]:
    """Interactions as in a session file, without nulls."""
    rows = frame.select("action", "product_id", "query").iter_rows(named=True)
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


def _write_matches(retriever: Retriever, session: Session) -> None:
    answer = retriever.recommend(session, 5)
    rows = [
        (match.rank, match.title, match.category, f"{match.fields['price']:.2f}", match.score)
        for match in answer.matches
    ]
    write_table(("rank", "title", "category", "price", "score"), rows)


def _show_new_products(corpus: Corpus, retriever: Retriever) -> None:
    """Look up products without interactions by what they are: category and attributes, without the title."""
    from ubm_embed.data.products import iter_products
    from ubm_embed.data.session import Product

    clicked = corpus.interactions["product_id"].drop_nulls().unique()
    new = list(iter_products(corpus.products.filter(~corpus.products["product_id"].is_in(clicked.implode()))))
    ranks = []
    for product in new:
        description = Product(title="", category=product.category, attributes=product.attributes)
        ids = [match.product_id for match in retriever.lookup(description, 10).matches]
        if product.product_id in ids:
            ranks.append((product, ids.index(product.product_id) + 1))
    typer.echo(f"\n5. {len(new)} products are new: nobody ever clicked them, and no training used their ids.")
    typer.echo(
        f"   Described by category and attributes alone, {len(ranks)} of them are among the first 10 of a lookup."
    )
    if ranks:
        product, rank = ranks[0]
        attributes = ", ".join(f"{name} {value}" for name, value in product.attributes)
        typer.echo(f'   For "{product.category}, {attributes}", number {rank} is: {product.title}')


def _show_evaluation(evaluation: Evaluation) -> None:
    ubm, *others, popularity = evaluation.rows
    counting = [row for row in others if not row.name.startswith(ubm.name)]  # not the model without counts
    best = max(counting, key=lambda row: row.metrics["hit@10"])
    typer.echo(
        f"\n6. The next product in {evaluation.examples:,} sessions of the test part, ranked among all products:\n"
    )
    rows = [(row.name, row.metrics["hit@10"], row.metrics["mrr@10"]) for row in evaluation.rows]
    write_table(("model", "hit@10", "MRR@10"), rows)
    hits = ubm.metrics["hit@10"]
    times, ratio = hits / popularity.metrics["hit@10"], hits / best.metrics["hit@10"]
    relation = "above" if ratio > 1.02 else "below" if ratio < 0.98 else "level with"
    typer.echo(
        f"\n   After minutes of training UBM has {times:.1f} times the hits of popularity, "
        f"and {ratio:.2f} times those of {best.name}: {relation} it."
    )
    typer.echo("   Counting alone knows nothing of a product without clicks; UBM reads its text.")
