"""Patterns such as "b (h w) c -> b h w c", which name the axes of an array before and after a rearrangement."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

Axes = list[list[str]]


def rearrangement(
    pattern: str, shape: Sequence[Any], axes_lengths: Mapping[str, int]
) -> tuple[list[Any], list[int], list[Any]]:
    """Returns the shape with an axis for each name, the order of these axes in the result, and the shape of that.

    Args:
        pattern: the names.
        shape: of the array; lengths may depend on the number of samples.
        axes_lengths: lengths of axes by their names.

    Raises:
        ValueError: if the pattern doesn't fit the shape, or names other axes on both sides.
    """
    left, right = _sides(pattern)
    if len(left) != len(shape):
        msg = f"`pattern` {pattern!r} names {len(left)} axes, but the shape is {tuple(shape)}"
        raise ValueError(msg)
    lengths = _lengths(left, shape, axes_lengths)
    single = [name for group in left for name in group]
    order = [single.index(name) for group in right for name in group]
    joined = [math.prod(lengths[name] for name in group) for group in right]
    return [lengths[name] for name in single], order, joined


def _sides(pattern: str) -> tuple[Axes, Axes]:
    """Returns the groups of names on both sides of the arrow."""
    sides = pattern.split("->")
    wrong = len(sides) != 2 or re.search(r"[^\s\w()>-]", pattern)  # noqa: PLR2004 # left and right
    if not wrong:
        left, right = (
            [group.strip("()").split() for group in re.findall(r"\([^()]*\)|\w+", side)] for side in sides
        )
        names = [sorted(name for group in side for name in group) for side in (left, right)]
        if names[0] == names[1] and len(set(names[0])) == len(names[0]):
            return left, right
    msg = f"`pattern` must have the same names, each once, on both sides of one '->', got {pattern!r}"
    raise ValueError(msg)


def _lengths(axes: Axes, shape: Sequence[Any], given_lengths: Mapping[str, int]) -> dict[str, Any]:
    """Returns the length of each named axis."""
    lengths: dict[str, Any] = dict(given_lengths)
    for group, extent in zip(axes, shape, strict=True):
        unknown = [name for name in group if name not in lengths]
        product = math.prod(lengths[name] for name in group if name in lengths)
        if len(unknown) > 1:
            msg = f"give the lengths of all but one of the axes {', '.join(unknown)}"
            raise ValueError(msg)
        if unknown:
            lengths[unknown[0]] = extent // product if product else 0
        if product * (lengths[unknown[0]] if unknown else 1) != extent:
            msg = f"an axis of length {extent} can't be split into {', '.join(group)} with lengths {dict(given_lengths)}"
            raise ValueError(msg)
    return lengths
