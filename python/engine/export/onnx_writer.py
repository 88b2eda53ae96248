"""An ONNX graph as it grows: names, constants, and the tensor that has come so far."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine._base.checks import Shape
from engine.export.graph import Graph, Stage, Step


class Writer:
    """Nodes and initializers of one graph.

    Args:
        onnx: the package.
        graph: the model; its layers' names are kept for what they put out.

    Attributes:
        x: name of the tensor so far.
        shape: of one of its samples.
        counted: name of what says which rows are part of the next mean: 1 or 0, of shape (rows, 1).
    """

    def __init__(self, onnx: Any, graph: Graph) -> None:
        self._onnx = onnx
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self._taken = {stage.name for stage in graph.stages}
        self._arrays: dict[str, list[tuple[str, NDArray[Any]]]] = {}  # by the name that they were to have
        self._scalars: dict[float, str] = {}
        self.input = self.x = self._free(graph.input_name)
        self._layer, self._name, self._first = self.input, self.input, 0
        self.shape = graph.input_shape
        self.counted = ""

    def begin(self, stage: Stage) -> None:
        """Name what follows after the layer."""
        self._layer, self._name, self._first = stage.layer, stage.name, len(self.nodes)

    def end(self, stage: Stage) -> None:
        """Have the layer's outputs in their shape, under its name."""
        self.reshape(stage.shape)
        if len(self.nodes) == self._first:
            self("Identity", self.x)
        self.nodes[-1].output[0] = self.x = stage.name

    def __call__(
        self, kind: str, *inputs: str | float | NDArray[Any], outputs: int = 1, **attributes: Any
    ) -> Any:
        """Add a node.

        Args:
            kind: of the node, such as "Add".
            inputs: tensors by name, numbers, or arrays.
            outputs: how many there are.
            attributes: of the node.

        Returns:
            The name of its output, or a list of them.
        """
        named = [each if isinstance(each, str) else self.constant(each) for each in inputs]
        name = self._free(f"{self._name}/{kind}")
        results = [name] if outputs == 1 else [self._free(f"{name}/{number}") for number in range(outputs)]
        self.nodes.append(self._onnx.helper.make_node(kind, named, results, name=name, **attributes))
        return name if outputs == 1 else results

    def constant(self, value: float | NDArray[Any], name: str = "constant") -> str:
        """The name of an initializer: a number, of which there is one for all, or an array of the layer's, for all uses."""
        if isinstance(value, (int, float)):
            if value not in self._scalars:
                self._scalars[value] = self._add(np.asarray(value, np.float32), f"constant/{value:g}")
            return self._scalars[value]
        wanted = f"{self._layer}/{name}"
        same = self._arrays.setdefault(wanted, [])
        found = next((taken for taken, array in same if np.array_equal(array, value)), None)
        if found is None:
            same.append((found := self._add(value, wanted), value))
        return found

    def arrays(self, step: Step) -> dict[str, str]:
        """The names of the step's arrays as initializers."""
        return {name: self.constant(array, name) for name, array in step.arrays.items()}

    def reshape(self, shape: Shape) -> None:
        """Have samples of `shape`; the batch axis stays as it is."""
        if shape != self.shape:
            self.x = self("Reshape", self.x, self.constant(np.array([0, *shape], np.int64), "shape"))
            self.shape = shape

    def rows(self, step: Step) -> None:
        """Have the step's rows along the last axis."""
        if self.shape[-1:] != (step.width,):
            self.reshape((step.width,) if step.groups == 1 else (step.groups, step.width))

    def cast(self, x: str, dtype: str) -> str:
        """`x` in another dtype."""
        return str(self("Cast", x, to=self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))))

    def _add(self, value: NDArray[Any], wanted: str) -> str:
        name = self._free(wanted)
        self.initializers.append(self._onnx.numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def _free(self, wanted: str) -> str:
        """`wanted`, or that with a number where it is taken."""
        name, number = wanted, 0
        while name in self._taken:
            number += 1
            name = f"{wanted}_{number}"
        self._taken.add(name)
        return name
