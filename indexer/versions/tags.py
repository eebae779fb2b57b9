"""Names that people give to versions. A tagged version is never pruned.

tags.json    {"black-friday": 12}
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import pydantic

from indexer.store.embedding_store import TAGS_FILE, EmbeddingStore
from indexer.versions.live import VersionNumber
from indexer.versions.version import manifest_name, read_version
from ubm_embed.errors import InvalidData, NotFound
from ubm_embed.validation import invalid_data

# A tag of digits alone would look like a version's number.
_TAG = re.compile(r"(?!\d+$)[\w.-]{1,100}")
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
        raise InvalidData(f"expected letters, digits, '_', '.' or '-', not only digits, got {tag!r}", field="tag")
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
    """The number of the version that a number or a tag names; whether a numbered version exists is not checked.

    Raises:
        NotFound: no version has this tag.
        InvalidData: tags.json is damaged.
    """
    if name.isdecimal():
        return int(name)
    tags = read_tags(store)
    _require_known(name, tags)
    return tags[name]


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
