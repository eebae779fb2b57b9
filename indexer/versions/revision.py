"""Revisions of a version: what changed since it was published, in small files that never change.

revisions/<version>/<name>    a segment: products that were upserted or deleted, as `indexer.revisions` writes it

A revision is a list of segments, the oldest first, which live.json names: of two rows of a product the later one
counts. So the swap of live.json makes a revision live, as it does a version.
"""

from __future__ import annotations

import re
from typing import Annotated, Self

import pydantic
from pydantic import Field

from indexer.store.embedding_store import revision_folder
from ubm_embed.validation import FrozenModel

# Of `segment_name`; a name must not lead out of the folder.
_NAME = re.compile(r"\d+-[0-9a-f]{16}\.arrow")


class SegmentFile(FrozenModel):
    """A segment as live.json names it.

    Attributes:
        name: in the revision folder of its version.
        rows: products that it upserts or deletes.
        bytes: its size.
        sha256: of its content, in hexadecimal.
    """

    name: str
    rows: Annotated[int, Field(ge=1)]
    bytes: Annotated[int, Field(ge=1)]
    sha256: str

    @pydantic.field_validator("name")
    @classmethod
    def _require_name(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError(f"must be the name of a segment, got {name!r}")
        return name


class Revision(FrozenModel):
    """What changed since a version was published.

    Attributes:
        number: from 1; each change of the version has the next one.
        segments: the oldest first; none if all changes were dropped.
        created: UTC, ISO 8601.
        since: changes of revisions before this one were dropped; 0 if none were. `publish_revision` carries it on.
    """

    number: Annotated[int, Field(ge=1)]
    segments: tuple[SegmentFile, ...]
    created: str
    since: Annotated[int, Field(ge=0)] = 0

    def continues(self, number: int) -> bool:
        """Whether a reader of revision `number` of the same version needs only the rows of later revisions.

        If not, changes that it read were dropped since, and it starts again from the files of the version. 0 is the
        version without a revision.
        """
        return number == 0 or self.since <= number <= self.number

    @classmethod
    def without_changes(cls, number: int, created: str) -> Self:
        """The revision in which a version is again as it was published."""
        return cls(number=number, segments=(), created=created, since=number)

    @property
    def rows(self) -> int:
        """Rows of all segments; a product that changed several times may have several."""
        return sum(segment.rows for segment in self.segments)

    @property
    def bytes(self) -> int:
        """Of all segments."""
        return sum(segment.bytes for segment in self.segments)


def segment_path(version: int, name: str) -> str:
    """Name of a segment's file in its store."""
    return f"{revision_folder(version)}/{name}"


def revision_of_segment(name: str) -> int:
    """The revision that a segment was written for, by its file's name; 0 if it is no segment's name."""
    return int(name.partition("-")[0]) if _NAME.fullmatch(name) else 0


def version_label(version: int, revision: Revision | None) -> str:
    """A version and its revision as people write them: `3.17`, and `3` without a revision."""
    return str(version) if revision is None else f"{version}.{revision.number}"
