"""Sessions predicted at all positions in one pass, by a causal model that learns item embeddings: the shop recipe."""

import numpy as np
import polars as pl
import pytest
import torch

from tests.ubm_embed.training.finetuning.conftest import BOTH, FILES, LOSS_ROUNDING, NIP, PRODUCTS, SEQUENCES
from tests.ubm_embed.training.runs import Cut, cut_at, metrics_of, without_times
from ubm_embed.counts.ranking_weights import COUNTS_FILE
from ubm_embed.data.batches.distinct_batches import NO_ACTION, interaction_sequences
from ubm_embed.data.batches.packing import TokenBatch
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.sample_shop import write_sample_shop
from ubm_embed.data.session import Action, Interaction, Product, Session
from ubm_embed.data.tasks.dataset import TaskDataset
from ubm_embed.data.tasks.examples import TargetSequences
from ubm_embed.data.tasks.task import Task
from ubm_embed.errors import InvalidData
from ubm_embed.inference.embedder import Embedder
from ubm_embed.model.checkpoint import Checkpoint, save_checkpoint
from ubm_embed.model.start import fresh_model
from ubm_embed.training.finetuning.finetune import MIN_ITEM_COUNT, agreed_split, finetune, objective_of
from ubm_embed.training.recipes import Recipe, finetuning_config, model_sizes

ALL_PRODUCTS = SEQUENCES.replace(negatives=0)


