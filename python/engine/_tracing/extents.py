"""Lengths of axes while the number of samples in a batch, B, is unknown: `fixed + per_sample * B`, or `UNKNOWN`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from engine._base.checks import Shape, filled

Polynomial = tuple[int, ...]
"""The number of elements in an array: coefficients of B**0, B**1 and so on."""


class Extent(NamedTuple):
    """The length of one axis: `fixed + per_sample * B`, or `UNKNOWN`."""

    fixed: int
    per_sample: int = 0

    @property
    def static(self) -> int | None:
        """The length, if it is a number; else None."""
        return None if self.per_sample else self.fixed

    def plus(self, other: Extent | int, times: int = 1) -> Extent:
        """Returns this length plus `times` the other one."""
        more = Extent(other) if isinstance(other, int) else other
        if UNKNOWN in (self, more):
            return UNKNOWN
        return Extent(self.fixed + times * more.fixed, self.per_sample + times * more.per_sample)

    def times(self, factor: int) -> Extent:
        """Returns this length times an integer."""
        return self if self == UNKNOWN else Extent(self.fixed * factor, self.per_sample * factor)

    def divided(self, divisor: int) -> Extent | None:
        """Returns the length of each of so many equal parts; None if there are none for some B."""
        if self == UNKNOWN:
            return self
        if self.fixed % divisor or self.per_sample % divisor:
            return None
        return Extent(self.fixed // divisor, self.per_sample // divisor)

    def agrees_with(self, other: Extent) -> bool:
        """Returns whether both are the same length, or may be, as one of them is unknown."""
        return self == other or UNKNOWN in (self, other)


ONE = Extent(1)
SAMPLES = Extent(0, 1)
# A length of which nothing is known, in shapes alone: no array has it. Two of them may be different lengths. It is written as
# one that no axis can have.
UNKNOWN = Extent(-1, -1)
Extents = tuple[Extent, ...]


@lru_cache
def fixed_extents(shape: tuple[int, ...]) -> Extents:
    """Returns the extents of a shape without lengths that depend on the batch."""
    return tuple(map(Extent, shape))


class FullShape(tuple[Extent, ...]):
    """The shape of an array that isn't a batch, such as a weight or the mean of a batch: the lengths of all its axes.

    It is used in place of the shape of one sample, which such an array doesn't have.
    """

    __slots__ = ()


def full_shape(sample: Shape | FullShape) -> Extents:
    """Returns all axes of an array whose samples have the shape `sample`."""
    if isinstance(sample, FullShape):
        return tuple(sample)
    return (SAMPLES, *map(_extent, sample))


def _extent(length: int | None) -> Extent:
    return UNKNOWN if length is None else Extent(length)


def sample_shape(full: Extents) -> Any:
    """Returns the shape of one sample of an array, with None for unknown lengths, or a FullShape if it is no batch."""
    if full and full[0] == SAMPLES and all(extent == UNKNOWN or not extent.per_sample for extent in full[1:]):
        return tuple(extent.static for extent in full[1:])
    return FullShape(full)


def has_unknown(sample: Shape | FullShape) -> bool:
    """Returns whether the shape of a sample has unknown lengths."""
    return None in sample or (isinstance(sample, FullShape) and UNKNOWN in sample)


def with_length(sample: Shape | FullShape, length: int) -> Any:
    """Returns the shape of a sample with `length` in place of each unknown one."""
    if isinstance(sample, FullShape):
        return FullShape(Extent(length) if extent == UNKNOWN else extent for extent in sample)
    return filled(sample, length)


def in_common(first: Shape | FullShape, other: Shape | FullShape) -> Any:
    """Returns the shape of a sample in which the lengths are unknown that differ in two shapes, which have as many axes."""
    if first == other:
        return first
    pairs = zip(full_shape(first), full_shape(other), strict=True)
    return sample_shape(tuple(extent if extent == again else UNKNOWN for extent, again in pairs))


def shape_of(full: Extents, batch: int | None = None) -> tuple[int | None, ...]:
    """Returns a shape as in Keras, with None for unknown lengths; `batch` is the number of samples, if it is known."""
    return tuple(
        extent.static
        if batch is None or extent == UNKNOWN or not extent.per_sample
        else extent.fixed + extent.per_sample * batch
        for extent in full
    )


def as_pairs(full: Extents) -> list[list[int]]:
    """Returns a shape as the core reads it."""
    return [[extent.fixed, extent.per_sample] for extent in full]


def text_of_extents(full: Extents) -> str:
    """Returns a shape as in messages, such as "(None, 10)"."""
    inside = ", ".join(text_of_extent(extent) for extent in full)
    return f"({inside},)" if len(full) == 1 else f"({inside})"


def text_of_extent(extent: Extent) -> str:
    """Returns a length as in messages, such as "None" or "2 * None + 1"."""
    if extent in (SAMPLES, UNKNOWN):
        return "None"
    if not extent.per_sample:
        return str(extent.fixed)
    factor = "" if extent.per_sample == 1 else f"{extent.per_sample} * "
    sign = "" if not extent.fixed else f" {'+' if extent.fixed > 0 else '-'} {abs(extent.fixed)}"
    return f"{factor}None{sign}"


def joint_length(full: Sequence[Extent]) -> Extent | None:
    """Returns the length of axes that become one; None if two of them depend on the number of samples."""
    return UNKNOWN if UNKNOWN in full else quotient(size_of(full), (1,))


def size_of(full: Sequence[Extent]) -> Polynomial:
    """Returns the number of elements of an array, whose lengths aren't unknown."""
    product: Polynomial = (1,)
    for extent in full:
        product = _product(product, (extent.fixed, extent.per_sample))
    return product


def _product(first: Polynomial, other: Polynomial) -> Polynomial:
    product = [0] * (len(first) + len(other) - 1)
    for i, a in enumerate(first):
        for j, b in enumerate(other):
            product[i + j] += a * b
    while len(product) > 1 and not product[-1]:
        product.pop()
    return tuple(product)


def quotient(size: Polynomial, divisor: Polynomial) -> Extent | None:
    """Returns the length by which `divisor` must be multiplied to give `size`; None if there is none."""
    if not any(divisor):
        return None
    rest, quotients = list(size), [0] * max(len(size) - len(divisor) + 1, 1)
    for power in range(len(size) - len(divisor), -1, -1):
        factor, left = divmod(rest[power + len(divisor) - 1], divisor[-1])
        if left:
            return None
        quotients[power] = factor
        for offset, coefficient in enumerate(divisor):
            rest[power + offset] -= factor * coefficient
    if any(rest) or any(quotients[2:]):
        return None
    return Extent(quotients[0], quotients[1] if len(quotients) > 1 else 0)
