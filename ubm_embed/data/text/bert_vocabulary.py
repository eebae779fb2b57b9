"""The vocabulary of a BERT checkpoint, in either of the forms it comes in."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer, normalizers

from ubm_embed.data.tables.json_object import read_json_object
from ubm_embed.errors import InvalidData, NotFound

TOKENIZER_FILE = "tokenizer.json"


def bert_vocabulary(source: Path) -> tuple[list[str], normalizers.Normalizer | None]:
    """Tokens by id, and how text is normalised before it is split.

    Args:
        source: a vocab.txt, or a checkpoint folder with a tokenizer.json or a vocab.txt.

    Raises:
        NotFound: neither is there.
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
        found = model.get("type") if isinstance(model, dict) else "none"
        raise InvalidData(f"expected a WordPiece vocabulary, found {found}", file=file)
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises bare Exception
        raise InvalidData(f"not a tokenizer: {error}", file=file) from None
    vocabulary = tokenizer.get_vocab(with_added_tokens=False)
    if sorted(vocabulary.values()) != list(range(len(vocabulary))):
        raise InvalidData("expected token ids from 0 without a gap", file=file, field="model.vocab")
    return sorted(vocabulary, key=vocabulary.__getitem__), tokenizer.normalizer
