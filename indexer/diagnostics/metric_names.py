"""The names of all metrics of a diagnosis, and what each needs on the command line."""

from __future__ import annotations

from collections.abc import Mapping

_VECTORS = ("--store or --model",)
_SESSIONS = ("--corpus",)
_INDEX = ("--store", "--corpus")
_STORE = ("--store",)
_CHANGE = ("--store", "--against")
_CHANGED_ANSWERS = ("--store", "--against", "--corpus")
_PURCHASES = ("--purchase-intention",)
_LENGTHS = ("--remaining-length",)
_MAP = ("--html or --png",)
_RUN = ("--run",)

# What `--fail-on` may name. A need is an option, or several of which one will do.
METRIC_NEEDS: Mapping[str, tuple[str, ...]] = {
    # alignment
    "uniformity": _VECTORS,
    "alignment": _VECTORS,
    "session_uniformity": _SESSIONS,
    "session_alignment_masked": _SESSIONS,
    "session_alignment_reordered": _SESSIONS,
    # space
    "rank_me": _VECTORS,
    "iso_score": _VECTORS,
    "mean_cosine": _VECTORS,
    "norm_mean": _VECTORS,
    "norm_variation": _VECTORS,
    "hubness_skewness": _VECTORS,
    "share_antihubs": _VECTORS,
    "largest_hub": _VECTORS,
    "share_duplicate_vectors": _VECTORS,
    "share_read_alike": _VECTORS,
    "share_near_duplicates": _VECTORS,
    "share_equal_text": _VECTORS,
    "share_without_text": _VECTORS,
    "share_cut": _VECTORS,
    # integrity
    "canary_cosine": _STORE,
    "canary_overlap": _STORE,
    "share_stale": _STORE,
    "share_swapped": _STORE,
    "share_foreign": _STORE,
    "self_recall": _STORE,
    # answers
    "hit_at_10": _SESSIONS,
    "ndcg_at_10": _SESSIONS,
    "popularity_hit_at_10": _SESSIONS,
    "coverage": _SESSIONS,
    "coverage_of_interacted": _SESSIONS,
    "gini": _SESSIONS,
    "top_ten_share": _SESSIONS,
    "novelty": _SESSIONS,
    "intra_list_diversity": _SESSIONS,
    "unexpectedness": _SESSIONS,
    "surprisal": _SESSIONS,
    "categorical_diversity": _SESSIONS,
    "popularity_bias": _SESSIONS,
    "modality_gap": _SESSIONS,
    "session_nearest_cosine": _SESSIONS,
    "product_nearest_cosine": _SESSIONS,
    "recall": _INDEX,
    "session_recall": _INDEX,
    # calibration
    "purchase_auc": _PURCHASES,
    "calibration_error": _PURCHASES,
    "calibration_slope": _PURCHASES,
    "probability_error": _PURCHASES,
    "brier_score": _PURCHASES,
    "length_error": _LENGTHS,
    "length_mae": _LENGTHS,
    # map
    "map_explained_share": _MAP,
    "map_trustworthiness": _MAP,
    # changes
    "share_new": _CHANGE,
    "share_removed": _CHANGE,
    "share_changed": _CHANGE,
    "retention": _CHANGE,
    "centroid_shift": _CHANGE,
    "separability_auc": _CHANGE,
    "category_shift": _CHANGE,
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
