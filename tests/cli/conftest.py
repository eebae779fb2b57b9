"""A shell in this process, and a store of a few nights to try it on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from cli.main import run
from indexer.refresh import settled_files
from indexer.refresh.gates import Gate
from indexer.refresh.refresh import build_index, refresh
from indexer.refresh.settings import RefreshSettings
from indexer.versions.pruning import KeepPolicy
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.model.checkpoint import save_checkpoint
from ubm_embed.model.user_behavior_model import UserBehaviorModel


@dataclass(frozen=True)
class Ran:
    """The outcome of a command."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def no_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that were just written are read without waiting whether they still grow."""
    monkeypatch.setattr(settled_files, "sleep", lambda _: None)


@pytest.fixture
def ubm(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Run `ubm-embed` with some arguments, as the shell sees it: exit code, stdout, stderr."""
    monkeypatch.setenv("COLUMNS", "400")

    def command(*arguments: object) -> Ran:
        capsys.readouterr()
        code = run(list(map(str, arguments)))
        return Ran(code, *capsys.readouterr())

    return command


@pytest.fixture
def model_folder(
    tmp_path: Path, model: UserBehaviorModel, tokenizer: InteractionTokenizer, with_graphs: Callable[[Path], Path]
) -> Path:
    """A folder with the tiny model."""
    (tmp_path / "model").mkdir()
    save_checkpoint(tmp_path / "model", model, tokenizer, {})
    return with_graphs(tmp_path / "model")


@pytest.fixture
def catalogue(tmp_path: Path, products: pl.DataFrame) -> Callable[[int], Path]:
    """Writes a night's catalogue: every price is the night's number, and one title has it too."""

    def write(night: int) -> Path:
        named = pl.when(pl.col("product_id") == "p3").then(pl.lit(f"red shirt {night}")).otherwise("title")
        file = tmp_path / f"night{night}.parquet"
        products.with_columns(title=named, price=pl.lit(float(night))).write_parquet(file)
        return file

    return write


@pytest.fixture
def half(tmp_path: Path, catalogue: Callable[[int], Path]) -> Path:
    """A catalogue that lost half of its products."""
    pl.read_parquet(catalogue(3)).head(4).write_parquet(tmp_path / "half.parquet")
    return tmp_path / "half.parquet"


@pytest.fixture
def nights(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, model_folder: Path, catalogue: Callable[[int], Path]
) -> Path:
    """A store of three nights: version 3 is live, 2 and 1 were live before. Made once and copied."""
    made = tmp_path_factory.getbasetemp() / "nights of the shell"
    if not made.exists():
        build_index(model=model_folder, products=catalogue(1), store=made)
        for night in (2, 3):
            settings = RefreshSettings(keep=KeepPolicy(versions=3))
            refresh(products=catalogue(night), store=made, settings=settings, allow=[Gate.NEIGHBOURS, Gate.CENTROID])
    return Path(shutil.copytree(made, tmp_path / "nights"))


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a store but its locks."""
    files = (file for file in folder.rglob("*") if file.is_file() and not file.name.endswith(".lock"))
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


@pytest.fixture(name="contents")
def contents_fixture() -> Callable[[Path], dict[str, bytes]]:
    """`contents`, to check that nothing changed."""
    return contents
