from __future__ import annotations

import numpy as np
import pytest

from indexer.lexical.words import MAX_WORDS, phrase_words, product_words, word_hashes, words_of
from ubm_embed.data.session import Product


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("USB Cables", ["usb", "cable"]),
        ("batteries, boxes & watches", ["battery", "box", "watch"]),
        ("a glass bus is his gas", ["a", "glass", "bus", "is", "his", "gas"]),
        ("IHAS124-04", ["ihas124", "04"]),
        ("Größe ÉTÉ", ["größe", "été"]),
        ("無線マウス x", ["無線", "線マ", "マウ", "ウス", "x"]),
        ("", []),
    ],
)
def test_a_text_is_read_as_words_in_lower_case_and_in_the_singular(text: str, words: list[str]) -> None:
    assert words_of(text) == words


def test_words_of_the_title_count_more_than_those_of_category_and_attributes() -> None:
    product = Product("Red shoes red", "Shoes > Running", (("colour", "dark red"),))
    assert product_words(product) == {"red": 2.5, "shoe": 1.5, "running": 0.5, "dark": 0.5}


def test_only_the_first_words_of_a_long_text_are_read() -> None:
    many = " ".join(f"w{number}" for number in range(10_000))
    assert list(phrase_words(many)) == [f"w{number}" for number in range(MAX_WORDS)]
    assert list(product_words(Product(many))) == [f"w{number}" for number in range(MAX_WORDS)]


def test_hashes_are_the_same_on_every_machine() -> None:
    assert word_hashes(["red", "shoe"]).tolist() == [11765665226422741261, 2333105135857528250]
    assert word_hashes([]).tolist() == []
    assert np.unique(word_hashes(f"word{number}" for number in range(1000))).size == 1000
