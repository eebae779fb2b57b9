"""How thoroughly FAISS searches, and which vectors it may find: one object for each layer of an index."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from indexer.index.faiss_factory import TRANSFORM, load_faiss
from indexer.index.kinds import EF_SEARCH, NPROBE
from indexer.index.selection import Selection

# Most searches have the same parameters; FAISS takes some microseconds to make others.
_CACHED = 16


def search_parameters(
    layers: tuple[str, ...], search_value: int, refine_factor: float = 1.0, allowed: Selection | None = None
) -> Any:
    """FAISS's search parameters for an index of these layers; None if it has none."""
    if allowed is None:
        return _unfiltered(layers, search_value, refine_factor)
    return _parameters(layers, search_value, refine_factor, sel=load_faiss().IDSelectorBitmap(allowed.bitmap))


@lru_cache(_CACHED)
def _unfiltered(layers: tuple[str, ...], search_value: int, refine_factor: float) -> Any:
    return _parameters(layers, search_value, refine_factor)


def _parameters(layers: tuple[str, ...], search_value: int, refine_factor: float, **options: Any) -> Any:
    faiss = load_faiss()
    *outer, core = layers
    if core == NPROBE:
        parameters = faiss.SearchParametersIVF(nprobe=search_value, **options)
    elif core == EF_SEARCH:
        parameters = faiss.SearchParametersHNSW(efSearch=search_value, **options)
    else:
        parameters = faiss.SearchParameters(**options) if options else None
    for layer in reversed(outer):
        if layer == TRANSFORM:
            parameters = faiss.SearchParametersPreTransform(index_params=parameters)
        else:
            parameters = faiss.IndexRefineSearchParameters(k_factor=refine_factor, base_index_params=parameters)
    return parameters
