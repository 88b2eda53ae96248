"""The base class of all optimizers: learning rate, clipping, decay, and the state."""

from __future__ import annotations

import copy
import inspect
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from engine._base.checks import flag, integer, label, real
from engine._base.computed_once import computed_once
from engine._base.spec import Registry, Spec, auto_name, serialize, snake_case
from engine._base.tensor_like import Number
from engine._core_interface.cpp import OptimizerState, read_arrays, write_arrays
from engine._gradients.tape import GradientTape
from engine._tracing.lazy import capturing
from engine.layers.variable import Variable, View
from engine.optimizers.schedules.base import LearningRateSchedule, number
from engine.optimizers.schedules.base import deserialize as deserialize_schedule
from engine.optimizers.stepping import Stepper, quotients, tracked_of, variable_of, without_missing
from engine.optimizers.variables import (
    Array,
    Snapshot,
    StateArray,
    Tracked,
    exchanged,
    raw_state,
    rounded,
    sharpen,
    state_variable,
    write_raw_state,
)

if TYPE_CHECKING:
    from typing_extensions import Self, TypedDict

    class Options(TypedDict, total=False):
        """The arguments of every optimizer, after those of its rule."""

        weight_decay: float | None
        clipnorm: float | None
        clipvalue: float | None
        global_clipnorm: float | None
        use_ema: bool
        ema_momentum: float
        ema_overwrite_frequency: int | None
        loss_scale_factor: float | None
        gradient_accumulation_steps: int | None
        name: str | None
        decay: float | None


Rate = float | LearningRateSchedule | Callable[[], float]
LearningRate = Rate | Mapping[str, Any]
"""What may be given as a learning rate: a `Rate`, or the config dict of a schedule."""


@runtime_checkable
class HasPath(Protocol):
    """A weight of a layer, as `exclude_from_weight_decay` takes it."""

    @property
    def path(self) -> str:
        """Names of layer and weight, such as "dense/kernel"."""


