"""A connection that refuses requests at once while the service is behind, at a tenth of what an answer costs."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Any, ClassVar

from indexer.service.http.connection.load_shedding import LoadShedder
from indexer.service.http.connection.protocol import ConnectionLimits, ConnectionObserver, HardenedProtocol
from indexer.service.http.connection.refusal import response
from indexer.service.http.errors import ErrorAnswer
from indexer.service.http.request_id import HEADER, request_id

_CLOSES = (b"connection", b"close")


class SheddingProtocol(HardenedProtocol):
    """One connection. `shedding` makes the class of a server.

    A request that is refused reaches no application: no task is made for it, and its body is thrown away as it comes.
    The scope of one that is not has `state["arrival"]`: monotonic seconds at which it was there and its turn had come.
    """

    shedder: ClassVar[LoadShedder]

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._refused: ErrorAnswer | None = None  # what the request is answered that comes now

    def on_headers_complete(self) -> None:
        if self._may_refuse():
            self._refused = self.shedder.refusal(self.parser.get_method(), self.url.partition(b"?")[0])
        if self._refused is None:
            super().on_headers_complete()
        else:
            self._in_headers = False

    def on_body(self, body: bytes) -> None:
        if self._refused is None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._refused is not None:
            self._in_message = False
            self._stop_deadline()
            self._send_refusal(self._refused)
            return
        if self.scope is not None:
            self.scope["state"]["arrival"] = time.monotonic()
        super().on_message_complete()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        cycle.scope["state"]["arrival"] = time.monotonic()
        super()._start_asgi_task(cycle, app)

    def _may_refuse(self) -> bool:
        """Whether the answer to what comes now is the next one, and the client sends all of it in any case."""
        is_next = self.cycle is None or self.cycle.response_complete
        return is_next and not self.expect_100_continue and not self.parser.should_upgrade()

    def _send_refusal(self, answer: ErrorAnswer) -> None:
        self._refused = None
        default = self.server_state.default_headers
        closes = not self.parser.should_keep_alive() or _CLOSES in default
        headers = [*default, _CLOSES] if closes and _CLOSES not in default else default
        sent = next((value for name, value in self.headers if name == HEADER), b"")
        self.transport.write(response(answer, request_id(sent), headers))
        if closes:
            self.transport.close()
        self.on_response_complete()

    def _is_in_turn(self) -> bool:
        return self._refused is not None or super()._is_in_turn()


def shedding(limits: ConnectionLimits, observer: ConnectionObserver, shedder: LoadShedder) -> type[SheddingProtocol]:
    """The protocol of one server."""
    values = {"limits": limits, "observer": observer, "idle": OrderedDict(), "shedder": shedder}
    return type("SheddingProtocol", (SheddingProtocol,), values)
