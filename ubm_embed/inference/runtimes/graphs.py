"""A model's graphs in its folder, which ONNX Runtime reads instead of the weights.

graphs/interactions.onnx  token ids to vectors of interactions
graphs/sessions.onnx      vectors of interactions to vectors of sessions
graphs/head.onnx          those to predictions, of a model with a head
graphs/NAME.weights       the weights of NAME.onnx, apart so that processes share their memory
graphs/graphs.json        the model that they were made from, and the size and the digest of each file

They are derived: a folder without them is the same model. A product tower has its own, in its own folder.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ubm_embed.errors import Conflict, InvalidData
from ubm_embed.model.folder import GRAPHS
from ubm_embed.validation import FrozenModel

DESCRIPTION_FILE = "graphs.json"
INTERACTIONS_FILE, SESSIONS_FILE, HEAD_FILE = "interactions.onnx", "sessions.onnx", "head.onnx"
_REMEDY = f"remove the folder {GRAPHS}, which is derived: PyTorch then reads the model"

_FileName = Annotated[str, Field(pattern=r"^[a-z]+\.(onnx|weights)$")]


class GraphFile(FrozenModel):
    """What a file must be.

    Attributes:
        size: in bytes.
        sha256: of its content, in hexadecimal digits.
    """

    size: int
    sha256: str

    @classmethod
    def from_file(cls, file: Path) -> GraphFile:
        """What a file is."""
        with open(file, "rb") as stream:
            return cls(size=file.stat().st_size, sha256=hashlib.file_digest(stream, "sha256").hexdigest())


class GraphsDescription(FrozenModel):
    """graphs.json.

    Attributes:
        model_id: of the model that the graphs were made from.
        software: the version of this package that made them.
        files: by name.
    """

    model_id: str
    software: str
    files: dict[_FileName, GraphFile]


@dataclass(frozen=True)
class Graphs:
    """The graphs of one model, each file as long as it was when it was written."""

    folder: Path
    description: GraphsDescription

    @property
    def interactions(self) -> Path:
        """Token ids to b'."""
        return self.folder / INTERACTIONS_FILE

    @property
    def sessions(self) -> Path:
        """b' to h'."""
        return self.folder / SESSIONS_FILE

    @property
    def weights(self) -> list[Path]:
        """The files of weights, which stay mapped while a graph is open."""
        return [self.folder / name for name in self.description.files if name.endswith(".weights")]

    @property
    def head(self) -> Path | None:
        """h' to predictions; None for a model without a head."""
        return self.folder / HEAD_FILE if HEAD_FILE in self.description.files else None


def read_graphs(folder: str | Path, model_id: str) -> Graphs | None:
    """The graphs in a model folder, or None if it has none. Only sizes are checked: see `verify_graphs`.

    Args:
        model_id: of the model in that folder.

    Raises:
        InvalidData: a file is missing, damaged or not as long as it was.
        OSError: a file may not be read.
        Conflict: they were made from another model.
    """
    folder = Path(folder) / GRAPHS
    file = folder / DESCRIPTION_FILE
    if not file.is_file():  # it is written last: in a bucket, the others may be there before it
        return None
    description = GraphsDescription.from_json(file.read_bytes(), file=file)
    if description.model_id != model_id:
        raise Conflict(
            f"the graphs in {folder} do not belong to the weights: they were made from model {description.model_id}, "
            f"and this is {model_id}; {_REMEDY}"
        )
    for name in {INTERACTIONS_FILE, SESSIONS_FILE} | description.files.keys():
        _require_size(folder / name, description.files.get(name), file)
    return Graphs(folder, description)


def _require_size(file: Path, expected: GraphFile | None, description: Path) -> None:
    if expected is None:
        raise InvalidData(f"{file.name} is not named", file=description, field="files")
    if not file.is_file():
        raise InvalidData(f"missing; {_REMEDY}", file=file)
    with open(file, "rb") as stream:  # ONNX Runtime does not say that it may not read a file
        size = os.fstat(stream.fileno()).st_size
    if size != expected.size:
        raise InvalidData(f"truncated or damaged: {size:,} bytes, expected {expected.size:,}; {_REMEDY}", file=file)


def verify_graphs(graphs: Graphs) -> None:
    """Raise InvalidData, which names the file, unless each is byte for byte the one that was written."""
    for name, expected in graphs.description.files.items():
        if GraphFile.from_file(graphs.folder / name).sha256 != expected.sha256:
            raise InvalidData(f"damaged: its content is not what was written; {_REMEDY}", file=graphs.folder / name)
