"""A version of the table becomes a version of the store if it passes its gates, here with vectors made by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from indexer.refresh.gates import Gate, GateResult
from indexer.refresh.plan import ChangeCounts
from indexer.refresh.publication import next_number, publish
from indexer.refresh.release_candidate import ReleaseCandidate
from indexer.refresh.settings import GateLimits, RefreshSettings
from indexer.store.embedding_store import EmbeddingStore
from indexer.store.table_schema import POPULARITY, table_schema
from indexer.versions.live import Live, live_number, read_live, version_numbers
from indexer.versions.version import StoreVersion, read_version
from ubm_embed.errors import Conflict, QualityGateFailed
from ubm_embed.evaluation.uniformity import alignment, uniformity

WIDTH = 16
EPS = float(np.finfo(np.float32).eps)
# A squared distance adds up WIDTH float32 products; the means over pairs of them err less.
ATOL = WIDTH * EPS
# A manifest rounds what its gates measured to six decimals.
ROUNDED = 1e-6
DEFAULT = RefreshSettings()


def limits(**values: float) -> RefreshSettings:
    return RefreshSettings(gates=GateLimits(**values))


ANY = limits(min_overlap=0, min_overlap_of_another_model=0, max_shift=2, max_uniformity=0)


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def some(count: int, seed: int = 0, width: int = WIDTH) -> np.ndarray:
    return unit(np.random.default_rng(seed).standard_normal((count, width)))


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    return EmbeddingStore.from_uri(tmp_path)


def candidate(store: EmbeddingStore, vectors: np.ndarray, ids: list[str] | None = None) -> ReleaseCandidate:
    """These rows as a version of the table, to be published after the live version."""
    products = pl.DataFrame({"product_id": ids or [f"p{row}" for row in range(len(vectors))]})
    rows = products.with_columns(pl.lit(0, pl.Int64).alias(POPULARITY))
    fragments = store.table.write_fragments(rows, vectors, overwrite=True)
    live = read_live(store) if store.storage.exists("live.json") else None
    return ReleaseCandidate(
        table_version=store.table.replace(fragments, table_schema(rows, vectors.shape[1]), model_id="m1"),
        model_id="m1",
        product_model_id=None,
        source="products.parquet",
        changes=ChangeCounts(new=len(vectors), changed=0, updated=0, unchanged=0, removed=0),
        encoded=len(vectors),
        base=read_version(store, live.version) if live else None,
        live=live,
        pairs=None,
    )


def value(version: StoreVersion, gate: Gate) -> float:
    return float(version.gates[gate]["value"])


def test_a_published_version_is_live_and_described(store: EmbeddingStore) -> None:
    vectors = some(50)
    version = publish(store, candidate(store, vectors), ANY)
    assert read_version(store) == version
    assert (version.version, version.products, version.indexed, version.dimension) == (1, 50, 50, WIDTH)
    assert version.recall_at_10 == value(version, Gate.RECALL) == 1.0
    assert version.uniformity == pytest.approx(uniformity(vectors), abs=ATOL, rel=ATOL)
    assert version.alignment is None
    assert set(version.gates) == {Gate.VECTORS, Gate.INDEXED, Gate.RECALL, Gate.UNIFORMITY}, (
        "no version was live before"
    )
    assert store.table.pins() == {1: version.table_version}


@pytest.mark.parametrize("allowed", [set(), set(Gate)])
def test_a_repeated_product_is_never_published(store: EmbeddingStore, allowed: set[Gate]) -> None:
    twice = candidate(store, some(4), ["p0", "p1", "p0", "p1"])
    with pytest.raises(QualityGateFailed, match="gate 'indexed': 4 rows with 2 different ids, of which the index"):
        publish(store, twice, ANY, allowed)
    assert version_numbers(store) == []
    assert not store.storage.exists("live.json")


def test_a_vector_of_no_length_is_never_published(store: EmbeddingStore) -> None:
    vectors = some(50)
    vectors[7] = 0
    with pytest.raises(QualityGateFailed, match="gate 'vectors': 1 of 50 vectors are not of length 1"):
        publish(store, candidate(store, vectors), ANY, set(Gate))


def test_vectors_that_are_all_alike_are_refused_unless_allowed(store: EmbeddingStore) -> None:
    collapsed = unit(np.ones((50, WIDTH)) + 1e-3 * some(50))
    with pytest.raises(QualityGateFailed, match=r"gate 'uniformity': uniformity of the vectors is -0\.000"):
        publish(store, candidate(store, collapsed), DEFAULT)
    assert publish(store, candidate(store, collapsed), DEFAULT, {Gate.UNIFORMITY}).version == 1


def test_one_product_has_no_uniformity(store: EmbeddingStore) -> None:
    version = publish(store, candidate(store, some(1)), DEFAULT)
    assert version.uniformity is None
    assert Gate.UNIFORMITY not in version.gates


def test_the_same_vectors_have_the_same_neighbours_and_mean(store: EmbeddingStore) -> None:
    publish(store, candidate(store, some(200)), DEFAULT)
    version = publish(store, candidate(store, some(200)), DEFAULT)
    assert (value(version, Gate.NEIGHBOURS), value(version, Gate.CENTROID)) == (1.0, 0.0)
    assert version.base == 1


def test_the_order_of_the_rows_does_not_matter(store: EmbeddingStore) -> None:
    vectors, order = some(200), np.random.default_rng(1).permutation(200)
    publish(store, candidate(store, vectors), DEFAULT)
    version = publish(store, candidate(store, vectors[order], [f"p{row}" for row in order]), DEFAULT)
    assert value(version, Gate.NEIGHBOURS) == 1.0


def test_products_that_were_removed_do_not_count_as_lost_neighbours(store: EmbeddingStore) -> None:
    vectors = some(200)
    publish(store, candidate(store, vectors), DEFAULT)
    version = publish(store, candidate(store, vectors[50:], [f"p{row}" for row in range(50, 200)]), ANY)
    assert value(version, Gate.NEIGHBOURS) == 1.0


def test_neighbours_is_the_share_of_the_ten_nearest_in_both_versions(store: EmbeddingStore) -> None:
    before, after = some(100), unit(some(100) + 0.5 * some(100, seed=1))
    publish(store, candidate(store, before), ANY)
    version = publish(store, candidate(store, after), ANY)

    def nearest(vectors: np.ndarray) -> list[set[int]]:
        return [set(row.tolist()) for row in np.argsort(-(vectors @ vectors.T), axis=1)[:, 1:11]]  # itself first

    overlaps = [len(old & new) / 10 for old, new in zip(nearest(before), nearest(after), strict=True)]
    assert 0.3 < np.mean(overlaps) < 0.9
    assert value(version, Gate.NEIGHBOURS) == pytest.approx(np.mean(overlaps), abs=ROUNDED)
    shift = np.linalg.norm(before.mean(axis=0) - after.mean(axis=0))
    assert value(version, Gate.CENTROID) == pytest.approx(
        shift, abs=ROUNDED + 100 * EPS
    )  # numpy adds up 100 float32 numbers


def test_other_vectors_under_the_same_ids_are_refused(store: EmbeddingStore) -> None:
    publish(store, candidate(store, some(200)), DEFAULT)
    with pytest.raises(QualityGateFailed, match=r"gate 'neighbours': 0\.\d+ of the ten nearest are the same"):
        publish(store, candidate(store, some(200, seed=1)), limits(max_shift=2))
    moved = unit(some(200) + 0.3)
    with pytest.raises(QualityGateFailed, match=r"gate 'centroid': the mean vector moved by 0\.\d+"):
        publish(store, candidate(store, moved), limits(min_overlap=0))
    assert live_number(store) == 1


def test_another_model_may_move_vectors_but_not_scatter_them(store: EmbeddingStore) -> None:
    """Its vectors may have another width; only the neighbours can be compared."""
    vectors = some(200)
    publish(store, candidate(store, vectors), DEFAULT)
    turned = unit(np.concatenate([vectors[:, ::-1], 0.1 * some(200, seed=2)], axis=1))
    version = publish(store, replace(candidate(store, turned), model_id="m2"), DEFAULT)
    assert value(version, Gate.NEIGHBOURS) > 0.5
    assert Gate.CENTROID not in version.gates
    scattered = replace(candidate(store, some(200, seed=3)), model_id="m3")
    with pytest.raises(QualityGateFailed, match="gate 'neighbours'"):
        publish(store, scattered, limits(min_overlap_of_another_model=0.5))


def test_another_session_model_over_the_same_product_tower_may_move_no_vector(store: EmbeddingStore) -> None:
    """One product tower made the vectors of both versions, so they have common coordinates."""
    vectors = some(200)
    publish(store, candidate(store, vectors), DEFAULT)
    tuned = replace(candidate(store, vectors), model_id="m2", product_model_id="m1")
    version = publish(store, tuned, DEFAULT)
    assert (value(version, Gate.NEIGHBOURS), value(version, Gate.CENTROID)) == (1.0, 0.0)
    again = replace(candidate(store, unit(vectors + 0.3)), model_id="m3", product_model_id="m1")
    with pytest.raises(QualityGateFailed, match="gate 'centroid'"):
        publish(store, again, limits(min_overlap=0))


def test_another_model_without_a_product_in_common_cannot_be_compared(store: EmbeddingStore) -> None:
    publish(store, candidate(store, some(50)), DEFAULT)
    others = candidate(store, some(50, width=8), [f"q{row}" for row in range(50)])
    version = publish(store, replace(others, model_id="m2"), DEFAULT)
    assert not {Gate.NEIGHBOURS, Gate.CENTROID} & version.gates.keys()


def test_a_catalogue_with_no_product_in_common_has_no_neighbours_to_compare(store: EmbeddingStore) -> None:
    publish(store, candidate(store, some(50)), DEFAULT)
    version = publish(store, candidate(store, some(50, seed=1), [f"q{row}" for row in range(50)]), limits(max_shift=2))
    assert Gate.NEIGHBOURS not in version.gates
    assert value(version, Gate.CENTROID) > 0


def test_a_scrambled_model_does_not_pass_as_another_one(store: EmbeddingStore) -> None:
    publish(store, candidate(store, some(500, width=64)), DEFAULT)
    other = replace(candidate(store, some(500, seed=1, width=64)), model_id="another")
    with pytest.raises(QualityGateFailed, match="gate 'neighbours'"):
        publish(store, other, DEFAULT)


def test_alignment_is_of_pairs_that_the_catalogue_has(store: EmbeddingStore) -> None:
    vectors = some(20)
    pairs = pl.DataFrame({"product_id": ["p0", "p3", "gone", "p1"], "following": ["p1", "p4", "p2", "gone"]})
    version = publish(store, replace(candidate(store, vectors), pairs=pairs), ANY)
    assert version.alignment == pytest.approx(alignment(vectors[[0, 3]], vectors[[1, 4]]), abs=ATOL)
    without = publish(store, replace(candidate(store, vectors), pairs=pairs[2:]), ANY)
    assert without.alignment is None


def test_results_from_before_are_in_the_manifest_too(store: EmbeddingStore) -> None:
    result = GateResult(Gate.ROWS, 0.5, 0.2, True, "much is missing")
    one = replace(candidate(store, some(50)), results=(result,))
    with pytest.raises(QualityGateFailed, match="gate 'rows': much is missing"):
        publish(store, one, ANY)
    assert publish(store, one, ANY, {Gate.ROWS}).gates[Gate.ROWS] == result.to_dict()


def test_a_version_that_became_live_meanwhile_stays(store: EmbeddingStore) -> None:
    publish(store, candidate(store, some(50)), ANY)
    late = candidate(store, some(50))
    publish(store, candidate(store, some(50)), ANY)
    with pytest.raises(Conflict, match="nothing was published"):
        publish(store, late, ANY)
    assert live_number(store) == 2


def test_a_number_is_used_once(store: EmbeddingStore) -> None:
    assert next_number(store, None) == 1
    store.storage.write("versions/11/index.faiss", b"")
    assert next_number(store, None) == 12
    assert next_number(store, Live(version=3, history=(2, 1), last=3)) == 12
    assert next_number(store, Live(version=40, history=(), last=40)) == 41  # its folder is gone
    assert next_number(store, Live(version=3, history=(1,), last=50)) == 51  # 50 was rolled back, and pruned
