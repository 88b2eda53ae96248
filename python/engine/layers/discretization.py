"""`Discretization`, which maps numbers to the index of the bin that contains them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine._base.checks import above_zero, checked_config, choice, flag, integer, reals, with_noun
from engine.layers._adapting import batches_to_adapt_to
from engine.layers.layer import Layer, register

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Discretization"]


@register()
class Discretization(Layer):
    """Maps each number to the index of the bin that contains it. It passes no gradients.

    The boundaries b[0] < b[1] < ... define the bins (-inf, b[0]), [b[0], b[1]), ..., up to +inf. Give the
    boundaries, or the number of bins and call `adapt`, which computes the boundaries from data.

    Args:
        bin_boundaries: the boundaries in ascending order.
        num_bins: number of bins for `adapt`, which chooses boundaries so that all bins hold about as many numbers.
        epsilon: error allowed in `adapt`, as a fraction of the data. Smaller values need more memory.
        output_mode: "int" returns the indices. "one_hot" returns a one-hot vector for each number, along the last
            axis if its length is 1, otherwise along a new axis. "multi_hot" returns one vector per sample with 1
            for each bin that occurs, "count" one with the number of occurrences; for samples with several axes, one
            per entry of their first axis.
        sparse: Ignored. Outputs are always dense arrays.
        options: arguments of every `Layer`, such as `name` and `input_shape`.

    Raises:
        ValueError: unless either `bin_boundaries` or `num_bins` is given.

    Example:
        >>> from engine import layers
        >>> layers.Discretization(bin_boundaries=[0.0, 1.0, 2.0])([[-1.5, 1.0, 3.4, 0.5]]).tolist()
        [[0, 2, 3, 1]]
    """

    _unknown_argument_error = TypeError  # as in Keras, whose class takes fewer arguments than other layers

    def __init__(
        self,
        bin_boundaries: Sequence[float] | None = None,
        num_bins: int | None = None,
        epsilon: float = 0.01,
        output_mode: str = "int",
        sparse: bool = False,
        **options: Any,
    ) -> None:
        if (bin_boundaries is None) == (num_bins is None):
            msg = (
                "give either `bin_boundaries`, or `num_bins` and call adapt(); got "
                f"{bin_boundaries=} and {num_bins=}"
            )
            raise ValueError(msg)
        self.bin_boundaries = None if bin_boundaries is None else _ascending(bin_boundaries)
        self.num_bins = None if num_bins is None else integer(num_bins, "num_bins", 1)
        self.epsilon = above_zero(epsilon, "epsilon", 1.0)
        self.output_mode = choice(output_mode, "output_mode", ("int", "one_hot", "multi_hot", "count"))
        self.sparse = flag(sparse, "sparse")
        if self.sparse and self.output_mode == "int":
            msg = "`sparse=True` belongs to `output_mode` 'one_hot', 'multi_hot' or 'count', got 'int'"
            raise ValueError(msg)
        super().__init__(**options)
        self.summary = _NOTHING
        """The data of `adapt` and `update_state`, (2, k): some of the numbers in ascending order, and how many each represents."""

    def __call__(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Returns the encoded `inputs`, or the symbolic output for a symbolic input.

        In mode "int" the result has an integer dtype. `training` and `mask` are as for
        `Layer`.
        """
        outputs = super().__call__(inputs, training, mask)
        integers = self.output_mode == "int" and isinstance(outputs, np.ndarray)
        return outputs.astype(np.int32) if integers else outputs

    def call(self, inputs: Any) -> Any:
        """Returns the indices of the bins, encoded as `output_mode` says.

        Args:
            inputs: float32 array (n, ...).
        """
        if self.bin_boundaries is None:
            msg = f"layer {self.name!r} has no boundaries yet: call adapt() first, or give `bin_boundaries`"
            raise ValueError(msg)
        indices = np.searchsorted(np.asarray(self.bin_boundaries, np.float32), inputs, side="right")
        if self.output_mode == "int":
            return indices
        if self.output_mode == "one_hot" and indices.ndim > 1 and indices.shape[-1] == 1:
            indices = indices[..., 0]
        vectors = np.eye(self._bins, dtype=np.float32)[indices]
        if self.output_mode == "one_hot" or indices.ndim == 1:
            return vectors
        return vectors.sum(axis=1) if self.output_mode == "count" else vectors.max(axis=1)

    def gradient(self, inputs: Any, upstream: Any) -> Any:
        """Returns the gradient of the loss with respect to the inputs, which is zero.

        Args:
            inputs: array (n, ...).
            upstream: gradient of the loss with respect to the outputs.
        """
        del upstream
        return np.zeros_like(inputs)

    def _output_dtypes_for(self, dtypes: Sequence[str]) -> Sequence[str]:
        return ["int32" if self.output_mode == "int" else "float32"]

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Returns the shape of the outputs for inputs of shape `input_shape`, both `(None, ...)`."""
        if not input_shape:  # a single number
            return () if self.output_mode == "int" else (self._bins,)
        batch, *sample = input_shape
        if self.output_mode == "int":
            return (batch, *sample)
        if self.output_mode == "one_hot":
            return (batch, *(sample[:-1] if sample[-1:] == [1] else sample), self._bins)
        return (batch, *sample[1:], self._bins)

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Chooses boundaries so that all bins hold about as many of the numbers in `data`.

        Args:
            data: samples (n, ...) as an array, a DataFrame or nested lists; or batches of samples from a list, a
                generator, a `PyDataset` or another iterable. If batches are tuples, (x, y) or (x, y,
                sample_weight), only x is used.
            steps: number of batches to use; None uses all.

        Raises:
            TypeError: if `data` doesn't consist of real numbers.
            ValueError: if the layer was created with boundaries, or `data` doesn't match its input shape. The layer
                is unchanged then.
        """
        if self.num_bins is None:
            msg = f"layer {self.name!r} was given its `bin_boundaries`: give `num_bins` for adapt() to find them"
            raise ValueError(msg)
        summary = _NOTHING
        for batch in batches_to_adapt_to(data, steps):
            summary = _merged(_summary(batch, self.epsilon), summary, self.epsilon)
        self._take(summary)

    def update_state(self, data: Any) -> None:
        """Adds the numbers in `data` to the statistics from which `finalize_state` computes boundaries."""
        for batch in batches_to_adapt_to(data):
            self.summary = _merged(_summary(batch, self.epsilon), self.summary, self.epsilon)

    def finalize_state(self) -> None:
        """Computes the boundaries from all data given to `update_state`."""
        if self.num_bins is not None:
            self._take(self.summary)

    def reset_state(self) -> None:
        """Resets the statistics of `update_state`."""
        self.summary = _NOTHING

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments, with the boundaries that `adapt` found."""
        names = ("bin_boundaries", "num_bins", "epsilon", "output_mode", "sparse", "name", "dtype")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Creates a layer from `config`, as returned by `get_config`."""
        given = dict(checked_config(config))
        adapted = given.get("bin_boundaries") if given.get("num_bins") is not None else None
        if adapted is not None:
            del given["bin_boundaries"]
        layer = super().from_config(given)
        if adapted is not None:
            layer.bin_boundaries = _ascending(adapted)
        return layer

    @property
    def _bins(self) -> int:
        """Number of bins."""
        return self.num_bins or 1 if self.bin_boundaries is None else len(self.bin_boundaries) + 1

    def _take(self, summary: NDArray[np.float32]) -> None:
        """Sets the boundaries to quantiles of a summary of the data."""
        boundaries = _thinned(summary, 1.0 / (self.num_bins or 1))[0, :-1].tolist()
        if self._is_in_model and self.output_mode != "int" and len(boundaries) + 1 != self._bins:
            msg = (
                f"the data has numbers for {with_noun(len(boundaries) + 1, 'bin')}, but layer {self.name!r} is in a model that was "
                f"built for {self._bins}: call adapt() before the layer is used, or adapt to more data"
            )
            raise ValueError(msg)
        self.bin_boundaries, self.summary = boundaries, summary


