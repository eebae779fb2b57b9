"""A store's version as older software wrote it."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq

from indexer.catalogue.mapped_catalogue import CATALOGUE_FILES, MappedCatalogue
from indexer.catalogue.version_catalogue import IDS_FILE
from indexer.versions.version import digests


def as_layout_1(store: Path, **fields: int) -> Path:
    """The store's version as older software wrote it: with the ids alone."""
    folder = store / "versions" / "1"
    manifest = json.loads((folder / "manifest.json").read_text()) | fields
    ids = MappedCatalogue.open(folder, manifest["products"]).table(["product_id"])
    for name in CATALOGUE_FILES:
        (folder / name).unlink()
    pq.write_table(ids, folder / IDS_FILE)
    del manifest["layout"]
    files = {name: digest.model_dump() for name, digest in digests(folder).items()}
    (folder / "manifest.json").write_text(json.dumps(manifest | {"files": files}))
    return folder
