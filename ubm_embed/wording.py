"""Numbers and names as people read them."""

from __future__ import annotations

import unicodedata

_MAX_NAME = 80


def percent(share: float) -> str:
    """A share as "12%", "1.3%" or "0.02%", never "0%" for something."""
    points = 100 * share
    if not points:
        return "0%"
    if abs(points) < 0.01:
        return "under 0.01%"
    digits = 0 if abs(points) >= 9.95 else 1 if abs(points) >= 0.095 else 2
    text = f"{points:.{digits}f}%"
    return f"over {99.9}%" if text == "100%" and share < 1 and points > 99.95 else text


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: "1 session", "1,200 sessions"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def sentence(clause: str) -> str:
    """A clause with a capital and, unless it has an end of its own, a full stop."""
    stop = "" if clause.endswith((".", "?", "…")) else "."
    return f"{clause[:1].upper()}{clause[1:]}{stop}"


def visible(name: str) -> str:
    """A title or an id of the shop on one line: control characters replaced, long ones cut."""
    text = "".join("\ufffd" if unicodedata.category(character) in ("Cc", "Cf") else character for character in name)
    return text if len(text) <= _MAX_NAME else f"{text[: _MAX_NAME - 1]}…"
