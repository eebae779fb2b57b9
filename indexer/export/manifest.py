"""What an exported folder says of where its vectors come from."""

from __future__ import annotations

import json
from pathlib import Path

from indexer.revisions.revised_version import RevisedVersion
from indexer.versions.version import MANIFEST_FILE


def write_manifest(revised: RevisedVersion, products: int, folder: Path) -> None:
    """Write the version's manifest, with how many products were exported of it and the number of its revision."""
    document = revised.version.replace(products=products, indexed=products).to_dict()
    if revised.revision is not None:
        document["revision"] = revised.revision.number
    (folder / MANIFEST_FILE).write_text(json.dumps(document, indent=2) + "\n", "utf-8")
