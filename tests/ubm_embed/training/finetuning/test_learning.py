"""Fine-tuning learns, in worlds whose right answer is known."""

import math

import numpy as np
import pytest

from tests.ubm_embed.training.finetuning.conftest import PRODUCTS
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.tasks.dataset import TaskDataset
from ubm_embed.data.tasks.split import Split
from ubm_embed.data.tasks.task import Task
from ubm_embed.inference.predictor import Predictor
from ubm_embed.model.checkpoint import Checkpoint, save_checkpoint
from ubm_embed.training.finetuning.config import FinetuningConfig
from ubm_embed.training.finetuning.finetune import finetune


class TestLearning:
    """Worlds whose right answer is known."""

    @pytest.fixture
    def learn(self, out, fresh, tokenizer, tmp_path):
        """Fine-tune a fresh model; the corpus as that model reads it, and the model."""

        def learn(corpus, task, made=None, **settings):
            (tmp_path / "fresh").mkdir()
            save_checkpoint(tmp_path / "fresh", fresh(dropout=0.0, **(made or {})), tokenizer, {})
            sizes = {"batch": 32, "learning_rate": 1e-2, "validation_steps": 20, "holdout": 0.3}
            config = FinetuningConfig(task=task, precision="float32", **(sizes | settings))
            checkpoint = finetune(corpus, Checkpoint.from_pretrained(tmp_path / "fresh"), out, config)
            return TokenizedCorpus.from_corpus(corpus, tokenizer), checkpoint

        return learn

    def judged(self, task, corpus, checkpoint):
        """The test part's answers and the model's."""
        split = Split.from_dict(checkpoint.record["split"])
        examples = TaskDataset.from_split(task, corpus, split).test(max_examples=1000, seed=0)
        predictor = Predictor.from_checkpoint(checkpoint, device="cpu")
        return examples.targets, predictor.predict_table(corpus.texts, examples.prefixes)

    @pytest.mark.parametrize(
        "settings",
        [{}, {"only_session_encoder": True, "max_steps": 300, "learning_rate": 2e-2}, {"train_products": True}],
        ids=["whole", "session encoder", "products too"],
    )
    def test_nip_which_product_follows_which(self, learn, corpus_of, settings):
        rng = np.random.default_rng(0)
        starts = rng.integers(PRODUCTS, size=240)
        corpus = corpus_of([[("view", f"p{(start + place) % PRODUCTS + 1}") for place in range(4)] for start in starts])
        _, checkpoint = learn(corpus, Task.NIP, **({"max_steps": 150} | settings))
        # Guessing among what a session does not hold hits ten of 22 on average, and costs log 22. How close the few
        # steps come to all hits differs from one processor to the next.
        assert checkpoint.record["finetuning"]["validation_hit_at_10"] > 0.8
        assert checkpoint.record["finetuning"]["validation_loss"] < 0.8 * math.log(22)

    def test_nip_at_every_place_at_once(self, learn, corpus_of):
        rng = np.random.default_rng(0)
        starts = rng.integers(PRODUCTS, size=240)
        corpus = corpus_of([[("view", f"p{(start + place) % PRODUCTS + 1}") for place in range(4)] for start in starts])
        settings = {"train_products": True, "all_positions": True, "item_embeddings": True, "max_steps": 80}
        _, checkpoint = learn(corpus, Task.NIP, made={"causal": True, "mean_of_tokens": True}, **settings)
        assert checkpoint.record["finetuning"]["validation_hit_at_10"] > 0.8
        assert checkpoint.record["finetuning"]["validation_loss"] < 0.8 * math.log(22)

    def test_nip_what_a_search_leads_to(self, learn, corpus_of):
        """Shoppers say the opposite of what they want, so that nothing is found by its words."""
        colours, kinds = ("red", "blue", "leather", "walking"), ("shoes", "shirt", "boots", "belt", "socks", "road")
        rng = np.random.default_rng(0)
        sessions = []
        for number in rng.integers(PRODUCTS, size=240):
            kind, colour = divmod(int(number + 5) % PRODUCTS, 4)
            products = [("view", f"p{(number + place) % PRODUCTS + 1}") for place in range(2)]
            sessions.append([("search", f"{colours[colour]} {kinds[kind]}"), *products])
        settings = {"train_products": True, "all_positions": True, "item_embeddings": True, "max_steps": 80}
        made = {"causal": True, "mean_of_tokens": True}
        _, checkpoint = learn(corpus_of(sessions), Task.NIP, made=made, **settings)
        # Two of three examples end in the search, which is all that is known then.
        assert checkpoint.record["finetuning"]["validation_hit_at_10"] > 0.8

    def test_pip_who_adds_to_the_cart_buys(self, learn, corpus_of):
        rng = np.random.default_rng(1)
        sessions = []
        for number in range(160):
            viewed = [("view", f"p{row + 1}") for row in rng.integers(8, size=7)]
            if number % 4 == 0:
                place = rng.integers(5)
                viewed[place] = ("add", viewed[place][1])
                viewed[-1] = ("buy", viewed[place][1])
            sessions.append(viewed)
        corpus, checkpoint = learn(corpus_of(sessions), Task.PIP, max_steps=80)
        bought, found = self.judged(Task.PIP, corpus, checkpoint)
        assert np.mean(found[bought][:, None] > found[~bought]) > 0.9
        assert np.mean((found > checkpoint.model.head.threshold) == bought) > 0.9
        assert found.mean() == pytest.approx(bought.mean(), abs=0.15)

    def test_rlp_the_product_in_view_tells_what_is_left(self, learn, corpus_of):
        rng = np.random.default_rng(2)
        lengths = rng.integers(6, 13, size=160)
        corpus = corpus_of(
            [[("view", f"p{left}") for left in np.arange(length, 0, -1).clip(max=8)] for length in lengths]
        )
        corpus, checkpoint = learn(corpus, Task.RLP, max_steps=60)
        left, found = self.judged(Task.RLP, corpus, checkpoint)
        assert 1 - np.mean((found - left) ** 2) / left.var() > 0.5
