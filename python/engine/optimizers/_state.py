"""What an optimizer keeps from step to step: where it is, how it is read, assigned and saved."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np

from engine._checks import integer
from engine._program import Program
from engine._spec import Spec
from engine._values import Count
from engine.optimizers._rates import Rate
from engine.optimizers.variables import (
    Array,
    Kind,
    OptimizerVariable,
    Snapshot,
    Tracked,
    exchanged,
    raw_state,
    rounded,
    sharpen,
    state_variable,
    write_raw_state,
)

Places = Mapping[str, tuple[Kind, int]]


class Stateful(Spec):
    """The state of an optimizer, which the program holds that it was compiled into."""

    name: str
    learning_rate: Any
    use_ema: bool
    gradient_accumulation_steps: int | None
    _rate: Rate

    def __init__(self) -> None:
        self._program: Program | None = None
        self._tracked: list[Tracked] = []

    @property
    def iterations(self) -> Count:
        """Number of steps taken since `compile`. It may be assigned after `compile`."""
        steps = self._batches // (self.gradient_accumulation_steps or 1)
        return Count.of(steps, lambda value: setattr(self, "iterations", int(np.asarray(value))))

    @iterations.setter
    def iterations(self, value: int) -> None:
        self._batches = integer(value, "iterations", 0) * (self.gradient_accumulation_steps or 1)

    @property
    def _batches(self) -> int:
        """Batches seen since `compile`."""
        return 0 if self._program is None else self._program.iterations

    @_batches.setter
    def _batches(self, value: int) -> None:
        if self._program is None:
            msg = "`iterations` can't be assigned yet: compile a model with this optimizer, and build it"
            raise ValueError(msg)
        self._program.iterations = integer(value, "iterations", 0)

    @property
    def _slots(self) -> Sequence[Sequence[str]]:
        """Names of the rule's state arrays per weight array; those of one group take turns in `variables`."""
        return []

    @property
    def variables(self) -> list[OptimizerVariable]:
        """The optimizer state: number of steps, learning rate (without a schedule), then arrays for each weight."""
        program, first = self._stateful, 0
        found = [self._number("_batches", "iteration", np.int32, int)]
        if isinstance(self._rate, float):
            found.append(self._number("learning_rate", "learning_rate", np.float32, float))
        if program is None:
            return found
        groups: list[Places] = []
        if self.use_ema:
            groups.append({"average": ("average", 0)})
        if self.gradient_accumulation_steps:
            groups.append({"gradient_accumulator": ("accumulated", 0)})
        for names in self._slots:
            groups.append({name: ("slot", slot) for slot, name in enumerate(names, first)})
            first += len(names)
        for places in groups:
            for index in self._learning:
                found += self._arrays(program, index, places)
        return found

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Sets the optimizer state from a list of arrays, `weights`, in the order of `variables`.

        Raises:
            ValueError: if the number of arrays or a shape differs, or a value is invalid. The state is unchanged
                then.
        """
        targets, values = self.variables, [np.asarray(weight) for weight in weights]
        if [target.shape for target in targets] != [value.shape for value in values]:
            wanted = [target.shape for target in targets]
            msg = f"`weights` must have the shapes of `variables`, {wanted}, got {[v.shape for v in values]}"
            raise ValueError(msg)
        before = self._snapshot()
        try:
            for target, value in zip(targets, values, strict=True):
                target.assign(value)
        except BaseException:
            self._restore(before)
            raise

    def save_own_variables(self, store: MutableMapping[str, Array]) -> None:
        """Writes the optimizer state into `store`, a dict, under the keys "0", "1", ..."""
        for position, variable in enumerate(self.variables):
            store[str(position)] = variable.numpy()

    def load_own_variables(self, store: Mapping[str, Array], rounded: Mapping[str, Array] = {}) -> None:
        """Sets the optimizer state from `store`, as written by `save_own_variables`.

        If the number of arrays differs, it warns and keeps the state.

        Args:
            store: dict of the arrays.
            rounded: dict with rounding information from a file of this package, which restores every bit.

        Raises:
            ValueError: if shapes differ.
        """
        count = len(self.variables)
        if len(store) == count:
            bits = {
                name: np.asarray(rounded[name]) for name in rounded
            }  # before anything changes: it may be damaged
            self.set_weights([np.asarray(store[str(position)]) for position in range(count)])
            if self._stateful is not None and bits:
                sharpen(self._stateful, bits)
        elif "0" not in store or int(np.asarray(store["0"])) > 0:  # else nothing had been learnt
            msg = (
                f"Skipping variable loading for optimizer {self.name!r}, because it has {count} variables whereas the "
                f"saved optimizer has {len(store)} variables."
            )
            warnings.warn(msg, stacklevel=2)

    def _rounded(self) -> dict[str, Array]:
        """Where `variables`, in the scale of Keras, are not the state to the last bit; empty if they are."""
        return {} if self._stateful is None else rounded(self._stateful)

    @property
    def _variable_names(self) -> list[str]:
        """What the variables are called."""
        return [variable.path for variable in self.variables]

    def _snapshot(self) -> Snapshot:
        """The whole state, to the bit, for `_restore`."""
        rate = self._rate if isinstance(self._rate, float) else None
        return Snapshot(self._batches, rate, {} if self._program is None else raw_state(self._program))

    def _restore(self, snapshot: Snapshot) -> None:
        """Go back to `_snapshot`, a state that the method of that name returned."""
        if self._program is not None:
            write_raw_state(self._program, snapshot.arrays)
            self._batches = snapshot.batches
        if snapshot.rate is not None:
            self.learning_rate = snapshot.rate

    def _number(self, attribute: str, name: str, kind: type[Any], python: type[Any]) -> OptimizerVariable:
        """The attribute as a variable; assigning what is the same but for rounding leaves it as it is."""

        def read() -> Array:
            with np.errstate(over="ignore"):  # a rate beyond float32 is infinite there
                return np.asarray(getattr(self, attribute), kind)

        def write(value: Array) -> None:
            if value != read():
                setattr(self, attribute, python(value))

        return OptimizerVariable(f"{self.name}/{name}", (), read, write)

    @property
    def _learning(self) -> list[int]:
        """Numbers of the weight arrays that training changes."""
        return [index for index, weight in enumerate(self._tracked) if weight.trainable]

    def _arrays(self, program: Program, index: int, places: Places) -> list[OptimizerVariable]:
        """Arrays of state of one weight array, by name."""
        path = f"{self.name}/{self._tracked[index].path.replace('/', '_')}"
        return [state_variable(f"{path}_{name}", program, index, place) for name, place in places.items()]

    @property
    def _stateful(self) -> Program | None:
        """The program, if it has state: before the first targets it may have to wait for them."""
        return self._program if self._program is not None and self._program.state_counts else None

    def _follow(self, program: Program, weights: Sequence[Tracked]) -> None:
        """Take `iterations` and the state from `program`, which has these weights, from now on."""
        self._program, self._tracked = program, list(weights)

    def build(self, variables: Sequence[Any]) -> None:
        """Has no effect: the state is there from `compile` on, once the model is built.

        Args:
            variables: the weights that training changes.
        """

    def _move_to(self, program: Program) -> None:
        """Go on in `program`, of the same model for samples of another length, with the state to the bit."""
        if self._program is program or self._program is None:
            return
        state, self._program = self._snapshot(), program
        write_raw_state(program, state.arrays)
        self._batches = state.batches

    def finalize_variable_values(self, var_list: Sequence[Any] | None = None) -> None:
        """With `use_ema`, replaces the weights by their moving averages, as `fit` does at its end.

        Args:
            var_list: Ignored. All trainable weights are replaced.
        """
        del var_list
        if self._program is not None and self.use_ema and self._batches:
            self._program.write_variables(exchanged(self._program, self._tracked)[0])

    def _swap_averages(self) -> None:
        """Let the weights and their running means change places; there must have been a step with `use_ema`."""
        if self._program is not None:
            weights, means = exchanged(self._program, self._tracked)
            self._program.write_variables(weights)
            self._program.write_state("average", 0, means)

    def _averages_from_weights(self) -> None:
        """Set the running means to the weights."""
        if self._program is not None and self.use_ema:
            self._program.write_state("average", 0, self._program.variables)
