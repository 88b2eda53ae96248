"""Preprocessing layers: rescaling, normalization by given or computed statistics, and encoding of categories."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine import initializers
from engine._base.checks import EPSILON, REAL, Shape, choice, flag, integer, real, text_of_shape
from engine._base.tensor_like import Tensor
from engine._core_interface.cpp import new_arrays
from engine._core_interface.operations import LayerOperation, StandardizeOperation
from engine.layers._adapting import batches_to_adapt_to
from engine.layers._axes import Axes, axes_of, axis_argument
from engine.layers._encoding import require_samples
from engine.layers.layer import MOST_TOKENS, Layer, register
from engine.layers.symbols import symbol_of
from engine.layers.variable import own_variables
from engine.layers.weights import WeightSpec

__all__ = ["CategoryEncoding", "Normalization", "Rescaling"]

Numbers = float | Sequence[float]


@register()
class Rescaling(Layer):
    """Rescales inputs: `x * scale + offset`, such as `Rescaling(1 / 255)` for uint8 images.

    Args:
        scale: a number, or one number for each entry of the last axis.
        offset: what is added; a number, or one number for each entry of the last axis.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    supports_masking = True

    def __init__(self, scale: Numbers, offset: Numbers = 0.0, **options: Any) -> None:
        self.scale = _numbers(scale, "scale")
        self.offset = _numbers(offset, "offset")
        super().__init__(**options)

    def _output_shape_for(self, input_shape: Shape) -> Shape:
        """The outputs have the shape of the inputs."""
        for name, value in (("scale", self.scale), ("offset", self.offset)):
            unknown = input_shape[-1:] == (None,)
            if isinstance(value, list) and len(value) not in (1, *input_shape[-1:]) and not unknown:
                msg = (
                    f"layer {self.name!r} has {len(value)} numbers as `{name}`, but gets "
                    f"{text_of_shape(input_shape)}: give one, or one for each entry of the last axis"
                )
                raise ValueError(msg)
        return input_shape

    def _lower(self, input_shape: Shape) -> list[LayerOperation]:
        """Lowers to one rescaling, or one factor and addend per entry of the last axis."""
        if not isinstance(self.scale, list) and not isinstance(self.offset, list):
            return [{"kind": "rescaling", "scale": self.scale, "offset": self.offset}]
        gain, shift = (
            np.broadcast_to(value, input_shape[-1]).tolist() for value in (self.scale, self.offset)
        )
        return [{"kind": "column_scale", "gain": gain, "shift": shift}]


