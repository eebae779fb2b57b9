"""Errors of an object store are one line, and name the bucket or the object."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Callable, Iterator

import pytest

from indexer.storage.object_client import ObjectClient
from indexer.storage.object_storage import ObjectStorage
from indexer.storage.storage import Storage
from tests.indexer.storage.storage_files import VERSION, files_in, fill
from ubm_embed.errors import Conflict, InvalidData, NotFound


def test_a_write_may_be_repeated_when_its_answer_is_lost(bucket_uri: str) -> None:
    # The client then writes again, on a condition that its first write broke.
    objects = ObjectClient(bucket_uri)
    first = objects.put_if("live.json", b"one", None)
    assert objects.put_if("live.json", b"one", None) == first
    second = objects.put_if("live.json", b"two", first)
    assert objects.put_if("live.json", b"two", first) == second
    with pytest.raises(Conflict):
        objects.put_if("live.json", b"three", first)


class Refusing(http.server.BaseHTTPRequestHandler):
    """An object store that answers every request with the same refusal."""

    status, body = 403, "<Code>AccessDenied</Code><Message>Access Denied</Message>"

    def do_GET(self) -> None:
        document = f'<?xml version="1.0"?>\n<Error>{self.body}</Error>'.encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(document)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(document)

    do_PUT = do_POST = do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def refusing_server(status: int, body: str) -> Iterator[str]:
    handler = type("Handler", (Refusing,), {"status": status, "body": body})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


ACTIONS: dict[str, Callable[[Storage], object]] = {
    "read": lambda storage: storage.read("live.json"),
    "exists": lambda storage: storage.exists("live.json"),
    "list": lambda storage: storage.list(),
    "size": lambda storage: storage.size(),
    "write": lambda storage: storage.write("live.json", b""),
    "compare_and_swap": lambda storage: storage.compare_and_swap("live.json", b"", expected=None),
    "remove": lambda storage: storage.remove("live.json"),
    "open_folder": lambda storage: files_in(storage, "versions/3"),
    "write_folder": lambda storage: fill(storage, "versions/3", VERSION),
    "lock": lambda storage: storage.lock().__enter__(),
}


class TestAnUnusableBucket:
    @pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
    def test_a_missing_bucket_is_named(self, object_store: None, action: Callable[[Storage], object]) -> None:
        with pytest.raises(NotFound, match="there is no bucket for s3://no-such-shop/main") as caught:
            action(ObjectStorage("s3://no-such-shop/main"))
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
    def test_refused_keys_are_named_in_one_line(
        self, object_store: None, monkeypatch: pytest.MonkeyPatch, action: Callable[[Storage], object]
    ) -> None:
        with refusing_server(403, Refusing.body) as endpoint:
            monkeypatch.setenv("AWS_ENDPOINT", endpoint)
            with pytest.raises(PermissionError, match=r"refuses these keys .*s3://shop/main") as caught:
                action(ObjectStorage("s3://shop/main"))
        assert "\n" not in str(caught.value)

    def test_any_other_refusal_is_one_line(self, object_store: None, monkeypatch: pytest.MonkeyPatch) -> None:
        with refusing_server(400, "<Message>Your clock is wrong</Message>") as endpoint:
            monkeypatch.setenv("AWS_ENDPOINT", endpoint)
            with pytest.raises(OSError, match="400 Bad Request: Your clock is wrong") as caught:
                ObjectStorage("s3://shop/main").read("live.json")
        assert caught.value.filename == "s3://shop/main/live.json"
        assert "\n" not in str(caught.value)

    def test_plain_http_is_used_where_the_endpoint_says_so(
        self, bucket_uri: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("AWS_ALLOW_HTTP")
        assert ObjectStorage(bucket_uri).list() == []

    def test_a_uri_that_names_no_bucket_is_refused(self) -> None:
        with pytest.raises(InvalidData, match="s3:///main: cannot be used as a store") as caught:
            ObjectStorage("s3:///main").list()
        assert "\n" not in str(caught.value)