class Optimizer(Spec):
    """Base class of all optimizers.

    One step does the following, in this order: average the gradients of `gradient_accumulation_steps` batches, clip
    them, apply weight decay, update the weights by the rule of the optimizer, update the moving averages of the
    weights, apply constraints.

    Args:
        learning_rate: step size: a number of at least 0, a schedule from `engine.optimizers.schedules`, or a
            function without arguments. The function is called once for each batch, for many batches in advance. The
            learning rate can be read and assigned at any time; a new value takes effect at the next batch, or at
            the next epoch if no callback has batch hooks.
        weight_decay: factor of decoupled weight decay (Loshchilov and Hutter, 2019): before each step every weight
            and bias becomes `w - learning_rate * weight_decay * w`. None is 0.
        clipnorm: largest Euclidean norm of the gradient of each weight array; a larger gradient is scaled down.
            None is no limit.
        clipvalue: each gradient value is clipped to `[-clipvalue, clipvalue]`. None is no limit.
        global_clipnorm: largest Euclidean norm of all gradients as one vector. None is no limit. At most one of the
            three can be given.
        use_ema: whether to keep an exponential moving average of the weights, which replaces them at the end of
            `fit`.
        ema_momentum: `mean = ema_momentum * mean + (1 - ema_momentum) * w` after each step, in [0, 1].
        ema_overwrite_frequency: number of steps after which the averages replace the weights; None does so only at
            the end of `fit`.
        loss_scale_factor: what `scale_loss` multiplies a loss by, and `apply` divides gradients by. `fit` needs neither, as
            gradients are float32.
        gradient_accumulation_steps: number of batches whose gradients are averaged for one step, at least 2; None
            uses one batch.
        name: name of the optimizer, a prefix of the names of `variables`.
        decay: Ignored. Older versions of Keras divided the step size by `1 + decay * iterations`; use
            `schedules.InverseTimeDecay` instead.
    """

    # `get_config` adds the learning rate: a number or the config of a schedule, not the schedule's current value.
    _unsaved_arguments: ClassVar[tuple[str, ...]] = ("learning_rate", "decay")
    _unknown_argument_error = ValueError
    _kind: ClassVar[str]
    """The core's name of the update rule."""
    _made_when_read: ClassVar[frozenset[str]] = frozenset(
        ("_iteration_variable", "_rate_variable", "_own_variables")
    )
    """Attributes with variables, which copies don't have."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "update_step" in vars(cls):
            msg = (
                f"{cls.__name__} can't have an `update_step` of its own, as the core steps the weights: take one of "
                "engine.optimizers, or change the weights between batches, in a callback, by model.set_weights()"
            )
            raise TypeError(msg)

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        learning_rate: LearningRate,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        decay: float | None = None,
    ) -> None:
        if decay is not None:
            warnings.warn("Argument `decay` is no longer supported and will be ignored.", stacklevel=3)
        self._rate: Rate = to_rate(learning_rate)
        self.weight_decay = nonnegative_or_none(weight_decay, "weight_decay")
        self.clipnorm = nonnegative_or_none(clipnorm, "clipnorm")
        self.clipvalue = nonnegative_or_none(clipvalue, "clipvalue")
        self.global_clipnorm = nonnegative_or_none(global_clipnorm, "global_clipnorm")
        clips = {"clipnorm": clipnorm, "clipvalue": clipvalue, "global_clipnorm": global_clipnorm}
        if sum(value is not None for value in clips.values()) > 1:
            arguments = ", ".join(f"{key}={value}" for key, value in clips.items())
            msg = f"only one of `clipnorm`, `clipvalue` and `global_clipnorm` can be set, got {arguments}"
            raise ValueError(msg)
        self.use_ema = flag(use_ema, "use_ema")
        self.ema_momentum = real(ema_momentum, "ema_momentum", 0.0, 1.0)
        self.ema_overwrite_frequency = (
            None
            if ema_overwrite_frequency is None
            else integer(ema_overwrite_frequency, "ema_overwrite_frequency", 1)
        )
        self.loss_scale_factor = nonnegative_or_none(loss_scale_factor, "loss_scale_factor")
        self.gradient_accumulation_steps = (
            None
            if gradient_accumulation_steps is None
            else integer(gradient_accumulation_steps, "gradient_accumulation_steps", 2)
        )
        self.name = auto_name(snake_case(type(self).__name__)) if name is None else label(name)
        self._undecayed: list[str] = []
        self._undecayed_paths: list[str] = []
        self._state: OptimizerState | None = None
        self._tracked: list[Tracked] = []
        self._stepper: Stepper | None = None

    @property
    def learning_rate(self) -> Any:
        """The step size of the next batch, a variable; with a schedule a number, and only another schedule can be assigned."""
        capture = capturing()
        if capture is not None:
            return capture.later("optimizer.learning_rate", lambda: self.learning_rate)
        return self._rate_variable if isinstance(self._rate, float) else Number(self._learning_rates(1)[0])

    @learning_rate.setter
    def learning_rate(self, value: LearningRate) -> None:
        rate = to_rate(value)
        if isinstance(rate, float) and isinstance(self._rate, LearningRateSchedule):
            msg = (
                f"This optimizer was created with a `LearningRateSchedule` object as its `learning_rate`, "
                f"{self._rate!r}, hence its learning rate is not settable. Create it with a float "
                "`learning_rate` if you, or a callback, want to set it"
            )
            raise TypeError(msg)
        self._rate = rate

    def __getstate__(self) -> dict[str, Any]:
        """A copy or a pickle has the settings, and not the state, which belongs to the weights that it has stepped."""
        fresh: dict[str, Any] = {"_state": None, "_tracked": [], "_stepper": None, "_slot_variables": None}
        return {
            name: fresh.get(name, value)
            for name, value in self.__dict__.items()
            if name not in self._made_when_read
        }

    def __copy__(self) -> Self:
        return copy.deepcopy(self)

    def _learning_rates(self, steps: int) -> NDArray[np.float64]:
        """Returns the learning rates of the next `steps` batches, float64 (steps,)."""
        rate = self._rate
        if isinstance(rate, float):
            rates = np.empty(steps)
            rates.fill(rate)  # `np.full` takes five times as long for one step
            return rates
        if isinstance(rate, LearningRateSchedule):
            return rate._rates(self._batches, steps)
        return np.array([real(number(rate()), "learning_rate()", 0.0) for _ in range(steps)])

    def _next_rate(self) -> float:
        """Returns the learning rate of the next batch."""
        rate = self._rate
        return rate if isinstance(rate, float) else float(self._learning_rates(1)[0])

    @property
    def iterations(self) -> Any:
        """Number of steps taken since `compile`, a variable. It may be assigned after `compile`.

        With `gradient_accumulation_steps` it is a number, as the variable counts batches.
        """
        capture = capturing()
        if capture is not None:
            return capture.later("optimizer.iterations", lambda: self.iterations)
        return np.int32(self._steps) if self.gradient_accumulation_steps else self._iteration_variable

    @iterations.setter
    def iterations(self, value: Any) -> None:
        self._batches = integer(value, "iterations", 0) * (self.gradient_accumulation_steps or 1)

    @property
    def _steps(self) -> int:
        """Number of steps taken since `compile`."""
        return self._batches // (self.gradient_accumulation_steps or 1)

    @property
    def _batches(self) -> int:
        """Number of batches since `compile`."""
        return 0 if self._state is None else self._state.iterations

    @_batches.setter
    def _batches(self, value: int) -> None:
        if self._state is None:
            msg = "`iterations` can't be assigned yet: compile a model with this optimizer, and build it"
            raise ValueError(msg)
        self._state.iterations = integer(value, "iterations", 0)

    def build(self, variables: Sequence[Any]) -> None:
        """Creates the state for weights that `apply` steps. Without it, the first call of `apply` does so.

        It does nothing if the optimizer has a state already, such as that of a compiled model.

        Args:
            variables: weights of layers and variables, such as `model.trainable_variables`.
        """
        if self._stepper is None and self._state is None and variables:
            self._begin_steps(tracked_of(variables))

    def _begin_steps(self, tracked: Sequence[Tracked]) -> None:
        stepper = Stepper(self, tracked)
        program = stepper.program([index for index, variable in enumerate(tracked) if variable.trainable])
        self._follow(program.state, tracked)
        self._stepper = stepper

    @property
    def built(self) -> bool:
        """Whether there is a state for the weights."""
        return self._state is not None

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Any]], **kwargs: Any) -> Any:
        """Steps weights by gradients.

        Args:
            grads_and_vars: pairs of a gradient and the weight or variable that it is by, such as
                `zip(gradients, model.trainable_variables)`.
            kwargs: Ignored. Older scripts give `name`.

        Returns:
            The number of steps so far.

        Raises:
            ValueError: if all gradients are None, or the optimizer was built for other weights.
            TypeError: if something is no weight.
        """
        del kwargs
        pairs = list(grads_and_vars)
        if pairs:
            gradients, variables = zip(*pairs, strict=True)
            self.apply(gradients, variables)
        return self.iterations

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """Steps weights by gradients.

        Args:
            grads: a gradient for each weight; None leaves the weight as it is.
            trainable_variables: the weights; default those for which the optimizer was built.

        Raises:
            ValueError: if all gradients are None, or the optimizer was built for other weights.
            TypeError: if something is no weight.
        """
        gradients = self._unscaled(grads)
        if not gradients:
            return
        if trainable_variables is None:
            if self._state is None:
                msg = (
                    "When passing `grads` without `variables`, the optimizer must already be built on a list of variables. "
                    "Call `optimizer.build(trainable_variables)` first."
                )
                raise ValueError(msg)
            trainable = [tracked for tracked in self._tracked if tracked.trainable]
            variables: list[Any] = [tracked.owner._weights[tracked.number] for tracked in trainable]
        else:
            variables = list(trainable_variables)
        if len(gradients) != len(variables):
            msg = f"there must be a gradient for each of {len(variables)} weights, got {len(gradients)} gradients"
            raise ValueError(msg)
        if not self._tracks(variables):
            self._begin_steps(tracked_of(variables))
        stepper = cast("Stepper", self._stepper)
        for gradient, variable in zip(gradients, variables, strict=True):
            if gradient is None:  # the others are looked up by the step
                stepper.place_of(variable)
        stepper.step(*without_missing(gradients, variables))

    def _unscaled(self, gradients: Iterable[Any]) -> list[Any]:
        """Returns the gradients of a loss, from those of what `scale_loss` returned for it."""
        factor = self.loss_scale_factor
        return list(gradients) if factor is None else quotients(gradients, factor)

    def _tracks(self, variables: Sequence[Any]) -> bool:
        """Returns whether the state has a place for the weights, or must not be made again for them."""
        if self._state is None:
            return False
        if self._stepper is None:  # it was compiled with a model
            tracked = {variable.key for variable in self._tracked}
            unknown = [variable for variable in variables if variable_of(variable) not in tracked]
            if unknown and not self._batches:
                self._state = None
                return False
            self._stepper = Stepper(self, self._tracked)
        return True

    def minimize(self, loss: Any, var_list: Sequence[Any], tape: Any = None) -> Any:
        """Steps weights by the gradients of a loss, as scripts for older Keras do.

        Args:
            loss: a function without arguments that returns the loss; or the loss itself, with the `tape` that recorded it.
            var_list: the weights, or a function that returns them.
            tape: an `engine.GradientTape`.

        Returns:
            The number of steps so far.
        """
        if tape is None:
            if not callable(loss):
                msg = "`tape` is required when a `loss` that is no function is passed"
                raise ValueError(msg)
            recording = GradientTape()
            with recording:
                loss = loss()
        else:
            recording = tape
        variables = list(var_list() if callable(var_list) else var_list)
        gradients = recording.gradient(self.scale_loss(loss), variables)
        return self.apply_gradients(zip(gradients, variables, strict=True))

    def scale_loss(self, loss: Any) -> Any:
        """Returns the loss times `loss_scale_factor`, by which `apply` divides the gradients.

        Args:
            loss: a number.
        """
        return loss if self.loss_scale_factor is None else loss * self.loss_scale_factor

    def exclude_from_weight_decay(
        self, var_list: Sequence[Any] | None = None, var_names: Sequence[str] | None = None
    ) -> None:
        """Excludes weights from `weight_decay`. It replaces what an earlier call excluded.

        Args:
            var_list: list of weights of layers, such as `[layer.bias]`.
            var_names: list of regular expressions, such as `["bias"]`. A weight is excluded if one of them occurs
                in its name.

        Raises:
            TypeError: if `var_list` contains something else than weights, or `var_names` is a single string.
            ValueError: if called after `compile`.
        """
        if self._state is not None:
            msg = (
                "`exclude_from_weight_decay` must be called before the model is compiled with this optimizer"
            )
            raise ValueError(msg)
        weights = [weight for weight in var_list or () if isinstance(weight, HasPath)]
        if len(weights) < len(var_list or ()):
            msg = (
                "`var_list` must hold weights as layers have them, such as [layer.bias]; or give `var_names`"
            )
            raise TypeError(msg)
        if isinstance(var_names, str):
            msg = f"`var_names` must be a list of strings such as [{var_names!r}], got {var_names!r}"
            raise TypeError(msg)
        self._undecayed = list(var_names or [])
        self._undecayed_paths = [weight.path for weight in weights]

    def finalize_variable_values(self, var_list: Sequence[object] | None = None) -> None:
        """With `use_ema`, replaces the weights by their moving averages, as `fit` does at its end.

        Args:
            var_list: Ignored. All trainable weights are replaced.
        """
        del var_list
        if self._state is not None and self.use_ema and self._batches:
            write_arrays(self._state.arrays, exchanged(self._state, self._tracked)[0])

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments, with a schedule as `schedules.serialize` describes it.

        Raises:
            TypeError: if the learning rate is a function.
        """
        rate = self._rate
        if not isinstance(rate, (float, LearningRateSchedule)):
            msg = f"`learning_rate` is a function, {rate!r}, which no config holds: use a schedule"
            raise TypeError(msg)
        return {"learning_rate": rate if isinstance(rate, float) else serialize(rate)} | super().get_config()

    # The state as variables ------------------------------------------------------------------------------------------

    @property
    def variables(self) -> list[Variable]:
        """The optimizer state: number of steps, learning rate (without a schedule), then arrays for each weight."""
        variables = [self._iteration_variable]
        if isinstance(self._rate, float):
            variables.append(self._rate_variable)
        if self._state is None:
            return variables
        if self._slot_variables is None or self._slot_variables[0] is not self._state:
            self._slot_variables = self._state, self._variables_of(self._state)
        return variables + self._slot_variables[1]

    _slot_variables: tuple[OptimizerState, list[Variable]] | None = None
    """The arrays of each weight as variables, and the state that has them."""

    def _variables_of(self, state: OptimizerState) -> list[Variable]:
        """Returns the arrays of each weight as variables."""
        variables, first_slot = list[Variable](), 0
        groups: list[Mapping[str, StateArray]] = []
        if self.use_ema:
            groups.append({"average": ("average", 0)})
        if self.gradient_accumulation_steps:
            groups.append({"gradient_accumulator": ("accumulated", 0)})
        for names in self._slots:
            groups.append({name: ("slot", slot) for slot, name in enumerate(names, first_slot)})
            first_slot += len(names)
        for arrays in groups:
            for index in self._trainable_indices:
                variables += self._arrays(state, index, arrays)
        return variables

    @property
    def _slots(self) -> Sequence[Sequence[str]]:
        """Names of the state arrays that the update rule has for each weight, in the order of the core's slots.

        `variables` goes group by group: for each weight it lists the arrays of one group, then those of the next.
        """
        return []

    @property
    def _trainable_indices(self) -> list[int]:
        """Numbers of the trainable weight arrays, in the order of `model.trainable_weights`."""
        indices = [index for index, weight in enumerate(self._tracked) if weight.trainable]
        return sorted(indices, key=lambda index: self._tracked[index].place)

    @property
    def _variable_names(self) -> list[str]:
        """Paths of the variables, in their order."""
        return [variable.path for variable in self.variables]

    def _arrays(self, state: OptimizerState, index: int, arrays: Mapping[str, StateArray]) -> list[Variable]:
        """Returns state arrays of weight `index` as variables; `arrays` gives the name of each."""
        path = f"{self.name}/{self._tracked[index].path.replace('/', '_')}"
        return [state_variable(f"{path}_{name}", state, index, array) for name, array in arrays.items()]

    @computed_once
    def _iteration_variable(self) -> Variable:
        """The number of batches."""

        def write(value: float) -> None:
            self._batches = int(value)

        return self._number("iteration", np.int32, lambda: self._batches, write)

    @computed_once
    def _rate_variable(self) -> Variable:
        """The learning rate, while no schedule and no function computes it."""

        def write(value: float) -> None:
            self.learning_rate = float(value)

        return self._number("learning_rate", np.float32, lambda: cast("float", self._rate), write)

    def _number(
        self, name: str, dtype: DTypeLike, read: Callable[[], float], write: Callable[[float], None]
    ) -> Variable:
        """Returns a number as a variable. Assigning its own value, rounded to `dtype`, doesn't change the number."""

        def read_array() -> Array:
            with np.errstate(over="ignore"):  # a learning rate beyond float32 becomes infinite
                return np.asarray(read(), dtype)

        def write_array(value: Array) -> None:
            if value != read_array():
                write(value.item())

        return Variable._view(f"{self.name}/{name}", (), View(read_array, write_array), dtype)

    def set_weights(self, weights: Sequence[ArrayLike]) -> None:
        """Sets the optimizer state from a list of arrays, `weights`, in the order of `variables`.

        Raises:
            ValueError: if the number of arrays or a shape differs, or a value is invalid. The state is unchanged
                then.
        """
        targets, values = self.variables, [np.asarray(weight) for weight in weights]
        if [target.shape for target in targets] != [value.shape for value in values]:
            shapes = [target.shape for target in targets]
            msg = f"`weights` must have the shapes of `variables`, {shapes}, got {[v.shape for v in values]}"
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
        store = _without_loss_scale(store, count)
        if len(store) == count:
            # Read first: the file may be damaged, and then nothing may change.
            bits = {name: np.asarray(rounded[name]) for name in rounded}
            self.set_weights([np.asarray(store[str(position)]) for position in range(count)])
            if self._state is not None and bits:
                sharpen(self._state, bits)
        elif "0" not in store or int(np.asarray(store["0"])) > 0:  # a state before the first step is no loss
            msg = (
                f"Skipping variable loading for optimizer {self.name!r}, because it has {count} variables whereas the "
                f"saved optimizer has {len(store)} variables."
            )
            warnings.warn(msg, stacklevel=2)

    def _rounded(self) -> dict[str, Array]:
        """Returns what `variables`, in the scaling of Keras, lose by rounding; an empty dict if nothing is lost."""
        return {} if self._state is None else rounded(self._state)

    # In compiled programs --------------------------------------------------------------------------------------------

    def _lower(self, weights: Sequence[Tracked]) -> dict[str, Any]:
        """Returns the `optimizer` argument of `Program.compile`. The learning rates come with each run."""
        if not hasattr(type(self), "_kind"):
            msg = (
                f"{type(self).__name__} has no formula, as the core steps the weights: derive it from a class of "
                "engine.optimizers that has one, such as SGD or Adam"
            )
            raise TypeError(msg)
        rule = {name: value for name, value in super().get_config().items() if name not in _SHARED}
        return {
            "kind": self._kind,
            **rule,
            "clipnorm": self.clipnorm or 0.0,
            "clipvalue": self.clipvalue or 0.0,
            "global_clipnorm": self.global_clipnorm or 0.0,
            "decays": [self._decay_of(weight) for weight in weights],
            "accumulate": self.gradient_accumulation_steps or 1,
            "averages": self.use_ema,
            "average_momentum": self.ema_momentum,
            "overwrite": self.ema_overwrite_frequency or 0,
        }

    def _decay_of(self, weight: Tracked) -> float:
        """Returns the weight decay of a weight array."""
        return 0.0 if self._excludes(weight) or self.weight_decay is None else self.weight_decay

    def _excludes(self, weight: Tracked) -> bool:
        """Returns whether `exclude_from_weight_decay` named the weight array."""
        named = any(re.search(name, weight.name) for name in self._undecayed)
        return named or weight.path in self._undecayed_paths

    def _follows(self, weights: Sequence[Tracked]) -> bool:
        """Returns whether the state is that of these weights, in their order."""
        if weights is self._tracked:
            return True
        pairs = zip(weights, self._tracked, strict=False)
        same = all(new.owner is old.owner and new.number == old.number for new, old in pairs)
        return same and len(weights) == len(self._tracked)

    def _follow(self, state: OptimizerState, weights: Sequence[Tracked]) -> None:
        """Takes the state of `weights` from now on."""
        if not self._follows(weights):
            self._stepper = self._slot_variables = None
        self._state, self._tracked = state, list(weights)

    def _snapshot(self) -> Snapshot:
        """Returns a copy of the whole state, bit by bit."""
        rate = self._rate if isinstance(self._rate, float) else None
        if self._state is None:
            return Snapshot(self._batches, rate, {}, built=False)
        return Snapshot(self._batches, rate, raw_state(self._state))

    def _restore(self, snapshot: Snapshot) -> None:
        """Restores the state that `_snapshot` returned."""
        if not snapshot.built:
            self._state, self._tracked, self._stepper, self._slot_variables = None, [], None, None
        elif self._state is not None:
            write_raw_state(self._state, snapshot.arrays)
            self._batches = snapshot.batches
        if snapshot.rate is not None:
            self.learning_rate = snapshot.rate

    def _follow_on(self, state: OptimizerState, weights: Sequence[Tracked]) -> None:
        """Does what `_follow` does; if the weights are the same as before, `state` gets the present values of their state.

        Weights that weren't trained before, or aren't now, keep what `state` has.
        """
        before, batches = self._state, self._batches
        places = {weight.key: place for place, weight in enumerate(self._tracked)}
        self._follow(state, weights)
        if before is None or places.keys() != {weight.key for weight in weights}:
            return
        present, arrays = raw_state(before), raw_state(state)
        for name in present.keys() & arrays.keys():
            for index, weight in enumerate(weights):
                value = present[name][places[weight.key]]
                if arrays[name][index].shape == value.shape:
                    arrays[name][index] = value
        write_raw_state(state, arrays)
        self._batches = batches

    def _swap_averages(self) -> None:
        """Swaps the trainable weights with their moving averages, after at least one step with `use_ema`."""
        if self._state is not None:
            weights, averages = exchanged(self._state, self._tracked)
            write_arrays(self._state.arrays, weights)
            self._state.write("average", 0, averages)

    def _averages_from_weights(self) -> None:
        """Sets the moving averages to the weights."""
        if self._state is not None and self.use_ema:
            self._state.write("average", 0, read_arrays(self._state.arrays))


