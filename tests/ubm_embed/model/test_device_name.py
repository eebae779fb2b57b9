"""A device by its name, decided without PyTorch where there is no GPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ubm_embed.errors import NotFound
from ubm_embed.model import device_name as module
from ubm_embed.model.device_name import device_name


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file that says that there may be a GPU, once it is there."""
    monkeypatch.setattr(module, "_DRIVERS", (tmp_path / "driver",))
    return tmp_path / "driver"


def test_no_pytorch_is_needed_for_a_cpu(driver: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: pytest.fail("PyTorch was looked for"))
    assert (device_name("auto"), device_name("cpu")) == ("cpu", "cpu")


@pytest.mark.parametrize(("available", "expected"), [(True, "cuda"), (False, "cpu")])
def test_where_there_may_be_a_gpu_pytorch_decides(
    driver: Path, monkeypatch: pytest.MonkeyPatch, available: bool, expected: str
) -> None:
    driver.touch()
    monkeypatch.setattr("torch.cuda.is_available", lambda: available)
    monkeypatch.setattr("torch.cuda.device_count", lambda: int(available))
    assert device_name("auto") == expected


def test_a_gpu_without_pytorch_is_left_alone_unless_it_is_named(driver: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver.touch()
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert device_name("auto") == "cpu"
    with pytest.raises(NotFound, match=r"the device 'cuda:1' needs PyTorch; type: pip install"):
        device_name("cuda:1")


def test_a_device_that_is_not_there(driver: Path) -> None:
    with pytest.raises(ValueError, match="abacus"):
        device_name("abacus")


def test_is_imported_without_pytorch() -> None:
    script = "import sys; from ubm_embed.model.device_name import device_name; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
