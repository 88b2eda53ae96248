"""The compiled module of the tests; `tests/cpp/bindings` has its sources."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float32 = NDArray[np.float32]
Rows = NDArray[np.uint8] | NDArray[np.float32] | NDArray[np.float64]

def matmul(
    a: ArrayLike,
    b: ArrayLike,
    bias: ArrayLike | None,
    activation: Mapping[str, Any] | None,
    transpose_a: bool,
    transpose_b: bool,
    out: Float32 | None,
    isa: str,
    threads: int,
) -> Float32:
    """`engine._core.matmul` with the kernels of `isa`, on exactly `threads` threads however small the product is."""

def accumulate(
    metric: Mapping[str, Any],
    y_pred: Float32,
    y: NDArray[np.int32] | Float32,
    sample_weight: Float32 | None,
    state: NDArray[np.float64] | None,
    binary: bool,
    isa: str,
) -> NDArray[np.float64]:
    """`engine._core.accumulate` with the kernels of `isa`."""

class Kernels:
    """The kernels of one instruction set. Every call runs on the calling thread.

    All arrays are float32; `ld` arguments come from the arrays' row strides. Padding columns must
    exist up to a multiple of 16 floats per row (`engine`'s own layout): use `padded(rows, cols)`.
    """

    def __init__(self, isa: str) -> None:
        """Raises ValueError when `isa` isn't compiled in or this CPU lacks it."""
    @staticmethod
    def padded(rows: int, cols: int) -> Float32:
        """A zeroed (rows, cols) view into storage laid out as the engine lays out its buffers."""
    def unary(self, function: str, x: Float32, parameters: Sequence[float] = ...) -> Float32:
        """`function`: exp, log, or an activation's name (value), or "<activation>_gradient" (derivative
        as a function of what the plan saves: the input, of linear to exponential the output y)."""
    def map(self, function: str, a: Float32, b: Float32, c: Float32) -> Float32:
        """One instruction of a map; instructions with fewer operands read `a`, or `a` and `b`, alone."""
    def integers_to_floats(self, x: NDArray[np.int32] | NDArray[np.int64]) -> tuple[Float32, int, int]:
        """The numbers rounded to float32, and the least and the largest of them."""
    def floats_to_integers(self, x: Float32, in_place: bool) -> tuple[NDArray[np.int32], bool]:
        """The numbers without their fractions, and whether all fit int32."""
    def dense_forward(
        self, activation: str, x: Float32, kernel: Float32, bias: Float32 | None, out: Float32
    ) -> None:
        """out (m, n) = activation(x (m, k) @ kernel (k, n) + bias (n,))."""
    def dense_backward_input(
        self, activation: str, dz: Float32, kernel: Float32, saved: Float32, dx: Float32
    ) -> None:
        """dx (m, k) = (dz (m, n) @ kernel (k, n).T) * activation'(saved (m, k))."""
    def dense_backward_weights(
        self,
        optimizer: Mapping[str, Any],
        x: Float32,
        dz: Float32,
        kernel: Float32,
        slots: Sequence[Float32],
        bias: Float32 | None,
        bias_slots: Sequence[Float32],
        learning_rate: float,
        iteration: int,
        l2: float,
    ) -> None:
        """kernel (k, n), bias (n,) and slots stepped in place with dW = x (m, k).T @ dz (m, n) + 2 l2 kernel,
        db = sum(dz). Slots hold the engine's scaled form. `iteration` counts from 1."""
    def row_activation(self, activation: str, x: Float32, saved: Float32 | None, out: Float32) -> None:
        """out = activation(x), row by row, or with the output as `saved` dLoss/dz from x = dLoss/dy."""
    def loss(
        self,
        loss: Mapping[str, Any],
        y_pred: Float32,
        y: NDArray[np.int32] | Float32,
        scale: Float32,
        gradient: Float32,
        binary: bool = False,
    ) -> NDArray[np.float32]:
        """Per-row losses; gradient (m, n) = scale[i] * dloss_i / dy_pred. `binary`: all of `y` are 0 or 1."""
    def metric(
        self, metric: Mapping[str, Any], y_pred: Float32, y: NDArray[np.int32] | Float32
    ) -> NDArray[np.float32]:
        """Per-row values."""
    def dropout(self, x: Float32, rate: float, seed: int, step: int, out: Float32) -> None: ...
    def gather(
        self, rows: Rows, indices: NDArray[np.int32], scale: float, offset: float, out: Float32
    ) -> None:
        """out[i] = float32(rows[indices[i]]) * scale + offset."""
