"""The windows of short Fourier transforms."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine._base.promotion import Array, as_array


def window_factors(window: Any, sequence_length: int, fft_length: int, dtype: np.dtype[Any]) -> Array:
    """Returns the factors of a window, padded with zeros at both ends to `fft_length`."""
    if fft_length < sequence_length:
        msg = f"`fft_length` must be at least `sequence_length`, {sequence_length}, got {fft_length}"
        raise ValueError(msg)
    if window is None:
        return np.ones(fft_length, dtype)
    if isinstance(window, str):
        coefficients = {"hann": 0.5, "hamming": 0.54}
        if window not in coefficients:
            msg = f"`window` must be 'hann', 'hamming', an array or None, got {window!r}"
            raise ValueError(msg)
        turns = 2 * np.pi * np.arange(sequence_length) / sequence_length
        factors = (coefficients[window] - (1 - coefficients[window]) * np.cos(turns)).astype(dtype)
        if sequence_length == 1:
            factors = np.ones(1, dtype)  # as in SciPy, and as a window of no number would be of no use
    else:
        factors = as_array(window, dtype)
    if factors.shape != (sequence_length,):
        msg = f"`window` must have the shape ({sequence_length},), as `sequence_length` says, got {factors.shape}"
        raise ValueError(msg)
    before = (fft_length - sequence_length) // 2
    return np.pad(factors, (before, fft_length - sequence_length - before))
