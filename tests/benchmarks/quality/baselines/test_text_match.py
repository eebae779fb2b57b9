"""Text alone: products that share words with the session come first, those that share none score 0."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from transformers import BertConfig, BertModel

from benchmarks.quality.baselines.text_match import TextMatch, texts_of
from tests.rounding import rounding_error
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.corpus import PRODUCT_SCHEMA, Corpus
from ubm_embed.data.text.tokenizer import InteractionTokenizer, training_texts

TITLES = ["red shoes", "blue shoes", "green kettle", "red kettle with a very long name that has many words"]


@pytest.fixture
def corpus():
    products = pl.DataFrame(
        {
            "product_id": ["p0", "p1", "p2", "p3"],
            "title": TITLES,
            "category": ["Clothing", "Clothing", "Kitchen", None],
            "attributes": [[{"name": "size", "value": "wide"}], [], [], None],
        },
        schema=PRODUCT_SCHEMA,
    )
    steps = [("s1", 0, "view", "p0", None), ("s2", 0, "search", None, "kettle"), ("s2", 1, "view", "p1", None)]
    schema = {
        "session_id": pl.String,
        "position": pl.Int64,
        "action": pl.String,
        "product_id": pl.String,
        "query": pl.String,
    }
    return Corpus(products, pl.DataFrame(steps, schema=schema, orient="row"))


@pytest.fixture
def tokenized(corpus):
    return TokenizedCorpus.from_corpus(
        corpus, InteractionTokenizer.train(training_texts(corpus.products), [], vocab_size=200)
    )


def test_texts_stand_where_the_tokens_of_the_corpus_stand(corpus, tokenized):
    texts = texts_of(corpus)
    assert len(texts) == len(tokenized.texts)
    assert texts[0].split() == ["red", "shoes", "Clothing", "wide"]
    assert texts[tokenized.sessions.rows[1]] == "kettle"


@pytest.mark.parametrize("concatenated", [False, True])
def test_products_that_share_words_with_the_session_come_first(corpus, tokenized, concatenated):
    scores = TextMatch.tf_idf(corpus, 10, concatenated=concatenated).scores(tokenized.sessions)
    assert scores.shape == (2, 4)
    assert scores[0].argmax() == 0
    assert scores[0, 1] > scores[0, 2] == 0.0
    assert scores[1, 1] > scores[1, 2] > 0.0, "it searched for kettles and viewed a shoe"


def test_only_the_last_interactions_are_read(corpus, tokenized):
    scores = TextMatch.tf_idf(corpus, 1).scores(tokenized.sessions)
    assert scores[1, 2] == 0.0, "the search for kettles came before the last one"


def test_a_text_encoder_finds_the_product_that_was_looked_at(corpus, tokenized, tmp_path):
    letters = [chr(code) for code in range(97, 123)]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n", "utf-8")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(words), **sizes)).save_pretrained(tmp_path)
    match = TextMatch.encoder(corpus, 10, str(tmp_path))
    assert np.allclose(np.linalg.norm(match.products, axis=1), 1.0, atol=rounding_error(4, 32))
    assert match.scores(tokenized.sessions)[0].argmax() == 0
