"""The encoders of a model as ONNX graphs: what `model.transformer` computes, over padded tensors.

The numbers of sequences, slots and sessions are free in every graph.

Letters: N sequences, L token slots, B sessions, S interaction slots, H heads, D width of vectors, E of the states.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from ubm_embed.data.arrays import FloatArray
from ubm_embed.data.text.tokenizer import MAX_TOKENS
from ubm_embed.inference.runtimes.graph_activations import activation
from ubm_embed.inference.runtimes.graph_builder import GraphBuilder
from ubm_embed.model.session_encoder import SessionEncoder
from ubm_embed.model.transformer import Affine, Layer, layers_from_modules
from ubm_embed.model.user_behavior_model import InteractionEncoder, UserBehaviorModel

# So low that nothing is left after a softmax. Not -inf, which would make a row without any slot NaN.
_BARRED = -1e9


def interactions_graph(model: UserBehaviorModel) -> Any:
    """ids, mask [N, L] int64 -> vectors b' [N, D], as an `onnx.ModelProto`. The mask is 1 for a token and 0 after them.

    A model with item embeddings has a third input, item_vectors [N, D]: the vectors of the texts, 0 for one without.

    Raises:
        InvalidData: the encoder's activation has no counterpart in ONNX here.
        NotFound: the library that writes ONNX is not installed.
    """
    graph = GraphBuilder()
    return graph.model(_interactions(graph, model), ["sequences", model.config.dimension])


def sessions_graph(model: UserBehaviorModel, *, unit: bool = False) -> Any:
    """interactions [B, S, D], mask [B, S] int64 -> vectors h' [B, D], as an `onnx.ModelProto`.

    Args:
        unit: whether they are scaled to length 1.

    Raises:
        NotFound: as `interactions_graph`.
    """
    graph = GraphBuilder()
    interactions = graph.input("interactions", "float", ["sessions", "slots", model.config.dimension])
    vectors = _sessions(graph, model.session_encoder, interactions, graph.input("mask", "int64", ["sessions", "slots"]))
    return graph.model(_unit(graph, vectors) if unit else vectors, ["sessions", model.config.dimension])


def products_graph(model: UserBehaviorModel) -> Any:
    """As `interactions_graph`, to the unit vectors of products, each a session of length 1 (paper 3.4.3)."""
    graph = GraphBuilder()
    session = graph.op("Unsqueeze", _interactions(graph, model), graph.ints(1))
    first = graph.op("Slice", "mask", graph.ints(0), graph.ints(1), graph.ints(1))
    vectors = _sessions(graph, model.session_encoder, session, first)
    return graph.model(_unit(graph, vectors), ["sequences", model.config.dimension])


@dataclass(frozen=True)
class _Slots:
    """N padded sequences of L slots, as values of a graph. States are [N L, E].

    Attributes:
        mask: [N, L] int64.
        length: [1] int64, L.
        absent: [N, 1, 1, L], what is added to the scores of slots without an element.
    """

    graph: GraphBuilder
    mask: str
    length: str
    absent: str

    @classmethod
    def from_mask(cls, graph: GraphBuilder, mask: str) -> _Slots:
        """Of a mask [N, L] int64."""
        absent = graph.op("Cast", graph.op("Sub", mask, graph.ints(1)), to=graph.FLOAT)
        absent = graph.op("Mul", graph.op("Unsqueeze", absent, graph.ints(1, 2)), graph.number(-_BARRED))
        return cls(graph, mask, graph.op("Shape", mask, start=1, end=2), absent)

    def absent_or_later(self) -> str:
        """[N, 1, L, L], as `absent`, and of slots after each slot."""
        graph = self.graph
        square = graph.op("Expand", graph.number(_BARRED), graph.op("Concat", self.length, self.length, axis=0))
        later = graph.op("Trilu", square, graph.index(1), upper=1)
        return graph.op("Add", self.absent, later)

    def positions(self, table: FloatArray) -> str:
        """The first L rows of a table: [L, E]."""
        graph = self.graph
        return graph.op("Slice", graph.constant(table), graph.ints(0), self.length, graph.ints(0))

    def heads(self, states: str, heads: int, width: int) -> str:
        """[N L, H width] -> [N, H, L, width]."""
        graph = self.graph
        shape = graph.op("Concat", graph.ints(-1), self.length, graph.ints(heads, width), axis=0)
        return graph.op("Transpose", graph.op("Reshape", states, shape), perm=[0, 2, 1, 3])

    def first(self, states: str, width: int) -> str:
        """The states in the first slots: [N L, E] -> [N, E]."""
        return self.graph.op("Gather", self._by_sequence(states, width), self.graph.index(0), axis=1)

    def last(self, states: str, width: int) -> str:
        """The states in the last slot of each sequence: [N L, E] -> [N, E]."""
        graph = self.graph
        index = graph.op("Sub", graph.op("ReduceSum", self.mask, graph.ints(1), keepdims=1), graph.ints(1))
        return graph.op("GatherND", self._by_sequence(states, width), index, batch_dims=1)

    def mean(self, states: str, width: int) -> str:
        """The mean over each sequence: [N L, E] -> [N, E]."""
        graph = self.graph
        present = graph.op("Cast", self.mask, to=graph.FLOAT)
        weights = graph.op("Div", present, graph.op("ReduceSum", present, graph.ints(1), keepdims=1))
        weights = graph.op("Unsqueeze", weights, graph.ints(1))
        return graph.op("Squeeze", graph.op("MatMul", weights, self._by_sequence(states, width)), graph.ints(1))

    def _by_sequence(self, states: str, width: int) -> str:
        """[N L, E] -> [N, L, E]."""
        shape = self.graph.op("Concat", self.graph.ints(-1), self.length, self.graph.ints(width), axis=0)
        return self.graph.op("Reshape", states, shape)


def _interactions(graph: GraphBuilder, model: UserBehaviorModel) -> str:
    """The inputs of `interactions_graph` -> b': [N, D]."""
    encoder = model.interaction_encoder
    ids = graph.input("ids", "int64", ["sequences", "tokens"])
    slots = _Slots.from_mask(graph, graph.input("mask", "int64", ["sequences", "tokens"]))
    hidden, width = _embedded(graph, encoder, ids, slots), encoder.encoder.config.hidden_size
    layers = layers_from_modules(encoder.encoder.encoder.layer, torch.float32)
    if encoder.mean_of_tokens:
        read = slots.mean(_run(graph, layers, hidden, slots, slots.absent), width)
    else:
        hidden = _run(graph, layers[:-1], hidden, slots, slots.absent)
        first = slots.first(hidden, width)
        read = _layer_at(graph, layers[-1], hidden, slots, first) if layers else first
    if isinstance(encoder.projection, nn.Linear):
        read = _affine(graph, encoder.projection, read)
    if encoder.item_embeddings is None:
        return read
    return graph.op("Add", read, graph.input("item_vectors", "float", ["sequences", model.config.dimension]))


