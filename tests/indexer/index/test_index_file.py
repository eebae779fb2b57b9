"""A saved index is mapped: the same answers, nothing read beforehand, and a refusal of whatever was cut or damaged."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from indexer.index import index_file
from indexer.index.faiss_backend import FaissBackend
from indexer.index.faiss_factory import load_faiss
from indexer.index.kinds import kind_from_name
from indexer.index.vector_index import VectorIndex
from tests.indexer.index.toy_vectors import unit_vectors
from ubm_embed.errors import InvalidData

COUNT, WIDTH = 400, 4
VECTORS, QUERIES = unit_vectors(COUNT, WIDTH), unit_vectors(5, WIDTH, seed=1)
EVERYWHERE = np.arange(COUNT)
LISTS = ["ivf-fp16", "ivf-sq8"]
KINDS = ["flat", "fp16", *LISTS, "ivf-pq", "hnsw", "IVF8,Flat", "PCA2,IVF8,SQ8"]

# In a process of its own: what must not happen is that it ends by a signal.
CUT_SHORT = """
import sys
from pathlib import Path
from indexer.index.kinds import IndexSpec
from indexer.index.vector_index import VectorIndex
from ubm_embed.errors import InvalidData

file, kind, factory = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
spec = IndexSpec.from_manifest(kind, {"factory": factory, "nprobe": 1, "efSearch": 1})
whole, refused = file.read_bytes(), 0
lengths = {*range(150), *range(0, len(whole), len(whole) // 150), *range(len(whole) - 60, len(whole))}
lengths -= {len(whole) - 40}  # without the footer alone it is a file of older software, where there is no map
for length in lengths:
    file.write_bytes(whole[:length])
    try:
        VectorIndex.load(file, spec)
    except InvalidData:
        refused += 1
print(len(lengths) - refused)
"""


def saved(kind: str, folder: Path) -> tuple[VectorIndex, Path]:
    index = VectorIndex.build([VECTORS], kind=kind_from_name(kind), expected=COUNT)
    index.save(folder / "index")
    return index, folder / "index"


def faiss_bytes(index: VectorIndex) -> bytes:
    """The index as FAISS alone writes it."""
    assert isinstance(index.backend, FaissBackend)
    return load_faiss().serialize_index(index.backend._index).tobytes()


def answers(index: VectorIndex) -> list[bytes]:
    nearest = index.search(QUERIES, 10)
    return [nearest.positions.tobytes(), nearest.scores.tobytes(), index.vectors(EVERYWHERE).tobytes()]


@pytest.mark.parametrize("kind", KINDS)
def test_a_mapped_index_answers_as_the_one_that_was_built(kind: str, tmp_path: Path) -> None:
    index, file = saved(kind, tmp_path)
    assert answers(VectorIndex.load(file, index.spec)) == answers(index), "also after it was saved"


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_older_software_is_read(kind: str, tmp_path: Path) -> None:
    index, file = saved(kind, tmp_path)
    file.write_bytes(faiss_bytes(index))
    loaded = VectorIndex.load(file, index.spec)
    assert answers(loaded) == answers(index)
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == saved(kind, tmp_path)[1].read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_a_mapped_index_is_saved_as_it_was(kind: str, tmp_path: Path) -> None:
    index, file = saved(kind, tmp_path)
    VectorIndex.load(file, index.spec).save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == file.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_faiss_reads_the_file_as_its_own(kind: str, tmp_path: Path) -> None:
    file = saved(kind, tmp_path)[1]
    scores, positions = load_faiss().read_index(str(file)).search(QUERIES, 1)
    found = positions[:, 0] >= 0
    np.testing.assert_allclose(scores[found, 0], np.vecdot(VECTORS[positions[found, 0]], QUERIES[found]), atol=0.5)
    assert found.any()


@pytest.mark.parametrize("kind", LISTS)
def test_where_vectors_are_is_not_read_beforehand(kind: str, tmp_path: Path) -> None:
    index, file = saved(kind, tmp_path)
    backend = VectorIndex.load(file, index.spec).backend
    assert isinstance(backend, FaissBackend)
    assert backend._index.direct_map.array.size() == 0


@pytest.mark.parametrize("kind", ["flat", *LISTS, "ivf-pq", "hnsw"])
def test_a_file_of_any_shorter_length_is_refused(kind: str, tmp_path: Path) -> None:
    index, file = saved(kind, tmp_path)
    command = [sys.executable, "-c", CUT_SHORT, str(file), index.kind, index.spec.factory]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stdout.strip()) == (0, "0"), ran.stderr


@pytest.mark.parametrize("kind", LISTS)
def test_lists_without_their_map_are_refused(kind: str, tmp_path: Path) -> None:
    index, file = saved(kind, tmp_path)
    tail = 8 * (index.spec.nlist + COUNT) + 40
    file.write_bytes(file.read_bytes()[:-tail])
    with pytest.raises(InvalidData, match="truncated or damaged"):
        VectorIndex.load(file, index.spec)


@pytest.mark.parametrize("place", ["first", "map", "starts", "after"])
def test_a_damaged_file_is_refused(place: str, tmp_path: Path) -> None:
    index, file = saved("ivf-fp16", tmp_path)
    data = bytearray(file.read_bytes())
    tail = len(data) - 40 - 8 * (index.spec.nlist + COUNT)
    if place == "after":
        data += b"x"
    else:
        # The last byte of a number of eight: far away from where it was.
        data[{"first": 10, "starts": tail + 7, "map": len(data) - 41}[place]] ^= 0x7F
    file.write_bytes(data)
    with pytest.raises(InvalidData, match="damaged"):
        VectorIndex.load(file, index.spec).vectors(EVERYWHERE)


@pytest.mark.parametrize("kind", ["ivf-fp16", "ivf-pq", "IVF8,Flat"])
def test_ids_that_are_damaged_beyond_what_is_checked_at_opening_are_noticed_when_they_are_found(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_file, "_CHECKED_BYTES", 64)
    index, file = saved(kind, tmp_path)
    data = bytearray(file.read_bytes())
    # One that is not in the sample, made far too large by its last byte.
    where = data.index(np.int64(COUNT // 2 + 1).tobytes())
    data[where + 7] ^= 0x7F
    file.write_bytes(data)
    loaded = VectorIndex.load(file, index.spec)
    with pytest.raises(InvalidData, match=f"{file}: damaged: .*ubm-embed doctor"):
        loaded.search(VECTORS, 10)
    if kind == "ivf-fp16":
        with pytest.raises(InvalidData, match=f"{file}: damaged: .*ubm-embed doctor"):
            [*loaded.search_all(VECTORS[0])]


@pytest.mark.parametrize("kind", ["flat", "ivf-fp16", "hnsw"])
def test_a_file_that_is_cut_short_in_use_is_noticed_at_the_next_request(kind: str, tmp_path: Path) -> None:
    index, file = saved(kind, tmp_path)
    loaded = VectorIndex.load(file, index.spec)
    os.truncate(file, 100)
    requests = [
        lambda: loaded.search(QUERIES, 3),
        lambda: loaded.vectors(EVERYWHERE),
        lambda: loaded.search_all(QUERIES[0]),
    ]
    for request in requests:
        with pytest.raises(InvalidData, match=f"{file}: was cut short"):
            request()


def test_a_file_that_is_replaced_or_removed_in_use_stays_as_it_was(tmp_path: Path) -> None:
    index, file = saved("ivf-fp16", tmp_path)
    loaded, before = VectorIndex.load(file, index.spec), answers(index)
    (tmp_path / "other").write_bytes(b"something else")
    (tmp_path / "other").rename(file)
    assert answers(loaded) == before
    file.unlink()
    assert answers(loaded) == before


@pytest.mark.parametrize("kind", ["ivf-fp16", "hnsw"])
def test_nothing_is_kept_for_each_k(kind: str, tmp_path: Path) -> None:
    def parameters() -> int:
        return sum(type(one).__name__.startswith("SearchParameters") for one in gc.get_objects())

    index, before = saved(kind, tmp_path)[0], parameters()
    for k in range(1, COUNT):
        index.search(QUERIES[:1], k)
    assert parameters() - before <= 20
