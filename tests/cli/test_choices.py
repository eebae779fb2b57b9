"""What commands offer is what the library takes; they are written twice so that --help imports none of it."""

from __future__ import annotations

from cli.choices import Precision, SplitBy, Task
from ubm_embed.data.tasks import examples as tasks
from ubm_embed.data.tasks.split import SPLITS
from ubm_embed.model.precision import PRECISIONS


def test_the_same_words_in_the_same_order() -> None:
    assert {one.name: one.value for one in Task} == {one.name: one.value for one in tasks.Task}
    assert [str(one) for one in SplitBy] == [str(one) for one in SPLITS]
    assert [str(one) for one in Precision] == [str(one) for one in PRECISIONS]
