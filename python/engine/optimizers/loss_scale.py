"""`LossScaleOptimizer`, for scripts and files that have it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from engine._base.checks import integer, label, only_default, real
from engine._base.computed_once import computed_once
from engine._base.spec import auto_name, serialize, snake_case
from engine._tracing.errors import needs_values
from engine._tracing.lazy import capturing
from engine.layers.variable import Variable
from engine.optimizers.optimizer import Optimizer, registry
from engine.optimizers.stepping import quotients
from engine.optimizers.variables import Tracked


class _OfInner:
    """An attribute that is that of the inner optimizer."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, optimizer: Any, owner: type | None = None) -> Any:
        return self if optimizer is None else getattr(optimizer.inner_optimizer, self._name)

    def __set__(self, optimizer: Any, value: Any) -> None:
        setattr(optimizer.inner_optimizer, self._name, value)


@registry.register()
class LossScaleOptimizer(Optimizer):
    """Scales the loss for another optimizer, and skips steps whose gradients aren't finite.

    In loops of your own, `scale_loss` multiplies the loss by a factor and `apply` divides the gradients by it. If one of them
    isn't finite, the step is left out and the factor is halved; after `dynamic_growth_steps` steps without that it is doubled.
    A `train_step` that the core could run runs in Python with such an optimizer, since it looks at the numbers.

    `fit`, `train_on_batch` and so on without such methods pass every step to the other optimizer: no gradient is rounded to
    float16 under any dtype policy, so that no loss has to be scaled, and a model needs no such optimizer.

    Args:
        inner_optimizer: the optimizer, its name or config.
        initial_scale: the first factor, larger than 0.
        dynamic_growth_steps: the number of steps after which the factor is doubled, at least 1.
        name: name of the optimizer, a prefix of the names of `variables`.
        dynamic: must be True, as in Keras.

    Example:
        >>> import engine as keras
        >>> optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01))
        >>> print(f"{float(optimizer.learning_rate):.2f}")
        0.01
    """

    _unsaved_arguments = ("dynamic",)
    _fixed_arguments: ClassVar[Mapping[str, Any]] = {"use_ema": False, "ema_momentum": 0.99}

    loss_scale_factor = None
    _rate: Any = _OfInner()
    weight_decay: Any = _OfInner()
    clipnorm: Any = _OfInner()
    clipvalue: Any = _OfInner()
    global_clipnorm: Any = _OfInner()
    use_ema: Any = _OfInner()
    ema_momentum: Any = _OfInner()
    ema_overwrite_frequency: Any = _OfInner()
    gradient_accumulation_steps: Any = _OfInner()
    _undecayed: Any = _OfInner()
    _undecayed_paths: Any = _OfInner()
    _state: Any = _OfInner()
    _tracked: Any = _OfInner()
    _stepper: Any = _OfInner()
    _iteration_variable: Any = _OfInner()
    _rate_variable: Any = _OfInner()

    def __init__(
        self,
        inner_optimizer: Any,
        initial_scale: float = 2.0**15,
        dynamic_growth_steps: int = 2000,
        name: str | None = None,
        *,
        dynamic: bool = True,
    ) -> None:
        only_default(dynamic, "dynamic", True, "a loss scale that stays the same")
        self.inner_optimizer = registry.get(inner_optimizer)
        self.inner_optimizer.loss_scale_factor = None  # gradients would be divided twice
        self.initial_scale = real(initial_scale, "initial_scale", 0.0)
        self.dynamic_growth_steps = integer(dynamic_growth_steps, "dynamic_growth_steps", 1)
        self.name = auto_name(snake_case(type(self).__name__)) if name is None else label(name)
        # The variables that Keras has before those of the inner optimizer, which its files hold.
        self._own = {"iteration": 0.0, "learning_rate": 0.0, "step_counter": 0.0}
        self._own["dynamic_scale"] = self.initial_scale

    def scale_loss(self, loss: Any) -> Any:
        """Returns the loss times the present factor, by which `apply` divides the gradients.

        Args:
            loss: a number.
        """
        return loss * self._own["dynamic_scale"]

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """Steps weights by the gradients of a scaled loss, if all of these are finite.

        Args:
            grads: as for every `Optimizer`.
            trainable_variables: as for every `Optimizer`.
        """
        gradients = list(grads)
        if capturing() is not None:
            raise needs_values("a gradient", f"whether it is finite, which {type(self).__name__} looks at")
        if not all(np.isfinite(np.asarray(gradient)).all() for gradient in gradients if gradient is not None):
            self._own["dynamic_scale"] *= 0.5
            self._own["step_counter"] = 0.0
            return
        super().apply(gradients, trainable_variables)
        self._own["step_counter"] += 1.0
        if self._own["step_counter"] >= self.dynamic_growth_steps:
            self._own["dynamic_scale"] *= 2.0
            self._own["step_counter"] = 0.0

    def _unscaled(self, gradients: Iterable[Any]) -> list[Any]:
        return quotients(gradients, self._own["dynamic_scale"])

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments, with the inner optimizer as `serialize` describes it."""
        return {
            "name": self.name,
            "inner_optimizer": serialize(self.inner_optimizer),
            "initial_scale": self.initial_scale,
            "dynamic_growth_steps": self.dynamic_growth_steps,
        }

    @property
    def variables(self) -> list[Variable]:
        """Four numbers that Keras has, and then the variables of the inner optimizer."""
        own = self._own_variables[: 2 if self._state is None else None]
        return [*own, *self.inner_optimizer.variables]

    @computed_once
    def _own_variables(self) -> list[Variable]:
        return [*map(self._own_variable, self._own)]

    def _own_variable(self, name: str) -> Variable:
        def write(value: float) -> None:
            self._own[name] = value

        dtype = np.int32 if name in {"iteration", "step_counter"} else np.float32
        return self._number(name, dtype, lambda: self._own[name], write)

    def _lower(self, weights: Sequence[Tracked]) -> dict[str, Any]:
        return self.inner_optimizer._lower(weights)
