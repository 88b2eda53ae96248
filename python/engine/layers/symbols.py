"""Chains of layers that are put together by calling one on the other, before there is a model."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, NoReturn

from engine._checks import Shape, integer
from engine.layers._custom import accepts
from engine.layers._losses import Penalised


class NoNumbers:
    """What stands for numbers that will come, so that there are none to compute with."""

    def __array__(self, dtype: object = None, copy: bool | None = None) -> NoReturn:
        """Raise ValueError: NumPy would make an array of one object."""
        msg = f"{self!r} stands for what will come out of a model, and has no numbers: call a layer on it, or a model"
        raise ValueError(msg)

    def _refuse(self, other: object = None) -> NoReturn:
        msg = (
            f"{self!r} stands for what will come out of a model, in which layers do the arithmetic: call one on it, such "
            "as Rescaling(1 / 255), or Lambda() with a function"
        )
        raise TypeError(msg)

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _refuse
    __matmul__ = __pow__ = __neg__ = __abs__ = _refuse


class KerasTensor(NoNumbers):
    """What a layer will give out: a shape, and the layers on the way to it.

    Args:
        start: the input layer.
        layers: those that follow it, models among them, the last of which gives this out.
        sample: the shape of one sample.
    """

    dtype = "float32"

    def __init__(self, start: Linked, layers: tuple[Any, ...], sample: Shape) -> None:
        self.start, self.layers, self._sample = start, layers, sample

    @property
    def shape(self) -> tuple[int | None, ...]:
        """With None for the batch axis."""
        return (None, *self._sample)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def name(self) -> str:
        """That of the layer which gives this out."""
        return str((self.layers or (self.start,))[-1].name)

    def comes_from(self, other: KerasTensor) -> bool:
        """Whether this is made from `other`, or is the same."""
        before = self.layers[: len(other.layers)]
        same = len(before) == len(other.layers) and all(map(operator.is_, before, other.layers))
        return same and self.start is other.start

    def through(self, layer: Any) -> KerasTensor:
        """What `layer`, or a model, makes of this."""
        return KerasTensor(self.start, (*self.layers, layer), layer._output_shape_for(self._sample))

    def __repr__(self) -> str:
        return f"<KerasTensor shape={self.shape}, dtype={self.dtype}, name={self.name}>"


def symbol_of(value: Any) -> KerasTensor | None:
    """`value` where it stands for an array to come, an input layer included; None for anything else."""
    if isinstance(value, (list, tuple)) and len(value) == 1 and symbol_of(value[0]) is not None:
        return symbol_of(value[0])
    start = getattr(value, "_input_sample_shape", None)
    return (
        value if isinstance(value, KerasTensor) else None if start is None else KerasTensor(value, (), start)
    )


class Linked(Penalised):
    """What a layer knows of its place in a model."""

    compute_dtype = variable_dtype = "float32"
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
        """Which rows of the outputs count, (n, ...), from the same of the `inputs` (n, ..., features); None: all."""
        del inputs
        return None if self._consumes_mask else previous_mask

    @property
    def _leaves(self) -> list[Any]:
        """The layers that this one consists of: itself."""
        return [self]

    def _output_shape_for(self, input_shape: Shape) -> Shape:
        """The shape of one output for one input of `input_shape`; ValueError where that doesn't fit."""
        return input_shape

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """The shape of the outputs for inputs of `input_shape`, both `(None, ...)`."""
        sample = tuple(integer(size, "input_shape", 1) for size in tuple(input_shape)[1:])
        return (None, *self._output_shape_for(sample))

    @property
    def input(self) -> KerasTensor:
        """What the layer is given in its model; AttributeError without one."""
        return self._symbol("input", 0)

    @property
    def output(self) -> KerasTensor:
        """What the layer gives out in its model; AttributeError without one."""
        return self._symbol("output", 1)

    def _symbol(self, what: str, after: int) -> KerasTensor:
        if self._input_sample_shape is not None:
            return KerasTensor(self, (), self._input_sample_shape)
        for place in self._places:
            model = place.model()
            if model is not None and any(layer is self for layer in model.layers):
                return model._symbol_at(self, after)  # type: ignore[no-any-return] # models are above
        msg = f"layer {self.name!r} is in no model with an input shape, and thus has no defined {what}"
        raise AttributeError(msg)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"
