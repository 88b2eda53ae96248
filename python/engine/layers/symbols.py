"""Symbolic tensors: what `Input` and layers called on it return, before there are numbers."""

from __future__ import annotations

import inspect
import operator
from abc import abstractmethod
from typing import Any, NoReturn, Protocol

from engine._base.checks import Shape
from engine._base.left_out import SaysWhatIsLeftOut

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
    """What can be called on a symbolic tensor: a layer or a model."""

    name: str

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the weights for inputs of shape `input_shape`, batch axis first."""

    def _output_shape_for(self, input_shape: Shape) -> Shape:
        """Returns the shape of one output sample for an input sample of shape `input_shape`."""


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
        merging: Keras' layer that computes it from the outputs of two layers, if there is one.
        reflected: the layer that computes it with `x` and `c` exchanged; default `layer`.
    """

    def refusal(symbol: object, other: object, written: str, instead: str) -> TypeError:
        start = f"{symbol!r} stands for what will come out of a model, in which layers do the arithmetic"
        if not isinstance(other, Symbolic):
            constant = " with a constant c" if "c" in written.split() else ""
            return TypeError(f"{start}: for `{written}`{constant} call layers.{instead} on x")
        needed = f", for which Keras has the layer {merging}" if merging else ""
        return TypeError(
            f"{start}. Two outputs can't be joined by `{written}`{needed}: models are chains of layers here, from one "
            "input to one output, without layers that merge branches"
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


class KerasTensor(Symbolic, SaysWhatIsLeftOut):
    """A symbolic output of a layer: its shape, and the layers that compute it.

    Args:
        start: the input layer.
        sample: the shape of one sample.
        before: the symbolic tensor that the last layer was called on; None for the output of the input layer.
        layer: that last layer, or a model.
        mode: the argument `training` that it was called with.
        given: the other arguments of that call; None if there are none.
    """

    dtype = "float32"

    def __init__(
        self,
        start: Callee,
        sample: Shape,
        before: KerasTensor | None = None,
        layer: Callee | None = None,
        *,
        mode: bool | None = None,
        given: CallArguments | None = None,
    ) -> None:
        self.start, self._sample = start, sample
        self._before, self._layer, self._mode, self._given = before, layer, mode, given

    @property
    def _as_tensor(self) -> KerasTensor:
        return self

    @property
    def layers(self) -> tuple[Any, ...]:
        """The layers and models between the input layer and this tensor, in the order of their calls."""
        return tuple(each._layer for each in self._calls)

    @property
    def modes(self) -> tuple[bool | None, ...]:
        """The argument `training` that each of the layers was called with."""
        return tuple(each._mode for each in self._calls)

    @property
    def arguments(self) -> tuple[CallArguments | None, ...]:
        """The other arguments that each of the layers was called with."""
        return tuple(each._given for each in self._calls)

    @property
    def _calls(self) -> list[KerasTensor]:
        """The output of each call between the input layer and this tensor."""
        # It is computed each time: in a chain of n layers, stored lists would have n * n / 2 entries.
        found, each = [], self
        while each._before is not None:
            found.append(each)
            each = each._before
        return found[::-1]

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
        return str((self.start if self._layer is None else self._layer).name)

    def comes_from(self, other: KerasTensor) -> bool:
        """Returns whether this tensor is computed from `other`, or is the same."""
        layers, earlier = self.layers, other.layers
        same = len(layers) >= len(earlier) and all(map(operator.is_, layers, earlier))
        return same and self.start is other.start

    def through(
        self, layer: Callee, training: bool | None = None, arguments: CallArguments | None = None
    ) -> KerasTensor:
        """Returns the symbolic output of a layer or model called on this tensor, and creates its weights.

        Args:
            layer: the layer or model to call.
            training: the argument `training` of the call.
            arguments: the further arguments of the call.
        """
        sample = layer._output_shape_for(self._sample)
        layer.build((None, *self._sample))
        return KerasTensor(self.start, sample, self, layer, mode=training, given=arguments)

    def __repr__(self) -> str:
        return f"<KerasTensor shape={self.shape}, dtype={self.dtype}, name={self.name}>"


def symbol_of(value: Any) -> KerasTensor | None:
    """Returns the symbolic tensor that `value`, or the one entry of a list, is; None for anything else."""
    if isinstance(value, Symbolic):
        return value._as_tensor
    if isinstance(value, (list, tuple)) and len(value) == 1:
        return symbol_of(value[0])
    return None


def holds_symbol(value: Any) -> bool:
    """Whether `value` is symbolic, or a list or dict with a symbolic value at any depth."""
    if isinstance(value, (list, tuple)):
        return any(map(holds_symbol, value))
    if isinstance(value, dict):
        return any(map(holds_symbol, value.values()))
    return isinstance(value, Symbolic)
