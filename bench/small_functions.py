"""Times functions of `engine.ops` beside those of NumPy they stand for: `python -m bench.small_functions`.

Both get the same 4 numbers, mostly of float32, so the difference is what the engine does around a call. Times are the shortest of many
calls on one core. Names such as `add sum` as arguments choose functions.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from bench.machine import confine
from bench.table import markdown
from engine import ops

BLOCKS, CALLS = 1000, 10
# The microseconds that a call may take longer.
ALLOWED = 0.5

X = np.array([0.1, 0.4, 0.3, 0.2], np.float32)
Y = np.array([0.5, 0.25, 0.75, 0.6], np.float32)
K, L = np.array([3, 1, 2, 0], np.int32), np.array([1, 2, 3, 1], np.int32)
B, C = X > 0.25, Y > 0.55  # half of the numbers
M, N, CUBE = X.reshape(2, 2), Y.reshape(2, 2), X.reshape(1, 2, 2)
POSITIVE_DEFINITE = np.array([[2.0, 0.5], [0.5, 1.0]], np.float32)
FLOAT32 = {"dtype": np.float32}


@dataclass(frozen=True)
class Case:
    """A call of a function of `engine.ops` and of NumPy.

    Args:
        name: of the function.
        args: of both.
        kwargs: of both.
        of_numpy: the arguments that NumPy gets by name, if they are other ones.
        function: NumPy's, if it has another name.
        note: what tells it from other calls of the function.
    """

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    of_numpy: dict[str, Any] | None = None
    function: Callable[..., Any] | None = None
    note: str = ""


def cases(names: str, *args: Any, **kwargs: Any) -> list[Case]:
    """Returns calls of several functions with the same arguments."""
    return [Case(name, args, kwargs) for name in names.split()]


def algebra(names: str, *args: Any, **of_numpy: Any) -> list[Case]:
    return [Case(name, args, {}, of_numpy, getattr(np.linalg, name)) for name in names.split()]


ALL = [
    *cases("arccos arcsin arcsinh arctan arctanh cbrt ceil cos cosh deg2rad exp exp2 expm1 fabs floor log log10 log1p log2", X),
    *cases("rad2deg sin sinc sinh sqrt tan tanh isfinite isinf isnan isneginf isposinf isreal logical_not signbit absolute", X),
    *cases("abs negative reciprocal sign square trunc round conjugate conj real imag angle i0 nan_to_num", X),
    *cases("all any max min amax amin ptp sum prod mean var std average median count_nonzero cumsum cumprod", X),
    *cases("nansum nanprod nancumsum nancumprod nanmean nanvar nanstd nanmax nanmin nanmedian", X),
    *cases("argmax argmin nanargmax nanargmin argsort nonzero sort unique", X),
    *cases("zeros_like ones_like empty_like copy array ravel transpose squeeze flip flipud vander diag diagflat diff", X),
    *cases("ndim size shape histogram", X),
    *cases("arccosh", 1 + X),
    *cases("add maximum minimum fmax fmin mod fmod multiply subtract floor_divide arctan2 divide true_divide heaviside", X, Y),
    *cases("hypot logaddexp logaddexp2 nextafter equal greater greater_equal less less_equal not_equal logical_and", X, Y),
    *cases("logical_or logical_xor power isclose allclose append isin dot inner outer vdot kron correlate", X, Y),
    *cases("gcd lcm bitwise_and bitwise_or bitwise_xor bitwise_left_shift left_shift bitwise_right_shift right_shift", K, L),
    *cases("bitwise_invert bitwise_not bincount", K),
    *cases("concatenate stack vstack hstack dstack", [X, Y]),
    *cases("matmul", M, N),
    *cases("tensordot", M, N, 1),
    *cases("einsum", "ij,jk->ik", M, N),
    *cases("cross", X[:3], Y[:3]),
    *cases("corrcoef trace fliplr rot90 diagonal tril triu", M),
    *cases("trapezoid", X),
    *cases("digitize", X, np.sort(Y)),
    *cases("searchsorted", np.sort(X), Y),
    *cases("clip", X, 0.2, 0.3),
    *cases("where", B, X, Y),
    *cases("select", [B, C], [X, Y], np.float32(0)),
    *cases("quantile nanquantile", X, 0.5),
    *cases("percentile nanpercentile", X, 50.0),
    *cases("argpartition", X, 2),
    *cases("unravel_index", K, (2, 2)),
    *[Case(name, ((4,),), {}, FLOAT32) for name in ("zeros", "ones", "empty")],
    Case("full", ((4,), 1.0), {}, FLOAT32),
    *cases("full_like", X, 1.0),
    *[Case(name, (2,), {}, FLOAT32) for name in ("eye", "identity", "tri")],
    Case("arange", (4,), {}, {"dtype": np.int32}),
    *cases("linspace logspace", 0.0, 1.0, 4),
    *cases("geomspace", 1.0, 2.0, 4),
    *cases("bartlett blackman hamming hanning", 4),
    *cases("kaiser", 4, 2.0),
    *cases("ldexp", X, K),
    *cases("reshape", X, (2, 2)),
    *cases("swapaxes moveaxis", M, 0, 1),
    *cases("expand_dims", X, 0),
    *cases("broadcast_to", X, (1, 4)),
    *cases("split array_split hsplit", X, 2),
    *cases("vsplit", M, 2),
    *cases("dsplit", CUBE, 2),
    *cases("meshgrid", X, Y),
    *cases("tile repeat roll pad", X, 1),
    *cases("take", X, K),
    *cases("take_along_axis", X, K, 0),
    *algebra("det inv cholesky eig eigh qr svd pinv slogdet matrix_rank norm", POSITIVE_DEFINITE),
    *algebra("solve", POSITIVE_DEFINITE, M),
    *algebra("lstsq", POSITIVE_DEFINITE, M, rcond=None),
    Case("cast", (X, "int32"), function=np.ndarray.astype),
    *[Case(name, (X,), function=np.array) for name in ("convert_to_tensor", "convert_to_numpy")],
    Case("slice", (X, (1,), (2,)), function=lambda x, start, shape: x[start[0] : start[0] + shape[0]].copy()),
    Case("get_item", (X, slice(1, 3)), function=lambda x, key: x[key].copy()),
    Case("add", (X, 2.0), note="a number"),
    Case("add", (X, K), note="float32 and int32"),
    Case("sum", (M,), {"axis": 1}, note="an axis"),
    Case("mean", (K,), note="int32"),
    Case("where", (B, X, 0.0), note="a number"),
]  # fmt: skip


def microseconds(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> float:
    """Returns the least time of a call, over blocks of calls."""
    least = float("inf")
    for _ in range(BLOCKS):
        begin = perf_counter()
        for _ in range(CALLS):
            function(*args, **kwargs)
        least = min(least, perf_counter() - begin)
    return least / CALLS * 1e6


def row(case: Case) -> tuple[float, list[str]]:
    """Returns how much longer the engine takes, and a row of the table."""
    of_numpy = case.function or getattr(np, case.name)
    ours = microseconds(getattr(ops, case.name), case.args, case.kwargs)
    theirs = microseconds(of_numpy, case.args, case.kwargs if case.of_numpy is None else case.of_numpy)
    name = f"{case.name}, {case.note}" if case.note else case.name
    return ours - theirs, [name, f"{ours:.2f}", f"{theirs:.2f}", f"{ours - theirs:.2f}"]


def main() -> None:
    confine(1)
    np.seterr(all="ignore")
    chosen = [case for case in ALL if len(sys.argv) == 1 or case.name in sys.argv[1:]]
    rows = sorted(map(row, chosen), key=lambda pair: pair[0])
    print("\n".join(markdown([["µs a call", "engine", "NumPy", "more"], *(cells for _, cells in rows)])))
    more = [difference for difference, _ in rows]
    within = sum(each <= ALLOWED for each in more)
    print(
        f"\n{len(more)} calls: {median(more):.2f} µs more in the median, at most {ALLOWED} µs more for {within}"
    )


if __name__ == "__main__":
    main()
