"""Texts, products and sessions of a request to vectors.

Letters: N inputs, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from indexer.catalogue.catalogue import find_products
from indexer.search.resolution import UNREADABLE, SessionResolver, as_read
from indexer.search.retriever import Retriever
from indexer.service.http.requests.requested_sessions import whole_session
from ubm_embed.data.arrays import FloatArray
from ubm_embed.data.session import Action, Interaction, Product, Session, identifier, parse_product
from ubm_embed.errors import InvalidData, NotFound

_MARKS = 2  # [CLS] and [SEP]
_TOKEN_BYTES = 4
_RESOLVER_BYTES = 1 << 20  # of one request


class ProductId(NamedTuple):
    """A product of the store by its id."""

    product_id: str


EmbeddingInput: TypeAlias = Product | ProductId | Session


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors and what they took.

    Attributes:
        vectors: [N, D].
        tokens: that were read.
    """

    vectors: FloatArray
    tokens: int


def parse_inputs(given: Any, input_type: Literal["product", "query"], max_inputs: int) -> list[EmbeddingInput]:
    """The inputs of a request, one or a list of them.

    Args:
        input_type: whether a text is a product's title, or what a shopper searched for.

    Raises:
        InvalidData: none or too many, or one that is not as expected; names the field.
    """
    if not isinstance(given, list):
        return [_parse(given, input_type, "input")]
    if not 1 <= len(given) <= max_inputs:
        raise InvalidData(f"expected 1 to {max_inputs:,} inputs, got {len(given):,}", field="input")
    return [_parse(entry, input_type, f"input[{row}]") for row, entry in enumerate(given)]


def embed_inputs(retriever: Retriever, inputs: Sequence[EmbeddingInput]) -> Embedded:
    """A vector for each of N inputs.

    Products by id have their stored vectors; others are read by the product tower, and sessions by the model.

    Raises:
        NotFound: the version does not know an id.
        InvalidData: the model can read nothing of an input; names the field.
    """
    vectors, tokens = np.empty((len(inputs), retriever.embedder.dimension), np.float32), 0
    readers: dict[type, Callable[[Retriever, Sequence[Any], Sequence[int]], Embedded]] = {
        ProductId: _stored,
        Product: _products,
        Session: _sessions,
    }
    for kind, read in readers.items():
        rows = [row for row, one in enumerate(inputs) if isinstance(one, kind)]
        if rows:
            part = read(retriever, [inputs[row] for row in rows], rows)
            vectors[rows] = part.vectors
            tokens += part.tokens
    return Embedded(vectors, tokens)


def _parse(entry: Any, input_type: Literal["product", "query"], field: str) -> EmbeddingInput:
    if isinstance(entry, str):
        if not entry.strip():
            raise InvalidData("expected a text that is not empty", field=field)
        return Product(entry) if input_type == "product" else Session((Interaction(Action.SEARCH, query=entry),))
    if not isinstance(entry, Mapping):
        raise InvalidData("expected a text, a product or a session; token ids are not read", field=field)
    if "interactions" in entry or "session_id" in entry:
        return whole_session(entry, field)
    if entry.keys() == {"product_id"} and (product_id := identifier(entry, "product_id", field)) is not None:
        return ProductId(product_id)
    return parse_product(entry, field)


def _stored(retriever: Retriever, inputs: Sequence[ProductId], rows: Sequence[int]) -> Embedded:
    ids = [one.product_id for one in inputs]
    found = find_products(retriever.catalogue, ids)
    for product_id in ids:
        if product_id not in found:
            raise NotFound(f"version {retriever.version.version} has no product {product_id!r}")
    return Embedded(retriever.index.vectors(np.array([found[product_id] for product_id in ids], np.int64)), 0)


def _products(retriever: Retriever, inputs: Sequence[Product], rows: Sequence[int]) -> Embedded:
    embedder = retriever.embedder
    views = [Interaction(Action.VIEW, product=product) for product in inputs]
    for row, sequence in zip(rows, embedder.tokenise(views), strict=True):
        if not sequence.has_words:
            raise InvalidData(UNREADABLE, field=f"input[{row}]")
    tokens = sum(len(embedder.tokenizer.product_text(product)) + _MARKS for product in inputs)
    return Embedded(embedder.embed_product_list(inputs), tokens)


def _sessions(retriever: Retriever, inputs: Sequence[Session], rows: Sequence[int]) -> Embedded:
    embedder = retriever.embedder
    resolver = SessionResolver(
        retriever.catalogue, reads_removals=embedder.tokenizer.reads_removals, cache_bytes=_RESOLVER_BYTES
    )
    sessions = as_read(resolver.resolve(inputs), embedder)
    for row, session in zip(rows, sessions, strict=True):
        if session.fallback is not None:
            raise InvalidData(session.fallback, field=f"input[{row}]")
    tokens = [session.last_tokens(embedder.max_interactions) for session in sessions]
    count = sum(len(sequence) // _TOKEN_BYTES for session in tokens for sequence in session)
    return Embedded(embedder.embed_tokens(tokens), count)
