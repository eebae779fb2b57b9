"""A vocabulary learned from counted words equals the one that the library learns from the texts."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from ubm_embed.data.text.vocabulary import learned_words

WORDS = st.sampled_from(
    ["red", "Red", "réd", "shoes", "shoe-care", "[BUY]", "İstanbul", "kit,", "靴", "x" * 120, "it's"]
)
TEXTS = st.lists(
    st.lists(WORDS | st.text(st.characters(exclude_categories=["Cs"]), max_size=5), max_size=5).map(" ".join)
)


def slowly_learned(texts: list[str], room: int) -> list[str]:
    """Every text given to the trainer, as often as it stands there."""
    normalizer = normalizers.BertNormalizer(lowercase=True)
    normalised = [normalizer.normalize_str(text) for text in texts]
    words = [word for text in normalised for word in text.split()]
    letters = Counter(letter for word in words for letter in word)
    first = sorted(letters, key=lambda letter: (-letters[letter], letter))[: min(1000, room // 2)]
    inner = sorted(f"##{letter}" for letter in first if any(letter in word[1:] for word in words))
    trainer = trainers.WordPieceTrainer(
        vocab_size=room + 1,
        min_frequency=2,
        special_tokens=["[UNK]", *inner],
        initial_alphabet=first,
        limit_alphabet=len(first),
        show_progress=False,
    )
    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(normalised, trainer)
    return sorted(tokenizer.get_vocab().keys() - {"[UNK]"})


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.integers(2, 80))
def test_counting_first_changes_nothing(texts: list[str], room: int) -> None:
    texts = texts * 2
    assert learned_words(texts, normalizers.BertNormalizer(lowercase=True), room) == slowly_learned(texts, room)


@pytest.mark.parametrize("often", [1, 999, 1000, 1001, 2500])
def test_a_word_counts_as_often_as_it_occurs(often: int) -> None:
    texts = ["aab"] * often + ["aac"] * 1000 + ["ab"] * 1001
    assert learned_words(texts, normalizers.BertNormalizer(lowercase=True), 7) == slowly_learned(texts, 7)
