"""What the layers have in common that NumPy computes from strings or integers, such as look-ups and hashes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from engine._base.checks import REAL, Shape, integer
from engine._base.tensor_like import Tensor
from engine._data.array_conversion import real_array
from engine._data.batch_streams import is_indexed, raw_batches, samples_of_batch
from engine._data.strings import Strings, contains_strings, strings_in, strings_of_numbers
from engine.layers.layer import Layer
from engine.layers.symbols import symbols_of


class ValueLayer(Layer):
    """Base class of layers that NumPy computes from strings or integers. They have no weights and pass no gradient.

    Called on data, such a layer computes at once. In a model it gets what the core has: integers as float32, and numbers in the
    place of strings.

    Args:
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    _takes_scalars = True
    _reads = "strings"
    """What the inputs hold: "strings", "integers", or "both" for either."""

    def __call__(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Returns the outputs for `inputs`, or the symbolic output for a symbolic input.

        Args:
            inputs: array or nested lists of strings or integers, as the class says.
            training: changes nothing.
            mask: must be None.
        """
        if symbols_of(inputs) is not None:
            return super().__call__(inputs, training, mask)
        return result_of(self._outputs_of(inputs))

    def _output_dtypes_for(self, dtypes: Sequence[str]) -> Sequence[str]:
        return [self._dtype_of_indices or "float32"]

    @property
    def _dtype_of_indices(self) -> str | None:
        """The dtype of the outputs if they are indices; None if they are vectors."""
        return None

    def call(self, inputs: Any) -> Any:
        """Returns the outputs for one batch.

        Args:
            inputs: array (n, ...) of strings, of integers, or of the numbers that stand for them in models.
        """
        if self._reads == "strings" and not contains_strings(inputs):
            inputs = strings_of_numbers(np.asarray(inputs))
        return self._outputs_of(inputs)

    def _call_in_model(self, inputs: Sequence[Any], training: bool | None, arguments: Any) -> Any:
        del training, arguments
        return result_of(self.call(self._packed_inputs(inputs)))

    def _outputs_of(self, inputs: Any) -> NDArray[Any]:
        """Returns the outputs for strings or integers of any shape."""
        raise NotImplementedError

    def gradient(self, inputs: Any, upstream: Any) -> Any:
        """Returns the gradient of the loss with respect to the inputs, which is zero.

        Args:
            inputs: array (n, ...).
            upstream: gradient of the loss with respect to the outputs.
        """
        del upstream
        return np.zeros(np.shape(inputs), np.float32)


def result_of(outputs: NDArray[Any]) -> Any:
    """Returns the outputs of a layer as a user gets them: numbers as a tensor, strings as an array."""
    return outputs.view(Tensor) if outputs.dtype.kind in REAL else outputs


def integers_in(value: Any, name: str = "inputs") -> NDArray[np.int64]:
    """Returns the integers in `value` as int64. Floats lose what is behind the point, as in Keras.

    Args:
        value: a number, an array, a column or nested lists.
        name: the name of the argument, for messages.

    Raises:
        TypeError: if it doesn't hold real numbers.
        ValueError: for a number that isn't finite.
    """
    array: NDArray[Any] = np.asarray(value) if np.ndim(value) == 0 else real_array(value, name)
    if array.dtype.kind not in REAL:
        msg = f"`{name}` must hold integers, got {value!r:.60}"
        raise TypeError(msg)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        msg = (
            f"`{name}` must hold integers, but has a number that isn't finite: give missing values an integer"
        )
        raise ValueError(msg)
    return array.astype(np.int64)


def values_in(value: Any, name: str = "inputs") -> Strings | NDArray[np.int64]:
    """Returns strings, or else integers, in `value`."""
    return strings_in(value, name) if contains_strings(value) else integers_in(value, name)


def batches_of_values(data: Any, steps: int | None = None) -> Iterator[Any]:
    """Yields the batches that `adapt` learns from.

    Args:
        data: strings or integers in an array, a column or nested lists, which are one batch; or an iterable or a `PyDataset` of
            batches. If these are tuples, (x, y) or (x, y, sample_weight), only x is used.
        steps: the number of batches; None takes all.

    Raises:
        TypeError: for anything else.
    """
    limit = None if steps is None else integer(steps, "steps", 1)
    if is_whole(data):
        return iter([data])
    if isinstance(data, Iterable):
        return map(samples_of_batch, islice(data, limit))
    if is_indexed(data):
        return map(samples_of_batch, islice(raw_batches(data), limit))
    msg = f"`data` must be an array or list of samples, or an iterable of batches, got {data!r:.60}"
    raise TypeError(msg)


def is_whole(data: Any) -> bool:
    """Whether `data` holds all samples, and not batches of them."""
    return isinstance(data, (str, bytes, list, tuple, Strings)) or any(
        hasattr(data, attribute) for attribute in ("shape", "to_numpy", "__array__")
    )


def rows_to_count(shape: Shape, values: Sequence[Any], whole: bool) -> Iterator[Sequence[Any]]:
    """Yields the terms of each document.

    Args:
        shape: of the array of terms.
        values: the terms in C order.
        whole: whether these are all samples: then each term of a vector is a document, else the vector is one, as in Keras.
    """
    if len(shape) < 2:  # noqa: PLR2004 # documents and terms
        return iter([[each] for each in values] if whole else [values])
    length = int(np.prod(shape[1:]))
    return (values[begin : begin + length] for begin in range(0, len(values), length or 1))


def as_shape(shape: Any) -> tuple[int | None, ...]:
    """Returns the shape that a method got as a tuple."""
    return tuple(cast("Sequence[int | None]", shape))
