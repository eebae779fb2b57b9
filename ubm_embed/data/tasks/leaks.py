"""What training and test share although they should not, and what one would want to know that they share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.tables.timestamps import as_timestamp
from ubm_embed.data.tasks.split import Split, SplitParts
from ubm_embed.data.tasks.task import SplitKind
from ubm_embed.errors import InvalidData


@dataclass(frozen=True, kw_only=True)
class LeakReport:
    """What the training part and the test part of a split share.

    Attributes:
        split: the kind of split.
        training, validation, test: sessions of each part.
        repeated_sessions: test sessions that equal a training session, action by action and product by product; None
            if the corpus has no training session, as a later log alone has none: then it is not known.
        shared_users: users of the test part who also have a session in training; None as well, or if the log names no
            users.
        overlapping_sessions: training sessions still going on when the test part begins; None unless split by time.
        pretraining_problem: why pre-training may have read the test part: "it saw every session", "another corpus" or
            "unknown"; None where it kept to this split.

    A leave-one-out split has every user and every session on both sides: it counts neither users nor overlaps.
    """

    split: str
    training: int
    validation: int
    test: int
    repeated_sessions: int | None
    shared_users: int | None
    overlapping_sessions: int | None
    pretraining_problem: str | None

    @classmethod
    def from_split(
        cls,
        corpus: Corpus,
        tokenized: TokenizedCorpus,
        split: Split,
        *,
        pretraining_problem: str | None,
        refit: bool = False,
    ) -> Self:
        """Compare the parts of a corpus split; `corpus` is what `tokenized` was made from.

        Args:
            refit: as in `Split.parts`.
        """
        left_out = split.kind is SplitKind.LEAVE_ONE_OUT
        membership = None if left_out else split.membership(tokenized, refit=refit)
        parts = split.parts(tokenized, refit=refit)
        return cls.from_parts(corpus, tokenized, split, parts, membership, pretraining_problem=pretraining_problem)

    @classmethod
    def from_parts(
        cls,
        corpus: Corpus,
        tokenized: TokenizedCorpus,
        split: Split,
        parts: SplitParts,
        membership: NDArray[np.object_] | None,
        *,
        pretraining_problem: str | None,
    ) -> Self:
        """Compare parts that are given.

        Args:
            membership: [S] the name of each session's part; None where every session is in all of them.
        """
        training = set(_contents(parts.training))
        return cls(
            split=str(split.kind),
            training=len(parts.training),
            validation=len(parts.validation.sessions),
            test=len(parts.test.sessions),
            repeated_sessions=(
                sum(content in training for content in _contents(parts.test.sessions) if content) if training else None
            ),
            shared_users=None if membership is None or not training else _shared_users(corpus, membership),
            overlapping_sessions=(
                None
                if membership is None or split.kind is not SplitKind.TIME
                else _overlapping_sessions(corpus, tokenized, membership)
            ),
            pretraining_problem=pretraining_problem,
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON and the training record."""
        return asdict(self) | {"pretraining_respects_split": self.pretraining_problem is None}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote, also before 1.0.

        Raises:
            InvalidData: something else.
        """
        renamed = {"repeated": "repeated_sessions", "users": "shared_users", "overlapping": "overlapping_sessions"}
        values = {renamed.get(name, name): value for name, value in document.items()}
        values["pretraining_problem"] = pretraining_problem({"leaks": document})
        try:
            return cls(**{field.name: values[field.name] for field in fields(cls)})
        except KeyError as error:
            raise InvalidData(f"not a leak report: {error.args[0]} is missing", field="leaks") from None

    def __str__(self) -> str:
        lines = [
            f"split by {self.split}: {self.training:,} sessions for training, {self.validation:,} for validation, "
            f"{self.test:,} for the test"
        ]
        if self.repeated_sessions is None:
            lines.append(
                "the corpus has no session that training read: what they share, and how often training saw an answer, "
                "is not known, and there are no baselines that count"
            )
        else:
            lines.append(f"test sessions that equal a training session: {self.repeated_sessions:,}")
        if self.shared_users is not None:
            lines.append(f"users of the test part with a session in training: {self.shared_users:,}")
        if self.overlapping_sessions is not None:
            lines.append(f"training sessions still going on when the test part begins: {self.overlapping_sessions:,}")
        if self.pretraining_problem is not None:
            lines.append(f"pre-training may have seen the test part ({self.pretraining_problem})")
        return "; ".join(lines)


def pretraining_problem(record: Mapping[str, Any]) -> str | None:
    """Why pre-training may have read the test part, by a model's training record; None if it kept to its split.

    Raises:
        InvalidData: the record is damaged.
    """
    leaks = record.get("leaks", {"pretraining_problem": None})
    # Before 1.0 the key was "pretrained", and "yes" stood for no problem.
    problem = leaks.get("pretraining_problem", leaks.get("pretrained", 0)) if isinstance(leaks, dict) else 0
    if problem is not None and not isinstance(problem, str):
        raise InvalidData(f"not a training record: expected a leak report, got {leaks!r}", field="leaks")
    return None if problem == "yes" else problem


def _contents(sessions: SessionTable) -> Iterator[bytes]:
    """[S] equal for equal sessions, and only for them."""
    bounds = zip(sessions.offsets[:-1], sessions.offsets[1:], strict=True)
    return (sessions.actions[start:stop].tobytes() + sessions.rows[start:stop].tobytes() for start, stop in bounds)


def _shared_users(corpus: Corpus, membership: NDArray[np.object_]) -> int | None:
    if "user_id" not in corpus.interactions.columns or corpus.interactions["user_id"].is_null().all():
        return None
    users = corpus.interactions.group_by("session_id", maintain_order=True).agg(pl.col("user_id").drop_nulls().first())
    test, training = (
        set(users["user_id"].filter(pl.Series(membership == name)).drop_nulls()) for name in ("test", "training")
    )
    return len(test & training)


def _overlapping_sessions(corpus: Corpus, tokenized: TokenizedCorpus, membership: NDArray[np.object_]) -> int | None:
    if tokenized.starts is None:
        return None
    times = as_timestamp(pl.col("timestamp"), corpus.interactions.schema["timestamp"])
    ends = corpus.interactions.group_by("session_id", maintain_order=True).agg(times.max().dt.epoch("us").alias("end"))
    if not (membership == "test").any():
        return 0
    test_begins = tokenized.starts[membership == "test"].min()
    return int(np.sum(ends["end"].to_numpy()[membership == "training"] >= test_begins))
