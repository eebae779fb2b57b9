"""A graph, opened by ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from numpy.typing import NDArray

from ubm_embed.data.arrays import FloatArray
from ubm_embed.errors import InvalidData
from ubm_embed.inference.runtimes.optional_library import load_library

_ERRORS_ONLY = 3


class GraphSession:
    """A graph with one output. Several threads may run it.

    Args:
        graph: a file, or a graph as bytes.
        threads: that one run may use.
        prepack: keep a second copy of the weights, private to this process, in the order in which they are multiplied.
        disabled: optimisations of ONNX Runtime to leave out, by name.

    Raises:
        NotFound: ONNX Runtime is not installed.
        InvalidData: the file is not a graph.
    """

    def __init__(
        self, graph: Path | bytes, *, threads: int, prepack: bool = True, disabled: Sequence[str] = ()
    ) -> None:
        library = load_library("onnxruntime", extra="cpu")
        settings = library.SessionOptions()
        settings.intra_op_num_threads = threads
        settings.log_severity_level = _ERRORS_ONLY
        # With spinning on, our own threads would wait for the cores that its threads keep busy.
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        settings.add_session_config_entry("session.disable_prepacking", "0" if prepack else "1")
        try:
            self._session: Any = library.InferenceSession(
                graph,
                settings,
                providers=["CPUExecutionProvider"],
                disabled_optimizers=list(disabled),
                enable_fallback=0,  # there is no other provider, and it prints
            )
        except Exception as error:  # ONNX Runtime has a kind of error for each kind of damage
            if isinstance(graph, bytes):
                raise
            raise InvalidData(f"not a graph that ONNX Runtime reads: {_first_line(error)}", file=graph) from None

    def run(self, inputs: dict[str, NDArray[Any]]) -> FloatArray:
        """The output for inputs by name."""
        return cast(FloatArray, self._session.run(None, inputs)[0])


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
