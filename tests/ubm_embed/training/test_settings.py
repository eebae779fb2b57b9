"""Settings carry their recipes' values, and what is given or changed is checked."""

from typing import Annotated

import pytest
from pydantic import Field

from ubm_embed.data.tasks.task import Task
from ubm_embed.training.settings import Setting, Settings


class Baking(Settings):
    """Settings of an oven."""

    task: Task = Task.NIP
    plain: int = 1
    heat: Annotated[int, Field(ge=1), Setting(shop=200, paper=180)] = 150
    minutes: Annotated[int | None, Field(ge=1), Setting(shop=20, overridden_by=("heat",))] = None
    steam: Annotated[bool, Setting(shop=True, tasks=(Task.NIP,))] = False
    trays: Annotated[int, Setting(shop={Task.NIP: 2, Task.PIP: 3})] = 1


class TestRecipeValues:
    def test_are_those_that_differ_from_the_defaults(self):
        assert Baking.recipe_values("paper") == {"heat": 180}
        assert Baking.recipe_values("paper", Task.NIP) == {"heat": 180}

    def test_may_differ_by_task(self):
        trays = [Baking.recipe_values("shop", task).get("trays") for task in (Task.NIP, Task.PIP, Task.RLP)]
        assert trays == [2, 3, None]

    def test_hold_only_for_the_tasks_of_the_setting(self):
        assert Baking.recipe_values("shop", Task.NIP)["steam"] is True
        assert "steam" not in Baking.recipe_values("shop", Task.PIP)

    def test_yield_to_settings_that_override_them(self):
        assert Baking.recipe_values("shop", plain=3)["minutes"] == 20
        assert "minutes" not in Baking.recipe_values("shop", heat=90)


def test_every_field_has_a_declaration_in_the_order_of_the_fields():
    declarations = Baking.declarations()
    assert list(declarations) == ["task", "plain", "heat", "minutes", "steam", "trays"]
    assert declarations["plain"] == Setting()
    assert declarations["heat"].shop == 200


class TestReplace:
    def test_changes_these_settings_only(self):
        before = Baking(heat=100, trays=4)
        assert before.replace(heat=120) == Baking(heat=120, trays=4)
        assert before.heat == 100

    def test_is_checked(self):
        with pytest.raises(ValueError, match=r"^heat must be at least 1, got 0$"):
            Baking().replace(heat=0)
        with pytest.raises(ValueError, match="salt is unknown"):
            Baking().replace(salt=1)
