"""A model as an artefact with an identity: a folder that opens to a model and the tokenizer it was trained with.

config.json  model.safetensors  tokenizer.json    what the vectors depend on; their bytes make the model_id
training.json                                     how it came about; not part of the id
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from ubm_embed.data.bert_vocabulary import TOKENIZER_FILE
from ubm_embed.data.json_object import read_json_object
from ubm_embed.data.tokenizer import InteractionTokenizer
from ubm_embed.errors import InvalidData
from ubm_embed.model.user_behavior_model import CONFIG_FILE, WEIGHTS_FILE, UserBehaviorModel

RECORD_FILE = "training.json"
_CHUNK = 1 << 22


@dataclass(frozen=True)
class Checkpoint:
    """A model folder, opened.

    Attributes:
        model_id: 16 hexadecimal digits that stand for these weights, settings and vocabulary; vectors of different
            ids are never compared.
        record: the training record: settings, data, losses. Empty where there is none.
    """

    model: UserBehaviorModel
    tokenizer: InteractionTokenizer
    model_id: str
    record: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Open a model folder, on the CPU, ready for inference.

        Raises:
            NotFound: one of its files is missing.
            InvalidData: a file is not what it should be, or the vocabulary does not fit the weights.
        """
        folder = Path(folder)
        model = UserBehaviorModel.from_pretrained(folder)
        tokenizer = InteractionTokenizer.from_pretrained(folder)
        record = folder / RECORD_FILE
        rows = model.interaction_encoder.vocab_size
        if tokenizer.vocab_size > rows:
            problem = f"{tokenizer.vocab_size} tokens for a model of {rows}: they do not belong together"
            raise InvalidData(problem, file=folder / TOKENIZER_FILE)
        return cls(model, tokenizer, model_id_of(folder), read_json_object(record) if record.is_file() else {})


def save_checkpoint(
    folder: str | Path, model: UserBehaviorModel, tokenizer: InteractionTokenizer, record: Mapping[str, Any]
) -> str:
    """Fill an existing folder; returns the model_id."""
    folder = Path(folder)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    model_id = model_id_of(folder)
    document = {**record, "model_id": model_id}  # a record taken over from another model names that one
    (folder / RECORD_FILE).write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    return model_id


def model_id_of(folder: str | Path) -> str:
    """The id of the model in a folder: a hash of its configuration, weights and vocabulary."""
    digest = hashlib.sha256()
    for name in (CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE):
        digest.update(f"{name} {(Path(folder) / name).stat().st_size}\n".encode())
        with open(Path(folder) / name, "rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()[:16]
