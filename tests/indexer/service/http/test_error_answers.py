"""What each exception becomes."""

from __future__ import annotations

import json

import pytest
from starlette.exceptions import HTTPException

from indexer.service.engine.overload import Overloaded
from indexer.service.http.error_answers import error_answer
from indexer.service.http.errors import RequestError, body_encoded, body_too_large, malformed
from indexer.service.sessions.session_store import SessionsBusy, SessionsUnavailable
from ubm_embed.errors import Conflict, InvalidData, NotFound, UbmError


@pytest.mark.parametrize(
    ("error", "status", "error_type", "message"),
    [
        (malformed("not JSON"), 400, "malformed_request", "not JSON"),
        (body_too_large(1_000_000), 413, "body_too_large", "the body is too large; at most 1,000,000 bytes are read"),
        (body_encoded(), 415, "unsupported_encoding", "expected a body that is not compressed"),
        (
            InvalidData("must be at most 200, got 201", field="k"),
            422,
            "invalid_request",
            "field 'k': must be at most 200",
        ),
        (InvalidData("cut off", file="/secret/store/ids"), 503, "store_damaged", "the store is damaged"),
        (NotFound("no product 'p9'"), 404, "not_found", "no product 'p9'"),
        (Conflict("another model"), 409, "conflict", "another model"),
        (Overloaded(3, "queue"), 429, "overloaded", "ask again in 3 s"),
        (SessionsBusy("too many requests wait"), 429, "overloaded", "too many requests wait"),
        (SessionsUnavailable("redis://user:secret@host"), 503, "sessions_unavailable", "cannot be reached"),
        (HTTPException(404), 404, "not_found", "no such route"),
        (HTTPException(405, headers={"Allow": "GET, HEAD"}), 405, "method_not_allowed", "expected GET or HEAD"),
        (UbmError("of a kind that nobody expects"), 500, "internal_error", "internal error"),
        (KeyError("secret"), 500, "internal_error", "internal error"),
        (RecursionError("secret"), 500, "internal_error", "internal error"),
    ],
)
def test_an_exception_becomes_a_status_a_word_and_a_message(
    error: Exception, status: int, error_type: str, message: str
) -> None:
    answer = error_answer(error)
    assert (answer.status, answer.error_type) == (status, error_type)
    assert message in answer.message
    assert "secret" not in answer.message
    assert json.loads(answer.body("r1")) == {"error": answer.message, "error_type": error_type, "request_id": "r1"}


@pytest.mark.parametrize(
    ("error", "header"),
    [
        (Overloaded(3, "timeout"), (b"retry-after", b"3")),
        (SessionsUnavailable(), (b"retry-after", b"1")),
        (InvalidData("cut off", file="ids"), (b"retry-after", b"5")),
        (HTTPException(405, headers={"Allow": "GET, HEAD"}), (b"allow", b"GET, HEAD")),
    ],
)
def test_an_answer_says_what_may_be_done_about_it(error: Exception, header: tuple[bytes, bytes]) -> None:
    assert error_answer(error).headers == (header,)


def test_a_kind_of_an_expected_error_is_expected() -> None:
    class TooLongError(RequestError):
        """A special case."""

    assert error_answer(TooLongError(414, "url_too_long", "shorter, please")).status == 414
