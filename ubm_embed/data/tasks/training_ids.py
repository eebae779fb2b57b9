"""Which sessions and products training had, by a short hash of each id: a small file beside the model.

A split's rule tells which sessions of its own corpus were held out. Of a later corpus only ids can tell a new session
from one that training has read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from ubm_embed.data.arrays import BoolArray
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.tasks.split import Split
from ubm_embed.data.tasks.task import SplitKind
from ubm_embed.errors import InvalidData

TRAINING_IDS_FILE = "training_ids.safetensors"
_PARTS = ("read", "held_out", "products")


@dataclass(frozen=True)
class TrainingIds:
    """Sorted hashes of ids, four bytes each.

    With N ids recorded, so short a hash takes about one new id in 2^32 / N for a recorded one, and never a recorded one
    for a new one: an evaluation may leave out a session that it could have used, but uses none that training has read.

    Attributes:
        read: sessions of the training and validation parts; of a leave-one-out split all of them.
        held_out: sessions of the test part.
        products: products of the catalogue.
    """

    read: NDArray[np.uint32]
    held_out: NDArray[np.uint32]
    products: NDArray[np.uint32]

    @classmethod
    def from_split(cls, corpus: Corpus, tokenized: TokenizedCorpus, split: Split) -> Self:
        """The ids of a corpus that a model is trained on; `corpus` is what `tokenized` was made from."""
        test = np.zeros(tokenized.session_ids.size, dtype=bool)
        if split.kind is not SplitKind.LEAVE_ONE_OUT:
            test = split.membership(tokenized) == "test"
        sessions = _hashes(tokenized.session_ids)
        return cls(
            np.unique(sessions[~test]), np.unique(sessions[test]), np.unique(_hashes(corpus.products["product_id"]))
        )

    @classmethod
    def load(cls, folder: str | Path) -> Self | None:
        """The ids in a model folder; None if the file is missing, as in models from before 1.0.

        Raises:
            InvalidData: the file is damaged.
        """
        file = Path(folder) / TRAINING_IDS_FILE
        if not file.is_file():
            return None
        try:
            arrays = load_file(file)
        except (SafetensorError, OSError) as error:
            raise InvalidData(f"not the ids of a training corpus: {error}", file=file) from None
        if arrays.keys() != set(_PARTS) or any(
            array.dtype != np.uint32 or array.ndim != 1 for array in arrays.values()
        ):
            raise InvalidData(f"not the ids of a training corpus: expected {', '.join(_PARTS)}", file=file)
        return cls(**arrays)

    def save(self, folder: str | Path) -> None:
        """Write the file into a model folder."""
        save_file({name: getattr(self, name) for name in _PARTS}, Path(folder) / TRAINING_IDS_FILE)

    def union(self, earlier: TrainingIds) -> TrainingIds:
        """These ids and those of an earlier training of the same model. A session that either has read is read."""
        read = np.union1d(self.read, earlier.read)
        held_out = np.setdiff1d(np.union1d(self.held_out, earlier.held_out), read)
        return TrainingIds(read, held_out, np.union1d(self.products, earlier.products))

    def has_read(self, session_ids: Iterable[str]) -> BoolArray:
        """[S] whether training may have read each session."""
        return np.isin(_hashes(session_ids), self.read)

    def has_held_out(self, session_ids: Iterable[str]) -> BoolArray:
        """[S] whether each session was in the training corpus, in its test part."""
        return np.isin(_hashes(session_ids), self.held_out)

    def has_product(self, product_ids: Iterable[str]) -> BoolArray:
        """[M] whether each product was in the training corpus."""
        return np.isin(_hashes(product_ids), self.products)


def _hashes(ids: Iterable[str]) -> NDArray[np.uint32]:
    digests = (hashlib.blake2b(str(name).encode(), digest_size=4).digest() for name in ids)
    return np.frombuffer(b"".join(digests), dtype="<u4")
