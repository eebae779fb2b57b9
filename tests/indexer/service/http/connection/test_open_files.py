"""How many connections the system lets a worker have."""

from __future__ import annotations

import resource

import pytest

from indexer.service.http.connection.protocol import ConnectionLimits
from indexer.service.settings import ServiceSettings

UNLIMITED = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "raised", "connections"),
    [
        (1_024, UNLIMITED, 10_256, 10_000),
        (1_024, 65_536, 10_256, 10_000),
        (1_024, 4_096, 4_096, 3_840),
        (65_536, 65_536, 65_536, 10_000),
        (UNLIMITED, UNLIMITED, UNLIMITED, 10_000),
        (1_024, 1_024, 1_024, 768),
        (100, 100, 100, 1),
    ],
)
def test_a_worker_asks_for_files_and_takes_as_many_connections_as_it_gets(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, raised: int, connections: int
) -> None:
    limits = [(soft, hard)]
    monkeypatch.setattr(resource, "getrlimit", lambda what: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda what, limit: limits.append(limit))
    told = ConnectionLimits.from_settings(ServiceSettings(store="store", timeout=3, max_body=1_000))
    assert told.connections == connections
    assert limits[-1] == (raised, hard)
    assert told.seconds == 3
