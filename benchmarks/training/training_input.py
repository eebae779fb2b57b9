"""What the runners of training start from: a corpus, a model, and what a step reads."""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ubm_embed.data.arrays import IntArray
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.sample_shop import write_sample_shop
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.model.start import fresh_model
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.training.pretraining.stages import Stage
from ubm_embed.training.pretraining.views import Views


def open_corpus(options: argparse.Namespace) -> Corpus:
    """The corpus asked for, else a sample shop."""
    if options.corpus:
        return Corpus.open(options.corpus)
    with tempfile.TemporaryDirectory() as folder:
        shop = Path(folder) / "shop"
        write_sample_shop(shop, products=options.products, sessions=options.sessions, seed=options.seed)
        return Corpus.open(shop)


def starting_model(corpus: Corpus, options: argparse.Namespace) -> tuple[UserBehaviorModel, InteractionTokenizer]:
    """A model of the sizes asked for, in training on the device asked for, and its tokenizer."""
    sizes = {"layers": options.layers, "session_layers": options.layers, "width": options.width}
    model, tokenizer = fresh_model(corpus, seed=options.seed, dimension=options.width, **sizes)
    return model.to(options.device).train(), tokenizer


def stir(model: nn.Module) -> None:
    """Noise on every weight: a fresh session encoder's branches are silent and would hide a difference."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)


@dataclass(frozen=True)
class Step:
    """What all forms read in one round.

    Attributes:
        examples: pairs or sessions.
        reading_seconds: how long it took to draw, mask and pack them.
    """

    views: Views
    examples: int
    reading_seconds: float

    @classmethod
    def read(cls, stage: Stage, chosen: IntArray, number: int, seed: int) -> Step:
        """The views of a step, by its random numbers."""
        started = time.perf_counter()
        views = stage.views(chosen, np.random.default_rng([seed, stage.number, number]))
        return cls(views, chosen.size, time.perf_counter() - started)
