"""Whether the rules of arms fit the versions that answer them."""

from __future__ import annotations

from collections.abc import Iterable

from indexer.search.retriever import Retriever
from indexer.service.experiments.experiment import Arm
from ubm_embed.errors import InvalidData


def require_fitting_rules(arms: Iterable[Arm], retriever: Retriever, pinned: int | None) -> None:
    """Compile the rules of the arms that a version answers, so that no request is refused for an arm's fault.

    Args:
        pinned: its number, if it is open for arms that name it; None for the live version.

    Raises:
        InvalidData: the rules of an arm do not fit, such as by a column that the version does not have; names the arm.
    """
    for arm in arms:
        if arm.version != pinned:
            continue
        try:
            retriever.matcher.popular(1, frozenset(), arm.rules)
        except InvalidData as error:
            if error.file is not None:  # the store is damaged
                raise
            number = retriever.version.version
            raise InvalidData(f"the rules of arm {arm.name!r} do not fit version {number}: {error}") from None
