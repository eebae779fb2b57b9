"""What counting alone says of a purchase: a logistic regression and boosted trees, as arrays that a head carries.

Trees are evaluated as matrix products (Nakandala et al. 2020, "A tensor compiler for unified machine learning
prediction serving", the GEMM strategy), so that any runtime computes them without the library that grew them.

Letters: B sessions, F features, T trees, N splits and L leaves of each.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

LEAVES = 8
SPLITS = LEAVES - 1
# Of a leaf that a smaller tree does not have: no session passes this many splits to the left.
NO_LEAF = -1.0


class CountingLogit(nn.Module):
    """How far counts move the logit of a purchase from that of everybody; nowhere at first.

    Attributes:
        weights, bias: [F] and [], of the linear part.
        columns: [T, N] int64, which feature each split reads.
        thresholds: [T, N]; a session with at most this much of it goes to the left.
        paths: [T, N, L] 1 where the way to a leaf goes to the left of a split, -1 where to the right, else 0.
        lefts: [T, L] how often the way to a leaf goes to the left.
        values: [T, L] of the leaves.
    """

    weights: Tensor
    bias: Tensor
    columns: Tensor
    thresholds: Tensor
    paths: Tensor
    lefts: Tensor
    values: Tensor

    def __init__(self, features: int, trees: int) -> None:
        super().__init__()
        self.register_buffer("weights", torch.zeros(features))
        self.register_buffer("bias", torch.tensor(0.0))
        self.register_buffer("columns", torch.zeros(trees, SPLITS, dtype=torch.int64))
        self.register_buffer("thresholds", torch.zeros(trees, SPLITS))
        self.register_buffer("paths", torch.zeros(trees, SPLITS, LEAVES))
        self.register_buffer("lefts", torch.full((trees, LEAVES), NO_LEAF))
        self.register_buffer("values", torch.zeros(trees, LEAVES))

    def forward(self, features: Tensor) -> Tensor:
        """[B, F] -> [B]."""
        goes_left = (features[:, self.columns] <= self.thresholds).to(self.paths.dtype)
        reached = torch.einsum("btn,tnl->btl", goes_left, self.paths) == self.lefts
        trees = (reached * self.values).sum(dim=(1, 2))
        return features @ self.weights + self.bias + trees
