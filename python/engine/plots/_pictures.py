"""Converts rows of numbers to pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine._base.checks import REAL, integers

_COLORS = 3


def picture_shape(pixels: int, image_shape: Sequence[int] | None) -> tuple[int, ...] | None:
    """Returns the shape of a picture of `pixels` numbers: `image_shape`, else a square; None if they make no picture.

    Args:
        pixels: numbers of one picture.
        image_shape: (height, width) or (height, width, 1 or 3); None for a square.

    Raises:
        ValueError: if `image_shape` has another number of pixels.
    """
    if image_shape is None:
        side = math.isqrt(pixels)
        return (side, side) if side * side == pixels and side > 1 else None
    shape = integers(image_shape, "image_shape", 1)
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, _COLORS)):  # noqa: PLR2004 # the axes
        msg = f"`image_shape` must be (height, width) or (height, width, 1 or 3), got {shape}"
        raise ValueError(msg)
    if math.prod(shape) != pixels:
        msg = (
            f"`image_shape` {shape} has {math.prod(shape)} pixels, but there are {pixels} numbers per picture"
        )
        raise ValueError(msg)
    return shape[:2] if shape[2:] == (1,) else shape


def pictures_of(x: ArrayLike, image_shape: Sequence[int] | None) -> tuple[NDArray[Any], tuple[float, float]]:
    """Returns `x` as pictures, (n, height, width) or with colors (n, height, width, 3), and the range of its numbers."""
    array = np.asarray(x)
    if array.dtype.kind not in REAL or array.ndim < 2 or array.size == 0:  # noqa: PLR2004 # samples of pixels
        msg = f"`x` must hold images (n, height, width) or (n, pixels), got {array.dtype} {array.shape}"
        raise ValueError(msg)
    shape, pixels = None, math.prod(array.shape[1:])
    if image_shape is not None or array.ndim == 2:  # noqa: PLR2004 # rows of pixels
        shape = picture_shape(pixels, image_shape)
    elif array.shape[3:] in ((), (1,), (_COLORS,)):
        shape = picture_shape(pixels, array.shape[1:])
    if shape is None:
        msg = (
            f"`x` of shape {array.shape} holds no images (n, height, width) or (n, height, width, 1 or 3): pass "
            "`image_shape`, the shape of one"
        )
        raise ValueError(msg)
    limits = (0.0, 255.0) if array.dtype == np.uint8 else (float(array.min()), float(array.max()))
    return array.reshape(len(array), *shape), limits
