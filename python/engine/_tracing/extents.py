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
    """The shape of an array that is no batch of samples of one shape, with all of its axes.

    Where models keep the shape of one sample, such an array has this in its place.
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
    inside = ", ".join(_text(each) for each in full)
    return f"({inside},)" if len(full) == 1 else f"({inside})"


def _text(extent: Extent) -> str:
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


class BatchLength:
    """The length of an axis that depends on the number of samples, as an integer of a traced function.

    It can be added to, subtracted from and multiplied by integers, and used as a length, an index, or a number beside
    symbols.

    Args:
        extent: the length.
    """

    __array_ufunc__ = None

    def __init__(self, extent: Extent) -> None:
        self.extent = extent

    def __add__(self, other: Any) -> Any:
        return _sum(self, other, 1)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return _sum(self, other, -1)

    def __rsub__(self, other: Any) -> Any:
        return _sum(length(self.extent.times(-1)), other, 1)

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, int):
            return length(self.extent.times(other))
        return _beside(self, other, "multiply")

    __rmul__ = __mul__

    def __neg__(self) -> Any:
        return length(self.extent.times(-1))

    def __floordiv__(self, other: Any) -> Any:
        if isinstance(other, int) and other and self.extent.fixed % other == self.extent.per_sample % other == 0:
            return length(Extent(self.extent.fixed // other, self.extent.per_sample // other))
        return _beside(self, other, "floor_divide")

    def __truediv__(self, other: Any) -> Any:
        return _beside(self, other, "divide")

    def __rtruediv__(self, other: Any) -> Any:
        return _beside(self, other, "divide", exchanged=True)

    def __eq__(self, other: object) -> bool:
        if other is None or isinstance(other, str):
            return False
        found = other.extent if isinstance(other, BatchLength) else Extent(other) if isinstance(other, int) else None
        if found == self.extent:
            return True
        if isinstance(found, Extent) and found.per_sample == self.extent.per_sample:
            return False
        raise self._unknown("comparing it")

    def __hash__(self) -> int:
        return hash(self.extent)

    def __bool__(self) -> bool:
        return True

    def __lt__(self, other: object) -> bool:
        raise self._unknown("comparing it")

    __le__ = __gt__ = __ge__ = __lt__

    def __int__(self) -> int:
        raise self._unknown("int() of it")

    __index__ = __int__

    def __float__(self) -> float:
        raise self._unknown("float() of it")

    def _unknown(self, action: str) -> TypeError:
        from engine._tracing.symbolic import needs_values

        return needs_values(f"{self!r}, the number of samples in a batch", action)

    def __repr__(self) -> str:
        return f"<length {_text(self.extent)}>"


def length(extent: Extent) -> Any:
    """Returns a length as users get it: an int, or a BatchLength if it depends on the batch."""
    return BatchLength(extent) if extent.per_sample else extent.fixed


def extent_of(value: Any) -> Extent:
    """Returns the extent of a length or an index that a user gave, an integer or a BatchLength."""
    if isinstance(value, BatchLength):
        return value.extent
    return Extent(int(value.__index__()))


def lengths(shape: Any) -> Extents:
    """Returns the extents of a shape that a user gave: one integer, or a sequence of integers and BatchLengths."""
    if isinstance(shape, BatchLength) or hasattr(shape, "__index__"):
        return (extent_of(shape),)
    return tuple(map(extent_of, shape))


def _sum(one: Any, other: Any, times: int) -> Any:
    extent = one.extent if isinstance(one, BatchLength) else Extent(one)
    if isinstance(other, (int, BatchLength)):
        return length(extent.plus(extent_of(other), times))
    return _beside(one, other, "add" if times == 1 else "subtract")


def _beside(one: BatchLength, other: Any, operation: str, exchanged: bool = False) -> Any:
    """Records an operation on a length as a number."""
    from engine._tracing.dispatch import apply

    pair = (other, one) if exchanged else (one, other)
    return apply(operation, pair, {})


