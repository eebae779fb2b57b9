"""What models with a head predict about the sessions that a store answers.

Letters: B sessions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ubm_embed.data.session import Product, Session
from ubm_embed.data.tasks.task import Task
from ubm_embed.inference.predictor import Predictor


@dataclass(frozen=True, slots=True)
class Prediction:
    """How a session will go on; None for a prediction whose model was not given.

    Attributes:
        purchase_intention: probability of a purchase.
        remaining_length: interactions still to come.
    """

    purchase_intention: float | None = None
    remaining_length: float | None = None


class Predictors:
    """At most one predictor for each task; without any, predictions are empty.

    Raises:
        ValueError: two predictors for one task.
    """

    def __init__(self, predictors: Sequence[Predictor] = ()) -> None:
        for task, count in Counter(predictor.task for predictor in predictors).items():
            if count > 1:
                raise ValueError(f"expected at most one predictor for {task}, got {count}")
        self.by_task = {predictor.task: predictor for predictor in predictors}

    def predict_sessions(self, sessions: Sequence[Session]) -> list[Prediction]:
        """One prediction for each of B sessions.

        Raises:
            ValueError: as `Predictor.predict`.
        """
        nothing = [None] * len(sessions)
        by_task = {task: predictor.predict(sessions).tolist() for task, predictor in self.by_task.items()}
        columns = (by_task.get(task, nothing) for task in (Task.PIP, Task.RLP))
        return [Prediction(*values) for values in zip(*columns, strict=True)]

    def predict_product(self, product: Product) -> Prediction:
        """The prediction for a session that holds only this product."""
        by_task = {task: predictor.predict_product(product) for task, predictor in self.by_task.items()}
        return Prediction(by_task.get(Task.PIP), by_task.get(Task.RLP))
