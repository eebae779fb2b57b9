"""Tabs and line breaks that a character before them makes part of a value, as Adobe and MySQL write them."""

from __future__ import annotations

import re
from collections.abc import Iterator


def without_escapes(chunks: Iterator[bytes], escape: str) -> Iterator[bytes]:
    """The same text with a blank for each tab or line break after `escape`, and one `escape` for two.

    What else an `escape` is before stays, such as MySQL's `\\N`.
    """
    sign = escape.encode()
    pair = re.compile(re.escape(sign) + rb"(\r\n|[\s\S])")
    held = b""
    for chunk in chunks:
        text = held + chunk
        # What the last one is before may come with the next chunk, and a line feed after a return.
        before = text.removesuffix(b"\r")
        end = len(before) - 1 if (len(before) - len(before.rstrip(sign))) % 2 else len(text)
        text, held = text[:end], text[end:]
        if text:
            yield pair.sub(lambda match: _plain(match, sign), text)
    if held:
        yield pair.sub(lambda match: _plain(match, sign), held)


def _plain(match: re.Match[bytes], sign: bytes) -> bytes:
    if match[1] == sign:
        return sign
    return b" " if match[1] in (b"\t", b"\n", b"\r", b"\r\n") else match[0]
