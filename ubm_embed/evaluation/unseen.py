"""Which sessions of a corpus a model's training cannot have read, be it the training corpus itself or a later one.

Letters: S sessions.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import BoolArray
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.tasks.split import Split, SplitParts, Splittable, is_refit, refit_membership
from ubm_embed.data.tasks.task import SplitKind
from ubm_embed.data.tasks.training_ids import TRAINING_IDS_FILE, TrainingIds
from ubm_embed.errors import Conflict, InvalidData
from ubm_embed.model.folder import RECORD_FILE, ModelFolder

if TYPE_CHECKING:  # a diagnosis finds unseen sessions without PyTorch
    from ubm_embed.model.checkpoint import Checkpoint


@dataclass(frozen=True, kw_only=True)
class CorpusOverlap:
    """How a corpus relates to the one that a model was trained on.

    Attributes:
        is_training_corpus: it is that very corpus.
        rule: which of its sessions are the test part, in words.
        known_sessions: sessions that the training corpus had too, by id; None where that was not recorded.
        new_sessions, new_products: those that the training corpus did not have; None as well.
    """

    is_training_corpus: bool
    rule: str
    known_sessions: int | None
    new_sessions: int | None
    new_products: int | None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return vars(self).copy()

    def __str__(self) -> str:
        if self.is_training_corpus:
            return f"the corpus that the model was trained on; test part: {self.rule}"
        if self.known_sessions is None:
            counts = f"how much of it training has seen is not known: the model has no {TRAINING_IDS_FILE}"
        else:
            counts = (
                f"sessions known to training: {self.known_sessions:,}, new sessions: {self.new_sessions:,}, "
                f"new products: {self.new_products:,}"
            )
        return f"not the corpus that the model was trained on; {counts}; test part: {self.rule}"


@dataclass(frozen=True)
class UnseenPart:
    """A corpus with the sessions that a model may be tested on.

    Attributes:
        split: the one that the model was trained with.
        parts: of the corpus; the test part holds nothing that training has read, the training part whatever it may
            have read.
        membership: [S] the name of each session's part; None for leave-one-out.
        refit: the model, or the other one, was trained once more with the validation part, which the training part then
            has.
    """

    split: Split
    parts: SplitParts
    membership: NDArray[np.object_] | None
    overlap: CorpusOverlap
    refit: bool

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, corpus: Corpus, tokenized: TokenizedCorpus) -> Self:
        """What a model may be tested on; `tokenized` is `corpus` in its own tokens.

        Raises:
            InvalidData: its record names no split, or nothing is left to test on; says why.
        """
        split, ids, file = _training_of(checkpoint)
        refit = is_refit(checkpoint.record)
        if checkpoint.record.get("corpus") == tokenized.fingerprint():
            if not split.holdout:
                problem = "the model was trained on every session: none is left to test on; train with --holdout 0.1"
                raise InvalidData(problem, file=file, field="split.holdout")
            return cls._of_training_corpus(split, tokenized, refit)
        membership, rule = _membership(split, tokenized, ids, file)
        unseen = cls._from_membership(split, tokenized, membership, _overlap(corpus, tokenized, ids, rule), refit)
        unseen._require_test_part(file)
        return unseen

    @classmethod
    def _from_membership(
        cls,
        split: Split,
        tokenized: TokenizedCorpus,
        membership: NDArray[np.object_] | None,
        overlap: CorpusOverlap,
        refit: bool,
    ) -> Self:
        if membership is None:
            return cls(split, SplitParts.leave_one_out(tokenized.sessions, refit=refit), None, overlap, refit)
        membership = refit_membership(membership) if refit else membership
        return cls(split, SplitParts.from_membership(tokenized.sessions, membership), membership, overlap, refit)

    @classmethod
    def _of_training_corpus(cls, split: Split, tokenized: TokenizedCorpus, refit: bool) -> Self:
        membership = None if split.kind is SplitKind.LEAVE_ONE_OUT else split.membership(tokenized)
        overlap = CorpusOverlap(
            is_training_corpus=True,
            rule=f"that of the split by {split.kind}" if membership is not None else _LAST_INTERACTIONS,
            known_sessions=len(tokenized.sessions),
            new_sessions=0,
            new_products=0,
        )
        return cls._from_membership(split, tokenized, membership, overlap, refit)

    def shared_with(self, other: UnseenPart, tokenized: TokenizedCorpus, file: Path | None) -> UnseenPart:
        """What both models may be tested on, over the same sessions. If one was refitted, counts and baselines of both
        count the validation part: neither model's figures then depend on which of them is named first.

        Raises:
            Conflict: the models were trained with different splits.
            InvalidData: nothing is left.
        """
        if other.split != self.split:
            raise Conflict(
                f"the models were trained with different splits, {self.split.to_dict()} and {other.split.to_dict()}: "
                "one would be tested on sessions that it has read"
            )
        membership, refit = self.membership, self.refit or other.refit
        if membership is not None and other.membership is not None:
            membership = np.where(membership == "test", other.membership, membership)
        shared = self._from_membership(self.split, tokenized, membership, self.overlap, refit)
        shared._require_test_part(file)
        return shared

    def _require_test_part(self, file: Path | None) -> None:
        if not len(self.parts.test.sessions):
            raise InvalidData(f"no session is left to test on: {self.overlap}", file=file)


@dataclass(frozen=True)
class UnseenSessions:
    """Which sessions of a corpus training has not read.

    Attributes:
        mask: [S].
        rule: in words.
        last_only: training has read all but the last interaction of each, as in a leave-one-out split.
    """

    mask: BoolArray
    rule: str
    last_only: bool


def unseen_sessions(model: Checkpoint | ModelFolder, sessions: Splittable) -> UnseenSessions:
    """The sessions of `UnseenPart.from_checkpoint`, by their ids and times alone: no text is tokenised.

    Raises:
        InvalidData: which sessions training has read is not known.
    """
    split, ids, file = _training_of(model)
    membership, rule = _membership(split, sessions, ids, file)
    if membership is None:
        return UnseenSessions(np.ones(sessions.session_ids.size, dtype=bool), rule, True)
    return UnseenSessions(membership == "test", rule, False)


_LAST_INTERACTIONS = "the last interaction of every session of three or more, which only grow"


def _training_of(model: Checkpoint | ModelFolder) -> tuple[Split, TrainingIds | None, Path | None]:
    """The split that a model was trained with, the ids that training had, and the file of its training record."""
    file = None if model.path is None else model.path / RECORD_FILE
    split = Split.from_record(model.record)
    if split is None:
        problem = "the record names no split: which sessions training has read is not known"
        raise InvalidData(problem, file=file, field="split")
    return split, None if model.path is None else TrainingIds.load(model.path), file


def _membership(
    split: Split, tokenized: Splittable, ids: TrainingIds | None, file: Path | None
) -> tuple[NDArray[np.object_] | None, str]:
    """[S] the part of each session of a later corpus, and the rule in words."""
    if split.holdout and split.kind is SplitKind.LEAVE_ONE_OUT:
        return None, _LAST_INTERACTIONS
    read = None if ids is None else ids.has_read(tokenized.session_ids)
    if split.holdout and split.kind is SplitKind.TIME and (tokenized.starts is not None or read is None):
        membership = split.membership(tokenized)
        if read is not None:
            # By id as well: an earlier training of the same model may have had another split.
            membership[read & (membership == "test")] = "training"
        return membership, f"sessions that begin at {split.to_dict()['test_from']} or later, as in training's own split"
    if read is not None:
        hashed = split.holdout and split.kind is SplitKind.SESSION
        membership = split.membership(tokenized) if hashed else np.full(read.size, "training", dtype=object)
        membership[read & (membership == "test")] = "training"
        membership[~read] = "test"
        return membership, "sessions whose ids training has not read"
    if split.holdout:
        return split.membership(tokenized), "sessions whose ids hash into the test part"
    problem = "the model was trained on every session of another corpus and has no record of their ids: which of these "
    raise InvalidData(f"{problem}it has read is not known", file=file, field="split.holdout")


def _overlap(corpus: Corpus, tokenized: TokenizedCorpus, ids: TrainingIds | None, rule: str) -> CorpusOverlap:
    if ids is None:
        return CorpusOverlap(
            is_training_corpus=False, rule=rule, known_sessions=None, new_sessions=None, new_products=None
        )
    known = ids.has_read(tokenized.session_ids) | ids.has_held_out(tokenized.session_ids)
    return CorpusOverlap(
        is_training_corpus=False,
        rule=rule,
        known_sessions=int(known.sum()),
        new_sessions=int((~known).sum()),
        new_products=int((~ids.has_product(corpus.products["product_id"])).sum()),
    )
