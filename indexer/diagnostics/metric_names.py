"""The names of all metrics of a diagnosis, and what each needs on the command line."""

from __future__ import annotations

from collections.abc import Mapping

_VECTORS = ("--store or --model",)
_SESSIONS = ("--corpus",)
_STORE = ("--store",)
_CHANGE = ("--store", "--against")
_CHANGED_ANSWERS = ("--store", "--against", "--corpus")
_RUN = ("--run",)

# What `--fail-on` may name. A need is an option, or several of which one will do.
METRIC_NEEDS: Mapping[str, tuple[str, ...]] = {
    # alignment
    "uniformity": _VECTORS,
    "alignment": _SESSIONS,
    "session_uniformity": _SESSIONS,
    "session_alignment_reordered": _SESSIONS,
    "session_alignment_masked": _SESSIONS,
    # integrity
    "canary_cosine": _STORE,
    "canary_overlap": _STORE,
    "share_stale": _STORE,
    "share_swapped": _STORE,
    "share_foreign": _STORE,
    "self_recall": _STORE,
    # changes
    "share_new": _CHANGE,
    "share_removed": _CHANGE,
    "share_changed": _CHANGE,
    "retention": _CHANGE,
    "centroid_shift": _CHANGE,
    "category_shift": _CHANGE,
    "separability_auc": _CHANGE,
    "answer_overlap": _CHANGED_ANSWERS,
    # training
    "final_loss": _RUN,
    "loss_trend": _RUN,
    "training_alignment": _RUN,
    "training_uniformity": _RUN,
    "candidates": _RUN,
    "clipped_share": _RUN,
    "masked_share": _RUN,
    "examples_per_second": _RUN,
}


def met_by(need: str, given: set[str]) -> bool:
    """Whether one of the options of a need was given."""
    return not given.isdisjoint(need.split(" or "))
