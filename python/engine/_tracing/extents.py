"""Lengths of axes while the number of samples in a batch, B, is unknown: `fixed + per_sample * B`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from engine._base.checks import Shape

Polynomial = tuple[int, ...]
"""The number of elements in an array: coefficients of B**0, B**1 and so on."""


class Extent(NamedTuple):
    """The length of one axis: `fixed + per_sample * B`."""

    fixed: int
    per_sample: int = 0

    @property
    def known(self) -> int | None:
        """The length, if it doesn't depend on B; else None."""
        return None if self.per_sample else self.fixed

    def plus(self, other: Extent | int, times: int = 1) -> Extent:
        """Returns this length plus `times` the other one."""
        more = Extent(other) if isinstance(other, int) else other
        return Extent(self.fixed + times * more.fixed, self.per_sample + times * more.per_sample)

    def times(self, factor: int) -> Extent:
        """Returns this length times an integer."""
        return Extent(self.fixed * factor, self.per_sample * factor)


ONE = Extent(1)
SAMPLES = Extent(0, 1)
Extents = tuple[Extent, ...]


class FullShape(tuple[Extent, ...]):
    """The shape of an array that isn't a batch, such as a weight or the mean of a batch: the lengths of all its axes.

    It is used in place of the shape of one sample, which such an array doesn't have.
    """

    __slots__ = ()


def full_shape(sample: Shape | FullShape) -> Extents:
    """Returns all axes of an array whose samples have the shape `sample`."""
    if isinstance(sample, FullShape):
        return tuple(sample)
    return (SAMPLES, *map(Extent, sample))


def sample_shape(full: Extents) -> Any:
    """Returns the shape of one sample of an array, or a FullShape if it is no batch."""
    if full and full[0] == SAMPLES and not any(each.per_sample for each in full[1:]):
        return tuple(each.fixed for each in full[1:])
    return FullShape(full)


def as_pairs(full: Extents) -> list[list[int]]:
    """Returns a shape as the core reads it."""
    return [[each.fixed, each.per_sample] for each in full]


def text_of(full: Extents) -> str:
    """Returns a shape as in messages, such as "(None, 10)"."""
    inside = ", ".join(text_of_extent(each) for each in full)
    return f"({inside},)" if len(full) == 1 else f"({inside})"


def text_of_extent(extent: Extent) -> str:
    """Returns a length as in messages, such as "None" or "2 * None + 1"."""
    if extent == SAMPLES:
        return "None"
    if not extent.per_sample:
        return str(extent.fixed)
    factor = "" if extent.per_sample == 1 else f"{extent.per_sample} * "
    sign = "" if not extent.fixed else f" {'+' if extent.fixed > 0 else '-'} {abs(extent.fixed)}"
    return f"{factor}None{sign}"


def size_of(full: Sequence[Extent]) -> Polynomial:
    """Returns the number of elements of an array."""
    product: Polynomial = (1,)
    for extent in full:
        product = _product(product, (extent.fixed, extent.per_sample))
    return product


def _product(one: Polynomial, other: Polynomial) -> Polynomial:
    found = [0] * (len(one) + len(other) - 1)
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            found[i + j] += a * b
    while len(found) > 1 and not found[-1]:
        found.pop()
    return tuple(found)


def quotient(size: Polynomial, divisor: Polynomial) -> Extent | None:
    """Returns the length by which `divisor` must be multiplied to give `size`; None if there is none."""
    if not any(divisor):
        return None
    rest, found = list(size), [0] * max(len(size) - len(divisor) + 1, 1)
    for place in range(len(size) - len(divisor), -1, -1):
        factor, left = divmod(rest[place + len(divisor) - 1], divisor[-1])
        if left:
            return None
        found[place] = factor
        for offset, each in enumerate(divisor):
            rest[place + offset] -= factor * each
    if any(rest) or any(found[2:]):
        return None
    return Extent(found[0], found[1] if len(found) > 1 else 0)
