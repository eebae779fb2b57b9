"""An interrupted refresh resumes: encoded shards are used again if, and only if, their contents are the same."""

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from indexer.refresh.settings import RefreshSettings
from indexer.refresh.shards import EncodingJob, Shard, encode_locally
from tests.indexer.refresh.shop import Shop
from ubm_embed.progress import Progress


def failing_at(shard: int) -> Callable[[EncodingJob, list[Shard], Progress], None]:
    """An engine that stops before the shard of this number, counted from 1."""

    def engine(job: EncodingJob, shards: list[Shard], progress: Progress) -> None:
        encode_locally(job, shards[: shard - 1], progress)
        raise OSError("power cut")

    return engine


def test_an_interrupted_refresh_resumes_at_the_shard_where_it_stopped(
    shop: Shop, other_model_folder: Path, tmp_path: Path
) -> None:
    settings, before = RefreshSettings(shard_rows=2, gates=shop.LOOSE), shop.answer()
    with pytest.raises(OSError, match="power cut"):
        shop.refresh(model=other_model_folder, settings=settings, engine=failing_at(3))
    assert shop.encoded == ["p1", "p2", "p3", "p4"]
    assert shop.answer() == before
    report = shop.refresh(model=other_model_folder, settings=settings)
    assert shop.encoded == ["p5", "p6", "p7", "p8"]
    assert (report.encoded, report.resumed) == (8, 4)
    assert not (shop.store / "staging").exists()
    shop.require_as_built(other_model_folder, tmp_path)


def test_a_resumed_refresh_has_the_catalogue_as_it_is_now(shop: Shop, other_model_folder: Path, tmp_path: Path) -> None:
    settings = RefreshSettings(shard_rows=2, gates=shop.LOOSE)
    with pytest.raises(OSError, match="power cut"):
        shop.refresh(model=other_model_folder, settings=settings, engine=failing_at(4))
    shop.set("p1", title="green running shoes")
    shop.set("p4", price=99.0)
    report = shop.refresh(model=other_model_folder, settings=settings)
    assert shop.encoded == ["p1", "p2", "p3", "p4", "p7", "p8"]
    assert (report.encoded, report.resumed) == (8, 2)
    shop.require_as_built(other_model_folder, tmp_path)


def test_shards_of_one_model_are_not_taken_for_another_models(
    shop: Shop, other_model_folder: Path, model_folder: Path, tmp_path: Path
) -> None:
    settings = RefreshSettings(shard_rows=2, gates=shop.LOOSE)
    with pytest.raises(OSError, match="power cut"):
        shop.refresh(model=other_model_folder, settings=settings, engine=failing_at(3))
    shop.set("p2", title="green running shoes")
    report = shop.refresh(settings=settings)
    assert (shop.encoded, report.resumed) == (["p2"], 0)
    shop.require_as_built(model_folder, tmp_path)


def test_a_shard_whose_rows_are_lost_is_encoded_again(shop: Shop) -> None:
    settings = RefreshSettings(shard_rows=2, gates=shop.LOOSE)
    shop.write(shop.products.with_columns(title=pl.col("title") + " new"))
    with pytest.raises(OSError, match="power cut"):
        shop.refresh(settings=settings, engine=failing_at(4))
    record = next(iter(sorted((shop.store / "staging").rglob("*.json"))))
    (fragment,) = json.loads(record.read_text())["fragments"]
    (data,) = json.loads(fragment)["files"]
    (shop.store / "products.lance" / "data" / data["path"]).unlink()
    assert shop.refresh(settings=settings).resumed == 4
    assert len(shop.encoded) == 4


def test_another_models_shards_outlive_a_nightly_refresh(shop: Shop, other_model_folder: Path) -> None:
    settings = RefreshSettings(shard_rows=2, gates=shop.LOOSE)
    with pytest.raises(OSError, match="power cut"):
        shop.refresh(settings=settings, model=other_model_folder, engine=failing_at(3))
    assert shop.refresh(settings=settings).published is None  # the night job, of the model that is live
    assert shop.refresh(settings=settings, model=other_model_folder).resumed == 4