class TestAllPositions:
    """Sessions predicted at all positions in one pass, by a causal model with embeddings of products it has seen."""

    @pytest.fixture
    def objective(self, corpus, dataset_of, causal):
        def objective(config=ALL_PRODUCTS, **settings):
            dataset = dataset_of(config)
            return dataset, objective_of(corpus, causal, dataset, config, **settings)[1]

        return objective

    @torch.no_grad()
    def test_its_loss_is_that_of_its_examples_one_by_one(self, objective, stir):
        dataset, trained = objective()
        stir(trained)
        sequences = trained.epoch(dataset, np.random.default_rng(0))
        assert isinstance(sequences, TargetSequences)
        together = trained.eval().loss(sequences, np.random.default_rng(0)).item()
        assert together == pytest.approx(
            trained.loss(sequences.examples, np.random.default_rng(0)).item(), rel=LOSS_ROUNDING
        )

    @pytest.mark.parametrize("config", [SEQUENCES.replace(max_per_session=1), NIP], ids=["all positions", "one"])
    def test_a_sample_is_corrected_by_how_often_each_product_is_a_target_of_an_epoch(self, objective, config):
        dataset, trained = objective(config.replace(negatives=4))
        targets = trained.epoch(dataset, np.random.default_rng([config.seed, 3])).targets
        counts = np.bincount(targets, minlength=PRODUCTS)
        assert trained.sampler.popularity == pytest.approx(counts / counts.sum())
        if config.all_positions:
            # No session is cut here, so that every epoch has the same targets: each session's every position.
            other = trained.epoch(dataset, np.random.default_rng(9)).targets
            assert np.array_equal(np.bincount(other, minlength=PRODUCTS), counts)
            assert counts.sum() > 2 * len(dataset.parts.training)

    @pytest.mark.parametrize("min_count", [1, 5, 9])
    def test_products_that_training_has_seen_often_enough_have_an_embedding(self, objective, min_count):
        dataset, trained = objective(min_item_count=min_count)
        embeddings = trained.tower.interactions.encoder.item_embeddings
        seen = int((dataset.counts >= min_count).sum())
        assert 0 < seen < PRODUCTS or min_count == 1
        assert embeddings.keys.numel() == seen
        assert embeddings.dropout == 0.5

    def test_embeddings_start_near_their_neighbours_and_later_ones_at_0(self, corpus, tokenized, dataset_of, causal):
        dataset = dataset_of(SEQUENCES)
        first, _ = objective_of(corpus, causal, dataset, SEQUENCES, min_item_count=5)
        known, seen = first.interaction_encoder.item_embeddings, np.flatnonzero(dataset.counts >= 5)
        lengths = known.vectors.detach().norm(dim=1)
        with torch.no_grad():
            sequences = interaction_sequences(causal.tokenizer, tokenized.texts, np.full(seen.size, NO_ACTION), seen)
            words = causal.model.interaction_encoder.eval()(TokenBatch.from_table(sequences)).norm(dim=1)
        assert lengths[lengths > 0].mean().item() == pytest.approx(words.mean().item(), rel=LOSS_ROUNDING)
        again = Checkpoint(first, causal.tokenizer, "first")
        second, _ = objective_of(corpus, again, dataset, SEQUENCES, min_item_count=1)
        after = second.interaction_encoder.item_embeddings
        before = torch.isin(after.keys, known.keys)
        assert torch.equal(after.vectors[before], known.vectors)
        assert not before.all()
        assert not after.vectors[~before].any()

    def test_leaves_one_model_that_knows_them(self, tune, causal, out, read, dataset_of):
        tuned = tune(SEQUENCES.replace(max_steps=60), base=causal)
        assert sorted(file.name for file in out.iterdir()) == sorted([*FILES, COUNTS_FILE])
        config = tuned.model.config
        assert (config.task, config.causal, config.mean_of_tokens, config.product_tower) == ("nip", True, True, None)
        assert config.num_item_embeddings == (dataset_of(SEQUENCES).counts >= MIN_ITEM_COUNT).sum() > PRODUCTS / 2
        assert tuned.model.interaction_encoder.item_embeddings.vectors.abs().amax(dim=1).min() > 0
        assert np.isfinite(read(tuned)[1]).all()
        assert causal.model.config.num_item_embeddings == 0, "the model that was given is as it was"

    def test_tuned_again_keeps_what_it_knows(self, tune, causal, tmp_path):
        first = tune(SEQUENCES.replace(max_steps=60), base=causal)
        # Two steps of Adam at this rate move a weight by 2e-9, less than float32 resolves in weights of about 0.1.
        again = BOTH.replace(max_steps=2, learning_rate=1e-9)
        second = tune(again.replace(item_embeddings=True), base=first, out=tmp_path / "second")
        third = tune(again, base=first, out=tmp_path / "third")
        assert third.model.config.num_item_embeddings == 0, "by words alone"
        assert third.model.interaction_encoder.item_embeddings is None
        before, after = (one.model.interaction_encoder.item_embeddings for one in (first, second))
        assert torch.equal(after.keys, before.keys)
        torch.testing.assert_close(after.vectors, before.vectors, atol=torch.finfo(torch.float32).eps, rtol=0)

    def test_the_same_seed_makes_the_same_model(self, tune, causal, tmp_path):
        ids = [
            tune(SEQUENCES.replace(negatives=8, seed=seed), base=causal, out=tmp_path / name).model_id
            for name, seed in (("first", 0), ("second", 0), ("other", 1))
        ]
        assert ids[0] == ids[1] != ids[2]

    # Six steps up and along the peak, and three down.
    @pytest.mark.parametrize("cut", [2, 6, 7, 8, 9])
    def test_cut_off_in_each_part_of_its_way_it_ends_as_if_it_had_never_been(self, tune, causal, tmp_path, out, cut):
        config = SEQUENCES.replace(cooldown=0.5, max_steps=9, negatives=8, embedding_rate_multiplier=2.0)
        whole = tune(config, base=causal, out=tmp_path / "whole")
        with pytest.raises(Cut):
            tune(config, base=causal, progress=cut_at("fine-tuning", cut))
        assert tune(config, base=causal, resume=True).model_id == whole.model_id
        assert without_times(metrics_of(out)) == without_times(metrics_of(tmp_path / "whole"))

    def test_a_model_that_is_not_causal_is_refused_with_what_to_do(self, tune, out):
        problem = r"only a causal session encoder .* --recipe shop, or fine-tune with --one-position or --recipe paper"
        with pytest.raises(InvalidData, match=problem):
            tune(SEQUENCES.replace(item_embeddings=False))
        assert not out.exists()
        assert not out.with_name("model.training").exists()


