"""`ubm-embed demo`: the whole way on a made-up shop, in a few minutes on two cores."""

from __future__ import annotations

import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import progress, write_table

if TYPE_CHECKING:
    import polars as pl

    from indexer.search.retriever import Retriever
    from ubm_embed.data.corpus import Corpus
    from ubm_embed.evaluation.evaluation import Evaluation

# The recipe's steps are for a real shop; these take two cores two minutes.
_PRETRAINING: dict[str, Any] = {"max_steps": 60, "session_max_steps": 10, "holdout": 0.2}
_FINETUNING: dict[str, Any] = {"max_steps": 150, "validation_steps": 50}
_VOCABULARY = 2048
_PRODUCTS, _SESSIONS = 1500, 15_000


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    home: Annotated[Path, typer.Option("--home", metavar="DIR", help="Where to leave what it makes.")] = Path("demo"),
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the shop and of the training.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is at DIR.")] = False,
) -> None:
    """Make up a shop, train on it, index it and ask it: all of ubm-embed on one small example.

    Leaves corpus/, model/, store/ and session.json at DIR. Nothing in the shop is real. The story goes to stdout,
    progress to stderr.
    """
    from ubm_embed.outputs import output_folder

    started = time.monotonic()
    with output_folder(home, overwrite=overwrite) as aside:
        corpus = _make_shop(aside / "corpus", seed)
        results = _train(corpus, aside / "model", seed)
        retriever = _index(aside)
        _show_session(corpus, retriever, _kept_out(corpus, aside / "model"), aside / "session.json")
        _show_unclicked(corpus, retriever)
        _show_results(results)
    typer.echo(f"\nDone in {time.monotonic() - started:.0f} s. Ask it yourself:\n")
    typer.echo(f"  ubm-embed query --session {home / 'session.json'} --store {home / 'store'}")
    typer.echo(f'  ubm-embed lookup --title "blue trail running shoes" --store {home / "store"}')


def _make_shop(folder: Path, seed: int) -> Corpus:
    from ubm_embed.data.corpus import Corpus
    from ubm_embed.data.sample_shop import write_sample_shop

    typer.echo(f"1. A made-up shop: {_PRODUCTS:,} products, {_SESSIONS:,} sessions of generated shoppers.")
    write_sample_shop(folder, products=_PRODUCTS, sessions=_SESSIONS, seed=seed)
    corpus = Corpus.open(folder)
    example = corpus.products.row(0, named=True)
    typer.echo(f"   A product: {example['title']} ({example['category']}), {example['price']:.2f}")
    return corpus


def _train(corpus: Corpus, folder: Path, seed: int) -> Evaluation:
    from ubm_embed.data.tasks.examples import Task
    from ubm_embed.evaluation.evaluation import evaluate
    from ubm_embed.model.start import fresh_model
    from ubm_embed.training.finetuning.finetune import finetune
    from ubm_embed.training.pretraining.pretrain import pretrain
    from ubm_embed.training.recipes import Recipe, finetuning_config, model_settings, pretraining_config

    typer.echo(
        "\n2. Pre-train a User Behavior Model, stage 1 on products, stage 2 on sessions, and fine-tune it for the next "
        "product; one session in five is kept out: half of those choose the weights, half are asked in the end."
    )
    sizes = model_settings(Recipe.SHOP, vocab_size=_VOCABULARY)
    model, tokenizer = fresh_model(corpus, seed=seed, **sizes)
    with progress() as shown, TemporaryDirectory() as aside:
        first = pretraining_config(Recipe.SHOP, seed=seed, **_PRETRAINING)
        pretrained = pretrain(corpus, model, tokenizer, Path(aside) / "pretrained", first, progress=shown)
        then = finetuning_config(Recipe.SHOP, Task.NIP, seed=seed, **_FINETUNING)
        made = finetune(corpus, pretrained, folder, then, progress=shown)
        return evaluate(Task.NIP, corpus, made, progress=shown)


def _index(home: Path) -> Retriever:
    from indexer.refresh.build import build_index
    from indexer.search.retriever import Retriever

    typer.echo("\n3. Embed the catalogue into a store and publish an index over it.")
    with progress() as shown:
        version = build_index(
            model=home / "model",
            products=home / "corpus" / "products.parquet",
            interactions=home / "corpus" / "interactions.parquet",
            store=home / "store",
            progress=shown,
        )
    typer.echo(f"   version {version.version}: {version.products:,} products, model {version.model_id}")
    return Retriever.open(home / "store")


