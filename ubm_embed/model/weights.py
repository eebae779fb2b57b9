"""The weights of a model folder: model.safetensors, checked against the model's shapes before anything is loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from ubm_embed.errors import InvalidData, NotFound
from ubm_embed.model.bert import one_line
from ubm_embed.model.stored_weights import current_name

Model = TypeVar("Model", bound=nn.Module)


def load_model(build: Callable[[], Model], file: Path, *, config_file: Path) -> Model:
    """The model that `build` makes from `config_file`, with the weights in `file`.

    It is first built without memory, so that sizes are believed only once the weights have them.

    Raises:
        NotFound: the weights are missing.
        InvalidData: names the file: settings that make no model, truncated weights, or weights that do not fit.
    """
    if not file.is_file():
        raise NotFound(f"no model at {file.parent}: {file.name} is missing")
    try:
        with torch.device("meta"):
            outline = build()
    except Exception as error:  # transformers and torch raise many kinds for settings that make no encoder
        raise InvalidData(f"not a model configuration: {one_line(error)}", file=config_file) from None
    _require_shapes(outline, file, config_file)
    model = build()
    model.load_state_dict({current_name(name): tensor for name, tensor in load_file(file).items()})
    return model


def _require_shapes(outline: nn.Module, file: Path, config_file: Path) -> None:
    """Raise unless the weights in `file` have exactly the names and shapes of `outline`'s."""
    try:
        with safe_open(file, framework="pt") as weights:
            names = weights.keys()
            shapes = {current_name(name): tuple(weights.get_slice(name).get_shape()) for name in names}
    except SafetensorError as error:
        raise InvalidData(f"truncated or not a safetensors file: {error}", file=file) from None
    expected = {name: tuple(tensor.shape) for name, tensor in outline.state_dict().items()}
    for name in sorted(expected.keys() | shapes.keys()):
        if shapes.get(name) != expected.get(name):
            problem = f"{name} is {shapes.get(name, 'missing')}, expected {expected.get(name, 'no such weights')}"
            raise InvalidData(f"weights do not fit {config_file.name}: {problem}", file=file)


def save_weights(model: nn.Module, file: Path) -> None:
    """Write a model's weights."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    file.touch()
    mode = file.stat().st_mode
    save_file(weights, file, metadata={"format": "pt"})
    file.chmod(mode)  # safetensors lets nobody else read what it writes
