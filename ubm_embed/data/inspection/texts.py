"""Texts of products: what is empty, cut, the same, too long, or not text at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from ubm_embed.data.inspection.title_cap import TitleCap
from ubm_embed.data.text.product_pieces import TITLE, product_pieces
from ubm_embed.data.text.tokenizer import MAX_TEXT_TOKENS, MAX_TITLE_TOKENS, InteractionTokenizer

# A shop sells to few countries; rarer scripts count as other.
SCRIPTS = (
    *("Latin", "Cyrillic", "Greek", "Arabic", "Hebrew", "Devanagari", "Bengali", "Tamil", "Thai"),
    *("Han", "Hiragana", "Katakana", "Hangul"),
)
_ENTITY = r"&(?:[a-zA-Z]{2,8}|#\d{1,7}|#[xX][0-9a-fA-F]{1,6});"
_TAG = r"</?[a-zA-Z][^<>]*>"
# U+FFFD, or UTF-8 that was read as Latin-1: "Ã¼" for "ü", "â€™" for a curly apostrophe.
_BROKEN = "\ufffd|Ã[\u0080-\u00bf\u0192\u201a-\u203a]|â€[\u0080-\u00bf\u0152-\u0178\u2018-\u2122]"
# As the tokenizer splits before it looks words up: a Chinese character alone, a word, a punctuation mark.
_WORD = r"\p{Han}|[\p{L}\p{M}\p{N}--\p{Han}]+|[^\s\p{L}\p{M}\p{N}]"


@dataclass(frozen=True)
class TextStatistics:
    """Shares of the products, between 0 and 1, unless it says otherwise.

    Attributes:
        empty_title_share: without a title; category or attributes are all that the model has.
        number_title_share: whose title has no letter.
        id_title_share: whose title is the product's id.
        ellipsis_share: whose title ends in "..." or "…".
        title_cap: a length at which titles seem to be cut; None if none stands out.
        same_text_share: that share title, category and attributes with another product.
        same_title_share: that share a title with another product.
        frequent_titles: the titles of two products or more, the five most frequent, with their products.
        markup_share: with an HTML tag or entity in the title.
        broken_share: whose title was decoded wrongly ("Ã¼" for "ü") or lost characters.
        capitals_share: whose title has no small letter, although its script has some.
        scripts: products by the writing system of most letters of the title. Not languages: English and French are
            both Latin.
        counted_in: "tokens" of a given model, or "words", of which a text has at most as many as tokens.
        long_title_share: whose title is longer than the model reads (32 tokens).
        long_text_share: whose whole text is longer than the model reads (64 tokens with the marks around it).
        phrases: distinct search phrases.
    """

    empty_title_share: float
    number_title_share: float
    id_title_share: float
    ellipsis_share: float
    title_cap: TitleCap | None
    same_text_share: float
    same_title_share: float
    frequent_titles: Mapping[str, int]
    markup_share: float
    broken_share: float
    capitals_share: float
    scripts: Mapping[str, int]
    counted_in: str
    long_title_share: float
    long_text_share: float
    phrases: int

    @classmethod
    def measure(
        cls, products: pl.DataFrame, phrases: pl.Series, tokenizer: InteractionTokenizer | None = None
    ) -> TextStatistics:
        """Look at the texts of a corpus.

        Args:
            phrases: of its searches, null elsewhere.
            tokenizer: to count tokens with; without one, words are counted.
        """
        titles = products.select("product_id", title=pl.col("title").fill_null("").str.strip_chars())
        shares = titles.select(**{name: rule.mean() for name, rule in _rules().items()}).row(0, named=True)
        counts = titles.filter(pl.col("title") != "")["title"].value_counts(sort=True).filter(pl.col("count") > 1)
        counts = counts.sort("count", "title", descending=[True, False])
        long_titles, long_texts = _too_long(products, tokenizer)
        return cls(
            **shares,
            title_cap=TitleCap.find(titles["title"].str.len_chars().to_numpy()),
            same_text_share=int(products.select("title", "category", "attributes").is_duplicated().sum())
            / products.height,
            same_title_share=int(counts["count"].sum()) / products.height,
            frequent_titles=dict(counts.head(5).iter_rows()),
            scripts=_scripts(titles["title"]),
            counted_in="words" if tokenizer is None else "tokens",
            long_title_share=long_titles / products.height,
            long_text_share=long_texts / products.height,
            phrases=phrases.drop_nulls().n_unique(),
        )


def _rules() -> dict[str, pl.Expr]:
    title = pl.col("title")
    return {
        "empty_title_share": title == "",
        "number_title_share": (title != "") & ~title.str.contains(r"\p{L}"),
        "id_title_share": title == pl.col("product_id"),
        "ellipsis_share": title.str.contains(r"(?:\.\.\.|…)$"),
        "markup_share": title.str.contains(f"{_ENTITY}|{_TAG}"),
        "broken_share": title.str.contains(_BROKEN),
        "capitals_share": title.str.contains(r"\p{Lu}") & ~title.str.contains(r"\p{Ll}"),
    }


def _scripts(titles: pl.Series) -> dict[str, int]:
    """Titles by the script of most of their letters, the most frequent script first."""
    title = pl.col("title")
    letters = {name: title.str.count_matches(rf"\p{{{name}}}") for name in SCRIPTS}
    other = title.str.count_matches(r"\p{L}").cast(pl.Int64) - pl.sum_horizontal(letters.values()).cast(pl.Int64)
    # Most titles are written in Latin letters alone; only the others are searched for every script.
    plain = title.str.contains(r"^[^\p{L}]*[A-Za-z][\x00-\x7f]*$")
    frame = titles.alias("title").to_frame()
    latin = frame.filter(plain).height
    counted = frame.filter(~plain & title.str.contains(r"\p{L}")).select(**letters, other=other.clip(0))
    if counted.height:
        names = counted.columns
        most = np.argmax(counted.to_numpy(), axis=1)
        counts = dict(zip(names, map(int, np.bincount(most, minlength=len(names))), strict=True))
    else:
        counts = {}
    counts["Latin"] = counts.get("Latin", 0) + latin
    ranked = sorted(counts.items(), key=lambda pair: -pair[1])
    return {name: count for name, count in ranked if count}


def _too_long(products: pl.DataFrame, tokenizer: InteractionTokenizer | None) -> tuple[int, int]:
    """How many titles, and how many whole texts, are longer than the model reads."""
    pieces = product_pieces(products)
    if tokenizer is None:
        lengths = pieces["text"].str.count_matches(_WORD)
    else:
        # Phrases are cut to as many tokens as a whole text, so that a piece as long as that is too long in any case.
        lengths = pl.Series(tokenizer.search_phrases(pieces["text"]).lengths)
    is_title = pl.col("kind") == TITLE
    counted = pieces.select("product", "kind", length=lengths.cast(pl.Int64))
    read = pl.when(is_title).then(pl.col("length").clip(upper_bound=MAX_TITLE_TOKENS)).otherwise("length") + 1
    titles = counted.filter(is_title & (pl.col("length") > MAX_TITLE_TOKENS)).height
    texts = counted.group_by("product").agg(read.sum().alias("length"))
    return titles, texts.filter(pl.col("length") > MAX_TEXT_TOKENS).height
