"""Activation functions as operations of an ONNX graph."""

from __future__ import annotations

from ubm_embed.errors import InvalidData
from ubm_embed.inference.runtimes.graph_builder import GraphBuilder

_GELU: tuple[str, dict[str, str]] = ("Gelu", {"approximate": "none"})
_TANH_GELU: tuple[str, dict[str, str]] = ("Gelu", {"approximate": "tanh"})
# Activations of torch and transformers by their class, and their counterparts in ONNX.
_ACTIVATIONS: dict[str, tuple[str, dict[str, str]]] = {
    "GELUActivation": _GELU,
    "NewGELUActivation": _TANH_GELU,
    "FastGELUActivation": _TANH_GELU,
    "GELUTanh": _TANH_GELU,
    "ReLU": ("Relu", {}),
    "Tanh": ("Tanh", {}),
    "Sigmoid": ("Sigmoid", {}),
    "Mish": ("Mish", {}),
}


def activation(graph: GraphBuilder, function: object, states: str) -> str:
    """An activation of torch or transformers over states [..., E].

    Raises:
        InvalidData: it has no counterpart in ONNX here.
    """
    name = type(function).__name__
    if name in ("SiLU", "SiLUActivation"):
        return graph.op("Mul", states, graph.op("Sigmoid", states))
    if name not in _ACTIVATIONS:
        raise InvalidData(f"expected an activation with a counterpart in ONNX, got {name}", field="hidden_act")
    operation, attributes = _ACTIVATIONS[name]
    return graph.op(operation, states, **attributes)
