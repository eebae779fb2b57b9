"""The model as ONNX graphs, for other runtimes. The numbers of sequences, slots and sessions are free in every graph.

Letters: N sequences, L token slots, B sessions, S interaction slots, D width.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.export import Dim

from ubm_embed.data.text.tokenizer import MAX_TOKENS
from ubm_embed.inference.runtimes.dense_model import DenseInteractions, DenseProducts, DenseSessions
from ubm_embed.inference.runtimes.optional_library import load_library
from ubm_embed.model.user_behavior_model import UserBehaviorModel

# The first version of the ONNX standard with GELU as one operation; runtimes since 2024 read it.
_OPSET = 20
_OUTPUT = "vectors"
# PyTorch's exporter is not thread-safe.
_EXPORT_LOCK = threading.Lock()


def onnx_products(model: UserBehaviorModel) -> bytes:
    """ids, mask [N, L] int64 -> vectors [N, D]: `DenseProducts`.

    A model with item embeddings has a third input, item_vectors [N, D] float32.

    Raises:
        NotFound: the library that writes ONNX is not installed.
    """
    return _exported(DenseProducts, model, *_token_inputs(model))


def onnx_interactions(model: UserBehaviorModel) -> bytes:
    """ids, mask [N, L] int64 -> vectors [N, D]: `DenseInteractions`; item_vectors as `onnx_products`.

    Raises:
        NotFound: as `onnx_products`.
    """
    return _exported(DenseInteractions, model, *_token_inputs(model))


def onnx_sessions(model: UserBehaviorModel) -> bytes:
    """interactions [B, S, D] float32, mask [B, S] int64 -> vectors [B, D]: `DenseSessions`.

    S is free up to the model's `max_interactions`, and fixed at 1 if that is 1.

    Raises:
        NotFound: as `onnx_products`.
    """
    limit = model.config.max_interactions
    mask = torch.ones(7, min(5, limit), dtype=torch.int64)
    example = {"interactions": torch.zeros(*mask.shape, model.config.dimension), "mask": mask}
    axes = {0: Dim("sessions")} | ({1: Dim("slots", max=limit)} if limit > 1 else {})
    return _exported(DenseSessions, model, example, {"interactions": axes, "mask": axes})


def _token_inputs(model: UserBehaviorModel) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Example inputs, and their free axes."""
    # Neither 1 nor equal: an exporter takes such sizes for constants.
    ones, sequences = torch.ones(3, 11, dtype=torch.int64), Dim("sequences")
    free = {0: sequences, 1: Dim("tokens", max=MAX_TOKENS)}
    example, axes = {"ids": ones, "mask": ones.clone()}, {"ids": free, "mask": free}
    if model.interaction_encoder.item_embeddings is not None:
        example["item_vectors"], axes["item_vectors"] = torch.zeros(3, model.config.dimension), {0: sequences}
    return example, axes


def _exported(
    dense: Callable[[UserBehaviorModel], nn.Module],
    model: UserBehaviorModel,
    example: Mapping[str, Tensor],
    axes: Mapping[str, Any],
) -> bytes:
    load_library("onnxscript", extra="onnx")
    with _EXPORT_LOCK, torch.no_grad():
        program = torch.onnx.export(
            dense(_on_cpu(model)).eval(),
            tuple(example.values()),
            input_names=list(example),
            output_names=[_OUTPUT],
            dynamic_shapes=dict(axes),
            opset_version=_OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None, "dynamo=True returns a program"
    return cast(bytes, program.model_proto.SerializeToString())


def _on_cpu(model: UserBehaviorModel) -> UserBehaviorModel:
    return model if model.device.type == "cpu" else copy.deepcopy(model).cpu()