def _show_session(corpus: Corpus, retriever: Retriever, kept_out: set[str], file: Path) -> None:
    from ubm_embed.data.session import parse_session

    document = _example_session(corpus, kept_out)
    file.write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", "utf-8")
    titles = dict(corpus.products.select("product_id", "title").iter_rows())
    typer.echo("\n4. A shopper who was kept out of training did this:")
    for interaction in document["interactions"]:
        typer.echo(f"   {interaction['action']:<7} {interaction.get('query') or titles[interaction['product_id']]}")
    typer.echo("   What they may want next:\n")
    _write_matches(retriever, parse_session(document))


def _kept_out(corpus: Corpus, model: Path) -> set[str]:
    """Ids of the sessions of the test part."""
    from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
    from ubm_embed.data.tasks.split import Split
    from ubm_embed.model.checkpoint import Checkpoint

    made = Checkpoint.from_pretrained(model)
    tokenized = TokenizedCorpus.of(corpus, made.tokenizer)
    part = Split.from_dict(made.record["split"]).membership(tokenized)
    return set(tokenized.session_ids[part == "test"])


def _example_session(corpus: Corpus, kept_out: set[str]) -> dict[str, Any]:
    """The beginning of a session of the test part that searches, compares and puts something into the cart."""
    for (session_id,), frame in corpus.interactions.group_by("session_id", maintain_order=True):
        actions = frame["action"].to_list()
        if session_id in kept_out and {"search", "add"} <= set(actions) and 5 <= len(actions) <= 9:
            return {"session_id": session_id, "interactions": _interactions(frame)}
    raise AssertionError("a shop of thousands of sessions has one like this")


def _interactions(frame: pl.DataFrame) -> list[dict[str, str]]:
    """As a session file has them: without what is null."""
    rows = frame.select("action", "product_id", "query").iter_rows(named=True)
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


def _write_matches(retriever: Retriever, session: Any) -> None:
    answer = retriever.recommend(session, 5)
    rows = [
        (match.rank, match.title, match.category, f"{match.fields['price']:.2f}", match.score)
        for match in answer.matches
    ]
    write_table(("rank", "title", "category", "price", "score"), rows)


def _show_unclicked(corpus: Corpus, retriever: Retriever) -> None:
    """Products without an interaction, looked for by what they are: category and attributes, without the title."""
    from ubm_embed.data.products import products_of
    from ubm_embed.data.session import Product

    clicked = corpus.interactions["product_id"].drop_nulls().unique()
    unclicked = list(products_of(corpus.products.filter(~corpus.products["product_id"].is_in(clicked.implode()))))
    found = []
    for product in unclicked:
        description = Product(title="", category=product.category, attributes=product.attributes)
        ids = [match.product_id for match in retriever.lookup(description, 10).matches]
        if product.product_id in ids:
            found.append((product, ids.index(product.product_id) + 1))
    typer.echo(f"\n5. {len(unclicked)} products are new: nobody ever clicked them, and no id of theirs was trained on.")
    typer.echo(
        f"   Described by category and attributes alone, {len(found)} of them are among the first 10 of a lookup."
    )
    if found:
        product, rank = found[0]
        attributes = ", ".join(f"{name} {value}" for name, value in product.attributes)
        typer.echo(f'   For "{product.category}, {attributes}", number {rank} is: {product.title}')


def _show_results(results: Evaluation) -> None:
    ubm, *others, popular = results.rows
    together = max(others, key=lambda row: row.metrics["hit@10"])
    typer.echo(f"\n6. The next product of {results.questions:,} sessions of the test part, out of all products:\n")
    rows = [(row.name, row.metrics["hit@10"], row.metrics["mrr@10"]) for row in results.rows]
    write_table(("model", "hit@10", "MRR@10"), rows)
    hits = ubm.metrics["hit@10"]
    ratio = hits / together.metrics["hit@10"]
    relation = "above" if ratio > 1.02 else "below" if ratio < 0.98 else "level with"
    typer.echo(
        f"\n   After minutes of training UBM has {hits / popular.metrics['hit@10']:.1f} times the hits of popularity, "
        f"and {ratio:.2f} times those of {together.name}: {relation} it."
    )
    typer.echo("   Co-occurrence knows nothing of a product without clicks; UBM reads its text.")