def _embedded(graph: GraphBuilder, encoder: InteractionEncoder, ids: str, slots: _Slots) -> str:
    """Words, positions and the first token type: [N L, E]."""
    table = encoder.encoder.embeddings
    positions = _array(table.position_embeddings.weight[:MAX_TOKENS] + table.token_type_embeddings.weight[0])
    words = graph.op("Gather", graph.constant(_array(table.word_embeddings.weight)), ids)
    joined = graph.op("Add", words, slots.positions(positions))
    flat = graph.op("Reshape", joined, graph.ints(-1, positions.shape[1]))
    hidden = _norm(graph, table.LayerNorm, flat, table.LayerNorm.eps)
    if hasattr(encoder.encoder, "embeddings_project"):  # ELECTRA's, if its embeddings are narrower
        hidden = _affine(graph, encoder.encoder.embeddings_project, hidden)
    return hidden


def _sessions(graph: GraphBuilder, encoder: SessionEncoder, interactions: str, mask: str) -> str:
    """b' [B, S, D] and a mask [B, S] -> h' [B, D]."""
    slots, width = _Slots.from_mask(graph, mask), encoder.positions.shape[1]
    layers = layers_from_modules(() if encoder.layers is None else cast(Any, encoder.layers.layer), torch.float32)
    if layers:
        interactions = graph.op("Add", interactions, slots.positions(_array(encoder.positions)))
    hidden = graph.op("Reshape", interactions, graph.ints(-1, width))
    if not encoder.causal:
        return slots.mean(_run(graph, layers, hidden, slots, slots.absent), width)
    hidden = _run(graph, layers[:-1], hidden, slots, slots.absent_or_later())
    last = slots.last(hidden, width)
    return _layer_at(graph, layers[-1], hidden, slots, last) if layers else last


