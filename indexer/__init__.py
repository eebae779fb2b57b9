"""The store of product vectors: built and refreshed, versioned, searched, exported and kept healthy."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from indexer.diagnostics.diagnosis import Sources, diagnose_models, diagnose_run, diagnose_version
    from indexer.diagnostics.report import Diagnosis
    from indexer.index.vector_index import VectorIndex
    from indexer.refresh.refresh import build_index
    from indexer.search.answer import Answer, Match
    from indexer.search.limits import Limits
    from indexer.search.live_retriever import LiveRetriever
    from indexer.search.query import Query
    from indexer.search.ranking import Rules
    from indexer.search.retriever import Retriever
    from indexer.store.embedding_store import EmbeddingStore
    from indexer.updates.limits import UpdateLimits
    from indexer.updates.report import UpdateReport
    from indexer.updates.updater import Updater
    from indexer.versions.version import StoreVersion

__all__ = [
    "Answer",
    "Diagnosis",
    "EmbeddingStore",
    "Limits",
    "LiveRetriever",
    "Match",
    "Query",
    "Retriever",
    "Rules",
    "Sources",
    "StoreVersion",
    "UpdateLimits",
    "UpdateReport",
    "Updater",
    "VectorIndex",
    "build_index",
    "diagnose_models",
    "diagnose_run",
    "diagnose_version",
]

_MODULES = {
    "Answer": "search.answer",
    "Diagnosis": "diagnostics.report",
    "EmbeddingStore": "store.embedding_store",
    "Limits": "search.limits",
    "LiveRetriever": "search.live_retriever",
    "Match": "search.answer",
    "Query": "search.query",
    "Retriever": "search.retriever",
    "Rules": "search.ranking",
    "Sources": "diagnostics.diagnosis",
    "StoreVersion": "versions.version",
    "UpdateLimits": "updates.limits",
    "UpdateReport": "updates.report",
    "Updater": "updates.updater",
    "VectorIndex": "index.vector_index",
    "build_index": "refresh.refresh",
    "diagnose_models": "diagnostics.diagnosis",
    "diagnose_run": "diagnostics.diagnosis",
    "diagnose_version": "diagnostics.diagnosis",
}


def __getattr__(name: str) -> Any:
    # A command that prints a version must not wait for torch and faiss.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
