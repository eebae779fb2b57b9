"""Findings about the texts of products."""

from __future__ import annotations

from collections.abc import Iterator

from ubm_embed.data.inspection.finding import Finding, Severity
from ubm_embed.data.inspection.texts import TextStatistics
from ubm_embed.data.text.tokenizer import MAX_TITLE_TOKENS, MAX_TOKENS
from ubm_embed.wording import counted, percent, visible


def text_findings(texts: TextStatistics, products: int) -> Iterator[Finding]:
    """Findings about the texts of products."""

    def finding(severity: Severity, problem: str, remedy: str) -> Finding:
        return Finding(severity, "texts", problem, remedy)

    if texts.empty_title_share > 0:
        yield finding(
            Severity.WARNING if texts.empty_title_share > 0.05 else Severity.NOTE,
            f"{percent(texts.empty_title_share)} of the products have no title",
            "give a catalogue with titles (`ingest --catalogue`): category and attributes tell few products apart",
        )
    if texts.id_title_share + texts.number_title_share > 0.01:
        share = max(texts.id_title_share, texts.number_title_share)
        yield finding(
            Severity.WARNING,
            f"{percent(share)} of the titles are the product's id or have no letter",
            "take the title from another column: the model reads words",
        )
    if texts.same_text_share > 0.01:
        yield finding(
            Severity.WARNING if texts.same_text_share > 0.1 else Severity.NOTE,
            f"{percent(texts.same_text_share)} of the products share all of their text with another product",
            "the model gives them one vector; add what tells them apart (size, colour, model), or keep one of each",
        )
    if texts.frequent_titles:
        title, count = next(iter(texts.frequent_titles.items()))
        if count > max(20, products / 20):
            yield finding(
                Severity.WARNING,
                f"{counted(count, 'product')} have the title {visible(title)!r}",
                "look whether it stands for a missing title",
            )
    if texts.ellipsis_share > 0.01:
        yield finding(
            Severity.NOTE,
            f"{percent(texts.ellipsis_share)} of the titles end in an ellipsis: they are cut",
            "take titles from the catalogue rather than from pages or events",
        )
    if texts.title_cap is not None:
        cap = texts.title_cap
        yield finding(
            Severity.NOTE,
            f"{counted(cap.titles, 'title')} have exactly {cap.length} characters, "
            f"{cap.longer or 'none'} more: they seem to be cut",
            "take titles from a source that does not cut them",
        )
    if texts.markup_share > 0.001:
        yield finding(
            Severity.WARNING,
            f"{percent(texts.markup_share)} of the titles have HTML tags or entities",
            "export plain text; ingest unescapes entities, and tags are read as words",
        )
    if texts.broken_share > 0.001:
        yield finding(
            Severity.WARNING,
            f'{percent(texts.broken_share)} of the titles were decoded wrongly ("Ã¼" for "ü")',
            "export the catalogue as UTF-8, or name its encoding in the mapping",
        )
    if texts.long_title_share > 0.1:
        yield finding(
            Severity.NOTE,
            f"{percent(texts.long_title_share)} of the titles have more than {MAX_TITLE_TOKENS} {texts.counted_in}",
            "the model reads so many from the start: put first what matters",
        )
    if texts.long_text_share > 0.1:
        yield finding(
            Severity.NOTE,
            f"{percent(texts.long_text_share)} of the texts are longer than the {MAX_TOKENS} tokens that are read",
            "put attributes first that tell products apart, and leave out those that all have",
        )
    second = sorted(texts.scripts.values())[-2:-1]
    if second and second[0] > products / 20:
        names = ", ".join(f"{name} {percent(count / products)}" for name, count in texts.scripts.items())
        yield finding(
            Severity.NOTE,
            f"titles in several scripts: {names}",
            "learn the vocabulary from these texts, which is the default; a BERT vocabulary of one language reads the "
            "others letter by letter or not at all",
        )
