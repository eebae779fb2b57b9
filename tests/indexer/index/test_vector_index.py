"""The index against a plain numpy search, and against damaged files."""

import errno
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from indexer.index.backend import NOISE
from indexer.index.faiss_factory import load_faiss
from indexer.index.vector_index import VectorIndex
from tests.indexer.index.toy_vectors import EPS, unit_vectors
from ubm_embed.errors import InvalidData, NotFound


def exact(vectors: np.ndarray, query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores and positions of the best k, ties by position, the slow obvious way."""
    scores = np.array([np.dot(vector, query) for vector in vectors.astype(np.float64)], np.float32)
    order = sorted(range(len(vectors)), key=lambda row: (-scores[row], row))[:k]
    return scores[order], np.array(order)


@pytest.mark.parametrize(("products", "queries", "k"), [(1, 1, 1), (7, 3, 7), (500, 1, 10), (500, 64, 10)])
def test_finds_what_a_plain_search_finds(products: int, queries: int, k: int) -> None:
    vectors, some = unit_vectors(products), unit_vectors(queries, seed=1)
    nearest = VectorIndex.build([vectors]).search(some, k)
    for row, query in enumerate(some):
        scores, positions = exact(vectors, query, k)
        assert nearest.positions[row].tolist() == positions.tolist()
        np.testing.assert_allclose(nearest.scores[row], scores, atol=16 * EPS)  # a sum of 16 products


@pytest.mark.parametrize("queries", [1, 64])
@pytest.mark.parametrize("copies", [3, 200])
def test_equal_vectors_score_the_same_and_are_ordered_by_position(copies: int, queries: int) -> None:
    vectors = np.tile(unit_vectors(20), (copies, 1))
    query = unit_vectors(1, seed=2)
    best = int(np.argmax(vectors[:20] @ query[0]))
    nearest = VectorIndex.build([vectors]).search(np.tile(query, (queries, 1)), min(copies, 50))
    for scores, positions in zip(*nearest, strict=True):
        assert positions.tolist() == [best + 20 * copy for copy in range(min(copies, 50))]
        assert len(set(scores.tolist())) == 1


def test_thousands_of_equal_vectors_score_the_same() -> None:
    vectors = np.repeat(unit_vectors(1, width=256), 5001, axis=0)
    nearest = VectorIndex.build([vectors]).search(unit_vectors(1, width=256, seed=1), 5001)
    assert len(set(nearest.scores[0].tolist())) == 1
    assert nearest.positions[0].tolist() == list(range(5001))


@pytest.mark.parametrize("queries", [1, 64])
def test_of_a_tie_at_the_k_th_place_the_first_are_kept(queries: int) -> None:
    # Better ones come after the ties: faiss drops the first of the ties for them.
    query, tied = unit_vectors(1, seed=1), unit_vectors(1)
    better = query + 0.1 * unit_vectors(5, seed=2)
    vectors = np.concatenate([np.repeat(tied, 30, axis=0), better / np.linalg.norm(better, axis=1, keepdims=True)])
    for positions in VectorIndex.build([vectors]).search(np.repeat(query, queries, axis=0), 10).positions:
        assert positions[5:].tolist() == [0, 1, 2, 3, 4]


def test_a_query_gets_the_same_answer_alone_and_in_a_batch() -> None:
    vectors, queries = unit_vectors(3000), unit_vectors(100, seed=1)
    index = VectorIndex.build([vectors])
    together = index.search(queries, 10)
    for row in range(len(queries)):
        alone = index.search(queries[row : row + 1], 10)
        assert alone.positions[0].tolist() == together.positions[row].tolist()
        np.testing.assert_allclose(alone.scores[0], together.scores[row], atol=NOISE)


def test_k_beyond_the_catalogue_is_cut() -> None:
    nearest = VectorIndex.build([unit_vectors(3)]).search(unit_vectors(2, seed=1), 10)
    assert nearest.scores.shape == nearest.positions.shape == (2, 3)
    assert sorted(nearest.positions[0]) == [0, 1, 2]


def test_more_candidates_than_are_scored_at_once() -> None:
    vectors = unit_vectors(5000, width=4)
    nearest = VectorIndex.build([vectors]).search(vectors[:1], 5000)
    assert nearest.positions[0].tolist() == exact(vectors, vectors[0], 5000)[1].tolist()


def test_no_queries_get_no_matches() -> None:
    assert VectorIndex.build([unit_vectors(3)]).search(np.empty((0, 16), np.float32), 2).positions.shape == (0, 2)


@pytest.mark.parametrize(
    ("queries", "k", "problem"),
    [
        (unit_vectors(1), 0, "k must be at least 1"),
        (unit_vectors(1, width=8), 1, r"expected queries \[B, 16\]"),
        (unit_vectors(1)[0], 1, r"expected queries \[B, 16\]"),
        (np.full((1, 16), np.nan, np.float32), 1, "not finite"),
    ],
)
def test_an_impossible_search_is_refused(queries: np.ndarray, k: int, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        VectorIndex.build([unit_vectors(3)]).search(queries, k)


@pytest.mark.parametrize("parts", [[], [unit_vectors(0)], [unit_vectors(0), unit_vectors(0)]])
def test_an_empty_catalogue_is_refused(parts: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match="at least one vector"):
        VectorIndex.build(parts)


def test_vectors_in_parts_keep_their_order() -> None:
    vectors = unit_vectors(50)
    index = VectorIndex.build(iter([vectors[:7], vectors[7:7], vectors[7:49], vectors[49:]]))
    assert (index.vectors(np.arange(50)) == vectors).all()


@pytest.mark.parametrize("expected", [0, 1, 49, 50, 51, 1000])
def test_a_wrong_guess_at_their_number_does_no_harm(tmp_path: Path, expected: int) -> None:
    vectors = unit_vectors(50)
    index = VectorIndex.build([vectors[:20], vectors[20:]], expected=expected)
    assert len(index) == 50
    assert (index.vectors(np.arange(50)) == vectors).all()
    index.save(tmp_path / "guessed")
    VectorIndex.build([vectors]).save(tmp_path / "plain")
    assert (tmp_path / "guessed").read_bytes() == (tmp_path / "plain").read_bytes()


def test_building_leaves_the_callers_vectors_alone() -> None:
    vectors = unit_vectors(5)
    before = vectors.copy()
    VectorIndex.build([vectors]).search(vectors, 2)
    assert (vectors == before).all()


def test_a_saved_index_answers_as_before(tmp_path: Path) -> None:
    index = VectorIndex.build([unit_vectors(50)])
    index.save(tmp_path / "index")
    loaded = VectorIndex.load(tmp_path / "index")
    assert (len(loaded), loaded.dimension) == (50, 16)
    assert (loaded.vectors(np.array([3, 1])) == unit_vectors(50)[[3, 1]]).all()
    queries = unit_vectors(4, seed=1)
    assert (loaded.search(queries, 5).positions == index.search(queries, 5).positions).all()


@pytest.mark.parametrize("length", [0, 3, 40, -1])
def test_a_truncated_file_is_named(tmp_path: Path, length: int) -> None:
    file = tmp_path / "index"
    VectorIndex.build([unit_vectors(50)]).save(file)
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(InvalidData, match=f"{file}: truncated or damaged"):
        VectorIndex.load(file)


def test_a_header_that_asks_for_all_memory_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "index"
    VectorIndex.build([unit_vectors(50)]).save(file)
    header = bytearray(file.read_bytes())
    header[8:16] = b"\xff" * 7 + b"\x00"  # the number of vectors
    file.write_bytes(header)
    with pytest.raises(InvalidData, match="damaged"):
        VectorIndex.load(file)


def test_an_index_by_distance_is_refused(tmp_path: Path) -> None:
    faiss = load_faiss()
    faiss.write_index(faiss.IndexFlatL2(4), str(tmp_path / "index"))
    with pytest.raises(InvalidData, match="found IndexFlatL2"):
        VectorIndex.load(tmp_path / "index")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="index: missing"):
        VectorIndex.load(tmp_path / "index")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_reported_as_one() -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        VectorIndex.build([unit_vectors(50_000)]).save("/dev/full")
    assert caught.value.errno == errno.ENOSPC


def test_without_faiss_the_error_names_the_line_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(NotFound, match=r"pip install 'ubm-embed\[cpu\]'"):
        VectorIndex.build([unit_vectors(3)])


@pytest.mark.parametrize("order", ["import faiss, torch", "import torch, faiss"])
def test_faiss_and_torch_live_together_in_either_order(order: str) -> None:
    work = (
        "import numpy as np; x = np.eye(64, dtype=np.float32); index = faiss.IndexFlatIP(64); index.add(x);"
        "layer = torch.nn.Linear(64, 64);"
        "found = [(layer(torch.from_numpy(x)).sum().item(), index.search(x, 1)[1]) for _ in range(3)][-1][1];"
        "assert (found[:, 0] == np.arange(64)).all()"
    )
    ran = subprocess.run([sys.executable, "-c", f"{order}; {work}"], capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stderr) == (0, "")
