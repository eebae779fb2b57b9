"""Libraries that come with an extra of this package, for the message to those who lack one."""

from __future__ import annotations

# By the name that is imported. Libraries that only some options need name their extra where they are loaded.
EXTRAS = dict.fromkeys(("huggingface_hub", "onnx", "scipy", "sklearn", "torch", "transformers"), "train")


def missing_library(error: ImportError) -> str | None:
    """Which library does not load, with the line to type; None if it comes with no extra, so that its lack is a bug."""
    library = (error.name or "").partition(".")[0]
    if library not in EXTRAS:
        return None
    return f"{library} does not load ({error}); type: pip install 'ubm-embed[{EXTRAS[library]}]'"
