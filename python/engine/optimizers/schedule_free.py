"""A rule that needs no schedule: gradients are taken between the steps and their mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from engine._checks import above_zero, below_one, integer, real
from engine._program import Program
from engine.optimizers._rates import LearningRate
from engine.optimizers._state import Places
from engine.optimizers.base import Optimizer, registry
from engine.optimizers.variables import OptimizerVariable

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from engine.optimizers.base import Options


@registry.register()
class ScheduleFreeAdamW(Optimizer):
    """Adam's steps without a schedule of the learning rate (Defazio et al., The Road Less Scheduled, 2024).

    z takes the steps, x is the mean of all z so far, and the weights are `w = (1 - beta_1) * z + beta_1 * x`, in
    training and in predictions, as in Keras:
    `v = beta_2 * v + (1 - beta_2) * g**2`,
    `z = z - learning_rate * min(t / warmup_steps, 1) * g / (sqrt(v / (1 - beta_2**t)) + epsilon)`,
    `x = x + (z - x) / t`. At the first step z and x are the weights.

    Args:
        learning_rate: step size, at least 0, or a schedule.
        beta_1: share of x in the weights, in (0, 1).
        beta_2: decay of v, in [0, 1).
        epsilon: keeps the division finite, at least 0.
        warmup_steps: steps in which the step size grows to `learning_rate`.
        shared: the arguments of every `Optimizer`, in its order.
        options: the same, by name.
    """

    _kind = "schedule_free_adamw"

    def __init__(
        self,
        learning_rate: LearningRate = 0.0025,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        warmup_steps: int = 0,
        *shared: Any,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, *shared, **options)
        self.beta_1 = above_zero(below_one(beta_1, "beta_1"), "beta_1")
        self.beta_2 = below_one(beta_2, "beta_2")
        self.epsilon = real(epsilon, "epsilon", 0.0)
        self.warmup_steps = integer(warmup_steps, "warmup_steps", 0)

    @property
    def _slots(self) -> Sequence[Sequence[str]]:
        """Names of z and v."""
        return [["momentum", "velocity"]]

    def _arrays(self, program: Program, index: int, places: Places) -> list[OptimizerVariable]:
        """Before the first step z is the weights."""
        found = super()._arrays(program, index, places)
        if "momentum" in places and not self.iterations:
            momentum = found[0]
            found[0] = OptimizerVariable(
                momentum.path,
                momentum.shape,
                lambda: program.read_variables(index, 1)[0] if not self.iterations else momentum.numpy(),
                momentum.assign,
            )
        return found
