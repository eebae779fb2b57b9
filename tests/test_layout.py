"""Who may import whom: every folder has a rank, imports run down it, and no folder at any level is part of a cycle."""

from __future__ import annotations

import ast
import functools
import graphlib
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("ubm_embed", "indexer", "cli", "benchmarks")
FILES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
FOLDERS = sorted({file.parent for file in FILES})
SHIPPED = [file for file in FILES if not file.is_relative_to(ROOT / "benchmarks")]

# Top to bottom: a folder imports from those below it only. A folder that is not listed has the rank of its parent.
LAYERS = (
    "benchmarks",
    "cli",
    "indexer",  # its __init__, which names what the folders offer
    "indexer.service",
    "indexer.diagnostics",
    "indexer.health",
    "indexer.updates",
    "indexer.refresh",
    "indexer.export",
    "indexer.search",
    "indexer.revisions",
    "indexer.catalogue",
    "indexer.versions",
    "indexer.counts",
    "indexer.lexical",
    "indexer.index",
    "indexer.store",
    "indexer.storage",
    "ubm_embed",  # its __init__
    "ubm_embed.training",
    "ubm_embed.evaluation",
    "ubm_embed.inference",
    "ubm_embed.model",
    "ubm_embed.counts",  # a model folder names the weights of the counts
    "ubm_embed.data.inspection",
    "ubm_embed.data.tasks",
    "ubm_embed.data.batches",
    "ubm_embed.data.text",
    "ubm_embed.data.sample_shop",
    "ubm_embed.data.logs",
    "ubm_embed.data",  # sessions, products, interactions, the corpus
    "ubm_embed.data.mappings",
    "ubm_embed.data.tables",
    "ubm_embed.data.prices",
    "ubm_embed.data.ids",
    # Needed everywhere: how errors, outputs and progress are expressed.
    "ubm_embed.validation",
    "ubm_embed.wording",
    "ubm_embed.file_guard",
    "ubm_embed.outputs",
    "ubm_embed.errors",
    "ubm_embed.progress",
)
RANK = {layer: rank for rank, layer in enumerate(reversed(LAYERS))}
# Libraries that only one folder may import.
HOME = {
    "typer": ("cli",),
    "rich": ("cli",),
    "faiss": ("indexer.index",),
    "lance": ("indexer.store",),
    "lancedb": (),  # the table is opened by lance, which imports in half the time
    **dict.fromkeys(("fastapi", "starlette", "prometheus_client"), ("indexer.service.http",)),
    "redis": ("indexer.service.sessions",),
    "msgspec": ("indexer.service",),
    **dict.fromkeys(("uvicorn", "httptools"), ("indexer.service.processes", "indexer.service.http")),
    "uvloop": ("indexer.service.processes", "indexer.service.sessions.keeper"),
    **dict.fromkeys(("nncf", "onnx", "onnxruntime", "openvino"), ("ubm_embed.inference.runtimes",)),
    "transformers": ("ubm_embed.model",),
    "torch": (
        "ubm_embed.training",
        "ubm_embed.model",
        "ubm_embed.inference.runtimes.torch_model",
        "ubm_embed.inference.runtimes.encoder_graphs",
        "ubm_embed.data.batches.packing",
        "cli.pretrain",
    ),
    **dict.fromkeys(("scipy", "sklearn"), ("ubm_embed.training", "ubm_embed.evaluation", "ubm_embed.counts")),
    **dict.fromkeys(("altair", "vl_convert"), ("indexer.diagnostics.pictures",)),
    "openTSNE": ("indexer.diagnostics.maps",),
    **dict.fromkeys(("tensorboard", "mlflow"), ("ubm_embed.training.tracking",)),
}
# What makes `--help` slow.
HEAVY = {"torch", "faiss", "lancedb", "polars", "transformers", "pyarrow", "tokenizers", "safetensors"}
# What a command that only reads a store must not wait for: each costs more than its answer.
TRAINING = {"torch", "transformers", "sklearn", "scipy", "safetensors.torch"}
TABLES = {"polars", "lance", "lancedb", "pyarrow.dataset", "pyarrow.compute"}
READING = (
    "indexer.catalogue",
    "indexer.counts",
    "indexer.lexical",
    "indexer.index",
    "indexer.lexical",
    "indexer.revisions",
    "indexer.search",
    "indexer.service",
    "indexer.storage",
    "indexer.versions",
    "ubm_embed.counts.ranking_weights",
    "ubm_embed.counts.transition_counts",
    "ubm_embed.data.session",
    "ubm_embed.data.text.tokenizer",
    "ubm_embed.inference.embedder",
    "ubm_embed.inference.predictor",
    "ubm_embed.model.folder",
)
# They read files of the shop's, or all rows of a version, and are imported when somebody asks for that.
TABLE_READERS = ("indexer.search.rule_files", "indexer.revisions.difference")
SUBMODULES = {library for library in TRAINING | TABLES if "." in library}


@dataclass(frozen=True)
class Import:
    """One imported module, and whether it is imported when the file is, as against inside a function."""

    module: str
    line: int
    at_once: bool


def module_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer_of(module: str) -> str | None:
    """The longest prefix of a module's name that is a layer; a new module directly in a package has none."""
    names = module.split(".")
    prefixes = (".".join(names[:end]) for end in range(len(names), 0, -1))
    layer = next((prefix for prefix in prefixes if prefix in RANK), None)
    return None if layer in ("ubm_embed", "indexer") and len(names) > 1 else layer


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
            yield from (Import(name, child.lineno, at_once) for name in inner if file_of(name) or name in SUBMODULES)
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


