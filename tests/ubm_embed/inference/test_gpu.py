"""The GPU gives what the CPU gives. `pytest -m gpu`, on a machine that has one."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch

from tests.rounding import FORWARD_AND_BACKWARD, LAYER, rounding_error
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.tasks.examples import TaskExamples
from ubm_embed.inference.embedder import Embedder
from ubm_embed.model.checkpoint import Checkpoint
from ubm_embed.model.tower import TextInteractions, UBMTower
from ubm_embed.training.finetuning.objectives import NextItem

# Both encoders of the tiny model, and no sum of more than 64 terms.
ATOL = rounding_error(4 * LAYER, 64)
GRADIENT = rounding_error(4 * LAYER * FORWARD_AND_BACKWARD, 64)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

SESSIONS = SessionTable(np.array([1, 2, 1, 3], np.uint8), np.array([0, 3, 5, 1], np.int32), np.array([0, 2, 3, 4]))


def test_vectors_of_products_and_sessions_are_the_same(model, tokenizer, products):
    texts = tokenizer.product_texts(products)
    on = {device: Embedder(Checkpoint(deepcopy(model), tokenizer, "toy"), device=device) for device in ("cpu", "cuda")}
    for embed in (lambda one: one.embed_products(products), lambda one: one.embed_table(texts, SESSIONS)):
        assert embed(on["cuda"]) == pytest.approx(embed(on["cpu"]), abs=ATOL)


def test_the_callers_model_stays_on_the_cpu(model, tokenizer, products):
    embedder = Embedder(Checkpoint(model, tokenizer, "toy"), device="cuda")
    embedder.embed_products(products)
    assert (model.device.type, embedder.model_runtime.model.device.type) == ("cpu", "cuda")


@pytest.mark.parametrize("negatives", [None, 5])
def test_loss_and_gradients_of_a_fine_tuning_step_are_the_same(model, tokenizer, products, negatives):
    texts, examples = tokenizer.product_texts(products), TaskExamples(SESSIONS, np.array([6, 2, 4]))
    losses, gradients = [], []
    for device in ("cpu", "cuda"):
        copy = deepcopy(model).to(device).eval()
        tower = UBMTower(copy, TextInteractions(copy.interaction_encoder, tokenizer, texts), None)
        objective = NextItem(tower, 8, negatives=negatives)
        loss = objective.loss(examples, np.random.default_rng(0))
        loss.backward()
        losses.append(loss.item())
        gradients.append(
            torch.cat([weight.grad.flatten().cpu() for weight in copy.parameters() if weight.grad is not None])
        )
    assert losses[1] == pytest.approx(losses[0], abs=GRADIENT)
    assert torch.allclose(gradients[0], gradients[1], atol=GRADIENT)
