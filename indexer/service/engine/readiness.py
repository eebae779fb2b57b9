"""Whether a version is fit to answer: its parts agree, its model makes its vectors, and a query comes back.

Letters: N products.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import numpy as np

from indexer.index.kinds import FACTORY
from indexer.search.canaries import CanaryCheck, check_canaries, readable_products
from indexer.search.query import Query
from indexer.search.ranking import Rules
from indexer.search.retriever import Retriever
from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.data.session import Action, Interaction, Product, Session
from ubm_embed.errors import InvalidData

_LOG = logging.getLogger(__name__)
# A catalogue may have been read in 8 bits, which keeps a cosine of 0.99, and the index may round to 8 bits more.
_MIN_COSINE = 0.98
# An index of an explicit factory may keep nothing but short codes. Another model's vectors have nothing in common.
_MIN_COSINE_OF_CODES = 0.8
# The scores of two searches differ by rounding only.
_SCORE_TOLERANCE = 1e-3


def require_ready(retriever: Retriever) -> None:
    """Return if a version is fit to answer.

    Raises:
        InvalidData: names what is wrong.
    """
    if found := problems(retriever):
        raise InvalidData("; ".join(found), file=f"version {retriever.version.version}")


def problems(retriever: Retriever) -> list[str]:
    """What is wrong with a version; empty if it is fit to answer. It takes some passes of the model."""
    found = [*_counts(retriever)]
    check = check_canaries(retriever)
    if check is not None:
        return [*found, *_canary_problems(retriever, check)]
    positions, products = readable_products(retriever.embedder, retriever.published_catalogue)
    if products:
        read = np.stack([retriever.embedder.embed_product(product) for product in products])
        found += [*_index_problems(retriever, positions, read), *_warm_up(retriever, products)]
    return found


def _counts(retriever: Retriever) -> Iterator[str]:
    version = retriever.version
    index, catalogue = retriever.published_index, retriever.published_catalogue
    counts = {"vectors": len(index), "products": len(catalogue), "rows": version.products}
    for name, count in counts.items():
        if count != version.indexed:
            yield f"it has {count:,} {name}, and {version.indexed:,} are indexed"


def _canary_problems(retriever: Retriever, check: CanaryCheck) -> Iterator[str]:
    """Problems of a version with canaries. A change that does not spoil the answers is logged."""
    if check.is_unfit:
        yield check.problem
        return
    if check.has_changed:
        _LOG.warning("version %d: %s", retriever.version.version, check.problem)
    ids = [str(product.product_id) for product in check.products]
    found = retriever.published_catalogue.find(ids)
    if len(found) < len(ids):
        yield "it lacks products of its canaries"
        return
    yield from _index_problems(retriever, np.array([found[one] for one in ids]), check.product_vectors)
    yield from _warm_up(retriever, check.products)


def _index_problems(retriever: Retriever, positions: IntArray, read: FloatArray) -> Iterator[str]:
    """Products whose texts were read again [N, D]: their vectors must be those of the index, and find them."""
    index = retriever.published_index
    stored = index.vectors(positions)
    limit = _MIN_COSINE_OF_CODES if index.kind == FACTORY else _MIN_COSINE
    cosine = float(np.vecdot(stored, read).min())
    if not cosine >= limit:  # a damaged vector is not a number
        yield f"a product's vector is not the model's: their cosine is {cosine:.3f}, expected at least {limit}"
        return
    first = index.search(read, 1).scores[:, 0]
    missed = int((first < np.vecdot(stored, read) - _SCORE_TOLERANCE).sum())
    if missed > len(read) // 2:  # an approximate index may miss one
        yield f"{missed} of {len(read)} products are not found by their own vectors"


def _warm_up(retriever: Retriever, products: Sequence[Product]) -> Iterator[str]:
    """A query for which there must be an answer, unless a revision deleted all products."""
    steps = *_views(retriever, products), Interaction(Action.SEARCH, query=products[0].title or "-")
    (answer,) = retriever.answer([Query(Session(steps), 1, Rules(exclude_seen=False))])
    if answer.fallback is not None or answer.unknown:
        yield f"a session of its own products is not read: {answer.fallback or 'they are unknown'}"
    elif not answer.matches and _has_products(retriever):
        yield "a session of its own products has no matches"


def _has_products(retriever: Retriever) -> bool:
    visible = retriever.catalogue.visible
    return visible is None or visible.count > 0


def _views(retriever: Retriever, products: Sequence[Product]) -> Sequence[Interaction]:
    """Of two products by their ids; of one as it was published if a revision deleted all of them."""
    ids = [str(product.product_id) for product in products]
    known = retriever.catalogue.find(ids)
    views = [Interaction(Action.VIEW, product_id=one) for one in ids if one in known]
    return views[:2] or [Interaction(Action.VIEW, product=products[0])]
