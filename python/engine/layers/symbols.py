"""Symbolic tensors: what `Input` and layers called on it return, before there are numbers."""

from __future__ import annotations

import inspect
import itertools
import weakref
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, NoReturn, Protocol

from engine._base.checks import Shape
from engine._base.left_out import SaysWhatIsLeftOut

# The layers that compute one output from several.
_MERGING = ("Add", "Concatenate")
# Python's operators by the names of NumPy's functions.
_OPERATORS = {
    "add": "add",
    "subtract": "sub",
    "multiply": "mul",
    "divide": "truediv",
    "power": "pow",
    "matmul": "matmul",
}


class CallArguments(dict[str, Any]):
    """The arguments of one call of a layer, without its inputs, by name.

    Two calls are different even if their arguments are equal, so that each object is equal to itself only.
    """

    __hash__ = object.__hash__  # type: ignore[assignment] # a dict has none

    def __eq__(self, other: object) -> bool:
        return self is other

    def accepted_by(self, function: Any) -> dict[str, Any]:
        """The arguments that `function` has parameters for."""
        try:
            parameters = inspect.signature(function).parameters
        except (TypeError, ValueError):
            return {}
        takes_all = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
        return {name: value for name, value in self.items() if takes_all or name in parameters}


class Callee(Protocol):
    """What can be called on symbolic tensors: a layer or a model."""

    name: str
    _symbolic_calls: int

    def _build_for_inputs(self, samples: Sequence[Shape]) -> None:
        """Creates the weights for inputs whose samples have the shapes `samples`."""

    def _output_shapes_for(self, samples: Sequence[Shape]) -> list[Shape]:
        """Returns the shape of one sample of each output, for input samples of the shapes `samples`."""


def _by_hand(formula: str, derivative: str) -> str:
    """The Lambda layer that computes `formula`."""
    return f"Lambda(lambda x: {formula}, gradient=lambda x, upstream: upstream * ({derivative}))"


def _refused(
    expression: str, layer: str, merging: str | None = None, reflected: str | None = None
) -> tuple[Any, Any]:
    """Returns the methods of an operator and of its reflection. They raise TypeError and name a layer to use instead.

    Args:
        expression: the refused expression, in which `x` is the symbolic tensor and `c` a constant.
        layer: the layer that computes the expression.
        merging: Keras' layer that computes it from two outputs, if there is one.
        reflected: the layer that computes it with `x` and `c` exchanged; default `layer`.
    """

    def refusal(symbol: object, other: object, written: str, instead: str) -> TypeError:
        start = f"{symbol!r} stands for what will come out of a model, in which layers do the arithmetic"
        if not isinstance(other, Symbolic):
            constant = " with a constant c" if "c" in written.split() else ""
            return TypeError(f"{start}: for `{written}`{constant} call layers.{instead} on x")
        if merging in _MERGING:
            return TypeError(
                f"{start}: for `{written}` of two outputs call layers.{merging}() on the list of both"
            )
        needed = f", for which Keras has the layer {merging}" if merging else ""
        return TypeError(
            f"{start}. Two outputs can't be joined by `{written}`{needed}: the layers that join outputs here are "
            f"{' and '.join(_MERGING)}"
        )

    def method(self: object, other: object = None) -> NoReturn:
        raise refusal(self, other, expression, layer)

    def exchanged(self: object, other: object = None) -> NoReturn:
        raise refusal(self, other, " ".join(reversed(expression.split())), reflected or layer)

    return method, exchanged


class Symbolic:
    """Base class of objects that layers can be called on although they have no numbers: KerasTensor and InputLayer."""

    @property
    @abstractmethod
    def _as_tensor(self) -> KerasTensor:
        """The symbolic tensor that layers are called on."""

    def __array__(self, dtype: object = None, copy: bool | None = None) -> NoReturn:
        """Raises ValueError: NumPy would otherwise make an array that holds this object."""
        msg = f"{self!r} stands for what will come out of a model, and has no numbers: call a layer on it, or a model"
        raise ValueError(msg)

    __add__, __radd__ = _refused("x + c", "Rescaling(1.0, offset=c)", "Add")
    __sub__, __rsub__ = _refused(
        "x - c", "Rescaling(1.0, offset=-c)", "Subtract", "Rescaling(-1.0, offset=c)"
    )
    __mul__, __rmul__ = _refused("x * c", "Rescaling(c)", "Multiply")
    __truediv__, __rtruediv__ = _refused("x / c", "Rescaling(1 / c)", None, _by_hand("c / x", "-c / x**2"))
    __pow__, __rpow__ = _refused(
        "x ** c", _by_hand("x**c", "c * x ** (c - 1)"), None, _by_hand("c**x", "c**x * np.log(c)")
    )
    __matmul__, __rmatmul__ = _refused("x @ c", "Dense(units, use_bias=False), whose kernel is c", "Dot")
    __neg__ = _refused("-x", "Rescaling(-1.0)")[0]
    __abs__ = _refused("abs(x)", _by_hand("np.abs(x)", "np.sign(x)"))[0]
    __getitem__ = _refused("x[...]", "Lambda(function, gradient=...), whose function takes a part of x,")[0]

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> NoReturn:
        """Raises the error of the corresponding operator: NumPy calls this for `array * x`."""
        del method, options
        operator_of = _OPERATORS.get(ufunc.__name__)
        if operator_of is not None and len(inputs) == 2:  # noqa: PLR2004 # x and c
            first = inputs[0] is self
            getattr(self, f"__{'' if first else 'r'}{operator_of}__")(inputs[1 if first else 0])
        self.__array__()


