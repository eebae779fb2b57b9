"""Products that are added or changed: what is given replaces what is there, and only new texts are encoded."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexer.refresh.refresh import refresh
from indexer.updates.limits import UpdateLimits
from indexer.updates.updater import Updater
from tests.indexer.catalogue.older_version import as_layout_1
from tests.indexer.refresh.shop import VECTOR_ATOL
from tests.indexer.updates.live_products import live_of, live_products, live_vectors, segments_of
from ubm_embed.data.mappings.mapping import Mapping
from ubm_embed.data.products import PRODUCT_SCHEMA
from ubm_embed.errors import Conflict, InvalidData, NotFound, QualityGateFailed
from ubm_embed.inference.embedder import Embedder


def require_vectors(store: Path, embedder: Embedder) -> None:
    """Every product has the vector of its text."""
    rows, vectors = live_products(store), live_vectors(store)
    frame = pl.DataFrame([{"product_id": name, **rows[name]} for name in rows], schema_overrides=PRODUCT_SCHEMA)
    for name, expected in zip(rows, embedder.embed_products(frame), strict=True):
        np.testing.assert_allclose(vectors[name], expected, atol=VECTOR_ATOL)


def test_a_price_changes_without_the_model_and_the_rest_stays(
    store: Path, updater: Updater, encoded: list[str], tmp_path: Path
) -> None:
    before = live_products(store)
    (tmp_path / "prices.csv").write_text("product_id,price\np2,9.5\n")
    report = updater.upsert(tmp_path / "prices.csv")
    assert live_products(store) == before | {"p2": before["p2"] | {"price": 9.5}}
    assert (report.version, report.revision, report.published) == (1, 1, True)
    assert (report.new, report.changed, report.updated, report.unchanged, report.encoded) == (0, 0, 1, 0, 0)
    assert encoded == []


def test_new_texts_are_encoded_as_a_build_does_and_no_others(
    store: Path, updater: Updater, encoded: list[str], model_folder: Path
) -> None:
    before = live_vectors(store)
    products = [{"product_id": "p9", "title": "red boots"}, {"product_id": "p1", "category": "boots"}]
    report = updater.upsert([*products, {"product_id": "p3", "price": 1.0}])
    assert (report.new, report.changed, report.updated, report.encoded) == (1, 1, 1, 2)
    assert encoded == ["p9", "p1"]
    assert report.kinds == ("new", "changed", "updated")
    assert live_vectors(store).keys() == before.keys() | {"p9"}
    require_vectors(store, Embedder.from_pretrained(model_folder, device="cpu"))


def test_a_text_that_comes_back_has_its_vector_again(store: Path, updater: Updater, encoded: list[str]) -> None:
    before = live_vectors(store)
    updater.upsert([{"product_id": "p1", "title": "other"}])
    updater.upsert([{"product_id": "p1", "price": 70.0}])
    changed = live_vectors(store)["p1"]
    updater.upsert([{"product_id": "p1", "title": "red running shoes"}])
    assert encoded == ["p1"]
    assert not np.array_equal(changed, before["p1"])
    np.testing.assert_array_equal(live_vectors(store)["p1"], before["p1"])
    assert live_products(store)["p1"]["price"] == 70.0


def test_fields_that_a_row_lacks_stay_and_null_clears(store: Path, updater: Updater, tmp_path: Path) -> None:
    before = live_products(store)
    rows = [{"product_id": "p1", "price": None}, {"product_id": "p2", "category": None}, {"product_id": "p3"}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = updater.upsert(tmp_path / "rows.jsonl")
    after = live_products(store)
    assert after["p1"] == before["p1"] | {"price": None}
    assert after["p2"] == before["p2"] | {"category": None}
    assert after["p3"] == before["p3"]
    assert report.unchanged == 1


def test_an_empty_field_of_a_table_clears(store: Path, updater: Updater, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("product_id,price,category\np1,,boots\np2,3,\n")
    updater.upsert(tmp_path / "rows.csv")
    after = live_products(store)
    assert (after["p1"]["price"], after["p1"]["category"]) == (None, "boots")
    assert (after["p2"]["price"], after["p2"]["category"]) == (3.0, None)


def test_what_changes_nothing_makes_no_revision(store: Path, updater: Updater, encoded: list[str]) -> None:
    files = sorted(store.rglob("*"))
    report = updater.upsert([{"product_id": name, **row} for name, row in live_products(store).items()])
    assert (report.unchanged, report.revision, report.published) == (8, 0, False)
    assert sorted(store.rglob("*")) == files
    assert encoded == []
    updater.upsert([{"product_id": "p1", "price": 5.5}])
    again = updater.upsert([{"product_id": "p1", "price": 5.5}])
    assert (again.revision, again.published) == (1, False)


def test_a_deleted_product_that_comes_back_is_new(store: Path, updater: Updater) -> None:
    updater.delete(["p3"])
    with pytest.raises(InvalidData, match="product 'p3' would be new"):
        updater.upsert([{"product_id": "p3", "price": 1.0}])
    report = updater.upsert([{"product_id": "p3", "title": "green shirt"}])
    assert report.new == 1
    assert live_products(store)["p3"] == {"title": "green shirt", "category": None, "attributes": None, "price": None}


def test_a_version_that_shares_files_is_updated_from_its_own_rows(store: Path, products_file: Path) -> None:
    rows = pl.read_parquet(products_file)
    rows.with_columns(price=pl.when(product_id="p1").then(100.0).otherwise("price")).write_parquet(products_file)
    version = refresh(store=store, products=products_file).published
    assert version is not None
    assert version.shares_files_of == 1
    before = live_products(store)
    assert before["p1"]["price"] == 100.0
    with Updater(store, device="cpu") as updater:
        same = updater.upsert([{"product_id": name, **row} for name, row in before.items()])
        assert (same.version, same.unchanged, same.published) == (2, 8, False)
        report = updater.upsert([{"product_id": "p1", "category": "boots"}, {"product_id": "p2", "price": 100.0}])
        assert (report.changed, report.updated) == (1, 1)
        assert live_products(store) == before | {
            "p1": before["p1"] | {"category": "boots"},
            "p2": before["p2"] | {"price": 100.0},
        }
        updater.upsert([{"product_id": "p1", "category": before["p1"]["category"]}])
    assert live_products(store)["p1"] == before["p1"]


def test_a_version_of_older_software_may_be_updated(store: Path) -> None:
    before = live_products(store)
    as_layout_1(store)
    with Updater(store, device="cpu") as updater:
        report = updater.upsert([{"product_id": "p1", "price": 9.0}, {"product_id": "p2", "category": "boots"}])
        assert (report.changed, report.updated) == (1, 1)
        updater.delete(["p3"])
    changed = {"p1": before["p1"] | {"price": 9.0}, "p2": before["p2"] | {"category": "boots"}}
    assert live_products(store) == {name: row for name, row in (before | changed).items() if name != "p3"}


ROWS = [
    {"product_id": "p1", "title": "blue boots", "category": "boots", "price": "19.5"},
    {"product_id": "p9", "title": "scarf", "category": "scarves", "price": "3"},
]
FRAME = pl.DataFrame(ROWS).with_columns(pl.col("price").cast(pl.Float64))
FORMATS: dict[str, Callable[[Path], object]] = {
    "rows.csv": FRAME.write_csv,
    "rows.parquet": FRAME.write_parquet,
    "rows.jsonl": FRAME.write_ndjson,
    "rows.json": lambda file: file.write_text(json.dumps(ROWS)),
    "rows.csv.gz": lambda file: file.write_bytes(gzip.compress(FRAME.write_csv().encode())),
    "rows.tsv": lambda file: FRAME.write_csv(file, separator="\t"),
    "rows.xml": lambda file: file.write_text(
        "<products>"
        + "".join(
            f"<product>{''.join(f'<{key}>{value}</{key}>' for key, value in row.items())}</product>" for row in ROWS
        )
        + "</products>"
    ),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_of_a_catalogue_is_read(store: Path, updater: Updater, tmp_path: Path, name: str) -> None:
    FORMATS[name](tmp_path / name)
    before = live_products(store)["p1"]
    report = updater.upsert(tmp_path / name)
    assert (report.new, report.changed) == (1, 1)
    after = live_products(store)
    assert after["p1"] == before | {"title": "blue boots", "category": "boots", "price": 19.5}
    assert after["p9"] == {"title": "scarf", "category": "scarves", "attributes": None, "price": 3.0}


def test_xml_has_no_null_and_clears_nothing(store: Path, updater: Updater, tmp_path: Path) -> None:
    before = live_products(store)
    rows = ["<product_id>p1</product_id><price>4</price>", "<product_id>p2</product_id><price/>"]
    products = "".join(f"<product>{row}</product>" for row in rows)
    (tmp_path / "rows.xml").write_text(f"<products>{products}</products>")
    updater.upsert(tmp_path / "rows.xml")
    assert live_products(store) == before | {"p1": before["p1"] | {"price": 4.0}}


def test_a_mapping_names_the_columns(store: Path, updater: Updater, tmp_path: Path) -> None:
    before = live_products(store)["p1"]
    (tmp_path / "map.toml").write_text('[catalogue.columns]\nproduct_id = "sku"\ntitle = "name"\n')
    (tmp_path / "rows.csv").write_text("sku,name,other\np1,long socks,x\n")
    updater.upsert(tmp_path / "rows.csv", Mapping.open(tmp_path / "map.toml"))
    assert live_products(store)["p1"] == before | {"title": "long socks"}


def test_the_files_of_a_folder_are_read_together(store: Path, updater: Updater, tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    for name in ("p1", "p2"):
        (tmp_path / "rows" / f"{name}.csv").write_text(f"product_id,price\n{name},4\n")
    assert updater.upsert(tmp_path / "rows").updated == 2
    (tmp_path / "rows" / "p3.csv").write_text("product_id,category\np3,boots\n")
    with pytest.raises(InvalidData, match=r"p3\.csv, field 'category': expected the columns of p1\.csv"):
        updater.upsert(tmp_path / "rows")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("product_id,price\np1,2\np2,cheap\n", r"rows\.csv, row 2, field 'price': expected a number, got 'cheap'"),
        ("product_id,colour\np1,red\n", r"rows\.csv, field 'colour': the store's products have no such column; to add"),
        ("product_id,popularity\np1,3\n", r"rows\.csv, field 'popularity': counted from interactions"),
        ("price\n3\n", r"rows\.csv, field 'product_id': missing column"),
        ("product_id,price\np1,3\np1,4\n", r"rows\.csv, row 2, field 'product_id': expected a unique id, got 'p1'"),
        ("product_id,price\np1,3\nNaN,4\n", r"rows\.csv, row 2, field 'product_id': expected an id, got 'NaN'"),
        ("product_id,price\np1,3\nq9,4\n", r"row 2, field 'title': expected a title, .*: product 'q9' would be new"),
        (
            "product_id,title,category,attributes\np7,,,\n",
            r"row 1, field 'title': expected a title, .*: product 'p7' would be left without text",
        ),
        ("product_id,price\n", r"rows\.csv: no rows"),
    ],
)
def test_bad_rows_are_named_and_nothing_changes(
    store: Path, updater: Updater, tmp_path: Path, content: str, message: str
) -> None:
    before = sorted(store.rglob("*"))
    (tmp_path / "rows.csv").write_text(content)
    with pytest.raises(InvalidData, match=message):
        updater.upsert(tmp_path / "rows.csv")
    assert sorted(store.rglob("*")) == before


def test_a_product_of_a_request_is_named_by_its_number(updater: Updater) -> None:
    products = [{"product_id": "p1", "price": 3}, {"product_id": "p2", "price": "cheap"}]
    with pytest.raises(InvalidData, match=r"^row 2, field 'price': expected a number, got 'cheap'$") as caught:
        updater.upsert(products)
    assert (caught.value.file, caught.value.row, caught.value.field) == (None, 2, "price")


def test_a_missing_file_is_not_found(updater: Updater, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        updater.upsert(tmp_path / "nowhere.csv")


def test_a_file_that_may_be_cut_short_is_told(store: Path, tmp_path: Path) -> None:
    told: list[str] = []
    (tmp_path / "rows.csv").write_text("product_id,price\n p1 ,3\np2,4")
    with Updater(store, notice=told.append) as updater:
        updater.upsert(tmp_path / "rows.csv")
    assert told[0] == "changed 1 id: ' p1 ' is 'p1'"
    assert told[-1].startswith("rows.csv does not end in a newline")


def test_beyond_the_limits_a_refresh_is_recommended(store: Path, tmp_path: Path) -> None:
    limits = UpdateLimits(min_products=2, max_share=0.01)
    with Updater(store, limits=limits) as updater:
        updater.upsert([{"product_id": "p1", "price": 5.0}, {"product_id": "p2", "price": 5.0}])
        updater.upsert([{"product_id": "p1", "price": 6.0}])  # the same products may change again
        before = live_products(store), segments_of(store)
        for change in (lambda: updater.delete(["p3"]), lambda: updater.upsert([{"product_id": "p4", "price": 6.0}])):
            with pytest.raises(
                Conflict, match=r"would change 3 of 8 products, at most 2 are allowed; .* ubm-embed refresh"
            ):
                change()
        three = [{"product_id": name, "price": 6.0} for name in ("p1", "p2", "p3")]
        pl.DataFrame(three).write_csv(tmp_path / "three.csv")
        for products in (three, tmp_path / "three.csv"):
            with pytest.raises(Conflict, match="more than 2 products at once"):
                updater.upsert(products)
        updater.delete(["p1"])
    (tmp_path / "rows.csv").write_text("product_id,price\n" + "p1,3\n" * 200_000)
    with Updater(store, limits=UpdateLimits(max_mb=1)) as updater, pytest.raises(Conflict, match="at most 1 are allow"):
        updater.upsert(tmp_path / "rows.csv")
    assert before[1] != segments_of(store)


def test_a_segment_that_would_be_too_large_is_removed(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UpdateLimits, "max_bytes", 100)
    with Updater(store) as updater, pytest.raises(Conflict, match="the revision would have"):
        updater.upsert([{"product_id": "p1", "price": 5.0}])
    assert segments_of(store) == set()
    assert live_of(store).revision is None


def test_a_vector_that_is_none_is_never_published(
    store: Path, updater: Updater, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Embedder, "embed_products", lambda self, products: np.full((products.height, 16), np.nan))
    with pytest.raises(QualityGateFailed, match="not of length 1"):
        updater.upsert([{"product_id": "p9", "title": "boots"}])
    assert live_of(store).revision is None


IDS = st.sampled_from(["p1", "p2", "p3", "p8", "n1", "n2"])
FIELD_VALUES = st.fixed_dictionaries(
    {},
    optional={
        "title": st.sampled_from(["red shirt", "boots", "socks"]),
        "category": st.none() | st.sampled_from(["shirts", "boots"]),
        "attributes": st.none() | st.just([{"name": "colour", "value": "red"}]),
        "price": st.none() | st.sampled_from([1.0, 2.5]),
    },
)
STEPS = st.lists(st.lists(IDS, max_size=3, unique=True) | st.dictionaries(IDS, FIELD_VALUES, min_size=1, max_size=3))


@given(steps=STEPS.filter(bool), restarts=st.sets(st.integers(0, 20)))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_history_leaves_the_products_that_it_says(
    store: Path, updater: Updater, model_folder: Path, steps: list[Any], restarts: set[int]
) -> None:
    """The store goes on from example to example; some updates are made by a writer that has read nothing yet."""
    expected = live_products(store)
    embedder = Embedder.from_pretrained(model_folder, device="cpu")
    for number, step in enumerate(steps):
        writer = Updater(store, embedder=embedder) if number in restarts else updater
        if isinstance(step, list):
            report = writer.delete(step)
            assert report.deleted == len(expected.keys() & set(step))
            expected = {name: row for name, row in expected.items() if name not in step}
        else:
            nothing = dict.fromkeys(("title", "category", "attributes", "price"))
            merged = {name: expected.get(name, nothing) | fields for name, fields in step.items()}
            if not all(row["title"] or row["category"] or row["attributes"] for row in merged.values()):
                with pytest.raises(InvalidData, match="expected a title"):
                    writer.upsert([{"product_id": name, **fields} for name, fields in step.items()])
                continue
            report = writer.upsert([{"product_id": name, **fields} for name, fields in step.items()])
            assert report.new == len(merged.keys() - expected.keys())
            assert report.unchanged == sum(expected.get(name) == row for name, row in merged.items())
            expected |= merged
        assert live_products(store) == expected
        # A handful for six products, and those of the revision before.
        assert len(segments_of(store)) <= 8
    require_vectors(store, embedder)
