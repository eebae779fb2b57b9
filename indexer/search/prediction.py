"""What models with a head say of the sessions that a store answers.

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
    """What a session will come to, as far as there is a model to say so.

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
        for task, count in Counter(one.task for one in predictors).items():
            if count > 1:
                raise ValueError(f"expected at most one predictor for {task}, got {count}")
        self.by_task = {one.task: one for one in predictors}

    def sessions(self, sessions: Sequence[Session]) -> list[Prediction]:
        """One prediction a session, B in all.

        Raises:
            ValueError: as `Predictor.predict`.
        """
        nothing = [None] * len(sessions)
        found = {task: one.predict(sessions).tolist() for task, one in self.by_task.items()}
        columns = (found.get(task, nothing) for task in (Task.PIP, Task.RLP))
        return [Prediction(*values) for values in zip(*columns, strict=True)]

    def product(self, product: Product) -> Prediction:
        """Of a session that holds nothing but this product."""
        found = {task: one.predict_product(product) for task, one in self.by_task.items()}
        return Prediction(found.get(Task.PIP), found.get(Task.RLP))
