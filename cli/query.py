"""`ubm-embed query`: from sessions to the products that they may want next."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from cli.answer_options import (
    Boost,
    Diversity,
    Exclude,
    MaxPer,
    PurchaseIntention,
    RemainingLength,
    Where,
    load_predictors,
    read_rules,
)
from cli.answers import warn_about, warn_about_rules, write_answers
from cli.console import Format, choose_format
from cli.inputs import read_text, source_name
from cli.store_options import Store
from ubm_embed.errors import InvalidData

if TYPE_CHECKING:
    from ubm_embed.data.session import Session

# Sessions in one search: enough to be fast, and few enough for the memory.
_SESSIONS_AT_ONCE = 256


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("query")(query)


def query(
    session: Annotated[
        str, typer.Option("--session", metavar="FILE", help="One session as JSON, a list, or JSON Lines; - is stdin.")
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
    number: Annotated[
        int | None, typer.Option("--version", metavar="N", min=1, help="A version other than the live one.")
    ] = None,
    purchase_intention: PurchaseIntention = None,
    remaining_length: RemainingLength = None,
) -> None:
    """Answer sessions with the products that they may want next.

    A product is named by its id in the store, or given inline with title, category and attributes.
    """
    from ubm_embed.data.session import read_sessions

    text = read_text(session)
    sessions = [one for _, one in read_sessions(io.StringIO(text), name=source_name(session))]
    if not sessions:
        raise InvalidData("no session; expected at least one in the list", file=source_name(session))
    is_list = text.lstrip("\ufeff \t\r\n").startswith("[")

    rules = read_rules(where, diversity, max_per, exclude, boost, include_seen=include_seen)
    predictors = load_predictors(purchase_intention, remaining_length)

    from indexer.search.retriever import Retriever

    retriever = Retriever.open(store, version=number, predictors=predictors)
    warn_about_rules(rules, retriever)
    answers = [
        answer for part in _parts(sessions) for answer in retriever.recommend_many(part, k, rules, explain=explain)
    ]
    warn_about(answers)
    chosen = choose_format(output_format)
    if output_format is None and chosen is Format.JSON and len(sessions) > 1 and not is_list:
        chosen = Format.JSONL  # lines in, lines out
    write_answers(answers, chosen, as_list=is_list)


def _parts(sessions: Sequence[Session]) -> Iterator[Sequence[Session]]:
    for first in range(0, len(sessions), _SESSIONS_AT_ONCE):
        yield sessions[first : first + _SESSIONS_AT_ONCE]
