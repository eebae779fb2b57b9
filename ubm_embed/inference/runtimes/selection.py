"""Which engine reads a catalogue: the one that is asked for, or the fastest here, if it agrees with float32.

Letters: N sequences, D width.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ubm_embed.data.arrays import FloatArray, evenly
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.errors import NotFound, QualityGateFailed
from ubm_embed.inference.runtimes.agreement import Agreement
from ubm_embed.inference.runtimes.onnx_runtime import OnnxRuntime
from ubm_embed.inference.runtimes.openvino_runtime import OpenVinoRuntime
from ubm_embed.inference.runtimes.runtime import TextRuntime, encode_all
from ubm_embed.inference.runtimes.runtime_name import RuntimeName
from ubm_embed.inference.runtimes.torch_runtime import TorchRuntime
from ubm_embed.model.user_behavior_model import UserBehaviorModel

# Read in float32 within a second of a core; each with its ten nearest among the others.
_SAMPLE = 512
# To make the engines takes some 15 seconds, in which one of two cores reads more than this.
_WORTH_CHOOSING = 5_000

_LEAST_COSINE = {RuntimeName.ONNX_INT8: 0.99, RuntimeName.OPENVINO_INT8: 0.99}
_LEAST_COSINE_OF_FLOATS = 0.999
# Half a neighbour of ten. Sound 8 bits of a trained model were measured to keep 0.98 and more, so what falls below is
# more than rounding.
_LEAST_NEAREST = 0.95

# How far the length of a vector that was divided by it may be from 1.
_UNIT = 1e-3

_MAKERS: Mapping[RuntimeName, Callable[[UserBehaviorModel], TextRuntime]] = {
    RuntimeName.TORCH_BFLOAT16: TorchRuntime.in_bfloat16,
    RuntimeName.OPENVINO: OpenVinoRuntime.of,
    RuntimeName.ONNX_INT8: OnnxRuntime.of,
    RuntimeName.OPENVINO_INT8: OpenVinoRuntime.in_8_bits,
}
_CPU_ONLY = {RuntimeName.OPENVINO, RuntimeName.ONNX_INT8, RuntimeName.OPENVINO_INT8}


@dataclass(frozen=True)
class Trial:
    """An engine, tried on a sample.

    Attributes:
        seconds: that it took for the sample, once it was warm.
        agreement: with float32, on the sample.
    """

    engine: TextRuntime
    seconds: float
    agreement: Agreement

    @property
    def keeps_quality(self) -> bool:
        """Whether its vectors may stand for those of float32, which themselves do."""
        if self.engine.name is RuntimeName.TORCH:
            return True
        least = _LEAST_COSINE.get(self.engine.name, _LEAST_COSINE_OF_FLOATS)
        return self.agreement.cosine >= least and self.agreement.nearest >= _LEAST_NEAREST


def choose_runtime(name: RuntimeName, model: UserBehaviorModel, sequences: TokenTable) -> TextRuntime:
    """An engine for a model, on the device where that is.

    Args:
        sequences: what it is to read, or some of it; each once.

    Raises:
        NotFound: the engine's library is missing, or the device is not one it computes on.
        QualityGateFailed: it does not agree with float32 on a sample of the sequences, or the model is damaged: float32
            has no vectors of them.
    """
    if name is RuntimeName.TORCH or (name is RuntimeName.AUTO and len(sequences) < _WORTH_CHOOSING):
        return TorchRuntime(model)
    sample = sample_of(sequences)
    if name is RuntimeName.AUTO:
        return fastest(benchmark_runtimes(model, sample)).engine
    engine = make_runtime(name, model)
    tried = benchmark_runtime(engine, sample, _sound(encode_all(TorchRuntime(model), sample)))
    if not tried.keeps_quality:
        found = tried.agreement
        raise QualityGateFailed(
            f"{name} reads this model's products otherwise than float32: a cosine of {found.cosine:.4f}, and "
            f"{found.nearest:.1%} of the ten nearest, on {len(sample)} texts; type: --runtime torch"
        )
    return engine


def sample_of(sequences: TokenTable) -> TokenTable:
    """Some of them, evenly spread: the same each time."""
    return sequences.take(evenly(len(sequences), _SAMPLE))


def make_runtime(name: RuntimeName, model: UserBehaviorModel) -> TextRuntime:
    """An engine by its name, unchecked.

    Raises:
        NotFound: as `choose_runtime`.
    """
    if name is RuntimeName.TORCH:
        return TorchRuntime(model)
    if name in _CPU_ONLY and model.device.type != "cpu":
        raise NotFound(f"{name} computes on the CPU only, and the device is {model.device}; type: --device cpu")
    return _MAKERS[name](model)


def benchmark_runtimes(model: UserBehaviorModel, sample: TokenTable) -> list[Trial]:
    """Every engine that this machine has, on a sample; float32 first. A warning names those that break.

    Raises:
        QualityGateFailed: float32 has no vectors of the sample.
    """
    exact, seconds = _timed(TorchRuntime(model), sample)
    trials = [Trial(TorchRuntime(model), seconds, Agreement.of(_sound(exact), exact))]
    for name in _MAKERS:
        try:
            trials.append(benchmark_runtime(make_runtime(name, model), sample, exact))
        except NotFound:
            continue
        except Exception as error:  # other people's code, which the catalogue does not need
            what = (str(error).strip() or "no reason given").splitlines()[0]
            warnings.warn(f"going without {name}, which broke: {type(error).__name__}: {what}", stacklevel=2)
    return trials


def fastest(trials: Sequence[Trial]) -> Trial:
    """The fastest that keeps quality; float32, which is one of them, does."""
    return min((one for one in trials if one.keeps_quality), key=lambda one: one.seconds)


def benchmark_runtime(engine: TextRuntime, sample: TokenTable, exact: FloatArray) -> Trial:
    """An engine on a sample of which the vectors [N, D] in float32 are known."""
    found, seconds = _timed(engine, sample)
    return Trial(engine, seconds, Agreement.of(exact, found))


def _sound(exact: FloatArray) -> FloatArray:
    """The same vectors [N, D], if they are some: of a damaged model they are zero or no numbers."""
    lengths = np.linalg.norm(exact, axis=1)
    damaged = int((~(np.abs(lengths - 1) < _UNIT)).sum())  # also where it is no number
    if damaged:
        raise QualityGateFailed(
            f"expected vectors of length 1, got none for {damaged} of {len(exact)} texts: the model is damaged; "
            "take an earlier one, or train it anew"
        )
    return exact


def _timed(engine: TextRuntime, sample: TokenTable) -> tuple[FloatArray, float]:
    encode_all(engine, sample)  # a first pass of each shape compiles and allocates
    started = time.perf_counter()
    vectors = encode_all(engine, sample)
    return vectors, time.perf_counter() - started
