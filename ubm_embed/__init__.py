"""The User Behavior Model: its data, training, evaluation and inference. Names are loaded when first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ubm_embed.data.corpus import Corpus
    from ubm_embed.data.inspection.corpus_report import inspect_corpus
    from ubm_embed.data.session import Action, Interaction, Product, Session
    from ubm_embed.data.tasks.task import Task
    from ubm_embed.errors import UbmError
    from ubm_embed.inference.embedder import Embedder
    from ubm_embed.inference.predictor import Predictor
    from ubm_embed.model.checkpoint import Checkpoint
    from ubm_embed.model.user_behavior_model import UserBehaviorModel
    from ubm_embed.training.finetuning.config import FinetuningConfig
    from ubm_embed.training.finetuning.finetune import finetune
    from ubm_embed.training.pretraining.config import PretrainingConfig
    from ubm_embed.training.pretraining.pretrain import pretrain

# Importing torch takes seconds, which `ubm-embed --help` must not spend.
_MODULES = {
    "Action": "ubm_embed.data.session",
    "Checkpoint": "ubm_embed.model.checkpoint",
    "Corpus": "ubm_embed.data.corpus",
    "Embedder": "ubm_embed.inference.embedder",
    "FinetuningConfig": "ubm_embed.training.finetuning.config",
    "Interaction": "ubm_embed.data.session",
    "Predictor": "ubm_embed.inference.predictor",
    "PretrainingConfig": "ubm_embed.training.pretraining.config",
    "Product": "ubm_embed.data.session",
    "Session": "ubm_embed.data.session",
    "Task": "ubm_embed.data.tasks.task",
    "UbmError": "ubm_embed.errors",
    "UserBehaviorModel": "ubm_embed.model.user_behavior_model",
    "finetune": "ubm_embed.training.finetuning.finetune",
    "inspect_corpus": "ubm_embed.data.inspection.corpus_report",
    "pretrain": "ubm_embed.training.pretraining.pretrain",
}

__all__ = [
    "Action",
    "Checkpoint",
    "Corpus",
    "Embedder",
    "FinetuningConfig",
    "Interaction",
    "Predictor",
    "PretrainingConfig",
    "Product",
    "Session",
    "Task",
    "UbmError",
    "UserBehaviorModel",
    "finetune",
    "inspect_corpus",
    "pretrain",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
