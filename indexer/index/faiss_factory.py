"""What FAISS makes of a kind: an empty index, a trained one, and what it is made of.

Letters: D width.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from indexer.index.faiss_module import load_faiss
from indexer.index.kinds import EF_SEARCH, FP16, NPROBE, IndexForm, IndexKind
from indexer.index.training_sample import training_sample
from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.errors import InvalidData

TRANSFORM, REFINE, PLAIN = "transform", "refine", "plain"


def empty_index(factory: str, dimension: int) -> Any:
    """What faiss makes of a factory string.

    Raises:
        NotFound: faiss is not installed.
        InvalidData: it makes nothing of it.
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


def trained_index(
    kind: IndexKind, parts: Iterable[FloatArray], dimension: int, expected: int, held_out: IntArray | None
) -> tuple[Any, IndexForm]:
    """An empty index that takes vectors, and what it came to be."""
    if kind.exact or kind.breadth == EF_SEARCH:  # of which the number of vectors changes nothing
        form = kind.form(expected, dimension)
        count = expected
    else:
        count = expected or sum(map(len, parts))
        form = kind.form(count, dimension)
    index = empty_index(form.factory, dimension)
    if index.is_trained:
        return index, form
    sample = training_sample(parts, count or sum(map(len, parts)), form.trained_with, held_out)
    try:
        index.train(sample)
    except RuntimeError as error:
        if count > form.trained_with:
            raise InvalidData(f"{form.factory!r} cannot be trained: {_sentence(error)}", field="index") from None
        form = FP16.form(count, dimension)
        return empty_index(form.factory, dimension), form
    return index, form


def make_room(index: Any, expected: int) -> None:
    """It keeps the room when the first vectors take their places; without, it doubles and copies all."""
    faiss = load_faiss()
    inside = [getattr(index, part) for part in ("refine_index", "storage") if hasattr(index, part)]
    for one in map(faiss.downcast_index, (index, *inside)):
        if isinstance(one, faiss.IndexFlatCodes):
            one.codes.resize(expected * one.code_size)


def with_vectors(index: Any, kind: IndexKind) -> Any:
    """The index, able to give back each vector by its position."""
    faiss = load_faiss()
    try:
        if layers_of(index)[-1] == NPROBE and REFINE not in layers_of(index):
            faiss.extract_index_ivf(index).make_direct_map()
        index.reconstruct(0)
    except RuntimeError as error:
        problem = f"{kind.factory!r} cannot give its vectors back: {_sentence(error)}"
        raise InvalidData(problem, field="index") from None
    return index


def layers_of(index: Any) -> list[str]:
    """From the outside in: what is done to a search, and last which parameter it takes."""
    faiss = load_faiss()
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return [TRANSFORM, *layers_of(index.index)]
    if isinstance(index, faiss.IndexRefine):
        return [REFINE, *layers_of(index.base_index)]
    if isinstance(index, faiss.IndexIVF):
        return [NPROBE]
    return [EF_SEARCH] if isinstance(index, faiss.IndexHNSW) else [PLAIN]


def structure_of(index: Any) -> str:
    """What an index is made of, whatever is in it."""
    faiss = load_faiss()
    index = faiss.downcast_index(index)
    name = "IndexFlat" if isinstance(index, faiss.IndexFlat) else type(index).__name__.replace("RefineFlat", "Refine")
    numbers = [str(getattr(index, number)) for number in ("nlist", "code_size") if hasattr(index, number)]
    codes = [str(index.sq.qtype)] if hasattr(index, "sq") else []
    parts = ("index", "base_index", "refine_index", "quantizer", "storage")
    inside = [structure_of(getattr(index, part)) for part in parts if getattr(index, part, None) is not None]
    return f"{name}({', '.join([*numbers, *codes, *inside])})"


def _sentence(error: Exception) -> str:
    """What faiss says, without where in its sources."""
    return str(error).rsplit("Error:", 1)[-1].rsplit(": ", 1)[-1].strip()
