"""Functions of arrays that are compiled and timed.

Each is written once, for the namespace `xp` of a contender: `numpy`, `jax.numpy` or `engine.ops`, with the functions of
`EXTRA` as the library's experts write them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The shape of a matrix of about so many numbers.
SHAPES = {
    1_000: (25, 40),
    10_000: (100, 100),
    100_000: (250, 400),
    1_000_000: (1000, 1000),
    10_000_000: (2500, 4000),
}
# The columns of the factors in products and distances, so that these take about as long as 100 instructions for each number.
WIDTH = 64
STEPS = 50  # of a scan
GROUPS = 16  # of rows that are added
# What NumPy doesn't have, or what libraries call by other names, and how a function calls it.
EXTRA = {
    "erf": "erf(x)",
    "scan": "scan(step, carry, rows): the carry and the results, one upon the other, of carry, result = step(carry, row)",
    "while_loop": "while_loop(condition, body, value, most): value = body(value) as long as the condition of it is true; "
    "`most` is a number of rounds that is enough",
    "fori_loop": "fori_loop(first, end, body, value): value = body(i, value) for i from `first` to `end - 1`",
    "sums_of_groups": "sums_of_groups(x, groups, count): the sums of the rows of each of the groups 0 to `count - 1`",
    "with_rows": "with_rows(x, rows, y): `x` with `y` as its rows of these numbers, none of them twice",
}


def namespace(module: ModuleType, **extra: Callable[..., Any]) -> SimpleNamespace:
    """Returns the functions of a module and those of `EXTRA`.

    Raises:
        TypeError: if a function of `EXTRA` is missing, or one is given that is none of them.
    """
    if extra.keys() != EXTRA.keys():
        msg = f"the functions must be {', '.join(EXTRA)}, got {', '.join(extra)}"
        raise TypeError(msg)
    return SimpleNamespace(**vars(module) | extra)


def _erf(x: Any) -> Any:
    from scipy import special  # only here, so that the suites without it need no SciPy

    return special.erf(x)


def _scan(step: Callable[[Any, Any], tuple[Any, Any]], carry: Any, rows: Any) -> tuple[Any, Any]:
    results = []
    for row in rows:
        carry, result = step(carry, row)
        results.append(result)
    return carry, np.stack(results)


def _while_loop(condition: Callable[[Any], Any], body: Callable[[Any], Any], value: Any, most: int) -> Any:
    while condition(value):
        value = body(value)
    return value


def _fori_loop(first: int, end: int, body: Callable[[int, Any], Any], value: Any) -> Any:
    for step in range(first, end):
        value = body(step, value)
    return value


def _sums_of_groups(x: Any, groups: Any, count: int) -> Any:
    sums = np.zeros((count, *x.shape[1:]), x.dtype)
    np.add.at(sums, groups, x)
    return sums


def _with_rows(x: Any, rows: Any, y: Any) -> Any:
    changed = x.copy()
    changed[rows] = y
    return changed


NUMPY = namespace(
    np,
    erf=_erf,
    scan=_scan,
    while_loop=_while_loop,
    fori_loop=_fori_loop,
    sums_of_groups=_sums_of_groups,
    with_rows=_with_rows,
)
"""The namespace of the contender `numpy`, and of what all results are compared with."""


@dataclass(frozen=True)
class Formula:
    """A function of arrays.

    Args:
        compute: the function. It gets the namespace with the functions of arrays, and then the arguments.
        shapes: from the shape of a matrix to those of the arguments.
        differentiable: whether its gradient by the first argument is timed, too.
        integers: whether the arguments are whole numbers, as int32.
    """

    compute: Callable[..., Any]
    shapes: Callable[[int, int], list[tuple[int, ...]]] = lambda m, n: [(m, n)]
    differentiable: bool = True
    integers: bool = False

    def arguments(self, size: int) -> list[NDArray[Any]]:
        """Returns random arguments for matrices of about `size` numbers."""
        rng = np.random.default_rng(size)
        shapes = self.shapes(*SHAPES[size])
        if self.integers:
            return [rng.integers(1, 1000, shape, dtype=np.int32) for shape in shapes]
        return [rng.normal(1.0, 0.5, shape).astype(np.float32) for shape in shapes]


def two(m: int, n: int) -> list[tuple[int, ...]]:
    return [(m, n), (m, n)]


def factors(m: int, n: int) -> list[tuple[int, ...]]:
    return [(m, WIDTH), (n, WIDTH)]


def twenty_steps(xp: Any, x: Any, y: Any) -> Any:
    for _ in range(5):
        x = xp.maximum(x * y - 0.5, 0.1 * x) + y
    return x


def softmax(xp: Any, x: Any) -> Any:
    e = xp.exp(x - xp.max(x, axis=1, keepdims=True))
    return e / xp.sum(e, axis=1, keepdims=True)


def logsumexp(xp: Any, x: Any) -> Any:
    m = xp.max(x, axis=1, keepdims=True)
    return xp.log(xp.sum(xp.exp(x - m), axis=1, keepdims=True)) + m


def normalized(xp: Any, x: Any, axis: int) -> Any:
    d = x - xp.mean(x, axis=axis, keepdims=True)
    return d / xp.sqrt(xp.mean(d * d, axis=axis, keepdims=True) + 1e-5)


def distances(xp: Any, x: Any, y: Any) -> Any:
    squares = xp.sum(x * x, axis=1)[:, None] + xp.sum(y * y, axis=1)[None, :]
    return xp.sqrt(xp.maximum(squares - 2.0 * xp.matmul(x, xp.transpose(y)), 1e-6))


def cosines(xp: Any, x: Any, y: Any) -> Any:
    x = x / xp.sqrt(xp.sum(x * x, axis=1, keepdims=True))
    y = y / xp.sqrt(xp.sum(y * y, axis=1, keepdims=True))
    return xp.matmul(x, xp.transpose(y))


def recurrence(xp: Any, x: Any) -> Any:
    def step(carry: Any, row: Any) -> tuple[Any, Any]:
        carry = xp.tanh(0.5 * carry + row)
        return carry, carry

    return xp.scan(step, xp.zeros_like(x[0]), x)[1]


def roots(xp: Any, x: Any) -> Any:
    """Square roots by Newton's method, until the largest error is small."""
    squares = xp.abs(x) + 0.5
    return xp.while_loop(
        lambda root: xp.max(xp.abs(root * root - squares)) > 1e-4,
        lambda root: 0.5 * (root + squares / root),
        xp.ones_like(squares),
        8,
    )


