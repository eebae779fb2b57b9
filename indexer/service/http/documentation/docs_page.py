"""The page that describes the routes: Swagger UI from our own files, which asks no other host.

FastAPI's own page loads it from a CDN, with a script in the page.
"""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

STATIC = Path(__file__).parent / "static"


async def _page(request: Request) -> Response:
    return FileResponse(STATIC / "docs.html")


async def _start(request: Request) -> Response:
    return RedirectResponse("docs")


def docs_routes() -> list[BaseRoute]:
    """The page and its files; `/` leads to it."""
    return [Route("/", _start), Route("/docs", _page), Mount("/docs", StaticFiles(directory=STATIC))]
