"""Activations made of exponentials, logarithms or roots."""

from __future__ import annotations

from numpy.typing import ArrayLike

from engine._base.checks import above_zero, flag, real
from engine._core_interface.cpp import Float32
from engine._core_interface.operations import ActivationFields
from engine.activations._apply import apply, of_core, operation, without_constants

__all__ = [
    "celu",
    "elu",
    "exponential",
    "gelu",
    "log_sigmoid",
    "mish",
    "selu",
    "sigmoid",
    "silu",
    "softplus",
    "softsign",
    "squareplus",
    "tanh",
    "tanh_shrink",
]

sigmoid = without_constants("sigmoid", "Sigmoid: `1 / (1 + exp(-x))`.")
tanh = without_constants("tanh", "Hyperbolic tangent: `tanh(x)`.")
exponential = without_constants("exponential", "Exponential: `exp(x)`.")
silu = without_constants(
    "silu", "SiLU, also known as swish: `x * sigmoid(x)` (Elfwing, Uchibe and Doya, 2017)."
)
mish = without_constants("mish", "Mish: `x * tanh(softplus(x))` (Misra, 2019).")
softplus = without_constants("softplus", "Softplus: `log(1 + exp(x))`.")
log_sigmoid = without_constants("log_sigmoid", "Logarithm of sigmoid: `log(sigmoid(x))`.")
softsign = without_constants("softsign", "Softsign: `x / (1 + |x|)`.")
tanh_shrink = without_constants("tanh_shrink", "Tanh shrink: `x - tanh(x)`.")
selu = without_constants(
    "selu", "Scaled ELU: `1.0507 * elu(x, 1.6733)`, which keeps mean and variance (Klambauer et al., 2017)."
)


def gelu_operation(approximate: object) -> ActivationFields:
    """Returns `gelu` as the core reads it."""
    return operation("gelu_tanh" if flag(approximate, "approximate") else "gelu")


@of_core(gelu_operation)
def gelu(x: ArrayLike, approximate: bool = False) -> Float32:
    """Gaussian error linear unit: `x * P(X <= x)` for a standard normal X (Hendrycks and Gimpel, 2016).

    Args:
        x: array of real numbers, of any shape.
        approximate: whether to compute `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))` instead.

    Returns:
        A float32 array in the shape of `x`.
    """
    return apply(gelu_operation(approximate), x)


def elu_operation(alpha: object) -> ActivationFields:
    """Returns `elu` as the core reads it."""
    return operation("elu", real(alpha, "alpha"))


@of_core(elu_operation)
def elu(x: ArrayLike, alpha: float = 1.0) -> Float32:
    """Exponential linear unit: `x` if `x > 0`, else `alpha * (exp(x) - 1)` (Clevert et al., 2016).

    Args:
        x: array of real numbers, of any shape.
        alpha: the result approaches `-alpha` for large negative numbers.

    Returns:
        A float32 array in the shape of `x`.
    """
    return apply(elu_operation(alpha), x)


def celu_operation(alpha: object) -> ActivationFields:
    """Returns `celu` as the core reads it."""
    return operation("celu", above_zero(alpha, "alpha"))


@of_core(celu_operation)
def celu(x: ArrayLike, alpha: float = 1.0) -> Float32:
    """Continuously differentiable ELU: `max(x, 0) + alpha * (exp(min(x, 0) / alpha) - 1)` (Barron, 2017).

    Args:
        x: array of real numbers, of any shape.
        alpha: the result approaches `-alpha` for large negative numbers; above 0.

    Returns:
        A float32 array in the shape of `x`.
    """
    return apply(celu_operation(alpha), x)


def squareplus_operation(b: object) -> ActivationFields:
    """Returns `squareplus` as the core reads it."""
    return operation("squareplus", real(b, "b", 0.0))


@of_core(squareplus_operation)
def squareplus(x: ArrayLike, b: float = 4) -> Float32:
    """Squareplus: `(x + sqrt(x**2 + b)) / 2` (Barron, 2021).

    Args:
        x: array of real numbers, of any shape.
        b: smoothness, at least 0: larger values give a wider bend at 0.

    Returns:
        A float32 array in the shape of `x`.
    """
    return apply(squareplus_operation(b), x)
