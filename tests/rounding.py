"""How far two computations of the same value may be apart, from the number format and the length of the sums."""

import math

import torch

# Sums in a row of a Transformer layer: projections, scores, weighting, output, and two of the feed-forward part.
LAYER = 6
# Forward, the gradient of what goes in, and that of the weights.
FORWARD_AND_BACKWARD = 3


def rounding_error(sums: int, length: int, dtype: torch.dtype = torch.float32) -> float:
    """The error of a value near 1 after `sums` sums in a row, each of `length` terms.

    Every partial sum is rounded to a relative eps. The errors have no common sign, so over a sum they grow with the
    root of its length (Higham 2002, 2.8); from one sum to the next they add up.
    """
    return sums * math.sqrt(length) * torch.finfo(dtype).eps
