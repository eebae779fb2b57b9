"""Behaviours by hand, and a map of a tiny shop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.figures_of_the_paper import session_map
from benchmarks.figures_of_the_paper.session_map import BUYERS, LOOKERS
from benchmarks.quality.experiment import open_experiment
from ubm_embed.data.sample_shop import write_sample_shop
from ubm_embed.data.session import Action
from ubm_embed.data.tasks.task import Task

SEARCH, VIEW, ADD, BUY, _ = (action.code for action in Action)


@pytest.mark.parametrize(
    ("actions", "behaviour"),
    [
        ([VIEW, VIEW, VIEW], LOOKERS),
        ([SEARCH, VIEW, VIEW, SEARCH, VIEW, VIEW], LOOKERS),
        ([VIEW, VIEW, VIEW, ADD], BUYERS),
        ([VIEW, SEARCH, VIEW, VIEW, ADD, BUY], BUYERS),
        ([VIEW, VIEW, ADD, VIEW], None),  # added before the third view
        ([VIEW, ADD, VIEW, VIEW, ADD], None),
        ([VIEW, VIEW, VIEW, BUY], None),  # bought without adding
        ([VIEW, VIEW, VIEW, BUY, ADD], None),
        ([VIEW, VIEW], None),
        ([SEARCH, VIEW, VIEW, ADD], None),
        ([SEARCH, SEARCH, SEARCH], None),
        ([], None),
    ],
)
def test_the_behaviour_depends_on_the_third_view_and_what_follows(actions: list[int], behaviour: str | None) -> None:
    assert session_map._behaviour(np.array(actions, dtype=np.uint8)) == behaviour


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A tiny made-up shop."""
    write_sample_shop(tmp_path / "shop", products=60, sessions=500, seed=0)
    return tmp_path / "shop"


def test_every_session_of_a_tiny_shop_has_coordinates(shop: Path) -> None:
    report = session_map.session_map(open_experiment(shop, Task.PIP, "smoke"))
    sessions = report["sessions"]
    assert report["models"].keys() == report["separation"].keys() == {"UBM_wo_BERT"}
    coordinates = np.array(report["models"]["UBM_wo_BERT"])
    assert coordinates.shape == (len(sessions), 2)
    assert np.isfinite(coordinates).all()
    assert -1 <= report["separation"]["UBM_wo_BERT"] <= 1
    assert {session["group"] for session in sessions} == {BUYERS, LOOKERS}
    assert 1 <= len({session["category"] for session in sessions}) <= 2
    for session in sessions:
        words = [line.split()[0] for line in session["text"]]
        assert words.count("view") >= 3
        assert ("add" in words) == (session["group"] == BUYERS)
