"""How a checkpoint of sentence-transformers makes one vector of a text's tokens, from the files in its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ubm_embed.data.tables.json_files import read_json_object
from ubm_embed.errors import InvalidData, NotFound

MODULES_FILE = "modules.json"
# A length of 1 changes no cosine, and the projection after it has a scale of its own.
_KNOWN = ("Transformer", "Pooling", "Normalize")
_MEAN, _CLS = "pooling_mode_mean_tokens", "pooling_mode_cls_token"


def takes_mean_of_tokens(folder: Path) -> bool | None:
    """Whether its vectors are the mean of all tokens (else `[CLS]`); None if sentence-transformers did not write it.

    Raises:
        NotFound: the pooling's configuration is missing.
        InvalidData: damaged files, or modules or a pooling that have no counterpart here.
    """
    file = folder / MODULES_FILE
    if not file.is_file():
        return None
    pooling = [module for module in _modules(file) if _kind(module) == "Pooling"]
    if len(pooling) != 1:
        raise InvalidData(f"expected one module Pooling, got {len(pooling)}", file=file)
    config = folder / str(pooling[0].get("path", "")) / "config.json"
    if not config.is_file():
        raise NotFound(f"no checkpoint at {folder}: {config.relative_to(folder)} is missing")
    chosen = [name for name, on in read_json_object(config).items() if name.startswith("pooling_mode_") and on]
    if chosen not in ([_MEAN], [_CLS]):
        raise InvalidData(f"expected {_MEAN} or {_CLS} alone, got {', '.join(chosen) or 'neither'}", file=config)
    return chosen == [_MEAN]


def _modules(file: Path) -> list[dict[str, Any]]:
    try:
        modules = json.loads(file.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InvalidData(f"not JSON: {error}", file=file) from None
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise InvalidData("expected a list of modules", file=file)
    if unknown := [kind for module in modules if (kind := _kind(module)) not in _KNOWN]:
        raise InvalidData(f"expected modules {', '.join(_KNOWN)}, got {unknown[0]}", file=file, field="type")
    return modules


def _kind(module: dict[str, Any]) -> str:
    """The class of a module, such as `Pooling` of `sentence_transformers.models.Pooling`."""
    return str(module.get("type")).rpartition(".")[2]
