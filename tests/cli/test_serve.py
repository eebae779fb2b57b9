"""`ubm-embed serve`: its options, and why it does not start. How it answers and ends is tested with the service."""

from __future__ import annotations

import inspect
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from cli.serve import serve
from indexer.service.settings import ServiceSettings

# Runs command lines, and writes the exit code and the error of each as JSON.
RUN = """
import contextlib, io, json, sys
from cli.main import run
for command in json.loads(sys.argv[1]):
    with contextlib.redirect_stderr(io.StringIO()) as errors:
        code = run(["serve", *command])
    print(json.dumps([code, errors.getvalue()]))
"""


def starts(*commands: list[str], **environment: str) -> list[tuple[int, str]]:
    arguments = [sys.executable, "-c", RUN, json.dumps(commands)]
    variables = {**os.environ, "COLUMNS": "400", **environment}
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, env=variables)
    return [(code, error) for code, error in map(json.loads, done.stdout.splitlines())]


def test_every_setting_is_an_option_with_the_same_default() -> None:
    options = {name: one.default for name, one in inspect.signature(serve).parameters.items() if name != "store"}
    # `--no-counts` is the setting `counts`, turned round.
    negated = {name.removeprefix("no_"): not value for name, value in options.items() if name.startswith("no_")}
    plain = {name: value for name, value in options.items() if not name.startswith("no_")}
    assert plain | negated == {
        name: field.default for name, field in ServiceSettings.model_fields.items() if name != "store"
    }


def test_why_it_does_not_start(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        results = starts(
            ["--store", missing, "--port", "0"],
            ["--store", missing, "--port", "0", "--workers", "2"],
            ["--store", missing, "--port", port],
            ["--store", missing, "--host", "0.0.0.0"],
            ["--store", missing, "--port", "0", "--keys", missing],
            ["--store", missing, "--port", "0", "--experiment", missing],
            ["--store", missing, "--timeout", "nan"],
            ["--store", missing, "--reload-seconds", "0"],
            ["--store", missing, "--sessions", "http://user:secret@host"],
            ["--store", missing, "--event-log", "s3://bucket/log"],
            ["--store", missing, "--host", "no.such.host.invalid"],
        )
    assert [code for code, _ in results] == [4, 4, 5, 2, 4, 4, 2, 2, 2, 2, 2]
    errors = [" ".join(error.split()) for _, error in results]
    assert errors[0] == errors[1]
    assert errors[0].startswith(f"error: no store at {missing}; build one: ")
    assert errors[2].startswith(f"error: 127.0.0.1:{port} is in use")
    assert "keys are needed" in errors[3]
    assert f"no such file: {missing}" in errors[4]
    assert f"no such file: {missing}" in errors[5]
    assert "--timeout must be" in errors[6]
    assert "--reload-seconds must be above 0" in errors[7]
    assert "--sessions must be memory, or a URL that begins with redis://" in errors[8]
    assert "secret" not in errors[8]
    assert "--event-log must be a folder of this machine" in errors[9]
    assert "keys are needed" in errors[10], "a name may be anybody's"


def test_keys_of_the_environment_are_checked_and_not_shown(tmp_path: Path) -> None:
    ((code, error),) = starts(["--store", str(tmp_path), "--port", "0"], UBM_EMBED_API_KEYS="shop:read:secret")
    assert code == 3
    assert "UBM_EMBED_API_KEYS" in error
    assert "secret" not in error
