"""POST /v1/lookup and GET /v1/products/{product_id}/similar: products like one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from indexer.search.answer import Answer
from indexer.search.limits import Limits
from indexer.search.ranking import Rules
from indexer.search.retriever import Retriever
from indexer.service.http.answers.answer_document import answer_document
from indexer.service.http.answers.shown_answers import GivenAnswer, ShownAnswers, new_answer_id
from indexer.service.http.documentation import schemas
from indexer.service.http.endpoint import Call, Reply
from indexer.service.http.operation import Operation, Parameter
from indexer.service.http.requests.bodies import LookupBody, SimilarQuery, lookup_body
from indexer.service.http.requests.decoding import from_texts
from indexer.service.service import Service
from indexer.service.sessions.shapes.fields import session_id_at
from ubm_embed.data.session import Product, Session


class LikenessRoutes:
    """Products like one of the store, or like one that it need not know; or those of a search."""

    def __init__(self, service: Service, limits: Limits, shown: ShownAnswers) -> None:
        self._service, self._limits, self._shown = service, limits, shown

    async def lookup(self, call: Call) -> Reply:
        """The products most like one that is given by its text or its id, or those of a search."""
        body = lookup_body.decode(call.body)
        return await self._answer(call, body.parsed(), body.k, body.rules(), body.session_id)

    async def similar(self, call: Call) -> Reply:
        """The products most like one of the store."""
        query = from_texts(_by_name(call.query_parameters()), SimilarQuery)
        product_id = call.path_parameters["product_id"]
        return await self._answer(call, product_id, query.k, query.rules(), query.session_id)

    async def _answer(
        self, call: Call, wanted: Product | Session | str, k: int, rules: Rules, session_id: str | int | None
    ) -> Reply:
        self._limits.check(k, rules)
        own = None if session_id is None else session_id_at({"session_id": session_id})

        def look_up(retriever: Retriever) -> Answer:
            if isinstance(wanted, str):
                return retriever.lookup_id(wanted, k, rules)
            if isinstance(wanted, Session):
                return retriever.recommend(wanted, k, rules)
            return retriever.lookup(wanted, k, rules)

        called = await self._service.engine.call(look_up, rules=rules, arrival=call.arrival)
        call.state.timings, call.state.version = called.timings, called.version
        given = GivenAnswer(replace(called.value, session_id=own), new_answer_id())
        self._shown.add(given, k)
        return Reply.json(answer_document(given))

    def operations(self) -> list[Operation]:
        """Its routes."""
        return [
            Operation(
                "POST",
                "/v1/lookup",
                self.lookup,
                tag="Answers",
                summary="The products most like one, which the store need not know; or those of a search.",
                description="One of `product`, by its text; `product_id`, by its stored vector and without itself; and "
                "`query`, what a shopper searches for.",
                body=LookupBody,
                examples={
                    "text": {"product": {"title": "red running shoes", "attributes": {"colour": "red"}}, "k": 5},
                    "id": {"product_id": "p1"},
                    "search": {"query": "red running shoes"},
                },
                reply=schemas.ref("Answer"),
                errors=(404, 503),
            ),
            Operation(
                "GET",
                "/v1/products/{product_id}/similar",
                self.similar,
                tag="Answers",
                summary="The products most like one of the store, without itself.",
                description="For rules that a URL cannot hold, `POST /v1/lookup` with `product_id`.",
                parameters=_PARAMETERS,
                open_parameters=("product_id",),
                reply=schemas.ref("Answer"),
                errors=(404, 503),
            ),
        ]


def _by_name(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """Parameters of a URL by name; `exclude` may stand there several times, of the others the last one counts."""
    values: dict[str, Any] = dict(pairs)
    if "exclude" in values:
        values["exclude"] = [value for name, value in pairs if name == "exclude"]
    return values


_PARAMETERS = (
    Parameter(
        "product_id",
        "path",
        "The shop's own id, percent-encoded; it may hold any characters.",
        {"type": "string", "minLength": 1},
        "p1",
    ),
    *(
        Parameter(name, "query", schema.pop("description", ""), schema)
        for name, schema in schemas.parameters_of(SimilarQuery).items()
    ),
)
