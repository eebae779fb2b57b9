"""What all rows of a table share; test_tables.py checks that every row is trained and evaluated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.quality.experiment import Experiment, open_experiment
from ubm_embed.data.sample_shop import write_sample_shop
from ubm_embed.data.tasks.split import Split
from ubm_embed.data.tasks.task import Task
from ubm_embed.training.recipes import Recipe


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """On a tiny made-up shop."""
    folder = tmp_path_factory.mktemp("experiment") / "shop"
    write_sample_shop(folder, products=60, sessions=500, seed=0)
    return open_experiment(folder, Task.NIP, "smoke", seed=3)


def test_settings_of_a_family_override_those_for_all_and_explicit_ones_override_both(experiment: Experiment) -> None:
    families = {
        "all": {"batch": 8, "max_steps": 3, "learning_rate": 1e-3},
        "bert": {"max_steps": 4, "negatives": 7},
        "bert, products trained": {"max_steps": 5},
    }
    sized = replace(experiment, size=replace(experiment.size, finetuning=families))
    config = sized.finetuning("bert")
    assert (config.task, config.seed, config.batch, config.max_steps, config.negatives) == (Task.NIP, 3, 8, 4, 7)
    trained = sized.finetuning("bert", train_products=True, negatives=9)
    assert (trained.max_steps, trained.negatives, trained.learning_rate) == (5, 9, 1e-3)
    assert sized.finetuning("ids").max_steps == 3


def test_rows_share_a_pre_trained_model_that_respects_the_split(experiment: Experiment) -> None:
    first = experiment.pretrained(bert=False)
    assert experiment.pretrained(bert=False) is first
    assert experiment.recipe_pretrained(Recipe.SHOP) is experiment.recipe_pretrained(Recipe.SHOP)
    assert Split.from_dict(first.record["split"]) == experiment.split


def test_every_row_has_the_same_questions(experiment: Experiment) -> None:
    assert experiment.examples is experiment.examples
    assert 2 <= len(experiment.examples) <= experiment.size.questions
    again = replace(experiment).examples
    assert np.array_equal(again.targets, experiment.examples.targets)
