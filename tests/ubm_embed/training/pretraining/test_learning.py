"""Pre-training learns, in worlds whose right answer is known."""

import itertools

import numpy as np
import polars as pl
import torch

from tests.ubm_embed.training.runs import metrics_of
from ubm_embed.data.corpus import PRODUCT_SCHEMA, Corpus
from ubm_embed.data.session import Action, Interaction, Product, Session
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.inference.embedder import Embedder
from ubm_embed.model.checkpoint import Checkpoint
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.training.pretraining.config import PretrainingConfig
from ubm_embed.training.pretraining.pretrain import pretrain


class World:
    """Eight products in two groups, and sessions that never leave a group."""

    WORDS = tuple("".join(letters) for letters in itertools.product("bdkt", "aei", "lmn", "ou"))
    GROUP = np.arange(8) // 4

    def __init__(self, shared=("", "")):
        self.titles = [f"{shared[group]} {self.WORDS[row]}".strip() for row, group in enumerate(self.GROUP)]
        rows = [
            {"product_id": f"p{row}", "title": title, "category": None, "attributes": []}
            for row, title in enumerate(self.titles)
        ]
        self.tokenizer = InteractionTokenizer.train(self.titles * 5, [], vocab_size=200)
        self.corpus = Corpus(pl.DataFrame(rows, schema=PRODUCT_SCHEMA), self._interactions())

    def _interactions(self):
        rng = np.random.default_rng(0)
        chosen = [
            rng.permutation(np.flatnonzero(number % 2 == self.GROUP))[: rng.integers(2, 5)] for number in range(120)
        ]
        rows = [
            (f"s{number}", place, "view", f"p{row}", None)
            for number, session in enumerate(chosen)
            for place, row in enumerate(session)
        ]
        columns = {"session_id": str, "position": int, "action": str, "product_id": str, "query": str}
        return pl.DataFrame(rows, schema=columns, orient="row")

    def model(self, **settings):
        torch.manual_seed(0)
        return UserBehaviorModel.from_scratch(vocab_size=self.tokenizer.vocab_size, **settings)

    def neighbours_in_group(self, model):
        """Share of the products whose nearest other product is of their own group."""
        vectors = Embedder(Checkpoint(model, self.tokenizer, "")).embed_products(self.corpus.products)
        scores = vectors @ vectors.T
        np.fill_diagonal(scores, -2)
        return (self.GROUP[scores.argmax(axis=1)] == self.GROUP).mean()

    def sessions_in_group(self, model):
        """Share of two-product sessions that score every unseen product of their group above all of the other's."""
        embedder = Embedder(Checkpoint(model, self.tokenizer, ""))
        vectors = embedder.embed_products(self.corpus.products)
        right = []
        for first, second in ((a, b) for a in range(8) for b in range(8) if a != b and self.GROUP[a] == self.GROUP[b]):
            seen = [Interaction(Action.VIEW, product=Product(self.titles[row])) for row in (first, second)]
            scores = vectors @ embedder.embed_sessions([Session(tuple(seen))])[0]
            own = self.GROUP[first] == self.GROUP
            own_unseen = np.setdiff1d(np.flatnonzero(own), [first, second])
            right.append(scores[own_unseen].min() > scores[~own].max())
        return np.mean(right)


class TestLearning:
    """A world whose right answer is known."""

    def test_stage_1_learns_who_is_seen_with_whom_from_nothing_else(self, out):
        # No two products share a word: only next item pairing can tell the groups.
        world = World()
        sizes = {"layers": 1, "width": 16, "dimension": 16, "session_layers": 1, "dropout": 0.0}
        config = PretrainingConfig(
            stages=(1,),
            losses=("next_item_pairing",),
            item_batch=32,
            epochs=6,
            learning_rate=1e-2,
            temperature=0.2,
            precision="float32",
        )
        assert world.neighbours_in_group(world.model(**sizes)) < 1
        trained = pretrain(world.corpus, world.model(**sizes), world.tokenizer, out, config).model
        assert world.neighbours_in_group(trained) == 1
        losses = [step["loss"] for step in metrics_of(out)]
        assert np.mean(losses[-5:]) < losses[0] - 0.5

    def test_both_stages_put_a_session_near_the_products_of_its_kind(self, out):
        world = World(shared=("camping tent", "kitchen lamp"))
        sizes = {"layers": 2, "width": 32, "dimension": 32, "session_layers": 1}
        config = PretrainingConfig(
            item_batch=32, session_batch=16, epochs=4, learning_rate=3e-3, temperature=0.1, precision="float32", seed=1
        )
        assert world.sessions_in_group(world.model(**sizes)) < 0.8
        trained = pretrain(world.corpus, world.model(**sizes), world.tokenizer, out, config).model
        assert world.neighbours_in_group(trained) == 1
        assert world.sessions_in_group(trained) == 1
        for stage in (1, 2):
            losses = [step["loss"] for step in metrics_of(out) if step["stage"] == stage]
            assert np.mean(losses[-5:]) < np.mean(losses[:3]) - 0.2
