"""Names that people give to versions. A tagged version is never pruned.

tags.json    {"black-friday": 12}
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import pydantic

from indexer.store.embedding_store import TAGS_FILE, EmbeddingStore
from indexer.versions.live import VersionNumber, read_live
from indexer.versions.revision import Revision, version_label
from indexer.versions.version import manifest_name, read_version
from ubm_embed.errors import InvalidData, NotFound
from ubm_embed.validation import invalid_data

# A tag of digits would look like a version's number, and with a point like a revision. Older software took the latter.
_TAG = re.compile(r"(?!\d+(\.\d+)?$)[\w.-]{1,100}")
_REVISION = re.compile(r"(\d+)\.(\d+)")
_CONTENT = pydantic.TypeAdapter(dict[str, VersionNumber], config=pydantic.ConfigDict(strict=True))


def read_tags(store: EmbeddingStore) -> dict[str, int]:
    """The number of the tagged version, by tag.

    Raises:
        InvalidData: tags.json is damaged.
    """
    return _read(store)[0]


def add_tag(store: EmbeddingStore, tag: str, number: int) -> None:
    """Tag a version; a tag that another version has moves to this one.

    Raises:
        NotFound: there is no such version.
        InvalidData: the tag is invalid, or the version's manifest or tags.json is damaged.
        Conflict: another process changed the tags at the same moment.
    """
    if not _TAG.fullmatch(tag):
        raise InvalidData(
            f"expected letters, digits, '_', '.' or '-', and no number such as 3 or 3.17, got {tag!r}", field="tag"
        )
    read_version(store, number)
    tags, data = _read(store)
    store.storage.compare_and_swap(TAGS_FILE, _to_bytes(tags | {tag: number}), expected=data)
    # `pruning` removes the manifest first and looks for tags after, so one of the two always notices the other.
    if not store.storage.exists(manifest_name(number)):
        delete_tag(store, tag)
        raise NotFound(f"version {number} was pruned in the same moment")


def delete_tag(store: EmbeddingStore, tag: str) -> None:
    """Remove a tag from the version that has it.

    Raises:
        NotFound: no version has it.
        InvalidData: tags.json is damaged.
        Conflict: another process changed the tags at the same moment.
    """
    tags, data = _read(store)
    _require_known(tag, tags)
    del tags[tag]
    store.storage.compare_and_swap(TAGS_FILE, _to_bytes(tags), expected=data)


def resolve_number(store: EmbeddingStore, name: str) -> int:
    """The number of the version that a number, a tag, or a version and its last revision such as `3.17` names.

    Whether a numbered version exists is not checked.

    Raises:
        NotFound: no version has this tag, or this as its last revision.
        InvalidData: tags.json or live.json is damaged.
    """
    number, as_published = resolve_published(store, name)
    if as_published:
        raise NotFound(_only_the_last(number, read_live(store).revisions.get(number)))
    return number


def resolve_published(store: EmbeddingStore, name: str) -> tuple[int, bool]:
    """As `resolve_number`, and whether the name is of a version as it was published, such as `3.0`.

    Raises:
        NotFound, InvalidData: as `resolve_number`.
    """
    if name.isdecimal():
        return int(name), False
    tags, match = read_tags(store), _REVISION.fullmatch(name)
    if name not in tags and match:
        number, revision = int(match[1]), read_live(store).revisions.get(int(match[1]))
        if int(match[2]) not in (0, revision.number if revision else 0):
            raise NotFound(_only_the_last(number, revision))
        return number, revision is not None and match[2] == "0"
    _require_known(name, tags)
    return tags[name], False


def _only_the_last(number: int, revision: Revision | None) -> str:
    if revision is None:
        return f"version {number} has no revision"
    return f"of version {number} only the last revision is kept, {version_label(number, revision)}"


def _require_known(tag: str, tags: Mapping[str, int]) -> None:
    if tag not in tags:
        raise NotFound(f"no version is tagged {tag!r}; known tags: {', '.join(sorted(tags)) or '(none)'}")


def _read(store: EmbeddingStore) -> tuple[dict[str, int], bytes | None]:
    """The tags, and the content of the file for a later swap."""
    try:
        data = store.storage.read(TAGS_FILE)
    except FileNotFoundError:
        return {}, None
    try:
        return _CONTENT.validate_json(data), data
    except pydantic.ValidationError as error:
        raise invalid_data(error, file=f"{store.uri}/{TAGS_FILE}") from None


def _to_bytes(tags: Mapping[str, int]) -> bytes:
    return (json.dumps(tags) + "\n").encode("utf-8")
