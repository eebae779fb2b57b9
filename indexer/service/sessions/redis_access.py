"""Whether a Redis server lets the service in, to be found out before it starts."""

from __future__ import annotations

import logging
from urllib.parse import urlsplit

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError, ResponseError
from redis.retry import Retry

from ubm_embed.errors import InvalidData

EXPECTED_URL = "expected redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE], rediss://... or unix://...?db=DATABASE"

_LOG = logging.getLogger(__name__)


def require_access(url: str, timeout: float = 2.0) -> None:
    """Return if the server lets the service in, or cannot be reached: then it may come, and a warning is logged.

    Args:
        timeout: seconds in which it must answer.

    Raises:
        InvalidData: it knows no such user, password or database, or this is no URL of Redis.
    """
    try:
        client = Redis.from_url(
            url, socket_timeout=timeout, socket_connect_timeout=timeout, retry=Retry(NoBackoff(), 0)
        )
        with client:
            client.get("ubm")
    except AuthenticationError:
        raise InvalidData(f"{server_of(url)} expects another user or password", field="sessions") from None
    except ResponseError as error:
        raise InvalidData(f"{server_of(url)} refuses the service: {error}", field="sessions") from None
    except (RedisError, OSError) as error:
        kind = type(error).__name__  # its text may hold the password
        _LOG.warning("%s does not answer (%s); the service starts, and sessions are unavailable", server_of(url), kind)
    except (ValueError, TypeError):
        raise InvalidData(EXPECTED_URL, field="sessions") from None


def server_of(url: str) -> str:
    """What a server is called in messages: without its password."""
    parts = urlsplit(url)
    return f"Redis at {parts.hostname or parts.path}"
