"""A lock where no system frees it when its holder dies: an object that names its holder and runs out by itself.

Who holds it writes it anew all the time, always on condition that it is still what it wrote last. So it cannot be held
by two; but one who was asleep for longer than the lease may learn only later that it lost it. Clocks of machines that
write to one store must agree to within a few seconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from indexer.storage.object_client import ObjectClient
from ubm_embed.errors import Conflict, NotFound

if TYPE_CHECKING:
    from obstore import UpdateVersion

# For so long a holder that died keeps others away.
SECONDS = 60.0


class Lease:
    """A lock that is held; `holding` makes one."""

    def __init__(self, objects: ObjectClient, name: str, tag: UpdateVersion) -> None:
        self._objects, self._name, self._tag = objects, name, tag
        self._lost = False
        self._renewed = time.monotonic()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"lease of {objects.uri}", daemon=True)

    def require_held(self) -> None:
        """Raise `Conflict` if another process has taken the lock over, or may have since it could last be renewed."""
        if self._lost or time.monotonic() - self._renewed > SECONDS:
            raise Conflict(
                f"another process took over {self._objects.uri}/{self._name} while this one did not answer; "
                "nothing more was written, start again when the other is done"
            )

    def start(self) -> None:
        """Keep it from running out."""
        self._thread.start()

    def release(self) -> None:
        """Let others have it.

        Raises:
            Conflict: another process has taken it over.
        """
        self._done.set()
        self._thread.join()
        with contextlib.suppress(OSError):  # it runs out by itself
            self._renew()  # for its whole length nobody takes it over, so that it is ours that is removed
            if not self._lost:
                self._objects.delete([self._name])
        self.require_held()

    def _keep(self) -> None:
        while not self._done.wait(SECONDS / 3) and not self._lost:
            with contextlib.suppress(OSError):  # the next time may be in time yet, and finds out if not
                self._renew()

    def _renew(self) -> None:
        try:
            asked = time.monotonic()
            self._tag = self._objects.put_if(self._name, _document(), self._tag)
            self._renewed = asked
        except (Conflict, NotFound):
            self._lost = True


@contextlib.contextmanager
def holding(objects: ObjectClient, name: str) -> Iterator[Lease]:
    """Hold the lock in the object `name` as long as the block lasts.

    Raises:
        Conflict: another process holds it; or took it over meanwhile, at the end of a block that succeeds.
    """
    lease = Lease(objects, name, _take(objects, name))
    lease.start()
    try:
        yield lease
    except BaseException:
        with contextlib.suppress(Conflict):
            lease.release()
        raise
    lease.release()


def _take(objects: ObjectClient, name: str) -> UpdateVersion:
    found = objects.find(name)
    if found:
        _require_run_out(found.data, objects.uri, name)
    try:
        return objects.put_if(name, _document(), found.tag if found else None)
    except Conflict:
        raise Conflict(f"another process began to write to {objects.uri} just now; wait until it is done") from None


def _require_run_out(data: bytes, uri: str, name: str) -> None:
    try:
        document = json.loads(data)
        holder, until = document["holder"], datetime.fromisoformat(document["until"]).astimezone(UTC)
    except (ValueError, KeyError, TypeError):
        raise Conflict(f"{uri}/{name} does not say who writes; remove it if no process does") from None
    if datetime.now(UTC) < until:
        held = f"{holder} holds {uri}/{name} until {until:%Y-%m-%d %H:%M:%S} UTC or renews it"
        raise Conflict(f"another process is writing to {uri} ({held}); wait until it is done")


def _document() -> bytes:
    until = datetime.now(UTC) + timedelta(seconds=SECONDS)
    return json.dumps({"holder": f"{socket.gethostname()}:{os.getpid()}", "until": until.isoformat()}).encode()
