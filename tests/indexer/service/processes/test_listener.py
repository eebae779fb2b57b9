"""The socket of a service: what it says when it cannot have it, and what it leaves behind."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from indexer.service.processes.listener import address_of, listening
from indexer.service.settings import ServiceSettings
from ubm_embed.errors import Conflict


def settings(**options: object) -> ServiceSettings:
    return ServiceSettings(store="store", **{"port": 0, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_port_0_is_a_free_port_that_clients_can_connect_to(host: str) -> None:
    with listening(settings(host=host)) as listener:
        name, _, port = address_of(listener).rpartition(":")
        assert name.startswith("http://")
        assert int(port) > 0
        socket.create_connection((host, int(port)), timeout=10).close()


def test_a_port_in_use_is_named() -> None:
    with listening(settings()) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(Conflict, match=f"127.0.0.1:{port} is in use"), listening(settings(port=port)):
            pass


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1"])
def test_an_address_that_is_not_this_machines_is_named(host: str) -> None:
    with pytest.raises(Conflict, match=rf"--host: cannot listen on {host}:0"), listening(settings(host=host)):
        pass


def test_the_file_of_a_unix_socket_is_removed_at_the_end(tmp_path: Path) -> None:
    file = tmp_path / "service"
    with listening(settings(unix_socket=file)) as listener:
        assert address_of(listener) == f"unix:{file}"
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(file))
    assert not file.exists()


def test_the_socket_that_a_dead_process_left_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "service"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(file))
    with listening(settings(unix_socket=file)), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(file))


def test_a_unix_socket_in_use_is_named_and_left(tmp_path: Path) -> None:
    file = tmp_path / "service"
    with listening(settings(unix_socket=file)):
        with pytest.raises(Conflict, match="is in use"), listening(settings(unix_socket=file)):
            pass
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(file))


def test_a_file_that_is_no_socket_is_left(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("mine", "utf-8")
    with pytest.raises(Conflict, match="is no socket"), listening(settings(unix_socket=file)):
        pass
    assert file.read_text("utf-8") == "mine"


def test_a_unix_socket_in_a_missing_folder_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(Conflict, match=r"--unix-socket: cannot listen.*No such file"),
        listening(settings(unix_socket=tmp_path / "missing" / "service")),
    ):
        pass


def test_a_path_that_is_too_long_for_a_unix_socket_is_named(tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="too long"), listening(settings(unix_socket=tmp_path / ("s" * 200))):
        pass
