"""Answers predict how their session will go on if there is a model for it, and are otherwise the same."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from indexer.search.prediction import Prediction, Predictors
from indexer.search.retriever import Retriever
from ubm_embed.data.corpus import iter_products
from ubm_embed.data.session import Action, Interaction, Product, Session
from ubm_embed.data.tasks.task import Task
from ubm_embed.errors import InvalidData, NotFound
from ubm_embed.inference.predictor import Predictor

RED = Interaction(Action.SEARCH, query="red")


def view(product_id: str) -> Interaction:
    return Interaction(Action.VIEW, product_id=product_id)


def constant(task: Task, value: float) -> Any:
    """A predictor with one answer for everything."""
    return SimpleNamespace(
        task=task,
        predict=lambda sessions: np.full(len(sessions), value, np.float32),
        predict_product=lambda product: value,
    )


@pytest.fixture
def predictors(task_folders: dict[Task, Path]) -> dict[Task, Predictor]:
    return {task: Predictor.from_pretrained(folder) for task, folder in task_folders.items()}


@pytest.fixture
def retriever(store: Path, predictors: dict[Task, Predictor]) -> Retriever:
    return Retriever.open(store, predictors=list(predictors.values()))


@pytest.fixture
def catalogue(products: pl.DataFrame) -> list[Product]:
    return list(iter_products(products))


class TestPredictors:
    def test_each_task_goes_to_its_own_field(self) -> None:
        both = Predictors([constant(Task.RLP, 4.0), constant(Task.PIP, 0.25)])
        assert both.predict_sessions([Session((RED,))] * 2) == [Prediction(0.25, 4.0)] * 2
        assert both.predict_product(Product("shoe")) == Prediction(0.25, 4.0)

    def test_a_task_without_a_predictor_stays_empty(self) -> None:
        assert Predictors([constant(Task.RLP, 4.0)]).predict_sessions([Session((RED,))]) == [Prediction(None, 4.0)]
        assert Predictors().predict_sessions([Session((RED,))]) == [Prediction()]
        assert Predictors().predict_product(Product("shoe")) == Prediction()

    def test_no_sessions_get_no_predictions(self, predictors: dict[Task, Predictor]) -> None:
        assert Predictors(list(predictors.values())).predict_sessions([]) == []

    def test_two_for_one_task_are_refused(self, store: Path) -> None:
        two = [constant(Task.PIP, 0.1), constant(Task.RLP, 2.0), constant(Task.PIP, 0.2)]
        with pytest.raises(ValueError, match="at most one predictor for pip, got 2"):
            Predictors(two)
        with pytest.raises(ValueError, match="at most one predictor for pip, got 2"):
            Retriever.open(store, predictors=two)


def test_a_session_gets_the_predictions_of_the_models(
    retriever: Retriever, predictors: dict[Task, Predictor], catalogue: list[Product]
) -> None:
    full = Session((Interaction(Action.VIEW, product=catalogue[0]), RED, Interaction(Action.ADD, product=catalogue[2])))
    answer = retriever.recommend(Session((view("p1"), view("x"), RED, Interaction(Action.ADD, product_id="p3"))))
    assert answer.purchase_intention == pytest.approx(float(predictors[Task.PIP].predict([full])[0]), abs=1e-6)
    assert answer.remaining_length == pytest.approx(float(predictors[Task.RLP].predict([full])[0]), abs=1e-6)


def test_only_the_given_model_predicts(store: Path, predictors: dict[Task, Predictor]) -> None:
    answer = Retriever.open(store, predictors=[predictors[Task.PIP]]).recommend(Session((RED,)))
    assert answer.purchase_intention is not None
    assert answer.remaining_length is None
    assert "remaining_length" not in answer.to_dict()


def test_many_sessions_get_what_each_gets_alone(retriever: Retriever) -> None:
    many = [Session((RED,)), Session(()), Session((view("p1"), RED)), Session((view("x"),)), Session((view("p6"),))]
    for one, together in zip(many, retriever.recommend_many(many), strict=True):
        alone = retriever.recommend(one)
        assert together.purchase_intention == pytest.approx(alone.purchase_intention, abs=1e-6)
        assert together.remaining_length == pytest.approx(alone.remaining_length, abs=1e-6)


@pytest.mark.parametrize("session", [Session(()), Session((view("x"),))])
def test_an_unreadable_session_gets_no_predictions(retriever: Retriever, session: Session) -> None:
    answer = retriever.recommend(session)
    assert answer.fallback is not None
    assert (answer.purchase_intention, answer.remaining_length) == (None, None)


def test_matches_are_the_same_with_and_without_predictions(store: Path, retriever: Retriever) -> None:
    session = Session((view("p1"), RED))
    assert retriever.recommend(session).matches == Retriever.open(store).recommend(session).matches


def test_a_lookup_is_a_session_of_just_that_product(
    retriever: Retriever, predictors: dict[Task, Predictor], catalogue: list[Product]
) -> None:
    purchase, length = (predictors[task].predict_product(catalogue[4]) for task in (Task.PIP, Task.RLP))
    for answer in (retriever.lookup(catalogue[4]), retriever.lookup_id("p5")):
        assert answer.purchase_intention == pytest.approx(purchase, abs=1e-6)
        assert answer.remaining_length == pytest.approx(length, abs=1e-6)


def test_a_lookup_that_is_refused_stays_refused(retriever: Retriever) -> None:
    with pytest.raises(NotFound):
        retriever.lookup_id("x")
    with pytest.raises(InvalidData):
        retriever.lookup(Product(" "))