def layered(m: int, n: int) -> list[tuple[int, ...]]:
    return [(5, m // 5, n)]


def indices(m: int) -> NDArray[np.int32]:
    return np.random.default_rng(m).integers(0, m, m, dtype=np.int32)


def half_of_rows(m: int) -> NDArray[np.int32]:
    return np.random.default_rng(m).permutation(m)[: m // 2].astype(np.int32)


FORMULAS: dict[str, Formula] = {
    # One instruction for each number, and up to twenty.
    "x + y": Formula(lambda xp, x, y: x + y, two),
    "x y + x": Formula(lambda xp, x, y: x * y + x, two),
    "polynomial": Formula(
        lambda xp, x: 1.0 + x * (2.0 + x * (3.0 + x * (4.0 + x * (5.0 + x * 6.0)))),
    ),
    "20 steps": Formula(twenty_steps, two),
    "where": Formula(lambda xp, x, y: xp.where(x > y, 2.0 * x, y - x), two),
    "clip": Formula(lambda xp, x: xp.clip(x, 0.5, 1.5)),
    # Functions.
    "tanh y + exp": Formula(lambda xp, x, y: xp.tanh(x) * y + xp.exp(-y), two),
    "sigmoid": Formula(lambda xp, x: 1.0 / (1.0 + xp.exp(-x))),
    "sin cos": Formula(lambda xp, x: xp.sin(x) * xp.cos(2.0 * x)),
    "log sqrt": Formula(lambda xp, x: xp.log(xp.sqrt(x * x + 1.0))),
    "power": Formula(lambda xp, x, y: xp.power(xp.abs(x) + 0.1, y), two),
    "log1p expm1": Formula(lambda xp, x: xp.log1p(xp.abs(x)) + xp.expm1(-xp.abs(x))),
    "gelu": Formula(lambda xp, x: 0.5 * x * (1.0 + xp.erf(0.70710678 * x))),
    # Reductions.
    "sum of products": Formula(lambda xp, x, y: xp.sum(x * y), two),
    "two sums": Formula(lambda xp, x, y: xp.sum(x) + xp.sum(y), two),
    "sum of squares": Formula(lambda xp, x, y: xp.sum(xp.square(x - y)), two),
    "sums of rows": Formula(lambda xp, x: xp.sum(x, axis=1)),
    "sums of columns": Formula(lambda xp, x: xp.sum(x, axis=0)),
    "largest of rows": Formula(lambda xp, x: xp.max(x, axis=1)),
    "sums of a 3-D array, axis 0": Formula(lambda xp, x: xp.sum(x, axis=0), layered),
    "sums of a 3-D array, axis 1": Formula(lambda xp, x: xp.sum(x, axis=1), layered),
    "sums of a 3-D array, axis 2": Formula(lambda xp, x: xp.sum(x, axis=2), layered),
    "index of the largest": Formula(lambda xp, x: xp.argmax(x, axis=1), differentiable=False),
    "variance": Formula(lambda xp, x: xp.var(x, axis=0)),
    # Rows and columns.
    "softmax": Formula(softmax),
    "logsumexp": Formula(logsumexp),
    "layer norm": Formula(lambda xp, x: normalized(xp, x, 1)),
    "standardized columns": Formula(lambda xp, x: normalized(xp, x, 0)),
    # Products.
    "product": Formula(
        lambda xp, x, y: xp.matmul(x, y),
        lambda m, n: [(m, WIDTH), (WIDTH, n)],
    ),
    "two layers": Formula(
        lambda xp, x, v, w: xp.matmul(xp.maximum(xp.matmul(x, v), 0.0), w),
        lambda m, n: [(m, n), (n, WIDTH), (WIDTH, 10)],
    ),
    "matrix vector": Formula(lambda xp, x, v: xp.matmul(x, v), lambda m, n: [(m, n), (n,)]),
    "distances": Formula(distances, factors),
    "cosines": Formula(cosines, factors),
    "square product": Formula(lambda xp, x, y: xp.matmul(x, y), lambda m, n: [(m, n), (n, m)]),
    # Loops.
    "scan": Formula(recurrence, lambda m, n: [(STEPS, m * n // STEPS)]),
    "while loop": Formula(roots, differentiable=False),  # JAX has no gradient of one
    "fori loop": Formula(
        lambda xp, x: xp.fori_loop(0, 10, lambda _, value: 0.5 * value + xp.sin(value), x),
    ),
    # Places.
    "rows by index": Formula(lambda xp, x: xp.take(x, indices(x.shape[0]), axis=0)),
    "rows replaced": Formula(
        lambda xp, x, y: xp.with_rows(x, half_of_rows(x.shape[0]), y),
        lambda m, n: [(m, n), (m // 2, n)],
    ),
    "sums of groups": Formula(
        lambda xp, x: xp.sums_of_groups(x, indices(x.shape[0]) % GROUPS, GROUPS),
    ),
    "running sums": Formula(lambda xp, x: xp.cumsum(x, axis=1)),
    "sorted rows": Formula(lambda xp, x: xp.sort(x, axis=1)),
    "transposed": Formula(lambda xp, x, y: xp.transpose(x) * 2.0 + y, lambda m, n: [(m, n), (n, m)]),
    "differences": Formula(lambda xp, x: x[:, 1:] - x[:, :-1]),
    "every second column": Formula(lambda xp, x: x[:, ::2] * x[:, 1::2]),
    "backwards": Formula(lambda xp, x: xp.flip(x, axis=1) * x),
    "joined": Formula(lambda xp, x, y: xp.concatenate([x, 2.0 * y], axis=1), two),
    "row and column": Formula(lambda xp, x, y: x * y, lambda m, n: [(m, 1), (1, n)]),
    "integers": Formula(lambda xp, x, y: (x + y) % 7, two, differentiable=False, integers=True),
}


def function_of(xp: Any, derivatives: Any, function: str, result: str) -> Callable[..., Any]:
    """Returns the function that a contender compiles.

    Args:
        xp: the namespace with the functions of arrays.
        derivatives: the module with `grad` and `value_and_grad`.
        function: one of `FORMULAS`.
        result: "value", or "gradient" or "value and gradient" of the sum of its squares.
    """

    def value(*arrays: Any) -> Any:
        return FORMULAS[function].compute(xp, *arrays)

    def total(*arrays: Any) -> Any:
        return xp.sum(xp.square(value(*arrays)))

    if result == "value":
        return value
    return (derivatives.grad if result == "gradient" else derivatives.value_and_grad)(total)  # type: ignore[no-any-return] # either module's


def close_to_float64(name: str, size: int, result: Any) -> float:
    """Returns how far the numbers of a function are from those of NumPy in float64, in units of the largest of these.

    Raises:
        ValueError: if the shapes differ.
    """
    formula = FORMULAS[name]
    arguments = formula.arguments(size)
    wide = [array if formula.integers else array.astype(np.float64) for array in arguments]
    expected = np.asarray(formula.compute(NUMPY, *wide))
    found = np.asarray(result)
    if found.shape != expected.shape:
        msg = f"the result has the shape {found.shape} in place of {expected.shape}"
        raise ValueError(msg)
    return float(np.abs(found - expected).max() / max(1.0, float(np.abs(expected).max())))


def slope_error(name: str, size: int, gradient: Any) -> float:
    """Returns how far a gradient is from the slope of the sum of squares along a random direction, in float64."""
    formula, step = FORMULAS[name], 1e-7
    x, *others = (array.astype(np.float64) for array in formula.arguments(size))
    direction = np.random.default_rng(1).normal(size=x.shape)
    up, down = (
        float(np.sum(np.square(formula.compute(NUMPY, x + sign * step * direction, *others))))
        for sign in (1.0, -1.0)
    )
    expected, found = (up - down) / (2.0 * step), float(np.sum(np.asarray(gradient) * direction))
    return abs(found - expected) / max(1.0, abs(expected), float(np.abs(direction).sum()) * 1e-3)
