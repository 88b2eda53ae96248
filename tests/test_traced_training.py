"""Predictions, losses and gradients of traced networks against NumPy in float64, for batches of several sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from common import assert_all_close, assert_all_equal, compiled
from numpy.typing import NDArray
from traces import B, Trace

from engine import _core

Array = NDArray[Any]
Spec = dict[str, Any]

ROWS, BATCH, INPUTS, HIDDEN, OUTPUTS = 75, 32, 100, 64, 3
SHAPES = [(INPUTS, HIDDEN), (HIDDEN,), (2, OUTPUTS), (4, 1, 5)]
SGD = {"kind": "sgd", "momentum": 0.0, "nesterov": False}


def network(trace: Trace) -> int:
    """Records a function that uses most operations, among them some that mix samples."""
    x = trace.input((B, INPUTS))
    w, b, v, c = (trace.variable(*shape) for shape in SHAPES)
    h = trace.product("bi,ij->bj", x, w).map("add", b).map("tanh")
    samples = trace.code([], (), ("samples", [], 0.0))
    mean = h.reduce("sum", 0).map("divide", samples)
    h = h.map("subtract", mean, shape=(B, HIDDEN))
    half = HIDDEN // 2
    turned = trace.add("slice", [h], (B, half), begin=[[0, 0], [HIDDEN - 1, 0]], step=[1, -2])
    both = trace.add("join", [h.map("multiply", 0.5), turned], (B, HIDDEN + half), axis=1)
    pairs = trace.add("transpose", [both.reshape(B, 2, 3 * half // 2)], (B, 3 * half // 2, 2), axes=[0, 2, 1])
    s = trace.product("bik,kj->bij", pairs, v).map("softplus")
    sums = trace.add("cumulative_sum", [s], s.shape, axis=1, reverse=True)
    places = s.reduce("argmax", 1).reshape(B, OUTPUTS)
    p = sums.reduce("max", 1).map("multiply", 0.05).map("add", places.map("multiply", 1e-3))
    # Each sample also gets the output of the next one, and the last one that of the first.
    later = trace.add("slice", [p], ((1, B, -1), OUTPUTS), begin=[[1, 0], [0, 0]], step=[1, 1])
    first = trace.add("slice", [p], (1, OUTPUTS), begin=[[0, 0], [0, 0]], step=[1, 1])
    shifted = trace.add("join", [later, first], (B, OUTPUTS), axis=0)
    row = c.reshape(20).reduce("sum", 0).map("multiply", 0.1)
    factors = c.map("exp").reshape(4, 5).reduce("prod", 1).map("log1p").reduce("sum", 0)
    y = p.map("add", shifted.map("multiply", row)).map("multiply", factors)
    return y.number


def reference(variables: list[Array], x: Array) -> Array:
    w, b, v, c = variables
    h = np.tanh(x @ w + b)
    h = h - h.mean(axis=0)
    both = np.concatenate([h * 0.5, h[:, ::-2]], axis=1)
    s = np.logaddexp(0, both.reshape(len(x), 2, -1).transpose(0, 2, 1) @ v)
    p = np.cumsum(s[:, ::-1], axis=1).max(axis=1) * 0.05 + s.argmax(axis=1) * 1e-3
    shifted = np.roll(p, -1, axis=0)
    return (p + shifted * (c.sum() * 0.1)) * np.log1p(np.exp(c).reshape(4, 5).prod(axis=1)).sum()


def initial() -> list[Array]:
    draw = np.random.default_rng(1)
    return [(draw.normal(size=shape) * 0.2).astype(np.float32) for shape in SHAPES]


rng = np.random.default_rng(0)
X = rng.normal(size=(ROWS, INPUTS)).astype(np.float32)
Y = (rng.normal(size=(ROWS, OUTPUTS)) + 5).astype(np.float32)
WEIGHT = rng.uniform(0.2, 2, ROWS).astype(np.float32)


def squares(single: bool) -> Spec:
    """The loss: mean squares of each row, or their mean over the batch."""
    trace = Trace()
    y, y_pred = trace.input((B, OUTPUTS)), trace.input((B, OUTPUTS), 1)
    error = y_pred.map("subtract", y)
    value = error.map("multiply", error).reduce("sum", 1).map("multiply", 1 / OUTPUTS)
    if single:
        samples = trace.code([], (), ("samples", [], 0.0))
        value = value.reduce("sum", 0).map("divide", samples)
    return {"kind": "traced", "nodes": trace.nodes, "value": value.number}


LOSSES: list[tuple[Spec, Callable[[Array, Array], float]]] = [
    ({**squares(False)}, lambda rows, weight: float((rows * weight).mean())),
    ({**squares(False), "reduction": "sum"}, lambda rows, weight: float((rows * weight).sum())),
    (
        {**squares(False), "reduction": "weighted_mean", "weight": 0.5},
        lambda rows, weight: float(0.5 * (rows * weight).sum() / weight.sum()),
    ),
    ({**squares(True)}, lambda rows, weight: float(rows.mean() * weight.mean())),
]


def program_of(loss: Spec) -> _core.Program:
    trace = Trace()
    network(trace)
    program = _core.Program(INPUTS, trace.nodes)
    program.write_variables(initial())
    return compiled(program, loss, SGD, [])


@pytest.fixture(autouse=True, params=[1, 2, 3], ids="{} threads".format)
def threads(request: pytest.FixtureRequest) -> Any:
    _core.set_threads(request.param)
    yield request.param
    _core.set_threads(0)


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
@pytest.mark.parametrize(("loss", "formula"), LOSSES, ids=["rows", "sum", "weighted mean", "single"])
def test_losses_and_gradients(
    loss: Spec, formula: Callable[[Array, Array], float], weight: Array | None
) -> None:
    program = program_of(loss)
    run = program.begin("train", _core.Dataset(X, Y, weight), BATCH)
    weights = np.ones(ROWS) if weight is None else weight.astype(float)
    total = 0.0
    for batch in range(3):  # the last one has 11 samples
        program.write_variables(initial())
        run.advance(batch, batch + 1, np.ones(1))
        rows = slice(batch * BATCH, (batch + 1) * BATCH)
        exact = [v.astype(float) for v in initial()]

        def value(variables: list[Array], rows: slice = rows) -> float:
            error = reference(variables, X[rows].astype(float)) - Y[rows]
            return formula((error**2).mean(axis=1), weights[rows])

        total += value(exact) * len(X[rows])
        assert run.totals.loss == pytest.approx(total / min(ROWS, (batch + 1) * BATCH), rel=1e-4)
        gradients = [a - b for a, b in zip(exact, program.variables, strict=True)]
        draw, step = np.random.default_rng(batch), 1e-6
        for i, gradient in enumerate(gradients):
            for _ in range(4):
                direction = draw.normal(size=gradient.shape)
                ends = []
                for sign in (-1, 1):
                    moved = [v + (sign * step * direction if k == i else 0) for k, v in enumerate(exact)]
                    ends.append(value(moved))
                slope = (ends[1] - ends[0]) / (2 * step)
                scale = np.linalg.norm(gradient) * np.linalg.norm(direction) / np.sqrt(gradient.size)
                assert (gradient * direction).sum() == pytest.approx(slope, rel=1e-3, abs=1e-3 * scale)


def test_the_number_of_threads_changes_no_bit(threads: int) -> None:
    def train() -> list[Array]:
        program = program_of(LOSSES[0][0])
        for epoch in range(4):
            run = program.begin("train", _core.Dataset(X, Y, WEIGHT), BATCH, "rows", 5, epoch)
            run.advance(0, 3, np.full(3, 1e-3))
        return program.variables

    several = train()
    _core.set_threads(1)
    assert_all_equal(several, train())


def test_predictions_of_networks_that_do_not_mix_samples() -> None:
    trace = Trace()
    x = trace.input((B, INPUTS))
    w, b = trace.variable(INPUTS, HIDDEN), trace.variable(HIDDEN)
    h = trace.product("bi,ij->bj", x, w).map("add", b).map("sin")
    normed = h.map("subtract", h.reduce("max", 1).reshape(B, 1)).map("exp")
    normed.map("divide", normed.reduce("sum", 1).reshape(B, 1))
    program = _core.Program(INPUTS, trace.nodes)
    program.write_variables(initial()[:2])
    got = program.predict(X)
    want = np.exp(np.sin(X.astype(float) @ initial()[0] + initial()[1]))
    want /= want.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(got.reshape(want.shape), want, rtol=3e-6)


def test_targets_that_are_class_indices() -> None:
    labels = np.random.default_rng(3).integers(0, OUTPUTS, ROWS).astype(np.int32)
    trace = Trace()
    y, y_pred = trace.input((B, 1)), trace.input((B, OUTPUTS), 1)
    chosen = trace.add("gather", [y_pred, y], (B, 1), batch_axes=1).reshape(B)
    value = y_pred.map("exp").reduce("sum", 1).map("log").map("subtract", chosen)
    loss = {"kind": "traced", "nodes": trace.nodes, "value": value.number, "target": "sparse"}
    built_in = {"kind": "sparse_categorical_crossentropy", "from_logits": True}
    trained = []
    for each in (loss, built_in):
        program = program_of(each)
        run = program.begin("train", _core.Dataset(X, labels, WEIGHT), BATCH, "rows", 5, 6)
        run.advance(0, 3, np.full(3, 1e-2))
        trained.append((run.totals.loss, program.variables))
    assert trained[0][0] == pytest.approx(trained[1][0], rel=1e-5)
    assert_all_close(trained[0][1], trained[1][1], rtol=1e-4, atol=1e-5)
