"""Collects the nodes and constants of an ONNX graph, gives them unique names, and tracks the current tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from engine._base.checks import Shape
from engine._base.spec import free_name
from engine._tracing.extents import SAMPLES, Extent, Extents, full_shape
from engine.export.graph import Graph, Stage
from engine.export.step import Step


class OnnxTensor(NamedTuple):
    """A tensor: its name, and its shape for one sample."""

    name: str
    shape: Any
    """A Shape, or a FullShape."""


class OnnxWriter:
    """Nodes and initializers of one graph.

    Args:
        onnx: the package.
        graph: the model. The names of its layers are reserved for their outputs.

    Attributes:
        x: the name of the current tensor: the first input of a step, or the output of the last node.
        shape: the shape of this tensor for one sample.
        others: the other inputs of a step.
        stage: the name of the current layer.
    """

    def __init__(self, onnx: Any, graph: Graph) -> None:
        self._onnx = onnx
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self._used_names = {stage.name for stage in graph.stages}
        self._arrays: dict[str, list[tuple[str, NDArray[Any]]]] = {}  # names and arrays by the wanted name
        self._scalars: dict[float, str] = {}
        self.inputs = [self._free(model_input.name) for model_input in graph.inputs]
        self._layer, self._name, self._first = "input", "input", 0
        self.stage = ""
        self.x, self.shape, self.others = "", cast("Any", ()), list[OnnxTensor]()
        self._values: dict[int, OnnxTensor] = {}  # by the number of the value
        self._views: dict[tuple[str, Extents], str] = {}
        self._bools = set[str]()
        self._lengths: dict[tuple[Extent, ...], str] = {}
        self._numbers: dict[Extent, str] = {}  # lengths as floats
        self._named: dict[str, NDArray[Any]] = {}  # constants by name
        self._steps = 0
        for number, (name, model_input) in enumerate(zip(self.inputs, graph.inputs, strict=True)):
            self.x, self._layer, self._name = name, name, name
            if model_input.dtype != "float32":
                self.x = self.cast(name, "float32")
            self._values[-1 - number] = OnnxTensor(self.x, model_input.shape)

    def begin(self, stage: Stage) -> None:
        """Begins the nodes of a layer, whose name they get."""
        self._layer, self._name, self._first = stage.layer, stage.name, len(self.nodes)
        self.stage = stage.layer

    def begin_step(self, step: Step) -> None:
        """Makes the inputs of a step the current tensor and the other ones."""
        inputs = self.inputs_of(step)
        self.others = inputs[1:]
        if inputs:
            self.x, self.shape = inputs[0]

    def inputs_of(self, step: Step) -> list[OnnxTensor]:
        """Returns the tensors that a step reads."""
        return [self._values[number] for number in step.reads]

    def end_step(self) -> None:
        """Makes the current tensor the value of the step."""
        self._values[self._steps] = OnnxTensor(self.x, self.shape)
        self._steps += 1

    def end(self, stage: Stage) -> None:
        """Ends the nodes of a layer: the current tensor gets the layer's output shape and name."""
        self.reshape(stage.shape)
        if len(self.nodes) == self._first or self.nodes[-1].output[0] != self.x:
            self("Identity", self.x)
        before, self.nodes[-1].output[0] = self.nodes[-1].output[0], stage.name
        self._views = {key: name for key, name in self._views.items() if before not in (name, key[0])}
        for number, tensor in self._values.items():
            if tensor.name == before:
                self._values[number] = OnnxTensor(stage.name, tensor.shape)
        self.x = stage.name
        self._values[self._steps - 1] = OnnxTensor(self.x, self.shape)

    def outputs(self, graph: Graph) -> list[str]:
        """Returns the names of the outputs of the model, for which it adds nodes where they differ from those of layers."""
        names_taken = list[str]()
        for output in graph.outputs:
            name = self._values[output.value].name
            if name != output.name or name in names_taken or name in self.inputs:
                self._name = output.name
                self("Identity", name)
                name = self.nodes[-1].output[0] = self._free(output.name)
            names_taken.append(name)
        return names_taken

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
        named = [item if isinstance(item, str) else self.constant(item) for item in inputs]
        name = self._free(f"{self._name}/{kind}")
        results = [name] if outputs == 1 else [self._free(f"{name}/{number}") for number in range(outputs)]
        self.nodes.append(self._onnx.helper.make_node(kind, named, results, name=name, **attributes))
        return name if outputs == 1 else results

    def constant(self, value: float | NDArray[Any], name: str = "constant", owner: str | None = None) -> str:
        """Adds a constant and returns its name. Equal numbers share one, and so do equal arrays of a layer.

        Args:
            value: a number or an array.
            name: of an array.
            owner: the layer of an array; default the current one.
        """
        if isinstance(value, (int, float)):
            if value not in self._scalars:
                self._scalars[value] = self._add(np.asarray(value, np.float32), f"constant/{value:g}")
            return self._scalars[value]
        base = f"{owner or self._layer}/{name}"
        same = self._arrays.setdefault(base, [])
        existing = next((existing for existing, array in same if np.array_equal(array, value)), None)
        if existing is None:
            same.append((existing := self._add(value, base), value))
        return existing

    def arrays(self, step: Step) -> dict[str, str]:
        """Adds the arrays of a step as constants and returns their names."""
        return {name: self.constant(array, name) for name, array in step.arrays.items()}

    def reshape(self, shape: Any) -> None:
        """Reshapes the current tensor to samples of `shape`, unless it has this shape."""
        if shape != self.shape:
            target = self.target(full_shape(shape), full_shape(self.shape))
            self.x, self.shape = self("Reshape", self.x, target), shape

    def reshaped(self, tensor: OnnxTensor, shape: Shape) -> str:
        """Returns the name of a tensor whose samples are reshaped to `shape`."""
        self.x, self.shape = tensor
        self.reshape(shape)
        return self.x

    def rows(self, step: Step) -> None:
        """Reshapes the current tensor so that the rows of the step lie along the last axis."""
        if self.shape[-1:] != (step.width,):
            self.reshape((step.width,) if step.rows == 1 else (step.rows, step.width))

    def cast(self, x: str, dtype: str) -> str:
        """Adds a conversion of `x` to another dtype."""
        return str(self("Cast", x, to=self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))))

    # Arrays, whose lengths may depend on the number of samples.

    def viewed(self, tensor: OnnxTensor, shape: Extents) -> str:
        """Returns the name of a tensor under a shape with all axes."""
        before = full_shape(tensor.shape)
        if before == shape:
            return tensor.name
        if (tensor.name, shape) not in self._views:
            reshaped = self("Reshape", tensor.name, self.target(shape, before))
            self._views[tensor.name, shape] = reshaped
        return self._views[tensor.name, shape]

    def target(self, shape: Extents, before: Extents) -> str:
        """Returns the name of the shape for a Reshape from the shape `before`."""
        numbers = [extent.fixed for extent in shape]
        free = [axis for axis, extent in enumerate(shape) if extent.per_sample]
        if free == [0] and before[:1] == shape[:1] == (SAMPLES,):
            numbers[0] = 0  # the same length as before
        elif len(free) == 1:
            numbers[free[0]] = -1  # what is left
        elif free:
            return self.lengths(shape)
        return self.constant(np.array(numbers, np.int64), "shape")

    def lengths(self, extents: Sequence[Extent]) -> str:
        """Returns the name of a vector of lengths."""
        listed = tuple(extents)
        if not any(extent.per_sample for extent in listed):
            return self.constant(np.array([extent.fixed for extent in listed], np.int64), "lengths")
        if listed not in self._lengths:
            tensor_name = self._length_of(listed[0]) if len(listed) == 1 else self._concatenated(listed)
            self._lengths[listed] = tensor_name
        return self._lengths[listed]

    def _concatenated(self, extents: Sequence[Extent]) -> str:
        return str(self("Concat", *(self.lengths([extent]) for extent in extents), axis=0))

    def _length_of(self, extent: Extent) -> str:
        """Returns the name of a length that depends on the number of samples, a vector of one integer."""
        if extent == SAMPLES:
            ends = (np.array([end], np.int64) for end in (0, 1))
            return str(self("Slice", self("Shape", self.inputs[0]), *ends))
        length = self.lengths([SAMPLES])
        if extent.per_sample != 1:
            length = self("Mul", length, np.array([extent.per_sample], np.int64))
        return str(self("Add", length, np.array([extent.fixed], np.int64))) if extent.fixed else length

    def length(self, extent: Extent) -> str:
        """Returns the name of a length as a single float."""
        if not extent.per_sample:
            return self.constant(float(extent.fixed))
        if extent not in self._numbers:
            number = self.cast(self.lengths([extent]), "float32")
            self._numbers[extent] = str(self("Squeeze", number, np.array([0], np.int64)))
        return self._numbers[extent]

    def filled(self, shape: Extents, number: float) -> str:
        """Returns the name of an array of one number."""
        value = self._onnx.numpy_helper.from_array(np.array([number], np.float32))
        return str(self("ConstantOfShape", self.lengths(shape), value=value))

    def coordinates(self, shape: Extents, axis: int) -> str:
        """Returns the name of the numbers 0, 1, ... along an axis of `shape`, with axes of length 1 for those behind it."""
        behind = [1] * (len(shape) - axis - 1)
        if not shape[axis].per_sample:
            numbers = np.arange(shape[axis].fixed, dtype=np.float32).reshape(-1, *behind)
            return self.constant(numbers, "coordinates")
        numbers = self("Range", 0.0, self.length(shape[axis]), 1.0)
        return str(self("Reshape", numbers, np.array([-1, *behind], np.int64))) if behind else str(numbers)

    def constants_of(self, name: str) -> NDArray[Any] | None:
        """Returns the numbers of a constant; None for other tensors."""
        return self._named.get(name)

    def marked_bool(self, name: str) -> str:
        """Notes that a tensor holds bools."""
        self._bools.add(name)
        return name

    def is_bool(self, name: str) -> bool:
        """Returns whether a tensor holds bools."""
        return name in self._bools

    def as_float(self, name: str) -> str:
        """Returns the name of a tensor as numbers, 1 and 0 for bools."""
        return self.cast(name, "float32") if name in self._bools else name

    def _add(self, value: NDArray[Any], base: str) -> str:
        name = self._free(base)
        self._named[name] = np.asarray(value)
        self.initializers.append(self._onnx.numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def _free(self, base: str) -> str:
        """Returns `base`, with a number if the name is taken."""
        name = free_name(base, self._used_names)
        self._used_names.add(name)
        return name
