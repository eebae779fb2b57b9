"""What each process does for `test_processes`, which starts it under torchrun: reads its cases, leaves a report.

It checks nothing: the test compares the reports of all with each other and with what one process alone finds.
"""

from __future__ import annotations

import sys
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ubm_embed.errors import Conflict, UbmError
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.training.encoding import Encoding
from ubm_embed.training.pretraining.config import PretrainingConfig
from ubm_embed.training.pretraining.stages import Stage
from ubm_embed.training.pretraining.view_losses import view_losses
from ubm_embed.training.pretraining.views import Views
from ubm_embed.training.processes import ALONE, Processes, joined
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
        found = view_losses(case.stage.encode(model, case.views, how), case.views, CONFIG)
        loss = torch.stack(list(found.values())).sum()
        take_step(model, optimizer, loss, rate=1e-3, max_gradient_norm=1e9, where="", processes=processes)
        losses.append(loss.item())
        gradients = gradients or {
            name: weights.grad.clone() for name, weights in model.named_parameters() if weights.grad is not None
        }
    return {"losses": losses, "gradients": gradients, "weights": model.state_dict()}


def what_all_are_told(processes: Processes) -> dict[str, Any]:
    """What `first` gives and raises."""

    def refuse() -> None:
        raise Conflict("taken")

    told: dict[str, Any] = {"result": processes.first(lambda: f"from {processes.rank}")}
    try:
        processes.first(refuse)
    except UbmError as error:
        told |= {"error": str(error), "exit_code": error.exit_code}
    try:
        processes.first(lambda: Path(__file__, "below a file").mkdir())
    except OSError as error:
        told["refused"] = (type(error).__name__, error.errno, error.filename)
    return told


def lose(processes: Processes) -> str:
    """The last one leaves; what the others say of it."""
    if processes.rank == processes.world - 1:
        return ""
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
    with joined(torch.device("cpu")) as processes:
        report = {name: steps(case, processes) for name, case in cases.items()}
        report["told"] = what_all_are_told(processes)
        report["lost"] = lose(processes)
        torch.save(report, folder / f"{processes.rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
