"""POST /v1/products, POST /v1/products/delete and DELETE /v1/products/{product_id}: products change at once."""

from __future__ import annotations

import msgspec

from indexer.service.http.documentation import schemas
from indexer.service.http.endpoint import Call, Reply
from indexer.service.http.operation import Operation, Parameter
from indexer.service.http.requests.product_changes import DeleteBody, delete_change, in_request, upsert_change
from indexer.service.http.telemetry.metrics import Metrics
from indexer.service.service import Service
from indexer.service.sessions.shapes.fields import required_id_at
from indexer.service.updates.product_change import ProductChange
from indexer.service.updates.product_writer import MAX_PRODUCTS
from ubm_embed.errors import InvalidData, NotFound


class ChangedProducts(msgspec.Struct, kw_only=True):
    """What became of the products of a request, which this worker answers with from now on.

    Attributes:
        version: of the store.
        revision: of that version in which the products are as they were to be.
        new: products that the version did not have.
        changed: products with another text.
        updated: products of which only other columns changed, such as a price.
        unchanged: products that were so already.
        deleted: products that are gone.
        unknown: ids to delete that the version did not have.
    """

    version: int
    revision: int
    new: int
    changed: int
    updated: int
    unchanged: int
    deleted: int
    unknown: list[str]


class ProductRoutes:
    """Changes products of the live version."""

    def __init__(self, service: Service, metrics: Metrics) -> None:
        self._service, self._metrics = service, metrics

    async def upsert(self, call: Call) -> Reply:
        """Add products, or change those that are there."""
        return Reply.json(await self._apply(call, upsert_change(call.body)))

    async def delete(self, call: Call) -> Reply:
        """Delete products of which some may be gone already."""
        return Reply.json(await self._apply(call, delete_change(call.body)))

    async def delete_one(self, call: Call) -> Reply:
        """Delete a product."""
        product_id = required_id_at(call.path_parameters, "product_id")
        reply = await self._apply(call, ProductChange(deleted=(product_id,)))
        if reply.unknown:
            raise NotFound(f"no product {product_id!r} in version {reply.version}")
        return Reply.json(reply)

    async def _apply(self, call: Call, change: ProductChange) -> ChangedProducts:
        call.state.sessions = len(change)
        try:
            report = await self._service.products.apply(change, call.arrival)
        except InvalidData as error:
            raise in_request(error, change) from error
        call.state.version = report.version
        reply = msgspec.convert(report, ChangedProducts, from_attributes=True)
        self._metrics.products_changed(_counts(reply))
        return reply

    def operations(self) -> list[Operation]:
        """Its routes."""
        return [
            Operation(
                "POST",
                "/v1/products",
                self.upsert,
                tag="Products",
                summary="Add products or change them, at once.",
                description=_UPSERT,
                body=schemas.ref("Products"),
                examples={
                    "price": {"product_id": "p1", "price": 49.9},
                    "several": {
                        "products": [
                            {"product_id": "p2", "category": None},
                            {"product_id": "new-1", "title": "red trail shoes", "attributes": {"colour": "red"}},
                        ]
                    },
                },
                reply=ChangedProducts,
                errors=(409, 503),
            ),
            Operation(
                "POST",
                "/v1/products/delete",
                self.delete,
                tag="Products",
                summary="Delete products at once.",
                description=f"At most {MAX_PRODUCTS:,}. Ids that the version does not have are in `unknown`.",
                body=DeleteBody,
                examples={"several": {"product_ids": ["new-1", "long-gone"]}},
                reply=ChangedProducts,
                errors=(409, 503),
            ),
            Operation(
                "DELETE",
                "/v1/products/{product_id}",
                self.delete_one,
                tag="Products",
                summary="Delete a product at once.",
                description="404 if the version does not have it, or has it no longer.",
                parameters=(_PRODUCT_ID,),
                open_parameters=("product_id",),
                reply=ChangedProducts,
                errors=(404, 409, 503),
            ),
        ]


def _counts(reply: ChangedProducts) -> dict[str, int]:
    counts = {kind: getattr(reply, kind) for kind in ("new", "changed", "updated", "unchanged", "deleted")}
    return counts | {"unknown": len(reply.unknown)}


_UPSERT = f"""A product or, as `products`, up to {MAX_PRODUCTS:,}. Keys are those of a catalogue: `product_id`, `title`,
`category`, `attributes`, and the columns that the version has. What a product does not name stays as it is; null
clears it. All of a request is published as one revision of the live version, or nothing of it.

The answer comes when this worker answers with the products; other workers follow within moments. Sending a request
again does no harm. 409 says that the version has as many changes as it may: then a refresh takes them in."""
_PRODUCT_ID = Parameter(
    "product_id",
    "path",
    "The shop's own id, percent-encoded; it may hold any characters.",
    {"type": "string", "minLength": 1},
    "p1",
)