def ways_to(libraries: Set[str], file: Path) -> Iterator[str]:
    """Each of these libraries that importing `file` imports, and by which way."""
    seen, queue = {file}, [(file, module_of(file))]
    while queue:
        current, way = queue.pop()
        for found in imports_of(current):
            if not found.at_once:
                continue
            names = found.module.split(".")
            packages = [".".join(names[:end]) for end in range(1, len(names) + 1)]
            if not libraries.isdisjoint(packages):
                yield f"{way} -> {found.module}"
            for inner in filter(None, map(file_of, packages)):
                if inner not in seen:
                    seen.add(inner)
                    queue.append((inner, f"{way} -> {module_of(inner)}"))


def name(file: Path) -> str:
    return str(file.relative_to(ROOT))


def edges_within(folder: Path) -> dict[str, set[str]]:
    """The graph of a folder's modules and subfolders: what each imports of the others, itself left out.

    What only type checkers read counts as well. A package's `__init__` names what its folders offer and is left out.
    """
    package = module_of(folder / "__init__.py")
    graph: dict[str, set[str]] = {}
    for file in folder.rglob("*.py"):
        if file == folder / "__init__.py":
            continue
        node = file.relative_to(folder).with_suffix("").parts[0]
        graph.setdefault(node, set())
        for found in imports_of(file):
            if found.module.startswith(f"{package}."):
                graph[node].add(found.module.removeprefix(f"{package}.").split(".")[0])
        graph[node].discard(node)
    return graph


@pytest.mark.parametrize("file", FILES, ids=name)
def test_imports_run_down_the_layers(file: Path) -> None:
    layer = layer_of(module_of(file))
    assert layer, f"{name(file)} belongs to no layer of the design; rank its folder here or move it"
    for found in imports_of(file):
        if found.module.split(".")[0] in PACKAGES and found.module not in PACKAGES:
            imported = layer_of(found.module)
            assert imported, f"line {found.line}: {found.module} is in no layer"
            assert RANK[imported] <= RANK[layer], f"line {found.line}: {layer} must not import {found.module}"


@pytest.mark.parametrize("folder", FOLDERS, ids=name)
def test_no_cycle_stands_between_the_parts_of_a_folder(folder: Path) -> None:
    try:
        tuple(graphlib.TopologicalSorter(edges_within(folder)).static_order())
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))


def test_every_layer_exists() -> None:
    assert [layer for layer in LAYERS if file_of(layer) is None] == []


@pytest.mark.parametrize("file", SHIPPED, ids=name)
def test_a_library_is_imported_only_where_it_is_at_home(file: Path) -> None:
    module = module_of(file)
    for found in imports_of(file):
        homes = HOME.get(found.module.split(".")[0], (module,))
        at_home = any(module == home or module.startswith(f"{home}.") for home in homes)
        assert at_home, f"line {found.line}: {found.module} may be imported in {' and '.join(homes)} only"


@pytest.mark.parametrize("file", SHIPPED, ids=name)
def test_no_module_is_longer_than_300_lines(file: Path) -> None:
    assert len(file.read_text("utf-8").splitlines()) <= 300


@pytest.mark.parametrize("file", [file for file in FILES if file.is_relative_to(ROOT / "cli")], ids=name)
def test_commands_import_heavy_libraries_inside_functions(file: Path) -> None:
    assert list(ways_to(HEAVY, file)) == []


def files_of(modules: tuple[str, ...]) -> list[Path]:
    """The files of modules and of all modules of folders."""
    wanted = [module.split(".") for module in modules]
    return [file for file in FILES if any(module_of(file).split(".")[: len(names)] == names for names in wanted)]


@pytest.mark.parametrize("file", files_of(("indexer", *READING)), ids=name)
def test_reading_and_refreshing_a_store_imports_nothing_that_only_training_needs(file: Path) -> None:
    assert list(ways_to(TRAINING, file)) == []


@pytest.mark.parametrize("file", [file for file in files_of(READING) if module_of(file) not in TABLE_READERS], ids=name)
def test_reading_a_store_imports_nothing_that_only_tables_need(file: Path) -> None:
    assert list(ways_to(TABLES, file)) == []


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
        ("module", "layer"),
        [
            ("ubm_embed.data.corpus", "ubm_embed.data"),
            ("ubm_embed.errors", "ubm_embed.errors"),
            ("ubm_embed", "ubm_embed"),
            ("ubm_embed.stray", None),
            ("indexer.service.app", "indexer.service"),
            ("indexer.stray", None),
            ("ubm_embed.data.text.tokenizer", "ubm_embed.data.text"),
            ("numpy", None),
        ],
    )
    def test_a_module_belongs_to_its_layer(self, module: str, layer: str | None) -> None:
        assert layer_of(module) == layer

    def test_a_way_to_a_heavy_library_is_found_through_our_own_modules(self) -> None:
        ways = set(ways_to(HEAVY, ROOT / "ubm_embed" / "model" / "tower.py"))
        assert any(way.endswith("-> ubm_embed.data.batches.packing -> torch") for way in ways)
        assert any(way.endswith("-> ubm_embed.data.text.tokenizer -> tokenizers") for way in ways)
