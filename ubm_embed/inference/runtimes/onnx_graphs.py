"""The model in the ONNX format, for other runtimes. Numbers of sequences, places, sessions are free in every graph.

Letters: N sequences, L places for tokens, B sessions, S places for interactions, D width.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.export import Dim

from ubm_embed.data.text.tokenizer import MAX_TOKENS
from ubm_embed.inference.runtimes.dense_form import DenseInteractions, DenseProducts, DenseSessions
from ubm_embed.inference.runtimes.optional_library import load_library, unheard
from ubm_embed.model.user_behavior_model import UserBehaviorModel

# Of the ONNX standard: the first that has GELU as one operation; runtimes since 2024 read it.
_OPSET = 20
_VECTORS = "vectors"


def onnx_products(model: UserBehaviorModel) -> bytes:
    """ids, mask [N, L] int64 -> vectors [N, D]: `DenseProducts`; with known [N, D] float32 where texts are known.

    Raises:
        NotFound: what writes ONNX is not installed.
    """
    return _exported(DenseProducts, model, *_tokens(model))


def onnx_interactions(model: UserBehaviorModel) -> bytes:
    """ids, mask [N, L] int64 -> vectors [N, D]: `DenseInteractions`; with known as `onnx_products`.

    Raises:
        NotFound: as `onnx_products`.
    """
    return _exported(DenseInteractions, model, *_tokens(model))


def onnx_sessions(model: UserBehaviorModel) -> bytes:
    """interactions [B, S, D] float32, mask [B, S] int64 -> vectors [B, D]: `DenseSessions`.

    S is free up to the model's `max_interactions`, so where that is 1 it is 1.

    Raises:
        NotFound: as `onnx_products`.
    """
    most = model.config.max_interactions
    mask = torch.ones(7, min(5, most), dtype=torch.int64)
    example = {"interactions": torch.zeros(*mask.shape, model.config.dimension), "mask": mask}
    axes = {0: Dim("sessions")} | ({1: Dim("places", max=most)} if most > 1 else {})
    return _exported(DenseSessions, model, example, {"interactions": axes, "mask": axes})


def _tokens(model: UserBehaviorModel) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What goes in, as an example, and its free axes."""
    # Neither 1 nor equal: an exporter takes such sizes for constants.
    ones, sequences = torch.ones(3, 11, dtype=torch.int64), Dim("sequences")
    free = {0: sequences, 1: Dim("tokens", max=MAX_TOKENS)}
    example, axes = {"ids": ones, "mask": ones.clone()}, {"ids": free, "mask": free}
    if model.interaction_encoder.known is not None:
        example["known"], axes["known"] = torch.zeros(3, model.config.dimension), {0: sequences}
    return example, axes


def _exported(
    form: Callable[[UserBehaviorModel], nn.Module],
    model: UserBehaviorModel,
    example: Mapping[str, Tensor],
    axes: Mapping[str, Any],
) -> bytes:
    load_library("onnxscript", extra="onnx")
    with unheard(), torch.no_grad():
        program = torch.onnx.export(
            form(_on_cpu(model)),
            tuple(example.values()),
            input_names=list(example),
            output_names=[_VECTORS],
            dynamic_shapes=dict(axes),
            opset_version=_OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None, "of dynamo=True there is a program"
    return cast(bytes, program.model_proto.SerializeToString())


def _on_cpu(model: UserBehaviorModel) -> UserBehaviorModel:
    return model if model.device.type == "cpu" else copy.deepcopy(model).cpu()
