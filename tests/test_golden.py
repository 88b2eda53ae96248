"""Whole training steps of small networks against the float64 reference, for every loss and optimizer."""

from __future__ import annotations

from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from optimizer_cases import RULES, WITH_OPTIONS, as_formula
from reference import ACTIVATIONS, Network, dense, loss_rows, metric_rows, one_hot
from reference_optimizers import for_core, read_slots

from engine import _core

Array = NDArray[Any]
Spec = dict[str, Any]

INPUTS, OUTPUTS, ROWS, BATCH = 13, 5, 75, 8
BATCHES = 10  # nine of 8 rows and one of 3
LEARNING_RATES = 0.05 * 0.9 ** np.arange(BATCHES)


def activation(name: str) -> Spec:
    return {"kind": "activation", "activation": name}


# The layers before the last dense one, which has OUTPUTS units.
HIDDEN = {
    "none": [],
    "relu_tanh": [dense(33, "relu", l2=0.01), dense(17, "tanh")],
    "sigmoid_silu": [dense(33, "sigmoid"), dense(17, "silu", bias=False, l2=0.02)],
    "softmax_inside": [dense(33, "softmax"), dense(17, "linear")],
    "separate_activations": [
        {"kind": "rescaling", "scale": 0.5, "offset": -0.25},
        dense(33, "linear"),
        activation("silu"),
        {"kind": "rescaling", "scale": 2.0, "offset": 0.125},
        dense(17, "linear", bias=False),
        activation("tanh"),
        activation("sigmoid"),
    ],
    "across_panels": [dense(130, "tanh", l2=0.01), dense(65, "sigmoid")],
    "several_panels": [dense(250, "relu", l2=0.01), dense(41, "tanh")],
    "first_frozen": [dense(33, "relu", l2=0.01, trainable=False), dense(17, "silu")],
    "middle_frozen": [dense(33, "silu"), dense(17, "tanh", l2=0.01, trainable=False)],
}

rng = np.random.default_rng(11)
X = rng.normal(size=(ROWS, INPUTS)).astype(np.float32)
LABELS = rng.integers(0, OUTPUTS, ROWS).astype(np.int32)
ONE_HOT = one_hot(LABELS, OUTPUTS, np.float32)
MULTI_HOT = rng.integers(0, 2, (ROWS, OUTPUTS)).astype(np.float32)
REAL = rng.normal(size=(ROWS, OUTPUTS)).astype(np.float32)
WEIGHT = rng.uniform(0.2, 2, ROWS).astype(np.float32)


class Case(NamedTuple):
    kind: str
    y: Array
    last: str
    from_logits: bool = False
    smoothing: float = 0.0

    @property
    def spec(self) -> Spec:
        return {"kind": self.kind, "from_logits": self.from_logits, "label_smoothing": self.smoothing}


LOSSES = {
    "sparse": Case("sparse_categorical_crossentropy", LABELS, "softmax"),
    "sparse_from_logits": Case("sparse_categorical_crossentropy", LABELS, "linear", from_logits=True),
    "sparse_of_sigmoid": Case("sparse_categorical_crossentropy", LABELS, "sigmoid"),
    "categorical": Case("categorical_crossentropy", ONE_HOT, "softmax", smoothing=0.1),
    "categorical_from_logits": Case("categorical_crossentropy", ONE_HOT, "linear", from_logits=True),
    "categorical_of_sigmoid": Case("categorical_crossentropy", ONE_HOT, "sigmoid", smoothing=0.1),
    "binary": Case("binary_crossentropy", MULTI_HOT, "sigmoid", smoothing=0.2),
    "binary_from_logits": Case("binary_crossentropy", MULTI_HOT, "linear", from_logits=True),
    "binary_of_softmax": Case("binary_crossentropy", MULTI_HOT, "softmax"),
    "mean_squared_error": Case("mean_squared_error", REAL, "linear"),
    "mean_squared_error_of_softmax": Case("mean_squared_error", ONE_HOT, "softmax"),
    "mean_squared_error_of_silu": Case("mean_squared_error", REAL, "silu"),
}
# The core orthogonalises every matrix, so that no layers can be left out.
OPTIMIZERS: dict[str, Spec] = {
    f"{name} {options}": as_formula(name, options)
    for name, options in [*RULES, *WITH_OPTIONS]
    if "exclude_layers" not in options
}
SGD, ADAM = as_formula("SGD", {}), as_formula("Adam", {})
NESTEROV = as_formula("SGD", {"momentum": 0.9, "nesterov": True})


