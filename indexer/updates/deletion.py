"""Products that are deleted."""

from __future__ import annotations

from collections.abc import Iterable

from indexer.updates.current_products import EXISTS, CurrentProducts
from indexer.updates.limits import UpdateLimits
from indexer.updates.report import UpdateReport
from indexer.updates.segment_rows import tombstones
from indexer.updates.update import Outcome, next_stamp
from ubm_embed.data.ids import clean_id
from ubm_embed.errors import Conflict


class Deletion:
    """An `Update` that deletes products. Deleting one that the store does not have is no error."""

    def __init__(self, product_ids: Iterable[str], limits: UpdateLimits) -> None:
        self._ids = list(dict.fromkeys(clean_id(name) or name for name in product_ids))
        self._limits = limits

    def outcome(self, current: CurrentProducts) -> Outcome:
        """As `Update`.

        Raises:
            Conflict: as `Updater.delete`.
        """
        self._limits.require_rows(len(self._ids), current.version.products)
        exists = current.find(self._ids)[EXISTS].to_list()
        known = [name for name, there in zip(self._ids, exists, strict=True) if there]
        unknown = tuple(name for name, there in zip(self._ids, exists, strict=True) if not there)
        self._limits.require_products(current.changed_after(known), current.version.products)
        self._require_rest(len(known), current)
        rows = tombstones(known, current.segment_schema, next_stamp(current))
        report = UpdateReport(
            version=current.version.version, revision=current.revision_number, deleted=len(known), unknown=unknown
        )
        return Outcome(rows, report)

    def _require_rest(self, deleted: int, current: CurrentProducts) -> None:
        # Counted only where it may be all of them.
        if current.changed_after(self._ids) >= current.version.products and deleted >= len(current):
            raise Conflict("a store keeps at least one product; nothing was changed")
