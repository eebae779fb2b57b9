"""The limits of the gates that a version was published with, as its manifest has them."""

from __future__ import annotations

from indexer.refresh.gates import Gate
from indexer.refresh.settings import GateLimits
from indexer.versions.version import StoreVersion, manifest_name
from ubm_embed.errors import InvalidData

_LIMITS = {
    Gate.ROWS: "max_lost",
    Gate.RECALL: "min_recall",
    Gate.CENTROID: "max_shift",
    Gate.UNIFORMITY: "max_uniformity",
}


def recorded_limits(version: StoreVersion) -> GateLimits:
    """The limits of its gates; the defaults of those that it did not have to pass.

    Raises:
        InvalidData: the manifest has a limit outside its range.
    """
    names = _LIMITS | {Gate.NEIGHBOURS: _name_of_overlap(version)}
    try:
        return GateLimits(**{names[gate]: version.gates[gate]["limit"] for gate in names if gate in version.gates})
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidData(
            f"has an invalid limit: {error}", file=manifest_name(version.version), field="gates"
        ) from None


def _name_of_overlap(version: StoreVersion) -> str:
    # The mean vector is compared only if one model made the vectors of both versions.
    return "min_overlap" if Gate.CENTROID in version.gates else "min_overlap_of_another_model"