def _run(graph: GraphBuilder, layers: Sequence[Layer], hidden: str, slots: _Slots, barred: str) -> str:
    for layer in layers:
        hidden = _layer(graph, layer, hidden, slots, barred)
    return hidden


def _layer(graph: GraphBuilder, layer: Layer, hidden: str, slots: _Slots, barred: str | None = None) -> str:
    """One layer in every slot: [N L, E] -> [N L, E].

    Args:
        barred: what is added to the scores, by default the slots' `absent`.
    """
    (query_key_value,) = _scaled(layer, [3])
    width = layer.attended.weight.shape[1]
    projected = _affine(graph, query_key_value, hidden)
    joined = slots.heads(projected, 3 * layer.heads, width // layer.heads)
    query, key, value = graph.ops("Split", joined, outputs=3, axis=1, num_outputs=3)
    attended = graph.op("Transpose", _attention(graph, query, key, value, barred or slots.absent), perm=[0, 2, 1, 3])
    return _feed_forward(graph, layer, hidden, graph.op("Reshape", attended, graph.ints(-1, width)))


def _layer_at(graph: GraphBuilder, layer: Layer, hidden: str, slots: _Slots, states: str) -> str:
    """One layer in one slot of each sequence, with `states` [N, E] of its own, which sees all slots: [N, E]."""
    of_query, of_key_and_value = _scaled(layer, [1, 2])
    width = layer.attended.weight.shape[1]
    size = width // layer.heads
    query = graph.op("Reshape", _affine(graph, of_query, states), graph.ints(-1, layer.heads, 1, size))
    joined = slots.heads(_affine(graph, of_key_and_value, hidden), 2 * layer.heads, size)
    key, value = graph.ops("Split", joined, outputs=2, axis=1, num_outputs=2)
    attended = _attention(graph, query, key, value, slots.absent)
    return _feed_forward(graph, layer, states, graph.op("Reshape", attended, graph.ints(-1, width)))


def _scaled(layer: Layer, parts: Sequence[int]) -> list[Affine]:
    """The projections to query, key and value, the query's divided by the root of d.

    Args:
        parts: how many of the three are joined into each projection returned, in this order.
    """
    (joined,) = layer.projections
    width = layer.attended.weight.shape[1]
    scale = torch.ones(3 * width)
    scale[:width] = (width / layer.heads) ** -0.5
    weight, bias, sizes = joined.weight * scale[:, None], joined.bias * scale, [part * width for part in parts]
    return [Affine(*pair) for pair in zip(torch.split(weight, sizes), torch.split(bias, sizes), strict=True)]


def _attention(graph: GraphBuilder, query: str, key: str, value: str, barred: str) -> str:
    """[N, H, Q, d] over [N, H, L, d] -> [N, H, Q, d]."""
    scores = graph.op("MatMul", query, graph.op("Transpose", key, perm=[0, 1, 3, 2]))
    return graph.op("MatMul", graph.op("Softmax", graph.op("Add", scores, barred), axis=-1), value)


def _feed_forward(graph: GraphBuilder, layer: Layer, hidden: str, attended: str) -> str:
    joined = graph.op("Add", _affine(graph, layer.attended, attended), hidden)
    hidden = _norm(graph, layer.attended_norm, joined, layer.epsilon)
    inner = activation(graph, layer.activation, _affine(graph, layer.inner, hidden))
    joined = graph.op("Add", _affine(graph, layer.outer, inner), hidden)
    return _norm(graph, layer.outer_norm, joined, layer.epsilon)


def _affine(graph: GraphBuilder, layer: Affine | nn.Linear, states: str) -> str:
    """[..., in] -> [..., out]."""
    weight, bias = graph.constant(_array(layer.weight.T)), graph.constant(_array(layer.bias))
    return graph.op("Gemm", states, weight, bias)


def _norm(graph: GraphBuilder, norm: Affine | nn.LayerNorm, states: str, epsilon: float) -> str:
    weight, bias = graph.constant(_array(norm.weight)), graph.constant(_array(norm.bias))
    return graph.op("LayerNormalization", states, weight, bias, axis=-1, epsilon=epsilon)


def _unit(graph: GraphBuilder, vectors: str) -> str:
    """[B, D], scaled to length 1."""
    length = graph.op("ReduceL2", vectors, graph.ints(1), keepdims=1)
    return graph.op("Div", vectors, graph.op("Max", length, graph.number(1e-12)))


def _array(tensor: Tensor) -> FloatArray:
    return cast(FloatArray, tensor.detach().float().cpu().numpy())
