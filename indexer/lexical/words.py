"""Texts as words: what is counted for BM25, and the hashes by which words are found.

Letters: N words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.session import Product
from ubm_embed.data.text.tokenizer import MAX_TEXT_CHARACTERS, cut_product

# Distinct words of a product or a phrase that are looked at. The model reads 64 tokens.
MAX_WORDS = 64
# What a word of the category or of an attribute's value counts, where one of the title counts 1.
_DETAIL = 0.5
_WORD = re.compile(r"\w+")
_HASH_BYTES = 8
# Letters of scripts that put no spaces between words, which are read two at a time.
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")


def words_of(text: str) -> list[str]:
    """The words of as much of a text as a model may read, in lower case and in the singular."""
    return list(_words(text[:MAX_TEXT_CHARACTERS]))


def product_words(product: Product) -> dict[str, float]:
    """The first words of a product, each once, with how much it occurs; the title's come first."""
    title, category, attributes = cut_product(product)
    counts: dict[str, float] = {}
    _count(counts, _words(title), 1.0)
    details = (category or "", *(value for _, value in attributes))
    _count(counts, chain.from_iterable(map(_words, details)), _DETAIL)
    return counts


def phrase_words(phrase: str) -> dict[str, float]:
    """The first words of a search phrase, each once."""
    counts: dict[str, float] = {}
    _count(counts, words_of(phrase), 1.0)
    return counts


def word_hashes(words: Iterable[str]) -> NDArray[np.uint64]:
    """A hash of 64 bits for each word, the same on every machine and in every process: [N]."""
    digests = (blake2b(word.encode("utf-8", "surrogatepass"), digest_size=_HASH_BYTES).digest() for word in words)
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64, copy=False)


def length(counts: Mapping[str, float]) -> float:
    """How long a product is, in words."""
    return sum(counts.values())


def _count(counts: dict[str, float], words: Iterable[str], weight: float) -> None:
    for word in words:
        if word in counts:
            counts[word] += weight
        elif len(counts) < MAX_WORDS:
            counts[word] = weight


def _words(text: str) -> Iterator[str]:
    for word in _WORD.findall(text.lower()):
        if _UNSPACED.search(word) and len(word) > 1:
            yield from (word[at : at + 2] for at in range(len(word) - 1))
        else:
            yield _singular(word)


def _singular(word: str) -> str:
    """A word without the ending of an English plural (the S-stemmer of Harman 1991, and "-ches", "-xes")."""
    if len(word) <= 3 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    if word.endswith(("ses", "xes", "zes", "ches", "shes")):
        return word[:-2]
    return word[:-1]
