"""Recording of the Fourier transforms of `engine.ops`, as products with matrices of sines and cosines.

A transform of n = p q numbers is q transforms of p numbers, factors, and p transforms of q numbers (Cooley and Tukey, 1965).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine._base.checks import integer
from engine._base.windows import window_factors
from engine._tracing.arrangement import concatenate, flip, pad, swapaxes, take
from engine._tracing.dispatch import records
from engine._tracing.elementwise import add, multiply, subtract
from engine._tracing.errors import CannotRecordError, line_of_user
from engine._tracing.extents import ONE, Extent, text_of_extents
from engine._tracing.primitives import float_dtype, part
from engine._tracing.products import matmul
from engine._tracing.reductions import array_of, sum_
from engine._tracing.trace import TracedArray, as_traced, trace_of

# So many numbers are transformed by one matrix.
_ONE_MATRIX = 256
# `istft` does not divide by sums of squared windows below this number.
_NO_WINDOW = 1e-10

Parts = tuple[TracedArray, TracedArray]


def _parts(x: Any) -> Parts:
    if not isinstance(x, (tuple, list)) or len(x) != 2:  # noqa: PLR2004 # a pair
        msg = f"`x` must be a pair of arrays, real and imaginary parts, got {x!r:.200}"
        raise ValueError(msg)
    trace = trace_of(*x)
    real, imaginary = (as_traced(component, trace) for component in x)
    if real.extents != imaginary.extents or {
        np.dtype(component.dtype).kind for component in (real, imaginary)
    } != {"f"}:
        msg = f"`x` must be a pair of arrays of floats of one shape, got {real!r} and {imaginary!r}"
        raise ValueError(msg)
    return real, imaginary


def _length(x: TracedArray, axis: int = -1) -> int:
    if x.ndim < -axis:
        msg = f"`x` must have at least {-axis} axes, got shape {text_of_extents(x.extents)}"
        raise ValueError(msg)
    length = x.extents[axis].static
    if length is None:
        msg = f"{line_of_user()}: a Fourier transform along the samples of a batch can't be recorded: its length must be known"
        raise CannotRecordError(msg)
    return length


def _angles(rows: int, columns: int, period: int) -> NDArray[Any]:
    products = np.outer(np.arange(rows), np.arange(columns)) % period
    return 2 * math.pi / period * products


def _turned(parts: Parts, cosines: Any, sines: Any, multiplied: Any) -> Parts:
    """Returns complex numbers times cos - i sin, by a function that multiplies arrays."""
    real, imaginary = parts
    return (
        add(multiplied(real, cosines), multiplied(imaginary, sines)),
        subtract(multiplied(imaginary, cosines), multiplied(real, sines)),
    )


def _transform(parts: Parts, sign: int = 1) -> Parts:
    """Returns the Fourier transform along the last axis; its inverse times the length for `sign` -1."""
    n = _length(parts[0])
    first = max((factor for factor in range(1, math.isqrt(n) + 1) if n % factor == 0), default=1)
    if n <= _ONE_MATRIX or first == 1:
        angles = _angles(n, n, max(n, 1))
        return _turned(parts, np.float32(np.cos(angles)), np.float32(sign * np.sin(angles)), matmul)
    second = n // first
    before = parts[0].extents[:-1]
    grid = [component.reshaped((*before, Extent(first), Extent(second))) for component in parts]
    columns = _transform((swapaxes(grid[0], -1, -2), swapaxes(grid[1], -1, -2)), sign)  # (second, first)
    angles = _angles(second, first, n)
    factored = _turned(columns, np.float32(np.cos(angles)), np.float32(sign * np.sin(angles)), multiply)
    rows = _transform((swapaxes(factored[0], -1, -2), swapaxes(factored[1], -1, -2)), sign)  # (first, second)
    spectrum = [swapaxes(component, -1, -2).reshaped((*before, Extent(n))) for component in rows]
    return spectrum[0], spectrum[1]


def _scaled(parts: Parts, factor: float) -> Parts:
    return multiply(parts[0], factor), multiply(parts[1], factor)


def _along_axis_before_last(parts: Parts, sign: int) -> Parts:
    real, imaginary = _transform((swapaxes(parts[0], -1, -2), swapaxes(parts[1], -1, -2)), sign)
    return swapaxes(real, -1, -2), swapaxes(imaginary, -1, -2)


@records("fft")
def fft(x: Any) -> Parts:
    """The Fourier transform along the last axis."""
    return _transform(_parts(x))


@records("fft2")
def fft2(x: Any) -> Parts:
    """The Fourier transform along the last two axes."""
    parts = _parts(x)
    _length(parts[0], -2)
    return _along_axis_before_last(_transform(parts), 1)


@records("ifft2")
def ifft2(x: Any) -> Parts:
    """The inverse of `fft2`."""
    parts = _parts(x)
    count = _length(parts[0], -1) * _length(parts[0], -2)
    return _scaled(_along_axis_before_last(_transform(parts, -1), -1), 1 / count)


def _with_length(x: TracedArray, length: int) -> TracedArray:
    """Returns an array cut or filled up with zeros along its last axis."""
    current_length = _length(x)
    if length <= current_length:
        return part(x, x.ndim - 1, Extent(0), Extent(length))
    return pad(x, [(0, 0)] * (x.ndim - 1) + [(0, length - current_length)])


@records("rfft")
def rfft(x: Any, fft_length: int | None = None) -> Parts:
    """The Fourier transform of real numbers along the last axis."""
    array = array_of(x)
    real = array.as_dtype(float_dtype(array))
    length = _length(real) if fft_length is None else integer(fft_length, "fft_length", 1)
    real = _with_length(real, length)
    spectrum = _transform((real, multiply(real, 0.0)))
    kept_length = Extent(length // 2 + 1)
    return part(spectrum[0], real.ndim - 1, Extent(0), kept_length), part(
        spectrum[1], real.ndim - 1, Extent(0), kept_length
    )


@records("irfft")
def irfft(x: Any, fft_length: int | None = None) -> TracedArray:
    """The real numbers of which `rfft` is `x`."""
    parts = _parts(x)
    length = 2 * (_length(parts[0]) - 1) if fft_length is None else integer(fft_length, "fft_length", 1)
    real, imaginary = (_with_length(component, length // 2 + 1) for component in parts)
    # The other half of the transform of real numbers is conjugate. Where it is its own other half, it is real.
    alone = np.ones(length // 2 + 1, np.float32)
    alone[0] = 0
    if length % 2 == 0:
        alone[-1] = 0
    imaginary = multiply(imaginary, alone)
    axis, rest = real.ndim - 1, Extent((length - 1) // 2)
    mirrored = [flip(part(component, axis, ONE, rest), axis) for component in (real, imaginary)]
    whole = concatenate([real, mirrored[0]], -1), concatenate([imaginary, multiply(mirrored[1], -1.0)], -1)
    return multiply(_transform(whole, -1)[0], 1 / length)


# Windows.


@records("extract_sequences")
def extract_sequences(x: Any, sequence_length: int, sequence_stride: int) -> TracedArray:
    """Windows along the last axis."""
    length = integer(sequence_length, "sequence_length", 1)
    stride = integer(sequence_stride, "sequence_stride", 1)
    array = array_of(x)
    total = _length(array)
    if total < length:
        msg = f"a window of {length} numbers doesn't fit into {text_of_extents(array.extents)}"
        raise ValueError(msg)
    begins = np.arange(0, total - length + 1, stride)
    return take(array, begins[:, np.newaxis] + np.arange(length), -1)


@records("stft")
def stft(  # noqa: PLR0917 # Keras' signature
    x: Any,
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    window: Any = "hann",
    center: bool = True,
) -> Parts:
    """The Fourier transforms of windows along the last axis."""
    array = array_of(x)
    if array.dtype not in ("float32", "float64"):
        msg = f"`x` must be of float32 or float64, got {array.dtype}"
        raise TypeError(msg)
    factors = window_factors(window, sequence_length, fft_length, np.dtype(np.float32))
    if center:
        array = pad(array, [(0, 0)] * (array.ndim - 1) + [(fft_length // 2, fft_length // 2)], "reflect")
    return rfft(multiply(extract_sequences(array, fft_length, sequence_stride), factors))


@records("istft")
def istft(  # noqa: PLR0917 # Keras' signature
    x: Any,
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    length: int | None = None,
    window: Any = "hann",
    center: bool = True,
) -> TracedArray:
    """The numbers of which `stft` is `x`."""
    parts = _parts(x)
    stride = integer(sequence_stride, "sequence_stride", 1)
    if parts[0].ndim < 2:  # noqa: PLR2004 # windows of frequencies
        msg = f"`x` must be a pair of arrays of at least two axes, got {parts[0]!r}"
        raise ValueError(msg)
    factors = window_factors(window, sequence_length, fft_length, np.dtype(np.float32))
    frames = multiply(irfft(parts, fft_length), factors)
    count = _length(parts[0], -2)
    whole = fft_length + stride * (count - 1)
    # For each place the windows that cover it, and the place in each of them.
    offsets = np.arange(whole)[:, np.newaxis] - stride * np.arange(count)
    covers = (offsets >= 0) & (offsets < fft_length)
    numbers = np.where(covers, np.arange(count) * fft_length + offsets, count * fft_length)
    flat = pad(
        frames.reshaped((*frames.extents[:-2], Extent(count * fft_length))),
        [(0, 0)] * (frames.ndim - 2) + [(0, 1)],
    )
    most = max(int(covers.sum(1).max()), 1)
    numbers = np.sort(numbers, axis=1)[:, :most]
    total = sum_(take(flat, numbers, -1), -1)
    weight = np.sum(np.where(covers, np.square(factors)[np.clip(offsets, 0, fft_length - 1)], 0), axis=1)
    scale = 1 / np.where(weight > _NO_WINDOW, weight, 1)
    if window is None:
        scale = scale * np.sum(factors) / stride
    start = fft_length // 2 if center else 0
    end = min(start + length, whole) if length is not None else whole - start
    signal = multiply(total, np.float32(scale))
    return part(signal, signal.ndim - 1, Extent(start), Extent(end - start))
