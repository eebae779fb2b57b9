"""One step of a trainer of transformers at a time.

A trainer runs on once it is started. Here it runs in a thread of its own, and between two steps it waits for its turn.
"""

from __future__ import annotations

import time
from queue import SimpleQueue
from typing import Any

import torch
from transformers import TrainerCallback

from benchmarks.training.ceiling import wait


class Turns(TrainerCallback):
    """Lets a trainer take one step a turn, and times it."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._begun, self._resumed = device, 0.0, 0.0
        self._go: SimpleQueue[bool] = SimpleQueue()
        self._came: SimpleQueue[dict[str, float] | BaseException] = SimpleQueue()

    def take(self) -> dict[str, float]:
        """One turn."""
        self._go.put(True)
        figures = self._came.get()
        if isinstance(figures, BaseException):
            raise figures
        return figures

    def stop(self) -> None:
        """There will be no further turn."""
        self._go.put(False)

    def run(self, trainer: Any) -> None:
        """The thread's work: train, a step a turn."""
        try:
            if self._wait_for_turn():
                trainer.train()
        except BaseException as error:  # for the thread that waits for this turn's figures
            self._came.put(error)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The batch is there; the step begins."""
        self._begun = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The step is done."""
        wait(self._device)
        ended = time.perf_counter()
        self._came.put({"seconds": ended - self._begun, "reading_seconds": self._begun - self._resumed})
        if state.global_step < state.max_steps and not self._wait_for_turn():
            control.should_training_stop = True

    def _wait_for_turn(self) -> bool:
        going = self._go.get()
        self._resumed = time.perf_counter()
        return going
