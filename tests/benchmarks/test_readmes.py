"""Every command in the READMEs and scripts names a runner that exists and options that it has."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import redirect_stdout
from functools import cache
from importlib import import_module
from io import StringIO
from pathlib import Path

import pytest

from benchmarks.report import RESULTS

ROOT = RESULTS.parent
FILES = sorted([*ROOT.rglob("README.md"), *ROOT.rglob("*.sh")])
MAX_LINES = 80  # two screens


def commands() -> Iterator[tuple[str, str, frozenset[str]]]:
    """(file, runner, options) of each command; `--` and what follows belong to another program."""
    for file in FILES:
        text = file.read_text("utf-8").replace("\\\n", " ")
        for line in re.findall(r"python\"? -m (benchmarks\.\w[^\n`|]*)", text):
            module, *arguments = shlex.split(line.replace("[", " ").replace("]", " "), comments=True)
            own = arguments[: arguments.index("--")] if "--" in arguments else arguments
            options = frozenset(one.split("=")[0] for one in own if re.match(r"--[a-z]", one))
            yield str(file.relative_to(ROOT)), module, options


@cache
def help_of(module: str) -> str:
    """The help of a runner."""
    with redirect_stdout(StringIO()) as stream, pytest.raises(SystemExit) as ended:
        import_module(module).main(["--help"])
    assert ended.value.code == 0
    return stream.getvalue()


@pytest.mark.parametrize(("file", "module", "options"), sorted({*commands()}, key=str))
def test_a_command_names_a_runner_and_its_options(file: str, module: str, options: frozenset[str]) -> None:
    text = help_of(module)
    assert {option for option in options if not re.search(rf"{option}\b", text)} == set()


def test_every_runner_stands_in_a_readme() -> None:
    runners = {
        f"benchmarks.{'.'.join(file.relative_to(ROOT).with_suffix('').parts)}"
        for file in ROOT.rglob("*.py")
        if 'if __name__ == "__main__"' in file.read_text("utf-8")
    }
    children = {
        "benchmarks.data.data_steps",
        "benchmarks.embedding.rival_process",
        "benchmarks.refresh.night_process",
        "benchmarks.retrieval.command_cost",
        "benchmarks.retrieval.reader_driver",
        "benchmarks.serving.rival_server",
    }
    assert runners - children == {module for file, module, _ in commands() if file.endswith(".md")} - children


@pytest.mark.parametrize("file", [file for file in FILES if file.suffix == ".md"], ids=lambda file: file.parent.name)
def test_a_readme_has_two_screens_at_most(file: Path) -> None:
    assert len(file.read_text("utf-8").splitlines()) <= MAX_LINES
