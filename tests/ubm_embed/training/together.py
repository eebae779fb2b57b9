"""What each process does for `test_processes`, which starts it under torchrun: reads its cases, leaves a report.

It checks nothing: the test compares the reports of all with each other and with what one process alone finds.
"""

from __future__ import annotations

import sys
from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

from ubm_embed.errors import Conflict, UbmError
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.training.encoding import Encoding
from ubm_embed.training.pretraining.config import PretrainingConfig
from ubm_embed.training.pretraining.losses import batch_losses
from ubm_embed.training.pretraining.stages import Stage
from ubm_embed.training.pretraining.views import Views
from ubm_embed.training.processes import ALONE, Processes, init_process_group
from ubm_embed.training.step import take_step

STEPS = 3
CONFIG = PretrainingConfig()


@dataclass
class Case:
    """A model that takes three steps over one batch."""

    model: UserBehaviorModel
    stage: Stage
    views: Views
    chunk_tokens: int | None


def steps(case: Case, processes: Processes = ALONE) -> dict[str, Any]:
    """The losses, the gradients of the first step, and the weights after the last."""
    model, losses, gradients = deepcopy(case.model), [], {}
    optimizer = torch.optim.SGD(model.parameters())
    for step in range(STEPS):
        how = Encoding(chunk_tokens=case.chunk_tokens, seeds=(0, case.stage.number, step), processes=processes)
        found = batch_losses(case.stage.encode(model, case.views, how), case.views, CONFIG)
        loss = torch.stack(list(found.values())).sum()
        take_step(model, optimizer, loss, rate=1e-3, max_gradient_norm=1e9, name="", processes=processes)
        losses.append(loss.item())
        gradients = gradients or {
            name: weights.grad.clone() for name, weights in model.named_parameters() if weights.grad is not None
        }
    return {"losses": losses, "gradients": gradients, "weights": model.state_dict()}


def on_rank_zero(processes: Processes) -> dict[str, Any]:
    """The result and the errors of `Processes.on_rank_zero`."""

    def refuse() -> None:
        raise Conflict("taken")

    outcome: dict[str, Any] = {"result": processes.on_rank_zero(lambda: f"from {processes.rank}")}
    try:
        processes.on_rank_zero(refuse)
    except UbmError as error:
        outcome |= {"error": str(error), "exit_code": error.exit_code}
    try:
        processes.on_rank_zero(lambda: Path(__file__, "below a file").mkdir())
    except OSError as error:
        outcome["refused"] = (type(error).__name__, error.errno, error.filename)
    for name, action in {"bug": lambda: 1 // 0, "unsent": lambda: lambda: "cannot be pickled"}.items():
        try:
            processes.on_rank_zero(action)
        except Exception as error:
            outcome[name] = (type(error).__name__, str(error))
    return outcome


class BugError(Exception):
    """Not one of ours."""


def lose(processes: Processes) -> str:
    """Process 0 fails outside of `on_rank_zero`; what the others say of it."""
    if processes.is_rank_zero:
        raise BugError
    try:
        processes.sum_gradients(_with_gradient())
    except UbmError as error:
        return str(error)
    return "nothing was noticed"


def _with_gradient() -> torch.nn.Module:
    layer = torch.nn.Linear(1, 1)
    layer(torch.ones(1)).backward()
    return layer


def main(folder: Path) -> None:
    """Take part in every case, and report."""
    torch.set_num_threads(1)
    cases = torch.load(folder / "cases.pt", weights_only=False)
    # Longer than any wait on a busy machine; a process that is not told of a failure waits for all of it.
    timeout, noticed = timedelta(seconds=120), folder / "noticed"
    try:
        with init_process_group(torch.device("cpu"), timeout=timeout) as processes:
            report = {name: steps(case, processes) for name, case in cases.items()}
            report["on_rank_zero"] = on_rank_zero(processes)
            torch.save(report, folder / f"{processes.rank}.pt")
            report["lost"] = lose(processes)
    except BugError:
        noticed.read_bytes()  # a pipe: process 0 lives until the other has noticed that it failed
    else:
        noticed.write_bytes(b"noticed")
        torch.save(report, folder / f"{processes.rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
