"""What a text or a session costs is bounded: what is split into tokens, looked at and kept, not how long it takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tokenizers import Tokenizer

from ubm_embed.data.interactions import INTERACTION_SCHEMA
from ubm_embed.data.products import PRODUCT_SCHEMA
from ubm_embed.data.session import MAX_INTERACTIONS, Action, Interaction, Product, Session
from ubm_embed.data.text.tokenizer import MAX_TEXT_CHARACTERS, MAX_TEXT_TOKENS, InteractionTokenizer
from ubm_embed.data.text.vocabulary import TOKENIZER_FILE
from ubm_embed.inference.embedder import Embedder
from ubm_embed.model.checkpoint import Checkpoint
from ubm_embed.model.user_behavior_model import UserBehaviorModel

MEGABYTE = "red shoes " * 100_000


class CountingTokenizer:
    """A tokenizer of the library that notes the strings that it is given."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.strings: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def encode_batch_fast(self, strings: Sequence[str], **options: Any) -> Any:
        self.strings.extend(strings)
        return self._tokenizer.encode_batch_fast(strings, **options)

    @property
    def characters(self) -> int:
        return sum(map(len, self.strings))


@pytest.fixture
def counting(tokenizer: InteractionTokenizer, tmp_path: Path) -> CountingTokenizer:
    tokenizer.save_pretrained(tmp_path)
    return CountingTokenizer(Tokenizer.from_file(str(tmp_path / TOKENIZER_FILE)))


@pytest.fixture
def embedder(model: UserBehaviorModel, counting: CountingTokenizer) -> Embedder:
    return Embedder(Checkpoint(model, InteractionTokenizer(counting), "toy"), device="cpu")  # type: ignore[arg-type]


def search(phrase: str) -> Interaction:
    return Interaction(Action.SEARCH, query=phrase)


def view(product: Product) -> Interaction:
    return Interaction(Action.VIEW, product=product)


def frame_of(product: Product) -> pl.DataFrame:
    attributes = [{"name": name, "value": value} for name, value in product.attributes]
    row = {"title": product.title, "category": product.category, "attributes": attributes}
    schema = {name: PRODUCT_SCHEMA[name] for name in row}
    return pl.DataFrame([row], schema=schema)


@pytest.mark.parametrize(
    "interaction",
    [
        search(MEGABYTE),
        view(Product(MEGABYTE)),
        view(Product("red", MEGABYTE)),
        view(Product("red", None, (("colour", MEGABYTE),))),
        view(Product("red", None, ((MEGABYTE, "red"),))),
    ],
    ids=["phrase", "title", "category", "value", "name"],
)
def test_of_a_megabyte_of_text_only_the_beginning_is_tokenised_and_kept(
    embedder: Embedder, counting: CountingTokenizer, interaction: Interaction
) -> None:
    embedder.embed_sessions([embedder.readable_session(Session((interaction,)))])
    assert counting.characters <= MAX_TEXT_CHARACTERS + len("red")
    assert embedder.cached_bytes < 2 * MAX_TEXT_CHARACTERS


def test_of_a_hundred_thousand_attributes_only_as_many_as_have_tokens_are_read(
    embedder: Embedder, counting: CountingTokenizer
) -> None:
    attributes = tuple(("size", str(number) if number % 2 else "") for number in range(100_000))
    embedder.embed_sessions([Session((view(Product("red", None, attributes)),))])
    assert len(counting.strings) <= MAX_TEXT_TOKENS + 2  # and the title, and the missing category
    assert embedder.cached_bytes < 500 * MAX_TEXT_TOKENS


def test_what_is_cut_has_the_tokens_of_the_beginning(embedder: Embedder) -> None:
    long, short = (embedder.tokenizer.search_phrases([text]).ids for text in (MEGABYTE, MEGABYTE[:1000]))
    assert long.tolist() == short.tolist()


@pytest.mark.parametrize(
    "product",
    [
        Product(" " * MAX_TEXT_CHARACTERS + "red", " " * MAX_TEXT_CHARACTERS + "shoes"),
        Product("red", "é" * (MAX_TEXT_CHARACTERS - 4) + " red shoes"),
        Product("red", None, tuple(("size", str(number) if number % 3 else "") for number in range(200))),
        Product("red", None, (("colour" + " " * MAX_TEXT_CHARACTERS + "x", "red"),)),
        Product("", None, (("size", " " * MAX_TEXT_CHARACTERS + "4"), ("colour", "blue"))),
    ],
    ids=["blanks", "letters", "attributes", "name", "value"],
)
def test_a_product_is_cut_alike_alone_and_in_a_catalogue(tokenizer: InteractionTokenizer, product: Product) -> None:
    assert tokenizer.product_text(product).tolist() == tokenizer.product_texts(frame_of(product)).ids.tolist()


def test_phrases_are_cut_alike_in_a_list_and_in_a_series(tokenizer: InteractionTokenizer) -> None:
    phrases = [" " * MAX_TEXT_CHARACTERS + "red", "é" * (MAX_TEXT_CHARACTERS - 4) + " red", "blue"]
    assert (
        tokenizer.search_phrases(phrases).ids.tolist()
        == tokenizer.search_phrases(pl.Series(phrases, dtype=INTERACTION_SCHEMA["query"])).ids.tolist()
    )


class TestLongSessions:
    def test_only_the_last_interactions_are_looked_at_however_few_are_readable(
        self, embedder: Embedder, counting: CountingTokenizer
    ) -> None:
        unreadable = tuple(search("☃" * (1 + number)) for number in range(MAX_INTERACTIONS + 500))
        assert embedder.readable_session(Session(unreadable)).interactions == ()
        assert len(counting.strings) == MAX_INTERACTIONS

    def test_of_a_readable_one_only_those_that_the_model_reads_are_tokenised(
        self, embedder: Embedder, counting: CountingTokenizer
    ) -> None:
        session = Session(tuple(search(f"red {number}") for number in range(200_000)))
        readable = embedder.readable_session(session)
        assert len(counting.strings) == embedder.max_interactions
        assert readable.interactions == session.interactions[-MAX_INTERACTIONS:]
        vectors = embedder.embed_sessions([session, Session(session.interactions[-embedder.max_interactions :])])
        assert np.array_equal(vectors[0], vectors[1])

    def test_removals_are_matched_among_the_last_interactions(self, embedder: Embedder) -> None:
        product = Product("red shoes")
        add, remove = (Interaction(action, product=product) for action in (Action.ADD, Action.REMOVE))
        views = (view(Product("blue shirt")),) * (MAX_INTERACTIONS - 1)
        readable = embedder.readable_session(Session((add, add, *views, remove)))
        assert readable.interactions == views
