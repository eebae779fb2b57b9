"""PyTorch: the model itself, over packed batches without a padded token.

Letters: N sequences, D width.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch.nn.functional import normalize

from ubm_embed.data.arrays import FloatArray
from ubm_embed.data.batches.packing import Packing, TokenBatch
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.errors import NotFound
from ubm_embed.inference.runtimes.runtime_name import RuntimeName
from ubm_embed.model.device import autocast, computes_bfloat16
from ubm_embed.model.user_behavior_model import UserBehaviorModel

# By type of device: enough to keep it busy, and little enough to fit a small one.
TOKENS_PER_BATCH = {"cpu": 8_192, "cuda": 262_144}


class TorchRuntime:
    """A `TextRuntime` over a model in evaluation mode, on the device where it is."""

    by_length = False  # packing needs a mix of lengths to fill its tiles, and then every batch has the same shape

    def __init__(self, model: UserBehaviorModel, name: RuntimeName = RuntimeName.TORCH) -> None:
        self.model, self.name = model, name
        self.tokens_per_batch = TOKENS_PER_BATCH["cuda" if model.device.type == "cuda" else "cpu"]

    @classmethod
    def from_model_in_bfloat16(cls, model: UserBehaviorModel) -> TorchRuntime:
        """A runtime that computes in bfloat16.

        Raises:
            NotFound: this device has no bfloat16, and would emulate it at a hundredth of the speed.
        """
        if not computes_bfloat16(model.device):
            raise NotFound(f"{model.device} does not compute in bfloat16; type: --runtime torch, or --runtime auto")
        return cls(model, RuntimeName.TORCH_BFLOAT16)

    @torch.inference_mode()
    def encode(self, sequences: TokenTable) -> FloatArray:
        """As `TextRuntime.encode`: [N, D]."""
        device = self.model.device
        alone = Packing.from_lengths(np.ones(len(sequences), dtype=np.int64)).to(device)
        with autocast(device, "bfloat16" if self.name is RuntimeName.TORCH_BFLOAT16 else "float32"):
            interactions = self.model.interaction_encoder(TokenBatch.from_table(sequences).to(device))
            vectors = self.model.session_encoder(interactions, alone)
        return cast(FloatArray, normalize(vectors.float(), dim=1).cpu().numpy())
