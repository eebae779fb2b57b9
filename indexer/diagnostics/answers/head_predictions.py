"""What a head predicts for sampled sessions, and what came of these.

Letters: E examples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from indexer.diagnostics.finding import Finding
from indexer.diagnostics.report import Chart, Metric
from indexer.diagnostics.session_sample import SessionSample
from indexer.diagnostics.settings import DiagnosisSettings
from ubm_embed.data.arrays import FloatArray
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.tasks.dataset import TaskDataset
from ubm_embed.data.tasks.split import SplitParts
from ubm_embed.data.tasks.task import MIN_INTERACTIONS, SplitKind, Task
from ubm_embed.inference.predictor import Predictor
from ubm_embed.model.folder import ModelFolder


@dataclass(frozen=True, kw_only=True)
class HeadReport:
    """What is reported of one head."""

    metrics: tuple[Metric, ...] = ()
    charts: tuple[Chart, ...]
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class HeadPredictions:
    """Predictions of one head for E sessions.

    Attributes:
        values: probabilities of a purchase, or lengths: [E].
        outcomes: whether a purchase followed, or how many interactions did: [E].
        sample: that the sessions are from.
    """

    task: Task
    values: FloatArray
    outcomes: NDArray[Any]
    sample: SessionSample

    @classmethod
    def measure(cls, predictor: Predictor, model: ModelFolder, corpus: Corpus, settings: DiagnosisSettings) -> Self:
        """Predict for sessions that training has not read, if it is known which these are.

        Args:
            predictor: of `model`.

        Raises:
            InvalidData: the corpus has no two examples of the task, or of one outcome only.
        """
        shortest = _min_interactions(model)
        sample = SessionSample.draw(corpus, settings.examples, settings.seed, model, min_interactions=shortest + 1)
        tokenized = TokenizedCorpus.from_corpus(sample.corpus, model.tokenizer)
        membership = np.full(len(tokenized.sessions), "test", dtype=object)
        parts = SplitParts.from_membership(tokenized.sessions, membership)
        dataset = TaskDataset.from_parts(predictor.task, tokenized, parts, SplitKind.SESSION, min_interactions=shortest)
        examples = dataset.test(max_examples=settings.examples, seed=settings.seed)
        predictions = predictor.predict_table(tokenized.texts, examples.prefixes)
        return cls(predictor.task, predictions, examples.targets, sample)


def _min_interactions(model: ModelFolder) -> int:
    """The shortest prefix in fine-tuning."""
    tuned = model.record.get("finetuning")
    value = tuned.get("min_interactions") if isinstance(tuned, dict) else None
    return value if isinstance(value, int) else MIN_INTERACTIONS
