"""A store with one healthy version, to which others are added."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.indexer.diagnostics.changes.planted_versions import Versions, catalogue, vectors_of


@pytest.fixture(scope="module")
def first_version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the store with the healthy first version is kept, once it is made."""
    return tmp_path_factory.mktemp("first")


@pytest.fixture
def versions(tmp_path: Path, first_version: Path, model_folder: Path) -> Versions:
    """A store with one healthy version."""
    if not (first_version / "store").exists():
        Versions(first_version, model_folder).publish(catalogue(), vectors_of(catalogue()))
    shutil.copytree(first_version / "store", tmp_path / "store")
    return Versions(tmp_path, model_folder)
