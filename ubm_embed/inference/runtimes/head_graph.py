"""A head as an ONNX graph: what `model.heads` computes.

Letters: B sessions, D width, F features that the head reads beside it, K bins of lengths, T trees, N splits and L
leaves of each.
"""

from __future__ import annotations

import math
from typing import Any

from ubm_embed.inference.runtimes.graph_builder import GraphBuilder
from ubm_embed.model.counting_logit import CountingLogit
from ubm_embed.model.heads import (
    MAX_STANDARDISED,
    MIN_SHARE,
    Features,
    Head,
    LengthDistributionHead,
    PurchaseIntentionHead,
    RemainingLengthHead,
    bin_widths,
    linear_layers,
)


def head_graph(head: Head, dimension: int) -> Any:
    """sessions [B, D + F] -> predictions, as `Head.predict` (paper 3.4.1, 3.4.2), as an `onnx.ModelProto`.

    Sessions are h', and beside it the features if the head reads any. Predictions are [B], or [B, 3] of a distribution.

    Raises:
        NotFound: the library that writes ONNX is not installed.
    """
    graph = GraphBuilder()
    hidden, counted = _inputs(graph, head.features, dimension)
    first, *others = linear_layers(head)
    hidden = graph.op("Gemm", hidden, *map(graph.constant, first))
    for weights in others:
        hidden = graph.op("Gemm", graph.op("Relu", hidden), *map(graph.constant, weights))
    if isinstance(head, LengthDistributionHead):
        return graph.model(_three_guesses(graph, head, hidden), ["sessions", 3], name="predictions")
    if isinstance(head, PurchaseIntentionHead) and head.counting is not None:
        hidden = graph.op("Add", hidden, _counting(graph, head.counting, counted))
    return graph.model(_number(graph, head, hidden), ["sessions"], name="predictions")


def _inputs(graph: GraphBuilder, features: Features | None, dimension: int) -> tuple[str, str]:
    """[B, D + F], with standardised features, and these as they come, [B, F]."""
    if features is None:
        sessions = graph.input("sessions", "float", ["sessions", dimension])
        return sessions, sessions
    count = features.mean.numel()
    sessions = graph.input("sessions", "float", ["sessions", dimension + count])
    vectors, counted = graph.ops("Split", sessions, graph.ints(dimension, count), axis=1, outputs=2)
    centred = graph.op("Sub", counted, _constant(graph, features.mean))
    limit = graph.number(MAX_STANDARDISED)
    standardised = graph.op("Div", centred, _constant(graph, features.std))
    clipped = graph.op("Clip", standardised, graph.op("Neg", limit), limit)
    return graph.op("Concat", vectors, clipped, axis=1), counted


def _counting(graph: GraphBuilder, counting: CountingLogit, features: str) -> str:
    """[B, 1], from the features [B, F]."""
    trees, splits = counting.columns.shape
    read = graph.op("Gather", features, graph.ints(*counting.columns.flatten().tolist()), axis=1)
    below = graph.op("LessOrEqual", read, _constant(graph, counting.thresholds.flatten()))
    shaped = graph.op("Reshape", graph.op("Cast", below, to=graph.FLOAT), graph.ints(-1, trees, splits))
    by_tree = graph.op("Transpose", shaped, perm=[1, 0, 2])  # [T, B, N]
    lefts = graph.op("MatMul", by_tree, _constant(graph, counting.paths))
    reached = graph.op("Cast", graph.op("Equal", lefts, _constant(graph, counting.lefts[:, None])), to=graph.FLOAT)
    leaves = graph.op("Mul", reached, _constant(graph, counting.values[:, None]))
    total = graph.op("Unsqueeze", graph.op("ReduceSum", leaves, graph.ints(0, 2), keepdims=0), graph.ints(1))
    linear = graph.op("Gemm", features, _constant(graph, counting.weights[:, None]), _constant(graph, counting.bias))
    return graph.op("Add", linear, total)


def _number(graph: GraphBuilder, head: PurchaseIntentionHead | RemainingLengthHead, hidden: str) -> str:
    """[B] a probability or a length, from the last layer's output [B, 1]."""
    output = graph.op("Squeeze", hidden, graph.ints(1))
    if isinstance(head, PurchaseIntentionHead):
        share = float(head.purchase_share)
        return graph.op("Sigmoid", graph.op("Add", output, graph.number(math.log(share / (1 - share)))))
    scaled = graph.op("Mul", output, graph.number(float(head.std)))
    return graph.op("Max", graph.op("Add", scaled, graph.number(float(head.mean))), graph.number(0))


def _three_guesses(graph: GraphBuilder, head: LengthDistributionHead, hidden: str) -> str:
    """[B, 3] mean, median and mean by logarithms, from the last layer's output [B, K]."""
    shares = graph.op("Softmax", graph.op("Add", hidden, _constant(graph, head.prior)), axis=1)
    mean = graph.op("MatMul", shares, _constant(graph, head.bin_means[:, None]))
    logarithm = graph.op("MatMul", shares, _constant(graph, head.bin_logs[:, None]))
    below = graph.op("CumSum", shares, graph.index(1), exclusive=1)
    left = graph.op("Sub", graph.number(0.5), below)
    passed = graph.op("Div", left, graph.op("Max", shares, graph.number(MIN_SHARE)))
    whole = graph.op("Clip", passed, graph.number(0), graph.number(1))
    median = graph.op("Add", graph.op("MatMul", whole, graph.constant(bin_widths()[:, None])), graph.number(0.5))
    by_logarithms = graph.op("Sub", graph.op("Exp", logarithm), graph.number(1))
    return graph.op("Concat", mean, median, by_logarithms, axis=1)


def _constant(graph: GraphBuilder, tensor: Any) -> str:
    return graph.constant(tensor.detach().float().cpu().numpy())
