"""A service that answers on loopback, as tests ask it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import httpx2

from indexer.service.service import Service

# A product's id with all that an id may hold.
ODD_ID = "a/b?c#d%2F e+f\u00e9\U0001f45f/similar"


@dataclass(frozen=True)
class Served:
    """A service that answers.

    Attributes:
        address: its URL.
        client: that asks it.
        service: to be used from its own thread only, by `run`.
    """

    address: str
    client: httpx2.Client
    service: Service
    loop: asyncio.AbstractEventLoop

    def run(self, call: Any) -> Any:
        """What a coroutine returns on the service's event loop."""
        return asyncio.run_coroutine_threadsafe(call, self.loop).result(60)

    def post(self, path: str, body: Any, **options: Any) -> Any:
        """The JSON of an answer to a POST, which must be 200."""
        response = self.client.post(path, json=body, **options)
        assert response.status_code == 200, response.text
        return response.json()

    def recommend(self, **body: Any) -> Any:
        """The JSON of an answer of `/v1/recommend`."""
        return self.post("/v1/recommend", body)


Serve = Callable[..., AbstractContextManager[Served]]
