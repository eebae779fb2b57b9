"""The item embeddings of a model, read from its weights without PyTorch. See `model.item_embeddings`.

Letters: N sequences, K texts with a vector, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import FloatArray
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.model.folder import WEIGHTS_FILE, ModelFolder
from ubm_embed.model.stored_weights import map_weights

# The numbers of `model.item_embeddings.text_keys`.
_TOKEN, _POSITION, _MIX = (
    np.int64(number - (1 << 64)) for number in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)


@dataclass(frozen=True)
class ItemVectors:
    """K keys of texts, and a vector for each. Several threads may read them.

    Attributes:
        keys: [K] int64, ascending.
        marks: tokens that are not part of a text.
        vectors: [K, D].
        file: from which they are mapped; None if they are in memory.
    """

    keys: NDArray[np.int64]
    marks: NDArray[np.int64]
    vectors: FloatArray
    file: Path | None = None

    @classmethod
    def from_folder(cls, folder: ModelFolder) -> Self | None:
        """Those of a model folder, if it has some."""
        if not folder.config.num_item_embeddings:
            return None
        file = folder.path / WEIGHTS_FILE
        weights = map_weights(file)
        keys, marks, vectors = (
            weights[f"interaction_encoder.item_embeddings.{name}"] for name in ("keys", "marks", "vectors")
        )
        return cls(np.asarray(keys), np.asarray(marks), cast(FloatArray, vectors), file)

    def find(self, sequences: TokenTable) -> FloatArray:
        """The vectors of the texts of N sequences: [N, D]; 0 for a text without one."""
        keys = text_keys(sequences, self.marks)
        row = np.minimum(np.searchsorted(self.keys, keys), self.keys.size - 1)
        vectors: FloatArray = self.vectors[row]
        vectors[self.keys[row] != keys] = 0
        return vectors


def text_keys(sequences: TokenTable, marks: NDArray[np.int64]) -> NDArray[np.int64]:
    """As `model.item_embeddings.text_keys`, bit for bit: [N] int64."""
    from_end = np.repeat(sequences.offsets[1:], sequences.lengths) - np.arange(sequences.ids.size)
    mixed: NDArray[Any] = (sequences.ids.astype(np.int64) + 1) * _TOKEN ^ from_end * _POSITION
    mixed = (mixed ^ (mixed >> 29)) * _MIX
    mixed = mixed ^ (mixed >> 32)
    mixed[np.isin(sequences.ids, marks)] = 0
    # The sum of each sequence: `reduceat` would take an empty one for the next token.
    total = np.append(0, np.cumsum(mixed))
    keys: NDArray[np.int64] = total[sequences.offsets[1:]] - total[sequences.offsets[:-1]]
    return keys
