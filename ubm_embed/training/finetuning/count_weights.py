"""What counts weigh beside the cosines of a model that was fine-tuned, fitted on the validation part."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch.nn.functional import normalize

from ubm_embed.counts.fitting import fit_count_weights
from ubm_embed.counts.ranking_weights import CountWeights
from ubm_embed.data.arrays import FloatArray
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.tasks.dataset import TaskDataset
from ubm_embed.data.tasks.examples import TaskExamples
from ubm_embed.progress import Progress, silent
from ubm_embed.training.finetuning.objectives import NextItem, parts


@torch.no_grad()
def fitted_count_weights(
    objective: NextItem, dataset: TaskDataset, validation: TaskExamples, progress: Progress = silent
) -> CountWeights:
    """The weights that make the targets of next item prediction most likely; the training part alone is counted."""
    objective.eval()
    vectors = normalize(objective.product_vectors().float(), dim=1)

    def cosines(prefixes: SessionTable) -> FloatArray:
        batches = parts(np.arange(len(prefixes)), objective.batch)
        sessions = torch.cat([objective.tower.sessions(prefixes.take(batch)) for batch in batches])
        return cast(FloatArray, (normalize(sessions.float(), dim=1) @ vectors.T).cpu().numpy())

    training, products = dataset.parts.training, dataset.corpus.products
    return fit_count_weights(cosines, validation, training, products, repeats=dataset.repeats, progress=progress)
