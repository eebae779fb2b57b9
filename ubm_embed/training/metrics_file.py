"""The files of a training run that other software reads: its metrics, one JSON object a line, and its settings.

Metrics are logged by `training.run`. A model folder keeps them.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ubm_embed.errors import InvalidData

METRICS_FILE = "metrics.jsonl"
SETTINGS_FILE = "settings.json"
# The one value of a line that is text: why the run ended before it took the step.
FAILED = "failed"
# A line has some hundred bytes; a longer one is another kind of file.
MAX_LINE = 1 << 16


def read_metrics(file: Path) -> Iterator[dict[str, Any]]:
    """The lines of a run's metrics, one after the other.

    The last line may be cut off: a run that is under way is writing it.

    Raises:
        InvalidData: any other line is damaged.
    """
    with file.open("rb") as stream:
        for row in itertools.count(1):
            line = stream.readline(MAX_LINE)
            if not line:
                return
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                if not line.endswith(b"\n") and len(line) < MAX_LINE:
                    return
                raise InvalidData(f"not a line of metrics, a JSON object: {error}", file=file, row=row) from None
            _require_numbers(record, file, row)
            yield record


def _require_numbers(record: Any, file: Path, row: int) -> None:
    if not isinstance(record, dict) or not isinstance(record.get("step"), int) or record["step"] < 0:
        raise InvalidData("not a line of metrics: expected an object with the number of its step", file=file, row=row)
    for name, value in record.items():
        expected = str if name == FAILED else int | float
        if isinstance(value, bool) or not isinstance(value, expected):
            kind = "text" if name == FAILED else "a number"
            raise InvalidData(f"expected {kind}, got {value!r:.80}", file=file, row=row, field=name)


class StepCounter:
    """Numbers the steps of a run through, where each stage of pre-training, and a refit, counts its own from 1."""

    def __init__(self) -> None:
        self._part: tuple[Any, Any] = None, None
        self._before = self.step = 0

    def count(self, record: Mapping[str, Any]) -> int:
        """The number of a line's step in the whole run. Lines are counted in their order."""
        part = record.get("stage"), record.get("refit")
        if part != self._part:
            self._part, self._before = part, self.step
        self.step = self._before + int(record["step"])
        return self.step
