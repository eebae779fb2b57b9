"""Vectors at rest and vectors searched."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from indexer.answer import Answer, Match
    from indexer.build import build_index
    from indexer.index import VectorIndex
    from indexer.ranking import Rules
    from indexer.retrieval import Retriever
    from indexer.store import EmbeddingStore
    from indexer.versions.version import StoreVersion

__all__ = ["Answer", "EmbeddingStore", "Match", "Retriever", "Rules", "StoreVersion", "VectorIndex", "build_index"]

_MODULES = {
    "Answer": "answer",
    "EmbeddingStore": "store",
    "Match": "answer",
    "Retriever": "retrieval",
    "Rules": "ranking",
    "StoreVersion": "versions.version",
    "VectorIndex": "index",
    "build_index": "build",
}


def __getattr__(name: str) -> Any:
    # A command that prints a version must not wait for torch and faiss.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
