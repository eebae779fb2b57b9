"""Tokens, vectors and predictions of committed models stay the same under another torch, transformers or tokenizers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from tests.rounding import LAYER, rounding_error
from tests.ubm_embed.golden.make_golden import HERE, MODELS, OUTPUTS, outputs_of
from ubm_embed.data.tasks.task import Task
from ubm_embed.model.checkpoint import Checkpoint
from ubm_embed.model.folder import model_id_of

# Both encoders and a head; no sum has more terms than the inside of a layer is wide.
ATOL = rounding_error(4 * LAYER + 3, 128)
# They are in units of 2.3 interactions.
PREDICTIONS = {Task.PIP: ATOL, Task.RLP: 2.3 * ATOL}


@pytest.fixture(scope="module", params=MODELS)
def task(request: pytest.FixtureRequest) -> Task:
    return Task(request.param)


@pytest.fixture(scope="module")
def golden(task: Task) -> Mapping[str, Any]:
    """What was computed when the models were made."""
    outputs: Mapping[str, Any] = json.loads(OUTPUTS.read_text("utf-8"))[str(task)]
    return outputs


@pytest.fixture(scope="module")
def outputs(task: Task) -> Mapping[str, Any]:
    """What is computed now."""
    return outputs_of(Checkpoint.from_pretrained(HERE / str(task)))


def test_token_ids(golden: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
    assert outputs["tokens"] == golden["tokens"]


@pytest.mark.parametrize("name", ["products", "sessions", "encoded_sessions"])
def test_vectors(name: str, golden: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
    np.testing.assert_allclose(outputs[name], golden[name], atol=ATOL, rtol=ATOL)


def test_predictions(task: Task, golden: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
    np.testing.assert_allclose(outputs["predictions"], golden["predictions"], atol=PREDICTIONS[task], rtol=0)


def test_every_part_shows_in_the_vectors(task: Task, golden: Mapping[str, Any]) -> None:
    """So that a change of any weight's meaning would be seen."""
    checkpoint = Checkpoint.from_pretrained(HERE / str(task))
    for name, weights in checkpoint.model.named_parameters():
        assert weights.abs().max() > 0.01, name
    products, sessions = (np.array(golden[name]) for name in ("products", "sessions"))
    for vectors in (products, sessions):
        distances = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)[~np.eye(len(vectors), dtype=bool)]
        assert distances.min() > 100 * ATOL


def test_a_folder_keeps_its_model_id(task: Task) -> None:
    """Stores name models by it."""
    record = json.loads((HERE / str(task) / "training.json").read_text("utf-8"))
    assert model_id_of(HERE / str(task)) == record["model_id"]
