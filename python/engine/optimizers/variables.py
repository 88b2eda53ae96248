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
        return any(one is not None and one._is_custom for one in (self.regularizer, self.constraint))

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


def _bits(arrays: Mapping[str, Sequence[Float32]]) -> NDArray[np.int32]:
    """All numbers as integers that count the float32 between them."""
    flat = [array.reshape(-1) for each in arrays.values() for array in each]
    return np.concatenate(flat).view(np.int32) if flat else np.zeros(0, np.int32)


def rounded(program: Program) -> dict[str, Array]:
    """Which numbers of the state are one float32 less or more after they were read and written, as packed bits."""
    exact = raw_state(program)
    for kind, count in program.state_counts.items():
        for number in range(count):
            program.write_state(kind, number, program.read_state(kind, number))
    lost = _bits(exact) - _bits(raw_state(program))
    write_raw_state(program, exact)
    return {"0": np.packbits([lost == 1, lost == -1], axis=1)} if lost.any() else {}


def sharpen(program: Program, stored: Mapping[str, Array]) -> None:
    """Undo what `rounded` found before; what is of another size is of another model, and left alone."""
    state = raw_state(program)
    bits = _bits(state)
    packed = np.asarray(stored.get("0", ()))
    if packed.dtype != np.uint8 or packed.shape != (2, -(-bits.size // 8)):
        return
    # Of the same dtype, as NumPy ends the process where it has no memory for the buffer of a cast.
    more, less = np.unpackbits(packed, axis=1, count=bits.size).astype(bits.dtype)
    bits += more
    bits -= less
    parts = iter(
        np.split(bits.view(np.float32), np.cumsum([a.size for each in state.values() for a in each]))
    )
    write_raw_state(
        program, {name: [next(parts).reshape(a.shape) for a in each] for name, each in state.items()}
    )


class OptimizerVariable:
    """A number or an array of the optimizer state.

    Args:
        path: name of the optimizer and of the variable, joined by a slash.
        shape: shape of the value.
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
        """Name of the variable, without that of the optimizer."""
        return self.path.rpartition("/")[2]

    @property
    def value(self) -> Array:
        """A copy of the current value."""
        return self._read()

    def numpy(self) -> Array:
        """A copy of the current value."""
        return self._read()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        del copy
        return np.asarray(self._read(), dtype)

    def assign(self, value: ArrayLike) -> None:
        """Sets the variable to `value`.

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
        program.write_state(*place, [value.astype(np.float32)], index=index)

    shape = program.read_variables(index, 1)[0].shape
    return OptimizerVariable(path, shape, lambda: program.read_state(*place, index=index)[0], write)


def exchanged(program: Program, weights: Sequence[Tracked]) -> tuple[list[Float32], list[Float32]]:
    """Weights and their running means, having changed places where training changes the weights."""
    pairs = zip(weights, program.variables, program.read_state("average", 0), strict=True)
    exchanged = [(mean, value) if weight.trainable else (value, mean) for weight, value, mean in pairs]
    return [first for first, _ in exchanged], [second for _, second in exchanged]
