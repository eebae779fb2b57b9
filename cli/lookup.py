"""`ubm-embed lookup`: products like a given one, even if nobody has clicked it yet."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from cli.answer_options import (
    Boost,
    Diversity,
    Exclude,
    MaxPer,
    NoWords,
    PurchaseIntention,
    RemainingLength,
    Where,
    load_predictors,
    read_rules,
)
from cli.answers import AnswerWriter, warn_about_rules
from cli.console import Format, choose_format
from cli.inputs import read_text, source_name
from cli.process import loading
from cli.store_options import Store

if TYPE_CHECKING:
    from ubm_embed.data.session import Product, Session


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("lookup")(lookup)


def lookup(
    store: Store,
    title: Annotated[
        str | None, typer.Option("--title", help="Title of a product; the store need not have it.")
    ] = None,
    category: Annotated[str | None, typer.Option("--category", help="Its category.")] = None,
    attributes: Annotated[
        list[str] | None, typer.Option("--attribute", metavar="NAME=VALUE", help="One of its attributes; repeatable.")
    ] = None,
    phrase: Annotated[
        str | None, typer.Option("--query", metavar="WORDS", help="What a shopper searches for, instead of a product.")
    ] = None,
    product_id: Annotated[
        str | None, typer.Option("--product-id", metavar="ID", help="A product of the store.")
    ] = None,
    file: Annotated[
        str | None, typer.Option("--file", metavar="FILE", help="A product as JSON, as in a session; - is stdin.")
    ] = None,
    k: Annotated[int, typer.Option("-k", "--k", min=1, help="Matches.")] = 10,
    where: Where = None,
    diversity: Diversity = 0.0,
    max_per: MaxPer = None,
    exclude: Exclude = None,
    boost: Boost = None,
    no_words: NoWords = False,
    output_format: Annotated[
        Format | None, typer.Option("--format", help="Default: a table on a terminal, else JSON.")
    ] = None,
    purchase_intention: PurchaseIntention = None,
    remaining_length: RemainingLength = None,
) -> None:
    """Find the products most like one: given by its text, by a file, or by its id in the store; or those of a search.

    The score is the cosine, plus what shared words add, except for a product of the store, and a boost.
    """
    words = [word for word in (title, category, *(attributes or ())) if word is not None]
    _require_one_source(words, phrase, product_id, file)
    product = _product_from_options(title, category, attributes or [], file)

    with ExitStack() as stack:
        with loading():
            rules = read_rules(where, diversity, max_per, exclude, boost)
            predictors = load_predictors(purchase_intention, remaining_length)

            from indexer.search.retriever import Retriever

            retriever = stack.enter_context(
                Retriever.open(store, predictors=predictors, counts=False, words=not no_words)
            )
        warn_about_rules(rules, retriever)
        if product is not None:
            answer = retriever.lookup(product, k, rules)
        elif phrase is not None:
            answer = retriever.recommend(_search(phrase), k, rules)
        else:
            answer = retriever.lookup_id(product_id or "", k, rules)
    with AnswerWriter(choose_format(output_format)) as writer:
        writer.write([answer])


def _require_one_source(words: list[str], phrase: str | None, product_id: str | None, file: str | None) -> None:
    if sum(source is not None for source in (phrase, product_id, file)) + bool(words) != 1:
        raise typer.BadParameter(
            "give either --query, or --product-id, or --file, or some of --title, --category and --attribute"
        )
    if not all(word.strip() for word in (*words, phrase if phrase is not None else "none")):
        raise typer.BadParameter("--title, --category or --query is empty")


def _search(phrase: str) -> Session:
    """A session that is one search."""
    from ubm_embed.data.session import Action, Interaction, Session

    return Session((Interaction(Action.SEARCH, query=phrase),))


def _product_from_options(
    title: str | None, category: str | None, attributes: list[str], file: str | None
) -> Product | None:
    """The product whose text was given; None if it is named by id."""
    if file is not None:
        return _read_product(file)
    if title is None and category is None and not attributes:
        return None
    from ubm_embed.data.session import parse_product

    pairs = [{"name": name, "value": value} for name, value in map(_attribute, attributes)]
    return parse_product({"title": title, "category": category, "attributes": pairs})


def _attribute(pair: str) -> tuple[str, str]:
    name, equals, value = pair.partition("=")
    if not (name.strip() and equals and value.strip()):
        raise typer.BadParameter(f"--attribute expects NAME=VALUE, got {pair!r}")
    return name.strip(), value.strip()


def _read_product(source: str) -> Product:
    from ubm_embed.data.session import parse_product, read_json
    from ubm_embed.errors import InvalidData

    name = source_name(source)
    try:
        return parse_product(read_json(read_text(source), name))
    except InvalidData as error:
        if error.file is not None:
            raise
        raise InvalidData(error.problem, file=name, field=error.field) from None
