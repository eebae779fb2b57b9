"""Libraries that an extra of this package installs, and the message when one is missing."""

from __future__ import annotations

from importlib.util import find_spec

from ubm_embed.errors import NotFound

# By the name that is imported. Libraries that only some options need name their extra where they are loaded.
EXTRAS = {
    **dict.fromkeys(("altair", "vl_convert"), "diagnose"),
    "openTSNE": "tsne",
    **dict.fromkeys(("huggingface_hub", "onnx", "scipy", "sklearn", "torch", "transformers"), "train"),
    **dict.fromkeys(
        ("fastapi", "httptools", "msgspec", "prometheus_client", "redis", "starlette", "uvicorn", "uvloop"), "serve"
    ),
}


def missing_library(error: ImportError) -> str | None:
    """Says which library does not load and what to type; None if no extra installs it, since that is a bug."""
    library = (error.name or "").partition(".")[0]
    if library not in EXTRAS:
        return None
    return f"{library} does not load ({error}); type: pip install 'ubm-embed[{EXTRAS[library]}]'"


def require_libraries(*names: str, extra: str) -> None:
    """Raise `NotFound`, which says what to type, for a library that is not installed: called before long work."""
    for name in names:
        if find_spec(name) is None:
            raise NotFound(f"{name} is not installed; type: pip install 'ubm-embed[{extra}]'")
