"""`ubm-embed query`: from sessions to the products they may want next."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from cli.answers import warn_of, write_answers
from cli.console import Format, choose_format
from cli.inputs import name_of, read_text
from cli.predictors import PurchaseIntention, RemainingLength, predictors_of
from cli.rules import Boost, Diversity, Exclude, MostPer, Where, rules_of
from cli.store_options import Store

if TYPE_CHECKING:
    from ubm_embed.data.session import Session

# One search for this many: enough to be fast, little enough for memory.
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
    form: Annotated[
        Format | None, typer.Option("--format", help="Default: a table on a terminal, JSON (Lines) in a pipe.")
    ] = None,
    where: Where = None,
    diversity: Diversity = 0.0,
    most_per: MostPer = None,
    exclude: Exclude = None,
    boost: Boost = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say of each match which interactions pulled it up.")
    ] = False,
    number: Annotated[
        int | None, typer.Option("--version", metavar="N", min=1, help="A version other than the live one.")
    ] = None,
    purchase_intention: PurchaseIntention = None,
    remaining_length: RemainingLength = None,
) -> None:
    """Answer sessions with the products they may want next.

    A product is named by its id in the store, or given inline with title, category and attributes.
    """
    from ubm_embed.data.session import read_sessions

    text = read_text(session)
    sessions = [one for _, one in read_sessions(io.StringIO(text), name=name_of(session))]
    listed = text.lstrip("\ufeff \t\r\n").startswith("[")

    rules = rules_of(where, diversity, most_per, exclude, boost, include_seen=include_seen)
    predictors = predictors_of(purchase_intention, remaining_length)

    from indexer.search.retriever import Retriever

    retriever = Retriever.open(store, version=number, predictors=predictors)
    answers = [
        answer for some in _parts(sessions) for answer in retriever.recommend_many(some, k, rules, explain=explain)
    ]
    warn_of(answers)
    chosen = choose_format(form)
    if form is None and chosen is Format.JSON and len(sessions) > 1 and not listed:
        chosen = Format.JSONL  # lines in, lines out
    write_answers(answers, chosen, as_list=listed)


def _parts(sessions: Sequence[Session]) -> Iterator[Sequence[Session]]:
    for first in range(0, len(sessions), _SESSIONS_AT_ONCE):
        yield sessions[first : first + _SESSIONS_AT_ONCE]
