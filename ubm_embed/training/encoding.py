"""How the vectors of a batch are computed: chunk by chunk, each process its share (GradCache, Gao et al. 2021).

A chunk is encoded without keeping what its backward needs, and encoded again when that comes, so that memory holds the
vectors of the whole batch but the inside of a chunk or two. Only a level's last chunk is kept, as its backward comes
first. A chunk seeds its own dropout, so that it drops the same elements each time, whoever encodes it.

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
from ubm_embed.data.batches.distinct_batches import SessionBatch, TokenBatch
from ubm_embed.model.precision import autocast
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.training.processes import ALONE, Processes

# At the paper's size an encoder token keeps about 115 kB in float32 and half of that in bfloat16.
CHUNK_TOKENS = {"cpu": 32_768, "cuda": 262_144}


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How to encode a batch; by default at once, by this process, with the caller's random numbers.

    Attributes:
        chunk_tokens: tokens of interactions, and interactions of sessions, in a chunk; None for all in one.
        precision: as `autocast` takes it.
        seeds: what dropout is seeded from, together with the level and the chunk; None leaves torch's generators alone.
        processes: who shares the work.
    """

    chunk_tokens: int | None = None
    precision: str = "float32"
    seeds: tuple[int, ...] | None = None
    processes: Processes = ALONE

    def __post_init__(self) -> None:
        cut = self.chunk_tokens is not None or self.processes.world > 1
        assert self.seeds is not None or not cut, "what is encoded again must drop the same elements again"

    def interactions(self, model: UserBehaviorModel, tokens: TokenBatch) -> Tensor:
        """b' of N different interactions: [N, D] float32."""

        def encoder(begin: int, end: int) -> Callable[[], Tensor]:
            part = tokens.part(begin, end)
            return lambda: model.interaction_encoder(part.to(model.device))

        return self._vectors(1, tokens.packing.lengths, encoder, model.device)

    def sessions(self, model: UserBehaviorModel, batch: SessionBatch) -> Tensor:
        """h' of B sessions: [B, D] float32."""
        interactions = self.interactions(model, batch.tokens)

        def encoder(begin: int, end: int) -> Callable[[], Tensor]:
            index, packing = batch.part(begin, end)
            device = model.device
            return lambda: model.session_encoder(interactions[index.to(device)], packing.to(device))

        return self._vectors(2, batch.packing.lengths, encoder, model.device)

    def _vectors(
        self, level: int, lengths: Tensor, encoder: Callable[[int, int], Callable[[], Tensor]], device: torch.device
    ) -> Tensor:
        rank, world = self.processes.rank, self.processes.world
        chunks = Chunks.of(lengths.numpy(force=True), self.chunk_tokens, least=world)
        # Whoever has no chunk encodes the first and gives nothing of it: all must take part in what is sent backward.
        share = chunks.share(rank, world) or range(1)
        vectors = []
        for chunk in share:
            encode = self._replayable(level, chunk, encoder(*chunks.ends(chunk)), device)
            kept = chunk == share[-1]
            vectors.append(encode() if kept else checkpoint(encode, use_reentrant=False, preserve_rng_state=False))
        sizes = chunks.sizes(world)
        return self.processes.gather(torch.cat(vectors)[: sizes[rank]], sizes)

    def _replayable(
        self, level: int, chunk: int, encode: Callable[[], Tensor], device: torch.device
    ) -> Callable[[], Tensor]:
        def replayable() -> Tensor:
            if self.seeds is not None:
                torch.manual_seed(int(np.random.default_rng([*self.seeds, level, chunk]).integers(2**62)))
            # Autocast for each chunk: the copies of the weights that it makes would add up all chunks' gradients
            # in bfloat16.
            with autocast(device, self.precision):
                return encode().float()

        return replayable


AT_ONCE = Encoding()
