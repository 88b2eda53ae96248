"""Operations on the symbols of a model, such as `x + y` or `ops.exp(x)`: parts of a model beside its layers."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from engine._base.checks import Shape
from engine._base.spec import auto_name, snake_case
from engine._tracing.dispatch import class_name, implementation, operation_names
from engine._tracing.errors import CannotRecordError, line_of_user
from engine._tracing.extents import Extents, FullShape, full_shape, shape_of
from engine._tracing.recordings import Recording, recording, shapes_by_trial, with_tried_length
from engine._tracing.symbolic import Slot, filled_slots, mapped
from engine.layers.layer import Layer
from engine.layers.part import Part
from engine.layers.symbols import CallArguments, KerasTensor, called_on
from engine.layers.variable import Variable

# The parameters that are operands. Keras' classes of operations take all others in their constructors.
_OPERANDS = frozenset(
    [
        "x",
        "x1",
        "x2",
        "xs",
        "condition",
        "target",
        "output",
        "inputs",
        "indices",
        "data",
        "segment_ids",
        "targets",
        "predictions",
        "a",
        "array",
        "key",
        "start",
        "stop",
        "step",
        "fill_value",
        "variable",
        "start_indices",
        "updates",
        "weights",
        "gamma",
        "beta",
        "mean",
        "variance",
        "offset",
        "scale",
        "rtol",
        "atol",
        "constant_values",
        "condlist",
        "choicelist",
        "default",
        "shape_of",
        "index",
        "abs_",
        "angle",
        "tensor",
        "elements",
        "logits",
        "minval",
        "maxval",
        "stddev",
    ]
)


class OperationPart(Part):
    """A function of `engine.ops` that was called on symbols of a model.

    Args:
        operation: the name of the function.
        args: its arguments by position, with a `Slot` in place of each symbol.
        kwargs: its arguments by name.
        dtypes: of the symbols.
        name: of the part; default that of the operation, with a number.
    """

    def __init__(
        self,
        operation: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        dtypes: Sequence[str],
        name: str | None = None,
    ) -> None:
        self.operation, self._args, self._kwargs, self._dtypes = operation, args, kwargs, list(dtypes)
        self.name = auto_name(snake_case(class_name(operation))) if name is None else name
        self._recordings: dict[tuple[Shape, ...], Recording] = {}
        self._only_shapes = False

    def _recording_for(
        self, samples: Sequence[Shape], training: Any = None, arguments: Any = None, masked: bool = False
    ) -> Recording:
        """Returns what the operation records for symbols whose samples have the shapes `samples`."""
        del training, arguments, masked
        key = tuple(samples)
        if key not in self._recordings:
            self._recordings[key] = recording(self._applied, samples, self._dtypes, self._only_shapes)
        return self._recordings[key]

    def _again(self) -> OperationPart:
        """Returns the same operation of the same name."""
        return type(self)(self.operation, self._args, self._kwargs, self._dtypes, self.name)

    def _with_operands(self, args: Sequence[Any], dtypes: Sequence[str]) -> None:
        """Sets what a config doesn't hold: the operands, with slots in place of symbols, and the dtypes of the symbols."""
        signature = inspect.signature(implementation(self.operation))
        found, rest = list[Any](), list(args)
        if self.operation == "get_item" and isinstance(rest[1], list):
            rest[1] = tuple(rest[1])  # `x[0, 1]`, which Keras writes as a list
        for name, parameter in signature.parameters.items():
            if parameter.kind is parameter.VAR_POSITIONAL:
                found += rest
                break
            if name in _OPERANDS:
                if not rest:
                    break
                found.append(rest.pop(0))
            else:
                if name not in self._kwargs:
                    break
                found.append(self._kwargs.pop(name))
        self._args, self._dtypes, self._recordings = tuple(found), list(dtypes), {}

    def _applied(self, *values: Any) -> Any:
        return implementation(self.operation)(
            *filled_slots(self._args, values), **filled_slots(self._kwargs, values)
        )

    def _computed(self, *values: Any) -> Any:
        """Returns the results for arrays, by NumPy."""
        function = _function_of(self.operation)
        return function(*filled_slots(self._args, values), **filled_slots(self._kwargs, values))

    def _call_in_model(self, inputs: Sequence[Any], training: bool | None, arguments: Any) -> Any:
        del training, arguments
        return self._computed(*(np.asarray(each) for each in inputs))

    def get_config(self) -> dict[str, Any]:
        """Returns the name, and the arguments that are no arrays, as plain values."""
        return {"name": self.name, **self._settings()[1]}

    def _settings(self) -> tuple[list[Any], dict[str, Any]]:
        """Returns the arguments that may be symbols, by position, and the others, by name, as Keras' classes have them."""
        signature = inspect.signature(implementation(self.operation))
        bound = signature.bind(*self._args, **self._kwargs)
        bound.apply_defaults()
        args, settings = list[Any](), dict[str, Any]()
        for name, value in bound.arguments.items():
            if signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL:
                args += value
            elif name in _OPERANDS:
                args.append(value)
            elif signature.parameters[name].kind is not inspect.Parameter.VAR_KEYWORD:
                settings[name] = value
        if self.operation == "get_item" and isinstance(args[1], list):
            args[1] = np.asarray(args[1])  # `x[[0, 1]]`, as a list stands for `x[0, 1]`
        while args and args[-1] is None:
            args.pop()
        return args, settings

    def _arguments_in_config(
        self, arguments: CallArguments | None, count: int
    ) -> tuple[list[Any], dict[str, Any]]:
        del arguments, count
        return self._settings()[0], {}

    # What models need to know of their parts.

    def _output_shapes_for(self, samples: Sequence[Shape]) -> list[Shape]:
        return shapes_by_trial(lambda known: self._recording_for(known).shapes, samples, or_unknown=True)

    def _outputs_for_shapes(self, shapes: Sequence[Extents]) -> Any:
        """Returns symbols that only have a shape, for inputs that only have these shapes."""
        inputs = list(map(FullShape, shapes))
        self._only_shapes = True
        try:
            found = self._recording_for(inputs)
            extents = [each.extents for each in found.outputs]
        except TypeError:  # such as a loop over an axis of unknown length
            extents = list(map(full_shape, self._output_shapes_for(inputs)))
            found = self._recording_for(with_tried_length(inputs))
        return found.with_outputs(
            [
                KerasTensor(shape_of(shape), each.dtype)
                for shape, each in zip(extents, found.outputs, strict=True)
            ]
        )

    def _output_shape_for(self, input_shape: Shape) -> Shape:
        return self._output_shapes_for([input_shape])[0]

    def _output_dtypes_for(self, dtypes: Sequence[str]) -> Sequence[str]:
        del dtypes
        return [each.dtype for each in next(iter(self._recordings.values())).outputs]

    def _build_for_inputs(self, samples: Sequence[Shape]) -> None:
        """Does nothing, as there are no weights."""

    @property
    def _output_count(self) -> int:
        return len(next(iter(self._recordings.values())).outputs) if self._recordings else 1

    @property
    def _leaves(self) -> list[Layer]:
        return []

    # Weights: none.

    @property
    def built(self) -> bool:
        """True, as there are no weights to create."""
        return True

    @property
    def weights(self) -> list[Variable]:
        """An empty list."""
        return []

    def set_weights(self, weights: Sequence[ArrayLike]) -> None:
        """Takes an empty list."""
        self._checked(weights)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Does nothing."""

    def _not_built(self, action: str) -> Exception:
        return ValueError(f"operation {self.name!r} has no weights, so no {action}")

    def __repr__(self) -> str:
        return f"<Operation {self.operation}, name={self.name}>"


def _function_of(operation: str) -> Any:
    """Returns the function of arrays that computes an operation."""
    from engine import activations, losses, ops, random

    if operation == "custom_gradient":
        return lambda f, args, kwargs: ops.custom_gradient(f)(*args, **kwargs)
    package, _, name = operation.rpartition(".")
    if package:
        return getattr({"losses": losses, "activations": activations}[package], name)
    return getattr(ops, name, None) or getattr(random, name)


@cache
def class_of(operation: str) -> type[OperationPart]:
    """Returns the class of an operation, which is named as in Keras."""
    name = class_name(operation)
    package, _, module = _function_of(operation).__module__.rpartition(".")
    if package == "engine.activations":  # of which ops.nn has the same functions
        module = "nn"
    places = {"_control": "ops.core", "_math": "ops.math", "random": "random.random"}
    saved_as = {"module": f"keras.src.{places.get(module, f'ops.{module}')}", "registered_name": name}
    return type(name, (OperationPart,), {"__module__": __name__, "_saved_as": saved_as})


def is_of_operation(config: Any) -> bool:
    """Returns whether a config is that of an operation on symbols."""
    module = str(config.get("module")) if isinstance(config, Mapping) else ""
    return module.startswith(("keras.src.ops.", "keras.src.random."))


def operation_from_config(config: Mapping[str, Any]) -> OperationPart:
    """Returns the operation that a config describes, which lacks its operands.

    Raises:
        ValueError: if there is no such operation.
    """
    kind = str(config.get("class_name"))
    operation = next((name for name in operation_names() if class_name(name) == kind), None)
    if operation is None:
        msg = f"unknown operation {kind!r}: it can't be recorded here"
        raise ValueError(msg)
    settings = {key: _plain(value) for key, value in config["config"].items() if key != "name"}
    return class_of(operation)(operation, (), settings, [], config["config"].get("name") or config["name"])


def _plain(value: Any) -> Any:
    """Returns a setting in a config: lists as tuples, as functions take axes and shapes."""
    if isinstance(value, Mapping) and value.get("class_name") in ("__tuple__", "__numpy__"):
        inner = value.get("items", value.get("config", {}).get("value"))
        return _plain(inner)
    return tuple(map(_plain, value)) if isinstance(value, list) else value


def recorded(operation: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Returns the symbolic results of a function of `engine.ops` that is called on symbols of a model."""
    if operation in ("cond", "switch"):  # which call functions, and choose between their results
        return implementation(operation)(*args, **kwargs)
    if operation.startswith("numpy."):
        msg = (
            f"{line_of_user()}: NumPy's `{operation.removeprefix('numpy.')}` with these arguments is no operation of a model: call it in "
            "a `Lambda` or in the `call` of a layer, or use keras.ops"
        )
        raise CannotRecordError(msg)
    symbols = dict[Any, int]()

    def slot_for(value: Any) -> Slot:
        return Slot(symbols.setdefault(value._as_tensor, len(symbols)))

    positional, named = mapped(slot_for, args), mapped(slot_for, kwargs)
    part = class_of(operation)(operation, positional, named, [symbol.dtype for symbol in symbols])
    if any(symbol._without_source for symbol in symbols):
        return part._outputs_for_shapes([symbol._extents_alone for symbol in symbols])
    part._output_shapes_for([symbol._sample for symbol in symbols])
    outputs = called_on(part, list(symbols))
    return next(iter(part._recordings.values())).with_outputs(outputs)


KerasTensor._recorded = staticmethod(recorded)
