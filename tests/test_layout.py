"""Who may import whom: cli -> indexer -> ubm_embed, and in there training, evaluation, embedder -> model -> data."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("ubm_embed", "indexer", "cli")
FILES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))

# The higher may import the lower, and its equals. What errors, outputs and progress say, everybody may use.
RANK = {
    **dict.fromkeys(
        (
            "ubm_embed.allocation",
            "ubm_embed.errors",
            "ubm_embed.outputs",
            "ubm_embed.progress",
            "ubm_embed.recently_used",
        ),
        0,
    ),
    "ubm_embed.data": 1,
    "ubm_embed.model": 2,
    **dict.fromkeys(
        (
            "ubm_embed.training",
            "ubm_embed.evaluation",
            "ubm_embed.engines",
            "ubm_embed.embedder",
            "ubm_embed.predictor",
        ),
        3,
    ),
    "ubm_embed": 4,  # its __init__, should it offer names of all the others
    "indexer": 5,
    "cli": 6,
}
# Libraries that only one place may know of.
HOME = {
    "typer": "cli",
    "rich": "cli",
    "faiss": "indexer",
    "lancedb": "indexer",
    "fastapi": "indexer.service",
    **dict.fromkeys(("nncf", "onnx", "onnxruntime", "openvino"), "ubm_embed.engines"),
}
# What makes `--help` slow.
HEAVY = {"torch", "faiss", "lancedb", "polars", "transformers", "pyarrow", "tokenizers", "safetensors"}


@dataclass(frozen=True)
class Import:
    """One imported module, and whether it is imported when the file is, as against inside a function."""

    module: str
    line: int
    at_once: bool


def module_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part_of(module: str) -> str | None:
    """The longest beginning of a module's name that has a rank; a new module directly in ubm_embed has none."""
    names = module.split(".")
    part = next((name for end in (2, 1) if (name := ".".join(names[:end])) in RANK), None)
    return None if part == "ubm_embed" and len(names) > 1 else part


@functools.cache
def imports_of(file: Path) -> tuple[Import, ...]:
    """Every import of a file, wherever it stands; of `from a import b` both `a` and, where it is a module, `a.b`."""
    return tuple(
        _imports(ast.parse(file.read_text("utf-8")), module_of(file), file.name == "__init__.py", at_once=True)
    )


def _imports(node: ast.AST, module: str, is_package: bool, *, at_once: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, child.lineno, at_once) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            base = _absolute(child, module, is_package)
            yield Import(base, child.lineno, at_once)
            inner = (f"{base}.{alias.name}" for alias in child.names)
            yield from (Import(name, child.lineno, at_once) for name in inner if file_of(name))
        else:
            deferred = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or _for_types_only(child)
            yield from _imports(child, module, is_package, at_once=at_once and not deferred)


def _absolute(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    if not node.level:
        return node.module or ""
    names = module.split(".")
    above = names[: len(names) - node.level + is_package]
    return ".".join([*above, *([node.module] if node.module else [])])


def _for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def file_of(module: str) -> Path | None:
    """Where a module of ours is, if it is one."""
    path = ROOT.joinpath(*module.split("."))
    if module.split(".")[0] not in PACKAGES:
        return None
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def ways_to_heavy(file: Path) -> Iterator[str]:
    """Each heavy library that importing `file` imports, and by which way."""
    seen, queue = {file}, [(file, module_of(file))]
    while queue:
        current, way = queue.pop()
        for found in imports_of(current):
            if not found.at_once:
                continue
            if found.module.split(".")[0] in HEAVY:
                yield f"{way} -> {found.module}"
            names = found.module.split(".")
            packages = (".".join(names[:end]) for end in range(1, len(names) + 1))
            for inner in filter(None, map(file_of, packages)):
                if inner not in seen:
                    seen.add(inner)
                    queue.append((inner, f"{way} -> {module_of(inner)}"))


def name(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("file", FILES, ids=name)
def test_imports_run_one_way(file: Path) -> None:
    part = part_of(module_of(file))
    assert part, f"{name(file)} belongs to no part that the design knows; give it a rank here or move it"
    for found in imports_of(file):
        if found.module.split(".")[0] in PACKAGES:
            imported = part_of(found.module)
            assert imported, f"line {found.line}: {found.module} is no part of the design"
            assert RANK[imported] <= RANK[part], f"line {found.line}: {part} must not import {found.module}"


@pytest.mark.parametrize("file", FILES, ids=name)
def test_a_library_is_imported_only_where_it_is_at_home(file: Path) -> None:
    module = module_of(file)
    for found in imports_of(file):
        home = HOME.get(found.module.split(".")[0], module)
        at_home = module == home or module.startswith(f"{home}.")
        assert at_home, f"line {found.line}: {found.module} may be imported in {home} only"


@pytest.mark.parametrize("file", [file for file in FILES if file.is_relative_to(ROOT / "cli")], ids=name)
def test_commands_import_heavy_libraries_inside_functions(file: Path) -> None:
    assert list(ways_to_heavy(file)) == []


def test_a_module_is_named_by_its_noun() -> None:
    assert not [name(file) for file in FILES if file.stem in ("utils", "util", "common", "helpers", "helper", "misc")]


class TestTheseChecks:
    """The checks themselves see what they are to see."""

    SOURCE = """
from typing import TYPE_CHECKING
import torch.nn, os
from ubm_embed import data
if TYPE_CHECKING:
    import rich
try:
    from .errors import UbmError
except ImportError:
    pass
class C:
    import polars
    def f(self):
        from ..cli import main
"""

    def test_every_import_is_found_with_when_it_happens(self) -> None:
        found = {(i.module, i.at_once) for i in _imports(ast.parse(self.SOURCE), "ubm_embed.x", False, at_once=True)}
        assert found == {
            ("typing", True),
            ("torch.nn", True),
            ("os", True),
            ("ubm_embed", True),
            ("ubm_embed.data", True),
            ("rich", False),
            ("ubm_embed.errors", True),
            ("polars", True),
            ("cli", False),
            ("cli.main", False),
        }

    @pytest.mark.parametrize(
        ("module", "part"),
        [
            ("ubm_embed.data.corpus", "ubm_embed.data"),
            ("ubm_embed.errors", "ubm_embed.errors"),
            ("ubm_embed", "ubm_embed"),
            ("ubm_embed.stray", None),
            ("indexer.service.app", "indexer"),
            ("numpy", None),
        ],
    )
    def test_a_module_belongs_to_its_part(self, module: str, part: str | None) -> None:
        assert part_of(module) == part

    def test_a_way_to_a_heavy_library_is_found_through_our_own_modules(self) -> None:
        ways = set(ways_to_heavy(ROOT / "ubm_embed" / "data" / "batches.py"))
        assert "ubm_embed.data.batches -> torch" in ways
        assert any(way.endswith("-> ubm_embed.data.tokenizer -> polars") for way in ways)
