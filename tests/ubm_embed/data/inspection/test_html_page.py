"""The page: complete by itself, readable, and safe whatever the shop's texts are."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from html.parser import HTMLParser

import polars as pl
import pytest

from ubm_embed.data.corpus import PRODUCT_SCHEMA, Corpus
from ubm_embed.data.inspection.corpus_report import CorpusReport, inspect_corpus
from ubm_embed.data.inspection.html_page import html_page
from ubm_embed.data.inspection.losses import IngestLosses
from ubm_embed.data.inspection.sections import sections_of

CorpusOf = Callable[..., Corpus]
EVIL = "<script>alert(1)</script>"
NOW = datetime(2025, 6, 1)
_VOID = {"meta", "rect"}


class Page(HTMLParser):
    """The elements of a page; checks that each is closed in its order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID | {"br"}:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


@pytest.fixture
def report(corpus_of: CorpusOf) -> CorpusReport:
    rows = [(EVIL, EVIL, EVIL, []), ("b", EVIL, '" onload="x', [])]
    corpus = corpus_of(
        [[EVIL, "b"], ["b", EVIL]] * 5,
        users=[EVIL] * 10,
        times=[[NOW, NOW]] * 10,
        products=pl.DataFrame(rows, PRODUCT_SCHEMA, orient="row"),
    )
    losses = IngestLosses.from_counts(100, {EVIL: 50})
    return inspect_corpus(corpus, losses=losses, now=NOW)


def test_texts_of_the_shop_stay_texts(report: CorpusReport) -> None:
    text = html_page(report, EVIL)
    page = Page(text)
    assert page.count("script") == 0
    assert "<script" not in text.lower()
    assert any(EVIL in words for words in page.texts)
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)


def test_the_page_needs_nothing_else(report: CorpusReport) -> None:
    page = Page(html_page(report, "corpus"))
    assert not {tag for tag, _ in page.elements} & {"script", "link", "img", "iframe", "object", "base", "form"}
    links = [attributes[name] for _, attributes in page.elements for name in ("href", "src") if name in attributes]
    assert all(link is not None and link.startswith("#") for link in links)
    assert "url(" not in html_page(report, "corpus")


def test_links_lead_to_sections(report: CorpusReport) -> None:
    page = Page(html_page(report, "corpus"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {attributes["href"] for tag, attributes in page.elements if tag == "a"} <= {f"#{name}" for name in ids}


def test_it_can_be_read_aloud(report: CorpusReport) -> None:
    page = Page(html_page(report, "corpus"))
    sections = len(sections_of(report))
    assert page.elements[0] == ("html", {"lang": "en"})
    assert (page.count("h1"), page.count("h2")) == (1, sections + 1)
    assert page.count("table") == page.count("caption") == sections
    assert all(attributes.get("scope") in ("row", "col") for tag, attributes in page.elements if tag == "th")
    assert all(attributes.get("aria-label") for tag, attributes in page.elements if tag == "svg")


def test_all_figures_are_on_it(report: CorpusReport) -> None:
    text = "".join(Page(html_page(report, "my shop")).texts)
    assert "my shop" in text
    for finding in report.findings:
        assert finding.problem in text
        assert finding.remedy in text
    for section in sections_of(report):
        assert section.note in text
        assert all(row.label in text and row.value in text for row in section.rows)


def test_a_bar_is_as_long_as_its_share(report: CorpusReport) -> None:
    page = Page(html_page(report, "corpus"))
    widths = [float(attributes["width"] or 0) for tag, attributes in page.elements if tag == "rect"]
    assert max(widths) == 160
    assert all(0 <= width <= 160 for width in widths)


def test_both_colour_schemes(report: CorpusReport) -> None:
    assert "prefers-color-scheme: dark" in html_page(report, "corpus")
