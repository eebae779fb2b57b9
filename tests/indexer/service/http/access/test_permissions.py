"""Who may ask for what."""

from __future__ import annotations

import pytest

from indexer.service.http.access.key import Role
from indexer.service.http.access.key_sources import VARIABLE
from indexer.service.http.access.keys import Keys
from indexer.service.http.access.permissions import authenticate, require_keys, require_own_origin, role_needed
from indexer.service.http.errors import RequestError

TOKENS = {role: role.name.lower() * 10 for role in Role}
KEYS = Keys.read(None, {VARIABLE: " ".join(f"{role.name}:{role.name}:{token}" for role, token in TOKENS.items())})


@pytest.mark.parametrize(
    ("method", "path", "role"),
    [
        ("GET", "/livez", None),
        ("GET", "/readyz", None),
        ("GET", "/", None),
        ("GET", "/docs", None),
        ("GET", "/docs/swagger-ui.css", None),
        ("GET", "/openapi.json", None),
        ("GET", "/metrics", Role.READ),
        ("GET", "/info", Role.READ),
        ("POST", "/v1/recommend", Role.READ),
        ("POST", "/v1/lookup", Role.READ),
        ("POST", "/v1/predict", Role.READ),
        ("POST", "/v1/embeddings", Role.READ),
        ("GET", "/v1/products/p1/similar", Role.READ),
        ("GET", "/v1/products/../admin/similar", Role.READ),
        ("POST", "/v1/events", Role.WRITE),
        ("POST", "/v1/products", Role.WRITE),
        ("DELETE", "/v1/products/p1", Role.WRITE),
        ("PUT", "/v1/something/new", Role.WRITE),
        ("POST", "/v1/admin/reload", Role.ADMIN),
        ("GET", "/v1/admin/experiments", Role.ADMIN),
        ("GET", "/docsecret", Role.READ),
    ],
)
def test_a_request_needs_a_role(method: str, path: str, role: Role | None) -> None:
    assert role_needed(method, path) is role
    if role is None:
        assert authenticate(KEYS, method, path, b"") is None
        return
    for other, token in TOKENS.items():
        if other >= role:
            key = authenticate(KEYS, method, path, f"Bearer {token}".encode())
            assert key is not None
            assert key.role is other
        else:
            with pytest.raises(RequestError, match=f"role {role.name.lower()}$") as raised:
                authenticate(KEYS, method, path, f"Bearer {token}".encode())
            assert raised.value.answer.status == 403


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"", "expected the header `Authorization: Bearer KEY`"),
        (b"Basic YTpi", "expected the header `Authorization: Bearer KEY`"),
        (b"readreadread" * 4, "expected the header `Authorization: Bearer KEY`"),
        (b"Bearer", "not one of this service"),
        (b"Bearer wrong", "not one of this service"),
        (b"Bearer \xff\x00", "not one of this service"),
    ],
)
def test_without_a_valid_key_the_answer_is_401_and_says_how(sent: bytes, said: str) -> None:
    with pytest.raises(RequestError, match=said) as raised:
        authenticate(KEYS, "POST", "/v1/recommend", sent)
    answer = raised.value.answer
    assert (answer.status, answer.error_type) == (401, "unauthorized")
    assert answer.headers == ((b"www-authenticate", b'Bearer realm="ubm-embed"'),)


def test_the_scheme_is_read_in_any_case() -> None:
    assert authenticate(KEYS, "GET", "/info", f"bearer  {TOKENS[Role.READ]} ".encode()) is not None


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.0.1", "::1", "[::1]", "localhost", "/run/shop.sock", "unix:shop.sock"]
)
def test_a_host_of_this_machine_needs_no_keys(host: str) -> None:
    require_keys(host, Keys())


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "", "10.0.0.1", "shop.example", "localhost.example", "::ffff:10.0.0.1"]
)
def test_a_host_that_others_reach_needs_keys(host: str) -> None:
    with pytest.raises(ValueError, match=f"keys are needed: give --keys FILE or {VARIABLE}"):
        require_keys(host, Keys())
    require_keys(host, KEYS)


@pytest.mark.parametrize("origin", [b"http://127.0.0.1:8080", b"http://localhost:3000", b"https://[::1]"])
def test_pages_of_this_machine_may_ask_without_keys(origin: bytes) -> None:
    require_own_origin(origin)


@pytest.mark.parametrize(
    "origin", [b"https://evil.example", b"null", b"", b"http://[", b"\xff", b"http://localhost.evil.example"]
)
def test_pages_of_other_sites_may_not(origin: bytes) -> None:
    with pytest.raises(RequestError) as raised:
        require_own_origin(origin)
    assert raised.value.answer.status == 403
