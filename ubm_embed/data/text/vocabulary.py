"""The words and pieces of words of a WordPiece vocabulary: learned from texts, or those of a BERT checkpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from ubm_embed.data.tables.json_files import read_json_object
from ubm_embed.errors import InvalidData, NotFound

TOKENIZER_FILE = "tokenizer.json"
_UNKNOWN = "[UNK]"
# Letters of a learned vocabulary: enough for several scripts, and few enough to leave out stray emoji.
_MAX_LETTERS = 1000
_WORDS_PER_TEXT = 1000  # in a text for the trainer


def bert_vocabulary(source: Path) -> tuple[list[str], normalizers.Normalizer | None]:
    """The tokens of a checkpoint by id, and how text is normalised before it is split.

    Args:
        source: a vocab.txt, or a checkpoint folder with a tokenizer.json or a vocab.txt.

    Raises:
        NotFound: none of these files exists.
        InvalidData: not a WordPiece vocabulary.
    """
    if (source / TOKENIZER_FILE).is_file():
        return _fast_vocabulary(source / TOKENIZER_FILE)
    file = source / "vocab.txt" if source.is_dir() else source
    if not file.is_file():
        raise NotFound(
            f"no vocabulary at {source}: expected a vocab.txt, or a folder with one or with a {TOKENIZER_FILE}"
        )
    settings = file.with_name("tokenizer_config.json")
    lowercase = read_json_object(settings).get("do_lower_case", True) if settings.is_file() else True
    if not isinstance(lowercase, bool):
        raise InvalidData("expected true or false", file=settings, field="do_lower_case")
    try:
        words = file.read_text("utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise InvalidData(f"not a vocabulary: {error}", file=file) from None
    return words, normalizers.BertNormalizer(lowercase=lowercase)


def _fast_vocabulary(file: Path) -> tuple[list[str], normalizers.Normalizer | None]:
    model = read_json_object(file).get("model")
    if not isinstance(model, dict) or model.get("type", "WordPiece") != "WordPiece":
        kind = model.get("type") if isinstance(model, dict) else "none"
        raise InvalidData(f"expected a WordPiece vocabulary, found {kind}", file=file)
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises bare Exception
        raise InvalidData(f"not a tokenizer: {error}", file=file) from None
    vocabulary = tokenizer.get_vocab(with_added_tokens=False)
    if sorted(vocabulary.values()) != list(range(len(vocabulary))):
        raise InvalidData("expected token ids from 0 without a gap", file=file, field="model.vocab")
    return sorted(vocabulary, key=vocabulary.__getitem__), tokenizer.normalizer


def learned_words(texts: Iterable[str], normalizer: normalizers.Normalizer, limit: int) -> list[str]:
    """At most `limit` words and pieces of words, sorted, for texts that are normalised and split as BERT does.

    The same texts in any order and process give the same words.
    """
    counts = _normalised(Counter(texts), normalizer)
    words = _words(counts)
    first, inner = _letters(words, min(_MAX_LETTERS, limit // 2))
    trainer = trainers.WordPieceTrainer(
        vocab_size=limit + 1,
        min_frequency=2,
        # The trainer breaks ties by id, and numbers letters that it is not given in hash order.
        special_tokens=[_UNKNOWN, *inner],
        initial_alphabet=first,
        limit_alphabet=len(first),
        show_progress=False,
    )
    learned = Tokenizer(models.WordPiece({_UNKNOWN: 0}, unk_token=_UNKNOWN))
    learned.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    # Normalising is not idempotent, and a tokenizer normalises the text again.
    learned.train_from_iterator(_repeated(_split(_normalised(words, normalizer))), trainer)
    return sorted(learned.get_vocab().keys() - {_UNKNOWN})


def _normalised(counts: Counter[str], normalizer: normalizers.Normalizer) -> Counter[str]:
    normalised: Counter[str] = Counter()
    for text, count in counts.items():
        normalised[normalizer.normalize_str(text)] += count
    return normalised


def _words(counts: Counter[str]) -> Counter[str]:
    words: Counter[str] = Counter()
    for text, count in counts.items():
        for word in text.split():
            words[word] += count
    return words


def _split(counts: Counter[str]) -> Counter[str]:
    """Words cut at punctuation, as the tokenizer cuts them."""
    splitter = pre_tokenizers.BertPreTokenizer()
    words: Counter[str] = Counter()
    for text, count in counts.items():
        for word, _ in splitter.pre_tokenize_str(text):
            words[word] += count
    return words


def _repeated(words: Counter[str]) -> Iterator[str]:
    """Each word as often as it was counted, since the trainer takes no counts; many in a text, which is faster."""
    for word, count in words.items():
        while count > 0:
            yield " ".join([word] * min(count, _WORDS_PER_TEXT))
            count -= _WORDS_PER_TEXT


def _letters(words: Counter[str], limit: int) -> tuple[list[str], list[str]]:
    """The `limit` most frequent letters, and as `##a` those of them that occur within a word."""
    letters: Counter[str] = Counter()
    for word, count in words.items():
        for letter in word:
            letters[letter] += count
    ranked = sorted(letters, key=lambda letter: (-letters[letter], letter))[:limit]
    inside = {letter for word in words for letter in word[1:]}
    return ranked, sorted(f"##{letter}" for letter in ranked if letter in inside)
