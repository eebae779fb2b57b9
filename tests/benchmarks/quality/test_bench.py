"""What all rows of a table share; that every row is trained and asked is tested with the tables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.quality.bench import Bench
from benchmarks.quality.tables import bench_of
from ubm_embed.data.sample_shop import write_sample_shop
from ubm_embed.data.tasks.split import Split
from ubm_embed.data.tasks.task import Task
from ubm_embed.training.recipes import Recipe


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Of a tiny made-up shop."""
    folder = tmp_path_factory.mktemp("bench") / "shop"
    write_sample_shop(folder, products=60, sessions=500, seed=0)
    return bench_of(folder, Task.NIP, "smoke", seed=3)


def test_a_family_s_settings_go_before_those_of_all_and_what_is_said_before_both(bench: Bench) -> None:
    families = {
        "all": {"batch": 8, "max_steps": 3, "learning_rate": 1e-3},
        "bert": {"max_steps": 4, "negatives": 7},
        "bert, products trained": {"max_steps": 5},
    }
    sized = replace(bench, size=replace(bench.size, finetuning=families))
    found = sized.finetuning("bert")
    assert (found.task, found.seed, found.batch, found.max_steps, found.negatives) == (Task.NIP, 3, 8, 4, 7)
    trained = sized.finetuning("bert", train_products=True, negatives=9)
    assert (trained.max_steps, trained.negatives, trained.learning_rate) == (5, 9, 1e-3)
    assert sized.finetuning("ids").max_steps == 3


def test_rows_share_a_pre_trained_model_that_kept_to_the_split(bench: Bench) -> None:
    first = bench.pretrained(bert=False)
    assert bench.pretrained(bert=False) is first
    assert bench.recipe_pretrained(Recipe.SHOP) is bench.recipe_pretrained(Recipe.SHOP)
    assert Split.from_dict(first.record["split"]) == bench.split


def test_the_same_questions_for_every_row(bench: Bench) -> None:
    assert bench.examples is bench.examples
    assert 2 <= len(bench.examples) <= bench.size.questions
    again = replace(bench).examples
    assert np.array_equal(again.targets, bench.examples.targets)
