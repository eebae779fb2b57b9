"""How much a revision may hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from indexer.refresh.settings import RefreshSettings
from indexer.updates.limits import UpdateLimits
from ubm_embed.errors import InvalidData


@pytest.mark.parametrize(
    ("products", "limit"), [(8, 1000), (20_000, 1000), (100_000, 5000), (2_000_000, 100_000), (9_000_000, 100_000)]
)
def test_a_share_of_the_products_may_change_between_a_least_and_a_most(products: int, limit: int) -> None:
    assert UpdateLimits().products(products) == limit


def test_one_file_has_the_settings_of_refreshes_and_of_updates(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("shard_rows = 5\n[updates]\nmax_share = 0.5\nmax_mb = 3\n[gates]\nmax_lost = 0.1\n")
    assert UpdateLimits.read(file) == UpdateLimits(max_share=0.5, max_mb=3)
    assert RefreshSettings.read(file).shard_rows == 5
    file.write_text("shard_rows = 5\n")
    assert UpdateLimits.read(file) == UpdateLimits()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[updates]\nmax_share = 2.0\n", r"settings\.toml, field 'updates.max_share': must be at most 1, got 2"),
        ("[updates]\nmax_shar = 0.2\n", r"field 'updates.max_shar': unknown; did you mean 'max_share'"),
        ("[updates]\nmax_products = 0\n", r"field 'updates.max_products': must be at least 1, got 0"),
        ("updates = 3\n", r"settings\.toml, field 'updates': must be an object, got 3"),
    ],
)
def test_a_wrong_limit_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "settings.toml").write_text(content)
    with pytest.raises(InvalidData, match=message):
        UpdateLimits.read(tmp_path / "settings.toml")
