"""`ubm-embed query`: from sessions to the products that they may want next."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated

import typer

from cli.answer_options import (
    Boost,
    Diversity,
    Exclude,
    MaxPer,
    NoCounts,
    NoWords,
    PurchaseIntention,
    RemainingLength,
    Where,
    load_predictors,
    read_rules,
)
from cli.answers import AnswerWriter, warn_about_rules
from cli.console import Format, choose_format
from cli.inputs import open_chunks, source_name
from cli.process import loading
from cli.store_options import Store


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("query")(query)


def query(
    session: Annotated[
        str,
        typer.Option(
            "--session",
            metavar="FILE",
            help="One session as JSON, a list, or JSON Lines, answered as they come; - is stdin.",
        ),
    ],
    store: Store,
    k: Annotated[int, typer.Option("-k", "--k", min=1, help="Matches for each session.")] = 10,
    include_seen: Annotated[
        bool, typer.Option("--include-seen", help="Also match products that the session holds.")
    ] = False,
    output_format: Annotated[
        Format | None, typer.Option("--format", help="Default: a table on a terminal, JSON (Lines) in a pipe.")
    ] = None,
    where: Where = None,
    diversity: Diversity = 0.0,
    max_per: MaxPer = None,
    exclude: Exclude = None,
    boost: Boost = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say for each match which interactions pulled it up.")
    ] = False,
    no_counts: NoCounts = False,
    no_words: NoWords = False,
    number: Annotated[
        int | None, typer.Option("--version", metavar="N", min=1, help="A version other than the live one.")
    ] = None,
    purchase_intention: PurchaseIntention = None,
    remaining_length: RemainingLength = None,
) -> None:
    """Answer sessions with the products that they may want next.

    A product is named by its id in the store, or given inline with title, category and attributes. The score is the
    cosine of session and product, plus what counts, the words of a last search and a boost add.
    """
    with open_chunks(session) as chunks, ExitStack() as stack:
        with loading():
            rules = read_rules(where, diversity, max_per, exclude, boost, include_seen=include_seen)
            predictors = load_predictors(purchase_intention, remaining_length)

            from indexer.search.retriever import Retriever
            from ubm_embed.data.session_file import SessionFile, SessionLayout

            retriever = stack.enter_context(
                Retriever.open(store, version=number, predictors=predictors, counts=not no_counts, words=not no_words)
            )
        warn_about_rules(rules, retriever)
        file = SessionFile(chunks, name=source_name(session))
        chosen = choose_format(output_format)
        if output_format is None and chosen is Format.JSON and file.layout is SessionLayout.LINES:
            chosen = Format.JSONL  # lines in, lines out
        with AnswerWriter(chosen, several=file.layout is not SessionLayout.SESSION) as writer:
            for batch in file.batches():
                sessions = [one for _, one in batch]
                writer.write(retriever.recommend_many(sessions, k, rules, explain=explain))
