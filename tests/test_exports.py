"""The `__all__` of each package is sorted and complete, and the README names every command."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

import indexer
import ubm_embed
from cli.main import app

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("package", [indexer, ubm_embed])
def test_all_is_sorted_and_every_name_is_there(package: object) -> None:
    names = package.__all__  # type: ignore[attr-defined]
    assert names == sorted(names)
    for name in names:
        assert getattr(package, name) is not None


@pytest.mark.parametrize("package", [indexer, ubm_embed])
def test_unknown_names_raise_attribute_error(package: object) -> None:
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = package.nothing_like_it  # type: ignore[attr-defined]


def test_the_readme_names_every_command() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    for name in typer.main.get_command(app).commands:  # type: ignore[attr-defined]
        assert f"ubm-embed {name}" in readme, name