@register()
class Normalization(Layer):
    """Normalizes inputs by the mean and variance of a data set: `(x - mean) / max(sqrt(variance), 1e-7)`.

    Give the mean and the variance, or call `adapt` to compute them from data. Before that they are 0 and 1.

    Args:
        axis: axis or axes whose entries each have their own mean and variance; None uses one mean and one variance
            for all.
        mean: mean of the data, a number or one for each entry of `axis`.
        variance: variance of the data, a number or one for each entry of `axis`.
        invert: whether to apply the inverse, `x * max(sqrt(variance), 1e-7) + mean`.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    supports_masking = True

    def __init__(
        self,
        axis: int | Sequence[int] | None = -1,
        mean: ArrayLike | None = None,
        variance: ArrayLike | None = None,
        invert: bool = False,
        **options: Any,
    ) -> None:
        given = [] if axis is None else axis_argument(axis)
        self.axis = tuple([given] if isinstance(given, int) else given)
        if (mean is None) != (variance is None):
            msg = (
                f"give `mean` and `variance` together, or none and call adapt(); got {mean=} and {variance=}"
            )
            raise ValueError(msg)
        self.input_mean: Any = None if mean is None else _statistics(mean, "mean")
        self.input_variance: Any = None if variance is None else _statistics(variance, "variance")
        if _shape(self.input_mean) != _shape(self.input_variance):
            msg = (
                f"`mean` and `variance` must have one shape, got {_shape(self.input_mean)} and "
                f"{_shape(self.input_variance)}"
            )
            raise ValueError(msg)
        self.invert = flag(invert, "invert")
        super().__init__(**options)

    @property
    def mean(self) -> Any:
        """The mean, with as many axes as the inputs; None before it is known."""
        return self._known(0, self.input_mean)

    @property
    def variance(self) -> Any:
        """The variance, with as many axes as the inputs; None before it is known."""
        return self._known(1, self.input_variance)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments; what `adapt` computed is among the weights."""
        return {**super().get_config(), "mean": self.input_mean, "variance": self.input_variance}

    def _output_shape_for(self, input_shape: Shape) -> Shape:
        """The outputs have the shape of the inputs."""
        shape = self._axes(input_shape).inner_shape
        if self.input_mean is not None and not _broadcasts(_shape(self.input_mean), shape):
            msg = (
                f"layer {self.name!r} has `mean` and `variance` of shape {_shape(self.input_mean)}, but gets "
                f"{text_of_shape(input_shape)} and `axis={self.axis}`, which needs {shape}"
            )
            raise ValueError(msg)
        return input_shape

    def _weight_specs_for(self, input_shape: Shape) -> list[WeightSpec]:
        """The mean, the variance and Keras' count, which stays 0; none if the first two were given as arguments."""
        if self.input_mean is not None:
            return []
        shape = self._axes(input_shape).inner_shape
        return [
            WeightSpec("mean", shape, initializers.Zeros(), trainable=False),
            WeightSpec("variance", shape, initializers.Ones(), trainable=False),
            WeightSpec("count", (), initializers.Zeros(), trainable=False),
        ]

    def _lower(self, input_shape: Shape) -> list[LayerOperation]:
        """Lowers to one standardization."""
        axes = self._axes(input_shape)
        operation: StandardizeOperation = {
            "kind": "standardize",
            "spread": "inverse" if self.invert else "deviation",
            "epsilon": EPSILON,  # a smaller deviation is replaced by it
            "shape": list(axes.inner_shape),
        }
        if self.input_mean is not None:
            mean, variance = (
                np.broadcast_to(np.asarray(value), axes.inner_shape).reshape(-1).tolist()
                for value in (self.input_mean, self.input_variance)
            )
            operation["mean"], operation["variance"] = mean, variance
        return axes.around([operation])

    def finalize_state(self) -> None:
        """Has no effect: `adapt` sets mean and variance itself."""

    def adapt(self, data: Any) -> None:
        """Computes mean and variance of `data`, and replaces the previous ones.

        Args:
            data: samples (n, ...) as an array, a DataFrame or nested lists; or batches of samples from a list, a
                generator, a `PyDataset` or another iterable. If batches are tuples, (x, y) or (x, y,
                sample_weight), only x is used.

        Raises:
            TypeError: if `data` doesn't consist of real numbers.
            ValueError: if the layer was created with mean and variance, or `data` doesn't match its input shape.
                The layer is unchanged then.
        """
        if self.input_mean is not None:
            msg = f"layer {self.name!r} was given its `mean` and `variance`: leave them out for adapt() to find them"
            raise ValueError(msg)
        batches = batches_to_adapt_to(data)
        first = next(batches)
        axes = self._axes(first.shape[1:])
        if self.built and axes.inner_shape != self.weights[0].shape:
            msg = (
                f"layer {self.name!r} is built for {self.weights[0].shape} along `axis={self.axis}`, but `data` has "
                f"{axes.inner_shape}"
            )
            raise ValueError(msg)
        mean, variance = _moments(chain([first], batches), tuple(axis + 1 for axis in axes.outer))
        values = [np.asarray(number, np.float32) for number in (mean, variance, 0)]
        if self.built:
            self.set_weights(values)
        else:
            self._weights = own_variables(self, self._weight_specs_for(axes.shape), new_arrays(values))
            self._sample_shape = axes.shape

    def _known(self, index: int, given: Any) -> Any:
        if given is None and not self.built:
            return None
        values = np.asarray(self.weights[index] if given is None else given, np.float32)
        if self._sample_shape is not None:
            axes = self._axes(self._sample_shape)
            sizes = (size if axis in axes.inner else 1 for axis, size in enumerate(axes.shape))
            values = np.broadcast_to(values, axes.inner_shape).reshape(1, *sizes)
        return np.array(values).view(Tensor)

    @property
    def _changes_nothing(self) -> bool:
        """Whether mean and variance are 0 and 1, as they are before `adapt`."""
        if not self.built or self.input_mean is not None:
            return False
        mean, variance, _ = self.get_weights()
        return not mean.any() and bool((variance == 1).all())

    def _axes(self, input_shape: Shape) -> Axes:
        return axes_of(self.name, self.axis, input_shape)


