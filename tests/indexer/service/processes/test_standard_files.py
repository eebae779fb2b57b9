"""A service that starts with its standard files closed."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os, socket, sys
from indexer.service.processes.standard_files import open_standard_files
open_standard_files()
print("to nobody")
print("to nobody", file=sys.stderr)
with socket.socket() as one:
    sys.exit(0 if one.fileno() > 2 else 1)
"""


def test_files_that_are_opened_later_do_not_take_their_place() -> None:
    command = ["sh", "-c", 'exec "$@" 0<&- 1>&- 2>&-', "sh", sys.executable, "-c", PROGRAM]
    assert subprocess.run(command, check=False).returncode == 0
