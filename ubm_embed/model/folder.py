"""A model folder and its identity, read without PyTorch.

config.json  model.safetensors  tokenizer.json    what the vectors depend on; the model_id is a hash of their bytes
training.json                                     how it was trained; not part of the id
counts.json                                       what counts weigh beside its cosines; not part of the id
graphs/                                           the same model for ONNX Runtime, derived; not part of the id
product_tower/                                    the model that reads products, if another one does; config.json names
                                                  its id
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from safetensors import SafetensorError, safe_open

from ubm_embed.counts.ranking_weights import CountWeights
from ubm_embed.data.tables.json_files import read_json_object
from ubm_embed.data.tasks.task import Task
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.data.text.vocabulary import TOKENIZER_FILE
from ubm_embed.errors import Conflict, InvalidData, NotFound
from ubm_embed.model.config import CONFIG_FILE, UBMConfig

WEIGHTS_FILE = "model.safetensors"
RECORD_FILE = "training.json"
PRODUCT_TOWER = "product_tower"
GRAPHS = "graphs"
_CHUNK = 1 << 22


@dataclass(frozen=True)
class ModelFolder:
    """A model folder, opened; its weights stay on disk.

    Attributes:
        path: the folder.
        model_id: 16 hexadecimal digits that identify these weights, settings and vocabulary; vectors of different ids
            are never compared.
        record: the training record: settings, data, losses; empty if there is none.
        product_tower: the model that reads products, if this one reads sessions only.
    """

    path: Path
    config: UBMConfig
    tokenizer: InteractionTokenizer
    model_id: str
    record: Mapping[str, Any]
    product_tower: ModelFolder | None = None

    @classmethod
    def open(cls, folder: str | Path, *, model_id: str | None = None) -> Self:
        """Open a model folder.

        Args:
            model_id: its id, if that is known and was proved before. A folder whose training record names it is then
                believed, and only the header and the size of its weights are checked; else all of them are hashed.

        Raises:
            NotFound: one of its files is missing.
            OSError: one may not be read.
            InvalidData: a file is damaged, or the vocabulary does not fit the weights.
            Conflict: its files are not those that its training record names, or not of `model_id`; or its product tower
                is not the one that it was trained with.
        """
        folder = Path(folder)
        config = UBMConfig.load(folder / CONFIG_FILE)
        _require_whole(folder / WEIGHTS_FILE)
        tokenizer = InteractionTokenizer.from_pretrained(folder)
        _require_room(tokenizer, config, folder)
        record = read_json_object(file) if (file := folder / RECORD_FILE).is_file() else {}
        tower = _product_tower(config, folder, hashed=model_id is None)
        return cls(folder, config, tokenizer, _identity(folder, record, model_id), record, tower)

    @property
    def products(self) -> ModelFolder:
        """The model that reads products: the product tower, or this one."""
        return self.product_tower or self

    @property
    def count_weights(self) -> CountWeights:
        """What counts weigh beside the cosines of this model, read from its folder: the defaults without a file.

        Raises:
            InvalidData: a damaged file.
        """
        return CountWeights.load(self.path)


def _require_whole(weights: Path) -> None:
    """Raise unless the weights are there and as long as their header says."""
    if not weights.is_file():
        raise NotFound(f"no model at {weights.parent}: {weights.name} is missing")
    with open(weights, "rb"):  # safetensors takes a file that it may not read for a missing one
        pass
    try:
        with safe_open(weights, framework="numpy"):
            pass
    except SafetensorError as error:
        raise InvalidData(f"truncated or not a safetensors file: {error}", file=weights) from None


def _require_room(tokenizer: InteractionTokenizer, config: UBMConfig, folder: Path) -> None:
    """Raise if there are tokens without weights."""
    rows = config.interaction_encoder.get("vocab_size")
    if isinstance(rows, int) and tokenizer.vocab_size > rows:
        problem = f"{tokenizer.vocab_size} tokens for a model of {rows}: the tokenizer does not belong to the model"
        raise InvalidData(problem, file=folder / TOKENIZER_FILE)


def _identity(folder: Path, record: Mapping[str, Any], expected: str | None) -> str:
    """The model_id of a folder; its training record also says which model this was when it was written."""
    written = record.get("model_id")
    if expected is not None and written == expected:
        return expected
    actual = model_id_of(folder)
    if written not in (None, actual):
        raise Conflict(
            f"{folder} was written as model {written}, but its files are those of {actual}: they are damaged, or "
            f"were changed since (if that was meant, remove model_id from {folder / RECORD_FILE})"
        )
    if expected not in (None, actual):
        raise Conflict(f"{folder} is model {actual}, expected {expected}")
    return actual


def _product_tower(config: UBMConfig, folder: Path, *, hashed: bool) -> ModelFolder | None:
    expected = config.product_tower
    if expected is None:
        return None
    if not (folder / PRODUCT_TOWER).is_dir():
        raise NotFound(f"no model at {folder}: {PRODUCT_TOWER}, the model {expected} that reads products, is missing")
    tower = ModelFolder.open(folder / PRODUCT_TOWER, model_id=None if hashed else expected)
    if tower.model_id != expected:
        raise Conflict(
            f"{folder / PRODUCT_TOWER} is model {tower.model_id}, but {folder} was trained with the vectors of "
            f"{expected}: these towers do not belong together"
        )
    if tower.config.dimension != config.dimension:
        raise InvalidData(
            f"its vectors have width {tower.config.dimension}, those of sessions {config.dimension}",
            file=folder / PRODUCT_TOWER,
        )
    return tower


class OpenedModel(Protocol):
    """A `ModelFolder`, or a `Checkpoint` with its weights in memory."""

    @property
    def config(self) -> UBMConfig: ...
    @property
    def path(self) -> Path | None: ...


def require_task(model: OpenedModel, task: Task) -> None:
    """Raise InvalidData unless a model serves a task: its own if it was fine-tuned for one, else NIP."""
    tuned = model.config.task
    if tuned == task or (task is Task.NIP and tuned is None):
        return
    problem = (
        f"the model has no head for {task}: fine-tune one with `ubm-embed finetune {task}`"
        if tuned is None
        else f"the model was fine-tuned for {tuned}, not for {task}"
    )
    raise InvalidData(problem, file=model.path and model.path / CONFIG_FILE, field="task")


def copy_checkpoint(folder: str | Path, to: str | Path) -> None:
    """Copy a model folder byte for byte, with its graphs and its product tower."""
    Path(to).mkdir(exist_ok=True)
    for file in Path(folder).iterdir():
        if file.is_file():
            shutil.copyfile(file, Path(to) / file.name)
    for name in (GRAPHS, PRODUCT_TOWER):
        if (Path(folder) / name).is_dir():
            copy_checkpoint(Path(folder) / name, Path(to) / name)


def model_id_of(folder: str | Path) -> str:
    """The id of the model in a folder: a hash of its configuration, weights and vocabulary."""
    digest = hashlib.sha256()
    for name in (CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE):
        digest.update(f"{name} {(Path(folder) / name).stat().st_size}\n".encode())
        with open(Path(folder) / name, "rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()[:16]
