"""Who may ask for what, and whether a service may go without keys."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from indexer.service.http.access.key import Key, Role
from indexer.service.http.access.key_sources import VARIABLE
from indexer.service.http.access.keys import Keys
from indexer.service.http.errors import RequestError

_OPEN = {"/", "/docs", "/livez", "/openapi.json", "/readyz"}
# Requests with POST that change nothing.
_QUERIES = {"/v1/recommend", "/v1/lookup", "/v1/predict", "/v1/embeddings"}


def role_needed(method: str, path: str) -> Role | None:
    """The role that a key must have for a request; None where no key is needed."""
    if path in _OPEN or path.startswith("/docs/"):
        return None
    if path.startswith("/v1/admin"):
        return Role.ADMIN
    if method in ("GET", "HEAD", "OPTIONS") or path in _QUERIES:
        return Role.READ
    return Role.WRITE


def authenticate(keys: Keys, method: str, path: str, authorization: bytes) -> Key | None:
    """The key that a request comes with; None if none is needed.

    Args:
        authorization: its header.

    Raises:
        RequestError: 401 without a valid key, 403 if another role is needed.
    """
    needed = role_needed(method, path)
    if needed is None:
        return None
    scheme, _, token = authorization.partition(b" ")
    if scheme.lower() != b"bearer":
        raise _unauthorized("expected the header `Authorization: Bearer KEY`")
    key = keys.find(token.strip())
    if key is None:
        raise _unauthorized("the key is not one of this service")
    if key.role < needed:
        raise RequestError(403, "forbidden", f"expected a key with the role {needed.name.lower()}")
    return key


def require_own_origin(origin: bytes) -> None:
    """Where no keys are asked for: refuse pages of other sites, which a browser on this machine may show.

    Raises:
        RequestError: 403.
    """
    try:
        host = urlsplit(origin.decode("latin-1")).hostname or ""
    except ValueError:
        host = ""
    if not is_loopback(host):
        raise RequestError(403, "forbidden", "pages of other sites are answered only where keys are asked for")


def require_keys(host: str, keys: Keys) -> None:
    """Refuse to serve other machines without keys.

    Args:
        host: where the service listens; a path, or "unix:" and a path, is a socket of this machine.

    Raises:
        ValueError: there are no keys, and other machines may reach the host.
    """
    if not keys and not is_loopback(host):
        raise ValueError(f"other machines can reach host {host!r}, so keys are needed: give --keys FILE or {VARIABLE}")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host: an address, a name, or the path of a socket."""
    if host == "localhost" or host.startswith(("/", "unix:")):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _unauthorized(message: str) -> RequestError:
    return RequestError(401, "unauthorized", message, ((b"www-authenticate", b'Bearer realm="ubm-embed"'),))
