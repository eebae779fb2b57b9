"""An ONNX graph that is put together operation by operation. Nothing but the `onnx` package is needed for it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ubm_embed.inference.runtimes.optional_library import load_library

# The first version of the ONNX standard with GELU as one operation; runtimes since 2024 read it.
_OPSET = 20
_IR_VERSION = 10
_DTYPES = {"float": np.float32, "int64": np.int64}


class GraphBuilder:
    """Operations over named values, each operation by the name that the ONNX standard gives it.

    Raises:
        NotFound: the `onnx` package is not installed.
    """

    FLOAT = 1  # its number among ONNX's types

    def __init__(self) -> None:
        self._onnx = load_library("onnx", extra="onnx")
        self._known: dict[Any, list[str]] = {}  # names of outputs by what makes them
        self._nodes: list[Any] = []
        self._initializers: list[Any] = []
        self._inputs: list[Any] = []

    def input(self, name: str, dtype: str, shape: list[str | int]) -> str:
        """An input of the graph.

        Args:
            dtype: "float" or "int64".
            shape: a size, or a name for a size that is free.
        """
        self._inputs.append(self._value(name, dtype, shape))
        return name

    def constant(self, array: NDArray[Any]) -> str:
        """Weights or numbers that are part of the graph."""
        name = f"weight_{len(self._initializers)}"
        self._initializers.append(self._onnx.numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def ints(self, *numbers: int) -> str:
        """int64 numbers, such as axes: [K]."""
        return self._small(np.array(numbers, np.int64))

    def number(self, number: float) -> str:
        """One float32 number."""
        return self._small(np.array(number, np.float32))

    def index(self, number: int) -> str:
        """One int64 number."""
        return self._small(np.array(number, np.int64))

    def _small(self, array: NDArray[Any]) -> str:
        """A constant, once for all equal ones."""
        key = (array.dtype, array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = [self.constant(array)]
        return self._known[key][0]

    def op(self, operation: str, *inputs: str, **attributes: Any) -> str:
        """The output of an operation."""
        return self.ops(operation, *inputs, outputs=1, **attributes)[0]

    def ops(self, operation: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        """The outputs of an operation with several; the same one of the same inputs is computed once."""
        key = (operation, inputs, outputs, repr(attributes))
        if key not in self._known:
            names = [f"{operation}_{len(self._nodes)}_{index}" for index in range(outputs)]
            self._nodes.append(self._onnx.helper.make_node(operation, list(inputs), names, **attributes))
            self._known[key] = names
        return self._known[key]

    def model(self, output: str, shape: list[str | int], *, name: str = "vectors") -> Any:
        """The graph as an `onnx.ModelProto`.

        Args:
            output: the value that it returns, float32.
            shape: of the output, as for `input`.
            name: the name of the output.
        """
        helper = self._onnx.helper
        nodes = [*self._nodes, helper.make_node("Identity", [output], [name])]
        graph = helper.make_graph(
            nodes, "ubm", self._inputs, [self._value(name, "float", shape)], initializer=self._initializers
        )
        opset = [helper.make_opsetid("", _OPSET)]
        return helper.make_model(graph, opset_imports=opset, ir_version=_IR_VERSION, producer_name="ubm-embed")

    def _value(self, name: str, dtype: str, shape: list[str | int]) -> Any:
        helper = self._onnx.helper
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(_DTYPES[dtype])), shape)