def initial(layers: list[Spec]) -> list[Array]:
    draw, width, variables = np.random.default_rng(5), INPUTS, []
    for layer in layers:
        if layer["kind"] == "dense":
            variables.append(draw.normal(size=(width, layer["units"])) / np.sqrt(width))
            width = layer["units"]
            if layer["use_bias"]:
                variables.append(draw.normal(size=width) * 0.1)
    return [v.astype(np.float32) for v in variables]


def metrics_of(case: Case) -> list[Spec]:
    if case.y is LABELS:
        kinds = ["sparse_categorical_accuracy"]
    else:
        kinds = ["categorical_accuracy", "binary_accuracy", "mean_squared_error"]
    return [{"kind": k, "weighted": w, "threshold": 0.5} for k in kinds for w in (False, True)]


class Trained(NamedTuple):
    variables: list[Array]
    slots: list[Array]
    loss: float


def by_engine(
    layers: list[Spec], case: Case, optimizer: Spec, weight: Array | None
) -> tuple[Trained, _core.Program]:
    program = _core.Program(INPUTS, layers)
    program.write_variables(initial(layers))
    program.compile(case.spec, for_core(optimizer, program.variables), metrics_of(case))
    run = program.begin("train", _core.Dataset(X, case.y, weight), BATCH)
    assert run.batches == BATCHES
    run.advance(0, BATCHES, LEARNING_RATES)
    assert program.state.iterations == BATCHES
    assert run.totals.samples == ROWS
    slots = read_slots(program)
    for variable, own in zip(program.variables, slots, strict=True):
        assert all(slot.shape == variable.shape for slot in own)
    variables = [v.copy() for v in program.variables]
    return Trained(variables, [s for own in slots for s in own], run.totals.loss), program


def by_reference(
    layers: list[Spec], case: Case, optimizer: Spec, weight: Array | None, dtype: Any
) -> tuple[Trained, Network]:
    net = Network(layers, initial(layers), case.spec, optimizer, dtype)
    total = 0.0
    for i, learning_rate in enumerate(LEARNING_RATES):
        rows = slice(i * BATCH, min((i + 1) * BATCH, ROWS))
        w = None if weight is None else weight[rows]
        total += net.train_step(X[rows], case.y[rows], learning_rate, w) * (rows.stop - rows.start)
    return Trained(net.variables, [s for own in net.slots for s in own], total / ROWS), net


# The same formulas in float32 NumPy differ from the engine only in the order of operations, so their distance
# from float64 measures what rounding does to this very training run. Another order spreads that distance: the
# errors of a sum of n terms add up to anything between sqrt(n) and n roundings, n = 8 rows here, and NumPy's own
# order changes with the CPU, hence twice that. The floor is one rounding for each of the ten updates.
ORDER = 2 * BATCH
FLOOR = BATCHES * 2.0**-24
# No case may have a large tolerance. Adam has the largest, as it divides gradients near zero by their magnitude.
LARGEST_TOLERANCE = 4e-4


def close(name: str, got: Array, exact: Array, rounded: Array) -> None:
    tolerance = ORDER * np.abs(rounded - exact).max() + FLOOR * max(np.abs(exact).max(), 1e-3)
    assert tolerance <= LARGEST_TOLERANCE * max(np.abs(exact).max(), 1.0), (
        f"{name}: too sensitive to rounding"
    )
    error = np.abs(got - exact).max()
    assert error <= tolerance, f"{name}: error {error:.2g}, tolerance {tolerance:.2g}"


