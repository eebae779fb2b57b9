"""A lock for storage where no operating system frees it: an object that names its holder and expires.

The holder rewrites the object at intervals, each time on condition that it is still what it wrote last, so two
processes never hold it at once. A process that was suspended for longer than the lease may learn only later that it
lost the lock. The clocks of machines that write to one store must agree to within a few seconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from indexer.storage.object_client import ObjectClient
from ubm_embed.errors import Conflict, NotFound

if TYPE_CHECKING:
    from obstore import UpdateVersion


@dataclass(frozen=True, kw_only=True)
class LeaseTimes:
    """How long a lease lasts, in seconds.

    Attributes:
        lasts: for how long a holder that died keeps others away.
        renewed_every: how long after one renewal the next begins; three attempts fit into one lease.
    """

    lasts: float = 60.0
    renewed_every: float = 20.0


class Lease:
    """A lock that is held; `hold_lease` makes one."""

    def __init__(self, objects: ObjectClient, name: str, tag: UpdateVersion, times: LeaseTimes) -> None:
        self._objects, self._name, self._tag, self._times = objects, name, tag, times
        self._lost = False
        self._renewed = time.monotonic()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._renew_until_done, name=f"lease of {objects.uri}", daemon=True)

    def require_held(self) -> None:
        """Raise `Conflict` if another process took the lock over, or may have since the last renewal."""
        if self._lost or time.monotonic() - self._renewed > self._times.lasts:
            raise Conflict(
                f"another process took over {self._objects.uri}/{self._name} while this one did not answer; "
                "nothing more was written, start again when the other is done"
            )

    def start(self) -> None:
        """Begin to renew it in the background."""
        self._thread.start()

    def release(self) -> None:
        """Stop renewing it and let others take the lock.

        Raises:
            Conflict: another process has taken it over.
        """
        self._done.set()
        self._thread.join()
        with contextlib.suppress(OSError):  # it expires by itself
            self._renew()  # nobody takes over a fresh lease, so the object removed next is certainly ours
            if not self._lost:
                self._objects.delete([self._name])
        self.require_held()

    def _renew_until_done(self) -> None:
        while not self._done.wait(self._times.renewed_every) and not self._lost:
            with contextlib.suppress(OSError):  # the next attempt may still be in time, and finds out if not
                self._renew()

    def _renew(self) -> None:
        try:
            started = time.monotonic()
            self._tag = self._objects.put_if(self._name, _document(self._times.lasts), self._tag)
            self._renewed = started
        except (Conflict, NotFound):
            self._lost = True


@contextlib.contextmanager
def hold_lease(objects: ObjectClient, name: str, times: LeaseTimes) -> Iterator[Lease]:
    """Hold the lock in the object `name` for as long as the block lasts.

    Raises:
        Conflict: another process holds it, or took it over before a successful block ended.
    """
    lease = Lease(objects, name, _acquire(objects, name, times), times)
    lease.start()
    try:
        yield lease
    except BaseException:
        with contextlib.suppress(Conflict):
            lease.release()
        raise
    lease.release()


def _acquire(objects: ObjectClient, name: str, times: LeaseTimes) -> UpdateVersion:
    current = objects.find(name)
    if current:
        _require_expired(current.data, objects.uri, name)
    try:
        return objects.put_if(name, _document(times.lasts), current.tag if current else None)
    except Conflict:
        raise Conflict(f"another process began to write to {objects.uri} just now; wait until it is done") from None


def _require_expired(data: bytes, uri: str, name: str) -> None:
    try:
        document = json.loads(data)
        holder, until = document["holder"], datetime.fromisoformat(document["until"]).astimezone(UTC)
    except (ValueError, KeyError, TypeError):
        raise Conflict(f"{uri}/{name} does not name a writer; remove it if no process is writing") from None
    if datetime.now(UTC) < until:
        held = f"{holder} holds {uri}/{name} until {until:%Y-%m-%d %H:%M:%S} UTC or renews it"
        raise Conflict(f"another process is writing to {uri} ({held}); wait until it is done")


def _document(seconds: float) -> bytes:
    until = datetime.now(UTC) + timedelta(seconds=seconds)
    return json.dumps({"holder": f"{socket.gethostname()}:{os.getpid()}", "until": until.isoformat()}).encode()
