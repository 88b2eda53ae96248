"""`LossScaleOptimizer`, for scripts and files that have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from engine._base.checks import integer, label, only_default, real
from engine._base.spec import auto_name, serialize, snake_case
from engine.optimizers.optimizer import Optimizer, registry
from engine.optimizers.variables import OptimizerVariable, Tracked


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
    """Passes every step to another optimizer.

    In Keras it multiplies the loss by a factor, so that gradients in float16 don't become 0, and skips steps whose gradients
    are too large for float16. Here no gradient is rounded to float16 under any dtype policy, so that no loss is scaled and no
    step is skipped, and a model needs no such optimizer. Scripts and files that have one run with it.

    Args:
        inner_optimizer: the optimizer, its name or config.
        initial_scale: the factor with which Keras begins, larger than 0. It is kept for files.
        dynamic_growth_steps: the number of steps after which Keras doubles the factor, at least 1. It is kept for files.
        name: name of the optimizer, a prefix of the names of `variables`.
        dynamic: must be True, as in Keras.

    Example:
        >>> import engine as keras
        >>> optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01))
        >>> float(optimizer.learning_rate)
        0.01
    """

    _unsaved_arguments = ("dynamic",)
    _fixed_arguments: ClassVar[Mapping[str, Any]] = {"use_ema": False, "ema_momentum": 0.99}

    _rate: Any = _OfInner()
    weight_decay: Any = _OfInner()
    clipnorm: Any = _OfInner()
    clipvalue: Any = _OfInner()
    global_clipnorm: Any = _OfInner()
    use_ema: Any = _OfInner()
    ema_momentum: Any = _OfInner()
    ema_overwrite_frequency: Any = _OfInner()
    loss_scale_factor: Any = _OfInner()
    gradient_accumulation_steps: Any = _OfInner()
    _undecayed: Any = _OfInner()
    _undecayed_paths: Any = _OfInner()
    _program: Any = _OfInner()
    _tracked: Any = _OfInner()
    _stepper: Any = _OfInner()

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
        self.initial_scale = real(initial_scale, "initial_scale", 0.0)
        self.dynamic_growth_steps = integer(dynamic_growth_steps, "dynamic_growth_steps", 1)
        self.name = auto_name(snake_case(type(self).__name__)) if name is None else label(name)
        # The variables that Keras has before those of the inner optimizer, which its files hold.
        self._own = {"iteration": 0.0, "learning_rate": 0.0, "step_counter": 0.0}
        self._own["dynamic_scale"] = self.initial_scale

    def get_scaled_loss(self, loss: Any) -> Any:
        """The name that `scale_loss` had in Keras 2: returns the loss as it is.

        Args:
            loss: a number.
        """
        return self.scale_loss(loss)

    def get_unscaled_gradients(self, grads: Sequence[Any]) -> list[Any]:
        """Returns the gradients of what `get_scaled_loss` returned as they are, for loops of Keras 2.

        Args:
            grads: a gradient for each weight, or None.
        """
        return list(grads)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments, with the inner optimizer as `serialize` describes it."""
        return {
            "name": self.name,
            "inner_optimizer": serialize(self.inner_optimizer),
            "initial_scale": self.initial_scale,
            "dynamic_growth_steps": self.dynamic_growth_steps,
        }

    @property
    def variables(self) -> list[OptimizerVariable]:
        """Four numbers that Keras has, and then the variables of the inner optimizer."""
        names = list(self._own)[: 2 if self._program is None else None]
        return [*map(self._own_variable, names), *self.inner_optimizer.variables]

    def _own_variable(self, name: str) -> OptimizerVariable:
        def write(value: float) -> None:
            self._own[name] = value

        dtype = np.int32 if name in {"iteration", "step_counter"} else np.float32
        return self._number(name, dtype, lambda: self._own[name], write)

    def _lower(self, weights: Sequence[Tracked]) -> dict[str, Any]:
        return self.inner_optimizer._lower(weights)
