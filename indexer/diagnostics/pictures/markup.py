"""The parts of a page: HTML of findings, figures, tables and charts, all text escaped."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from indexer.diagnostics.finding import Finding, Severity
from indexer.diagnostics.report import Chart, Metric, Section, Table
from ubm_embed.wording import counted, sentence

_MAX_ROWS, _MAX_CELL = 50, 300  # of a table, and characters of a cell; the JSON has all
_SIGNS = {Severity.ERROR: "✖ Error", Severity.WARNING: "▲ Warning", Severity.NOTE: "● Note"}


def subject_list(facts: Mapping[str, Any]) -> str:
    """What a diagnosis is of."""
    pairs = (
        f"<dt>{_text(name.replace('_', ' '))}</dt><dd>{_text(_plain(value))}</dd>" for name, value in facts.items()
    )
    return f'<dl class="subject">{"".join(pairs)}</dl>'


def contents(sections: Sequence[Section]) -> str:
    """Links to the sections."""
    links = (f'<li><a href="#{_anchor(section.name)}">{_text(section.title)}</a></li>' for section in sections)
    return f'<nav aria-label="Sections"><ul>{"".join(links)}</ul></nav>'


def findings_list(findings: Sequence[Finding]) -> str:
    """Findings in their order, each with a link to its section."""
    if not findings:
        return '<p class="healthy">✔ Nothing to warn of.</p>'
    return f'<ol class="findings">{"".join(map(_finding, findings))}</ol>'


def _finding(finding: Finding) -> str:
    return (
        f'<li class="{finding.severity}"><p><span class="severity">{_SIGNS[finding.severity]}:</span> '
        f'<a href="#{_anchor(finding.section)}">{_text(str(finding.fault).replace("-", " "))}</a></p>'
        f"<p>{_sentence(finding.problem)}</p><p>{_sentence(finding.remedy)}</p></li>"
    )


def notes_html(notes: Sequence[str]) -> str:
    """A paragraph for each note."""
    return "".join(f'<p class="faint">{_sentence(note)}</p>' for note in notes)


def section_html(section: Section, drawn: Mapping[str, Any]) -> str:
    """A section; `drawn` holds the charts that have a picture."""
    return "".join(_parts(section, drawn))


def _parts(section: Section, drawn: Mapping[str, Any]) -> Iterator[str]:
    anchor = _anchor(section.name)
    yield f'<section id="{anchor}" aria-labelledby="{anchor}-title">'
    yield f'<h2 id="{anchor}-title">{_text(section.title)}</h2>'
    yield notes_html(section.notes)
    if section.metrics:
        yield _metrics(section.metrics)
    yield from (_figure(chart, bool(drawn.get(chart.name))) for chart in section.charts)
    yield from map(_table, section.tables)
    yield "</section>"


def _metrics(metrics: Sequence[Metric]) -> str:
    rows = (
        f"<tr><td><code>{_text(metric.name)}</code></td>"
        f'<td class="number value">{number(metric.value)}</td><td class="number interval">{_interval(metric)}</td>'
        f'<td class="sample">{_text(metric.measured_on)}</td><td class="meaning">{_sentence(metric.meaning)}</td></tr>'
        for metric in metrics
    )
    head = "<tr><th>Metric</th><th>Value</th><th>95% interval</th><th>Measured on</th><th>Meaning</th></tr>"
    return _scroll("Metrics", f"<table class='metrics'><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>")


def _interval(metric: Metric) -> str:
    return "" if metric.interval is None else " to ".join(map(number, metric.interval))


def _table(table: Table) -> str:
    table = table.without_empty_columns()
    head = "".join(_heading(column, values) for column, values in _columns(table))
    rows = ("".join(map(_cell, row)) for row in table.rows[:_MAX_ROWS])
    left = len(table.rows) - _MAX_ROWS
    more = f'<p class="faint">{counted(left, "more row")} in the JSON report.</p>' if left > 0 else ""
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    caption = f"<caption>{_prose(table.caption)}</caption>"
    html = f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return _scroll(table.caption, html) + more


def _columns(table: Table) -> Iterator[tuple[str, list[Any]]]:
    return ((column, [row[place] for row in table.rows]) for place, column in enumerate(table.columns))


def _heading(column: str, values: Sequence[Any]) -> str:
    numeric = bool(values) and all(map(_is_number, values))
    return f'<th class="number">{_text(column)}</th>' if numeric else f"<th>{_text(column)}</th>"


def _cell(value: Any) -> str:
    if _is_number(value):
        return f'<td class="number">{number(value)}</td>'
    return f"<td>{_text(_plain(value))}</td>"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _figure(chart: Chart, drawn: bool) -> str:
    head = f"<h3>{_prose(chart.title)}</h3>"
    if not drawn:
        return f"<figure>{head}<p>There was nothing to draw.</p></figure>"
    return (
        f'<figure data-chart="{_text(chart.name)}">{head}<div class="views"></div><figcaption>'
        f'<p><span class="hint">What good looks like:</span> {_sentence(chart.good)}</p>'
        f'<p><span class="hint">Otherwise:</span> {_sentence(chart.remedy)}</p></figcaption>'
        f"<details><summary>What is drawn, as a table</summary>{_scroll(chart.title, '')}</details></figure>"
    )


def _scroll(label: str, html: str) -> str:
    """A part that scrolls sideways on a narrow screen, by keyboard too."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{_text(label)}">{html}</div>'


def number(value: float) -> str:
    """A figure with the digits that say something."""
    if isinstance(value, int) or (abs(value) >= 1000 and float(value).is_integer()):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _plain(value: Any) -> str:
    """A value in words, cut to what a cell holds."""
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        value = ", ".join(map(str, value))
    text = str(value)
    return text if len(text) <= _MAX_CELL else f"{text[: _MAX_CELL - 1]}…"


def _prose(text: str) -> str:
    """Escaped text in which what stands between backticks is code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", _text(text))


def _sentence(clause: str) -> str:
    return _prose(sentence(clause))


def _text(text: str) -> str:
    return escape(text, quote=True)


def _anchor(name: str) -> str:
    return _text(f"section-{name}")
