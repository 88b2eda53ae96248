"""Activations with an exponential in them, or a root."""

from __future__ import annotations

from numpy.typing import ArrayLike

from engine._checks import above_zero, flag, real
from engine._program import Float32, Operation
from engine.activations._apply import apply, operation


def sigmoid(x: ArrayLike) -> Float32:
    """`1 / (1 + exp(-x))`.

    Args:
        x: real numbers, of any shape.

    Returns:
        float32 in the shape of `x`.
    """
    return apply(operation("sigmoid"), x)


def tanh(x: ArrayLike) -> Float32:
    """The hyperbolic tangent.

    Args:
        x: real numbers, of any shape.

    Returns:
        float32 in the shape of `x`.
    """
    return apply(operation("tanh"), x)


def exponential(x: ArrayLike) -> Float32:
    """`exp(x)`.

    Args:
        x: real numbers, of any shape.

    Returns:
        float32 in the shape of `x`.
    """
    return apply(operation("exponential"), x)


def silu(x: ArrayLike) -> Float32:
    """`x * sigmoid(x)`, also known as swish (Elfwing, Uchibe and Doya, 2017).

    Args:
        x: real numbers, of any shape.

    Returns:
        float32 in the shape of `x`.
    """
    return apply(operation("silu"), x)


def gelu_operation(approximate: object) -> Operation:
    """`gelu` as the core reads it."""
    return operation("gelu_tanh" if flag(approximate, "approximate") else "gelu")


def gelu(x: ArrayLike, approximate: bool = False) -> Float32:
    """`x * P(X <= x)` for a standard normal X (Hendrycks and Gimpel, 2016).

    Args:
        x: real numbers, of any shape.
        approximate: whether to compute `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))` instead.

    Returns:
        float32 in the shape of `x`.
    """
    return apply(gelu_operation(approximate), x)


def mish(x: ArrayLike) -> Float32:
    """`x * tanh(softplus(x))` (Misra, 2019).

    Args:
        x: real numbers, of any shape.

    Returns:
        float32 in the shape of `x`.
    """
    return apply(operation("mish"), x)


def softplus(x: ArrayLike) -> Float32:
    """`log(1 + exp(x))`.

    Args:
        x: real numbers, of any shape.

    Returns:
        float32 in the shape of `x`.
    """
    return apply(operation("softplus"), x)


def log_sigmoid(x: ArrayLike) -> Float32:
    """`log(sigmoid(x))`.

    Args:
        x: real numbers, of any shape.

    Returns:
        float32 in the shape of `x`.
    """
    return apply(operation("log_sigmoid"), x)


def softsign(x: ArrayLike) -> Float32:
    """`x / (1 + |x|)`.

    Args:
        x: real numbers, of any shape.

    Returns:
        float32 in the shape of `x`.
    """
    return apply(operation("softsign"), x)


def tanh_shrink(x: ArrayLike) -> Float32:
    """`x - tanh(x)`.

    Args:
        x: real numbers, of any shape.

    Returns:
        float32 in the shape of `x`.
    """
    return apply(operation("tanh_shrink"), x)


def elu_operation(alpha: object) -> Operation:
    """`elu` as the core reads it."""
    return operation("elu", real(alpha, "alpha"))


def elu(x: ArrayLike, alpha: float = 1.0) -> Float32:
    """`x` where it is positive, else `alpha * (exp(x) - 1)` (Clevert, Unterthiner and Hochreiter, 2016).

    Args:
        x: real numbers, of any shape.
        alpha: what large negative numbers tend to, with the other sign.

    Returns:
        float32 in the shape of `x`.
    """
    return apply(elu_operation(alpha), x)


def selu(x: ArrayLike) -> Float32:
    """`1.0507 * elu(x, 1.6733)`, which keeps mean and variance (Klambauer et al., 2017).

    Args:
        x: real numbers, of any shape.

    Returns:
        float32 in the shape of `x`.
    """
    return apply(operation("selu"), x)


def celu_operation(alpha: object) -> Operation:
    """`celu` as the core reads it."""
    return operation("celu", above_zero(alpha, "alpha"))


def celu(x: ArrayLike, alpha: float = 1.0) -> Float32:
    """`max(x, 0) + alpha * (exp(min(x, 0) / alpha) - 1)` (Barron, 2017).

    Args:
        x: real numbers, of any shape.
        alpha: what large negative numbers tend to, with the other sign; above 0.

    Returns:
        float32 in the shape of `x`.
    """
    return apply(celu_operation(alpha), x)


def squareplus_operation(b: object) -> Operation:
    """`squareplus` as the core reads it."""
    return operation("squareplus", real(b, "b", 0.0))


def squareplus(x: ArrayLike, b: float = 4) -> Float32:
    """`(x + sqrt(x**2 + b)) / 2` (Barron, 2021).

    Args:
        x: real numbers, of any shape.
        b: how wide the bend is, at least 0.

    Returns:
        float32 in the shape of `x`.
    """
    return apply(squareplus_operation(b), x)
