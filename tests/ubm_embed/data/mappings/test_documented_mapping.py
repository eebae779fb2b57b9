"""docs/data.md: its example works as it is, and its tables name every key."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import pytest
from pydantic import BaseModel

from ubm_embed.data.logs.mapped import mapped_log
from ubm_embed.data.mappings.column import Column, Drop, Fill, Join
from ubm_embed.data.mappings.mapping import CatalogueMapping, LogColumns, LogMapping, Mapping
from ubm_embed.data.tables.formats import CsvFormat, TimeFormat

SECTION = (
    (Path(__file__).parents[4] / "docs" / "data.md").read_text("utf-8").split("\n## Mappings\n")[1].split("\n## ")[0]
)


def block(language: str) -> str:
    match = re.search(rf"```{language}\n(.*?)```", SECTION, re.DOTALL)
    assert match
    return match[1]


def test_the_example_reads_its_log(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(block("csv"))
    (tmp_path / "shop.toml").write_text(block("toml"))
    (events,) = mapped_log([tmp_path / "log.csv"], Mapping.read(tmp_path / "shop.toml")).events
    frame = events.collect()
    assert frame.select("session_id", "action", "product_id", "price", "dropped").rows() == [
        ("ann-1", "view", "7", "$1,299.00", None),
        ("ann-1", "add", "7", None, None),
        ("ann-1", "buy", "7", "1299", None),
        ("ann-1", "buy", "9", "5", None),
        ("bot-1", "view", "7", None, "bot"),
    ]
    assert frame["timestamp"][0] == datetime(2024, 5, 3, 8)


@pytest.mark.parametrize(
    "model", [Column, Drop, Fill, Join, CsvFormat, TimeFormat, LogColumns, LogMapping, CatalogueMapping]
)
def test_the_tables_name_every_key(model: type[BaseModel]) -> None:
    rows = "\n".join(line for line in SECTION.splitlines() if line.startswith("|"))
    assert [name for name in model.model_fields if not re.search(rf"\b{name}\b", rows)] == []
