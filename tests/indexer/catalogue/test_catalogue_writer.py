"""The files of products that are written in parts."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa

from indexer.catalogue.catalogue_writer import write_catalogue
from indexer.catalogue.mapped_catalogue import MappedCatalogue


def test_hashes_and_popularity_stand_beside_the_products_in_their_order(tmp_path: Path) -> None:
    """Some rows at a time, and a null as 0."""
    rows = pa.table(
        {
            "product_id": ["b", "a", "c"],
            "popularity": pa.array([3, None, 5], pa.int64()),
            "text_hash": pa.array([b"t" * 16, b"u" * 16, None], pa.binary()),
            "row_hash": pa.array([7, 2**64 - 1, None], pa.uint64()),
        }
    )
    assert write_catalogue(tmp_path, rows.schema, rows.to_batches(max_chunksize=2)) == 3
    assert np.load(tmp_path / "popularity.npy").tolist() == [3, 0, 5]
    assert np.load(tmp_path / "row_hashes.npy").tolist() == [7, 2**64 - 1, 0]
    assert np.load(tmp_path / "text_hashes.npy").tolist() == [b"t" * 16, b"u" * 16, bytes(16)]
    with closing(MappedCatalogue.open(tmp_path, 3)) as catalogue:
        assert list(catalogue.columns) == ["product_id", "popularity"]


def test_a_table_without_hashes_has_no_files_of_them(tmp_path: Path) -> None:
    rows = pa.table({"product_id": ["b", "a"]})
    write_catalogue(tmp_path, rows.schema, rows.to_batches())
    names = {file.name for file in tmp_path.iterdir()}
    assert names == {"products.arrow", "id_hashes.npy", "id_positions.npy", "popular.npy"}
