"""A diagnosis as one HTML page that loads nothing: its styles, scripts and data are in it.

The content security policy allows the two scripts of the page by their hashes and forbids everything else, the network
too. No script is made at run time: Vega interprets its expressions.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from indexer.diagnostics.finding import Severity
from indexer.diagnostics.pictures.markup import contents, findings_list, notes_html, section_html, subject_list
from indexer.diagnostics.pictures.palette import CONFIG
from indexer.diagnostics.report import Diagnosis
from ubm_embed.data.session import encodable
from ubm_embed.inference.runtimes.optional_library import load_library
from ubm_embed.wording import counted

MAX_BYTES = 2_000_000
# Rows of a chart; the largest number with which the page is small enough is taken.
_ROWS = (2_000, 1_000, 500, 200, 50)
_STATIC = Path(__file__).parent / "static"


def html_page(diagnosis: Diagnosis) -> str:
    """The page, under `MAX_BYTES` as UTF-8 by drawing fewer rows of each chart where there are too many.

    Raises:
        NotFound: Altair or vl-convert is not installed.
    """
    for rows in _ROWS:
        page = encodable(_page(diagnosis, rows))
        if len(page.encode()) < MAX_BYTES:
            break
    return page


def _page(diagnosis: Diagnosis, rows: int) -> str:
    load_library("altair", extra="diagnose")
    from indexer.diagnostics.pictures.charts import specs

    charts = {chart.name: specs(chart, rows) for chart in diagnosis.charts()}
    bundle, script = _bundle(), (_STATIC / "page.js").read_text("utf-8")
    policy = (
        f"default-src 'none'; script-src {_hash(bundle)} {_hash(script)}; style-src 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'"
    )
    title = f"Diagnosis of {diagnosis.subject.get('name', 'a space')}"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{(_STATIC / 'page.css').read_text('utf-8')}</style>\n"
        "<noscript><style>details { display: none; }</style></noscript>\n</head>\n"
        f"<body>\n{_body(diagnosis, title, charts)}\n"
        f'<script type="application/json" id="charts">{inline_json({"config": CONFIG, "charts": charts})}</script>\n'
        f"<script>{bundle}</script>\n<script>{script}</script>\n</body>\n</html>\n"
    )


def _body(diagnosis: Diagnosis, title: str, charts: Mapping[str, Any]) -> str:
    facts = {key: value for key, value in diagnosis.subject.items() if key != "name" and value is not None}
    facts |= {"created": diagnosis.created, "software": f"ubm-embed {diagnosis.software}"}
    sections = "\n".join(section_html(section, charts) for section in diagnosis.sections)
    return (
        f"<header><h1>{escape(title)}</h1>{subject_list(facts)}</header>\n<main>\n"
        f"<h2>Findings</h2>{_summary(diagnosis)}{findings_list(diagnosis.findings)}"
        f"{notes_html(diagnosis.notes)}{contents(diagnosis.sections)}\n"
        "<noscript><p>The pictures need JavaScript, which is in this page; all figures and tables are there without. "
        "<code>ubm-embed diagnose --png DIR</code> writes the pictures as files.</p></noscript>\n"
        f"{sections}\n</main>"
    )


def _summary(diagnosis: Diagnosis) -> str:
    counts = {
        severity: sum(finding.severity is severity for finding in diagnosis.findings)
        for severity in (Severity.ERROR, Severity.WARNING, Severity.NOTE)
    }
    said = ", ".join(counted(count, str(severity)) for severity, count in counts.items() if count)
    return f"<p>{said}.</p>" if said else ""


@functools.cache
def _bundle() -> str:
    """Vega, Vega-Lite and vega-embed as one script."""
    bundle: str = load_library("vl_convert", extra="diagnose").javascript_bundle()
    # As the browser reads it, so that the hash is right; and no string in it may end the element.
    return bundle.replace("\r\n", "\n").replace("\r", "\n").replace("</script", "<\\/script")


def _hash(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def inline_json(value: Any) -> str:
    """JSON that cannot end or change the script element that it stands in."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
