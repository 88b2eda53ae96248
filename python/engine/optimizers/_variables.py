"""The state of an optimizer as variables: numbers and arrays that can be read and assigned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine._program import Float32, Program
from engine.constraints import Constraint
from engine.regularizers import Regularizer

if TYPE_CHECKING:
    from engine.optimizers._state import Stateful

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


def counters(optimizer: Stateful, with_rate: bool) -> list[OptimizerVariable]:
    """The step number and, if `with_rate`, the learning rate."""

    def number(attribute: str, name: str, kind: type[Any], python: type[Any]) -> OptimizerVariable:
        def read() -> Array:
            return np.asarray(getattr(optimizer, attribute), kind)

        def write(value: Array) -> None:
            if value != read():  # what is the same but for rounding stays as it is
                setattr(optimizer, attribute, python(value))

        return OptimizerVariable(f"{optimizer.name}/{name}", (), read, write)

    found = [number("batches", "iteration", np.int32, int)]
    return [*found, number("learning_rate", "learning_rate", np.float32, float)] if with_rate else found


def per_weight(
    owner: str, program: Program, weights: Sequence[Tracked], arrays: Mapping[str, tuple[Kind, int]]
) -> list[OptimizerVariable]:
    """Arrays of state, in turns for each weight array that learns.

    Args:
        owner: the optimizer's name.
        program: what holds them.
        weights: all weight arrays of the program.
        arrays: kind and number of each, by name.
    """
    return [
        _state(f"{owner}/{weight.path.replace('/', '_')}_{name}", program, index, *place)
        for index, weight in enumerate(weights)
        if weight.trainable
        for name, place in arrays.items()
    ]


def _state(path: str, program: Program, index: int, kind: Kind, number: int) -> OptimizerVariable:
    def write(value: Array) -> None:
        arrays = program.read_state(kind, number)
        arrays[index] = value.astype(np.float32)
        program.write_state(kind, number, arrays)

    return OptimizerVariable(
        path, program.read_variable(index).shape, lambda: program.read_state(kind, number)[index], write
    )


def exchanged(program: Program, weights: Sequence[Tracked]) -> tuple[list[Float32], list[Float32]]:
    """Weights and their running means, having changed places where training changes the weights."""
    pairs = zip(weights, program.variables, program.read_state("average", 0), strict=True)
    exchanged = [(mean, value) if weight.trainable else (value, mean) for weight, value, mean in pairs]
    return [first for first, _ in exchanged], [second for _, second in exchanged]
