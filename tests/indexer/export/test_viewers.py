"""What Embedding Atlas and TensorBoard's projector read is what the store has."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from werkzeug.test import Client

from indexer.export import embedding_atlas, projector, viewers
from indexer.export.formats import ExportFormat
from indexer.export.viewers import ViewerExport, export_to_viewer
from indexer.store.embedding_store import EmbeddingStore
from indexer.updates.updater import Updater
from ubm_embed.errors import Conflict, InvalidData, NotFound

ATLAS, PROJECTOR = ExportFormat.EMBEDDING_ATLAS, ExportFormat.PROJECTOR


@pytest.fixture
def stored(store: Path) -> pl.DataFrame:
    """The rows of the store's version, and their vectors."""
    table = EmbeddingStore.open(store).table
    return pl.concat([table.read(1), table.read(1, ["vector"])], how="horizontal")


def atlas(store: Path, folder: Path, sample: int | None = None) -> pd.DataFrame:
    """The export as Embedding Atlas reads it: by pandas."""
    export_to_viewer(store, folder / "atlas.parquet", ATLAS, sample=sample, overwrite=True)
    return pd.read_parquet(folder / "atlas.parquet")


class TestEmbeddingAtlas:
    def test_columns_are_those_of_the_shop_and_those_that_its_options_name(self, store: Path, tmp_path: Path) -> None:
        exported = export_to_viewer(store, tmp_path / "a b.parquet", ATLAS)
        names = list(pd.read_parquet(tmp_path / "a b.parquet"))
        added = ["text", "projection_x", "projection_y", "neighbors", "vector"]
        assert names == ["product_id", "title", "category", "price", "popularity", *added]
        options = "--text text --x projection_x --y projection_y --neighbors neighbors"
        assert exported.command == f"embedding-atlas '{tmp_path}/a b.parquet' {options}"

    def test_rows_are_those_of_the_store(self, store: Path, tmp_path: Path, stored: pl.DataFrame) -> None:
        frame = atlas(store, tmp_path)
        assert frame["product_id"].to_list() == stored["product_id"].to_list()
        assert frame["popularity"].to_list() == stored["popularity"].to_list()
        assert (np.stack(frame["vector"].to_list()) == stored["vector"].to_numpy()).all()

    def test_a_text_is_what_the_model_reads(self) -> None:
        rows = pl.DataFrame(
            {
                "title": ["shirt", "", "hat"],
                "category": ["men", None, None],
                "attributes": [[{"name": "colour", "value": "red"}, {"name": "size", "value": "L"}], [], []],
            }
        )
        assert embedding_atlas.product_texts(rows).to_list() == ["shirt\nmen\ncolour: red\nsize: L", "", "hat"]

    def test_neighbours_are_rows_of_the_file_nearest_first(self, store: Path, tmp_path: Path) -> None:
        frame = atlas(store, tmp_path, sample=6)
        vectors = np.stack(frame["vector"].to_list()).astype(np.float64)
        for row, neighbours in enumerate(frame["neighbors"]):
            assert sorted(neighbours["ids"]) == [other for other in range(6) if other != row]
            distances = 1 - vectors[neighbours["ids"]] @ vectors[row]
            assert neighbours["distances"] == pytest.approx(distances, abs=1e-6)
            assert (np.diff(neighbours["distances"]) >= 0).all()

    def test_the_map_keeps_distances_within_its_plane(self, store: Path, tmp_path: Path) -> None:
        frame = atlas(store, tmp_path)
        vectors = np.stack(frame["vector"].to_list()).astype(np.float64)
        left, sizes, _ = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
        plane = np.abs(left[:, :2] * sizes[:2])
        found = frame[["projection_x", "projection_y"]].abs().to_numpy()
        assert found == pytest.approx(plane, abs=1e-5)

    def test_a_column_of_the_shop_keeps_its_name(self, tmp_path: Path) -> None:
        columns = embedding_atlas.AtlasColumns(pa.schema({"text": pa.string()}), 2, with_neighbours=False)
        assert columns.schema.names == ["text", "text_1", "projection_x", "projection_y", "vector"]
        assert columns.command(tmp_path).endswith("--text text_1 --x projection_x --y projection_y")

    def test_many_products_come_without_neighbours(
        self, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in (embedding_atlas, viewers):
            monkeypatch.setattr(module, "MAX_NEIGHBOUR_ROWS", 5)
        exported = export_to_viewer(store, tmp_path / "atlas.parquet", ATLAS)
        assert "without their neighbours" in exported.notes[-1]
        assert "--neighbors" not in exported.command
        frame = pd.read_parquet(tmp_path / "atlas.parquet")
        assert (len(frame), "neighbors" in frame) == (8, False)


class Plugin:
    """TensorBoard's projector, as its page asks it."""

    def __init__(self, folder: Path) -> None:
        from tensorboard.plugins.projector.projector_plugin import ProjectorPlugin

        runs = SimpleNamespace(list_runs=lambda *_, **__: [])
        apps = ProjectorPlugin(SimpleNamespace(data_provider=runs, logdir=str(folder))).get_plugin_apps()
        self.clients = {route: Client(app) for route, app in apps.items()}

    def get(self, route: str, **query: str) -> bytes:
        answer = self.clients[route].get(route, query_string={"run": ".", **query})
        assert answer.status_code == 200
        return answer.data

    def embedding(self) -> dict[str, object]:
        (found,) = json.loads(self.get("/info"))["embeddings"]
        return dict(found)


class TestProjector:
    def test_the_plugin_shows_the_vectors_and_their_labels(
        self, store: Path, tmp_path: Path, stored: pl.DataFrame
    ) -> None:
        exported = export_to_viewer(store, tmp_path / "out", PROJECTOR)
        assert exported.command == f"tensorboard --logdir {tmp_path}/out"
        plugin = Plugin(tmp_path / "out")
        assert plugin.embedding()["tensorShape"] == [8, 16]
        vectors = np.frombuffer(plugin.get("/tensor", name="version 1"), np.float32).reshape(8, 16)
        assert vectors == pytest.approx(stored["vector"].to_numpy(), abs=1e-7)
        labels = pl.read_csv(plugin.get("/metadata", name="version 1"), separator="\t", quote_char=None)
        assert labels.columns == ["title", "product_id", "category", "popularity", "price"]
        shown = ["title", "product_id", "popularity"]
        assert labels.select(shown).rows() == stored.select(shown).rows()

    def test_a_label_takes_one_line_and_one_column(self) -> None:
        rows = pl.DataFrame({"title": ['a\tb\r\n"c"', "d\u2028e", None], "product_id": ["p1", "p2", "p3"]})
        out = io.BytesIO()
        projector.write_labels(rows, out)
        assert out.getvalue().decode() == 'a b "c"\tp1\nd e\tp2\n\tp3\n'

    def test_more_than_it_shows_is_refused(self, store: Path, tmp_path: Path) -> None:
        with pytest.raises(InvalidData, match="at most 100,000"):
            export_to_viewer(store, tmp_path / "out", PROJECTOR, sample=100_001)
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("to", [ATLAS, PROJECTOR])
class TestBoth:
    def test_a_sample_is_drawn_by_its_seed(self, store: Path, tmp_path: Path, to: ExportFormat) -> None:
        def export(seed: int) -> tuple[ViewerExport, bytes]:
            out = tmp_path / f"out{len(list(tmp_path.iterdir()))}"
            exported = export_to_viewer(store, out, to, sample=3, seed=seed)
            return exported, out.read_bytes() if out.is_file() else (out / projector.METADATA_TSV).read_bytes()

        first, again, other = export(0), export(0), export(1)
        assert first[0].products == 3
        assert first[1] == again[1] != other[1]

    def test_an_existing_output_is_kept_unless_it_may_be_overwritten(
        self, store: Path, tmp_path: Path, to: ExportFormat
    ) -> None:
        out = tmp_path / "out"
        export_to_viewer(store, out, to)
        with pytest.raises(Conflict, match="--overwrite"):
            export_to_viewer(store, out, to)
        export_to_viewer(store, out, to, overwrite=True)

    def test_an_unknown_version_is_not_found(self, store: Path, tmp_path: Path, to: ExportFormat) -> None:
        with pytest.raises(NotFound, match="no version 7"):
            export_to_viewer(store, tmp_path / "out", to, version=7)
        assert not (tmp_path / "out").exists()

    def test_an_empty_sample_is_refused(self, store: Path, tmp_path: Path, to: ExportFormat) -> None:
        with pytest.raises(InvalidData, match="expected at least 1"):
            export_to_viewer(store, tmp_path / "out", to, sample=0)

    def test_what_was_upserted_and_deleted_since_is_exported_as_well(
        self, store: Path, tmp_path: Path, to: ExportFormat
    ) -> None:
        with Updater(store) as updater:
            updater.upsert([{"product_id": "p9", "title": "green hat"}, {"product_id": "p4", "price": 99.0}])
            updater.delete(["p8"])
        exported = export_to_viewer(store, tmp_path / "out", to)
        assert (exported.label, exported.products, exported.of) == ("1.2", 8, 8)
        if to is ATLAS:
            rows = pl.read_parquet(tmp_path / "out")
        else:
            rows = pl.read_csv(tmp_path / "out" / projector.METADATA_TSV, separator="\t", quote_char=None)
        assert rows["product_id"].to_list() == ["p1", "p2", "p3", "p4", "p5", "p6", "p7", "p9"]
        assert rows.filter(pl.col("product_id").is_in(["p4", "p9"]))["price"].to_list() == [99.0, None]
        assert rows["popularity"].to_list()[-1] == 0
        assert export_to_viewer(store, tmp_path / "few", to, sample=3).of == 8

    def test_a_single_product_is_exported(self, store: Path, tmp_path: Path, to: ExportFormat) -> None:
        assert export_to_viewer(store, tmp_path / "out", to, sample=1).products == 1


def test_other_formats_are_refused(store: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not for a viewer"):
        export_to_viewer(store, tmp_path / "out", ExportFormat.NPY)