STEPS = 6


FEW_STEPS = finetuning_config(
    Recipe.SHOP,
    Task.NIP,
    max_steps=STEPS,
    validation_steps=2,
    selection_metric="loss",  # a few steps need not move a hit among the few examples
    learning_rate=1e-2,
    batch=32,
    negatives=32,
    precision="float32",
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A sample shop."""
    folder = tmp_path_factory.mktemp("sample") / "shop"
    write_sample_shop(folder, products=80, sessions=200, seed=1)
    return Corpus.open(folder)


@pytest.fixture(scope="module")
def tuned(shop, tmp_path_factory):
    """A fresh model, fine-tuned on it by a few steps of the recipe for shops."""
    folder = tmp_path_factory.mktemp("sample model")
    sizes = model_sizes(Recipe.SHOP, layers=1, width=16, session_layers=1, dimension=16, vocab_size=512)
    model, tokenizer = fresh_model(shop, **sizes.model_dump())
    (folder / "base").mkdir()
    save_checkpoint(folder / "base", model, tokenizer, {})
    return finetune(shop, Checkpoint.from_pretrained(folder / "base"), folder / "nip", FEW_STEPS)


class TestSampleShop:
    """The whole way with the recipe for shops."""

    def test_is_a_model_that_gained(self, tuned):
        tuning = tuned.record["finetuning"]
        assert (tuning["all_positions"], tuning["item_embeddings"], tuning["train_products"]) == (True, True, True)
        assert 0 < tuning["step"] <= STEPS
        steps = [line["step"] for line in metrics_of(tuned.folder) if "loss" in line and "refit" not in line]
        assert steps == list(range(1, STEPS + 1))

    def test_learned_more_of_the_products_it_knows_than_where_they_start(self, tuned, shop):
        base = Checkpoint.from_pretrained(tuned.folder.parent / "base")
        tokenized = TokenizedCorpus.from_corpus(shop, base.tokenizer)
        questions = TaskDataset.from_split(Task.NIP, tokenized, agreed_split(base, tokenized, FEW_STEPS)[0])
        start = objective_of(shop, base, questions, FEW_STEPS)[0].interaction_encoder.item_embeddings
        known = tuned.model.interaction_encoder.item_embeddings
        assert torch.equal(known.keys, start.keys)
        moved = (known.vectors - start.vectors).norm(dim=1) / start.vectors.norm(dim=1).mean()
        assert moved.mean() > 0.01

    def test_answers_the_next_product(self, tuned, shop):
        embedder = Embedder.from_pretrained(tuned.folder, device="cpu")
        viewed = [Product(title) for title in shop.products["title"].head(2)]
        session = Session((*(Interaction(Action.VIEW, product=one) for one in viewed),))
        scores = embedder.embed_products(shop.products) @ embedder.embed_sessions([session])[0]
        assert np.isfinite(scores).all()
        assert scores.std() > 1e-3

    def test_reads_a_product_text_never_seen_by_its_words_alone(self, tuned, shop):
        seen = shop.products.head(20)
        new = seen.with_columns(title=pl.col("title") + " another")
        deaf = Checkpoint.from_pretrained(tuned.folder)
        deaf.model.interaction_encoder.item_embeddings = None
        both, words = (Embedder(one, device="cpu") for one in (tuned, deaf))
        assert np.array_equal(both.embed_products(new), words.embed_products(new))
        told_more = np.abs(both.embed_products(seen) - words.embed_products(seen)).max(axis=1) > 1e-5
        assert told_more.mean() > 0.5, "what was seen in training has a vector beside its words"
