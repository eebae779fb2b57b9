"""What is asked of a version, and where the time of an answer went."""

from __future__ import annotations

from dataclasses import dataclass, field

from indexer.search.ranking import Rules
from ubm_embed.data.session import Interaction, Session


@dataclass(frozen=True, slots=True)
class Query:
    """One session to be answered.

    Attributes:
        k: matches.
        explain: whether each match comes with its reasons.
        negatives: products that the answer should move away from, as interactions of the action view; they never match.
    """

    session: Session
    k: int = 10
    rules: Rules = field(default_factory=Rules)
    explain: bool = False
    negatives: tuple[Interaction, ...] = ()


@dataclass(slots=True)
class Timings:
    """Seconds that the parts of a call took, for all its queries together.

    Attributes:
        queue: waiting for other calls; 0 outside a service.
        resolve: products looked up by their ids.
        tokenise: texts to tokens.
        encode: the model.
        search: candidates, rules and ranking.
        rows: the products of the matches.
    """

    queue: float = 0.0
    resolve: float = 0.0
    tokenise: float = 0.0
    encode: float = 0.0
    search: float = 0.0
    rows: float = 0.0
