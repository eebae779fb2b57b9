"""The processes that train together, as `torchrun` starts them: which one this is, and how they exchange tensors.

Each process reads the same examples and draws the same views, encodes its share of them, and gathers the vectors of
all. So each has the loss of the whole batch, with all its negatives. Weights are never sent: equal gradients keep them
equal.

Letters: N vectors of all processes, D width.
"""

from __future__ import annotations

import contextlib
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from ubm_embed.errors import UbmError

# The longest that one process waits for another: far more than a step or a saved state takes, and less than a night.
TIMEOUT = timedelta(minutes=10)

Result = TypeVar("Result")


@dataclass(frozen=True)
class Processes:
    """This is process `rank`, counted from 0, of `world_size`."""

    rank: int = 0
    world_size: int = 1

    @property
    def is_rank_zero(self) -> bool:
        """Whether this is the process that writes files and shows progress."""
        return self.rank == 0

    def gather(self, own: Tensor, sizes: Sequence[int]) -> Tensor:
        """The vectors of all processes, one process after another: [N, D]. Gradients are summed over processes.

        Args:
            own: [`sizes[rank]`, D], this process's vectors.
            sizes: the number of vectors of each process.
        """
        if self.world_size == 1:
            return own
        gathered: Tensor = _Gather.apply(own, tuple(sizes), self.rank)  # type: ignore[no-untyped-call]
        return gathered

    def sum_gradients(self, module: nn.Module) -> None:
        """Replace every gradient of the module by its sum over all processes."""
        if self.world_size == 1:
            return
        gradients = [weights.grad for weights in module.parameters() if weights.grad is not None]
        flat = parameters_to_vector(gradients)
        with _peers_required():
            dist.all_reduce(flat)
        vector_to_parameters(flat, gradients)

    def on_rank_zero(self, action: Callable[[], Result]) -> Result:
        """The result of `action`, which runs in process 0 only; every process gets it.

        Raises:
            Whatever `action` raises, in process 0. The others raise the same `UbmError` or `OSError`; in place of any
            other error, a `UbmError` that names it.
        """
        if self.world_size == 1:
            return action()
        if not self.is_rank_zero:
            return self._receive()  # type: ignore[no-any-return]
        try:
            result = action()
            message = pickle.dumps((result, None))
        except BaseException as error:
            # The others wait for this message: without it they would wait until the timeout.
            with contextlib.suppress(UbmError):
                self._send(pickle.dumps((None, _as_sent(error))))
                self._barrier()
            raise
        self._send(message)
        return result

    def _send(self, message: bytes) -> None:
        with _peers_required():
            dist.broadcast_object_list([message], src=0)

    def _receive(self) -> Any:
        messages: list[Any] = [None]
        with _peers_required():
            dist.broadcast_object_list(messages, src=0)
        result, error = pickle.loads(messages[0])  # written by our own process 0
        if error is not None:
            self._barrier()
            raise error
        return result

    def _barrier(self) -> None:
        # Process 0 closes its connections once it fails; an error that was sent must have arrived by then.
        with _peers_required():
            dist.barrier()


ALONE = Processes()


def world_size() -> int:
    """The number of processes that were started to train together.

    Raises:
        ValueError: the environment names several processes, but not how they find each other.
    """
    world = os.environ.get("WORLD_SIZE") or "1"
    if world == "1":
        return 1
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]
    if missing or not world.isdecimal():
        problem = f"without {', '.join(missing)}" if missing else "is not a number of processes"
        raise ValueError(f"WORLD_SIZE={world} {problem}: start with torchrun, or unset WORLD_SIZE")
    return int(world)


@contextlib.contextmanager
def init_process_group(device: torch.device, *, timeout: timedelta = TIMEOUT) -> Iterator[Processes]:
    """The processes that `torchrun`, or anything that sets the same variables, has started; else this one alone.

    Where the block fails, the connections are closed at once, so that the other processes fail rather than wait.

    Raises:
        ValueError: as `world_size`.
        UbmError: the other processes do not arrive, or one of them is lost.
    """
    world = world_size()
    if world == 1:
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    with _peers_required():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timeout)
    try:
        yield Processes(dist.get_rank(), world)
    except BaseException:
        # `destroy_process_group` may wait for operations that the others, who wait for this process, never finish.
        with contextlib.suppress(RuntimeError, ValueError):
            dist.distributed_c10d._abort_process_group()
        raise
    dist.destroy_process_group()


def own_device(device: torch.device) -> torch.device:
    """The device of this process: several processes on a machine with several GPUs each have their own.

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
    """Forward: the vectors of all processes. Backward: the gradients of all processes for this one's vectors."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, sizes: tuple[int, ...], rank: int) -> Tensor:
        ctx.begin, ctx.size = sum(sizes[:rank]), sizes[rank]
        padded = own.new_zeros(max(sizes), own.shape[1])  # gloo and NCCL gather equal shapes
        padded[: ctx.size] = own
        parts = [torch.empty_like(padded) for _ in sizes]
        with _peers_required():
            dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        summed = gradients[0].clone(memory_format=torch.contiguous_format)
        with _peers_required():
            dist.all_reduce(summed)
        return summed[ctx.begin : ctx.begin + ctx.size], None, None


def _as_sent(error: BaseException) -> Exception:
    """An error as the other processes raise it: itself where they can, else a `UbmError` that names it."""
    if isinstance(error, UbmError | OSError):
        return error
    return UbmError(f"process 0 failed with {type(error).__name__}: {error}")


@contextlib.contextmanager
def _peers_required() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # torch has no narrower type for a peer that is gone
        process = f"process {os.environ.get('RANK', '?')} of {os.environ.get('WORLD_SIZE', '?')}"
        reason = " ".join(str(error).split())[:300]
        raise UbmError(
            f"{process} has lost the others ({reason}): their own messages give the cause; once it is mended, --resume "
            "continues a run that had begun"
        ) from error