_numbers = itertools.count()
# The first call of each layer and model that still exists.
_first_calls: weakref.WeakKeyDictionary[Any, weakref.ref[Call]] = weakref.WeakKeyDictionary()


class Call:
    """One call of a layer or a model on symbolic tensors. It creates the weights of the layer.

    Its attribute `number` grows from call to call, and `node` from call to call of this layer.

    Args:
        layer: the layer or model that is called.
        inputs: the tensors that it is called on.
        mode: the argument `training` of the call; None is no argument.
        given: the further arguments of the call; None if there are none.
    """

    def __init__(
        self,
        layer: Callee,
        inputs: Sequence[KerasTensor],
        mode: bool | None = None,
        given: CallArguments | None = None,
    ) -> None:
        self.layer: Any = layer
        self.number = next(_numbers)
        self.inputs, self.mode, self.given = tuple(inputs), mode, given
        try:
            shapes = self._output_shapes()
            layer._build_for_inputs(self._samples())
        except ValueError as error:
            if type(error) is ValueError:
                error.args = (f"{str(error).rstrip('.')}. {layer.name!r} is called on {self._sources()}",)
            raise
        self.outputs = tuple(KerasTensor(shape, self) for shape in shapes)
        self.node = layer._symbolic_calls
        layer._symbolic_calls += 1
        if first_call_of(layer) is None:
            _first_calls[layer] = weakref.ref(self)

    def _samples(self) -> list[Shape]:
        return [tensor._sample for tensor in self.inputs]

    def _sources(self) -> str:
        """Returns the inputs as text: the layers that compute them, and their shapes."""
        return " and ".join(f"the output {tensor.shape} of {tensor.name!r}" for tensor in self.inputs)

    def _output_shapes(self) -> list[Shape]:
        shapes: list[Shape] = self.layer._output_shapes_for(self._samples())
        return shapes

    def refresh(self) -> None:
        """Updates the shapes of the outputs, since a model that is called may have been given other layers."""
        for tensor, shape in zip(self.outputs, self._output_shapes(), strict=False):
            tensor._sample = shape


def first_call_of(layer: Callee) -> Call | None:
    """Returns the first symbolic call of a layer or model, as long as tensors or a model keep it; else None."""
    reference = _first_calls.get(layer)
    return None if reference is None else reference()


class KerasTensor(Symbolic, SaysWhatIsLeftOut):
    """A symbolic output of a layer: its shape, and the call that computes it.

    Args:
        sample: the shape of one sample.
        call: the call of a layer that returned it; None for the input of a model.
        start: the input layer, for the input of a model.
    """

    dtype = "float32"

    def __init__(self, sample: Shape, call: Call | None = None, start: Callee | None = None) -> None:
        self._sample, self._call, self.start = sample, call, start

    @property
    def _as_tensor(self) -> KerasTensor:
        return self

    @property
    def _layer(self) -> Any:
        """The layer or model that computes it; the input layer for the input of a model."""
        return self.start if self._call is None else self._call.layer

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Shape, with None for the batch axis."""
        return (None, *self._sample)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def name(self) -> str:
        """Name of the layer that computes it."""
        return str(self._layer.name)

    def through(
        self, layer: Callee, training: bool | None = None, arguments: CallArguments | None = None
    ) -> KerasTensor:
        """Returns the symbolic output of a layer or model with one output, called on this tensor.

        Args:
            layer: the layer or model to call. Its weights are created.
            training: the argument `training` of the call.
            arguments: the further arguments of the call.
        """
        return Call(layer, [self], training, arguments).outputs[0]

    def __repr__(self) -> str:
        return f"<KerasTensor shape={self.shape}, dtype={self.dtype}, name={self.name}>"


def symbol_of(value: Any) -> KerasTensor | None:
    """Returns the symbolic tensor that `value`, or the one entry of a list, is; None for anything else."""
    if isinstance(value, Symbolic):
        return value._as_tensor
    if isinstance(value, (list, tuple)) and len(value) == 1:
        return symbol_of(value[0])
    return None


def symbols_of(value: Any) -> list[KerasTensor] | None:
    """Returns the symbolic tensors in `value`, which is one or a list, tuple or dict of them; None for anything else.

    Those of a dict come in the alphabetical order of their keys, as in Keras.
    """
    if isinstance(value, dict):
        value = [value[key] for key in sorted(value, key=str)]
    values = value if isinstance(value, (list, tuple)) else [value]
    if not values or not all(isinstance(each, Symbolic) for each in values):
        return None
    return [each._as_tensor for each in values]


def holds_symbol(value: Any) -> bool:
    """Whether `value` is symbolic, or a list or dict with a symbolic value at any depth."""
    if isinstance(value, (list, tuple)):
        return any(map(holds_symbol, value))
    if isinstance(value, dict):
        return any(map(holds_symbol, value.values()))
    return isinstance(value, Symbolic)
