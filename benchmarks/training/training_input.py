"""The input of the training runners: a corpus, a model to start from, and the batch of a step."""

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
    """The corpus of `--corpus`, else a sample shop."""
    if options.corpus:
        return Corpus.open(options.corpus)
    with tempfile.TemporaryDirectory() as folder:
        shop = Path(folder) / "shop"
        write_sample_shop(shop, products=options.products, sessions=options.sessions, seed=options.seed)
        return Corpus.open(shop)


def starting_model(corpus: Corpus, options: argparse.Namespace) -> tuple[UserBehaviorModel, InteractionTokenizer]:
    """An untrained model of the options' size, in training mode on their device, and its tokenizer."""
    sizes = {"layers": options.layers, "session_layers": options.layers, "width": options.width}
    model, tokenizer = fresh_model(corpus, seed=options.seed, dimension=options.width, **sizes)
    return model.to(options.device).train(), tokenizer


def stir(model: nn.Module) -> None:
    """Add noise to every weight: the zero branches of a fresh session encoder would hide differences."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)


@dataclass(frozen=True)
class Step:
    """The batch that all variants read in one round.

    Attributes:
        examples: pairs or sessions.
        reading_seconds: time for drawing, masking and packing it.
    """

    views: Views
    examples: int
    reading_seconds: float

    @classmethod
    def read(cls, stage: Stage, chosen: IntArray, number: int, seed: int) -> Step:
        """The batch of step `number` of a stage, drawn with that step's random numbers."""
        started = time.perf_counter()
        views = stage.views(chosen, np.random.default_rng([seed, stage.number, number]))
        return cls(views, chosen.size, time.perf_counter() - started)
