"""The names that the package exports, and that importing it is cheap."""

import subprocess
import sys
from pathlib import Path

import pytest

import indexer


def test_exported_names_are_sorted_and_exist() -> None:
    assert list(indexer.__all__) == sorted(indexer.__all__)
    for name in indexer.__all__:
        assert getattr(indexer, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = indexer.nothing


def test_importing_the_package_loads_nothing_heavy() -> None:
    work = (
        "import sys, indexer, indexer.search.answer; print({'torch', 'faiss', 'lancedb', 'polars'} & set(sys.modules))"
    )
    root = Path(indexer.__file__).parents[1]
    ran = subprocess.run([sys.executable, "-c", work], cwd=root, capture_output=True, text=True, timeout=60)
    assert (ran.stdout.strip(), ran.stderr) == ("set()", "")
