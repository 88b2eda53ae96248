"""The state of an optimizer as variables: numbers and arrays that can be read and assigned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine._program import Float32, Program
from engine.constraints import Constraint
from engine.regularizers import Regularizer

Array = NDArray[Any]
Kind = Literal["slot", "average", "accumulated"]


class Tracked(NamedTuple):
    """A weight array of the model that an optimizer steps."""

    path: str
    trainable: bool
    regularizer: Regularizer | None = None
    constraint: Constraint | None = None
    shape: tuple[int, ...] = ()

    @property
    def asks_python(self) -> bool:
        """Whether its penalty or its constraint is a function of one's own, which the core doesn't know."""
        return any(one is not None and one.own for one in (self.regularizer, self.constraint))

    @property
    def name(self) -> str:
        """Without the layer."""
        return self.path.rpartition("/")[2]


class Snapshot(NamedTuple):
    """The state of an optimizer as the core keeps it."""

    batches: int
    rate: float | None
    """The learning rate; None where it follows a schedule."""
    arrays: Mapping[str, Sequence[Float32]]
    """By kind and number, such as "slot 0": an array for each weight array."""


def raw_state(program: Program) -> dict[str, list[Float32]]:
    """All arrays of state, as the core keeps them: what it would round on the way is not converted."""
    return {
        f"{kind} {number}": program.read_state(kind, number, raw=True)
        for kind, count in program.state_counts.items()
        for number in range(count)
    }


def write_raw_state(program: Program, arrays: Mapping[str, Sequence[Float32]]) -> None:
    """Take over what `raw_state` returned."""
    for name, values in arrays.items():
        kind, number = name.split()
        program.write_state(cast(Kind, kind), int(number), values, raw=True)


class OptimizerVariable:
    """A number or an array of an optimizer's state.

    Args:
        path: the optimizer's name, a slash, and the variable's.
        shape: of the value.
        read: returns it.
        write: takes a new one of that shape.
    """

    def __init__(
        self, path: str, shape: tuple[int, ...], read: Callable[[], Array], write: Callable[[Array], None]
    ) -> None:
        self.path = path
        self.shape = shape
        self._read = read
        self._write = write

    @property
    def name(self) -> str:
        """The path without the optimizer."""
        return self.path.rpartition("/")[2]

    @property
    def value(self) -> Array:
        """A copy of what it is now."""
        return self._read()

    def numpy(self) -> Array:
        """A copy of what it is now."""
        return self._read()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        del copy
        return np.asarray(self._read(), dtype)

    def assign(self, value: ArrayLike) -> None:
        """Take over `value`.

        Raises:
            ValueError: if the shape differs.
        """
        array = np.asarray(value)
        if array.shape != self.shape:
            msg = f"{self.path!r} has shape {self.shape}, so `value` can't have {array.shape}"
            raise ValueError(msg)
        self._write(array)

    def __repr__(self) -> str:
        return f"<OptimizerVariable path={self.path}, shape={self.shape}, value={self._read()}>"


def state_variable(path: str, program: Program, index: int, place: tuple[Kind, int]) -> OptimizerVariable:
    """The array of state at that kind and number, of weight array `index`."""

    def write(value: Array) -> None:
        arrays = program.read_state(*place)
        arrays[index] = value.astype(np.float32)
        program.write_state(*place, arrays)

    shape = program.read_variable(index).shape
    return OptimizerVariable(path, shape, lambda: program.read_state(*place)[index], write)


def exchanged(program: Program, weights: Sequence[Tracked]) -> tuple[list[Float32], list[Float32]]:
    """Weights and their running means, having changed places where training changes the weights."""
    pairs = zip(weights, program.variables, program.read_state("average", 0), strict=True)
    exchanged = [(mean, value) if weight.trainable else (value, mean) for weight, value, mean in pairs]
    return [first for first, _ in exchanged], [second for _, second in exchanged]
