"""Collects the nodes and constants of an ONNX graph, gives them unique names, and tracks the current tensor."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from engine._base.checks import Shape
from engine._base.spec import free_name
from engine.export.graph import Graph, Stage, Step


class Tensor(NamedTuple):
    """A tensor: its name, and its shape for one sample."""

    name: str
    shape: Shape


class OnnxWriter:
    """Nodes and initializers of one graph.

    Args:
        onnx: the package.
        graph: the model. The names of its layers are reserved for their outputs.

    Attributes:
        x: the name of the current tensor: the first input of a step, or the output of the last node.
        shape: the shape of this tensor for one sample.
        others: the other inputs of a step.
    """

    def __init__(self, onnx: Any, graph: Graph) -> None:
        self._onnx = onnx
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self._taken = {stage.name for stage in graph.stages}
        self._arrays: dict[str, list[tuple[str, NDArray[Any]]]] = {}  # names and arrays by the wanted name
        self._scalars: dict[float, str] = {}
        self.inputs = [self._free(each.name) for each in graph.inputs]
        self._layer, self._name, self._first = "input", "input", 0
        self.x, self.shape, self.others = "", cast("Shape", ()), list[Tensor]()
        self._values: dict[int, Tensor] = {}  # by the number of the value
        self._steps = 0
        for number, (name, each) in enumerate(zip(self.inputs, graph.inputs, strict=True)):
            self.x, self._layer, self._name = name, name, name
            if each.dtype != "float32":
                self.x = self.cast(name, "float32")
            self._values[-1 - number] = Tensor(self.x, each.shape)

    def begin(self, stage: Stage) -> None:
        """Begins the nodes of a layer, whose name they get."""
        self._layer, self._name, self._first = stage.layer, stage.name, len(self.nodes)

    def begin_step(self, step: Step) -> None:
        """Makes the inputs of a step the current tensor and the other ones."""
        first, *self.others = (self._values[number] for number in step.reads)
        self.x, self.shape = first

    def end_step(self) -> None:
        """Makes the current tensor the value of the step."""
        self._values[self._steps] = Tensor(self.x, self.shape)
        self._steps += 1

    def end(self, stage: Stage) -> None:
        """Ends the nodes of a layer: the current tensor gets the layer's output shape and name."""
        self.reshape(stage.shape)
        if len(self.nodes) == self._first:
            self("Identity", self.x)
        self.nodes[-1].output[0] = self.x = stage.name
        self._values[self._steps - 1] = Tensor(self.x, self.shape)

    def outputs(self, graph: Graph) -> list[str]:
        """Returns the names of the outputs of the model, for which it adds nodes where they differ from those of layers."""
        found = list[str]()
        for output in graph.outputs:
            name = self._values[output.value].name
            if name != output.name or name in found or name in self.inputs:
                self._name = output.name
                self("Identity", name)
                name = self.nodes[-1].output[0] = self._free(output.name)
            found.append(name)
        return found

    def __call__(
        self, kind: str, *inputs: str | float | NDArray[Any], outputs: int = 1, **attributes: Any
    ) -> Any:
        """Adds a node.

        Args:
            kind: the operator, such as "Add".
            inputs: names of tensors, numbers, or arrays.
            outputs: the number of outputs.
            attributes: the attributes of the node.

        Returns:
            The name of its output, or a list of them.
        """
        named = [each if isinstance(each, str) else self.constant(each) for each in inputs]
        name = self._free(f"{self._name}/{kind}")
        results = [name] if outputs == 1 else [self._free(f"{name}/{number}") for number in range(outputs)]
        self.nodes.append(self._onnx.helper.make_node(kind, named, results, name=name, **attributes))
        return name if outputs == 1 else results

    def constant(self, value: float | NDArray[Any], name: str = "constant") -> str:
        """Adds a constant and returns its name. Equal numbers share one, and so do equal arrays of a layer."""
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
        """Adds the arrays of a step as constants and returns their names."""
        return {name: self.constant(array, name) for name, array in step.arrays.items()}

    def reshape(self, shape: Shape) -> None:
        """Reshapes the current tensor to samples of `shape`, unless it has this shape."""
        if shape != self.shape:
            self.x = self("Reshape", self.x, self.constant(np.array([0, *shape], np.int64), "shape"))
            self.shape = shape

    def reshaped(self, tensor: Tensor, shape: Shape) -> str:
        """Returns the name of a tensor whose samples are reshaped to `shape`."""
        self.x, self.shape = tensor
        self.reshape(shape)
        return self.x

    def rows(self, step: Step) -> None:
        """Reshapes the current tensor so that the rows of the step lie along the last axis."""
        if self.shape[-1:] != (step.width,):
            self.reshape((step.width,) if step.groups == 1 else (step.groups, step.width))

    def cast(self, x: str, dtype: str) -> str:
        """Adds a conversion of `x` to another dtype."""
        return str(self("Cast", x, to=self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))))

    def _add(self, value: NDArray[Any], wanted: str) -> str:
        name = self._free(wanted)
        self.initializers.append(self._onnx.numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def _free(self, wanted: str) -> str:
        """Returns `wanted`, with a number if the name is taken."""
        name = free_name(wanted, self._taken)
        self._taken.add(name)
        return name
