"""Amazon-M2: what the sample of `named/` does not show."""

from pathlib import Path

import pytest

from tests.ubm_embed.data.logs.reading import collect
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.logs.amazon_m2 import amazon_m2_events
from ubm_embed.data.logs.ingestion import ingest
from ubm_embed.errors import InvalidData

PRODUCTS = """id,locale,title,price,brand,color,size,model,material,author,desc
B1,DE,Shoe,9.5,Acme,,,,,,
B2,DE,Hat,,,,,,,,
"""


def test_products_beside_the_sessions_are_read_as_a_catalogue(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "sessions_train.csv").write_text("prev_items,next_item,locale\n\"['B1' 'B2']\",B1,DE\n")
    (tmp_path / "log" / "products_train.csv").write_text(PRODUCTS)
    report = ingest([tmp_path / "log"], kind="amazon_m2", out=tmp_path / "out")
    assert (report.interactions, report.dropped) == (3, {})
    assert list(report.rows) == [str(tmp_path / "log" / "sessions_train.csv")]
    assert Corpus.open(tmp_path / "out").products["title"].to_list() == ["Shoe", "Hat"]


def test_products_alone_are_no_sessions(tmp_path: Path) -> None:
    (tmp_path / "products_train.csv").write_text(PRODUCTS)
    with pytest.raises(InvalidData, match="no file with events"):
        collect(tmp_path, "amazon_m2")


def test_other_columns_are_named(tmp_path: Path) -> None:
    (tmp_path / "sessions.csv").write_text("items,locale\nx,DE\n")
    with pytest.raises(InvalidData, match=r"prev_items.*missing column.*found items, locale$"):
        amazon_m2_events(tmp_path / "sessions.csv")
