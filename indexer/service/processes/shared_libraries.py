"""Libraries that workers share: their parent imports them, and each worker then has their pages without copies.

Their threads would not survive the fork, so the parent imports them without any.
"""

from __future__ import annotations

import os

from ubm_embed.inference.process import disable_telemetry, set_threads


def without_threads(threads: int) -> None:
    """Let libraries that are imported from now on start no thread of their own, and compute with `threads` later."""
    disable_telemetry()  # ONNX Runtime's
    os.environ.setdefault("JE_ARROW_MALLOC_CONF", "background_thread:false")  # of pyarrow's allocator
    set_threads(threads)


def import_libraries() -> None:
    """Import what is otherwise imported by the first index and the first model that are opened.

    Raises:
        NotFound: one is not installed.
    """
    from indexer.index.faiss_factory import load_faiss
    from ubm_embed.inference.runtimes.optional_library import load_library

    load_faiss()
    load_library("onnxruntime", extra="cpu")
