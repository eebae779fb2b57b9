"""The processes that train together, as `torchrun` starts them: which one this is, and what they tell each other.

Each reads the same examples and draws the same views, encodes its share of them and gathers the vectors of all. So
each has the loss of the whole batch, with all its negatives. Weights are never sent: equal gradients keep them equal.

Letters: N vectors of all processes, D width.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from ubm_embed.errors import UbmError

# The longest that one waits for another: far more than a step or a kept state takes, and no night.
TIMEOUT = timedelta(minutes=10)

Result = TypeVar("Result")


@dataclass(frozen=True)
class Processes:
    """Process `rank` of `world`, counted from 0."""

    rank: int = 0
    world: int = 1

    @property
    def is_first(self) -> bool:
        """Whether it is this one that writes files and shows progress."""
        return self.rank == 0

    def gather(self, own: Tensor, sizes: Sequence[int]) -> Tensor:
        """The vectors of all processes, one process after another: [N, D]. Gradients come back summed over processes.

        Args:
            own: [`sizes[rank]`, D], this one's.
            sizes: how many each has.
        """
        if self.world == 1:
            return own
        gathered: Tensor = _Gather.apply(own, tuple(sizes), self.rank)  # type: ignore[no-untyped-call]
        return gathered

    def sum_gradients(self, module: nn.Module) -> None:
        """Make every gradient of the module the sum over all processes."""
        if self.world == 1:
            return
        gradients = [weights.grad for weights in module.parameters() if weights.grad is not None]
        flat = parameters_to_vector(gradients)
        with _reaching_all():
            dist.all_reduce(flat)
        vector_to_parameters(flat, gradients)

    def first(self, action: Callable[[], Result]) -> Result:
        """What the first process gets from `action`, told to all; only the first one runs it.

        Raises:
            UbmError, OSError: whatever of them it raises, on all processes.
        """
        if self.world == 1:
            return action()
        told: list[Any] = [self._outcome(action) if self.is_first else None]
        with _reaching_all():
            dist.broadcast_object_list(told, src=0)
        result, error = told[0]
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]

    @staticmethod
    def _outcome(action: Callable[[], Result]) -> tuple[Result | None, UbmError | OSError | None]:
        try:
            return action(), None
        except (UbmError, OSError) as error:
            return None, error


ALONE = Processes()


def world_size() -> int:
    """How many processes were started to train together.

    Raises:
        ValueError: the environment speaks of several, and not of how to find them.
    """
    world = os.environ.get("WORLD_SIZE") or "1"
    if world == "1":
        return 1
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]
    if missing or not world.isdecimal():
        found = f"without {', '.join(missing)}" if missing else "is not a number of processes"
        raise ValueError(f"WORLD_SIZE={world} {found}: start with torchrun, or unset WORLD_SIZE")
    return int(world)


@contextlib.contextmanager
def joined(device: torch.device, *, timeout: timedelta = TIMEOUT) -> Iterator[Processes]:
    """The processes that `torchrun`, or what sets the same variables, has started; this one alone where nothing has.

    Raises:
        ValueError: as `world_size`.
        UbmError: the others do not come, or one of them is lost.
    """
    world = world_size()
    if world == 1:
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    with _reaching_all():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timeout)
    yield Processes(dist.get_rank(), world)
    dist.destroy_process_group()  # not after an error: it would wait for the others, who may wait for us


def own_device(device: torch.device) -> torch.device:
    """The device of this process: on a machine with several GPUs and as many processes, each has one.

    Raises:
        ValueError: there are fewer GPUs than processes, one GPU is named for all of them, or as `world_size`.
    """
    if device.type != "cuda" or world_size() == 1:
        return device
    if device.index is not None:
        raise ValueError(f"{device} is one GPU for several processes; with cuda each takes its own")
    number, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if number >= count:
        raise ValueError(f"process {number} of this machine has no GPU, there are {count}: --nproc-per-node {count}")
    return torch.device("cuda", number)


class _Gather(torch.autograd.Function):
    """Forward, what all have; backward, the gradients that all have for what is ours."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, sizes: tuple[int, ...], rank: int) -> Tensor:
        ctx.begin, ctx.size = sum(sizes[:rank]), sizes[rank]
        padded = own.new_zeros(max(sizes), own.shape[1])  # gloo and NCCL gather equal shapes
        padded[: ctx.size] = own
        parts = [torch.empty_like(padded) for _ in sizes]
        with _reaching_all():
            dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        summed = gradients[0].clone(memory_format=torch.contiguous_format)
        with _reaching_all():
            dist.all_reduce(summed)
        return summed[ctx.begin : ctx.begin + ctx.size], None, None


@contextlib.contextmanager
def _reaching_all() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # torch has no narrower kind for a peer that is gone
        who = f"process {os.environ.get('RANK', '?')} of {os.environ.get('WORLD_SIZE', '?')}"
        reason = " ".join(str(error).split())[:300]
        raise UbmError(
            f"{who} has lost the others ({reason}): what stopped them stands in their own messages; then go on with "
            "--resume"
        ) from error
