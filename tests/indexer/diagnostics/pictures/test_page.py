"""The page of a diagnosis: complete by itself, safe with any text, small, and drawn by a real browser."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from indexer.diagnostics.pictures.page import MAX_BYTES, html_page, inline_json
from indexer.diagnostics.report import Chart, ChartKind, Diagnosis, Section, Table
from tests.indexer.diagnostics.pictures.made_up import HOSTILE, ROWS, SEPARATED, chart, diagnosis
from ubm_embed.errors import NotFound

LOADING = ("src", "href", "srcset", "data", "action", "poster", "background")


class Page(HTMLParser):
    """What a browser sees: elements, text outside scripts, and scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.scripts, self.styles = "", [""][:0], ""
        self._inside: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside.append(tag)
            if tag == "script":
                self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            assert self._inside.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._inside[-1:] == ["script"]:
            self.scripts[-1] += data
        elif self._inside[-1:] == ["style"]:
            self.styles += data
        else:
            self.text += data

    def values(self, tag: str, attribute: str) -> list[str | None]:
        """An attribute of all elements of a kind."""
        return [attributes.get(attribute) for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def html() -> str:
    """The page of a diagnosis with a chart of each kind."""
    return html_page(diagnosis())


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    """The same, parsed."""
    return Page(html)


def test_nothing_is_loaded(page: Page) -> None:
    loaded = [value for _, attributes in page.elements for name, value in attributes.items() if name in LOADING]
    assert all(value and value.startswith("#") for value in loaded)
    assert not {"link", "img", "iframe", "object", "embed", "base"} & {tag for tag, _ in page.elements}
    assert "url(" not in page.styles
    assert "@import" not in page.styles


def test_the_policy_allows_the_scripts_of_the_page_and_nothing_else(page: Page) -> None:
    (policy,) = [a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    allowed = dict(part.split(" ", 1) for part in policy.split("; "))
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in page.scripts[1:]]
    assert allowed["default-src"] == "'none'"
    assert allowed["script-src"].split() == [f"'sha256-{value}'" for value in hashes]


def test_hostile_texts_are_text(page: Page) -> None:
    assert page.text.count(HOSTILE) > 5
    assert page.values("script", "type") == ["application/json", None, None]
    assert set(json.loads(page.scripts[0])["charts"]) == {str(kind) for kind in ROWS}
    assert "<b>bold</b>" in page.text


def test_findings_stand_first_the_worst_before_others_and_lead_to_their_section(page: Page) -> None:
    signs = [page.text.index(sign) for sign in ("Error", "Warning", "Note", "The space")]
    assert signs == sorted(signs)
    anchors = {value.removeprefix("#") for value in page.values("a", "href") if value}
    assert anchors <= set(page.values("section", "id"))


def test_figures_have_their_interval_and_charts_what_good_looks_like(page: Page, html: str) -> None:
    assert "-2.346" in page.text
    assert "-2.5 to -2.25" in page.text
    assert page.text.count("What good looks like:") == page.text.count("Otherwise:") == len(ROWS)
    assert "<code>ubm-embed pretrain</code>" in html


def test_an_empty_column_is_left_out_and_clauses_end() -> None:
    table = Table("hubs", "Hubs.", ["product", "times chosen"], [["shoe", None], ["hat", ""]])
    section = Section(name="space", title="The space", tables=(table,), notes=("was it meant?", "no sessions"))
    page = Page(html_page(Diagnosis(subject={}, created="", software="", sections=(section,))))
    assert "times chosen" not in page.text
    assert "Was it meant?" in page.text
    assert "No sessions." in page.text
    assert "?." not in page.text


def test_a_healthy_diagnosis_says_so() -> None:
    whole = diagnosis()
    (section,) = whole.sections
    healthy = type(whole)(
        subject={}, created="", software="", sections=(type(section)(name="space", title="The space"),)
    )
    assert "Nothing to warn of" in Page(html_page(healthy)).text


def test_a_chart_without_rows_says_that_there_was_nothing_to_draw() -> None:
    empty = Page(html_page(diagnosis(chart(ChartKind.BARS, rows=[]))))
    assert "There was nothing to draw." in empty.text
    assert "What good looks like" not in empty.text


def test_the_largest_report_is_under_two_megabytes() -> None:
    rows = [
        {"x": row / 7, "y": row / 11, "subject": "product", "label": "鞋" * 500, "category": "靴" * 500}
        for row in range(2_000)
    ]
    steps = [{"panel": f"loss {row % 20}", "name": "train", "x": row, "y": row / 3} for row in range(20_000)]
    charts = [chart(ChartKind.MAP, rows=rows, name=f"map {number}") for number in range(3)]
    page = html_page(diagnosis(*charts, chart(ChartKind.CURVES, rows=steps)))
    assert len(page.encode()) < MAX_BYTES
    assert json.loads(Page(page).scripts[0])["charts"]["map 2"]


@pytest.mark.parametrize("value", [HOSTILE, SEPARATED.replace("\ud83d", ""), "<!--", "\u2029", ["&amp;", {"a": None}]])
def test_json_in_a_page_is_the_value_without_a_character_that_html_or_a_script_reads(value: Any) -> None:
    text = inline_json(value)
    assert json.loads(text) == value
    assert not re.search("[<>&\u2028\u2029]", text)


def test_a_missing_library_is_named_with_the_line_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "altair", None)
    with pytest.raises(NotFound, match=r"pip install 'ubm-embed\[diagnose\]'"):
        html_page(diagnosis())


@pytest.fixture
def browse(tmp_path: Path) -> Callable[[str], Page]:
    """Opens a page in Chromium, with its scripts run."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("Chromium is not installed")

    def look(html: str) -> Page:
        (tmp_path / "page.html").write_text(html, "utf-8")
        options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
        command = [chromium, *options, "--virtual-time-budget=60000", "--dump-dom", str(tmp_path / "page.html")]
        done = subprocess.run(command, capture_output=True, check=True, timeout=120)
        return Page(done.stdout.decode())

    return look


def test_a_browser_draws_every_view_and_runs_no_text(html: str, page: Page, browse: Callable[[str], Page]) -> None:
    seen = browse(html)
    views = [*json.loads(page.scripts[0])["charts"].values()]
    assert sum(tag == "svg" for tag, _ in seen.elements) == sum(map(len, views))
    assert "could not be drawn" not in seen.text
    assert "img" not in {tag for tag, _ in seen.elements}
    labels = [a["aria-label"] for _, a in seen.elements if a.get("role") == "graphics-document"]
    assert len(labels) == sum(map(len, views))
    assert all(label and label.startswith("A chart") for label in labels)


def test_every_kind_has_made_up_rows() -> None:
    assert set(ROWS) == set(ChartKind)
    assert isinstance(chart(ChartKind.MAP), Chart)
