"""The command that mends a fault of a store."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable

from indexer.store.embedding_store import LIVE_FILE, EmbeddingStore, model_folder
from indexer.versions.live import Live, version_numbers
from indexer.versions.revision import version_label
from indexer.versions.tags import read_tags
from indexer.versions.version import StoreVersion
from ubm_embed.errors import UbmError
from ubm_embed.wording import counted

UPGRADE = "pip install --upgrade ubm-embed"
# The command for a version. It is made at the end, when it is known which versions are whole.
Remedy = Callable[[int | None], str]


def always(command: str) -> Remedy:
    """The same command for any version."""
    return lambda _: command


class Remedies:
    """What to type for the faults of one store.

    Attributes:
        store: the store.
        live: what is live; None if live.json is damaged.
        damaged: numbers of the versions that cannot answer.
    """

    def __init__(self, store: EmbeddingStore) -> None:
        self.store = store
        self.live: Live | None = None
        self.damaged: set[int] = set()

    def refresh(self, options: str = "") -> str:
        """Bring the store up to date."""
        return f"ubm-embed refresh {options}--products FILE --store {self.store.uri}"

    def prune(self, number: int | None) -> str:
        """Remove what nothing needs."""
        return f"ubm-embed versions prune --store {self.store.uri}"

    def repair(self, number: int | None) -> str:
        """Make the files of a version again, from the table."""
        return f"ubm-embed doctor --repair --store {self.store.uri}"

    def drop_revision(self, number: int | None) -> str:
        """Go on without the revision: nothing else has what its segments had, but the next feed may."""
        if number is None or self.live is None or self.live.version != number or self.live.revision is None:
            return self.replace_version(number)
        command = f"ubm-embed versions rollback {number}.0 --store {self.store.uri}"
        changes = (
            f"{counted(self.live.revision.rows, 'change')} of revision {version_label(number, self.live.revision)}"
        )
        return f"{command}, which drops {changes}; the next refresh brings back what its catalogue has"

    def replace_version(self, number: int | None) -> str:
        """Prune the version if the live one is whole; else roll back to a whole version; else build the store again."""
        live = self.live.version if self.live else None
        if number is not None and live is not None and live != number and live not in self.damaged:
            return f"ubm-embed versions prune --keep 1 --store {self.store.uri}{self._after_untagging(number)}"
        before = self.live.history if self.live else ()
        candidates = (*before, *reversed(version_numbers(self.store)))
        whole = next((candidate for candidate in candidates if candidate not in self.damaged), None)
        if whole is not None:
            return f"ubm-embed versions rollback {whole} --store {self.store.uri}"
        return self.build()

    def copy_model(self, version: StoreVersion) -> Remedy:
        """Put the model of a version back."""

        def remedy(number: int | None) -> str:
            if self.live is not None and self.live.version == number:
                return f"{self.refresh('--model DIR ')}, where DIR has model {version.model_id}"
            folder = f"{self.store.uri}/{model_folder(version.model_id)}"
            return f"put the folder of model {version.model_id} back at {folder}, or {self.replace_version(number)}"

        return remedy

    def encode_again(self) -> str:
        """Go back to the libraries that made the vectors, or make them again."""
        return f"install what was there then, or encode all products again: {self.build()}"

    def build(self) -> str:
        """Build the store again, after what stands in the way is removed."""
        entries = self.store.storage.list()
        broken = [LIVE_FILE] if self.live is None and LIVE_FILE in entries else []
        try:
            self.store.table.latest()
        except (UbmError, OSError):
            broken += sorted({self.store.table.folder} & set(entries))
        first = f"remove {self._paths(broken)}, then type " if broken else ""
        return f"{first}ubm-embed build-index --model DIR --products FILE --store {self.store.uri}"

    def _paths(self, names: Iterable[str]) -> str:
        return " and ".join(f"{self.store.uri}/{name}" for name in names)

    def _after_untagging(self, number: int) -> str:
        """A tagged version is never pruned: what to type first."""
        with contextlib.suppress(UbmError, OSError):
            tags = sorted(tag for tag, tagged in read_tags(self.store).items() if tagged == number)
            commands = (f"`ubm-embed versions tag {tag} --delete --store {self.store.uri}`" for tag in tags)
            return "".join(f", after {command}" for command in commands)
        return ""
