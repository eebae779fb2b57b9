"""The only place that imports faiss."""

from __future__ import annotations

from typing import Any

from ubm_embed.errors import NotFound


def load_faiss() -> Any:
    """The faiss module.

    Raises:
        NotFound: it is not installed, or does not load; with the line to type.
    """
    try:
        import faiss
    except ImportError as error:
        install = "pip install 'ubm-embed[cpu]' (or 'ubm-embed[gpu]' where there is an NVIDIA GPU)"
        raise NotFound(f"faiss does not load ({error}); type: {install}") from error
    return faiss