@register()
class CategoryEncoding(Layer):
    """Encodes category indices as vectors with one entry per category.

    Args:
        num_tokens: number of categories.
        output_mode: "multi_hot" returns 1 for each category that occurs along the last axis, "count" the number of
            occurrences, "one_hot" a one-hot vector for each index.
        sparse: Ignored. Outputs are always dense arrays.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    # Keras' config lacks it too; on JAX, Keras can't predict with it.
    _unsaved_arguments = (*Layer._unsaved_arguments, "sparse")

    def __init__(
        self,
        num_tokens: int | None = None,
        output_mode: str = "multi_hot",
        sparse: bool = False,
        **options: Any,
    ) -> None:
        if num_tokens is None:
            msg = "`num_tokens` must be set, got None: give the number of categories, one more than the largest index"
            raise ValueError(msg)
        self.num_tokens = integer(num_tokens, "num_tokens", 1, MOST_TOKENS)
        modes = ("multi_hot", "one_hot", "count", "binary")
        mode = choice(output_mode, "output_mode", modes)
        self.output_mode = "multi_hot" if mode == "binary" else mode
        self.sparse = flag(sparse, "sparse")
        super().__init__(**options)
        self._indices_below = self.num_tokens

    def __call__(self, inputs: Any, count_weights: ArrayLike | None = None) -> Any:
        """Returns the vectors for `inputs`, or the symbolic output for a symbolic input.

        Args:
            inputs: indices (n, ...). Without "one_hot", a vector (n,) is one sample of n indices, as in Keras.
            count_weights: weights of the indices in the shape of `inputs`, for "count", not within models.
        """
        if symbol_of(inputs) is None and (rank := np.ndim(inputs)) < 2:  # noqa: PLR2004 # samples and their indices
            one_hot = self.output_mode == "one_hot"
            if rank == 0 or not one_hot:
                weights = None if count_weights is None else np.atleast_1d(count_weights)[np.newaxis]
                vectors = self(np.atleast_1d(inputs)[np.newaxis], weights)
                return vectors if one_hot else vectors[0].view(Tensor)
        if count_weights is None:
            return super().__call__(inputs)
        indices, weights = np.asarray(inputs), np.asarray(count_weights, np.float32)
        if self.output_mode != "count" or weights.shape != indices.shape or not indices.ndim:
            msg = (
                f"`count_weights` must have the shape of the indices, {indices.shape}, and belongs to "
                f'output_mode="count"; got shape {weights.shape} and {self.output_mode!r}'
            )
            raise ValueError(msg)
        each = np.asarray(super().__call__(indices[..., np.newaxis]))
        return np.sum(each * weights[..., np.newaxis], axis=-2).view(Tensor)

    def _output_shape_for(self, input_shape: Shape) -> Shape:
        """The last axis gets the length `num_tokens`. With "one_hot" it is a new one, unless the last has length 1."""
        require_samples(self.name, self.output_mode, input_shape)
        if self.output_mode == "one_hot" and input_shape[-1:] != (1,):
            return (*input_shape, self.num_tokens)
        return (*input_shape[:-1], self.num_tokens)

    def _lower(self, input_shape: Shape) -> list[LayerOperation]:
        """Lowers to one encoding."""
        rows = input_shape if self.output_mode == "one_hot" else input_shape[:-1]
        return [
            {
                "kind": "encoding",
                "tokens": self.num_tokens,
                "counts": self.output_mode == "count",
                "groups": math.prod(rows),
            }
        ]


def _numbers(value: object, name: str) -> float | list[float]:
    if isinstance(value, np.ndarray) and value.size and value.size == (value.shape or (1,))[-1]:
        value = (
            value.reshape(-1) if value.ndim else value.item()
        )  # leading axes of length 1 make no difference
    if isinstance(value, (list, tuple, np.ndarray)) and np.ndim(value) == 1 and len(value):
        return [real(float(number), name) for number in cast(Sequence[float], value)]
    return real(value, name)


def _statistics(value: ArrayLike, name: str) -> Any:
    array: NDArray[Any] = np.asarray(value)
    if array.dtype.kind not in REAL or not np.isfinite(array).all():
        msg = f"`{name}` must hold finite numbers, got {value!r}"
        raise ValueError(msg)
    if name == "variance" and bool((array < 0).any()):
        msg = f"`variance` must not be negative, got {value!r}"
        raise ValueError(msg)
    return array.astype(float).tolist()


def _shape(value: Any) -> Shape:
    return () if value is None else np.shape(value)


def _broadcasts(shape: Shape, wanted: Shape) -> bool:
    return len(shape) <= len(wanted) and all(
        size in (1, axis) for size, axis in zip(shape[::-1], wanted[::-1], strict=False)
    )


def _moments(batches: Iterable[NDArray[Any]], axes: Shape) -> tuple[NDArray[Any], NDArray[Any]]:
    """Returns mean and variance of all batches over the batch axis and `axes`, computed in double precision."""
    count, mean, squares = 0, np.zeros(()), np.zeros(())
    for batch in batches:
        numbers = batch.astype(float)
        own = math.prod(batch.shape[axis] for axis in (0, *axes))
        own_mean = numbers.mean(axis=(0, *axes))
        own_squares = numbers.var(axis=(0, *axes)) * own
        # Chan, Golub and LeVeque (1983)
        step, total = own_mean - mean, count + own
        squares = squares + own_squares + step**2 * (count * own / total)
        mean = mean + step * (own / total)
        count = total
    return mean, squares / count
