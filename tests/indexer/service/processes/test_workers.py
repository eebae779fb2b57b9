"""Several workers behind one address."""

from __future__ import annotations

import http.client
import os
import signal

import pytest

from tests.indexer.service.processes.conftest import ServiceProcess, Shop, Start, ask, until

VIEWED = {"interactions": [{"action": "view", "product_id": "p1"}]}


@pytest.fixture(scope="module")
def service(start: Start) -> ServiceProcess:
    """Two workers, and the keeper of their sessions."""
    return start("--workers", "2")


def versions(pair: dict[int, http.client.HTTPConnection]) -> set[int]:
    return {ask(connection, "/v1/recommend", VIEWED)[1]["version"] for connection in pair.values()}


def test_the_first_line_says_what_answers(service: ServiceProcess) -> None:
    assert service.ready["address"] == f"http://127.0.0.1:{service.port}"
    said = {name: service.ready[name] for name in ("version", "products", "workers", "keys")}
    assert said == {"version": 1, "products": 8, "workers": 2, "keys": False}
    # A process that forks must not have threads: a lock that one of them holds would be held in the child for ever.
    assert len(os.listdir(f"/proc/{service.process.pid}/task")) == 1


def test_workers_share_sessions(pair: dict[int, http.client.HTTPConnection]) -> None:
    first, second = pair.values()
    assert ask(first, "/v1/events", {"session_id": "s", **VIEWED["interactions"][0]})[0].status == 200
    answer = ask(second, "/v1/recommend", {"session_id": "s"})[1]
    assert answer["fallback"] is None
    assert "p1" not in [match["product_id"] for match in answer["matches"]]


def test_a_worker_that_is_killed_is_replaced_and_the_others_do_not_notice(
    service: ServiceProcess, pair: dict[int, http.client.HTTPConnection]
) -> None:
    (killed, _), (other, connection) = pair.items()
    before = service.children()
    os.kill(killed, signal.SIGKILL)

    def is_replaced() -> bool:
        assert ask(connection, "/v1/recommend", VIEWED)[0].status == 200
        assert ask(service.connect(), "/v1/recommend", VIEWED)[0].status == 200
        return killed not in service.children() and len(service.children()) == len(before)

    until(is_replaced)
    assert service.owner_of(connection) == other


def test_a_keeper_of_sessions_that_is_killed_is_replaced(
    service: ServiceProcess, pair: dict[int, http.client.HTTPConnection]
) -> None:
    (keeper,) = set(service.children()) - set(pair)
    os.kill(keeper, signal.SIGKILL)
    first, second = pair.values()

    def is_kept() -> bool:
        ask(first, "/v1/events", {"session_id": "later", **VIEWED["interactions"][0]})
        response, answer = ask(second, "/v1/recommend", {"session_id": "later"})
        assert response.status == 200
        return answer["fallback"] is None

    until(is_kept)


def test_sighup_takes_a_new_version_to_all(
    service: ServiceProcess, shop: Shop, pair: dict[int, http.client.HTTPConnection]
) -> None:
    number = shop.publish()
    assert number not in versions(pair)
    service.process.send_signal(signal.SIGHUP)
    until(lambda: versions(pair) == {number})


def test_a_reload_of_one_is_a_reload_of_all(shop: Shop, pair: dict[int, http.client.HTTPConnection]) -> None:
    number = shop.publish()
    first, second = pair.values()
    assert ask(first, "/v1/admin/reload", {})[0].status == 200
    assert ask(first, "/v1/recommend", VIEWED)[1]["version"] == number
    until(lambda: ask(second, "/v1/recommend", VIEWED)[1]["version"] == number)


def test_a_store_that_vanishes_is_no_end_of_answers(shop: Shop, pair: dict[int, http.client.HTTPConnection]) -> None:
    before = versions(pair)
    away = shop.store.rename(shop.folder / "away")
    try:
        for connection in pair.values():
            ask(connection, "/v1/admin/reload", {})
            assert ask(connection, "/v1/recommend", VIEWED)[0].status == 200
    finally:
        away.rename(shop.store)
    assert versions(pair) == before
