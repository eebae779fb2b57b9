"""The page that describes the routes asks no other host, and runs under a policy that refuses scripts within it."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from tests.indexer.service.http.served import Served


class Page(HTMLParser):
    """What a page loads, and what is written within its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded, self.inline, self._in_script = list[str](), "", False
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._in_script = tag == "script"
        assert not [name for name, _ in attributes if name.startswith("on")]
        self.loaded += [value for name, value in attributes if name in ("src", "href") and value]

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False

    def handle_data(self, data: str) -> None:
        self.inline += data.strip() if self._in_script else ""


@pytest.fixture(scope="module")
def page(served: Served) -> Page:
    response = served.client.get("/docs")
    assert response.headers["content-type"].startswith("text/html")
    policy = response.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "default-src 'none'" in policy
    return Page(response.text)


def test_all_that_it_loads_is_here(served: Served, page: Page) -> None:
    assert len(page.loaded) == 4
    for path in page.loaded:
        response = served.client.get(f"/{path}")
        assert response.status_code == 200, path
        assert "://" not in path


def test_no_script_is_within_it(page: Page) -> None:
    assert page.inline == ""


def test_it_reads_our_document_and_asks_no_validator(served: Served) -> None:
    script = served.client.get("/docs/docs.js").text
    assert 'url: "openapi.json"' in script
    assert "validatorUrl: null" in script


def test_the_root_leads_to_it(served: Served) -> None:
    assert served.client.get("/", follow_redirects=True).url.path == "/docs"


@pytest.mark.parametrize("path", ["/docs/nothing", "/docs/../app.py", "/docs/%2e%2e/app.py", "/docs/%2e%2e%2fapp.py"])
def test_no_other_file_is_served(served: Served, path: str) -> None:
    response = served.client.get(path)
    assert (response.status_code, response.json()["error_type"]) == (404, "not_found")
