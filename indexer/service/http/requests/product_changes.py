"""Products that a request upserts or deletes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta

from indexer.service.http.requests.bodies import ProductId
from indexer.service.http.requests.decoding import Decoder, any_body
from indexer.service.sessions.shapes.fields import required_id_at
from indexer.service.updates.product_change import ProductChange
from indexer.service.updates.product_writer import MAX_PRODUCTS
from ubm_embed.data.session import MAX_CHARACTERS, encodable, field_path, kind_of
from ubm_embed.errors import InvalidData

_MAX_INTEGER = 1 << 63
_ID, _LIST, _TEXTS = "product_id", "products", ("title", "category")

ProductIds: TypeAlias = Annotated[
    list[ProductId], Meta(min_length=1, max_length=MAX_PRODUCTS, description="The shop's own ids.")
]


class DeleteBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Products that no answer is to show any more."""

    product_ids: ProductIds


delete_body = Decoder(DeleteBody)


def upsert_change(body: bytes) -> ProductChange:
    """The products of a body: one, or those in its list `products`.

    Raises:
        RequestError: 400, not JSON.
        InvalidData: JSON of another shape; names the product and its field.
    """
    document = any_body.decode(body)
    if isinstance(document, Mapping) and _LIST in document and _ID not in document:
        return ProductChange(_listed(document), bytes=len(body), path=_LIST)
    return ProductChange((_product(document, ""),), bytes=len(body))


def delete_change(body: bytes) -> ProductChange:
    """The ids in a body; one that is there twice counts once.

    Raises:
        RequestError, InvalidData: as of `upsert_change`.
    """
    listed = delete_body.decode(body).product_ids
    fields = {f"product_ids[{row}]": value for row, value in enumerate(listed)}
    ids = [required_id_at(fields, field) for field in fields]
    return ProductChange(deleted=tuple(dict.fromkeys(ids)), bytes=len(body), path="product_ids")


def in_request(error: InvalidData, change: ProductChange) -> InvalidData:
    """An error of a row, from 1, as one of the request that holds the row; others as they are."""
    if error.file is not None or error.row is None:
        return error
    product = f"{change.path}[{error.row - 1}]" if change.path else ""
    return InvalidData(error.problem, field=field_path(product, error.field or "") or None)


def _listed(document: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    for name in document:
        if name != _LIST:
            raise InvalidData(f"unknown beside {_LIST}", field=encodable(name[:100]))
    listed = document[_LIST]
    if not isinstance(listed, list):
        raise InvalidData(f"expected a list of products, got {kind_of(listed)}", field=_LIST)
    if not 1 <= len(listed) <= MAX_PRODUCTS:
        raise InvalidData(f"expected 1 to {MAX_PRODUCTS:,} products, got {len(listed):,}", field=_LIST)
    products, ids = [], set()
    for row, entry in enumerate(listed):
        products.append(_product(entry, f"{_LIST}[{row}]"))
        product_id = products[-1][_ID]
        if product_id in ids:
            raise InvalidData(f"expected a unique id, got {product_id!r}", field=f"{_LIST}[{row}].{_ID}")
        ids.add(product_id)
    return products


def _product(entry: Any, field: str) -> Mapping[str, Any]:
    """A product with what all shops' products have as it must be; the version knows what its other columns are."""
    if not isinstance(entry, Mapping):
        raise InvalidData(f"expected a product object, got {kind_of(entry)}", field=field or None)
    product = {**entry, _ID: required_id_at(entry, _ID, field)}
    for name in _TEXTS:
        if not isinstance(entry.get(name, ""), str | None):
            raise InvalidData(f"expected a string or null, got {kind_of(entry[name])}", field=field_path(field, name))
    for name, value in product.items():
        _require_sane(value, field_path(field, encodable(name[:100])))
    return product


def _require_sane(value: Any, field: str) -> None:
    if isinstance(value, str) and len(value) > MAX_CHARACTERS:
        raise InvalidData(f"expected at most {MAX_CHARACTERS:,} characters, got {len(value):,}", field=field)
    if isinstance(value, int) and not -_MAX_INTEGER <= value < _MAX_INTEGER:
        raise InvalidData("expected a number of fewer digits", field=field)
