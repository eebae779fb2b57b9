"""What training and test share although they should not, or what one would want to know that they share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import polars as pl

from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.tables.timestamps import as_timestamp
from ubm_embed.data.tasks.split import Split, SplitKind
from ubm_embed.errors import InvalidData


@dataclass(frozen=True, kw_only=True)
class LeakReport:
    """What the training part and the test part of a split share.

    Attributes:
        split: by what.
        training, validation, test: sessions of each part.
        repeated: sessions of the test part that training has too, action by action and product by product.
        users: users of the test part who also have a session in training; None where the log names none.
        overlapping: training sessions still going on when the test part begins; None but of a split by time.
        pretrained: "yes" where pre-training kept to this split, or else what it read: "it saw every session", "another
            corpus" or "unknown".

    A leave-one-out split has every user and every session on both sides: it counts neither users nor overlaps.
    """

    split: str
    training: int
    validation: int
    test: int
    repeated: int
    users: int | None
    overlapping: int | None
    pretrained: str

    @classmethod
    def of(cls, corpus: Corpus, tokenized: TokenizedCorpus, split: Split, *, pretrained: str) -> Self:
        """Compare the parts of a corpus split; `corpus` is what `tokenized` was made from."""
        parts = split.parts(tokenized)
        trained = set(_contents(parts.training))
        apart = split.kind is not SplitKind.LEAVE_ONE_OUT
        return cls(
            split=str(split.kind),
            training=len(parts.training),
            validation=len(parts.validation.sessions),
            test=len(parts.test.sessions),
            repeated=sum(content in trained for content in _contents(parts.test.sessions)),
            users=_shared_users(corpus, tokenized, split) if apart else None,
            overlapping=_overlapping(corpus, tokenized, split) if apart else None,
            pretrained=pretrained,
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON and the training record."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [
            f"split by {self.split}: {self.training:,} sessions to train on, {self.validation:,} to choose by, "
            f"{self.test:,} to judge by",
            f"test sessions that training has too, interaction for interaction: {self.repeated:,}",
        ]
        if self.users is not None:
            lines.append(f"users of the test part with a session in training: {self.users:,}")
        if self.overlapping is not None:
            lines.append(f"training sessions still going on when the test part begins: {self.overlapping:,}")
        if self.pretrained != "yes":
            lines.append(f"pre-training may have seen the test part ({self.pretrained})")
        return "; ".join(lines)


def kept_to_split(record: Mapping[str, Any]) -> str:
    """What a model's training record says of whether its pre-training kept to its split; "yes" of a fresh one.

    Raises:
        InvalidData: the record is damaged.
    """
    leaks = record.get("leaks", {"pretrained": "yes"})
    if not isinstance(leaks, dict) or not isinstance(leaks.get("pretrained"), str):
        raise InvalidData(f"not a training record: expected a leak report, got {leaks!r}", field="leaks")
    return str(leaks["pretrained"])


def _contents(sessions: SessionTable) -> Iterator[bytes]:
    """[S] equal for equal sessions, and only for them."""
    bounds = zip(sessions.offsets[:-1], sessions.offsets[1:], strict=True)
    return (sessions.actions[start:stop].tobytes() + sessions.rows[start:stop].tobytes() for start, stop in bounds)


def _shared_users(corpus: Corpus, tokenized: TokenizedCorpus, split: Split) -> int | None:
    if "user_id" not in corpus.interactions.columns or corpus.interactions["user_id"].is_null().all():
        return None
    users = corpus.interactions.group_by("session_id", maintain_order=True).agg(pl.col("user_id").drop_nulls().first())
    part = split.membership(tokenized)
    test, training = (
        set(users["user_id"].filter(pl.Series(part == name)).drop_nulls()) for name in ("test", "training")
    )
    return len(test & training)


def _overlapping(corpus: Corpus, tokenized: TokenizedCorpus, split: Split) -> int | None:
    if tokenized.starts is None or split.kind is not SplitKind.TIME:
        return None
    times = as_timestamp(pl.col("timestamp"), corpus.interactions.schema["timestamp"])
    ends = corpus.interactions.group_by("session_id", maintain_order=True).agg(times.max().dt.epoch("us").alias("end"))
    part = split.membership(tokenized)
    if not (part == "test").any():
        return 0
    return int(np.sum(ends["end"].to_numpy()[part == "training"] >= tokenized.starts[part == "test"].min()))
