"""WordPiece over product texts and search phrases, with special tokens for actions and attributes (paper 3.1.1).

    product text    [TITLE] title [CATEGORY] category [COLOUR] red [SIZE] 42 ...
    interaction     [CLS] [VIEW] product text [SEP]      or    [CLS] [SEARCH] search phrase [SEP]
    product alone   [CLS] product text [SEP]

A title is cut to its first 32 tokens, an interaction to 64 in all.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from ubm_embed.data.arrays import BoolArray, offsets_of
from ubm_embed.data.session import Product
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.data.text.vocabulary import TOKENIZER_FILE, bert_vocabulary, learned_words
from ubm_embed.errors import InvalidData, NotFound

if TYPE_CHECKING:
    import polars as pl

MAX_TOKENS = 64
MAX_TITLE_TOKENS = 32
# [CLS], an action and [SEP] surround a text. A product alone has no action token, but its text is cut to the same
# length, so that a text has one token sequence wherever it is read.
MAX_TEXT_TOKENS = MAX_TOKENS - 3
# A longer title, category, attribute or phrase is cut before anything is done with it: the price of a text must not
# depend on who sends it. A word of over 100 letters is one unknown token, so those tokens seldom need more.
MAX_TEXT_CHARACTERS = 8_192
# A marketplace can have any number of attribute names; beyond these, the rarer ones share the generic token.
MAX_ATTRIBUTE_NAMES = 512

WORD_MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
TEXT_MARKS = ("[TITLE]", "[CATEGORY]", "[ATTRIBUTE]")
ACTION_MARKS = ("[SEARCH]", "[VIEW]", "[ADD]", "[BUY]")
# Of a removal from the cart, in vocabularies learned where there are enough of them (see `removals`).
REMOVAL_MARK = "[REMOVE]"
RESERVED = frozenset(WORD_MARKS + TEXT_MARKS + ACTION_MARKS)
_SPECIAL = re.compile(r"\[.+\]")
_CHUNK = 100_000  # products whose strings are in memory at once

ProductText = tuple[str, str | None, tuple[tuple[str, str], ...]]
"""Title, category and attributes of a product."""


def cut_product(product: Product) -> ProductText:
    """As much of a product as its tokens depend on."""
    category, attributes = product.category, product.attributes
    if category is not None:
        category = category[:MAX_TEXT_CHARACTERS]
    if len(attributes) > MAX_TEXT_TOKENS or max(map(len, chain.from_iterable(attributes)), default=0) > (
        MAX_TEXT_CHARACTERS
    ):
        filled = islice((pair for pair in attributes if pair[1]), MAX_TEXT_TOKENS)  # each is at least one token
        attributes = tuple((name[:MAX_TEXT_CHARACTERS], value[:MAX_TEXT_CHARACTERS]) for name, value in filled)
    return product.title[:MAX_TEXT_CHARACTERS], category, attributes


def attribute_mark(name: str) -> str:
    """The token of an attribute name: `Shoe size` -> `[SHOE SIZE]`; the generic one if that is a reserved mark."""
    mark = f"[{' '.join(name[:MAX_TEXT_CHARACTERS].upper().split())}]"
    return "[ATTRIBUTE]" if mark in RESERVED or mark == "[]" else mark


class InteractionTokenizer:
    """Text to token ids. A shop's text never yields special tokens: the title "[BUY]" is three ordinary tokens.

    Attributes:
        reads_removals: whether it has a token for removals from the cart; if not, adds are taken back instead.
        action_marks: the token of each action that it has one for, by `Action.code`: four, or five with removals.
        actions: [4 or 5] int64, the ids of these tokens.
        is_word: [V] bool, which ids are words rather than special tokens.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        vocabulary = tokenizer.get_vocab()
        missing = sorted(RESERVED - vocabulary.keys())
        if missing:
            raise InvalidData(f"the vocabulary lacks {', '.join(missing)}")
        if max(vocabulary.values()) != len(vocabulary) - 1:
            raise InvalidData("expected each token once, with ids from 0 without a gap")
        self._marks = {token: number for token, number in vocabulary.items() if _SPECIAL.fullmatch(token)}
        self.cls, self.sep, self.mask, self.unknown = (
            self._marks[f"[{name}]"] for name in ("CLS", "SEP", "MASK", "UNK")
        )
        # Elsewhere it is the mark of an attribute of that name: marks of attributes come after those of actions.
        self.reads_removals = self._marks.get(REMOVAL_MARK, self._marks["[BUY]"]) < self._marks["[BUY]"]
        self.action_marks = ACTION_MARKS + (REMOVAL_MARK,) * self.reads_removals
        self.actions: NDArray[np.int64] = np.array([self._marks[mark] for mark in self.action_marks])
        self.is_word: BoolArray = np.ones(len(vocabulary), dtype=bool)
        self.is_word[list(self._marks.values())] = False

    @classmethod
    def train(
        cls, texts: Iterable[str], attribute_names: Sequence[str], *, vocab_size: int = 8192, removals: bool = False
    ) -> InteractionTokenizer:
        """Learn a lower-case WordPiece vocabulary of at most `vocab_size` tokens, marks included, from `texts`.

        Args:
            removals: with a token for removals from the cart.

        Raises:
            ValueError: `vocab_size` leaves no room for words beside the marks.
        """
        marks = [*WORD_MARKS, *_marks(attribute_names, removals)]
        room = vocab_size - len(marks)
        if room < 2:
            raise ValueError(f"vocab_size must be at least {len(marks) + 2} for {len(marks)} marks, got {vocab_size}")
        normalizer = normalizers.BertNormalizer(lowercase=True)
        return cls(_word_piece([*marks, *learned_words(texts, normalizer, room)], normalizer))

    @classmethod
    def from_bert(
        cls, source: str | Path, attribute_names: Sequence[str], *, removals: bool = False
    ) -> InteractionTokenizer:
        """Take a BERT vocabulary, each token under its own id, and append the marks it lacks.

        Args:
            source: a vocab.txt, or a checkpoint folder with a tokenizer.json or a vocab.txt.
            removals: with a token for removals from the cart.

        Raises:
            NotFound: none of these files exists.
            InvalidData: not a WordPiece vocabulary, or one without [CLS], [SEP], [MASK], [PAD] or [UNK].
        """
        words, normalizer = bert_vocabulary(Path(source))
        known = set(words)
        lacking = [mark for mark in WORD_MARKS if mark not in known]
        if lacking:
            raise InvalidData(f"not a BERT vocabulary: it lacks {', '.join(lacking)}", file=source)
        if len(known) != len(words):
            raise InvalidData("not a BERT vocabulary: a token is in it twice", file=source)
        marks = _marks(attribute_names, removals)
        return cls(_word_piece([*words, *(mark for mark in marks if mark not in known)], normalizer))

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> InteractionTokenizer:
        """The tokenizer of a model folder.

        Raises:
            NotFound: the folder has no tokenizer.json.
            InvalidData: `save_pretrained` did not write it.
        """
        file = Path(folder) / TOKENIZER_FILE
        if not file.is_file():
            raise NotFound(f"no {TOKENIZER_FILE} in {folder}")
        try:
            return cls(Tokenizer.from_file(str(file)))
        except InvalidData as error:
            raise InvalidData(error.problem, file=file) from None
        except Exception as error:  # tokenizers raises bare Exception
            raise InvalidData(f"not a tokenizer: {error}", file=file) from None

    def save_pretrained(self, folder: str | Path) -> None:
        """Write tokenizer.json."""
        self._tokenizer.save(str(Path(folder) / TOKENIZER_FILE))

    @property
    def vocab_size(self) -> int:
        """Number of ids, V."""
        return self.is_word.size

    def tokens(self, ids: Iterable[int]) -> list[str]:
        """The tokens of these ids, for people to read."""
        names = (self._tokenizer.id_to_token(int(number)) for number in ids)
        return ["?" if name is None else name for name in names]

    def product_texts(self, products: pl.DataFrame) -> TokenTable:
        """Product texts of a frame with title, category and attributes: M rows of at most `MAX_TEXT_TOKENS` tokens."""
        tables = [self._product_texts(chunk) for chunk in products.iter_slices(_CHUNK)]
        return TokenTable.concatenate(tables)

    def product_text(self, product: Product) -> NDArray[np.int32]:
        """One product's text, as `product_texts` has it."""
        return self.texts([cut_product(product)]).ids

    def search_phrases(self, phrases: Sequence[str] | pl.Series) -> TokenTable:
        """Search phrases as texts: one row each, at most `MAX_TEXT_TOKENS` tokens. A series is faster for many."""
        if isinstance(phrases, Sequence):
            return self.texts([phrase[:MAX_TEXT_CHARACTERS] for phrase in phrases])
        return self._table(phrases).heads(MAX_TEXT_TOKENS)

    def texts(self, texts: Sequence[str | ProductText]) -> TokenTable:
        """Texts of search phrases and of products, each cut before: one row each, at most `MAX_TEXT_TOKENS` tokens."""
        strings: dict[str, None] = {}
        for text in texts:
            pieces = [text] if isinstance(text, str) else [text[0], text[1] or "", *(value for _, value in text[2])]
            strings.update(dict.fromkeys(pieces))
        words = dict(zip(strings, self._encode(list(strings)), strict=True))
        rows = [words[text] if isinstance(text, str) else self._row(text, words) for text in texts]
        return TokenTable.from_rows([row[:MAX_TEXT_TOKENS] for row in rows])

    def _row(self, product: ProductText, words: Mapping[str, list[int]]) -> list[int]:
        title, category, attributes = product
        row: list[int] = []
        if title:
            row += [self._marks["[TITLE]"], *words[title][:MAX_TITLE_TOKENS]]
        if category:
            row += [self._marks["[CATEGORY]"], *words[category]]
        for name, value in attributes:
            if value:
                row += [self._attribute(name), *words[value]]
        return row

    def _product_texts(self, products: pl.DataFrame) -> TokenTable:
        from ubm_embed.data.text.product_pieces import TITLE, product_pieces

        pieces = product_pieces(products)
        is_title = pieces["kind"].to_numpy() == TITLE
        words = self._table(pieces["text"]).heads(np.where(is_title, MAX_TITLE_TOKENS, MAX_TEXT_TOKENS))
        ids = np.insert(words.ids, words.offsets[:-1], self._marks_before(pieces))
        pieces_end = offsets_of(np.bincount(pieces["product"].to_numpy(), minlength=products.height))
        return TokenTable(ids, offsets_of(words.lengths + 1)[pieces_end]).heads(MAX_TEXT_TOKENS)

    def _marks_before(self, pieces: pl.DataFrame) -> NDArray[np.int32]:
        """[P] the mark before each piece."""
        from ubm_embed.data.text.product_pieces import CATEGORY, TITLE, distinct_strings

        names, which = distinct_strings(pieces["name"])
        of_name = np.fromiter(map(self._attribute, names), np.int32, len(names))
        kind = pieces["kind"].to_numpy()
        marks = np.select([kind == TITLE, kind == CATEGORY], [self._marks["[TITLE]"], self._marks["[CATEGORY]"]], -1)
        return np.where(marks < 0, of_name[which], marks).astype(np.int32)

    def _attribute(self, name: str) -> int:
        mark = attribute_mark(name)
        if mark == REMOVAL_MARK and self.reads_removals:
            mark = "[ATTRIBUTE]"
        return self._marks.get(mark, self._marks["[ATTRIBUTE]"])

    def _table(self, strings: pl.Series) -> TokenTable:
        """The tokens of each string. A catalogue repeats its words: each distinct one is split into tokens once."""
        from ubm_embed.data.text.product_pieces import distinct_strings

        if (strings.str.len_bytes() > MAX_TEXT_CHARACTERS).any():
            strings = strings.str.head(MAX_TEXT_CHARACTERS)
        distinct, which = distinct_strings(strings)
        if not self._splits_at_spaces():
            return TokenTable.from_rows(self._encode(distinct.to_list())).take(which)
        words = distinct.str.split(" ")
        distinct_words, rows = distinct_strings(words.explode())
        tokens = TokenTable.from_rows(self._encode(distinct_words.to_list())).take(rows)
        return TokenTable(tokens.ids, tokens.offsets[offsets_of(words.list.len().to_numpy())]).take(which)

    def _splits_at_spaces(self) -> bool:
        """Whether a text has the tokens of its words one by one: true unless a checkpoint brings its own normaliser."""
        normalizer = self._tokenizer.normalizer
        return normalizer is None or isinstance(normalizer, normalizers.BertNormalizer)

    def _encode(self, strings: list[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(strings, add_special_tokens=False)]


def attribute_names(products: pl.DataFrame) -> list[str]:
    """The attribute names of a catalogue, at most `MAX_ATTRIBUTE_NAMES`, the most frequent first."""
    counts: Counter[str] = Counter()
    for name, count in (
        products["attributes"].explode().drop_nulls().struct.field("name").drop_nulls().value_counts().iter_rows()
    ):
        counts[attribute_mark(name)[1:-1]] += count
    counts.pop("ATTRIBUTE", None)
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return [name for name, _ in ranked[:MAX_ATTRIBUTE_NAMES]]


def training_texts(products: pl.DataFrame, phrases: Iterable[str] = ()) -> Iterator[str]:
    """The texts that a vocabulary is learned from: titles, categories, attribute values and search phrases."""
    from ubm_embed.data.text.product_pieces import product_pieces

    yield from product_pieces(products)["text"]
    yield from phrases


def _marks(attribute_names: Sequence[str], removals: bool) -> list[str]:
    """The marks of texts, actions and attributes, in the order of their ids."""
    *others, buy = ACTION_MARKS
    actions = [*others, REMOVAL_MARK, buy] if removals else ACTION_MARKS
    attributes = [mark for mark in map(attribute_mark, attribute_names) if mark not in RESERVED]
    return list(dict.fromkeys([*TEXT_MARKS, *actions, *attributes]))


def _word_piece(vocabulary: Sequence[str], normalizer: normalizers.Normalizer | None) -> Tokenizer:
    # Marks are plain vocabulary entries, not "added tokens" of the library, which would match within a shop's text.
    tokenizer = Tokenizer(
        models.WordPiece({token: number for number, token in enumerate(vocabulary)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer
