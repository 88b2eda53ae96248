"""The layers of a plain multilayer perceptron."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine import activations, initializers, regularizers
from engine._checks import Shape, flag, integer, real, text_of_shape
from engine._program import Float32, Operation
from engine._random import next_seed
from engine.layers.base import Layer, Weight, register


@register()
class Dense(Layer):
    """`activation(x @ kernel + bias)` over the last axis: every unit sees every input.

    Args:
        units: number of outputs, at least 1.
        activation: name or function of `engine.activations`; None leaves the sum as it is.
        use_bias: whether a bias is added.
        kernel_initializer: start of the kernel (inputs, units).
        bias_initializer: start of the bias (units,).
        kernel_regularizer: penalty on the kernel, such as `"l2"` or `engine.regularizers.L2(1e-4)`.
        bias_regularizer: penalty on the bias.
        options: `name`, `trainable`, `input_shape`, `input_dim`, as for every layer.
    """

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        units: int,
        activation: object = None,
        use_bias: bool = True,
        kernel_initializer: object = "glorot_uniform",
        bias_initializer: object = "zeros",
        kernel_regularizer: object = None,
        bias_regularizer: object = None,
        **options: Any,
    ) -> None:
        self.units = integer(units, "units", 1)
        self.activation = activations.get(activation)
        self.use_bias = flag(use_bias, "use_bias")
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        super().__init__(**options)

    @property
    def kernel(self) -> Float32:
        """The weights (inputs, units): a read-only live view."""
        return self._weight(0, "kernel")

    @property
    def bias(self) -> Float32 | None:
        """The bias (units,): a read-only live view; None without one."""
        return self._weight(1, "bias") if self.use_bias else None

    def output_shape_for(self, input_shape: Shape) -> Shape:
        """The last axis becomes `units` long."""
        require_axis(self, input_shape)
        return (*input_shape[:-1], self.units)

    def weights_for(self, input_shape: Shape) -> list[Weight]:
        """The kernel, then the bias."""
        kernel = Weight("kernel", (input_shape[-1], self.units), self.kernel_initializer)
        bias = Weight("bias", (self.units,), self.bias_initializer)
        return [kernel, bias] if self.use_bias else [kernel]

    def lower(self, input_shape: Shape) -> list[Operation]:
        """One dense operation, activation and penalties included."""
        del input_shape
        operation = {
            "kind": "dense",
            "units": self.units,
            "use_bias": self.use_bias,
            "activation": self.activation.__name__,
            "kernel_l2": 0.0,
            "bias_l2": 0.0,
            "trainable": self.trainable,
        }
        for weight, regularizer in (("kernel", self.kernel_regularizer), ("bias", self.bias_regularizer)):
            operation |= regularizer.lower(weight) if regularizer else {}
        return [operation]


@register()
class Activation(Layer):
    """An activation function as a layer of its own.

    Args:
        activation: name or function of `engine.activations`.
        options: `name`, `input_shape`, as for every layer.
    """

    def __init__(self, activation: object, **options: Any) -> None:
        self.activation = activations.get(activation)
        super().__init__(**options)

    def output_shape_for(self, input_shape: Shape) -> Shape:
        """The shape that comes in."""
        if self.activation is activations.softmax:
            require_axis(self, input_shape)
        return input_shape

    def lower(self, input_shape: Shape) -> list[Operation]:
        """One activation."""
        del input_shape
        return [{"kind": "activation", "activation": self.activation.__name__}]


@register()
class Dropout(Layer):
    """In training, sets a random share of its inputs to 0 and scales the others by `1 / (1 - rate)`.

    Srivastava et al., 2014. In evaluation and prediction inputs pass as they are.

    Args:
        rate: the share, in [0, 1].
        seed: None takes one from the stream that `utils.set_random_seed` starts.
        options: `name`, `input_shape`, as for every layer.
    """

    def __init__(self, rate: float, *, seed: int | None = None, **options: Any) -> None:
        self.rate = real(rate, "rate", 0.0, 1.0)
        self.seed = None if seed is None else integer(seed, "seed", 0, 2**64 - 1)
        self._seed_in_use = next_seed() if self.seed is None else self.seed
        super().__init__(**options)

    def lower(self, input_shape: Shape) -> list[Operation]:
        """One dropout."""
        del input_shape
        return [{"kind": "dropout", "rate": self.rate, "seed": self._seed_in_use}]


@register()
class Rescaling(Layer):
    """`x * scale + offset`, such as `Rescaling(1 / 255)` for images as bytes.

    Args:
        scale: the factor.
        offset: added afterwards.
        options: `name`, `input_shape`, as for every layer.
    """

    def __init__(self, scale: float, offset: float = 0.0, **options: Any) -> None:
        self.scale = real(scale, "scale")
        self.offset = real(offset, "offset")
        super().__init__(**options)

    def lower(self, input_shape: Shape) -> list[Operation]:
        """One rescaling."""
        del input_shape
        return [{"kind": "rescaling", "scale": self.scale, "offset": self.offset}]


@register()
class InputLayer(Layer):
    """The shape of one sample; first in a model, and not among its `layers`.

    Args:
        shape: such as `(784,)` or `(28, 28)`, without the batch axis.
        options: `name`; `input_shape` is another name of `shape`.
    """

    def __init__(self, shape: Sequence[int] | None = None, **options: Any) -> None:
        if shape is not None:
            options["input_shape"] = shape
        super().__init__(**options)
        if self.given_input_shape is None:
            msg = "`shape` is missing: give the shape of one sample, such as Input(shape=(784,))"
            raise ValueError(msg)
        self.shape = self.given_input_shape


def Input(shape: Sequence[int], name: str | None = None) -> InputLayer:  # noqa: N802 # Keras' name
    """The start of a model: the shape of one sample.

    Args:
        shape: such as `(784,)` or `(28, 28)`, without the batch axis.
        name: default `input_layer` with a number.

    Returns:
        The layer to put first.
    """
    return InputLayer(shape, name=name)


def require_axis(layer: Layer, input_shape: Shape) -> None:
    """Raise ValueError where a sample is a single number."""
    if not input_shape:
        msg = (
            f"layer {layer.name!r} takes rows of numbers, (n, ..., features), but gets {text_of_shape(input_shape)}: "
            "put a Flatten() before it"
        )
        raise ValueError(msg)
