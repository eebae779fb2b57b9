"""How the vectors of a batch are computed: chunk by chunk, each process its share (GradCache, Gao et al. 2021).

A chunk is encoded without keeping what its backward pass needs, and encoded again when that comes, so that memory holds
the vectors of the whole batch but the activations of a chunk or two. Only the last chunk of each encoder is kept, since
its backward pass comes first. A chunk seeds its own dropout, so that it drops the same elements each time, in whichever
process.

Letters: N different interactions, B sessions, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ubm_embed.data.batches.chunks import Chunks
from ubm_embed.data.batches.packing import SessionBatch, TokenBatch
from ubm_embed.model.device import autocast
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.training.processes import ALONE, Processes

# At the paper's size a token keeps about 115 kB of activations in float32 and half of that in bfloat16.
CHUNK_TOKENS = {"cpu": 32_768, "cuda": 262_144}
_INTERACTIONS, _SESSIONS = 1, 2  # which encoder, for its seeds


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How to encode a batch; by default all at once, in this process, with the caller's random numbers.

    Attributes:
        chunk_tokens: the most tokens of interactions, or interactions of sessions, in a chunk; None for one chunk.
        precision: as `autocast` takes it.
        seeds: dropout is seeded from these, the encoder and the chunk; None leaves torch's generators alone.
        processes: those that share the work.
        recompute: encode all chunks but the last again for the backward pass; False keeps their activations.
    """

    chunk_tokens: int | None = None
    precision: str = "float32"
    seeds: tuple[int, ...] | None = None
    processes: Processes = ALONE
    recompute: bool = True

    def __post_init__(self) -> None:
        chunked = self.chunk_tokens is not None or self.processes.world_size > 1
        assert self.seeds is not None or not chunked, "what is encoded again must drop the same elements again"

    def interactions(self, model: UserBehaviorModel, tokens: TokenBatch) -> Tensor:
        """b' of N different interactions: [N, D] float32."""

        def encoder(begin: int, end: int) -> Callable[[], Tensor]:
            part = tokens.part(begin, end)
            return lambda: model.interaction_encoder(part.to(model.device))

        return self._vectors(_INTERACTIONS, tokens.packing.lengths, encoder, model.device)

    def sessions(self, model: UserBehaviorModel, batch: SessionBatch) -> Tensor:
        """h' of B sessions: [B, D] float32."""
        interactions = self.interactions(model, batch.tokens)

        def encoder(begin: int, end: int) -> Callable[[], Tensor]:
            index, packing = batch.part(begin, end)
            device = model.device
            return lambda: model.session_encoder(interactions[index.to(device)], packing.to(device))

        return self._vectors(_SESSIONS, batch.packing.lengths, encoder, model.device)

    def _vectors(
        self, level: int, lengths: Tensor, encoder: Callable[[int, int], Callable[[], Tensor]], device: torch.device
    ) -> Tensor:
        rank, world_size = self.processes.rank, self.processes.world_size
        chunks = Chunks.from_lengths(lengths.numpy(force=True), self.chunk_tokens, min_chunks=world_size)
        # A process without a chunk encodes the first and contributes none of it: all must take part in the collectives
        # of the backward pass.
        share = chunks.share(rank, world_size) or range(1)
        vectors = []
        for chunk in share:
            encode = self._seeded(level, chunk, encoder(*chunks.ends(chunk)), device)
            keep = chunk == share[-1] or not self.recompute
            vectors.append(encode() if keep else checkpoint(encode, use_reentrant=False, preserve_rng_state=False))
        sizes = chunks.sizes(world_size)
        return self.processes.gather(torch.cat(vectors)[: sizes[rank]], sizes)

    def _seeded(
        self, level: int, chunk: int, encode: Callable[[], Tensor], device: torch.device
    ) -> Callable[[], Tensor]:
        def seeded() -> Tensor:
            if self.seeds is not None:
                torch.manual_seed(int(np.random.default_rng([*self.seeds, level, chunk]).integers(2**62)))
            # Autocast for each chunk by itself: it copies the weights, and one copy for all chunks would sum their
            # gradients in bfloat16.
            with autocast(device, self.precision):
                return encode().float()

        return seeded


AT_ONCE = Encoding()
