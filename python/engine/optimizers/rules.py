"""How weights follow their gradients: the rules that products can end with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from engine._checks import below_one, flag, real
from engine.optimizers._rates import LearningRate
from engine.optimizers.base import Optimizer, registry

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from engine.optimizers.base import Options


@registry.register()
class SGD(Optimizer):
    """Gradient descent, optionally with momentum (Polyak, 1964; Nesterov: Sutskever et al., 2013).

    With `v` starting at 0: `v = momentum * v - learning_rate * g`, then `w = w + v`, or
    `w = w + momentum * v - learning_rate * g` with `nesterov`.

    Args:
        learning_rate: step size, a number of at least 0, or a schedule.
        momentum: factor of the previous step, in [0, 1]; 0 is plain gradient descent.
        nesterov: whether to use Nesterov momentum.
        shared: further arguments of `Optimizer`, by position.
        options: further arguments of `Optimizer`, by keyword.
    """

    _kind = "sgd"

    def __init__(
        self,
        learning_rate: LearningRate = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        *shared: Any,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, *shared, **options)
        self.momentum = real(momentum, "momentum", 0.0, 1.0)
        self.nesterov = flag(nesterov, "nesterov")

    @property
    def _slots(self) -> Sequence[Sequence[str]]:
        """One with momentum, else none."""
        return [["momentum"]] if self.momentum > 0 else []


@registry.register()
class Adam(Optimizer):
    """Adam: steps scaled by moving averages of the gradient and of its square (Kingma and Ba, 2014).

    `m = beta_1 * m + (1 - beta_1) * g`, `v = beta_2 * v + (1 - beta_2) * g**2`,
    `w = w - learning_rate * sqrt(1 - beta_2**t) / (1 - beta_1**t) * m / (sqrt(v) + epsilon)`: the paper's
    second form, as in Keras, where epsilon isn't corrected for the bias.

    Args:
        learning_rate: step size, a number of at least 0, or a schedule.
        beta_1: decay of m, in [0, 1).
        beta_2: decay of v, in [0, 1).
        epsilon: small number that avoids division by 0, at least 0.
        amsgrad: whether to use the largest v so far instead of v (Reddi et al., 2018).
        shared: further arguments of `Optimizer`, by position.
        options: further arguments of `Optimizer`, by keyword.
    """

    _kind = "adam"

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        *shared: Any,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, *shared, **options)
        self.beta_1 = below_one(beta_1, "beta_1")
        self.beta_2 = below_one(beta_2, "beta_2")
        self.epsilon = real(epsilon, "epsilon", 0.0)
        self.amsgrad = flag(amsgrad, "amsgrad")

    @property
    def _slots(self) -> Sequence[Sequence[str]]:
        """Names of m and v, and with `amsgrad` the largest v."""
        return [["momentum", "velocity"], *([["velocity_hat"]] if self.amsgrad else [])]


@registry.register()
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019).

    Each step first computes `w = w - learning_rate * weight_decay * w`, then the step of Adam with the gradient
    from before. Unlike an L2 penalty, the decay doesn't depend on the gradients. As in Keras, biases decay too
    unless
    `exclude_from_weight_decay(var_names=["bias"])` leaves them out.

    Args:
        learning_rate: step size, a number of at least 0, or a schedule.
        weight_decay: factor of the decay, at least 0.
        beta_1: decay of m, in [0, 1).
        beta_2: decay of v, in [0, 1).
        epsilon: small number that avoids division by 0, at least 0.
        amsgrad: whether to use the largest v so far instead of v (Reddi et al., 2018).
        shared: further arguments of `Optimizer` after `weight_decay`, by position.
        options: further arguments of `Optimizer`, by keyword.
    """

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        learning_rate: LearningRate = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        *shared: Any,
        **options: Any,
    ) -> None:
        decay = real(weight_decay, "weight_decay", 0.0)
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, decay, *shared, **options)
