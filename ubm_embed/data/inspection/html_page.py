"""A report as one page of HTML: no script, nothing from the network, values escaped."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from ubm_embed.data.inspection.corpus_report import CorpusReport
from ubm_embed.data.inspection.finding import Finding
from ubm_embed.data.inspection.sections import Row, Section, sections_of
from ubm_embed.wording import percent, visible

_WIDTH = 160  # of a bar, in pixels
_STYLE = """
:root { color-scheme: light dark; --text: #1b1b1b; --back: #fff; --line: #ccc; --bar: #2b6cb0; --muted: #555;
  --error: #b00020; --warning: #8a5a00; --note: #2b6cb0; }
@media (prefers-color-scheme: dark) { :root { --text: #e8e8e8; --back: #161616; --line: #444; --bar: #7ab3ef;
  --muted: #b0b0b0; --error: #ff8a8a; --warning: #f0c060; --note: #7ab3ef; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; }
caption { text-align: left; color: var(--muted); padding-bottom: .5rem; }
th, td { text-align: left; font-weight: normal; padding: .2rem .5rem; border-bottom: 1px solid var(--line);
  overflow-wrap: anywhere; vertical-align: top; }
thead th { font-weight: bold; }
td.value { text-align: right; }
td.bar { width: 170px; }
rect { fill: var(--bar); }
rect.whole { fill: var(--line); }
li { margin-bottom: .7rem; }
.error { color: var(--error); } .warning { color: var(--warning); } .note { color: var(--note); }
"""


def html_page(report: CorpusReport, name: str) -> str:
    """The page of a report.

    Args:
        name: of the corpus, for the heading.
    """
    title = escape(f"Corpus {visible(name)}")
    sections = "\n".join(map(_section, sections_of(report)))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>{title}</h1>
<section aria-labelledby="findings">
<h2 id="findings">Findings</h2>
{_findings(report.findings)}
</section>
{sections}
</main>
</body>
</html>
"""


def _findings(findings: tuple[Finding, ...]) -> str:
    if not findings:
        return "<p>Nothing to warn of.</p>"
    return "\n".join(["<ol>", *map(_finding, findings), "</ol>"])


def _finding(finding: Finding) -> str:
    severity = escape(finding.severity)
    return (
        f'<li><strong class="{severity}">{severity}</strong>, <a href="#{escape(finding.section)}">'
        f"{escape(finding.section)}</a>: {escape(finding.problem)}.<br>To do: {escape(finding.remedy)}.</li>"
    )


def _section(section: Section) -> str:
    return "\n".join(_lines(section))


def _lines(section: Section) -> Iterator[str]:
    name = escape(section.name)
    yield f'<section aria-labelledby="{name}">'
    yield f'<h2 id="{name}">{escape(section.title)}</h2>'
    yield f"<table>\n<caption>{escape(section.note or section.title)}</caption>"
    yield '<thead><tr><th scope="col">Figure</th><th scope="col">Value</th><th scope="col">Share</th></tr></thead>'
    yield "<tbody>"
    yield from map(_row, section.rows)
    yield "</tbody>\n</table>\n</section>"


def _row(row: Row) -> str:
    value, bar = escape(row.value), "" if row.share is None else _bar(row.share)
    return f'<tr><th scope="row">{escape(row.label)}</th><td class="value">{value}</td><td class="bar">{bar}</td></tr>'


def _bar(share: float) -> str:
    width = min(max(share, 0.0), 1.0) * _WIDTH
    return (
        f'<svg width="{_WIDTH}" height="10" role="img" aria-label="{percent(share)}"><title>{percent(share)}</title>'
        f'<rect class="whole" width="{_WIDTH}" height="10"/><rect width="{width:.1f}" height="10"/></svg>'
    )
