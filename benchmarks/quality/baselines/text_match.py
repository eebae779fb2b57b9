"""Products whose text resembles that of the session: what can be predicted without learning from any shopper.

Letters: E sessions, M products, P search phrases, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import polars as pl
import torch
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize
from transformers import AutoModel, AutoTokenizer

from ubm_embed.data.arrays import FloatArray
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.products import iter_products
from ubm_embed.data.session import Product

_TEXTS_AT_ONCE = 256
_MAX_TOKENS = 64  # as in our model


@dataclass(frozen=True)
class TextMatch:
    """Cosine of a session's summed text vectors to each product.

    Attributes:
        texts: [M + P, D] of the products, then of the search phrases; dense or sparse.
        products: [M, D], of length 1.
        last: number of last interactions that are read of a session.
    """

    texts: FloatArray | csr_array
    products: FloatArray | csr_array
    last: int

    @classmethod
    def tf_idf(cls, corpus: Corpus, last: int, *, concatenated: bool = False) -> TextMatch:
        """Words weighted by their inverse document frequency in the catalogue, new products included.

        Args:
            concatenated: read a session as one long text, where long texts weigh more; else as a mean of unit vectors.
        """
        texts = texts_of(corpus)
        words = TfidfVectorizer(token_pattern=r"\w+", norm=None, dtype=np.float32)
        words.fit(texts[: corpus.products.height])
        plain = csr_array(words.transform(texts))
        unit = csr_array(normalize(plain))
        return cls(plain if concatenated else unit, unit[: corpus.products.height], last)

    @classmethod
    def encoder(cls, corpus: Corpus, last: int, source: str) -> TextMatch:
        """A pre-trained text encoder: the mean over a text's tokens, centred."""
        vectors = mean_of_tokens(texts_of(corpus), source)
        centred = normalize(vectors - vectors.mean(axis=0))
        return cls(centred, centred[: corpus.products.height], last)

    def scores(self, prefixes: SessionTable) -> FloatArray:
        """As `Scorer`: [E, M]."""
        recent = prefixes.last(self.last)
        ones = np.ones(recent.rows.size, dtype=np.float32)
        counts = csr_array((ones, (recent.session_of(), recent.rows)), shape=(len(recent), self.texts.shape[0]))
        scores = (counts @ self.texts) @ self.products.T
        return cast(FloatArray, scores.toarray() if isinstance(scores, csr_array) else scores)


def texts_of(corpus: Corpus) -> list[str]:
    """The texts of `TokenizedCorpus`, in its order: [M + P]."""
    searches = corpus.interactions.filter(pl.col("action") == "search")["query"]
    return [*map(text_of, iter_products(corpus.products)), *searches.unique(maintain_order=True)]


def text_of(product: Product) -> str:
    """All that a shop says of a product."""
    return " ".join([product.title, product.category or "", *(value for _, value in product.attributes)])


@torch.inference_mode()
def mean_of_tokens(texts: list[str], source: str, *, max_tokens: int = _MAX_TOKENS) -> FloatArray:
    """[N, D], the mean over each text's tokens, of length 1."""
    tokenizer, model = AutoTokenizer.from_pretrained(source), AutoModel.from_pretrained(source).eval()
    order = np.argsort([len(text) for text in texts], kind="stable")
    vectors = np.empty((len(texts), model.config.hidden_size), np.float32)
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        part = order[start : start + _TEXTS_AT_ONCE]
        batch = tokenizer(
            [texts[row] for row in part], padding=True, truncation=True, max_length=max_tokens, return_tensors="pt"
        )
        mask = batch["attention_mask"][:, :, None].float()
        vectors[part] = ((model(**batch).last_hidden_state * mask).sum(dim=1) / mask.sum(dim=1)).numpy()
    return cast(FloatArray, normalize(vectors))
