"""New products are in no training data, and in all questions about them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from benchmarks.quality.new_products import CandidateFilter, NewProducts, questions_about
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.sample_shop import write_sample_shop
from ubm_embed.data.tasks.examples import TaskExamples
from ubm_embed.data.tasks.split import Split
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.evaluation.baselines import Popularity, seen_products
from ubm_embed.evaluation.next_item import ranks_of
from ubm_embed.model.start import fresh_model

PRODUCTS = 60


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("new_products") / "shop"
    write_sample_shop(folder, products=PRODUCTS, sessions=400, seed=0)
    return Corpus.open(folder)


@pytest.fixture(scope="module")
def new_products(shop: Corpus) -> NewProducts:
    return NewProducts.draw(shop, 0.25, seed=3)


@pytest.fixture(scope="module")
def tokenizer(new_products: NewProducts) -> InteractionTokenizer:
    sizes = {"layers": 1, "width": 16, "dimension": 16, "session_layers": 1}
    return fresh_model(new_products.before(), vocab_size=512, **sizes)[1]


@pytest.fixture(scope="module")
def corpus(shop: Corpus, tokenizer: InteractionTokenizer) -> TokenizedCorpus:
    return TokenizedCorpus.from_corpus(shop, tokenizer)


@pytest.fixture(scope="module", params=["session", "time"])
def split(new_products: NewProducts, tokenizer: InteractionTokenizer, request: pytest.FixtureRequest) -> Split:
    return Split.choose(TokenizedCorpus.from_corpus(new_products.before(), tokenizer), holdout=0.4, kind=request.param)


def questions_about_new(new_products: NewProducts, corpus: TokenizedCorpus, split: Split) -> TaskExamples:
    return questions_about(new_products.new, corpus, split, max_questions=1000, seed=0)


def test_the_share_of_new_products_is_exact_and_drawn_by_the_seed(shop: Corpus, new_products: NewProducts) -> None:
    assert new_products.new.sum() == PRODUCTS / 4
    assert np.array_equal(new_products.new, NewProducts.draw(shop, 0.25, seed=3).new)
    assert not np.array_equal(new_products.new, NewProducts.draw(shop, 0.25, seed=4).new)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_a_share_of_none_or_all_is_an_error(shop: Corpus, share: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        NewProducts.draw(shop, share, seed=0)


def test_the_shop_before_has_neither_new_products_nor_interactions_with_them(
    shop: Corpus, new_products: NewProducts
) -> None:
    new = set(shop.products["product_id"].filter(pl.Series(new_products.new)))
    before = new_products.before()
    assert new
    assert not new & set(before.products["product_id"])
    assert not new & set(before.interactions["product_id"].drop_nulls())


def test_searches_and_interactions_with_other_products_stay(shop: Corpus, new_products: NewProducts) -> None:
    new = shop.products["product_id"].filter(pl.Series(new_products.new)).to_list()
    rows = shop.interactions.rows(named=True)
    others = [row for row in rows if row["product_id"] not in new]
    assert any(row["action"] == "search" for row in others)
    assert new_products.before().interactions.rows(named=True) == others


def test_no_training_session_contains_a_new_product(
    new_products: NewProducts, tokenizer: InteractionTokenizer, split: Split
) -> None:
    training = new_products.training(split, tokenizer)
    products = np.unique(training.rows[training.rows < PRODUCTS])
    assert products.size
    assert not new_products.new[products].any()


def test_no_test_session_is_a_training_session(
    new_products: NewProducts, tokenizer: InteractionTokenizer, corpus: TokenizedCorpus, split: Split
) -> None:
    before = TokenizedCorpus.from_corpus(new_products.before(), tokenizer)
    trained = set(before.session_ids[split.membership(before) == "training"])
    tested = set(corpus.session_ids[split.membership(corpus) == "test"])
    assert trained
    assert tested
    assert not trained & tested


def test_questions_have_only_the_given_targets(
    new_products: NewProducts, corpus: TokenizedCorpus, split: Split
) -> None:
    examples = questions_about_new(new_products, corpus, split)
    assert len(examples)
    assert new_products.new[examples.targets].all()
    assert len(examples) <= len(split.parts(corpus).test.sessions)
    assert len(questions_about(new_products.new, corpus, split, max_questions=3, seed=0)) == 3


def test_a_candidate_filter_ranks_only_its_candidates(
    new_products: NewProducts, corpus: TokenizedCorpus, split: Split
) -> None:
    examples = questions_about_new(new_products, corpus, split)
    # All new products score below all others, each a little above the one before.
    scorer = Popularity(np.where(new_products.new, np.arange(PRODUCTS) - 1000, 0).astype(np.float32))
    among_all, among_new = (
        ranks_of(one, examples, PRODUCTS) for one in (scorer, CandidateFilter(scorer, new_products.new))
    )
    others = (~seen_products(examples.prefixes, PRODUCTS) & ~new_products.new).sum(axis=1)
    assert np.array_equal(among_all, among_new + others)
    assert 1 <= among_new.min() < among_new.max() <= new_products.new.sum()
