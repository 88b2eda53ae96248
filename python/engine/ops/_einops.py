"""`rearrange`: transposition and reshaping with named axes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from engine._base.promotion import Result, as_array, own
from engine._tracing.dispatch import make_traceable

__all__ = ["rearrange"]

Axes = list[list[str]]


def rearrange(tensor: ArrayLike, pattern: str, **axes_lengths: int) -> Result:
    """`tensor` with its axes reordered, split and joined as `pattern` says.

    Args:
        tensor: any shape.
        pattern: names of its axes, "->", and names of those of the result: "b (h w) c -> b h w c". Axes in
            parentheses are one, the last of them moving fastest.
        **axes_lengths: lengths of axes in parentheses; one of each pair of parentheses may be left out.

    Raises:
        ValueError: if the pattern doesn't fit the shape, or names other axes on both sides.
    """
    values = as_array(tensor)
    left, right = _sides(pattern)
    if len(left) != values.ndim:
        msg = f"`pattern` {pattern!r} names {len(left)} axes, but the shape is {values.shape}"
        raise ValueError(msg)
    lengths = _lengths(left, values.shape, axes_lengths)
    single = [name for group in left for name in group]
    order = [single.index(name) for group in right for name in group]
    split = values.reshape([lengths[name] for name in single])
    joined = [math.prod(lengths[name] for name in group) for group in right]
    return own(np.transpose(split, order).reshape(joined))


def _sides(pattern: str) -> tuple[Axes, Axes]:
    """Returns the groups of names on both sides of the arrow."""
    sides = pattern.split("->")
    wrong = len(sides) != 2 or re.search(r"[^\s\w()>-]", pattern)  # noqa: PLR2004 # left and right
    if not wrong:
        left, right = (
            [found.strip("()").split() for found in re.findall(r"\([^()]*\)|\w+", side)] for side in sides
        )
        names = [sorted(name for group in side for name in group) for side in (left, right)]
        if names[0] == names[1] and len(set(names[0])) == len(names[0]):
            return left, right
    msg = f"`pattern` must have the same names, each once, on both sides of one '->', got {pattern!r}"
    raise ValueError(msg)


def _lengths(axes: Axes, shape: tuple[int, ...], given: Mapping[str, int]) -> dict[str, int]:
    """Returns the length of each named axis."""
    lengths = dict(given)
    for group, extent in zip(axes, shape, strict=True):
        unknown = [name for name in group if name not in lengths]
        known = math.prod(lengths[name] for name in group if name in lengths)
        if len(unknown) > 1:
            msg = f"give the lengths of all but one of the axes {', '.join(unknown)}"
            raise ValueError(msg)
        if unknown:
            lengths[unknown[0]] = extent // known if known else 0
        if known * (lengths[unknown[0]] if unknown else 1) != extent:
            msg = f"an axis of length {extent} can't be split into {', '.join(group)} with lengths {dict(given)}"
            raise ValueError(msg)
    return lengths


make_traceable(__all__, globals())
