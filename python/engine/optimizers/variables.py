"""The state of an optimizer, as variables that a script reads and assigns and as arrays to save."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from engine._core_interface.cpp import Float32, OptimizerState, read_arrays
from engine._tracing.extents import Extent
from engine.constraints import Constraint
from engine.layers.variable import Variable, View
from engine.regularizers import Regularizer

Array = NDArray[Any]

StateKind = Literal["slot", "average", "accumulated"]
"""An optimizer slot such as Adam's m, the moving average of a weight, or its accumulated gradient."""
StateArray = tuple[StateKind, int]
"""Kind and number of a state array of each weight, as `OptimizerState.read` takes them."""


class Tracked(NamedTuple):
    """A weight array of the model, as the optimizer sees it."""

    path: str
    trainable: bool
    regularizer: Regularizer | None = None
    constraint: Constraint | None = None
    shape: tuple[int, ...] = ()
    owner: Any = None
    """The layer or variable that it belongs to."""
    number: int = 0
    """Its number there."""
    place: int = 0
    """Its place among the weights of the model, as users and files list them. The program may have another order."""

    @property
    def key(self) -> tuple[Any, int]:
        """The owner and the number: equal for the same weight in several models."""
        return self.owner, self.number

    @property
    def needs_python(self) -> bool:
        """Whether its regularizer or its constraint is a Python function of the user, which the core can't run."""
        if self.constraint is not None and self.constraint._is_custom:
            return True
        penalty = self.regularizer
        recorded = penalty is not None and penalty._recording_for(tuple(map(Extent, self.shape)))
        return penalty is not None and penalty._is_custom and not recorded

    @property
    def name(self) -> str:
        """The name of the weight without that of its layer."""
        return self.path.rpartition("/")[2]


class Snapshot(NamedTuple):
    """A copy of the whole optimizer state."""

    batches: int
    """Number of batches since `compile`."""
    rate: float | None
    """The learning rate; None if a schedule or a function computes it."""
    arrays: Mapping[str, Sequence[Float32]]
    """Raw state arrays, one for each weight, by kind and number, such as "slot 0"."""
    built: bool = True
    """Whether there is a state."""


def raw_state(state: OptimizerState) -> dict[str, list[Float32]]:
    """Returns all state arrays in the scaling of the core, in which they can be restored bit by bit."""
    return {
        f"{kind} {number}": state.read(kind, number, raw=True)
        for kind, count in state.counts.items()
        for number in range(count)
    }


def write_raw_state(state: OptimizerState, arrays: Mapping[str, Sequence[Float32]]) -> None:
    """Restores the state arrays that `raw_state` returned."""
    for name, values in arrays.items():
        kind, number = name.split()
        state.write(cast(StateKind, kind), int(number), values, raw=True)


def _bits(arrays: Mapping[str, Sequence[Float32]]) -> NDArray[np.int32]:
    """Returns all numbers as int32: neighbouring float32 of one sign differ by 1."""
    flat = [array.reshape(-1) for values in arrays.values() for array in values]
    return np.concatenate(flat).view(np.int32) if flat else np.zeros(0, np.int32)


def rounded(state: OptimizerState) -> dict[str, Array]:
    """Finds the numbers that change by one float32 when the state is read and written in the scaling of Keras.

    Returns:
        Packed bits under the key "0", for numbers that become smaller and for those that become larger; an empty
        dict if no number changes.
    """
    exact = raw_state(state)
    for kind, count in state.counts.items():
        for number in range(count):
            state.write(kind, number, state.read(kind, number))
    lost = _bits(exact) - _bits(raw_state(state))
    write_raw_state(state, exact)
    return {"0": np.packbits([lost == 1, lost == -1], axis=1)} if lost.any() else {}


def sharpen(state: OptimizerState, stored: Mapping[str, Array]) -> None:
    """Corrects the state by what `rounded` returned. It ignores arrays of another size, which are of another model."""
    arrays = raw_state(state)
    bits = _bits(arrays)
    packed = np.asarray(stored.get("0", ()))
    if packed.dtype != np.uint8 or packed.shape != (2, -(-bits.size // 8)):
        return
    # The cast comes first: NumPy ends the process if it can't allocate the buffer of a cast in `+=`.
    more, less = np.unpackbits(packed, axis=1, count=bits.size).astype(bits.dtype)
    bits += more
    bits -= less
    parts = iter(
        np.split(bits.view(np.float32), np.cumsum([a.size for values in arrays.values() for a in values]))
    )
    write_raw_state(
        state, {name: [next(parts).reshape(a.shape) for a in values] for name, values in arrays.items()}
    )


def state_variable(path: str, state: OptimizerState, index: int, array: StateArray) -> Variable:
    """Returns a state array of weight `index` as a variable."""

    def write(value: Array) -> None:
        state.write(*array, [value.astype(np.float32)], index=index)

    shape = state.arrays[index].shape
    return Variable._view(path, shape, View(lambda: state.read(*array, index=index)[0], write))


def exchanged(state: OptimizerState, weights: Sequence[Tracked]) -> tuple[list[Float32], list[Float32]]:
    """Returns new weights and new moving averages: trainable weights swap with their averages, others stay."""
    pairs = zip(weights, read_arrays(state.arrays), state.read("average", 0), strict=True)
    exchanged = [(mean, value) if weight.trainable else (value, mean) for weight, value, mean in pairs]
    return [first for first, _ in exchanged], [second for _, second in exchanged]
