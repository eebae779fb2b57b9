"""CSV whose separator has several characters, such as `1::1193::5`: it is read with one character in its place."""

from __future__ import annotations

from collections.abc import Iterator

from ubm_embed.data.tables.text_stream import BrokenTextError

STAND_IN = "\x1f"  # "unit separator", which nothing else is made for


def with_stand_in(chunks: Iterator[bytes], separator: str) -> Iterator[bytes]:
    """UTF-8 text with `STAND_IN` for the separator.

    Raises:
        BrokenTextError: the text has a `STAND_IN` of its own.
    """
    long, stand_in = separator.encode(), STAND_IN.encode()
    rest = b""
    for chunk in chunks:
        if stand_in in chunk:
            raise BrokenTextError(f"text with the control character U+001F, which cannot be read with {separator!r}")
        *fields, last = (rest + chunk).split(long)
        begun = next((size for size in range(len(long) - 1, 0, -1) if last.endswith(long[:size])), 0)
        rest = last[len(last) - begun :]
        text = stand_in.join([*fields, last[: len(last) - begun]])
        if text:
            yield text
    if rest:
        yield rest
