"""Which sessions training may read, which choose between models, and which measure the chosen one.

One split serves pre-training, fine-tuning and evaluation: the training record keeps it, so that no test example was
seen by any of them.

Letters: S sessions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ubm_embed.data.arrays import BoolArray
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.removals import frequent_removals, taken_back
from ubm_embed.data.tasks.examples import TargetRange
from ubm_embed.data.tasks.task import SplitKind
from ubm_embed.errors import InvalidData


class Splittable(Protocol):
    """What a split looks at: a `TokenizedCorpus`, or the `session_times` of a corpus that is not tokenised yet."""

    @property
    def session_ids(self) -> NDArray[np.object_]:
        """[S]."""

    @property
    def starts(self) -> NDArray[np.int64] | None:
        """[S] microseconds since 1970; None where a session has no timestamp."""


@dataclass(frozen=True)
class SplitParts:
    """A corpus, split.

    Attributes:
        training: sessions that training may read.
        validation, test: sessions and where their targets may be; in a leave-one-out split the sessions of training,
            one interaction longer each.
    """

    training: SessionTable
    validation: TargetRange
    test: TargetRange

    @classmethod
    def from_membership(cls, sessions: SessionTable, membership: NDArray[np.object_]) -> Self:
        """Parts by the name of the part that each session is in: [S] "training", "validation" or "test"."""
        training, validation, test = (
            sessions.take(np.flatnonzero(membership == name)) for name in ("training", "validation", "test")
        )
        return cls(training, TargetRange.whole(validation), TargetRange.whole(test))

    @classmethod
    def leave_one_out(cls, sessions: SessionTable, *, refit: bool = False) -> Self:
        """The last interaction of each session tests, the one before it validates.

        Sessions of fewer than three interactions have nothing to leave out: training reads them whole.

        Args:
            refit: as in `Split.parts`.
        """
        starts, stops = sessions.offsets[:-1], sessions.offsets[1:]
        long_enough = np.flatnonzero(sessions.lengths >= 3)
        training = sessions.slices(starts, np.where(sessions.lengths >= 3, stops - (1 if refit else 2), stops))
        validating = long_enough[:0] if refit else long_enough
        validation = sessions.slices(starts[validating], stops[validating] - 1)
        test = sessions.take(long_enough)
        return cls(training, TargetRange(validation, validation.lengths - 1), TargetRange(test, test.lengths - 1))


@dataclass(frozen=True, kw_only=True)
class Split:
    """How a corpus is split.

    By time, the latest `holdout` of the sessions are held out: the first half of them is the validation part, the
    second the test part, as the paper's days follow each other (4.1.1). By session, a hash of the id decides, so that
    a session stays on its side while the corpus grows. Leave-one-out is how sequences of users are usually split: the
    last interaction is the test, the one before it the validation.

    Attributes:
        kind: any but `SplitKind.AUTO`.
        holdout: fraction of the sessions held out, 0 for none. Leave-one-out only looks at whether it is 0.
        validation_from, test_from: of a split by time, when these parts begin, microseconds since 1970.
    """

    kind: SplitKind
    holdout: float
    validation_from: int | None = None
    test_from: int | None = None

    @classmethod
    def choose(cls, corpus: Splittable, *, holdout: float, kind: str = SplitKind.AUTO) -> Self:
        """A split of this corpus.

        Raises:
            InvalidData: by time, and a session has no timestamp.
            ValueError: not a `SplitKind`.
        """
        chosen = SplitKind(kind)
        if chosen is SplitKind.AUTO:
            chosen = SplitKind.SESSION if corpus.starts is None else SplitKind.TIME
        if chosen is not SplitKind.TIME:
            return cls(kind=chosen, holdout=holdout)
        if corpus.starts is None:
            raise InvalidData("a split by time needs a timestamp in every session; split by session", field="timestamp")
        if not holdout:
            return cls(kind=chosen, holdout=holdout)
        ordered = np.sort(corpus.starts)
        cuts = [min(int(ordered.size * (1 - fraction)), ordered.size - 1) for fraction in (holdout, holdout / 2)]
        return cls(kind=chosen, holdout=holdout, validation_from=int(ordered[cuts[0]]), test_from=int(ordered[cuts[1]]))

    @classmethod
    def from_record(cls, record: Mapping[str, Any], corpus: TokenizedCorpus | None = None) -> Self | None:
        """The split that a model was trained with, None if its record has none.

        Args:
            corpus: return None too unless the model was trained on this very corpus.

        Raises:
            InvalidData: the record's split is damaged.
        """
        if "split" not in record or (corpus is not None and record.get("corpus") != corpus.fingerprint()):
            return None
        try:
            return cls.from_dict(record["split"])
        except ValueError as error:
            raise InvalidData(f"not a training record: {error}", field="split") from None

    def parts(self, corpus: TokenizedCorpus, *, refit: bool = False) -> SplitParts:
        """The corpus, split.

        Args:
            refit: for a model that was trained once more with the validation part: training has it, and none validates.

        Raises:
            InvalidData: by time, and a session has no timestamp.
        """
        if self.kind is SplitKind.LEAVE_ONE_OUT and self.holdout:
            return SplitParts.leave_one_out(corpus.sessions, refit=refit)
        return SplitParts.from_membership(corpus.sessions, self._names(corpus, refit))

    def membership(self, corpus: Splittable, *, refit: bool = False) -> NDArray[np.object_]:
        """[S] "training", "validation" or "test" for each session of the corpus.

        Args:
            refit: as in `parts`.

        Raises:
            InvalidData: by time, and a session has no timestamp.
            ValueError: leave-one-out, where a session is in all three.
        """
        if self.kind is SplitKind.LEAVE_ONE_OUT:
            raise ValueError("a leave-one-out split has every session in all of its parts")
        return self._names(corpus, refit)

    def training_phrases(self, corpus: Corpus) -> pl.Series:
        """The search phrases of the training part, repeats included: what a vocabulary may be learned from.

        Raises:
            InvalidData: by time, and a session has no timestamp.
        """
        if self.kind is SplitKind.LEAVE_ONE_OUT:
            length, index = pl.len().over("session_id"), pl.int_range(pl.len()).over("session_id")
            last = 2 if self.holdout else 0
            interactions = corpus.interactions
            if not frequent_removals(interactions):  # then the vocabulary has no token for them
                interactions = interactions.filter(~taken_back(interactions))
            interactions = interactions.filter((length < 3) | (index < length - last))
        else:
            times = corpus.session_times()
            training = pl.Series(times.session_ids[self.membership(times) == "training"], dtype=pl.String)
            interactions = corpus.select_sessions(training).interactions
        return interactions["query"].drop_nulls()

    def _names(self, corpus: Splittable, refit: bool) -> NDArray[np.object_]:
        validation, test = self._held_out(corpus)
        membership = np.where(test, "test", np.where(validation, "validation", "training")).astype(object)
        return refit_membership(membership) if refit else membership

    def _held_out(self, corpus: Splittable) -> tuple[BoolArray, BoolArray]:
        """[S] whether a session is in the validation part, and whether in the test part."""
        if not self.holdout:
            nowhere = np.zeros(corpus.session_ids.size, dtype=bool)
            return nowhere, nowhere
        if self.kind is SplitKind.TIME:
            if corpus.starts is None:
                raise InvalidData(
                    "the model was trained on a split by time, which needs a timestamp in every session of the corpus",
                    field="timestamp",
                )
            assert self.validation_from is not None
            assert self.test_from is not None
            test = corpus.starts >= self.test_from
            return (corpus.starts >= self.validation_from) & ~test, test
        test = held_out(corpus.session_ids, self.holdout / 2)
        return held_out(corpus.session_ids, self.holdout) & ~test, test

    def to_dict(self) -> dict[str, Any]:
        """For the training record, times as ISO 8601 in UTC."""
        document: dict[str, Any] = {"kind": str(self.kind), "holdout": self.holdout}
        for name in ("validation_from", "test_from"):
            if (value := getattr(self, name)) is not None:
                document[name] = np.datetime64(value, "us").item().isoformat()
        return document

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """From a training record.

        Raises:
            ValueError: not what `to_dict` wrote.
        """
        try:
            names = [name for name in ("validation_from", "test_from") if name in document]
            times = {name: _microseconds(document[name]) for name in names}
            split = cls(kind=SplitKind(document["kind"]), holdout=float(document["holdout"]), **times)
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a split: {document!r}") from error
        if split.kind is SplitKind.AUTO:
            raise ValueError(f"not a split: {document!r}")
        if split.kind is SplitKind.TIME and split.holdout and len(times) != 2:
            raise ValueError("a split by time needs validation_from and test_from")
        return split


def held_out(session_ids: NDArray[np.object_], fraction: float) -> BoolArray:
    """[S] which sessions are held out of training: about `fraction` of them.

    By a hash of the id, so that a session stays on its side while the corpus grows, and training and evaluation agree
    without a file between them.
    """
    limit = int(fraction * 2**64)
    hashes = (hashlib.blake2b(str(name).encode(), digest_size=8).digest() for name in session_ids)
    return np.fromiter((int.from_bytes(digest, "big") < limit for digest in hashes), dtype=bool, count=session_ids.size)


def refit_membership(membership: NDArray[np.object_]) -> NDArray[np.object_]:
    """[S] the names of the sessions' parts where a refit trains on the validation part too."""
    return np.where(membership == "validation", "training", membership).astype(object)


def is_refit(record: Mapping[str, Any]) -> bool:
    """Whether the model with this training record was trained once more with the validation part."""
    tuned = record.get("finetuning")
    return isinstance(tuned, Mapping) and bool(tuned.get("refit_steps"))


def _microseconds(text: str) -> int:
    return int(np.datetime64(datetime.fromisoformat(text), "us").astype(np.int64))
