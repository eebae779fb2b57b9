"""POST /v1/embeddings: vectors, in the form of OpenAI's API."""

from __future__ import annotations

import base64
from typing import Any

from indexer.search.limits import Limits
from indexer.search.retriever import Retriever
from indexer.service.http.documentation import schemas
from indexer.service.http.endpoint import Call, Reply
from indexer.service.http.operation import Operation
from indexer.service.http.requests.bodies import EmbeddingsBody, embeddings_body
from indexer.service.http.requests.embedding_inputs import Embedded, embed_inputs, parse_inputs
from indexer.service.service import Service
from ubm_embed.data.arrays import FloatArray
from ubm_embed.errors import InvalidData, NotFound

ANY_MODEL = "ubm-embed"


class EmbeddingRoutes:
    """Vectors of texts, products and sessions."""

    def __init__(self, service: Service, limits: Limits) -> None:
        self._service, self._limits = service, limits

    async def embeddings(self, call: Call) -> Reply:
        """A vector for each input."""
        body = embeddings_body.decode(call.body)
        inputs = parse_inputs(body.input, body.input_type, self._limits.sessions)
        call.state.sessions = len(inputs)

        def embed(retriever: Retriever) -> tuple[str, Embedded]:
            _require_model(body, retriever)
            return retriever.version.model_id, embed_inputs(retriever, inputs)

        called = await self._service.engine.call(embed, cost=len(inputs), arrival=call.arrival)
        call.state.timings, call.state.version = called.timings, called.version
        model_id, embedded = called.value
        usage = {"prompt_tokens": embedded.tokens, "total_tokens": embedded.tokens}
        data = [
            {"object": "embedding", "index": row, "embedding": _encoded(vector, body.encoding_format)}
            for row, vector in enumerate(embedded.vectors)
        ]
        return Reply.json({"object": "list", "data": data, "model": model_id, "usage": usage})

    def operations(self) -> list[Operation]:
        """Its routes."""
        return [
            Operation(
                "POST",
                "/v1/embeddings",
                self.embeddings,
                tag="Vectors",
                summary="Vectors of texts, products and sessions, in the form of OpenAI's API.",
                description=_DESCRIPTION,
                body=EmbeddingsBody,
                examples={
                    "text": {"input": "red running shoes", "model": ANY_MODEL},
                    "products": {"input": [{"product_id": "p1"}, {"title": "blue shirt"}], "model": ANY_MODEL},
                    "session": {"input": {"interactions": [schemas.VIEW]}, "model": ANY_MODEL},
                },
                reply=_REPLY,
                errors=(404, 503),
            )
        ]


def _require_model(body: EmbeddingsBody, retriever: Retriever) -> None:
    if body.model not in (ANY_MODEL, retriever.version.model_id):
        live = retriever.version.model_id
        raise NotFound(f"model {body.model[:100]!r} is not live; expected {ANY_MODEL!r} or {live!r}")
    width = retriever.embedder.dimension
    if body.dimensions not in (None, width):
        raise InvalidData(f"expected {width}, the model's width, got {body.dimensions}", field="dimensions")


def _encoded(vector: FloatArray, encoding_format: str) -> Any:
    if encoding_format == "base64":
        return base64.b64encode(vector.astype("<f4", copy=False).tobytes()).decode("ascii")
    return vector.tolist()


_DESCRIPTION = """All vectors are of length 1, and those of products and of queries may be compared by their
inner product. A text is the title of a product, or with `input_type: "query"` what a shopper searched for. An input
may also be a product, `{"title", "category", "attributes"}`; a product of the store, `{"product_id"}`, by its stored
vector; or a whole session, `{"interactions"}`.

`model` is `ubm-embed` for whichever is live, or the id of a model: it is refused when another one is live, since their
vectors cannot be compared."""
_REPLY = {
    "type": "object",
    "required": ["object", "data", "model", "usage"],
    "properties": {
        "object": {"const": "list"},
        "data": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["object", "index", "embedding"],
                "properties": {
                    "object": {"const": "embedding"},
                    "index": {"type": "integer", "minimum": 0},
                    "embedding": {
                        "anyOf": [
                            {"type": "array", "items": {"type": "number"}},
                            {"type": "string", "description": "base64 of little-endian float32."},
                        ]
                    },
                },
            },
        },
        "model": {"type": "string"},
        "usage": {
            "type": "object",
            "required": ["prompt_tokens", "total_tokens"],
            "properties": {"prompt_tokens": {"type": "integer"}, "total_tokens": {"type": "integer"}},
        },
    },
}
