"""Functions of `engine.ops` on symbols: a model of them predicts what the functions return for arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import engine as keras
from engine import ops
from engine._tracing.extents import FullShape

RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 4)).astype(np.float32)
Y = RNG.normal(size=(5, 4)).astype(np.float32)
POSITIVE = np.abs(X) + np.float32(0.1)
SMALL = np.clip(X, -0.9, 0.9)
CUBES = RNG.normal(size=(5, 3, 4)).astype(np.float32)
ROUND = np.round(Y)
IDS = RNG.integers(0, 4, size=(5,)).astype(np.int32)
PAIRS = RNG.integers(-4, 4, size=(5, 2)).astype(np.int32)
LABELS = np.eye(4, dtype=np.float32)[IDS]
SHARES = np.exp(X) / np.exp(X).sum(axis=1, keepdims=True)
TWO = RNG.normal(size=(4, 2)).astype(np.float32)

Case = tuple[str, Callable[..., Any], tuple[np.ndarray, ...]]


def each(names: str, *arrays: np.ndarray) -> list[Case]:
    return [(name, getattr(ops, name), arrays) for name in names.split()]


def with_nan(x: Any) -> Any:
    return ops.where(x > 0.5, np.float32(np.nan), x)


def reductions() -> list[Case]:
    cases: list[Case] = []
    for name in ["sum", "mean", "max", "min", "prod", "var", "std", "any", "all"]:
        for axis in (0, 1, -1, (0, 1), (1, 2), None):
            for keepdims in (False, True):

                def reduced(x: Any, name: str = name, axis: Any = axis, keepdims: bool = keepdims) -> Any:
                    return getattr(ops, name)(x, axis=axis, keepdims=keepdims)

                cases.append((f"{name} {axis} {keepdims}", reduced, (CUBES,)))
    return cases


CASES: list[Case] = [
    *each(
        "exp exp2 expm1 sin cos tan arctan sinh cosh tanh arcsinh erf erfc deg2rad rad2deg fabs sinc negative absolute abs "
        "square sign floor ceil trunc logical_not isnan isinf isposinf isneginf isfinite signbit relu relu6 selu sigmoid "
        "hard_sigmoid sparse_sigmoid log_sigmoid silu swish hard_silu softplus sparse_plus softsign hard_tanh tanh_shrink "
        "leaky_relu elu celu gelu squareplus soft_shrink hard_shrink glu softmax log_softmax cbrt reciprocal round",
        X,
    ),
    *each("log log2 log10 log1p sqrt rsqrt", POSITIVE),
    *each("arccosh", POSITIVE + 1),
    *each("arcsin arccos arctanh erfinv", SMALL),
    *each(
        "add subtract multiply divide true_divide maximum minimum fmax fmin mod floor_divide fmod arctan2 logaddexp "
        "logaddexp2 equal not_equal less less_equal greater greater_equal logical_and logical_or logical_xor hypot "
        "divide_no_nan heaviside isclose",
        X,
        Y,
    ),
    *each("add subtract multiply mod floor_divide equal less divide", PAIRS, PAIRS * 2 + 1),
    *each("bitwise_and bitwise_or bitwise_xor", PAIRS * 1000, PAIRS[::-1] * 77),
    *each("left_shift right_shift", PAIRS, np.abs(PAIRS[::-1])),
    *each("bitwise_not", PAIRS),
    ("operators", lambda x, y: (-x + 2) * y - 1 / (3 + abs(x)) + x**2 // 2 % 3, (X, Y)),
    ("comparisons", lambda x, y: (x < y) & (x >= 0) | ~(y > 1) ^ (x <= y), (X, Y)),
    ("powers", lambda x: x**3 + 2.0**x, (X,)),
    ("power", ops.power, (POSITIVE, Y)),
    *reductions(),
    *[(f"{name} {axis}", lambda x, name=name, axis=axis: getattr(ops, name)(x, axis=axis), (CUBES,))
      for name in ("argmax", "argmin") for axis in (0, 1, -1, None)],
    ("count_nonzero", lambda x: ops.count_nonzero(x, axis=1), (PAIRS,)),
    ("logsumexp", lambda x: ops.logsumexp(x, axis=1), (X,)),
    ("logsumexp of large numbers", lambda x: ops.logsumexp(x * 1000, axis=1), (X,)),
    ("average", lambda x: ops.average(x, axis=1), (X,)),
    ("weighted average", lambda x: ops.average(x, axis=1, weights=np.arange(4.0) + 1), (X,)),
    *[(f"norm {ord}", lambda x, ord=ord: ops.norm(x, ord, axis=1), (X,)) for ord in (None, 1, 2, 3, np.inf)],
    ("cumsum", lambda x: ops.cumsum(x, axis=1), (X,)),
    ("diff", ops.diff, (X,)),
    ("cumprod", lambda x: ops.cumprod(x, axis=1), (CUBES,)),
    ("trapezoid", lambda x: ops.trapezoid(x, dx=0.5), (CUBES,)),
    ("trapezoid at places", lambda x: ops.trapezoid(x, np.float32([0, 1, 3]), axis=1), (CUBES,)),
    ("sort", ops.sort, (X,)),
    ("sort along another axis", lambda x: ops.sort(x, axis=1), (CUBES,)),
    ("argsort", lambda x: ops.argsort(x, axis=1), (CUBES,)),
    ("argsort of equal numbers and NaN", lambda x: ops.argsort(with_nan(x)), (ROUND,)),
    ("sort of samples", lambda x: ops.sort(x, axis=0), (CUBES,)),
    ("median", lambda x: ops.median(x, axis=1), (X,)),
    ("median of samples", ops.median, (CUBES,)),
    ("quantiles of samples", lambda x: ops.quantile(x, [0.1, 1.0], axis=0, keepdims=True), (CUBES,)),
    ("median over axes", lambda x: ops.median(x, axis=(1, 2), keepdims=True), (CUBES,)),
    *[(f"quantile {method}", lambda x, method=method: ops.quantile(x, [[0.3, 0.8]], -1, method), (X,))
      for method in ("linear", "lower", "higher", "midpoint", "nearest")],
    ("percentile", lambda x: ops.percentile(x, 35.0, axis=1, keepdims=True), (CUBES,)),
    *[(name, lambda x, name=name: getattr(ops, name)(with_nan(x), axis=-1), (ROUND,)) for name in (
        "nansum", "nanprod", "nanmax", "nanmin", "nanmean", "nanvar", "nanstd", "nancumsum", "nancumprod"
    )],
    ("kron", lambda x: ops.kron(x, TWO), (CUBES,)),
    ("matmul", lambda x: ops.matmul(x, ops.transpose(x, (0, 2, 1))), (CUBES,)),
    ("matmul of a matrix", lambda x: x @ TWO, (CUBES,)),
    ("matmul of a vector", lambda x: x @ TWO[:, 0], (CUBES,)),
    ("matmul of a batch by itself", lambda x, y: ops.matmul(ops.matmul(x, ops.transpose(y)), y), (X, Y)),
    ("dot", lambda x: ops.dot(x, TWO), (CUBES,)),
    ("tensordot", lambda x: ops.tensordot(x, x, [[1, 2], [1, 2]]), (CUBES,)),
    *[(f"einsum {letters}", lambda *a, letters=letters: ops.einsum(letters, *a), arrays) for letters, arrays in (
        ("bij,bkj->bik", (CUBES, CUBES + 1)), ("bi,bj->bij", (X, Y)), ("bi,bi->b", (X, Y)), ("bi,bi,bi->b", (X, Y, X)),
        ("bij->bi", (CUBES,)), ("bij->bji", (CUBES,)), ("...i,...i->...", (X, Y)), ("bii->bi", (CUBES[..., :3],)),
        ("bii,bj->bj", (CUBES[..., :3], X)), ("bij,bii->bj", (CUBES, CUBES[..., :3])),
    )],
    ("inner", ops.inner, (X, Y)),
    ("outer", lambda x: ops.outer(x, np.arange(3.0, dtype=np.float32)), (X,)),
    ("vdot", ops.vdot, (X, Y)),
    ("cross", lambda x: ops.cross(x[:, :3], x[:, 1:]), (X,)),
    ("cross of 2 and 3", lambda x: ops.cross(x[:, :2], x[:, 1:]), (X,)),
    ("cross of 3 and 2", lambda x: ops.sum(ops.cross(x[:, 1:], x[:, :2], axisc=0), axis=0), (X,)),
    ("cross of 2", lambda x: ops.cross(x[:, :2], x[:, 2:]), (X,)),
    ("roll by several", lambda x: ops.roll(x, [1, -1], axis=[1, 2]), (CUBES,)),
    ("roll twice", lambda x: ops.roll(x, [1, 3], axis=[2]), (CUBES,)),
    ("cumsum along one of a tuple", lambda x: ops.cumsum(x, axis=(1,)), (CUBES,)),
    ("average along one of a list", lambda x: ops.average(x, axis=[1], weights=np.float32([1, 2, 3])), (CUBES,)),
    ("slice from a symbol", lambda x, i: ops.slice(x, [0, i[0, 0], 1], (-1, 2, 2)), (CUBES, PAIRS)),
    ("reshape", lambda x: ops.reshape(x, (-1, 2, 6)), (CUBES,)),
    ("reshape of rows", lambda x: ops.reshape(ops.reshape(x, (-1, 4)) * 2, (-1, 3, 4)), (CUBES,)),
    ("transpose", lambda x: ops.transpose(x, (0, 2, 1)), (CUBES,)),
    ("transpose of samples", lambda x: ops.transpose(x, (1, 0, 2)), (CUBES,)),
    ("swapaxes", lambda x: ops.swapaxes(x, 1, 2), (CUBES,)),
    ("moveaxis", lambda x: ops.moveaxis(x, 0, -1), (CUBES,)),
    ("expand_dims", lambda x: ops.expand_dims(x, 1) + 1, (X,)),
    ("squeeze", lambda x: ops.squeeze(ops.expand_dims(x, 1)) + 1, (X,)),
    ("ravel", ops.ravel, (CUBES,)),
    ("flip", lambda x: ops.flip(x, axis=1), (CUBES,)),
    ("flip of samples", ops.flip, (X,)),
    ("roll", lambda x: ops.roll(x, 1, axis=1), (CUBES,)),
    ("roll of samples", lambda x: ops.roll(x, 1, axis=0), (X,)),
    ("concatenate", lambda x, y: ops.concatenate([x, y], axis=1), (X, Y)),
    ("concatenate of samples", lambda x, y: ops.concatenate([x, y], axis=0), (X, Y)),
    ("stack", lambda x, y: ops.stack([x, y], axis=1), (X, Y)),
    ("split", lambda x: ops.split(x, 2, axis=1), (X,)),
    ("split at places", lambda x: ops.split(x, [1, 3], axis=1), (X,)),
    ("array_split", lambda x: ops.array_split(x, 3, axis=1), (X,)),
    ("unstack", lambda x: ops.unstack(x, axis=1), (CUBES,)),
    ("x[:, 1]", lambda x: x[:, 1], (X,)),
    ("x[:, ::2]", lambda x: x[:, ::2], (X,)),
    ("x[1:]", lambda x: x[1:], (X,)),
    ("x[-1]", lambda x: x[-1], (X,)),
    ("x[..., None]", lambda x: x[..., None] * 2, (X,)),
    ("x[:, None, 1:3]", lambda x: x[:, None, 1:3], (X,)),
    ("x[::-1]", lambda x: x[::-1], (X,)),
    ("x[:1]", lambda x: x[:1], (X,)),
    ("x[:-1] - x[1:]", lambda x: x[:-1] - x[1:], (X,)),
    ("x[:, [0, 2]]", lambda x: x[:, [0, 2]], (X,)),
    ("x[:, :, [0, 2, -1]]", lambda x: x[:, :, [0, 2, -1]], (CUBES,)),
    ("take of a table", lambda i: ops.take(np.arange(12, dtype=np.float32).reshape(4, 3), i, axis=0), (PAIRS,)),
    ("take", lambda x: ops.take(x, [1, -1], axis=1), (CUBES,)),
    ("take_along_axis", lambda x, i: ops.take_along_axis(x, i, axis=1), (X, PAIRS)),
    ("repeat", lambda x: ops.repeat(x, 3, axis=1), (X,)),
    ("repeat of samples", lambda x: ops.repeat(x, 2, axis=0), (X,)),
    ("tile", lambda x: ops.tile(x, (1, 2)), (X,)),
    *[(f"pad {mode}", lambda x, mode=mode: ops.pad(x, ((0, 0), (2, 1)), mode=mode), (X,))
      for mode in ("constant", "edge", "reflect", "symmetric", "wrap")],
    ("tril", ops.tril, (CUBES,)),
    ("triu", ops.triu, (CUBES,)),
    ("one_hot", lambda i: ops.one_hot(i, 4), (IDS,)),
    ("one_hot along an axis", lambda i: ops.one_hot(i, 4, axis=1), (PAIRS,)),
    ("multi_hot", lambda i: ops.multi_hot(ops.abs(i), 5), (PAIRS,)),
    ("linspace", lambda x: ops.linspace(x, x + 1, 5, axis=1), (X,)),
    ("normalize", ops.normalize, (X,)),
    ("normalize by sums", lambda x: ops.normalize(x, order=1), (X,)),
    ("moments", lambda x: ops.moments(x, [1]), (X,)),
    ("binary_crossentropy", ops.binary_crossentropy, (LABELS, SHARES)),
    ("of logits", lambda y, x: ops.binary_crossentropy(y, x, from_logits=True), (LABELS, X)),
    ("categorical_crossentropy", ops.categorical_crossentropy, (LABELS, SHARES)),
    ("categorical of logits", lambda y, x: ops.categorical_crossentropy(y, x, from_logits=True), (LABELS, X)),
    ("sparse_categorical_crossentropy", ops.sparse_categorical_crossentropy, (IDS, SHARES)),
    ("sparse of logits", lambda y, x: ops.sparse_categorical_crossentropy(y, x, from_logits=True), (IDS, X)),
    ("in_top_k", lambda i, x: ops.in_top_k(i, x, 2), (IDS, X)),
    ("segment_sum", lambda x, i: ops.segment_sum(x, i, 4), (X, IDS)),
    ("top_k", lambda x: ops.top_k(x, 2), (X,)),
    ("where", lambda x, y: ops.where(x > 0, x, y), (X, Y)),
    ("clip", lambda x: ops.clip(x, -0.5, 0.5), (X,)),
    ("cond", lambda x: ops.cond(ops.sum(x) > 0, lambda: x * 2, lambda: x - 1), (X,)),
    ("select", lambda x: ops.select([x > 1, x > 0], [x, x * 2], 0.0), (X,)),
    ("cast to integers", lambda x: ops.cast(x, "int32"), (X,)),
    ("cast to bools", lambda x: ops.cast(x, "bool"), (PAIRS,)),
    ("cast to float16", lambda x: ops.cast(x, "float16"), (X,)),
    ("saturate_cast to bytes", lambda x: ops.saturate_cast(x * 300, "uint8"), (X,)),
    *each("zeros_like ones_like", X),
    ("full_like", lambda x: ops.full_like(x, 3), (X,)),
    ("nan_to_num", lambda x: ops.nan_to_num(ops.log(x)), (X,)),
    ("layer_normalization", lambda x: ops.layer_normalization(x, TWO[:, 0], TWO[:, 1]), (X,)),
    ("batch_normalization", lambda x: ops.batch_normalization(x, TWO[:, 0], TWO[:, 1] ** 2, -1), (X,)),
    *each("rms_normalization", X),
    ("diagonal", lambda x: ops.diagonal(x, axis1=1, axis2=2), (CUBES,)),
    ("trace", lambda x: ops.trace(x, axis1=1, axis2=2), (CUBES,)),
    ("slice", lambda x: ops.slice(x, (0, 1), (1, 2)), (X,)),
    *each("i0 angle imag sparsemax", X),
    ("i0 of large numbers", lambda x: ops.i0(x * 15), (X,)),
    ("sparsemax along another axis", lambda x: ops.sparsemax(x, axis=1), (CUBES,)),
    ("ldexp", ops.ldexp, (X, PAIRS[:, :1])),
    ("allclose", ops.allclose, (X, X + np.float32(1e-9))),
    *[(name, lambda x, name=name: getattr(ops, name)(with_nan(x), axis=-1), (ROUND,))
      for name in ("nanmedian", "nanargmax", "nanargmin")],
    *[(f"nanquantile {method}", lambda x, m=method: ops.nanquantile(with_nan(x), [0.3, 0.8], -1, m), (ROUND,))
      for method in ("linear", "lower", "higher", "midpoint", "nearest")],
    *[(f"quantile at symbols {method}", lambda x, q, m=method: ops.quantile(x, ops.max(q, axis=0)[:2] / 4 + 0.5, 1, m), (X, SMALL))
      for method in ("linear", "lower", "higher", "midpoint", "nearest")],
    ("nanpercentile at a symbol", lambda x, q: ops.nanpercentile(with_nan(x), 30 + ops.max(q), 1), (ROUND, SMALL)),
    *[(f"quantile {method} at whole places", lambda x, m=method: ops.nanquantile(ops.reshape(x, (-1, 12))[:, :11], 0.7, 1, m),
       (CUBES,)) for method in ("lower", "higher", "midpoint", "nearest")],
    ("median beside NaN", lambda x: ops.median(with_nan(x), axis=1), (ROUND,)),
    ("nanpercentile", lambda x: ops.nanpercentile(x, 35.0, axis=1, keepdims=True), (CUBES,)),
    ("searchsorted", lambda x: ops.searchsorted(np.float32([-1, -0.5, 0, 1]), x, side="right"), (X,)),
    ("searchsorted for NaN", lambda x: ops.searchsorted(np.float32([-1, 0, 1, np.nan]), with_nan(x)), (ROUND,)),
    ("digitize", lambda x: ops.digitize(x, np.float32([-1, 0, 1])), (ROUND,)),
    ("digitize in falling bins", lambda x: ops.digitize(x, np.float32([1, 0, -1])), (ROUND,)),
    ("isin", lambda i: ops.isin(i, [-1, 2]), (PAIRS,)),
    ("not isin", lambda i: ops.isin(i, [[-1], [2]], invert=True), (PAIRS,)),
    ("bincount", lambda i: ops.bincount(ops.abs(i), minlength=5), (PAIRS,)),
    ("bincount with weights", lambda i, x: ops.bincount(ops.abs(i), x, minlength=5), (PAIRS, X[:, :2])),
    ("histogram", lambda x: ops.histogram(x, 4), (X,)),
    ("histogram in a range", lambda x: ops.histogram(x, 4, (-1, 1)), (ROUND,)),
    ("histogram between edges", lambda x: ops.histogram(x, np.float32([-1, 0, 2])), (ROUND,)),
    ("unravel_index", lambda i: ops.unravel_index(ops.abs(i), (2, 3)), (PAIRS,)),
    ("cdist", lambda x: ops.cdist(x, x), (CUBES,)),
    ("corrcoef", ops.corrcoef, (X,)),
    ("vander", lambda x: ops.vander(ops.sum(x, axis=1), 3), (X,)),
    ("rising vander", lambda i: ops.vander(ops.sum(i, axis=1), 3, increasing=True), (PAIRS,)),
    ("logspace", lambda x: ops.logspace(x, x + 1, 5, axis=1), (SMALL,)),
    ("geomspace", lambda x: ops.geomspace(-x, -x * 3, 5, endpoint=False, axis=1), (POSITIVE,)),
    ("rearrange", lambda x: ops.rearrange(x, "b h (w v) -> b (v h) w", v=2), (CUBES,)),
    ("segment_prod", lambda x, i: ops.segment_prod(x, i, 4), (X, IDS)),
    ("scatter", lambda i, x: ops.scatter(i, x, (4, 4)), (PAIRS % 4, X[:, 0])),
    *[(f"scatter_update {how}", lambda x, how=how: ops.scatter_update(
        x, np.array([[0], [-2], [0], [7]]), np.arange(16, dtype=np.float32).reshape(4, 4), how), (X,))
      for how in (None, "add", "mul", "max", "min")],
    ("slice_update", lambda x: ops.slice_update(x, (0, 2), x[:, :2] * 3), (X,)),
    ("slice_update beyond the end", lambda x: ops.slice_update(x, (0, 9), x[:, :2] * 3), (X,)),
    ("attention", lambda x: ops.dot_product_attention(*[x[:, :, None] * n for n in (1, 2, 3)], is_causal=True), (CUBES,)),
    ("correlate", lambda x: ops.correlate(x[0, 0], np.float32([1, 2, 4]), mode="full"), (CUBES,)),
    ("fft", lambda x, y: ops.fft((x, y)), (X, Y)),
    ("fft2", lambda x: ops.fft2((x, x * 2)), (CUBES,)),
    ("ifft2", lambda x: ops.ifft2((x, x * 2)), (CUBES,)),
    ("rfft", lambda x: ops.rfft(x, 7), (X,)),
    ("irfft", lambda x, y: ops.irfft((x, y), 5), (X, Y)),
    ("stft", lambda x: ops.stft(ops.reshape(x, (-1, 12)), 4, 2, 6), (CUBES,)),
    ("istft", lambda x: ops.istft((x, x * 2), 5, 2, 6), (CUBES,)),
    ("istft without a window", lambda x: ops.istft((x, x * 2), 6, 2, 6, window=None, length=7), (CUBES,)),
    ("extract_sequences", lambda x: ops.extract_sequences(x, 2, 2), (CUBES,)),
    # NumPy's own names.
    *[(f"np.{function.__name__}", function, (X,)) for function in (np.exp, np.sum, np.tanh, np.square, np.round)],
    ("np.mean", lambda x: np.mean(x, axis=1), (X,)),
    ("np.stack", lambda x: np.stack([x, x], axis=1), (X,)),
    ("np.concatenate", lambda x: np.concatenate([x, x], axis=1), (X,)),
    ("np.clip", lambda x: np.clip(x, -1, 1), (X,)),
    ("np.where", lambda x: np.where(x > 0, x, 0), (X,)),
    ("np.maximum", lambda x: np.maximum(x, 0), (X,)),
    ("np.reshape", lambda x: np.reshape(x, (-1, 2)), (X,)),
    ("np.var", lambda x: np.var(x, axis=0), (X,)),
    ("np.dot", lambda x: np.dot(x, TWO), (X,)),
    ("an array on the left", lambda x: TWO[:, 0] + TWO[:, 1] * x, (X,)),
    ("np.einsum", lambda x: np.einsum("bi,bi->b", x, x), (X,)),
    ("np.linalg.norm", lambda x: np.linalg.norm(x, axis=1), (X,)),
    ("np.split", lambda x: np.split(x, 2, axis=1), (X,)),
]  # fmt: skip


def by_sample(symbol: Any, result: np.ndarray, first: Any) -> tuple[Any, np.ndarray]:
    """Returns outputs of another shape than (n, ...) as one number for each sample, which adds them up."""
    if not isinstance(symbol._sample, FullShape):
        return symbol, result
    one = ops.reshape(ops.cast(first, "float32"), (-1, int(np.prod(first.shape[1:]))))[:, :1]
    total = np.full((5, 1), np.sum(np.asarray(result, np.float32) * 0.5))
    return ops.sum(ops.cast(symbol, "float32") * 0.5) + 0.0 * one, total


@pytest.mark.parametrize(("name", "function", "arrays"), CASES, ids=[case[0] for case in CASES])
def test_models_predict_what_functions_return(
    name: str, function: Any, arrays: tuple[np.ndarray, ...]
) -> None:
    inputs = [keras.Input(array.shape[1:], dtype=array.dtype.name) for array in arrays]
    symbols, results = function(*inputs), function(*arrays)
    if not isinstance(symbols, (list, tuple)):
        symbols, results = [symbols], [results]
    assert [symbol.dtype for symbol in symbols] == [
        {"int64": "int32"}.get(np.asarray(one).dtype.name, np.asarray(one).dtype.name) for one in results
    ]
    pairs = [by_sample(symbol, result, inputs[0]) for symbol, result in zip(symbols, results, strict=True)]
    model = keras.Model(inputs, [symbol for symbol, _ in pairs])
    found = model.predict(list(arrays) if len(arrays) > 1 else arrays[0], verbose=0)
    for got, (_, wanted) in zip(found if len(pairs) > 1 else [found], pairs, strict=True):
        assert got.shape == np.shape(wanted), name
        np.testing.assert_allclose(got, np.asarray(wanted, np.float32), rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("sinh", [[-100.0, -3.0, 0.0, 1e-4, 80.0, 100.0, np.inf, -np.inf]]),
        ("arcsinh", [[-np.inf, -1e30, -1e6, -1e-4, 0.0, 5.0, 1e5, 1e6, 1e20, np.inf]]),
        ("logaddexp", [[-np.inf, -np.inf, np.inf, 0.0, 2.0], [-np.inf, 1.0, np.inf, np.inf, 2.0]]),
        ("logaddexp2", [[-np.inf, -np.inf, np.inf, 0.0, 2.0], [-np.inf, 1.0, np.inf, np.inf, 2.0]]),
    ],
)
def test_large_and_infinite_arguments(name: str, arguments: list[list[float]]) -> None:
    arrays = [ops.convert_to_tensor(np.array(each, np.float32)) for each in arguments]
    with keras.GradientTape() as tape:
        for each in arrays:
            tape.watch(each)
        found = getattr(ops, name)(*arrays)
    with np.errstate(over="ignore"):
        expected = getattr(np, name)(*(np.array(each, np.float32) for each in arguments))
    np.testing.assert_allclose(np.asarray(found), expected, rtol=2e-6)


EDGES = np.array(
    [
        0.0,
        1.2e-38,
        1e-30,
        1e-8,
        0.5,
        1.0,
        1.5,
        2.0,
        2.5,
        3.0,
        7.0,
        88.0,
        104.0,
        1e4,
        1e10,
        1e20,
        1e30,
        3.4e38,
        np.inf,
    ],
    np.float32,
)
EDGES = np.concatenate([EDGES, -EDGES, np.float32([np.nan])])
OF_ONE = (
    "exp exp2 expm1 log log1p log2 log10 sqrt rsqrt cbrt reciprocal sin cos tan arcsin arccos arctan sinh cosh tanh arcsinh "
    "arccosh arctanh erf erfc erfinv deg2rad rad2deg fabs sinc negative absolute square sign floor ceil trunc logical_not "
    "isnan isinf isposinf isneginf isfinite isreal signbit round nan_to_num relu relu6 selu sigmoid hard_sigmoid "
    "sparse_sigmoid log_sigmoid silu hard_silu softplus sparse_plus softsign hard_tanh tanh_shrink leaky_relu elu celu gelu "
    "squareplus soft_shrink hard_shrink"
)
OF_TWO = (
    "add subtract multiply divide true_divide divide_no_nan power mod floor_divide maximum minimum fmax fmin fmod arctan2 "
    "logaddexp logaddexp2 hypot heaviside equal not_equal less less_equal greater greater_equal logical_and logical_or "
    "logical_xor isclose"
)
# Differences of numbers near 1 or near each other: the absolute error is that of the larger ones.
ABSOLUTE = {"erfc": 3e-8, "tanh_shrink": 1e-8}


@pytest.mark.parametrize("name", OF_ONE.split() + OF_TWO.split())
def test_recorded_functions_of_infinite_huge_and_tiny_numbers(name: str) -> None:
    """They give the values of arrays, and NaN where these have it alone."""
    arrays = [EDGES] if name in OF_ONE.split() else [each.ravel() for each in np.meshgrid(EDGES, EDGES)]
    symbols = [ops.convert_to_tensor(each.copy()) for each in arrays]
    with keras.GradientTape() as tape:
        for each in symbols:
            tape.watch(each)
        found = np.asarray(getattr(ops, name)(*symbols))
    with np.errstate(all="ignore"):
        expected = np.asarray(getattr(ops, name)(*arrays))
    assert found.dtype == expected.dtype
    tiny = ABSOLUTE.get(name, 1.2e-38)  # smaller numbers count as 0
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=tiny)


@pytest.mark.parametrize(
    ("name", "places", "slopes"),
    [
        ("squareplus", [-1e30, -1e4, 0.0, 1e30], [0.0, 1e-8, 0.5, 1.0]),
        ("exp2", [-2.0, 0.0, 3.0], [np.log(2) / 4, np.log(2), np.log(2) * 8]),
        ("arccosh", [1.5, 1e10], [0.8944272, 1e-10]),
        ("hard_shrink", [-1.0, 0.1, 2.0], [1.0, 0.0, 1.0]),
    ],
)
def test_derivatives_of_large_arguments(name: str, places: list[float], slopes: list[float]) -> None:
    found = keras.grad(lambda x: ops.sum(getattr(ops, name)(x)))(np.float32(places))
    np.testing.assert_allclose(found, slopes, rtol=1e-4)


def floats_around_float16() -> np.ndarray:
    """All numbers of float16, the numbers halfway between two of them and next to those, and any finite numbers of float32."""
    finite = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    halfway = np.append((finite[1:] + finite[:-1]) / 2, np.float32(65520))
    drawn = np.random.default_rng(0).integers(0, 2**32, 100_000, dtype=np.uint32).view(np.float32)
    around = [halfway, np.nextafter(halfway, np.float32(0)), np.nextafter(halfway, np.float32(np.inf))]
    positive = np.concatenate([finite, *around, np.float32([65504, 1e5, 3.4e38])])
    found = np.concatenate([positive, -positive, drawn])
    return found[np.isfinite(found) & ~(np.abs(found) < np.finfo(np.float32).tiny)]  # models take no others


def test_recorded_casts_round_as_float16_does() -> None:
    x = floats_around_float16()
    with np.errstate(all="ignore"):
        wanted = x.astype(np.float16).astype(np.float32)
        saturated = np.clip(x, -65504, 65504).astype(np.float16).astype(np.float32)
    inputs = keras.Input((1,))
    outputs = [ops.cast(inputs, "float16"), ops.saturate_cast(inputs, "float16")]
    model = keras.Model(inputs, outputs)
    found = model(x[:, None])
    np.testing.assert_array_equal(np.ravel(found[0]), wanted)
    np.testing.assert_array_equal(np.ravel(found[1]), saturated)


def test_the_derivative_of_a_cast_to_float16_is_that_of_the_number() -> None:
    x = np.float32([-3.14159, 0.0, 1e-9, 1e-5, 0.1, 65519.0])
    found = keras.grad(lambda each: ops.sum(ops.cast(each, "float16") * np.arange(6.0)))(x)
    np.testing.assert_array_equal(found, np.arange(6.0))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16"])
def test_recorded_saturating_casts_to_integers(dtype: str) -> None:
    x = np.float32([-1e9, -32769, -129.7, -3.5, 0, 3.5, 127.9, 128, 255.5, 256, 32768, 65536, 1e9])
    with keras.GradientTape() as tape:
        tape.watch(symbol := ops.convert_to_tensor(x))
        found = np.asarray(ops.saturate_cast(symbol, dtype))
    np.testing.assert_array_equal(found, ops.saturate_cast(x, dtype))


def test_derivatives_of_remainders() -> None:
    """By the dividend 1, also at 0; by the divisor the quotient, cut off. A rounded quotient has none."""
    a, b = np.float32([-7.5, -7.5, 7.5, 0.0, 1.0]), np.float32([2.0, -2.0, 2.0, 3.0, np.inf])
    by_a, by_b = keras.grad(lambda a, b: ops.sum(ops.fmod(a, b)), (0, 1))(a, b)
    np.testing.assert_array_equal(by_a, np.ones(5))
    np.testing.assert_array_equal(by_b, -np.trunc(a / b))
    by_a, by_b = keras.grad(lambda a, b: ops.sum(ops.floor_divide(a, b)), (0, 1))(a[:4], b[:4])
    np.testing.assert_array_equal(by_a, np.zeros(4))
    np.testing.assert_array_equal(by_b, np.zeros(4))


@pytest.mark.parametrize("name", ["matmul", "dot", "inner", "vdot", "tensordot"])
@pytest.mark.parametrize(("one", "other"), [(1, 4), (4, 1), (3, 4)])
def test_products_sum_over_axes_of_one_length(name: str, one: int, other: int) -> None:
    """An axis of length 1 is not repeated, as it is in `einsum` and in arithmetic."""
    shapes = {
        "matmul": [
            ((5, one), (other, 2)),
            ((5, one), (other,)),
            ((one,), (other,)),
            ((3, 5, one), (other, 2)),
        ],
        "dot": [((5, one), (other, 2)), ((one,), (other,))],
        "inner": [((5, one), (2, other))],
        "vdot": [((one,), (other,)), ((2, one), (2, other))],
        "tensordot": [((5, one), (other, 2))],
    }[name]
    options = {"axes": 1} if name == "tensordot" else {}
    for left, right in shapes:
        with pytest.raises(ValueError, match=r"mismatch|not aligned|shape"):
            getattr(ops, name)(np.ones(left), np.ones(right), **options)
        with keras.GradientTape():
            symbol = ops.convert_to_tensor(np.ones(left, np.float32)) * keras.Variable(1.0)
            with pytest.raises(ValueError, match="can't be multiplied: the axes over which they are summed"):
                getattr(ops, name)(symbol, np.ones(right, np.float32), **options)


def test_casts_of_infinite_and_missing_numbers_to_float16() -> None:
    x = np.float32([np.inf, -np.inf, np.nan])
    with keras.GradientTape() as tape:
        tape.watch(symbol := ops.convert_to_tensor(x))
        found = np.asarray(ops.cast(symbol, "float16")), np.asarray(ops.saturate_cast(symbol, "float16"))
    np.testing.assert_array_equal(found[0], x)
    np.testing.assert_array_equal(found[1], [65504, -65504, np.nan])


UPDATES = Y[:3] + 1
BETWEEN_NUMBERS: dict[str, Callable[[Any], Any]] = {
    "sparsemax": ops.sparsemax,
    "sparsemax along another axis": lambda x: ops.sparsemax(x, axis=0),
    "segment_prod": lambda x: ops.segment_prod(x, np.array([0, 1, 1, 0, 1]), num_segments=3),
    "scatter_update by a product": lambda x: ops.scatter_update(x, np.array([[0], [2], [0]]), UPDATES, "mul"),
    "scatter_update by the largest": lambda x: ops.scatter_update(
        x, np.array([[0], [2], [0]]), UPDATES, "max"
    ),
    "scatter_update with what comes last": lambda x: ops.scatter_update(
        np.zeros((5, 4)), np.array([[0], [2], [0], [9], [-1]]), x
    ),
    "complete qr": lambda x: ops.qr(x, mode="complete")[1],
    "singular values of full_matrices": lambda x: ops.svd(x)[1],
    "lu_factor of wide matrices": lambda x: ops.lu_factor(ops.transpose(x))[0],
    "wide qr": lambda x: ops.qr(ops.transpose(x))[1],
    "matrix_rank": lambda x: ops.cast(ops.matrix_rank(x), "float32") + 0 * ops.sum(x),
    "cdist of equal rows": lambda x: ops.cdist(x, x),
}


@pytest.mark.parametrize("name", BETWEEN_NUMBERS)
def test_derivatives_are_quotients_of_differences(name: str) -> None:
    function = BETWEEN_NUMBERS[name]

    def total(x: Any) -> Any:
        result = function(x)
        return ops.sum(result * np.cos(np.arange(np.prod(result.shape)).reshape(result.shape)))

    wanted = np.zeros(X.shape)
    for place in np.ndindex(*X.shape):
        step = np.zeros(X.shape)
        step[place] = 1e-6
        high, low = (float(total(X.astype(float) + sign * step)) for sign in (1, -1))
        wanted[place] = (high - low) / 2e-6
    x = keras.Variable(X)
    with keras.GradientTape() as tape:
        y = total(x * 1.0)
    np.testing.assert_allclose(tape.gradient(y, x), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["lower", "higher", "midpoint", "nearest", "linear"])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.7, 0.9])
def test_quantiles_at_whole_places_are_the_numbers_there(method: str, share: float) -> None:
    x = np.arange(11, dtype=np.float32)
    for q in (share, np.float32(share), np.float64(share)):
        for name in ("quantile", "nanquantile"):
            assert float(getattr(ops, name)(x, q, method=method)) == pytest.approx(10 * share, abs=1e-6)
    for name in ("percentile", "nanpercentile"):
        assert float(getattr(ops, name)(x, 100 * share, method=method)) == pytest.approx(10 * share, abs=1e-6)


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (2, 3)])
@pytest.mark.parametrize("axis", [0, 1, None])
@pytest.mark.parametrize("name", ["any", "all"])
def test_any_and_all_of_no_numbers(name: str, axis: int | None, shape: tuple[int, int]) -> None:
    x = np.zeros(shape, np.float32)
    x[:, :1] = 1
    expected = getattr(np, name)(x > 0, axis=axis)
    found = keras.function(lambda z: getattr(ops, name)(z > 0, axis=axis))(x)
    np.testing.assert_array_equal(found, expected)
    as_numbers = keras.function(lambda z: ops.cast(getattr(ops, name)(z > 0, axis=axis), "float32"))(x)
    np.testing.assert_array_equal(as_numbers, expected.astype(np.float32))
