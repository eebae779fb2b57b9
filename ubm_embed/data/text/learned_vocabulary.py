"""A WordPiece vocabulary learned from texts: the same texts, in any order and process, give the same words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

_UNKNOWN = "[UNK]"
# Letters that a learned vocabulary has: enough for several scripts, and it keeps a stray emoji from costing a place.
_ALPHABET = 1000
_TOGETHER = 1000  # words in one text for the trainer


def learned_words(texts: Iterable[str], normalizer: normalizers.Normalizer, room: int) -> list[str]:
    """At most `room` words and pieces of words, sorted, for texts that are normalised and split as BERT does."""
    counted = _normalised(Counter(texts), normalizer)
    words = _words(counted)
    first, inner = _letters(words, min(_ALPHABET, room // 2))
    trainer = trainers.WordPieceTrainer(
        vocab_size=room + 1,
        min_frequency=2,
        # The trainer breaks ties by id, and numbers by hash order each letter that it has not been given.
        special_tokens=[_UNKNOWN, *inner],
        initial_alphabet=first,
        limit_alphabet=len(first),
        show_progress=False,
    )
    learned = Tokenizer(models.WordPiece({_UNKNOWN: 0}, unk_token=_UNKNOWN))
    learned.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    # Normalising is not always done after one time, and a tokenizer that is given a text does it once more.
    learned.train_from_iterator(_repeated(_split(_normalised(words, normalizer))), trainer)
    return sorted(learned.get_vocab().keys() - {_UNKNOWN})


def _normalised(counted: Counter[str], normalizer: normalizers.Normalizer) -> Counter[str]:
    normalised: Counter[str] = Counter()
    for text, count in counted.items():
        normalised[normalizer.normalize_str(text)] += count
    return normalised


def _words(counted: Counter[str]) -> Counter[str]:
    words: Counter[str] = Counter()
    for text, count in counted.items():
        for word in text.split():
            words[word] += count
    return words


def _split(counted: Counter[str]) -> Counter[str]:
    """Words cut at punctuation, as the tokenizer cuts them."""
    splitter = pre_tokenizers.BertPreTokenizer()
    words: Counter[str] = Counter()
    for text, count in counted.items():
        for word, _ in splitter.pre_tokenize_str(text):
            words[word] += count
    return words


def _repeated(words: Counter[str]) -> Iterator[str]:
    """Each word as often as it was counted: the trainer takes no counts. Several a text, for it is slow to take one."""
    for word, count in words.items():
        while count > 0:
            yield " ".join([word] * min(count, _TOGETHER))
            count -= _TOGETHER


def _letters(words: Counter[str], most: int) -> tuple[list[str], list[str]]:
    """The `most` most frequent letters, and as `##a` those of them that stand inside a word."""
    letters: Counter[str] = Counter()
    for word, count in words.items():
        for letter in word:
            letters[letter] += count
    ranked = sorted(letters, key=lambda letter: (-letters[letter], letter))[:most]
    inside = {letter for word in words for letter in word[1:]}
    return ranked, sorted(f"##{letter}" for letter in ranked if letter in inside)
