"""Settings that are declared once: type, bounds, description, each recipe's value, and the option that sets them.

    item_batch: Annotated[int, Field(ge=2, description="Pairs per step."), Setting(panel="Training", shop=256)] = 512

The recipes read the values from here, and the command line makes its options from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from ubm_embed.data.tasks.task import Task
from ubm_embed.validation import FrozenModel

AS_DECLARED: Any = object()
MAX_SEED = 2**64 - 1  # of PyTorch's generators


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is to know about a field of `Settings` beside its type, bounds, description and default.

    Attributes:
        panel: the help panel that its option is listed in; None offers no option.
        shop, paper: the value that the recipe gives it, or one per task as `{Task.NIP: 2}`; else the field's default.
        overridden_by: settings that cancel the recipe's value when they are given: the field's default holds again.
        tasks: the tasks that it applies to; for any other it keeps its default.
        name: the option's name where it is not the field's, or the pair of names of a yes and a no.
        choices: the words that the option takes, and the value that each stands for.
        lists_omissions: the option names the values to leave out of the field's default.
        unset: what the help says for None.
    """

    panel: str | None = None
    shop: Any = AS_DECLARED
    paper: Any = AS_DECLARED
    overridden_by: tuple[str, ...] = ()
    tasks: tuple[Task, ...] = tuple(Task)
    name: str | None = None
    choices: Mapping[str, Any] | None = None
    lists_omissions: bool = False
    unset: str | None = None

    def recipe_value(self, recipe: str, task: Task | None) -> Any:
        """The value that a recipe gives it, or `AS_DECLARED`."""
        if task is not None and task not in self.tasks:
            return AS_DECLARED
        value = getattr(self, recipe)
        return value.get(task, AS_DECLARED) if isinstance(value, Mapping) else value


class Settings(FrozenModel):
    """A frozen group of settings, checked when it is made. Its constructor raises ValueError, naming field and value.

    Every field carries a description and at most one `Setting`.
    """

    def replace(self, **changes: Any) -> Self:
        """The same settings but for these, checked again."""
        return type(self)(**{**dict(self), **changes})

    @classmethod
    def declarations(cls) -> dict[str, Setting]:
        """The `Setting` of each field, in the order of the fields."""
        found = {
            name: [mark for mark in field.metadata if isinstance(mark, Setting)]
            for name, field in cls.model_fields.items()
        }
        return {name: marks[0] if marks else Setting() for name, marks in found.items()}

    @classmethod
    def recipe_values(cls, recipe: str, task: Task | None = None, **given: Any) -> dict[str, Any]:
        """The values that a recipe sets otherwise than the defaults.

        Args:
            recipe: "shop" or "paper".
            task: the task to fine-tune for, where there is one.
            given: settings that the caller gives a value; those that they override are left out.
        """
        values = {
            name: setting.recipe_value(recipe, task)
            for name, setting in cls.declarations().items()
            if given.keys().isdisjoint(setting.overridden_by)
        }
        return {name: value for name, value in values.items() if value is not AS_DECLARED}
