"""A refresh that fails a gate, or is given something wrong, leaves the live version as it was."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from indexer.refresh import writing
from indexer.refresh.gates import Gate
from indexer.refresh.settings import GateLimits, RefreshSettings
from indexer.refresh.shards import EncodingJob, Shard, encode_locally
from indexer.versions.live import live_number, version_numbers
from tests.indexer.refresh.shop import Shop
from ubm_embed.data.tasks.task import Task
from ubm_embed.errors import Conflict, InvalidData, NotFound, QualityGateFailed
from ubm_embed.inference.embedder import Embedder
from ubm_embed.progress import Progress


def test_a_catalogue_that_lacks_many_products_is_refused_before_encoding(shop: Shop) -> None:
    before = shop.answer()
    shop.set("p1", title="green running shoes")
    shop.drop("p3", "p4", "p5", "p6", "p7")
    lost = r"gate 'rows': the catalogue lacks 5 of the 8 products .* expected at most 0\.5; .*--allow rows"
    with pytest.raises(QualityGateFailed, match=lost):
        shop.refresh()
    assert shop.encoded == []
    assert shop.answer() == before
    assert not (shop.store / "staging").exists()


@pytest.mark.parametrize(
    ("limits", "gate"),
    [
        ({"max_lost": 0.2}, Gate.ROWS),
        ({"min_overlap": 1.0}, Gate.NEIGHBOURS),
        ({"max_shift": 0.0}, Gate.CENTROID),
        ({"max_uniformity": -50.0}, Gate.UNIFORMITY),
    ],
)
def test_a_failed_gate_keeps_the_live_version_until_it_is_allowed(
    shop: Shop, limits: dict[str, float], gate: Gate
) -> None:
    # Of only eight products, the ten nearest are all of them.
    rows = pl.concat([shop.products] * 4).with_row_index("row", offset=1)
    titles = pl.format("{} {}", "title", "row")
    shop.write(rows.with_columns(product_id=pl.format("p{}", "row"), title=titles).drop("row"))
    shop.refresh(allow=set(Gate))
    shop.set("p1", title="leather")
    shop.set("p2", title="socks of leather", category="belts")
    shop.drop(*(f"p{row}" for row in range(3, 12)))
    before, live = shop.answer(), (shop.store / "live.json").read_bytes()
    loose = {"max_lost": 0.5, "min_overlap": 0.0, "max_shift": 2.0}
    settings = RefreshSettings(gates=GateLimits(**loose | limits))
    with pytest.raises(QualityGateFailed, match=f"^gate '{gate}': .*--allow {gate}[^']*$"):
        shop.refresh(settings=settings)
    with pytest.raises(QualityGateFailed, match=f"gate '{gate}'"):
        shop.refresh(settings=settings, allow=set(Gate) - {gate})
    assert (shop.store / "live.json").read_bytes() == live
    assert shop.answer() == before
    assert version_numbers(shop.opened) == [1, 2]
    report = shop.refresh(settings=settings, allow={gate})
    assert report.published is not None
    assert not report.published.gates[gate]["passed"]
    assert all(other["passed"] for name, other in report.published.gates.items() if name != gate)
    assert live_number(shop.opened) == report.published.version == 3


def test_shards_encoded_before_a_failed_gate_are_kept(shop: Shop) -> None:
    shop.set("p1", title="leather")
    strict = RefreshSettings(gates=GateLimits(max_shift=0))
    with pytest.raises(QualityGateFailed, match="centroid"):
        shop.refresh(settings=strict)
    assert shop.encoded == ["p1"]
    report = shop.refresh(settings=strict, allow={Gate.CENTROID, Gate.NEIGHBOURS})
    assert (report.encoded, report.resumed, shop.encoded) == (1, 1, [])


@pytest.mark.parametrize("value", [np.nan, 0.0, 2.0])
def test_bad_vectors_are_refused_whatever_is_allowed(shop: Shop, monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    embed, before = Embedder.embed_products, shop.answer()
    monkeypatch.setattr(Embedder, "embed_products", lambda *args, **options: embed(*args, **options) * value)
    shop.set("p2", title="green running shoes")
    with pytest.raises(QualityGateFailed, match=r"gate 'vectors': 1 of 1 vectors .* that of product 'p2'"):
        shop.refresh(allow=set(Gate))
    monkeypatch.undo()
    assert shop.answer() == before
    assert shop.refresh().published is not None


@pytest.mark.parametrize("change", [{"title": "green running shoes"}, {"price": 99.0}])
def test_a_store_whose_copy_of_the_model_has_rotted_is_not_refreshed_with_it(
    shop: Shop, model_folder: Path, change: dict[str, Any]
) -> None:
    (weights,) = shop.store.glob("models/*/model.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 4
    weights.write_bytes(content)
    shop.set("p2", **change)
    with pytest.raises(Conflict, match=r"holds model .* damaged; give the model's own folder: .* --model DIR"):
        shop.refresh()
    assert (shop.encoded, live_number(shop.opened)) == ([], 1)
    assert shop.refresh(model=model_folder).published is not None
    assert shop.answer()["version"] == live_number(shop.opened)


def test_a_catalogue_with_a_mistake_changes_nothing(shop: Shop) -> None:
    before = shop.answer()
    shop.write(pl.concat([shop.products, shop.products.head(1)]))
    with pytest.raises(InvalidData, match="a unique id, got 'p1'"):
        shop.refresh()
    shop.write(shop.products.head(8).with_columns(row_hash=1))
    with pytest.raises(InvalidData, match="'row_hash'"):
        shop.refresh()
    assert shop.answer() == before


def test_a_catalogue_that_changes_while_it_is_read_is_refused(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    before, stage_shards = shop.answer(), writing.stage_shards

    def changed(*arguments: Any, **options: Any) -> Any:
        shop.set("p5", title="another again")
        return stage_shards(*arguments, **options)

    shop.set("p2", title="green running shoes")
    with monkeypatch.context() as patched:
        patched.setattr(writing, "stage_shards", changed)
        with pytest.raises(Conflict, match=r"products\.parquet changed while it was read"):
            shop.refresh()
    assert shop.answer() == before
    assert shop.refresh().encoded == 2


def test_a_version_made_live_meanwhile_stays_live(shop: Shop) -> None:
    """As by a rollback, which does not wait for the lock."""
    shop.set("p2", price=99.0)
    shop.refresh()

    def engine(job: EncodingJob, shards: list[Shard], progress: Progress) -> None:
        (shop.store / "live.json").write_text('{"version": 1, "history": []}\n')
        encode_locally(job, shards, progress)

    shop.set("p2", title="green running shoes")
    with pytest.raises(Conflict, match="nothing was published"):
        shop.refresh(engine=engine)
    assert live_number(shop.opened) == 1
    report = shop.refresh()
    # Version 2 shared the vectors of version 1, so what was encoded then serves now.
    assert (report.base, report.encoded, report.resumed) == (1, 1, 1)
    assert report.published is not None
    assert report.published.version == live_number(shop.opened) > 3


def test_a_missing_input_is_named_and_changes_nothing(shop: Shop, tmp_path: Path) -> None:
    before = shop.files()
    with pytest.raises(NotFound, match="no such file"):
        shop.refresh(products=tmp_path / "none.csv")
    with pytest.raises(NotFound):
        shop.refresh(model=tmp_path / "none")
    with pytest.raises(NotFound, match="build-index"):
        shop.refresh(store=tmp_path / "none")
    assert not (tmp_path / "none").exists()
    assert {file: data for file, data in shop.files().items() if file.name != ".lock"} == {
        file: data for file, data in before.items() if file.name != ".lock"
    }


def test_a_model_for_another_task_is_refused(shop: Shop, task_folders: dict[Task, Path]) -> None:
    with pytest.raises(InvalidData, match="fine-tuned for pip, not for nip"):
        shop.refresh(model=task_folders[Task.PIP])
    assert live_number(shop.opened) == 1
