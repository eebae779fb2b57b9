"""What is found out about a Redis server before the service starts."""

from __future__ import annotations

import logging

import pytest
from redis import Redis

from indexer.service.sessions.redis_access import require_access
from tests.indexer.service.conftest import RedisServer
from ubm_embed.errors import InvalidData


def test_a_server_that_lets_the_service_in(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    require_access(redis_url)
    assert not caplog.records


def test_a_password_that_is_wrong_or_missing_is_refused(redis_server: RedisServer) -> None:
    with Redis.from_url(redis_server.url) as client:
        client.config_set("requirepass", "secret")
    require_access(redis_server.url.replace("//", "//:secret@"))
    for login in ("", ":wrong@", "nobody:secret@"):
        with pytest.raises(
            InvalidData, match=r"^field 'sessions': Redis at 127.0.0.1 expects another user or password$"
        ):
            require_access(redis_server.url.replace("//", f"//{login}"))


def test_a_database_that_there_is_not_is_refused(redis_url: str) -> None:
    with pytest.raises(InvalidData, match="DB index is out of range"):
        require_access(f"{redis_url}/99")


@pytest.mark.parametrize("url", ["redis://user:secret@host:port", "redis://:secret@127.0.0.1/0?no_such_option=1"])
def test_what_is_no_url_of_redis_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(InvalidData, match=r"field 'sessions': expected redis://") as caught:
        require_access(url)
    assert "secret" not in str(caught.value)


def test_a_server_that_is_away_may_come_later(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        require_access("redis://:secret@127.0.0.1:1")
    assert "Redis at 127.0.0.1 does not answer (ConnectionError); the service starts" in caplog.text
    assert "secret" not in caplog.text
