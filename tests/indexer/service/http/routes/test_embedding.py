"""POST /v1/embeddings, as OpenAI's own client asks it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import numpy as np
import openai
import pytest

from indexer.search.retriever import Retriever
from tests.indexer.service.http.served import Served
from ubm_embed.data.session import Action, Interaction, Product, Session

VIEW = {"action": "view", "product_id": "p1"}


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.address}/v1", api_key="none") as client:
        yield client


@pytest.fixture(scope="module")
def retriever(served: Served) -> Iterator[Retriever]:
    with served.service.engine.live.borrow() as retriever:
        yield retriever


def vectors(reply: Any) -> np.ndarray[Any, Any]:
    return np.array([entry["embedding"] for entry in reply["data"]], np.float32)


class TestOpenAIClient:
    def test_texts_are_products(self, client: openai.OpenAI, retriever: Retriever) -> None:
        reply = client.embeddings.create(input=["red running shoes", "blue shirt"], model="ubm-embed")
        expected = [retriever.embedder.embed_product(Product(title)) for title in ("red running shoes", "blue shirt")]
        np.testing.assert_allclose([entry.embedding for entry in reply.data], expected, atol=1e-6)
        assert [entry.index for entry in reply.data] == [0, 1]
        assert reply.model == retriever.version.model_id
        assert reply.usage.prompt_tokens == reply.usage.total_tokens > 0

    def test_numbers_and_base64_are_the_same(self, client: openai.OpenAI) -> None:
        first, second = (
            client.embeddings.create(input="red shirt", model="ubm-embed", encoding_format=encoding)
            for encoding in ("float", "base64")
        )
        encoded: Any = second.data[0].embedding  # the client decodes it only if it chose base64 itself
        decoded = np.frombuffer(base64.b64decode(encoded), "<f4")
        np.testing.assert_array_equal(np.float32(first.data[0].embedding), decoded)

    def test_another_width_is_refused(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.UnprocessableEntityError) as raised:
            client.embeddings.create(input="red shirt", model="ubm-embed", dimensions=8)
        assert "field 'dimensions': expected 16" in raised.value.response.json()["error"]

    def test_a_model_that_is_not_live_is_refused(self, client: openai.OpenAI, retriever: Retriever) -> None:
        client.embeddings.create(input="red shirt", model=retriever.version.model_id)
        with pytest.raises(openai.NotFoundError) as raised:
            client.embeddings.create(input="red shirt", model="text-embedding-3-small")
        assert "is not live" in raised.value.response.json()["error"]


class TestInputs:
    def test_what_a_shopper_searches_for(self, served: Served, retriever: Retriever) -> None:
        reply = served.post("/v1/embeddings", {"input": "red shoes", "input_type": "query"})
        session = Session((Interaction(Action.SEARCH, query="red shoes"),))
        np.testing.assert_allclose(vectors(reply), retriever.embedder.embed_sessions([session]), atol=1e-6)

    def test_a_product_in_full(self, served: Served, retriever: Retriever) -> None:
        product = {"title": "red shirt", "category": "shirts", "attributes": {"colour": "red"}}
        expected = retriever.embedder.embed_product(Product("red shirt", "shirts", (("colour", "red"),)))
        np.testing.assert_allclose(vectors(served.post("/v1/embeddings", {"input": product}))[0], expected, atol=1e-6)

    def test_a_product_of_the_store_has_its_stored_vector(self, served: Served, retriever: Retriever) -> None:
        reply = served.post("/v1/embeddings", {"input": [{"product_id": "p4"}, {"product_id": "p1"}]})
        positions = retriever.catalogue.find(["p4", "p1"])
        expected = retriever.index.vectors(np.array([positions["p4"], positions["p1"]]))
        np.testing.assert_allclose(vectors(reply), expected, atol=1e-6)
        assert reply["usage"]["prompt_tokens"] == 0

    def test_a_session_finds_what_it_is_recommended(self, served: Served, retriever: Retriever) -> None:
        session = {"interactions": [{"action": "search", "query": "red shoes"}, VIEW]}
        (vector,) = vectors(served.post("/v1/embeddings", {"input": session}))
        (match,) = served.recommend(**session, k=1, counts=False)["matches"]
        position = retriever.catalogue.find([match["product_id"]])[match["product_id"]]
        assert retriever.index.vectors(np.array([position]))[0] @ vector == pytest.approx(match["score"], abs=1e-5)

    def test_inputs_of_all_kinds_keep_their_order(self, served: Served) -> None:
        inputs = ["red shirt", {"product_id": "p1"}, {"interactions": [VIEW]}, {"title": "socks"}]
        alone = [vectors(served.post("/v1/embeddings", {"input": one}))[0] for one in inputs]
        np.testing.assert_allclose(vectors(served.post("/v1/embeddings", {"input": inputs})), alone, atol=1e-6)

    @pytest.mark.parametrize(
        ("given", "status", "message"),
        [
            ("", 422, "field 'input'"),
            ([], 422, "field 'input': expected 1 to 100 inputs, got 0"),
            (["x"] * 101, 422, "field 'input': expected 1 to 100 inputs, got 101"),
            ([1, 2, 3], 422, "field 'input[0]': expected a text, a product or a session; token ids"),
            ([[1, 2]], 422, "field 'input[0]'"),
            (["shoes", ""], 422, "field 'input[1]'"),
            ({"product_id": "nothing"}, 404, "no product 'nothing'"),
            ({"session_id": "s"}, 422, "field 'input.interactions'"),
            ({"interactions": []}, 422, "field 'input[0]': empty session"),
            ("\u4e2d\u6587", 422, "text that the model cannot read"),
            (None, 422, "field 'input'"),
        ],
    )
    def test_refusals(self, served: Served, given: Any, status: int, message: str) -> None:
        response = served.client.post("/v1/embeddings", json={"input": given})
        assert response.status_code == status, response.text
        assert message in response.json()["error"]
