"""Chains of layers that are put together by calling one on the other, before there is a model."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, NoReturn

from engine._base.checks import Shape, shape
from engine._base.left_out import SaysWhatIsLeftOut
from engine.layers._custom import CallArguments, accepts
from engine.layers._losses import Penalised

# Python's operators by the names of NumPy's functions.
_OPERATORS = {
    "add": "add",
    "subtract": "sub",
    "multiply": "mul",
    "divide": "truediv",
    "power": "pow",
    "matmul": "matmul",
}


def _by_hand(formula: str, derivative: str) -> str:
    """The Lambda layer that computes `formula`."""
    return f"Lambda(lambda x: {formula}, gradient=lambda x, upstream: upstream * ({derivative}))"


def _refused(
    expression: str, layer: str, merging: str | None = None, reflected: str | None = None
) -> tuple[Any, Any]:
    """The methods of an operator, which raise TypeError with the way to do that here.

    Args:
        expression: what was written, `x` being what has no numbers, and `c` a constant.
        layer: which computes that.
        merging: Keras' layer that computes it from the outputs of two layers, if there is one.
        reflected: the layer that computes it with `x` and `c` exchanged; default `layer`.
    """

    def refusal(symbol: object, other: object, written: str, instead: str) -> TypeError:
        start = f"{symbol!r} stands for what will come out of a model, in which layers do the arithmetic"
        if not isinstance(other, NoNumbers):
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


class NoNumbers:
    """What stands for numbers that will come, so that there are none to compute with."""

    def __array__(self, dtype: object = None, copy: bool | None = None) -> NoReturn:
        """Raise ValueError: NumPy would make an array of one object."""
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
        """Raise what the operator of NumPy's function would: an array comes first in `array * x`."""
        del method, options
        operator_of = _OPERATORS.get(ufunc.__name__)
        if operator_of is not None and len(inputs) == 2:  # noqa: PLR2004 # x and c
            first = inputs[0] is self
            getattr(self, f"__{'' if first else 'r'}{operator_of}__")(inputs[1 if first else 0])
        self.__array__()


class KerasTensor(NoNumbers, SaysWhatIsLeftOut):
    """A symbolic output of a layer: its shape, and the layers that compute it.

    Args:
        start: the input layer.
        sample: the shape of one sample.
        before: what the last layer on the way is called on; None where the input layer gives this out.
        layer: that last layer, or a model.
        mode: the argument `training` that it was called with.
        given: its other arguments beside the inputs, None for nothing.
    """

    dtype = "float32"

    def __init__(
        self,
        start: Linked,
        sample: Shape,
        before: KerasTensor | None = None,
        layer: Any = None,
        *,
        mode: bool | None = None,
        given: CallArguments | None = None,
    ) -> None:
        self.start, self._sample = start, sample
        self._before, self._layer, self._mode, self._given = before, layer, mode, given

    @property
    def layers(self) -> tuple[Any, ...]:
        """The layers that follow the input layer, models among them, the last of which gives this out."""
        return tuple(each._layer for each in self._calls)

    @property
    def modes(self) -> tuple[bool | None, ...]:
        """The argument `training` that each of the layers was called with."""
        return tuple(each._mode for each in self._calls)

    @property
    def arguments(self) -> tuple[CallArguments | None, ...]:
        """What else each of the layers was called with beside its inputs."""
        return tuple(each._given for each in self._calls)

    @property
    def _calls(self) -> list[KerasTensor]:
        """What each call of a layer on the way has given out."""
        # Not kept: in a chain of n layers, n lists would have n * n / 2 members.
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
        return str((self.start if self._before is None else self._layer).name)

    def comes_from(self, other: KerasTensor) -> bool:
        """Returns whether this tensor is computed from `other`, or is the same."""
        layers, earlier = self.layers, other.layers
        same = len(layers) >= len(earlier) and all(map(operator.is_, layers, earlier))
        return same and self.start is other.start

    def through(
        self, layer: Any, training: bool | None = None, arguments: CallArguments | None = None
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
    """`value` where it stands for an array to come, an input layer included; None for anything else."""
    if isinstance(value, (list, tuple)) and len(value) == 1 and symbol_of(value[0]) is not None:
        return symbol_of(value[0])
    sample = getattr(value, "_input_sample_shape", None)
    return value if isinstance(value, KerasTensor) else None if sample is None else KerasTensor(value, sample)


class Linked(Penalised):
    """What a layer knows of its place in a model."""

    compute_dtype = variable_dtype = "float32"
    _training_by_default = False
    _input_sample_shape: Shape | None = None
    """The shape of one sample, for what a model begins with."""
    supports_masking = False
    """Whether rows that a mask leaves out of account stay so after this layer."""
    _makes_mask = False
    """Whether its inputs say which rows later layers leave out of account."""
    _consumes_mask = False
    """Whether it leaves these out itself, so that none are left."""
    _masks_statistics = False
    """Whether it leaves these out of what it finds in training."""

    @property
    def _reads_mask(self) -> bool:
        """Whether it does something else where a mask leaves out rows of its inputs."""
        return self._consumes_mask or self._masks_statistics or accepts(getattr(self, "call", None), "mask")

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Returns the mask of the outputs, bool (n, ...), or None if nothing is masked.

        `inputs` are (n, ..., features), `previous_mask` is their mask, bool (n, ...) or None.
        """
        del inputs
        return None if self._consumes_mask else previous_mask

    @property
    def _leaves(self) -> list[Any]:
        """The layers that this one consists of: itself."""
        return [self]

    def _modes_of_leaves(self, training: bool | None) -> list[bool]:
        """For each of `leaves` what `training` is in it where this one is called with `training`; None: not told."""
        return [self._training_by_default if training is None else training]

    def _output_shape_for(self, input_shape: Shape) -> Shape:
        """The shape of one output for one input of `input_shape`; ValueError where that doesn't fit."""
        return input_shape

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Returns the shape of the outputs for inputs of shape `input_shape`, both `(None, ...)`."""
        sample = shape(tuple(input_shape)[1:], "input_shape")
        return (None, *self._output_shape_for(sample))

    @property
    def input(self) -> KerasTensor:
        """The symbolic input of the layer in its model. Raises AttributeError if it is in no model."""
        return self._symbol("input", 0)

    @property
    def output(self) -> KerasTensor:
        """The symbolic output of the layer in its model. Raises AttributeError if it is in no model."""
        return self._symbol("output", 1)

    def _symbol(self, what: str, after: int) -> KerasTensor:
        if self._input_sample_shape is not None:
            return KerasTensor(self, self._input_sample_shape)
        for place in self._places:
            model = place.model()
            if model is not None and any(layer is self for layer in model.layers):
                return model._symbol_at(self, after)  # type: ignore[no-any-return] # models are above
        msg = f"layer {self.name!r} is in no model with an input shape, and thus has no defined {what}"
        raise AttributeError(msg)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"
