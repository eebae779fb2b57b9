"""FAISS indexes as they are built: empty by their factory string, trained, filled, and checked.

Only this package imports faiss.

Letters: M vectors, N of them in the training sample, D width.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from indexer.index.kinds import EF_SEARCH, FP16, NPROBE, IndexKind, IndexSpec
from ubm_embed.data.arrays import FloatArray, IntArray, evenly_spaced
from ubm_embed.errors import InvalidData, NotFound

TRANSFORM, REFINE, PLAIN = "transform", "refine", "plain"


def load_faiss() -> Any:
    """The faiss module.

    Raises:
        NotFound: it is not installed, or does not load; with the line to type.
    """
    try:
        import faiss
    except ImportError as error:
        install = "pip install 'ubm-embed[cpu]' (or 'ubm-embed[gpu]' where there is an NVIDIA GPU)"
        raise NotFound(f"faiss does not load ({error}); type: {install}") from error
    return faiss


def build_faiss_index(
    parts: Iterable[FloatArray], kind: IndexKind, expected: int, held_out: IntArray | None
) -> tuple[Any, IndexSpec]:
    """A FAISS index over vectors, and its spec. Arguments and errors as of `VectorIndex.build`."""
    index, spec = None, None
    for vectors in parts:
        if not len(vectors):
            continue
        if index is None:
            index, spec = _train(kind, parts, vectors.shape[1], expected, held_out)
            _reserve(index, expected)
        index.add(np.ascontiguousarray(vectors, np.float32))
    if index is None or spec is None or not index.ntotal:
        raise ValueError("an index needs at least one vector")
    _require_reconstructable(index, kind)
    return index, spec


def empty_index(factory: str, dimension: int) -> Any:
    """The empty index of a factory string.

    Raises:
        NotFound: faiss is not installed.
        InvalidData: faiss cannot build it, or it would not keep vectors by position.
    """
    faiss = load_faiss()
    try:
        index = faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        problem = f"{factory!r} is no kind of index and no FAISS factory string for vectors of width {dimension}"
        raise InvalidData(f"{problem}: {_sentence(error)}", field="index") from None
    if isinstance(index, faiss.IndexIDMap):
        raise InvalidData(f"{factory!r} has ids of its own; a vector is known by its position here", field="index")
    return index


def empty_flat(dimension: int) -> Any:
    """An empty index that keeps vectors as they are."""
    return load_faiss().IndexFlatIP(dimension)


def empty_like(index: Any) -> Any:
    """An empty trained index that stores vectors as this one gives them back, in the same lists if it has such.

    It shares the centroids, which must outlive it. Where FAISS cannot encode a vector for itself, it is kept as it is.
    """
    faiss = load_faiss()
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexIVFScalarQuantizer):
        return empty_lists_like(index, index.nlist)
    if isinstance(index, faiss.IndexScalarQuantizer):
        empty = faiss.IndexScalarQuantizer(index.d, index.sq.qtype, index.metric_type)
        empty.sq, empty.is_trained = index.sq, True
        return empty
    if isinstance(index, faiss.IndexRefine):
        return _empty_refined(index)
    return empty_like(index.storage) if isinstance(index, faiss.IndexHNSW) else empty_flat(index.d)


def _empty_refined(index: Any) -> Any:
    """As `empty_like`, with the finer copy's codes in the lists of the coarse one: few vectors need no coarse codes."""
    faiss = load_faiss()
    lists, finer = faiss.downcast_index(index.base_index), faiss.downcast_index(index.refine_index)
    if not isinstance(lists, faiss.IndexIVF) or not isinstance(finer, faiss.IndexScalarQuantizer):
        return empty_like(finer)
    empty = faiss.IndexIVFScalarQuantizer(
        lists.quantizer, index.d, lists.nlist, finer.sq.qtype, index.metric_type, False
    )
    empty.sq, empty.is_trained = finer.sq, True
    return empty


def empty_lists_like(index: Any, nlist: int) -> Any:
    """An empty index of `nlist` lists that stores vectors as this one does, and shares its centroids."""
    form = index.d, nlist, index.sq.qtype, index.metric_type, index.by_residual
    empty = load_faiss().IndexIVFScalarQuantizer(index.quantizer, *form)
    empty.sq, empty.is_trained = index.sq, True
    return empty


