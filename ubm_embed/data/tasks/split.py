"""Which sessions training may read, which choose between models, and which judge the chosen one.

One split serves pre-training, fine-tuning and evaluation: it is kept in the training record, so that nothing is asked
that any of them has seen.

Letters: S sessions.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import BoolArray
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus, held_out
from ubm_embed.data.tasks.examples import Asked
from ubm_embed.errors import InvalidData


class SplitKind(enum.StrEnum):
    """By what sessions are told apart."""

    TIME = "time"
    SESSION = "session"
    LEAVE_ONE_OUT = "leave-one-out"


# What may be asked for: "auto" is by time where there are times.
SPLITS = ("auto", *SplitKind)


@dataclass(frozen=True)
class Parts:
    """A corpus, split.

    Attributes:
        training: sessions that training may read.
        validation, test: sessions that may be asked; of a leave-one-out split, those of training and one place more.
    """

    training: SessionTable
    validation: Asked
    test: Asked


@dataclass(frozen=True, kw_only=True)
class Split:
    """How a corpus is split.

    By time, the latest `holdout` of the sessions are held out: the first half of them is the validation part, the
    second the test part, as the paper's days follow each other (4.1.1). By session, a hash of the id decides, so that
    a session stays on its side while the corpus grows. Leave-one-out is how sequences of users are usually split: the
    last interaction is the test, the one before it the validation.

    Attributes:
        holdout: the share of the sessions held out; 0 holds out none. Leave-one-out only asks whether it is 0.
        validation_from, test_from: of a split by time, when these parts begin, microseconds since 1970.
    """

    kind: SplitKind
    holdout: float
    validation_from: int | None = None
    test_from: int | None = None

    @classmethod
    def choose(cls, corpus: TokenizedCorpus, *, holdout: float, kind: str = "auto") -> Self:
        """A split of this corpus, by one of `SPLITS`; "auto" is by time where every session has a timestamp.

        Raises:
            InvalidData: by time, and a session has no timestamp.
            ValueError: not one of `SPLITS`.
        """
        timed = SplitKind.SESSION if corpus.starts is None else SplitKind.TIME
        chosen = timed if kind == "auto" else SplitKind(kind)
        if chosen is not SplitKind.TIME:
            return cls(kind=chosen, holdout=holdout)
        if corpus.starts is None:
            raise InvalidData("a split by time needs a timestamp in every session; split by session", field="timestamp")
        if not holdout:
            return cls(kind=chosen, holdout=holdout)
        ordered = np.sort(corpus.starts)
        cuts = [min(int(ordered.size * (1 - share)), ordered.size - 1) for share in (holdout, holdout / 2)]
        return cls(kind=chosen, holdout=holdout, validation_from=int(ordered[cuts[0]]), test_from=int(ordered[cuts[1]]))

    @classmethod
    def of_record(cls, record: Mapping[str, Any], corpus: TokenizedCorpus) -> Self | None:
        """The split that a model was trained with, if that was on this very corpus and its record says so.

        Raises:
            InvalidData: the record's split is damaged.
        """
        if record.get("corpus") != corpus.fingerprint() or "split" not in record:
            return None
        try:
            return cls.from_dict(record["split"])
        except ValueError as error:
            raise InvalidData(f"not a training record: {error}", field="split") from None

    def parts(self, corpus: TokenizedCorpus) -> Parts:
        """The corpus, split.

        Raises:
            InvalidData: by time, and a session has no timestamp.
        """
        if self.kind is SplitKind.LEAVE_ONE_OUT and self.holdout:
            return _leave_one_out(corpus.sessions)
        validation, test = self._held_out(corpus)
        sessions = corpus.sessions
        return Parts(
            training=sessions.take(np.flatnonzero(~(validation | test))),
            validation=Asked.whole(sessions.take(np.flatnonzero(validation))),
            test=Asked.whole(sessions.take(np.flatnonzero(test))),
        )

    def membership(self, corpus: TokenizedCorpus) -> NDArray[np.object_]:
        """[S] "training", "validation" or "test" for each session of the corpus.

        Raises:
            InvalidData: by time, and a session has no timestamp.
            ValueError: leave-one-out, where a session is in all three.
        """
        if self.kind is SplitKind.LEAVE_ONE_OUT:
            raise ValueError("a leave-one-out split has every session in all of its parts")
        validation, test = self._held_out(corpus)
        return np.where(test, "test", np.where(validation, "validation", "training")).astype(object)

    def _held_out(self, corpus: TokenizedCorpus) -> tuple[BoolArray, BoolArray]:
        """[S] whether a session is of the validation part, and whether of the test part."""
        if not self.holdout:
            none = np.zeros(len(corpus.sessions), dtype=bool)
            return none, none
        if self.kind is SplitKind.TIME:
            if corpus.starts is None:
                raise InvalidData("the model was trained on a split by time, and this corpus has no timestamps")
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
        if split.kind is SplitKind.TIME and split.holdout and len(times) != 2:
            raise ValueError("a split by time needs validation_from and test_from")
        return split


def _microseconds(text: str) -> int:
    return int(np.datetime64(datetime.fromisoformat(text), "us").astype(np.int64))


def _leave_one_out(sessions: SessionTable) -> Parts:
    """Sessions of fewer than three interactions have nothing to leave: training reads them whole."""
    starts, stops = sessions.offsets[:-1], sessions.offsets[1:]
    long_enough = np.flatnonzero(sessions.lengths >= 3)
    training = sessions.slices(starts, np.where(sessions.lengths >= 3, stops - 2, stops))
    validation = sessions.slices(starts[long_enough], stops[long_enough] - 1)
    test = sessions.take(long_enough)
    return Parts(training, Asked(validation, validation.lengths - 1), Asked(test, test.lengths - 1))