_NOTHING = np.zeros((2, 0), np.float32)


def _ascending(boundaries: object) -> list[float]:
    """Returns the boundaries as numbers, checked."""
    numbers = reals(boundaries, "bin_boundaries")
    if any(np.diff(numbers) < 0):
        msg = f"`bin_boundaries` must be in ascending order, got {boundaries!r:.80}"
        raise ValueError(msg)
    return numbers


# A summary, (2, k), has some of the numbers in ascending order and how many numbers each represents. Its quantiles are
# right up to a share `epsilon` of the data. Summaries of batches are merged, so that the data need not fit into memory
# (Greenwald and Khanna, 2001).


def _summary(batch: NDArray[Any], epsilon: float) -> NDArray[np.float32]:
    """Returns the summary of a batch: all its numbers, or evenly spaced ones of the sorted numbers."""
    numbers = np.sort(batch.astype(np.float32), axis=None)
    step = max(numbers.size / (1.0 / epsilon), 1)
    kept = numbers[int(step - 1) :: int(step)]
    return np.stack([kept, np.full_like(kept, step)])


def _merged(one: NDArray[np.float32], other: NDArray[np.float32], epsilon: float) -> NDArray[np.float32]:
    """Returns the summary of the data of two summaries."""
    both = np.concatenate([one, other], axis=1)
    return _thinned(both[:, np.argsort(both[0])], epsilon)


def _thinned(summary: NDArray[np.float32], epsilon: float) -> NDArray[np.float32]:
    """Returns a summary of the quantiles at `epsilon`, 2 `epsilon`, ...; the same one if it has fewer numbers than that."""
    if summary.shape[1] * epsilon < 1:
        return summary
    shares, counts = epsilon + np.arange(0.0, 1.0, epsilon), summary[1].cumsum()
    reached = counts / counts[-1]
    numbers, below = np.interp(shares, reached, summary[0]), np.interp(shares, reached, counts)
    return np.stack([numbers, np.diff(below, prepend=0.0)]).astype(np.float32)