_VARIABLES_OF_LOSS_SCALE = 4


def _without_loss_scale(store: Mapping[str, Array], count: int) -> Mapping[str, Array]:
    """Returns the arrays of an optimizer's state in a file, of which it has `count`.

    For a model with the policy "mixed_float16" Keras writes those of the LossScaleOptimizer that it puts around the
    optimizer: four numbers come first.
    """
    more, positions = _VARIABLES_OF_LOSS_SCALE, [str(position) for position in range(len(store))]
    if len(store) != count + more or any(
        name not in store or np.shape(store[name]) for name in positions[: more + 1]
    ):
        return store
    return {name: store[further] for name, further in zip(positions, positions[more:], strict=False)}


_SHARED = frozenset(inspect.signature(Optimizer.__init__).parameters)
"""Names of the arguments that all optimizers have."""


def to_rate(value: object) -> Rate:
    """Returns `value` as a learning rate: a float of at least 0, a schedule, or a function without arguments."""
    if isinstance(value, LearningRateSchedule) or callable(value):
        return value
    if isinstance(value, Mapping):
        return deserialize_schedule(value)
    return real(number(value), "learning_rate", 0.0)


def nonnegative_or_none(value: float | None, name: str) -> float | None:
    """Returns `value` as a float of at least 0, or None."""
    return None if value is None else real(value, name, 0.0)


registry: Registry[Optimizer] = Registry("optimizer", Optimizer, joined=True)


def get(identifier: object) -> Optimizer | None:
    """The optimizer that a name, a class, an object or a config dict stands for; None stays None.

    Args:
        identifier: such as "adam"; a class is called without arguments.

    Raises:
        ValueError: for an unknown name; the message suggests the nearest.
        TypeError: for anything that cannot stand for one.
    """
    return None if identifier is None else registry.get(identifier)


deserialize = registry.deserialize
