"""Probes that are taken over night after night know the nearest that an exact scan would find."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.index.backend import NOISE
from indexer.refresh.probes import PROBES_FILE, Probes
from tests.indexer.index.toy_vectors import unit_vectors
from ubm_embed.errors import InvalidData

WANTED, ASKED = 20, 11
EPS = float(np.finfo(np.float32).eps)


def parts(vectors: np.ndarray, size: int = 16) -> Iterator[np.ndarray]:
    return (vectors[first : first + size] for first in range(0, len(vectors), size))


def scanned(vectors: np.ndarray) -> Probes:
    probes, statistics = Probes.scan(parts(vectors), vectors.__getitem__, len(vectors), WANTED)
    assert statistics.rows == len(vectors)
    return probes


def carried(probes: Probes, before: np.ndarray, after: np.ndarray, old_positions: np.ndarray) -> Probes:
    """The probes of a version in the next one, whose vectors were at these positions, -1 for those that are new."""
    now = np.full(len(before), -1, np.int32)
    known = np.flatnonzero(old_positions >= 0)
    now[old_positions[known]] = known
    added = np.flatnonzero(old_positions < 0)
    new = ((added[first : first + 7], after[added[first : first + 7]]) for first in range(0, added.size, 7))
    return probes.carried(now, len(after), parts(before[now < 0]), new)


def night(vectors: np.ndarray, share: float, new: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The next version's vectors, and where each was before."""
    rng = np.random.default_rng(seed)
    left = rng.permutation(np.flatnonzero(rng.random(len(vectors)) >= share))
    old_positions = np.insert(left, np.sort(rng.integers(0, left.size + 1, max(new, int(left.size == 0)))), -1)
    after = unit_vectors(old_positions.size, seed=seed)
    after[old_positions >= 0] = vectors[left]
    return after, old_positions


def require_exact(probes: Probes, vectors: np.ndarray) -> None:
    """Whether the nearest are those of an exact scan, up to the order of equal scores."""
    asked = min(ASKED, len(vectors))
    scores = probes.queries @ vectors.T
    expected = -np.sort(-scores, axis=1)[:, :asked]
    np.testing.assert_allclose(probes.nearest.scores[:, :asked], expected, atol=NOISE)
    positions = probes.nearest.positions[:, :asked]
    np.testing.assert_allclose(np.take_along_axis(scores, positions, axis=1), expected, atol=NOISE)
    assert all(len(set(row)) == asked for row in positions.tolist())
    np.testing.assert_array_equal(probes.products, vectors[probes.rows])
    assert probes.count == len(vectors)
    np.testing.assert_allclose(probes.centroid, vectors.mean(axis=0, dtype=np.float64), atol=100 * EPS)


@given(
    seed=st.integers(0, 2**31),
    count=st.integers(1, 400),
    nights=st.lists(st.tuples(st.floats(0, 0.6), st.integers(0, 100)), min_size=1, max_size=8),
)
@settings(max_examples=40, deadline=None)
def test_they_equal_an_exact_scan_every_night(seed: int, count: int, nights: list[tuple[float, int]]) -> None:
    vectors = unit_vectors(count, seed=seed)
    probes = scanned(vectors)
    require_exact(probes, vectors)
    for step, (share, new) in enumerate(nights, 1):
        after, old_positions = night(vectors, share, new, seed + step)
        kept = carried(probes, vectors, after, old_positions)
        sure = (kept.nearest.positions >= 0).sum(axis=1) >= min(ASKED, len(after))
        assert sorted(np.flatnonzero(~sure)) == sorted(kept.unsure)
        probes, vectors = kept.completed(parts(after)), after
        require_exact(probes, vectors)


