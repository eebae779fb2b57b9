"""The ready-made mappings, by name. Light, so that the command line can list them."""

from __future__ import annotations

import difflib
from pathlib import Path

from ubm_embed.errors import NotFound

_FOLDER = Path(__file__).parent / "named"


def mapping_names() -> list[str]:
    """The names of all ready-made mappings, sorted."""
    return sorted(file.stem for file in _FOLDER.glob("*.toml"))


def named_mapping(name: str) -> Path:
    """The file of a ready-made mapping.

    Raises:
        NotFound: no such name; suggests similar ones.
    """
    names = mapping_names()
    if name not in names:
        similar = difflib.get_close_matches(name.lower(), names, 1, 0.5)
        guess = f"; did you mean {similar[0]!r}?" if similar else ""
        raise NotFound(f"no mapping {name!r}{guess}; ready-made: {', '.join(names)}")
    return _FOLDER / f"{name}.toml"
