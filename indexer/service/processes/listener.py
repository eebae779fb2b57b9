"""The socket that a service listens on, bound before anything is opened."""

from __future__ import annotations

import contextlib
import errno
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from indexer.service.settings import ServiceSettings
from ubm_embed.errors import Conflict

# As nginx and uvicorn on Linux: connections that wait until a worker takes them. The system may allow fewer.
BACKLOG = 2048


@contextlib.contextmanager
def listening(settings: ServiceSettings) -> Iterator[socket.socket]:
    """A socket that listens where the settings say; at the end it is closed, and the file of a Unix socket removed.

    Raises:
        Conflict: another process listens there, this one may not, or this machine has no such address.
    """
    place = settings.unix_socket or (settings.host, settings.port)
    try:
        bound = _bind_file(place) if isinstance(place, Path) else _bind_port(*place)
    except OSError as error:
        raise _explained(error, place) from None
    with bound:
        bound.listen(BACKLOG)
        identity = _identity(settings.unix_socket)
        try:
            yield bound
        finally:
            if settings.unix_socket is not None and _identity(settings.unix_socket) == identity:
                settings.unix_socket.unlink(missing_ok=True)


def address_of(listener: socket.socket) -> str:
    """Where a socket listens, as a URL; of a Unix socket the file."""
    if listener.family == socket.AF_UNIX:
        return f"unix:{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _bind_port(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with contextlib.ExitStack() as stack:
        bound = stack.enter_context(socket.socket(family, kind, protocol))
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of a server before may linger
        bound.bind(address)
        stack.pop_all()
        return bound


def _bind_file(file: Path) -> socket.socket:
    _remove_stale(file)
    with contextlib.ExitStack() as stack:
        bound = stack.enter_context(socket.socket(socket.AF_UNIX))
        bound.bind(str(file))
        stack.pop_all()
        return bound


def _remove_stale(file: Path) -> None:
    """Remove the socket of a process that has died; one on which somebody answers is left, and binding fails."""
    if not (file.exists() and stat.S_ISSOCK(file.stat().st_mode)):
        return
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(file))
        except ConnectionRefusedError:
            file.unlink()


def _identity(file: Path | None) -> tuple[int, int] | None:
    try:
        found = None if file is None else file.stat()
    except FileNotFoundError:
        return None
    return None if found is None else (found.st_dev, found.st_ino)


def _explained(error: OSError, place: Path | tuple[str, int]) -> Conflict:
    name, option = (str(place), "--unix-socket") if isinstance(place, Path) else (f"{place[0]}:{place[1]}", "--host")
    if error.errno == errno.EADDRINUSE:
        if isinstance(place, Path) and not place.is_socket():
            return Conflict(f"{name} is there, and is no socket; choose another {option}")
        option = "--port" if option == "--host" else option
        return Conflict(f"{name} is in use; end what listens there, or choose another {option}")
    if error.errno in (errno.EACCES, errno.EPERM):
        return Conflict(f"this user may not listen on {name}")
    return Conflict(f"{option}: cannot listen on {name}: {error.strerror or error}")
