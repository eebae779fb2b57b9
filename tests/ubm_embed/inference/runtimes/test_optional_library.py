"""A library of an extra is loaded, or its absence says what to type."""

from __future__ import annotations

import math

import pytest

from ubm_embed.errors import NotFound
from ubm_embed.inference.runtimes.optional_library import load_library


def test_a_library_is_loaded() -> None:
    assert load_library("math", extra="onnx") is math


def test_a_missing_one_says_what_to_type() -> None:
    with pytest.raises(NotFound, match=r"No module named 'nowhere'.*; type: pip install 'ubm-embed\[onnx\]'"):
        load_library("nowhere", extra="onnx")
