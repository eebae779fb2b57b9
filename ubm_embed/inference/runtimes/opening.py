"""Opening a model to be read in float32: by ONNX Runtime on a CPU if the model has graphs, else by PyTorch.

PyTorch is imported only where it reads, or writes graphs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ubm_embed.errors import NotFound
from ubm_embed.inference.runtimes.graphs import Graphs, read_graphs
from ubm_embed.inference.runtimes.item_vectors import ItemVectors
from ubm_embed.inference.runtimes.model_runtime import ModelRuntime
from ubm_embed.inference.runtimes.onnx_model import open_onnx_model
from ubm_embed.model.device_name import device_name
from ubm_embed.model.folder import ModelFolder

if TYPE_CHECKING:
    from ubm_embed.inference.runtimes.torch_model import TorchModel
    from ubm_embed.model.checkpoint import Checkpoint


def open_model_runtime(source: ModelFolder | Checkpoint, device: str) -> ModelRuntime:
    """The float32 runtime of a model, its product tower not included.

    Args:
        source: a folder; or a model in memory, which PyTorch reads. It is left as it is: one that is on another device
            or in training mode is copied, one that is not must keep its weights and its mode.
        device: as `device_name` has it.

    Raises:
        NotFound: PyTorch would have to read it, and is not installed.
        InvalidData, Conflict: the folder's graphs are damaged, or belong to another model.
        ValueError: no such device, or not on this machine.
    """
    device = device_name(device)
    if device == "cpu" and isinstance(source, ModelFolder):
        graphs = read_graphs(source.path, source.model_id)
        if graphs is not None:
            return open_onnx_model(graphs, ItemVectors.from_folder(source))
    return open_torch_model(source, device)


@contextmanager
def graphs_of(source: ModelFolder | Checkpoint) -> Iterator[tuple[Graphs, ItemVectors | None]]:
    """The graphs and the item embeddings of a model, product tower left out; written aside if its folder has none.

    Raises:
        NotFound: it has no graphs, and PyTorch or the library that writes them is not installed.
        InvalidData, Conflict: as `read_graphs`.
    """
    graphs = read_graphs(source.path, source.model_id) if isinstance(source, ModelFolder) else None
    if isinstance(source, ModelFolder) and graphs is not None:
        yield graphs, ItemVectors.from_folder(source)
        return
    _require_torch(source)
    from ubm_embed.inference.runtimes.graph_writer import graphs_in, item_vectors_in
    from ubm_embed.model.checkpoint import Checkpoint

    checkpoint = Checkpoint.from_folder(source) if isinstance(source, ModelFolder) else source
    with tempfile.TemporaryDirectory() as folder:
        yield graphs_in(Path(folder), checkpoint), item_vectors_in(checkpoint.model)


def open_torch_model(source: ModelFolder | Checkpoint, device: str) -> TorchModel:
    """As `open_model_runtime`, but always by PyTorch."""
    _require_torch(source)
    from ubm_embed.inference.runtimes.torch_model import TorchModel
    from ubm_embed.model.user_behavior_model import UserBehaviorModel

    device = device_name(device)
    if isinstance(source, ModelFolder):
        # Nobody else has it: moved, it needs no copy.
        return TorchModel(UserBehaviorModel.from_pretrained(source.path).to(device))
    return TorchModel.from_model(source.model, device)


def _require_torch(source: ModelFolder | Checkpoint) -> None:
    if find_spec("torch") is None:
        raise NotFound(
            f"PyTorch has to read model {source.model_id} here, and is not installed; "
            "type: pip install 'ubm-embed[train]'"
        )
