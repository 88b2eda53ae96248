"""Segments, Fourier transforms, and functions that NumPy lacks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from engine._base.checks import integer
from engine._base.promotion import (
    Array,
    Result,
    as_array,
    axis_or_tuple,
    common,
    copied,
    floating,
    floats,
)
from engine._base.quiet import quiet
from engine._tracing.traceable import make_all_traceable
from engine.ops.numpy import slogdet

# The number of steps of Halley's method for `erfinv`. Each step triples the correct digits.
_HALLEY_STEPS = 4
# Above this number `erfinv` uses `erfc`, since 1 - erf would lose digits.
_TAIL = 0.5
# `istft` does not divide by sums of squared windows below this number.
_NO_WINDOW = 1e-10


def segment_sum(
    data: ArrayLike, segment_ids: ArrayLike, num_segments: int | None = None, sorted: bool = False
) -> Result:
    """The sums of the rows of `data` that have the same number.

    Args:
        data: (n, ...).
        segment_ids: (n,), the number of the segment of each row; rows of numbers out of range are left out.
        num_segments: how many segments there are; default one more than the largest number.
        sorted: whether the numbers ascend; the result is the same.

    Returns:
        (num_segments, ...) in the dtype of `data`; 0 for a segment without rows.

    Raises:
        ValueError: if `segment_ids` is no vector as long as `data`.
    """
    del sorted
    return _segments(np.add, lambda _: 0, data, segment_ids, num_segments)


def segment_max(
    data: ArrayLike, segment_ids: ArrayLike, num_segments: int | None = None, sorted: bool = False
) -> Result:
    """The largest of the rows of `data` with the same number, the lowest number of the dtype for none.

    Args:
        data: (n, ...).
        segment_ids: (n,), as for `segment_sum`.
        num_segments: as for `segment_sum`.
        sorted: as for `segment_sum`.
    """
    del sorted
    return _segments(np.maximum, lambda dtype: _extreme(dtype, low=True), data, segment_ids, num_segments)


def segment_min(
    data: ArrayLike, segment_ids: ArrayLike, num_segments: int | None = None, sorted: bool = False
) -> Result:
    """The smallest of the rows of `data` with the same number, the largest number of the dtype for none.

    Args:
        data: (n, ...).
        segment_ids: (n,), as for `segment_sum`.
        num_segments: as for `segment_sum`.
        sorted: as for `segment_sum`.
    """
    del sorted
    return _segments(np.minimum, lambda dtype: _extreme(dtype, low=False), data, segment_ids, num_segments)


def segment_prod(
    data: ArrayLike, segment_ids: ArrayLike, num_segments: int | None = None, sorted: bool = False
) -> Result:
    """The products of the rows of `data` with the same number, 1 for none.

    Args:
        data: (n, ...).
        segment_ids: (n,), as for `segment_sum`.
        num_segments: as for `segment_sum`.
        sorted: as for `segment_sum`.
    """
    del sorted
    return _segments(np.multiply, lambda _: 1, data, segment_ids, num_segments)


def top_k(x: ArrayLike, k: int, sorted: bool = True, is_stable: bool = True) -> tuple[Array, Array]:
    """The `k` largest numbers along the last axis of `x`, the largest first, and their places, as int32.

    Args:
        x: (..., n).
        k: how many.
        sorted: without effect: they are in descending order.
        is_stable: without effect: equal numbers are in the order in which they come in `x`.

    Raises:
        ValueError: for more than there are.
    """
    del sorted, is_stable
    values = as_array(x)
    integer(k, "k", 0, values.shape[-1])
    # Equal numbers keep their order. A change of the sign would not reverse the order of unsigned numbers.
    backwards = np.argsort(values[..., ::-1], axis=-1, kind="stable")[..., ::-1][..., :k]
    indices = values.shape[-1] - 1 - backwards
    return np.take_along_axis(values, indices, -1), indices.astype(np.int32)


@quiet
def in_top_k(targets: ArrayLike, predictions: ArrayLike, k: int) -> Result:
    """Returns whether fewer than `k` numbers are larger than that of the target; NaN is the smallest number.

    Args:
        targets: class indices (n,).
        predictions: numbers (n, classes).
        k: how many count.
    """
    rows = as_array(predictions)
    at = np.take_along_axis(rows, as_array(targets)[..., np.newaxis].astype(np.intp), axis=-1)
    at = np.where(np.isnan(at), -np.inf, at) if rows.dtype.kind == "f" else at
    return np.asarray((rows > at).sum(axis=-1) < k)


@quiet
def logsumexp(x: ArrayLike, axis: Any = None, keepdims: bool = False) -> Result:
    """`log(sum(exp(x)))` along `axis` without overflow; integers give float32.

    Args:
        x: any shape.
        axis: an int or several; None is all.
        keepdims: whether the axes stay, with length 1.
    """
    values, over = floats(x), axis_or_tuple(axis)
    largest = np.max(np.real(values), axis=over, keepdims=True, initial=-np.inf)
    shift = np.where(np.isfinite(largest), largest, 0).astype(values.dtype)
    total = np.log(np.sum(np.exp(values - shift), axis=over, keepdims=True)) + shift
    return total if keepdims else copied(np.squeeze(total, over))


@quiet
def cdist(x: ArrayLike, y: ArrayLike) -> Result:
    """The Euclidean distances (..., n, m) of each row of `x` (..., n, d) to each of `y` (..., m, d).

    Raises:
        ValueError: if either has fewer than two axes, or their last axes differ.
    """
    first, second = common(x, y, least_dtype=float)
    if min(first.ndim, second.ndim) < 2 or first.shape[-1] != second.shape[-1]:  # noqa: PLR2004 # rows
        msg = f"`x` and `y` must be rows of the same length, got shapes {first.shape} and {second.shape}"
        raise ValueError(msg)
    apart = first[..., :, np.newaxis, :] - second[..., np.newaxis, :, :]
    return np.sqrt(np.sum(apart * apart, axis=-1))


def extract_sequences(x: ArrayLike, sequence_length: int, sequence_stride: int) -> Result:
    """The windows of `sequence_length` numbers along the last axis of `x`, each `sequence_stride` after the one before.

    Args:
        x: (..., n).
        sequence_length: numbers in a window.
        sequence_stride: from the begin of one to that of the next.

    Returns:
        (..., windows, sequence_length).
    """
    length, stride = (
        integer(sequence_length, "sequence_length", 1),
        integer(sequence_stride, "sequence_stride", 1),
    )
    windows = np.lib.stride_tricks.sliding_window_view(as_array(x), length, axis=-1)
    return copied(windows[..., ::stride, :])


def fft(x: tuple[ArrayLike, ArrayLike]) -> tuple[Array, Array]:
    """The Fourier transform along the last axis of `x`, a pair of real and imaginary parts, as such a pair."""
    return _parts(np.fft.fft(_ranked(_complex(x), 1)))


def fft2(x: tuple[ArrayLike, ArrayLike]) -> tuple[Array, Array]:
    """The Fourier transform along the last two axes of `x`, a pair of real and imaginary parts, as such a pair."""
    return _parts(np.fft.fft2(_matrices(x)))


def ifft2(x: tuple[ArrayLike, ArrayLike]) -> tuple[Array, Array]:
    """The inverse of `fft2` of `x`, a pair of real and imaginary parts, as such a pair."""
    return _parts(np.fft.ifft2(_matrices(x)))


def rfft(x: ArrayLike, fft_length: int | None = None) -> tuple[Array, Array]:
    """The Fourier transform along the last axis of the real numbers `x`.

    Args:
        x: (..., n).
        fft_length: numbers that are used; `x` is cut or filled up with zeros. Default n.

    Returns:
        Real and imaginary parts, (..., fft_length // 2 + 1).
    """
    return _parts(np.fft.rfft(_ranked(floats(x), 1), fft_length))


def irfft(x: tuple[ArrayLike, ArrayLike], fft_length: int | None = None) -> Result:
    """The real numbers (..., `fft_length`) of which `rfft` is `x`, a pair of real and imaginary parts (..., m).

    Args:
        x: the pair.
        fft_length: default 2 * (m - 1).
    """
    return np.fft.irfft(_complex(x), fft_length)


def stft(  # noqa: PLR0917 # Keras' signature
    x: ArrayLike,
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    window: str | ArrayLike | None = "hann",
    center: bool = True,
) -> tuple[Array, Array]:
    """The Fourier transforms of windows along the last axis of `x`.

    Args:
        x: (..., n), float32 or float64.
        sequence_length: numbers in a window.
        sequence_stride: from the begin of one to that of the next.
        fft_length: numbers that a transform takes: at least `sequence_length`, with zeros at both ends.
        window: factors (sequence_length,), "hann", "hamming", or None for ones.
        center: whether to reflect `x` at both ends, so that windows are centred at their places.

    Returns:
        Real and imaginary parts, (..., windows, fft_length // 2 + 1).

    Raises:
        TypeError: for other dtypes.
        ValueError: if `fft_length` is less than `sequence_length`, or `window` is unknown or of another length.
    """
    values = as_array(x)
    if values.dtype not in (np.float32, np.float64):
        msg = f"`x` must be of float32 or float64, got {values.dtype}"
        raise TypeError(msg)
    from engine._base.windows import window_factors  # which few programs need

    factors = window_factors(window, sequence_length, fft_length, values.dtype)
    if center:
        ends = [(0, 0)] * (values.ndim - 1) + [(fft_length // 2, fft_length // 2)]
        values = np.pad(values, ends, "reflect")
    return _parts(np.fft.rfft(extract_sequences(values, fft_length, sequence_stride) * factors))


def istft(  # noqa: PLR0917 # Keras' signature
    x: tuple[ArrayLike, ArrayLike],
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    length: int | None = None,
    window: str | ArrayLike | None = "hann",
    center: bool = True,
) -> Result:
    """The numbers of which `stft` is `x`.

    Args:
        x: real and imaginary parts, (..., windows, fft_length // 2 + 1).
        sequence_length: as for `stft`.
        sequence_stride: as for `stft`.
        fft_length: as for `stft`.
        length: of the result; default as many numbers as the windows cover.
        window: as for `stft`.
        center: as for `stft`.

    Returns:
        (..., length).

    Raises:
        ValueError: as for `stft`, or if `x` has fewer than two axes.
    """
    spectra = _complex(x)
    integer(sequence_stride, "sequence_stride", 1)
    if spectra.ndim < 2:  # noqa: PLR2004 # windows of frequencies
        msg = f"`x` must be a pair of arrays of at least two axes, got shape {spectra.shape}"
        raise ValueError(msg)
    from engine._base.windows import window_factors  # which few programs need

    factors = window_factors(window, sequence_length, fft_length, np.real(spectra).dtype)
    frames = np.fft.irfft(spectra, fft_length) * factors
    count = spectra.shape[-2]
    total_length = fft_length + sequence_stride * (count - 1)
    total, weight = (
        np.zeros((*frames.shape[:-2], total_length), frames.dtype),
        np.zeros(total_length, frames.dtype),
    )
    for frame in range(count):
        covered = slice(frame * sequence_stride, frame * sequence_stride + fft_length)
        total[..., covered] += frames[..., frame, :]
        weight[covered] += factors * factors
    total /= np.where(weight > _NO_WINDOW, weight, 1)
    if window is None:
        total *= np.sum(factors) / sequence_stride
    start = fft_length // 2 if center else 0
    end = start + length if length is not None else total_length - start
    return copied(total[..., start:end])


@quiet
def rsqrt(x: ArrayLike) -> Result:
    """`1 / sqrt(x)`, elementwise; integers give float32."""
    values = floats(x)
    return np.divide(values.dtype.type(1), np.sqrt(values))


def erf(x: ArrayLike) -> Result:
    """The error function of `x`, elementwise; integers give float32."""
    return _elementwise(math.erf, x)


def erfc(x: ArrayLike) -> Result:
    """`1 - erf(x)`, precise for large `x`, elementwise; integers give float32."""
    return _elementwise(math.erfc, x)


def erfinv(x: ArrayLike) -> Result:
    """The numbers whose error function is `x`, elementwise; infinite for 1 and -1, NaN beyond; integers give float32."""
    return _elementwise(_erfinv, x)


def logdet(x: ArrayLike) -> Result:
    """The logarithms of the determinants of the positive definite matrices `x` (..., n, n)."""
    return slogdet(x)[1]


def view_as_complex(x: ArrayLike) -> Result:
    """The complex numbers (...), complex64, whose real and imaginary parts are the last axis of `x` (..., 2).

    Raises:
        ValueError: for another last axis.
    """
    parts = as_array(x)
    if parts.ndim < 1 or parts.shape[-1] != 2:  # noqa: PLR2004 # a real and an imaginary part
        msg = f"the last axis of `x` must be a real and an imaginary part, got shape {parts.shape}"
        raise ValueError(msg)
    result = np.empty(parts.shape[:-1], np.complex64)
    result.real, result.imag = parts[..., 0], parts[..., 1]
    return result


def view_as_real(x: ArrayLike) -> Result:
    """The real and imaginary parts of the complex numbers `x` (...), as an array (..., 2)."""
    values = as_array(x)
    return np.stack([np.real(values), np.imag(values)], axis=-1)


def _segments(
    ufunc: Any, empty: Callable[[Any], Any], data: ArrayLike, segment_ids: ArrayLike, num_segments: int | None
) -> Array:
    rows, numbers = as_array(data), as_array(segment_ids)
    if numbers.ndim != 1 or rows.ndim < 1 or len(numbers) != len(rows):
        msg = f"`segment_ids` must be a vector with a number for each row of `data`, got shapes {numbers.shape} and {rows.shape}"
        raise ValueError(msg)
    count = (
        int(numbers.max(initial=-1)) + 1 if num_segments is None else integer(num_segments, "num_segments", 0)
    )
    result = np.full((count, *rows.shape[1:]), empty(rows.dtype), rows.dtype)
    inside = (numbers >= 0) & (numbers < count)
    ufunc.at(result, numbers[inside].astype(np.intp), rows[inside])
    return result


def _extreme(dtype: np.dtype[Any], *, low: bool) -> Any:
    """Returns the lowest or the largest number of `dtype`."""
    if dtype.kind == "f":
        return -np.inf if low else np.inf
    if dtype.kind == "b":
        return not low
    return np.iinfo(dtype).min if low else np.iinfo(dtype).max


def _ranked(x: Array, axes: int) -> Array:
    """Returns an array that has so many axes or more, along which it is transformed.

    Raises:
        ValueError: if it has fewer.
    """
    if x.ndim < axes:
        msg = f"Input should have rank >= {axes}. `x` has the shape {x.shape}"
        raise ValueError(msg)
    return x


def _matrices(x: Any) -> Array:
    return _ranked(_complex(x), 2)


def _complex(x: Any) -> Array:
    """Returns complex numbers for a pair of real and imaginary parts."""
    if not isinstance(x, (tuple, list)) or len(x) != 2:  # noqa: PLR2004 # a pair
        msg = f"`x` must be a pair of arrays, real and imaginary parts, got {x!r:.200}"
        raise ValueError(msg)
    real, imaginary = (as_array(part) for part in x)
    if real.shape != imaginary.shape or {real.dtype.kind, imaginary.dtype.kind} != {"f"}:
        msg = (
            "`x` must be a pair of arrays of floats of one shape, got "
            f"{real.dtype} {real.shape} and {imaginary.dtype} {imaginary.shape}"
        )
        raise ValueError(msg)
    wide = np.float64 in (real.dtype, imaginary.dtype)
    result = np.empty(real.shape, np.complex128 if wide else np.complex64)
    result.real, result.imag = real, imaginary
    return result


def _parts(values: Array) -> tuple[Array, Array]:
    return copied(values.real), copied(values.imag)


def _elementwise(function: Callable[[float], float], x: ArrayLike) -> Array:
    values = as_array(x)
    results = np.fromiter(map(function, values.ravel().tolist()), np.float64, values.size)
    return results.reshape(values.shape).astype(floating(values.dtype))


def _erfinv(value: float) -> float:
    """Returns the inverse error function by Halley's method, which starts with Winitzki's approximation."""
    size = abs(value)
    if not size < 1:
        return math.copysign(math.inf, value) if size == 1 else math.nan
    if size == 0:
        return value
    logarithm = math.log1p(-size * size)
    first = 2 / (math.pi * 0.147) + logarithm / 2
    root = math.sqrt(max(math.sqrt(first * first - logarithm / 0.147) - first, 0.0))
    for _ in range(_HALLEY_STEPS):
        error = (1 - size) - math.erfc(root) if size > _TAIL else math.erf(root) - size
        step = error / (2 / math.sqrt(math.pi) * math.exp(-root * root))
        root -= step / (1 + root * step)
    return math.copysign(root, value)


make_all_traceable(globals())
