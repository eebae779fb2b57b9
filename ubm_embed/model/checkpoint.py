"""A model in memory with its tokenizer and its identity: a `ModelFolder` with its weights loaded into PyTorch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from ubm_embed.counts.ranking_weights import CountWeights
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.errors import Conflict
from ubm_embed.model.config import UBMConfig
from ubm_embed.model.folder import PRODUCT_TOWER, RECORD_FILE, ModelFolder, copy_checkpoint, model_id_of
from ubm_embed.model.user_behavior_model import UserBehaviorModel


@dataclass(frozen=True)
class Checkpoint:
    """A model folder, opened.

    Attributes:
        model_id, record: as of `ModelFolder`.
        product_tower: the model that reads products, if this one reads sessions only.
        folder: where it was opened; None for a model in memory.
    """

    model: UserBehaviorModel
    tokenizer: InteractionTokenizer
    model_id: str
    record: Mapping[str, Any] = field(default_factory=dict)
    product_tower: Checkpoint | None = None
    folder: Path | None = None

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Open a model folder, on the CPU, ready for inference.

        Raises:
            NotFound, InvalidData, Conflict: as `ModelFolder.open`.
            InvalidData: the weights do not fit the configuration.
        """
        model = UserBehaviorModel.from_pretrained(folder)  # first: it says what does not fit, not only that it changed
        return cls._around(model, ModelFolder.open(folder))

    @classmethod
    def from_folder(cls, folder: ModelFolder) -> Self:
        """The weights of an opened folder, on the CPU, ready for inference.

        Raises:
            InvalidData: the weights do not fit the configuration.
        """
        return cls._around(UserBehaviorModel.from_pretrained(folder.path), folder)

    @classmethod
    def _around(cls, model: UserBehaviorModel, folder: ModelFolder) -> Self:
        tower = None if folder.product_tower is None else Checkpoint.from_folder(folder.product_tower)
        return cls(model, folder.tokenizer, folder.model_id, folder.record, tower, folder.path)

    @property
    def products(self) -> Checkpoint:
        """The model that reads products: the product tower, or this one."""
        return self.product_tower or self

    @property
    def config(self) -> UBMConfig:
        """The configuration of the model."""
        return self.model.config

    @property
    def count_weights(self) -> CountWeights:
        """As of `ModelFolder`; the defaults for a model in memory."""
        return CountWeights.load(self.folder)

    @property
    def path(self) -> Path | None:
        """`folder`, by the name that a `ModelFolder` has for it."""
        return self.folder


def save_checkpoint(
    folder: str | Path,
    model: UserBehaviorModel,
    tokenizer: InteractionTokenizer,
    record: Mapping[str, Any],
    product_tower: Checkpoint | None = None,
) -> str:
    """Write the files of a model into an existing folder; returns the model_id.

    Args:
        product_tower: the model that reads products; the folder that it was opened from is copied.

    Raises:
        Conflict: that folder holds another model now.
    """
    folder = Path(folder)
    if product_tower is not None:
        assert product_tower.folder is not None, "a product tower is copied from its folder"
        copy_checkpoint(product_tower.folder, folder / PRODUCT_TOWER)
        if model_id_of(folder / PRODUCT_TOWER) != product_tower.model_id:
            raise Conflict(f"{product_tower.folder} changed since it was opened")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    model_id = model_id_of(folder)
    document = {**record, "model_id": model_id}  # the record may have been copied from another model, with its id
    (folder / RECORD_FILE).write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    return model_id