def check(hidden: str, loss: str, rule: Spec, weight: Array | None) -> None:
    case = LOSSES[loss]
    layers = [*HIDDEN[hidden], dense(OUTPUTS, case.last)]
    got, program = by_engine(layers, case, rule, weight)
    exact, net = by_reference(layers, case, rule, weight, np.float64)
    rounded, net32 = by_reference(layers, case, rule, weight, np.float32)
    for part in ("variables", "slots"):
        parts = zip(getattr(got, part), getattr(exact, part), getattr(rounded, part), strict=True)
        for i, (a, b, c) in enumerate(parts):
            close(f"{part}[{i}]", a, b, c)
    close("loss", *(np.array([t.loss]) for t in (got, exact, rounded)))
    evaluate(program, net, net32, case, weight)


def evaluate(program: _core.Program, net: Network, net32: Network, case: Case, weight: Array | None) -> None:
    """Compares predictions, loss and metrics of the trained weights with the reference."""
    y_pred = program.predict(X)
    close("predictions", y_pred, net.predict(X), net32.predict(X))
    run = program.begin("evaluate", _core.Dataset(X, case.y, weight), BATCH)
    run.advance(0, run.batches)
    assert program.state.iterations == BATCHES, "evaluation takes no steps"
    losses = []
    for n in (net, net32):
        terms, _ = n.gradients(X, case.y, weight)
        losses.append(np.array([terms]))
    close("evaluated loss", np.array([run.totals.loss]), *losses)
    # Metrics are computed from the engine's predictions, as a prediction near a threshold could differ otherwise.
    for spec, (total, count) in zip(metrics_of(case), run.totals.metrics, strict=True):
        rows = metric_rows(spec, y_pred.astype(float), case.y)
        want = np.average(rows, weights=weight if spec["weighted"] else None)
        assert total / count == pytest.approx(want, rel=10 * 2.0**-24), spec


@pytest.mark.parametrize("loss", ["sparse", "mean_squared_error_of_silu"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_ten_steps_of_every_optimizer(optimizer: str, loss: str) -> None:
    check("relu_tanh", loss, OPTIMIZERS[optimizer], WEIGHT)


@pytest.mark.parametrize(
    "optimizer", [SGD, NESTEROV, ADAM, {**ADAM, "accumulate": 2}], ids=itemgetter("kind")
)
@pytest.mark.parametrize("loss", LOSSES)
def test_ten_steps_for_every_loss(loss: str, optimizer: Spec) -> None:
    check("relu_tanh", loss, optimizer, WEIGHT)


@pytest.mark.parametrize(
    ("name", "options"),
    [("SGD", {"clipnorm": 0.05}), ("Lamb", {}), ("Adafactor", {}), ("Muon", {}), ("Adam", {"use_ema": True})],
    ids=str,
)
def test_ten_steps_of_rules_for_whole_matrices(name: str, options: Spec) -> None:
    check("several_panels", "mean_squared_error", as_formula(name, options), WEIGHT)


@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("loss", ["sparse", "mean_squared_error", "binary_from_logits"])
def test_ten_steps_of_other_networks(hidden: str, loss: str) -> None:
    check(hidden, loss, NESTEROV, None)
    check(hidden, loss, ADAM, WEIGHT)


def test_a_program_without_layers_of_weights() -> None:
    x = np.abs(X[:, :OUTPUTS]).copy()
    for name, value in ACTIVATIONS.items():
        program = _core.Program(OUTPUTS, [activation(name)])
        program.compile(LOSSES["mean_squared_error"].spec, SGD, [])
        run = program.begin("evaluate", _core.Dataset(x, REAL), BATCH)
        run.advance(0, run.batches)
        want, _ = loss_rows(LOSSES["mean_squared_error"].spec, value(x.astype(float)), REAL)
        assert run.totals.loss == pytest.approx(want.mean(), rel=1e-6), name


def test_slots_and_iterations_start_again_with_compile() -> None:
    layers = [dense(OUTPUTS, "softmax")]
    _, program = by_engine(layers, LOSSES["sparse"], ADAM, None)
    weights = [v.copy() for v in program.variables]
    program.compile(LOSSES["sparse"].spec, ADAM, [])
    assert program.state.iterations == 0
    assert all(not slot.any() for slots in read_slots(program) for slot in slots)
    for before, after in zip(weights, program.variables, strict=True):
        np.testing.assert_array_equal(before, after)
