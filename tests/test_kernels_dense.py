"""Compares the three products of a dense layer with the numerical contract, bit by bit, and with float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from core_for_tests import Kernels
from numerics import (
    KERNELS,
    U,
    agreed,
    chained_product,
    fma32,
    input_gradient,
    layer_product,
    place,
    product_bound,
    same_bits,
    unary,
)
from numpy.typing import NDArray
from reference import ACTIVATIONS
from reference_optimizers import for_core, slot_count, update

Array = NDArray[Any]
FUSED = ["linear", "relu"]

# Tiles are 8, 6 or 4 rows by 32, 16 or 8 columns, forwards also 6 by 64, 128 for a single row; a chain holds 256 of k.
# From 64 rows and 33 columns on, the kernel gradient copies x in strips.
ROWS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 17]
COLUMNS = [1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 127, 128, 129, 145]
INNER = [1, 2, 15, 16, 17, 255, 256, 257, 511, 512, 513]
SHAPES = (
    [(m, 17, n) for m in ROWS for n in (1, 17, 33)]
    + [(m, 17, n) for m in (1, 9) for n in COLUMNS]
    + [(m, k, n) for m in (1, 7) for k in INNER for n in (5, 33)]
    + [(m, k, 1) for m in (1, 3, 4, 5, 9) for k in (*INNER, 31, 32, 33, 48, 49, 64, 65)]
    + [(m, 17, n) for m in (10, 14, 24) for n in (64, 130)]
    + [(m, k, 48) for m in (15, 16, 17, 49, 97) for k in (63, 64, 65, 257)]
    + [(m, k, n) for m in (2, 7, 8, 16, 33) for k in (1, 15, 16, 17, 65, 257) for n in (1, 2, 4)]
)
OFFSETS = [0, 1, 5]


def operands(shape: tuple[int, int, int], seed: int = 0) -> tuple[Array, Array, Array]:
    m, k, n = shape
    rng = np.random.default_rng(seed)
    return tuple(rng.normal(size=s).astype(np.float32) for s in ((m, k), (k, n), (n,)))  # type: ignore[return-value]  # three


def forward(
    kernels: Kernels, activation: str, x: Array, w: Array, bias: Array | None, *, offset: int = 0
) -> Array:
    out = place(np.zeros((len(x), w.shape[1])), offset)
    # Only k columns of x may be read.
    padded_bias = None if bias is None else place(bias)
    kernels.dense_forward(activation, place(x, offset, np.nan), place(w, offset), padded_bias, out)
    return out.copy()


def backward_input(
    kernels: Kernels, activation: str, dz: Array, w: Array, saved: Array, *, offset: int = 0
) -> Array:
    dx = place(np.zeros_like(saved), offset)
    # Only the columns of dz and the kernel may be read.
    dz, w = place(dz, offset, np.nan), place(w, offset, np.nan)
    kernels.dense_backward_input(activation, dz, w, place(saved, offset), dx)
    return dx.copy()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_forward_is_the_contract_to_the_bit(shape: tuple[int, int, int]) -> None:
    x, w, bias = operands(shape)
    want = layer_product(x, w, bias)
    for offset in OFFSETS:
        assert same_bits(agreed(lambda ks, o=offset: [forward(ks, "linear", x, w, bias, offset=o)])[0], want)
    assert (np.abs(want - (x.astype(float) @ w + bias)) <= product_bound(x, w) + U * np.abs(want)).all()


@pytest.mark.parametrize("activation", FUSED)
@pytest.mark.parametrize("shape", [(1, 17, 33), (7, 257, 19), (9, 3, 1)], ids=str)
def test_forward_applies_the_activation(activation: str, shape: tuple[int, int, int]) -> None:
    x, w, bias = operands(shape)
    for b in (None, bias):
        z = forward(KERNELS[0], "linear", x, w, b)
        (y,) = agreed(lambda ks, b=b: [forward(ks, activation, x, w, b)])
        assert same_bits(y, unary(activation, z.ravel()).reshape(z.shape))
        exact = x.astype(float) @ w + (0 if b is None else b)
        bound = product_bound(x, w) + U * np.abs(exact)
        assert (np.abs(y - ACTIVATIONS[activation](exact)) <= bound).all()


# (units, columns, batch): more units than are summed together; many columns, with which fewer units are summed together;
# few and more samples, with whole and partial panels of one chain and of several
FEW_SAMPLES = [(64, 64, 8), (16, 112, 7), (47, 90, 8), (33, 320, 5), (20, 259, 2), (70, 2000, 8)]
SEVERAL_PANELS = [
    (300, 32, 4),
    (130, 64, 8),
    (250, 33, 4),
    (171, 48, 33),
    (90, 96, 8),
    (70, 300, 8),
    (35, 700, 3),
]
SEVERAL_PANELS += [
    (300, 64, 32),
    (31, 600, 40),
    (10, 1000, 20),
    (45, 1100, 130),
    (257, 33, 16),
    (300, 64, 33),
]


@pytest.mark.parametrize(
    "shape",
    [*SHAPES, (150, 300, 33), (70, 2100, 17), (35, 8300, 3), (35, 8300, 9), *FEW_SAMPLES, *SEVERAL_PANELS],
    ids=str,
)
def test_backward_input_is_the_contract_to_the_bit(shape: tuple[int, int, int]) -> None:
    """Its tiles have units as rows and samples as columns, except for narrow layers and few samples."""
    k, n, m = shape
    dz, wt, _ = operands((m, n, k))
    saved = np.zeros((m, k), np.float32)
    want = input_gradient(dz, wt.T)
    for offset in OFFSETS:
        (got,) = agreed(lambda ks, o=offset: [backward_input(ks, "linear", dz, wt.T, saved, offset=o)])
        assert same_bits(got, want)


@pytest.mark.parametrize("activation", FUSED)
@pytest.mark.parametrize("shape", [(1, 33, 17), (7, 19, 257), (17, 1, 3)], ids=str)
def test_backward_input_multiplies_by_the_derivative(activation: str, shape: tuple[int, int, int]) -> None:
    m, k, n = shape
    dz, wt, _ = operands((m, n, k))
    saved = np.random.default_rng(1).uniform(0, 1, (m, k)).astype(np.float32)
    (dx,) = agreed(lambda ks: [backward_input(ks, activation, dz, wt.T, saved)])
    product = input_gradient(dz, wt.T)
    slope = unary(f"{activation}_gradient", saved.ravel()).reshape(saved.shape)
    assert same_bits(dx, product * slope)


SGD = {"kind": "sgd", "momentum": 0.0, "nesterov": False}


def stepped(
    kernels: Kernels,
    optimizer: dict[str, Any],
    x: Array,
    dz: Array,
    start: tuple[Array, Array | None],
    **step: Any,
) -> list[Array]:
    """Returns [kernel, bias, their slots ...] after `steps` steps with the same gradient."""
    w, bias = start
    kernel, slots = place(w, step.get("offset", 0)), slot_count(optimizer)
    kernel_slots = [place(np.zeros_like(w), step.get("offset", 0)) for _ in range(slots)]
    b = None if bias is None else place(bias)
    bias_slots = [] if bias is None else [place(np.zeros_like(bias)) for _ in range(slots)]
    xs, dzs = (place(v, step.get("offset", 0)) for v in (x, dz))
    for iteration in range(1, step.get("steps", 1) + 1):
        kernels.dense_backward_weights(
            for_core(optimizer, [w] if bias is None else [w, bias]),
            xs,
            dzs,
            kernel,
            kernel_slots,
            b,
            bias_slots,
            step["lr"],
            iteration,
            step.get("l2", 0.0),
        )
    return [a.copy() for a in (kernel, *([] if b is None else [b]), *kernel_slots, *bias_slots)]


# (units, batch, columns): more units than are summed together in a long batch, and than are stepped together for one
# sample
@pytest.mark.parametrize(
    "shape",
    [*SHAPES, (213, 600, 70), *((units, 1, n) for units in (8, 9, 33) for n in (1, 5, 64, 130))],
    ids=str,
)
def test_weight_gradient_is_the_contract_to_the_bit(shape: tuple[int, int, int]) -> None:
    """A step of SGD with learning rate 1 from zero weights gives the negative gradient."""
    units, m, n = shape
    xt, dz, _ = operands((units, m, n))
    zeros = np.zeros((units, n), np.float32), np.zeros(n, np.float32)
    want, want_bias = chained_product(xt, dz), chained_product(np.ones((1, m), np.float32), dz)[0]
    for offset in OFFSETS:
        run = agreed(lambda ks, o=offset: stepped(ks, SGD, xt.T, dz, zeros, lr=1.0, offset=o))
        np.testing.assert_array_equal(-run[0], want)
        np.testing.assert_array_equal(-run[1], want_bias)


def test_l2_without_a_bias() -> None:
    rng = np.random.default_rng(2)
    x, dz, w = (rng.normal(size=shape).astype(np.float32) for shape in ((9, 5), (9, 17), (5, 17)))
    (got,) = agreed(lambda ks: stepped(ks, SGD, x, dz, (w, None), lr=0.5, l2=0.01))
    gradient = x.T.astype(float) @ dz + 2 * 0.01 * w
    want = w - 0.5 * gradient
    # Roundings: the product, 2 l2 in float32, the two fma.
    bound = 0.5 * (product_bound(x.T, dz) + U * np.abs(0.02 * w) + U * np.abs(gradient)) + U * np.abs(want)
    assert (np.abs(got - want) <= bound).all()


OPTIMIZERS = {
    "sgd": SGD,
    "momentum": {"kind": "sgd", "momentum": 0.9, "nesterov": False},
    "nesterov": {"kind": "sgd", "momentum": 0.9, "nesterov": True},
    "adam": {"kind": "adam", "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7},
    "adam_large_epsilon": {"kind": "adam", "beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-2},
}


@pytest.mark.parametrize("columns", [1, 21, 64])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_steps(name: str, columns: int) -> None:
    optimizer, steps, lr = OPTIMIZERS[name], 12, 0.01
    rng = np.random.default_rng(3)
    x, dz, w0, b0 = (
        rng.normal(size=s).astype(np.float32) for s in ((1, 19), (1, columns), (19, columns), columns)
    )
    got = agreed(lambda ks: stepped(ks, optimizer, x, dz, (w0, b0), lr=lr, steps=steps))
    for value, start, gradient in ((got[0], w0, x.T * dz), (got[1], b0, dz[0])):
        w, g = start.astype(float), gradient.astype(float)
        slots = [np.zeros_like(w) for _ in range(slot_count(optimizer))]
        bound = np.zeros_like(w)
        for step in range(1, steps + 1):
            before = w.copy()
            update(optimizer, w, g, slots, learning_rate=lr, step=step)
            # The gradient is the same in every step, so slots only grow: after t steps of 3 roundings each (4 with
            # the rounded decay) they are 4 t U off; the update itself takes at most 6 roundings more.
            bound += (4 * step + 6) * U * np.abs(w - before) + U * np.abs(w)
        assert (np.abs(value - w) <= bound).all()


@pytest.mark.parametrize("columns", [1, 37])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_decay_shortens_the_weights_before_the_step(name: str, columns: int) -> None:
    plain, lr = OPTIMIZERS[name], 0.01
    rng = np.random.default_rng(4)
    x, dz, w, b = (
        rng.normal(size=s).astype(np.float32) for s in ((9, 19), (9, columns), (19, columns), columns)
    )
    decayed = {**plain, "kernel_decay": 0.3, "bias_decay": 0.7}
    shorter = fma32(-np.float32(lr * 0.3), w, w), fma32(-np.float32(lr * 0.7), b, b)
    got = agreed(lambda ks: stepped(ks, decayed, x, dz, (w, b), lr=lr))
    want = agreed(lambda ks: stepped(ks, plain, x, dz, shorter, lr=lr))
    assert all(same_bits(one, other) for one, other in zip(got, want, strict=True))


def test_an_l2_penalty_sees_the_weights_before_they_decay() -> None:
    rng = np.random.default_rng(5)
    x, dz, w = (rng.normal(size=s).astype(np.float32) for s in ((9, 5), (9, 17), (5, 17)))
    (got,) = agreed(lambda ks: stepped(ks, {**SGD, "kernel_decay": 0.5}, x, dz, (w, None), lr=0.5, l2=0.01))
    gradient = fma32(np.float32(0.02), w, chained_product(x.T, dz))
    assert same_bits(got, fma32(np.float32(-0.5), gradient, fma32(np.float32(-0.25), w, w)))


@pytest.mark.parametrize("name", [n for n in OPTIMIZERS if n != "sgd"])
def test_state_below_two_to_the_minus_100_becomes_zero(name: str) -> None:
    optimizer = OPTIMIZERS[name]
    x, dz = np.zeros((1, 1), np.float32), np.zeros((1, 8), np.float32)
    # The decay of .8 to .999 takes 1 below the limit and leaves 1.5 above it.
    start = 2.0**-100 * np.array([0, 0.5, 0.99, 1.0, 1.5, -0.5, -1.0, -1.5])

    def run(kernels: Kernels) -> list[Array]:
        kernel = place(np.ones((1, 8)))
        slots = [place(np.abs(start)[None] if i else start[None]) for i in range(slot_count(optimizer))]
        kernels.dense_backward_weights(optimizer, x, place(dz), kernel, slots, None, [], 0.1, 1, 0.0)
        return [s.copy() for s in slots]

    for slot in agreed(run):
        np.testing.assert_array_equal(slot[0] == 0, [True, True, True, True, False, True, True, False])


@pytest.mark.parametrize("activation", FUSED)
def test_a_row_does_not_depend_on_the_others(activation: str) -> None:
    x, w, bias = operands((40, 300, 37))
    saved = np.random.default_rng(1).uniform(0, 1, x.shape).astype(np.float32)
    whole = agreed(lambda ks: [forward(ks, activation, x, w, bias)])[0]
    for kernels in KERNELS:
        for rows in (slice(0, 1), slice(18, 19), slice(2, 4), slice(3, 16)):
            assert same_bits(forward(kernels, activation, x[rows], w, bias), whole[rows])
    back = agreed(lambda ks: [backward_input(ks, activation, whole, w, saved)])[0]
    for kernels in KERNELS:
        for rows in (slice(0, 1), slice(2, 10), slice(3, 12), slice(23, 40)):
            assert same_bits(backward_input(kernels, activation, whole[rows], w, saved[rows]), back[rows])


@pytest.mark.parametrize("activation", FUSED)
def test_nan_and_infinity_stay_visible(activation: str) -> None:
    x = np.ones((4, 3), np.float32)
    x[1, 2], x[2, 0] = np.nan, np.inf
    w = np.ones((3, 17), np.float32)
    (y,) = agreed(lambda ks: [forward(ks, activation, x, w, None)])
    np.testing.assert_array_equal(np.isnan(y).all(axis=1), [False, True, False, False])
    np.testing.assert_array_equal(y[2], np.inf)


def test_a_sum_that_underflows_is_plus_zero() -> None:
    """Every product ends with + 0, as otherwise code that skips zeros would differ in the sign of zero."""
    minus, tiny = np.full((3, 1), -1e-30, np.float32), np.full((1, 5), 1e-20, np.float32)
    assert same_bits(agreed(lambda ks: [forward(ks, "linear", minus, tiny, None)])[0], np.zeros((3, 5)))
    saved = np.zeros((3, 5), np.float32)
    assert same_bits(agreed(lambda ks: [backward_input(ks, "linear", minus, tiny.T, saved)])[0], saved)


def test_zero_inputs_leave_no_trace() -> None:
    """Skipping zeros is exact: a column of zeros with any signs changes no bit of the result."""
    x, w, bias = operands((9, 40, 17))
    x[:, 10:30] = 0
    x[::2] = -np.abs(x[::2])
    want = agreed(lambda ks: [forward(ks, "linear", x, w, bias)])[0]
    kept = np.r_[0:10, 30:40]
    assert same_bits(agreed(lambda ks: [forward(ks, "linear", x[:, kept], w[kept], bias)])[0], want)


@pytest.mark.parametrize(("bias", "decays"), [(None, [0.1, 0.1]), (np.zeros(3, np.float32), [0.1])])
def test_decays_are_those_of_kernel_and_bias(bias: Array | None, decays: list[float]) -> None:
    w = place(np.zeros((2, 3)))
    optimizer = {"kind": "sgd", "momentum": 0.0, "decays": decays}
    with pytest.raises(ValueError, match=f"'decays' must hold {3 - len(decays)} numbers, got {len(decays)}"):
        KERNELS[0].dense_backward_weights(
            optimizer, place(np.ones((4, 2))), place(np.ones((4, 3))), w, (), bias, (), 0.1, 1, 0.0
        )
