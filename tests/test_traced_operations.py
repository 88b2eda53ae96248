"""Values of the operations of traced functions against NumPy in float64, on one and on several threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from common import assert_all_close, assert_all_equal
from numpy.typing import NDArray
from traces import Node, Trace, call

Array = NDArray[Any]
U = 2.0**-24
# A number of samples that divides no length, so that no array is one of samples.
PRIME = 7919


def numbers(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def results_of(trace: Trace, results: list[Node], *arguments: Array) -> list[Array]:
    """Computes results on one and on several threads, from batches and from arrays: the bits must be the same."""
    first = call(trace, results, *arguments)
    samples = [len(each) for each in arguments if each.ndim > 0 and len(each) > 1][:1]
    for batch in (1, *samples, PRIME):
        for threads in (1, 2, 3):
            others = call(trace, results, *arguments, threads=threads, batch=batch)
            assert_all_equal(first, others)
    return first


def check(trace: Trace, result: Node, want: Array, *arguments: Array, tolerance: float = 4 * U) -> None:
    (got,) = results_of(trace, [result], *arguments)
    assert got.shape == want.shape
    scale = float(np.abs(want[np.isfinite(want)]).max(initial=1e-30))
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * scale)


def arguments_of(trace: Trace, *arrays: Array) -> list[Node]:
    return [trace.argument(i, array.shape) for i, array in enumerate(arrays)]


BROADCAST = [
    [(5,), (5,)],
    [(), (4, 3)],
    [(4, 3), (3,)],
    [(4, 1), (4, 3)],
    [(4, 1), (3,)],
    [(300, 10), (300, 1), (10,)],
    [(33, 100), (33, 1), (100,)],
    [(33, 1000), (33, 1), (1000,)],
    [(7, 3, 5), (3, 5), (7, 1, 1)],
    [(7, 1, 5), (1, 3, 1)],
    [(6, 3, 1), (3, 50)],
    [(2, 3, 4, 5), (1, 3, 1, 5), (2, 1, 4, 1)],
    [(2000, 3), (3,)],
    [(70_000,), ()],
    [(1, 1), (1, 1)],
    [(17, 1), (17, 1)],
    [(3, 700, 5), (3, 700, 1), (5,)],
]


@pytest.mark.parametrize("shapes", BROADCAST, ids=str)
def test_maps_broadcast(shapes: list[tuple[int, ...]]) -> None:
    trace = Trace()
    arrays = [numbers(*shape, seed=i) for i, shape in enumerate(shapes)]
    nodes = arguments_of(trace, *arrays)
    shape = np.broadcast_shapes(*shapes)
    instructions: list[Any] = [("multiply", [0, 0], 0)]  # a a + b + c ..., and each again times the first
    last = len(nodes)
    for i in range(1, len(nodes)):
        instructions.append(("add", [last, i], 0))
        last += 1
    want = arrays[0].astype(float) ** 2
    for array in arrays[1:]:
        want = want + array
    check(trace, trace.code(nodes, shape, *instructions), np.broadcast_to(want, shape), *arrays)


@pytest.mark.parametrize("shape", [(3,), (4, 5), (40, 30), (2, 3, 4), (5000,)], ids=str)
def test_coordinates_and_numbers(shape: tuple[int, ...]) -> None:
    trace = Trace()
    instructions: list[Any] = [("constant", [], 100.0)]
    want = np.full(shape, 100.0)
    for axis in range(len(shape)):
        last = len(instructions) - 1
        instructions += [("coordinate", [], axis), ("add", [last, last + 1], 0)]
        want = want + np.arange(shape[axis]).reshape([-1 if i == axis else 1 for i in range(len(shape))])
    check(trace, trace.code([], shape, *instructions), want)
    trace = Trace()
    check(trace, trace.code([], shape, ("constant", [], 2.5)), np.full(shape, 2.5))
    trace = Trace()
    (x,) = arguments_of(trace, numbers(*shape))
    check(trace, trace.code([x], shape, ("negate", [0], 0)), -numbers(*shape).astype(float), numbers(*shape))


def test_a_map_of_single_numbers() -> None:
    trace = Trace()
    x = trace.argument(0, ())
    check(trace, x.map("multiply", x).map("add", 1.0), np.array(10.0), np.array(3.0))


def test_many_instructions_share_few_blocks() -> None:
    trace = Trace()
    x = trace.argument(0, (40, 50))
    y, want = x, numbers(40, 50).astype(float)
    for i in range(60):
        y = y.map("multiply", x).map("add", float(i % 3))
        want = want * numbers(40, 50) + i % 3
    check(trace, y, want, numbers(40, 50), tolerance=1e-3)


@pytest.mark.parametrize("shapes", BROADCAST, ids=str)
def test_maps_of_the_same_arrays_share_what_they_compute(shapes: list[tuple[int, ...]]) -> None:
    trace = Trace()
    arrays = [numbers(*shape, seed=i) for i, shape in enumerate(shapes)]
    nodes = arguments_of(trace, *arrays)
    shape = np.broadcast_shapes(*shapes)
    added: list[Any] = [("add", [0, 1], 0)]
    last = len(nodes)
    for i in range(2, len(nodes)):
        added.append(("add", [last, i], 0))
        last += 1
    sine, cosine = ("sin", [last], 0), ("cos", [last], 0)
    larger: list[Any] = [("add", [last + 1, 0], 0), ("add", [last + 2, len(nodes) - 1], 0)]
    results = [
        trace.code(nodes, shape, *added, sine, *larger),
        trace.code(nodes, shape, *added, cosine),
        trace.code(nodes, shape, *added, cosine),
        # Computed before the first result reads the arrays once more, whose memory this one may take.
        trace.code(nodes, shape, *added, sine),
    ]
    total: Array = np.zeros(shape, np.float32)
    for array in arrays:
        total = total + array
    sines, cosines = np.sin(total.astype(float)), np.cos(total.astype(float))
    wanted = [sines + arrays[0] + arrays[-1], cosines, cosines, sines]
    assert_all_close(results_of(trace, results, *arrays), wanted, rtol=4 * U, atol=16 * U)


def test_maps_share_nothing_across_a_change() -> None:
    trace = Trace()
    variable, x = trace.variable(4, 5), trace.argument(0, (4, 5))
    before = trace.code([variable, x], (4, 5), ("add", [0, 1], 0), ("exp", [2], 0))
    trace.add("assign", [variable, before], (4, 5))
    after = trace.code([variable, x], (4, 5), ("add", [0, 1], 0), ("exp", [2], 0))
    function = trace.function(before, after)
    start = numbers(4, 5)
    function.write_variables([start])
    got = function.call([start])
    np.testing.assert_allclose(got[0], np.exp(2.0 * start), rtol=1e-6)
    np.testing.assert_allclose(got[1], np.exp(got[0].astype(float) + start), rtol=1e-6)


REDUCED = [
    [(5,), (0,)],
    [(1,), (0,)],
    [(4, 3), (0,)],
    [(4, 3), (1,)],
    [(4, 3), (0, 1)],
    [(700, 10), (0,)],
    [(700, 100), (0,)],
    [(700, 100), (1,)],
    [(3, 700, 5), (1,)],
    [(3, 700, 5), (0, 2)],
    [(3, 700, 5), (0, 1)],
    [(3, 700, 5), (2,)],
    [(2, 3, 4, 5), (1, 3)],
    [(2, 3, 4, 5), (0, 2)],
    [(2, 3, 1, 5), (2,)],
    [(2, 3, 5, 1), (2,)],
    [(50_000,), (0,)],
    [(10_000, 7), (0, 1)],
    [(3, 9000), (1,)],
    [(2, 20, 600), (1,)],
    [(4, 0), (1,)],
    [(0, 4), (0,)],
]


@pytest.mark.parametrize("kind", ["sum", "max", "min", "prod"])
@pytest.mark.parametrize(("shape", "axes"), REDUCED, ids=str)
def test_reductions(kind: str, shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    x = numbers(*shape)
    if kind == "prod":
        x = np.exp(x / 100)
    trace = Trace()
    (node,) = arguments_of(trace, x)
    if 0 in shape and kind in ("max", "min"):
        want = np.full(
            [n for i, n in enumerate(shape) if i not in axes], -np.inf if kind == "max" else np.inf
        )
    else:
        want = getattr(np, kind)(x.astype(float), axis=axes)
    scale = float(np.abs(x).sum(axis=axes).max(initial=1.0)) if kind == "sum" else 1.0
    (got,) = results_of(trace, [node.reduce(kind, *axes)], x)
    assert got.shape == np.shape(want)
    tolerance = {"sum": 40 * U, "prod": 40 * U + U * x.size**0.5 * 4}.get(kind, 0.0)
    np.testing.assert_allclose(got, want, rtol=tolerance if kind != "sum" else 0, atol=tolerance * scale)


@pytest.mark.parametrize("kind", ["max", "min", "argmax", "argmin"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_extremes_of_equal_numbers_and_nan(kind: str, axis: int) -> None:
    x = np.random.default_rng(1).integers(0, 4, (9, 21, 37)).astype(np.float32)
    x[2, 3, 4] = x[5, 3, 4] = np.nan
    trace = Trace()
    (node,) = arguments_of(trace, x)
    (got,) = results_of(trace, [node.reduce(kind, axis)], x)
    np.testing.assert_array_equal(got, getattr(np, kind)(x, axis=axis))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((5,), 0), ((4, 3), 0), ((4, 3), 1), ((3, 40, 50), 1), ((3, 4, 1), 1), ((1, 100, 70), 1)],
)
def test_cumulative_sums(shape: tuple[int, ...], axis: int, reverse: bool) -> None:
    x, trace = numbers(*shape), Trace()
    (node,) = arguments_of(trace, x)
    result = trace.add("cumulative_sum", [node], shape, axis=axis, reverse=reverse)
    turned = np.flip(x.astype(float), axis) if reverse else x.astype(float)
    want = np.cumsum(turned, axis)
    check(trace, result, np.flip(want, axis) if reverse else want, x, tolerance=40 * U)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((4, 3), (1, 0)),
        ((100, 70), (1, 0)),
        ((3, 40, 50), (0, 2, 1)),
        ((3, 40, 50), (2, 0, 1)),
        ((3, 40, 50), (1, 0, 2)),
        ((2, 3, 4, 5), (3, 1, 0, 2)),
        ((8, 16, 4, 8), (0, 2, 1, 3)),
        ((7,), (0,)),
        ((), ()),
    ],
    ids=str,
)
def test_transposes(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    x, trace = numbers(*shape), Trace()
    (node,) = arguments_of(trace, x)
    want = x.transpose(axes)
    check(trace, trace.add("transpose", [node], want.shape, axes=list(axes)), want, x, tolerance=0)


SLICES: list[Any] = [
    ((5,), np.s_[1:4]),
    ((5,), np.s_[::-1]),
    ((40, 30), np.s_[3:20:2, 1:]),
    ((40, 30), np.s_[30:2:-3, ::-2]),
    ((40, 30, 5), np.s_[:, ::-1, 1:4]),
    ((40, 30, 5), np.s_[35:, :, :]),
    ((6, 4), np.s_[3:3, :]),
]


@pytest.mark.parametrize(("shape", "key"), SLICES, ids=str)
def test_slices_and_their_gradients(shape: tuple[int, ...], key: Any) -> None:
    x, trace = numbers(*shape), Trace()
    (node,) = arguments_of(trace, x)
    keys = key if isinstance(key, tuple) else (key,)
    ranges = [k.indices(n) for k, n in zip(keys, shape, strict=True)]
    want = x[key]
    begin = [[first, 0] for first, _, _ in ranges]
    result = trace.add("slice", [node], want.shape, begin=begin, step=[step for _, _, step in ranges])
    check(trace, result, want, x, tolerance=0)
    gradients = trace.add("gradients", [result.map("multiply", result), node], ())
    gradient = trace.add("gradient", [gradients], shape, index=0)
    placed = np.zeros(shape, np.float32)
    placed[key] = 2 * want
    check(trace, gradient, placed, x)


@pytest.mark.parametrize(
    ("shapes", "axis"),
    [
        ([(3,), (4,)], 0),
        ([(3, 5), (40, 5), (1, 5)], 0),
        ([(40, 3), (40, 10)], 1),
        ([(2, 3, 4), (2, 3, 4)], 1),
        ([(9, 2, 1)] * 3, 2),
    ],
    ids=str,
)
def test_joined_arrays(shapes: list[tuple[int, ...]], axis: int) -> None:
    arrays = [numbers(*shape, seed=i) for i, shape in enumerate(shapes)]
    trace = Trace()
    want = np.concatenate(arrays, axis)
    result = trace.add("join", arguments_of(trace, *arrays), want.shape, axis=axis)
    check(trace, result, want, *arrays, tolerance=0)


def gathered(x: Array, indices: Array, batch_axes: int) -> Array:
    if batch_axes == 0:
        return x[indices.astype(int)]
    return np.stack([gathered(a, b, batch_axes - 1) for a, b in zip(x, indices, strict=True)])


GATHERED = [
    ((5,), (3,), 0),
    ((5, 4), (3,), 0),
    ((5, 4), (3, 2), 0),
    ((5, 4, 3), (), 0),
    ((5,), (), 0),
    ((60, 5), (60,), 1),
    ((60, 5, 3), (60, 7), 1),
    ((60, 2, 5, 3), (60, 2, 7), 2),
    ((60, 5), (60, 2, 2), 1),
]


@pytest.mark.parametrize(("shape", "of_indices", "batch_axes"), GATHERED, ids=str)
def test_gathered_rows_and_their_gradients(
    shape: tuple[int, ...], of_indices: tuple[int, ...], batch_axes: int
) -> None:
    x, trace = numbers(*shape), Trace()
    indices = np.random.default_rng(3).integers(0, shape[batch_axes], of_indices).astype(np.float32)
    a, b = arguments_of(trace, x, indices)
    want = gathered(x, indices, batch_axes)
    result = trace.add("gather", [a, b], want.shape, batch_axes=batch_axes)
    check(trace, result, want, x, indices, tolerance=0)
    gradients = trace.add("gradients", [result.map("multiply", result), a], ())
    gradient = trace.add("gradient", [gradients], shape, index=0)
    counts = np.zeros(shape)
    places = np.arange(x.size).reshape(shape)
    np.add.at(counts.reshape(-1), gathered(places, indices, batch_axes).reshape(-1), 1)
    check(trace, gradient, 2 * x * counts, x, indices, tolerance=8 * U)


def test_rows_that_do_not_exist_are_nan() -> None:
    x, indices, trace = numbers(5, 3), np.array([0, 5, -1, np.nan, 4], np.float32), Trace()
    a, b = arguments_of(trace, x, indices)
    (got,) = results_of(trace, [trace.add("gather", [a, b], (5, 3), batch_axes=0)], x, indices)
    np.testing.assert_array_equal(got[[0, 4]], x[[0, 4]])
    assert np.isnan(got[1:4]).all()


PRODUCTS = [
    ("ij,jk->ik", (3, 4), (4, 5)),
    ("ij,jk->ik", (70, 300), (300, 90)),
    ("ij,jk->ki", (70, 300), (300, 90)),
    ("ji,jk->ik", (300, 70), (300, 90)),
    ("ij,kj->ik", (70, 30), (90, 30)),
    ("i,i->", (1000,), (1000,)),
    ("i,j->ij", (10,), (20,)),
    ("ij,j->i", (70, 300), (300,)),
    ("i,ij->j", (70,), (70, 300)),
    ("bi,bi->b", (40, 300), (40, 300)),
    ("bi,bj->bij", (40, 5), (40, 6)),
    ("bij,bjk->bik", (40, 5, 6), (40, 6, 7)),
    ("bqhd,bkhd->bhqk", (3, 20, 4, 8), (3, 30, 4, 8)),
    ("bhqk,bkhd->bqhd", (3, 4, 20, 30), (3, 30, 4, 8)),
    ("bld,dhk->blhk", (3, 20, 16), (16, 4, 5)),
    ("blhk,hkd->bld", (3, 20, 4, 5), (4, 5, 16)),
    ("bld,blhk->dhk", (3, 20, 16), (3, 20, 4, 5)),
    ("lbd,blk->dk", (20, 3, 16), (3, 20, 6)),
    ("abc,cba->", (3, 4, 5), (5, 4, 3)),
    ("abcd,db->ca", (3, 4, 5, 6), (6, 4)),
    ("ij,jk->ik", (3, 0), (0, 5)),
    ("ij,jk->ik", (0, 3), (3, 5)),
    ("ij,ij->ij", (30, 20), (30, 20)),
]


@pytest.mark.parametrize(("equation", "of_a", "of_b"), PRODUCTS, ids=str)
def test_products(equation: str, of_a: tuple[int, ...], of_b: tuple[int, ...]) -> None:
    a, b, trace = numbers(*of_a), numbers(*of_b, seed=1), Trace()
    x, y = arguments_of(trace, a, b)
    want = np.einsum(equation, a.astype(float), b.astype(float))
    bound = np.einsum(equation, np.abs(a).astype(float), np.abs(b).astype(float))
    (got,) = results_of(trace, [trace.product(equation, x, y)], a, b)
    assert got.shape == want.shape
    assert (np.abs(got - want) <= 30 * U * bound).all()


@pytest.mark.parametrize(
    ("shape", "axes"), [((5,), (0,)), ((6, 4), (1,)), ((6, 4), (0,)), ((3, 4, 5), (0, 2))], ids=str
)
@pytest.mark.parametrize("zeros", [0, 1, 2])
def test_gradients_of_products_of_elements(shape: tuple[int, ...], axes: tuple[int, ...], zeros: int) -> None:
    x, trace = numbers(*shape) + 2, Trace()
    x.reshape(-1)[:zeros] = 0
    (node,) = arguments_of(trace, x)
    gradients = trace.add("gradients", [node.reduce("prod", *axes), node], ())
    gradient = trace.add("gradient", [gradients], shape, index=0)
    want = np.zeros(shape)
    for i in np.ndindex(*shape):
        ones = x.astype(float)
        ones[i] = 1
        want[i] = ones.prod(axis=axes)[tuple(n for k, n in enumerate(i) if k not in axes)]
    check(trace, gradient, want, x, tolerance=20 * U)


@pytest.mark.parametrize("distribution", ["uniform", "normal", "truncated_normal"])
def test_random_numbers(distribution: str) -> None:
    trace = Trace()
    low, high = (-1.0, 3.0) if distribution == "uniform" else (1.0, 2.0)
    result = trace.add("random", [], (300, 70), distribution=distribution, low=low, high=high, seed=7)
    (got,) = results_of(trace, [result])
    mean, deviation = {"uniform": (1, 4 / 12**0.5), "normal": (1, 2), "truncated_normal": (1, 2 * 0.8796)}[
        distribution
    ]
    assert abs(got.mean() - mean) < 0.05
    assert abs(got.std() - deviation) < 0.05
    assert len(np.unique(got)) > 0.99 * got.size
    if distribution == "uniform":
        assert got.min() >= low
        assert got.max() < high
    if distribution == "truncated_normal":
        assert np.abs(got - 1).max() <= 4
    again = Trace()
    flat = again.add("random", [], (21_000,), distribution=distribution, low=low, high=high, seed=7)
    np.testing.assert_array_equal(results_of(again, [flat])[0], got.reshape(-1))


def test_constants() -> None:
    values, trace = numbers(30, 7), Trace()
    (x,) = arguments_of(trace, values)
    constants = trace.add("constants", [], (30, 7), numbers=[float(each) for each in values.reshape(-1)])
    check(trace, x.map("add", constants), 2 * values, values)
    check(trace, constants, values, values, tolerance=0)


@pytest.mark.parametrize("shape", [(5,), (3, 4, 2), (70, 90), (1, 5000)], ids=str)
def test_variables_that_a_function_changes(shape: tuple[int, ...]) -> None:
    trace = Trace()
    v, x = trace.variable(*shape), trace.argument(0, shape)
    changed = trace.add("assign", [v, v.map("add", x)], shape)
    program = trace.function(changed.map("multiply", 2.0))
    start, step = numbers(*shape), numbers(*shape, seed=1)
    program.write_variables([start])
    for i in (1, 2):
        (got,) = program.call([step])
        np.testing.assert_allclose(got, 2 * (start + i * step), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(program.variables[0], start + 2 * step, rtol=1e-5, atol=1e-5)