def training_sample(
    parts: Iterable[FloatArray], count: int, max_vectors: int, held_out: IntArray | None = None
) -> FloatArray:
    """Vectors from all over the catalogue to train an index with: at most `max_vectors`, always the same, [N, D].

    Memory grows with the sample, not with the catalogue.

    Args:
        parts: all M vectors, some at a time.
        count: M, or about that.
        held_out: rows that are left out.
    """
    rows = evenly_spaced(count, max_vectors)
    rows = rows if held_out is None else np.setdiff1d(rows, held_out)
    sample, first = [], 0
    for vectors in parts:
        here = rows[(rows >= first) & (rows < first + len(vectors))] - first
        sample.append(np.array(vectors[here], np.float32))
        first += len(vectors)
    return np.concatenate(sample)


def _train(
    kind: IndexKind, parts: Iterable[FloatArray], dimension: int, expected: int, held_out: IntArray | None
) -> tuple[Any, IndexSpec]:
    """An empty index that can take vectors, and its spec."""
    same_for_any_count = kind.exact or kind.search_parameter == EF_SEARCH
    count = expected if same_for_any_count else expected or sum(map(len, parts))
    spec = kind.spec_for(count, dimension)
    index = empty_index(spec.factory, dimension)
    if index.is_trained:
        return index, spec
    sample = training_sample(parts, count or sum(map(len, parts)), spec.training_vectors, held_out)
    try:
        index.train(sample)
    except RuntimeError as error:
        if count > spec.training_vectors:
            raise InvalidData(f"{spec.factory!r} cannot be trained: {_sentence(error)}", field="index") from None
        spec = FP16.spec_for(count, dimension)
        return empty_index(spec.factory, dimension), spec
    return index, spec


def _reserve(index: Any, expected: int) -> None:
    """Allocate memory for all vectors at once: an index that grows doubles its memory and copies everything."""
    faiss = load_faiss()
    inner = [getattr(index, part) for part in ("refine_index", "storage") if hasattr(index, part)]
    for one in map(faiss.downcast_index, (index, *inner)):
        if isinstance(one, faiss.IndexFlatCodes):
            one.codes.resize(expected * one.code_size)  # the first vectors overwrite it from its start


def _require_reconstructable(index: Any, kind: IndexKind) -> None:
    """Make an index give back vectors by position, or raise `InvalidData` if it cannot."""
    faiss = load_faiss()
    try:
        if layers_of(index)[-1] == NPROBE and REFINE not in layers_of(index):
            faiss.extract_index_ivf(index).make_direct_map()
        index.reconstruct(0)
    except RuntimeError as error:
        problem = f"{kind.factory!r} cannot give its vectors back: {_sentence(error)}"
        raise InvalidData(problem, field="index") from None


def layers_of(index: Any) -> tuple[str, ...]:
    """The layers of an index from the outside in: TRANSFORM and REFINE, and last its search parameter or PLAIN."""
    faiss = load_faiss()
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return TRANSFORM, *layers_of(index.index)
    if isinstance(index, faiss.IndexRefine):
        return REFINE, *layers_of(index.base_index)
    if isinstance(index, faiss.IndexIVF):
        return (NPROBE,)
    return (EF_SEARCH if isinstance(index, faiss.IndexHNSW) else PLAIN,)


def structure_of(index: Any) -> str:
    """A description of an index's classes and sizes, equal for two indexes of one factory string."""
    faiss = load_faiss()
    index = faiss.downcast_index(index)
    name = "IndexFlat" if isinstance(index, faiss.IndexFlat) else type(index).__name__.replace("RefineFlat", "Refine")
    numbers = [str(getattr(index, number)) for number in ("nlist", "code_size") if hasattr(index, number)]
    codes = [str(index.sq.qtype)] if hasattr(index, "sq") else []
    parts = ("index", "base_index", "refine_index", "quantizer", "storage")
    inner = [structure_of(getattr(index, part)) for part in parts if getattr(index, part, None) is not None]
    return f"{name}({', '.join([*numbers, *codes, *inner])})"


def _sentence(error: Exception) -> str:
    """FAISS's message, without the place in its source code."""
    return str(error).rsplit("Error:", 1)[-1].rsplit(": ", 1)[-1].strip()
