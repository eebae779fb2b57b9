"""Toy sessions, tokenised, and models that training may spoil."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
import torch

from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.model.user_behavior_model import UserBehaviorModel

ACTIONS = np.array(["view", "view", "add", "buy"])


def interactions(sessions: list[list[tuple[str, str]]]) -> pl.DataFrame:
    """Sessions, each a list of (action, product id or search phrase)."""
    rows = [
        (f"s{number}", position, action, None if action == "search" else what, what if action == "search" else None)
        for number, session in enumerate(sessions)
        for position, (action, what) in enumerate(session)
    ]
    schema = {"session_id": pl.String, "position": pl.Int64, "action": pl.String}
    return pl.DataFrame(rows, schema=schema | {"product_id": pl.String, "query": pl.String}, orient="row")


@pytest.fixture(scope="session")
def corpus(products: pl.DataFrame) -> Corpus:
    """Forty sessions of 2 to 7 interactions with the toy shop's products, one in two with a search."""
    rng = np.random.default_rng(5)
    sessions = []
    for number in range(40):
        chosen = rng.permutation(products["product_id"].to_numpy())[: rng.integers(2, 6)]
        session = [(str(rng.choice(ACTIONS)), str(product)) for product in chosen]
        phrase = str(rng.choice(["red shoes", "blue shirt"]))
        sessions.append([("search", phrase), *session] if number % 2 else session)
    return Corpus(products, interactions(sessions))


@pytest.fixture(scope="session")
def corpus_of(products: pl.DataFrame) -> Callable[[list[list[tuple[str, str]]]], Corpus]:
    """A maker of corpora of the toy shop, of sessions as `interactions` takes them."""
    return lambda sessions: Corpus(products, interactions(sessions))


@pytest.fixture(scope="session")
def tokenized(corpus: Corpus, tokenizer: InteractionTokenizer) -> TokenizedCorpus:
    """The toy sessions, tokenised."""
    return TokenizedCorpus.from_corpus(corpus, tokenizer)


@pytest.fixture
def fresh(tokenizer: InteractionTokenizer) -> Callable[..., UserBehaviorModel]:
    """A maker of tiny models, equal for equal seeds; training changes the one it is given."""

    def make(*, seed: int = 0, **settings: float) -> UserBehaviorModel:
        torch.manual_seed(seed)
        sizes: dict[str, float] = {"layers": 1, "width": 16, "dimension": 16, "session_layers": 1}
        return UserBehaviorModel.from_scratch(vocab_size=tokenizer.vocab_size, **(sizes | settings))  # type: ignore[arg-type]

    return make
