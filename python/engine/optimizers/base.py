"""What every optimizer is: a step size, what happens to gradients first, and a rule that the core runs."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from engine._checks import flag, integer, label, real
from engine._spec import Registry, auto_name, serialize, snake_case
from engine._values import Setting
from engine.optimizers._rates import LearningRate, Rate, to_rate
from engine.optimizers._state import Stateful
from engine.optimizers.schedules.base import LearningRateSchedule, number
from engine.optimizers.variables import Tracked

if TYPE_CHECKING:
    from typing_extensions import TypedDict

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


class Optimizer(Stateful):
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
        loss_scale_factor: Has no effect. Keras multiplies the loss by it and divides the gradients by it, which
            float32 doesn't need.
        gradient_accumulation_steps: number of batches whose gradients are averaged for one step, at least 2; None
            uses one batch.
        name: name of the optimizer, a prefix of the names of `variables`.
        decay: Ignored. Older versions of Keras divided the step size by `1 + decay * iterations`; use
            `schedules.InverseTimeDecay` instead.
    """

    # `get_config` adds the rate: a number, or a schedule and not its present value.
    _unsaved_arguments = ("learning_rate", "decay")
    _unknown_argument_error = ValueError
    _kind: ClassVar[str]
    """The core's name of the rule."""

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
        self.weight_decay = optional(weight_decay, "weight_decay")
        self.clipnorm = optional(clipnorm, "clipnorm")
        self.clipvalue = optional(clipvalue, "clipvalue")
        self.global_clipnorm = optional(global_clipnorm, "global_clipnorm")
        clips = {"clipnorm": clipnorm, "clipvalue": clipvalue, "global_clipnorm": global_clipnorm}
        if sum(value is not None for value in clips.values()) > 1:
            given = ", ".join(f"{key}={value}" for key, value in clips.items())
            msg = f"only one of `clipnorm`, `clipvalue` and `global_clipnorm` can be set, got {given}"
            raise ValueError(msg)
        self.use_ema = flag(use_ema, "use_ema")
        self.ema_momentum = real(ema_momentum, "ema_momentum", 0.0, 1.0)
        self.ema_overwrite_frequency = (
            None
            if ema_overwrite_frequency is None
            else integer(ema_overwrite_frequency, "ema_overwrite_frequency", 1)
        )
        self.loss_scale_factor = optional(loss_scale_factor, "loss_scale_factor")
        self.gradient_accumulation_steps = (
            None
            if gradient_accumulation_steps is None
            else integer(gradient_accumulation_steps, "gradient_accumulation_steps", 2)
        )
        self.name = auto_name(snake_case(type(self).__name__)) if name is None else label(name)
        self._undecayed: list[str] = []
        self._undecayed_paths: list[Any] = []
        super().__init__()

    @property
    def learning_rate(self) -> float:
        """The step size of the next batch. With a schedule, only another schedule can be assigned."""
        rate = self._rate if isinstance(self._rate, float) else self._learning_rates(1)[0]
        return Setting.of(rate, lambda value: setattr(self, "learning_rate", value))

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

    def _learning_rates(self, steps: int) -> NDArray[np.float64]:
        """The step sizes of the next `steps` batches."""
        rate = self._rate
        if isinstance(rate, float):
            return np.full(steps, rate)
        if isinstance(rate, LearningRateSchedule):
            return rate._rates(self._batches, steps)
        return np.array([real(number(rate()), "learning_rate()", 0.0) for _ in range(steps)])

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
        if self._program is not None:
            msg = (
                "`exclude_from_weight_decay` must be called before the model is compiled with this optimizer"
            )
            raise ValueError(msg)
        paths = [getattr(weight, "path", None) for weight in var_list or ()]
        if None in paths:
            msg = (
                "`var_list` must hold weights as layers have them, such as [layer.bias]; or give `var_names`"
            )
            raise TypeError(msg)
        if isinstance(var_names, str):
            msg = f"`var_names` must be a list of strings such as [{var_names!r}], got {var_names!r}"
            raise TypeError(msg)
        self._undecayed, self._undecayed_paths = list(var_names or []), paths

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

    def _lower(self, weights: Sequence[Tracked]) -> dict[str, Any]:
        """The rule as the core reads it, for a model with these weights; learning rates come with each run."""
        rule = {name: value for name, value in super().get_config().items() if name not in _SHARED}
        clips = {name: getattr(self, name) or 0.0 for name in ("clipnorm", "clipvalue", "global_clipnorm")}
        return {
            "kind": self._kind,
            **rule,
            **clips,
            "decays": [self._decay_of(weight) for weight in weights],
            "accumulate": self.gradient_accumulation_steps or 1,
            "averages": self.use_ema,
            "average_momentum": self.ema_momentum,
            "overwrite": self.ema_overwrite_frequency or 0,
        }

    def _decay_of(self, weight: Tracked) -> float:
        return 0.0 if self._excludes(weight) or self.weight_decay is None else self.weight_decay

    def _excludes(self, weight: Tracked) -> bool:
        named = any(re.search(name, weight.name) for name in self._undecayed)
        return named or weight.path in self._undecayed_paths


_SHARED = frozenset(inspect.signature(Optimizer.__init__).parameters)  # arguments of every optimizer


def optional(value: float | None, name: str) -> float | None:
    """`value` as a float of at least 0, or None."""
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
