"""The measures that training logs are those of `evaluation.uniformity`."""

import numpy as np
import pytest
import torch

from ubm_embed.evaluation import uniformity as defined
from ubm_embed.training import geometry

# Sums of some dozens of products of float32 numbers.
ROUNDING = 100 * float(np.finfo(np.float32).eps)


def test_both_measures_are_those_defined_for_arrays() -> None:
    x, y = 3 * torch.randn(2, 12, 16, generator=torch.Generator().manual_seed(0))
    assert geometry.alignment(x, y).item() == pytest.approx(defined.alignment(x.numpy(), y.numpy()), abs=ROUNDING)
    assert geometry.uniformity(x).item() == pytest.approx(defined.uniformity(x.numpy()), abs=ROUNDING)
