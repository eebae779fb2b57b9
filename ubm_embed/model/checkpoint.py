"""A model folder with an identity: it opens to a model and the tokenizer that it was trained with.

config.json  model.safetensors  tokenizer.json    what the vectors depend on; the model_id is a hash of their bytes
training.json                                     how it was trained; not part of the id
product_tower/                                    the model that reads products, if another one does; config.json names
                                                  its id
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from ubm_embed.data.tables.json_files import read_json_object
from ubm_embed.data.tasks.task import Task
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.data.text.vocabulary import TOKENIZER_FILE
from ubm_embed.errors import Conflict, InvalidData, NotFound
from ubm_embed.model.config import CONFIG_FILE
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.model.weights import WEIGHTS_FILE

RECORD_FILE = "training.json"
PRODUCT_TOWER = "product_tower"
_CHUNK = 1 << 22


@dataclass(frozen=True)
class Checkpoint:
    """A model folder, opened.

    Attributes:
        model_id: 16 hexadecimal digits that identify these weights, settings and vocabulary; vectors of different ids
            are never compared.
        record: the training record: settings, data, losses; empty if there is none.
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
            NotFound: one of its files is missing.
            InvalidData: a file is damaged, or the vocabulary does not fit the weights.
            Conflict: its files are not those that its training record names; or its product tower is not the one that
                it was trained with.
        """
        folder = Path(folder)
        model = UserBehaviorModel.from_pretrained(folder)
        tokenizer = InteractionTokenizer.from_pretrained(folder)
        rows = model.interaction_encoder.vocab_size
        if tokenizer.vocab_size > rows:
            problem = f"{tokenizer.vocab_size} tokens for a model of {rows}: the tokenizer does not belong to the model"
            raise InvalidData(problem, file=folder / TOKENIZER_FILE)
        model_id = model_id_of(folder)
        return cls(model, tokenizer, model_id, _record(folder, model_id), _product_tower(model, folder), folder)

    @property
    def products(self) -> Checkpoint:
        """The model that reads products: the product tower, or this one."""
        return self.product_tower or self


def _record(folder: Path, model_id: str) -> Mapping[str, Any]:
    """The training record, if there is one; it also says which model this was when it was written."""
    file = folder / RECORD_FILE
    record = read_json_object(file) if file.is_file() else {}
    if (written := record.get("model_id", model_id)) != model_id:
        raise Conflict(
            f"{folder} was written as model {written}, but its files are those of {model_id}: they are damaged, or "
            f"were changed since (if that was meant, remove model_id from {file})"
        )
    return record


def _product_tower(model: UserBehaviorModel, folder: Path) -> Checkpoint | None:
    expected = model.config.product_tower
    if expected is None:
        return None
    if not (folder / PRODUCT_TOWER).is_dir():
        raise NotFound(f"no model at {folder}: {PRODUCT_TOWER}, the model {expected} that reads products, is missing")
    tower = Checkpoint.from_pretrained(folder / PRODUCT_TOWER)
    if tower.model_id != expected:
        raise Conflict(
            f"{folder / PRODUCT_TOWER} is model {tower.model_id}, but {folder} was trained with the vectors of "
            f"{expected}: these towers do not belong together"
        )
    if tower.model.config.dimension != model.config.dimension:
        raise InvalidData(
            f"its vectors have width {tower.model.config.dimension}, those of sessions {model.config.dimension}",
            file=folder / PRODUCT_TOWER,
        )
    return tower


def require_task(checkpoint: Checkpoint, task: Task) -> None:
    """Raise InvalidData unless a model serves a task: its own if it was fine-tuned for one, else NIP."""
    tuned = checkpoint.model.config.task
    if tuned == task or (task is Task.NIP and tuned is None):
        return
    problem = (
        f"the model has no head for {task}: fine-tune one with `ubm-embed finetune {task}`"
        if tuned is None
        else f"the model was fine-tuned for {tuned}, not for {task}"
    )
    raise InvalidData(problem, file=checkpoint.folder and checkpoint.folder / CONFIG_FILE, field="task")


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


def copy_checkpoint(folder: str | Path, to: str | Path) -> None:
    """Copy a model folder byte for byte, with its product tower."""
    Path(to).mkdir(exist_ok=True)
    for file in Path(folder).iterdir():
        if file.is_file():
            shutil.copyfile(file, Path(to) / file.name)
    if (Path(folder) / PRODUCT_TOWER).is_dir():
        copy_checkpoint(Path(folder) / PRODUCT_TOWER, Path(to) / PRODUCT_TOWER)


def model_id_of(folder: str | Path) -> str:
    """The id of the model in a folder: a hash of its configuration, weights and vocabulary."""
    digest = hashlib.sha256()
    for name in (CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE):
        digest.update(f"{name} {(Path(folder) / name).stat().st_size}\n".encode())
        with open(Path(folder) / name, "rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()[:16]
