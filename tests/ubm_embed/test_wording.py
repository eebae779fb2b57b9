"""Figures and names for people."""

from __future__ import annotations

import pytest

from ubm_embed.wording import counted, percent, sentence, visible


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0%"),
        (1e-6, "under 0.01%"),
        (0.00026, "0.03%"),
        (0.0132, "1.3%"),
        (0.0996, "10%"),
        (0.5, "50%"),
        (0.9999, "over 99.9%"),
        (1, "100%"),
    ],
)
def test_percent(share: float, text: str) -> None:
    assert percent(share) == text


def test_counted() -> None:
    assert [counted(number, "session") for number in (0, 1, 1200)] == ["0 sessions", "1 session", "1,200 sessions"]


def test_a_name_cannot_steer_a_terminal() -> None:
    assert visible("Shoe\x1b[2J\r\n\u202egnp") == "Shoe\ufffd[2J\ufffd\ufffd\ufffdgnp"
    assert visible("Größe 鞋") == "Größe 鞋"
    assert len(visible("x" * 500)) == 80


@pytest.mark.parametrize(("clause", "expected"), [("was it meant?", "Was it meant?"), ("no sessions", "No sessions.")])
def test_a_sentence_has_one_end(clause: str, expected: str) -> None:
    assert sentence(clause) == expected