def test_only_queries_that_lost_many_of_their_nearest_are_searched_anew() -> None:
    vectors = unit_vectors(400)
    probes = scanned(vectors)
    lost = np.setdiff1d(probes.nearest.positions[0, 1:60], probes.rows)
    old_positions = np.setdiff1d(np.arange(400), lost)
    kept = carried(probes, vectors, vectors[old_positions], old_positions)
    assert 0 in kept.unsure
    assert kept.unsure.size < len(kept.queries)
    require_exact(kept.completed(parts(vectors[old_positions])), vectors[old_positions])


def test_a_usual_night_needs_no_pass_over_all_vectors() -> None:
    vectors = unit_vectors(1000)
    after, old_positions = night(vectors, 0.05, 50, seed=1)
    kept = carried(scanned(vectors), vectors, after, old_positions)

    def refused() -> Iterator[np.ndarray]:
        raise AssertionError("all vectors are read")
        yield

    assert kept.completed(refused()) is kept
    require_exact(kept, after)


def test_products_without_their_vectors_are_no_queries_any_more_and_midpoints_stay() -> None:
    vectors = unit_vectors(100)
    probes = scanned(vectors)
    old_positions = np.arange(100)
    old_positions[probes.rows[:5]] = -1
    after = np.where((old_positions < 0)[:, None], unit_vectors(100, seed=1), vectors)
    kept = carried(probes, vectors, after, old_positions)
    assert kept.rows.tolist() == probes.rows[5:].tolist()
    assert len(kept.queries) == len(probes.queries) - 5
    assert kept.has_enough(WANTED)
    assert not kept.has_enough(2 * len(kept.rows) + 1)


def test_a_vector_that_is_not_finite_is_nobodys_nearest() -> None:
    vectors = unit_vectors(100)
    after = np.concatenate([vectors, np.full((1, vectors.shape[1]), np.nan, np.float32)])
    kept = carried(scanned(vectors), vectors, after, np.append(np.arange(100), -1))
    finite = (kept.nearest.scores[:, :ASKED] > 0.1).all(axis=1)
    assert finite.any()
    assert (kept.nearest.positions[finite, :ASKED] < 100).all()


def test_they_are_read_as_they_were_written(tmp_path: Path) -> None:
    probes = scanned(unit_vectors(50))
    probes.write(tmp_path)
    read = Probes.read(tmp_path / PROBES_FILE)
    assert read.count == probes.count
    for one, other in (
        (read.rows, probes.rows),
        (read.queries, probes.queries),
        (read.floors, probes.floors),
        (read.total, probes.total),
        (read.nearest.scores, probes.nearest.scores),
        (read.nearest.positions, probes.nearest.positions),
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("content", [b"", b"PK", b"\x93NUMPY", b"x" * 100])
def test_a_damaged_file_is_an_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / PROBES_FILE).write_bytes(content)
    with pytest.raises(InvalidData, match="damaged") as caught:
        Probes.read(tmp_path / PROBES_FILE)
    assert caught.value.file == tmp_path / PROBES_FILE


def test_a_file_that_was_cut_short_is_an_error(tmp_path: Path) -> None:
    scanned(unit_vectors(50)).write(tmp_path)
    content = (tmp_path / PROBES_FILE).read_bytes()
    for length in range(0, len(content), 997):
        (tmp_path / PROBES_FILE).write_bytes(content[:length])
        with pytest.raises(InvalidData, match="damaged"):
            Probes.read(tmp_path / PROBES_FILE)
    with pytest.raises(InvalidData, match="missing"):
        Probes.read(tmp_path / "none.npz")


@pytest.mark.parametrize("array", ["queries", "floors", "scores", "positions", "total"])
def test_arrays_that_do_not_belong_together_are_an_error(array: str, tmp_path: Path) -> None:
    scanned(unit_vectors(50)).write(tmp_path)
    with np.load(tmp_path / PROBES_FILE) as read:
        arrays = dict(read)
    wrong = arrays | {array: np.append(arrays[array].ravel(), 1)}
    np.savez(tmp_path / PROBES_FILE, **wrong)
    with pytest.raises(InvalidData, match="damaged"):
        Probes.read(tmp_path / PROBES_FILE)
