"""The page that describes the routes: Swagger UI from our own files, which asks no other host.

FastAPI's own page loads it from a CDN, with a script in the page.
"""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles

from indexer.service.http.named_route import NamedRoute

STATIC = Path(__file__).parent / "static"


async def _page(request: Request) -> Response:
    return FileResponse(STATIC / "docs.html")


async def _start(request: Request) -> Response:
    return RedirectResponse("docs")


def docs_routes() -> list[BaseRoute]:
    """The page and its files; `/` leads to it."""
    return [NamedRoute("/", _start), NamedRoute("/docs", _page), Mount("/docs", StaticFiles(directory=STATIC))]
