"""A diagnosis as one HTML page without anything from outside."""

from __future__ import annotations

import html

from indexer.diagnostics.report import Diagnosis


def html_page(diagnosis: Diagnosis) -> str:
    """The page.

    Raises:
        NotFound: Altair or vl-convert is not installed.
    """
    return f"<!doctype html><title>{html.escape(str(dict(diagnosis.subject)))}</title>"
