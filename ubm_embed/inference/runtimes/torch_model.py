"""PyTorch: the model itself, over packed batches without a padded token.

Letters: N token sequences, B sessions with I interactions in all, D width.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Self, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.data.batches.packing import Packing, TokenBatch
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.errors import NotFound
from ubm_embed.inference.runtimes.runtime_name import RuntimeName
from ubm_embed.model.device import autocast, computes_bfloat16
from ubm_embed.model.user_behavior_model import UserBehaviorModel

# By type of device: enough to keep it busy, and little enough to fit a small one.
TOKENS_PER_BATCH = {"cpu": 8_192, "cuda": 262_144}


class TorchModel:
    """A `ModelRuntime` and a `TextRuntime` over a model in evaluation mode, on the device where it is.

    The model must keep its weights.

    Args:
        name: `TORCH`, or `TORCH_BFLOAT16` to compute in bfloat16.

    Raises:
        NotFound: this device has no bfloat16, and would emulate it at a hundredth of the speed.
    """

    def __init__(self, model: UserBehaviorModel, name: RuntimeName = RuntimeName.TORCH) -> None:
        if name is RuntimeName.TORCH_BFLOAT16 and not computes_bfloat16(model.device):
            raise NotFound(f"{model.device} does not compute in bfloat16; type: --runtime torch, or --runtime auto")
        self.model, self.name = model, name
        self.tokens_per_batch = TOKENS_PER_BATCH["cuda" if model.device.type == "cuda" else "cpu"]
        self._precision = "bfloat16" if name is RuntimeName.TORCH_BFLOAT16 else "float32"
        with autocast(model.device, self._precision):
            self._session_encoder = model.session_encoder.frozen()

    @classmethod
    def from_model(cls, model: UserBehaviorModel, device: str) -> Self:
        """A runtime over the model, or over a copy if it is on another device or in training mode."""
        ready = model.device == torch.device(device) and not any(module.training for module in model.modules())
        return cls(model if ready else deepcopy(model).to(device).eval())

    def in_bfloat16(self) -> Self:
        """A runtime over the same model that computes in bfloat16.

        Raises:
            NotFound: as of the class.
        """
        return type(self)(self.model, RuntimeName.TORCH_BFLOAT16)

    @torch.inference_mode()
    def encode_interactions(self, sequences: TokenTable) -> FloatArray:
        """As `ModelRuntime.encode_interactions`: [N, D]."""
        with autocast(self.model.device, self._precision):
            return _array(self.model.interaction_encoder(TokenBatch.from_table(sequences).to(self.model.device)))

    @torch.inference_mode()
    def encode_sessions(self, interactions: FloatArray, lengths: IntArray) -> FloatArray:
        """As `ModelRuntime.encode_sessions`: [I, D] and [B] -> [B, D]."""
        device = self.model.device
        with autocast(device, self._precision):
            packing = Packing.from_lengths(lengths).to(device)
            return _array(self._session_encoder(torch.from_numpy(interactions).to(device), packing))

    @torch.inference_mode()
    def encode(self, sequences: TokenTable) -> FloatArray:
        """As `TextRuntime.encode`: [N, D]."""
        device = self.model.device
        alone = Packing.from_lengths(np.ones(len(sequences), dtype=np.int64)).to(device)
        with autocast(device, self._precision):
            interactions = self.model.interaction_encoder(TokenBatch.from_table(sequences).to(device))
            return _array(normalize(self._session_encoder(interactions, alone).float(), dim=1))

    @torch.inference_mode()
    def predict(self, sessions: FloatArray) -> FloatArray:
        """As `ModelRuntime.predict`: [B, D + F] -> [B], or [B, 3].

        Raises:
            ValueError: the model has no head.
        """
        if self.model.head is None:
            raise ValueError("the model has no head")
        return _array(self.model.head.predict(torch.from_numpy(sessions).to(self.model.device)))


def _array(tensor: Tensor) -> FloatArray:
    return cast(FloatArray, tensor.float().cpu().numpy())
