"""Steps by gradients that a user computed: `Optimizer.apply_gradients` and its like."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from engine._core_interface.cpp import Float32, Program, WeightArray
from engine._core_interface.operations import variable_node
from engine._tracing.lazy import RecordedArray, capturing, prepare_for_change
from engine.layers.weights import WeightSpec, constraint_fields
from engine.optimizers.variables import Tracked


def tracked_of(weights: Sequence[Any]) -> list[Tracked]:
    """Returns weights and variables as the optimizer needs them.

    Raises:
        TypeError: for something that is no weight.
        ValueError: for a weight that isn't trainable, or comes twice.
    """
    tracked = list[Tracked]()
    for weight in weights:
        owner, index = variable_of(weight)
        if any(variable.owner is owner and variable.number == index for variable in tracked):
            msg = f"the weight {weight.path!r} comes twice in the list of variables"
            raise ValueError(msg)
        spec = owner._specs[index]
        tracked.append(
            Tracked(
                weight.path, True, spec.regularizer, spec.constraint, spec.shape, owner=owner, number=index
            )
        )
    return tracked


def variable_of(weight: Any) -> tuple[Any, int]:
    """Returns what a weight belongs to, and its number there.

    Raises:
        TypeError: if it is no weight.
    """
    variable: tuple[Any, int] | None = getattr(weight, "_owner_and_number", None)
    if variable is None:
        msg = (
            f"an optimizer steps weights and variables, such as model.trainable_variables, got {type(weight).__name__}: "
            "an array that was computed from a weight is none"
        )
        raise TypeError(msg)
    return variable


def quotients(gradients: Iterable[Any], factor: float) -> list[Any]:
    """Returns gradients divided by a number; None stays None."""
    return [
        None
        if gradient is None
        else (gradient if isinstance(gradient, RecordedArray) else np.asarray(gradient, np.float32))
        / np.float32(factor)
        for gradient in gradients
    ]


class Stepper:
    """The programs in which an optimizer steps weights by given gradients.

    Args:
        optimizer: its settings, as the core reads them.
        tracked: the weights, in the order of the optimizer's state.
    """

    def __init__(self, optimizer: Any, tracked: Sequence[Tracked]) -> None:
        self._optimizer, self._tracked = optimizer, list(tracked)
        self._places = {variable.key: index for index, variable in enumerate(tracked)}
        self._programs: dict[tuple[int, ...], Program] = {}
        self._specs = list[WeightSpec]()
        self._follow_weights()

    def place_of(self, weight: Any) -> int:
        """Returns the position of a weight among those of the optimizer.

        Raises:
            ValueError: if the optimizer wasn't built for it.
        """
        index = self._places.get(variable_of(weight))
        if index is None:
            msg = (
                f"Unknown variable: {weight.path}. This optimizer can only be called for the variables it was originally "
                "built with. When working with a new set of variables, you should recreate a new optimizer instance."
            )
            raise ValueError(msg)
        return index

    @property
    def tracked(self) -> list[Tracked]:
        """The weights, in the order of the optimizer's state."""
        return self._tracked

    def program(self, indices: Sequence[int]) -> Program:
        """Returns the program that steps the weights at `indices`; its arguments are their gradients."""
        key = tuple(indices)
        if key not in self._programs:
            self._programs[key] = self._built(key)
        return self._programs[key]

    def _built(self, indices: tuple[int, ...]) -> Program:
        nodes, arrays = list[dict[str, Any]](), list[WeightArray]()
        for variable in self._tracked:
            arrays.append(variable.owner._stored_arrays()[variable.number])
            fields = constraint_fields(variable.constraint, variable.shape)
            nodes.append(
                variable_node(variable.shape, arrays[-1].is_flat, trainable=variable.trainable, **fields)
            )
        for index, place in enumerate(indices):
            shape = [[length, 0] for length in self._tracked[place].shape]
            nodes.append(
                {"kind": "argument", "index": index, "inputs": [], "input_shapes": [], "shape": shape}
            )
            argument = len(nodes) - 1
            nodes.append(
                {"kind": "step", "inputs": [place, argument], "input_shapes": [shape, shape], "shape": shape}
            )
        program: Program = Program.function(nodes, [], 1, arrays)
        program.compile([], self._optimizer._lower(self._tracked), [], state=self._optimizer._state)
        return program

    def _follow_weights(self) -> None:
        """Takes the constraints and regularizers that the weights have now. Programs have those of the time they were built."""
        specs = [variable.owner._weights[variable.number]._spec for variable in self._tracked]
        if len(specs) == len(self._specs) and all(map(operator.is_, specs, self._specs)):
            return
        self._tracked = [
            variable._replace(regularizer=spec.regularizer, constraint=spec.constraint)
            for variable, spec in zip(self._tracked, specs, strict=True)
        ]
        self._specs, self._programs = specs, {}

    def step(self, gradients: Sequence[Any], weights: Sequence[Any]) -> None:
        """Steps weights by their gradients."""
        self._follow_weights()
        indices = [self.place_of(weight) for weight in weights]
        capture = capturing()
        if capture is not None:
            capture.step(self._optimizer, [self._tracked[index] for index in indices], gradients)
            return
        arrays = list[Float32]()
        prepare_for_change({self._tracked[index].owner for index in indices})
        for gradient, weight, place in zip(gradients, weights, indices, strict=True):
            array = np.asarray(gradient, np.float32, order="C")
            shape = self._tracked[place].shape
            if array.shape != shape:
                msg = f"the gradient of {weight.path!r} must have its shape {shape}, got {array.shape}"
                raise ValueError(msg)
            arrays.append(array)
        order = sorted(range(len(indices)), key=indices.__getitem__)
        optimizer, program = self._optimizer, self.program([indices[index] for index in order])
        rate = float(optimizer._learning_rates(1)[0])
        if optimizer._state is None:
            optimizer._follow(program.state, self._tracked)
        program.use_state(optimizer._state)
        program.call([arrays[index] for index in order], optimizer._batches + 1, rate)
        for place in indices:
            tracked = self._tracked[place]
            if tracked.constraint is not None and tracked.constraint._is_custom:
                variable = tracked.owner._weights[tracked.number]
                variable.assign(tracked.constraint(variable._numbers()))


def without_missing(gradients: Sequence[Any], weights: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Returns gradients and weights without the pairs whose gradient is None, and warns of these.

    Raises:
        ValueError: if no gradient is left.
    """
    pairs = [
        (gradient, weight)
        for gradient, weight in zip(gradients, weights, strict=True)
        if gradient is not None
    ]
    missing = [weight.name for gradient, weight in zip(gradients, weights, strict=True) if gradient is None]
    if not pairs:
        msg = "No gradients provided for any variable."
        raise ValueError(msg)
    if missing:
        msg = (
            f"Gradients do not exist for variables {missing[::-1]} when minimizing the loss. If using `model.compile()`, "
            "did you forget to provide a `loss` argument?"
        )
        warnings.warn(msg, stacklevel=4)
    return [gradient for gradient, _ in pairs], [weight for _, weight in pairs]
