"""How much of a space a diagnosis looks at. Its time and memory depend on these, and on one pass over the vectors."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ubm_embed.validation import FrozenModel

_Count = Annotated[int, Field(ge=2, le=100_000)]


class DiagnosisSettings(FrozenModel):
    """Sample sizes.

    Attributes:
        sample: products whose vectors are compared with each other: uniformity, hubness, maps. Time and memory grow
            with its square.
        queries: products that are searched for among all others.
        texts: products whose texts are read again by the model.
        sessions: sessions of the corpus that are read by the model.
        examples: sessions whose outcome is compared with what a head predicted.
        embedded: products that a model embeds where there is no store.
        rounds: resamples of a bootstrap.
        seed: of every sample. The same seed gives the same report.

    Raises:
        ValueError: a value outside its range.
    """

    sample: Annotated[int, Field(ge=2, le=20_000)] = 4000
    queries: Annotated[int, Field(ge=2, le=10_000)] = 500
    texts: _Count = 256
    sessions: _Count = 400
    examples: _Count = 800
    embedded: _Count = 20_000
    rounds: Annotated[int, Field(ge=20, le=10_000)] = 300
    seed: Annotated[int, Field(ge=0)] = 0
