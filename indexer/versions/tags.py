"""Names that people give to versions. A version with a name is never pruned.

tags.json    {"black-friday": 12}
"""

from __future__ import annotations

import re

from indexer.storage.json_record import as_bytes, parse_record
from indexer.store.embedding_store import TAGS_FILE, EmbeddingStore
from indexer.versions.version import manifest_of, read_version
from ubm_embed.errors import InvalidData, NotFound

# A number would be taken for a version's.
_NAME = re.compile(r"(?!\d+$)[\w.-]{1,100}")


def read_tags(store: EmbeddingStore) -> dict[str, int]:
    """The number of the version by its name.

    Raises:
        InvalidData: tags.json is not what it should be.
    """
    return _read(store)[0]


def add_tag(store: EmbeddingStore, name: str, number: int) -> None:
    """Give a version a name; one that another version had moves to this.

    Raises:
        NotFound: no such version.
        InvalidData: not a name; or the version's manifest or tags.json is damaged.
        Conflict: somebody else changed the names in the same moment.
    """
    if not _NAME.fullmatch(name):
        raise InvalidData(f"expected letters, digits, '_', '.' or '-', not only digits, got {name!r}", field="tag")
    read_version(store, number)
    tags, data = _read(store)
    store.storage.compare_and_swap(TAGS_FILE, as_bytes(tags | {name: number}), expected=data)
    if not store.storage.exists(manifest_of(number)):  # pruned in the same moment; see `pruning`, which looks again too
        delete_tag(store, name)
        raise NotFound(f"version {number} was pruned in the same moment")


def delete_tag(store: EmbeddingStore, name: str) -> None:
    """Take a name away.

    Raises:
        NotFound: no version has it.
        InvalidData: tags.json is damaged.
        Conflict: somebody else changed the names in the same moment.
    """
    tags, data = _read(store)
    if name not in tags:
        raise NotFound(f"no version is tagged {name!r}; there is: {', '.join(sorted(tags)) or 'none'}")
    del tags[name]
    store.storage.compare_and_swap(TAGS_FILE, as_bytes(tags), expected=data)


def number_of(store: EmbeddingStore, named: str) -> int:
    """The number of a version that is named by it or by a tag.

    Raises:
        NotFound: neither.
        InvalidData: tags.json is damaged.
    """
    if named.isdecimal():
        return int(named)
    tags = read_tags(store)
    if named not in tags:
        raise NotFound(f"no version is tagged {named!r}; there is: {', '.join(sorted(tags)) or 'none'}")
    return tags[named]


def _read(store: EmbeddingStore) -> tuple[dict[str, int], bytes | None]:
    file = f"{store.uri}/{TAGS_FILE}"
    try:
        data = store.storage.read(TAGS_FILE)
    except FileNotFoundError:
        return {}, None
    tags = parse_record(data, file=file)
    for name, number in tags.items():
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise InvalidData(f"expected a version number, got {number!r}", file=file, field=name)
    return tags, data
