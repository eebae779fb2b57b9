"""Behaviours by hand, and a map of a tiny shop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.figures_of_the_paper import session_map
from benchmarks.figures_of_the_paper.session_map import BUYERS, LOOKERS, WITHIN
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
    assert report["models"].keys() == report["separation"].keys() == {"UBM_wo_BERT", f"UBM_wo_BERT, {WITHIN}"}
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


class TestReadings:
    """Vectors in which the category is a long axis, and the behaviour a short one."""

    LABELS = tuple((category, behaviour) for category in "ab" for behaviour in (BUYERS, LOOKERS) for _ in range(20))

    def readings(self, short: float) -> dict[str, Any]:
        categories, behaviours = zip(*self.LABELS, strict=True)
        axes = np.array([[category == "a", behaviour == BUYERS] for category, behaviour in self.LABELS], float)
        noise = np.random.default_rng(0).normal(scale=0.2, size=(80, 6))
        noise[:, 0] += 4 * axes[:, 0]
        noise[:, 1] += short * axes[:, 1]
        return session_map._readings(noise.astype(np.float32), categories, behaviours)

    def test_a_line_reads_what_neighbours_do_not_show(self) -> None:
        found = self.readings(short=0.5)
        assert found["share_of_variance"]["category"] > 0.9
        assert found["share_of_variance"]["behaviour"] < 0.1
        assert found["assortativity"]["category"] > 0.8
        assert found["assortativity"]["behaviour"] < found["assortativity"]["category"]
        assert found["behaviour_auroc"] > 0.85

    def test_what_is_not_there_is_not_read(self) -> None:
        found = self.readings(short=0)
        assert abs(found["assortativity"]["behaviour"]) < 0.15
        assert 0.3 < found["behaviour_auroc"] < 0.7
