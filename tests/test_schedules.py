"""Tests of learning rate schedules: results of Keras, bounds of their functions, schedules in Python."""

from __future__ import annotations

import decimal
import json
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from conftest import Blobs, classifier
from hypothesis import given
from hypothesis import strategies as st

from engine import optimizers
from engine._base.elementary import cos_pi, power
from engine.optimizers import schedules

U = 2.0**-53
STEPS = (0, 1, 5, 6, 10, 19, 20, 21, 40)

# Class, arguments, and the learning rates that Keras 3.15 (float32) gives at STEPS.
KERAS_RATES: list[tuple[str, dict[str, Any], list[float]]] = [
    (
        "ExponentialDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.96},
        [0.1, 0.099592619, 0.09797959, 0.097580433, 0.096, 0.092536978, 0.09216, 0.091784552, 0.084934644],
    ),
    (
        "ExponentialDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5, "staircase": True},
        [0.1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.025, 0.025, 0.00625],
    ),
    (
        "InverseTimeDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5},
        [0.1, 0.095238104, 0.08, 0.07692308, 0.06666667, 0.051282052, 0.05, 0.04878049, 0.033333335],
    ),
    (
        "InverseTimeDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5, "staircase": True},
        [0.1, 0.1, 0.1, 0.1, 0.06666667, 0.06666667, 0.05, 0.05, 0.033333335],
    ),
    (
        "PiecewiseConstantDecay",
        {"boundaries": [5, 20], "values": [1.0, 0.5, 0.1]},
        [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.1, 0.1],
    ),
    (
        "PolynomialDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 25, "end_learning_rate": 0.01},
        [0.1, 0.0964, 0.082, 0.0784, 0.064, 0.0316, 0.028, 0.0244, 0.01],
    ),
    (
        "PolynomialDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 25, "power": 0.5},
        [0.1, 0.097981609, 0.08945328, 0.087190807, 0.077482209, 0.049040809, 0.044776641, 0.040060006, 1e-4],
    ),
    (
        "PolynomialDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 10, "power": 2.0, "cycle": True},
        [0.1, 0.081018999, 0.025075, 0.016083999, 1e-4, 0.0003497501, 1e-4, 0.009091, 1e-4],
    ),
    (
        "CosineDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 25, "alpha": 0.1},
        [0.1, 0.099645168, 0.091405764, 0.087803595, 0.068905763, 0.022196412, 0.018594233, 0.0155662, 0.01],
    ),
    (
        "CosineDecay",
        {"initial_learning_rate": 0.01, "decay_steps": 20, "warmup_target": 0.1, "warmup_steps": 5},
        [0.01, 0.028, 0.1, 0.09938442, 0.085355341, 0.02061074, 0.014644662, 0.0095491474, 0.0],
    ),
    (
        "CosineDecayRestarts",
        {"initial_learning_rate": 0.1, "first_decay_steps": 6},
        [0.1, 0.093301274, 0.0066987309, 0.1, 0.075, 0.099572241, 0.098296292, 0.096193977, 0.0017037094],
    ),
    (
        "CosineDecayRestarts",
        {"initial_learning_rate": 0.1, "first_decay_steps": 5, "t_mul": 1.0, "m_mul": 0.5, "alpha": 0.1},
        [0.1, 0.091405764, 0.055, 0.050702881, 0.0325, 0.01107428, 0.015625, 0.015087861, 0.010351563],
    ),
    (
        "CosineDecayRestarts",
        {"initial_learning_rate": 0.1, "first_decay_steps": 5, "t_mul": 1.5, "m_mul": 0.8},
        [0.1, 0.090450846, 0.08, 0.076541819, 0.02, 0.0242585, 0.016, 0.0089811347, 0.00017309723],
    ),
]
SCHEDULES = [(getattr(schedules, name)(**arguments), rates) for name, arguments, rates in KERAS_RATES]


@pytest.mark.parametrize(("schedule", "rates"), SCHEDULES, ids=[repr(schedule) for schedule, _ in SCHEDULES])
def test_schedules_are_keras_own(schedule: Any, rates: list[float]) -> None:
    # Tolerance for the few float32 operations of Keras, one of which has numbers as large as the first rate.
    bound = 8 * 2.0**-24 * max(rates)
    got = [schedule(step) for step in STEPS]
    assert all(isinstance(rate, float) for rate in got)
    np.testing.assert_allclose(got, rates, rtol=0, atol=bound)
    np.testing.assert_array_equal(schedule(np.array(STEPS)), got)
    np.testing.assert_array_equal(schedule._rates(5, 20), [schedule(step) for step in range(5, 25)])
    assert len(schedule._rates(3, 0)) == 0


@pytest.mark.parametrize("schedule", [schedule for schedule, _ in SCHEDULES], ids=repr)
def test_schedules_survive_their_config(schedule: Any) -> None:
    config = json.loads(json.dumps(schedules.serialize(schedule)))
    again = schedules.deserialize(config)
    assert type(again) is type(schedule)
    assert again.get_config() == schedule.get_config()
    assert schedules.deserialize(config | {"module": "keras.optimizers.schedules"})._rates(
        0, 50
    ).tobytes() == (schedule._rates(0, 50).tobytes())
    optimizer = optimizers.Adam(schedule)
    assert optimizer.get_config()["learning_rate"] == config
    copy = optimizers.Adam.from_config(optimizer.get_config())
    np.testing.assert_array_equal(copy._learning_rates(30), optimizer._learning_rates(30))
    assert repr(optimizer)


def test_a_restart_does_not_miss_its_step() -> None:
    """Keras computes logarithms in float32, so that some restarts are one step late."""
    schedule = schedules.CosineDecayRestarts(1.0, 10)
    begins = [10 * (2**i - 1) for i in range(20)]
    assert [schedule(begin) for begin in begins] == [1.0] * len(begins)
    assert all(schedule(begin - 1) < 0.5 for begin in begins[1:])


PI = Decimal("3.14159265358979323846264338327950288419716939937510")


def exact_cos_pi(x: float) -> Decimal:
    with decimal.localcontext() as context:
        context.prec = 50
        square, total, term = (PI * Decimal(x)) ** 2, Decimal(1), Decimal(1)
        for k in range(1, 30):
            term *= -square / ((2 * k - 1) * (2 * k))
            total += term
        return total


@given(st.floats(0, 1))
def test_cosine(x: float) -> None:
    assert abs(Decimal(float(cos_pi(x))) - exact_cos_pi(x)) <= Decimal(2 * U)


@given(st.floats(2.0**-300, 2.0**300), st.floats(-3, 3))
def test_power(base: float, exponent: float) -> None:
    with decimal.localcontext() as context:
        context.prec = 50
        size = Decimal(exponent) * Decimal(base).ln()
        error = abs(Decimal(float(power(base, exponent))) / size.exp() - 1)
        assert error <= Decimal(4 * U) * (1 + abs(size))


def test_edges_of_the_elementary_functions() -> None:
    np.testing.assert_array_equal(cos_pi(np.array([0.0, 0.5, 1.0])), [1.0, 0.0, -1.0])
    got = power([0.0, 0.0, 0.0, 1.0, 0.3, 2.0, 0.5], [0.0, 0.3, 2.0, 700.0, 1.0, 10.0, 2000.0])
    np.testing.assert_array_equal(got, [1.0, 0.0, 0.0, 1.0, 0.3, 1024.0, 0.0])
    assert power(0.0, -1.0) == np.inf


class Halving(schedules.LearningRateSchedule):
    def __init__(self, start: float, every: int = 3) -> None:
        self.start = start
        self.every = every
        self.asked: list[int] = []

    def __call__(self, step: int) -> float:
        self.asked.append(step)
        return self.start * 0.5 ** (step // self.every)


def test_a_schedule_in_python_is_asked_once_per_step(blobs: Blobs) -> None:
    schedule = Halving(0.1)
    model = classifier(optimizer=optimizers.SGD(schedule))
    model.fit(blobs.x, blobs.y, epochs=2, verbose=0)
    assert schedule.asked == list(range(10))
    model.fit(blobs.x, blobs.y, epochs=1, verbose=0)
    model.train_on_batch(blobs.x[:32], blobs.y[:32])
    assert schedule.asked == list(range(16))
    assert model.optimizer.learning_rate == schedule(16)
    config = model.optimizer.get_config()["learning_rate"]
    assert (config["class_name"], config["config"]) == ("Halving", {"start": 0.1, "every": 3})
    assert schedules.deserialize(config, {"Halving": Halving})(7) == schedule(7)


def test_a_subclass_of_a_built_in_schedule_has_the_last_word() -> None:
    class Floored(schedules.CosineDecay):
        def __call__(self, step: Any) -> Any:
            return max(super().__call__(step), 0.05)

    rates = optimizers.SGD(Floored(0.1, 10))._learning_rates(20)
    assert rates.min() == 0.05
    assert rates[0] == 0.1


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, r"`Fixed\(0\)` must be a finite number of at least 0, got nan"),
        (-1.0, r"`Fixed\(0\)` must be a finite number of at least 0, got -1"),
        (None, r"`Fixed\(0\)` must be a number, got None"),
    ],
)
def test_a_schedule_that_gives_nonsense(value: Any, message: str, blobs: Blobs) -> None:
    class Fixed(schedules.LearningRateSchedule):
        def __call__(self, step: int) -> Any:
            return value

    model = classifier(optimizer=optimizers.SGD(Fixed()))
    before = model.get_weights()
    with pytest.raises((TypeError, ValueError), match=message):
        model.fit(blobs.x, blobs.y, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    with pytest.raises((TypeError, ValueError), match=message):
        _ = model.optimizer.learning_rate


def test_numbers_of_numpy_are_rates() -> None:
    class Fixed(schedules.LearningRateSchedule):
        def __init__(self, value: Any) -> None:
            self._hidden = value

        def __call__(self, step: int) -> Any:
            return self._hidden

    for value in (np.float32(0.5), np.array(0.5), np.array([0.5]), 1):
        assert optimizers.SGD(Fixed(value)).learning_rate == float(value if np.ndim(value) == 0 else value[0])
    with pytest.raises(TypeError, match="Fixed can't be saved: store each argument of __init__"):
        optimizers.SGD(Fixed(0.5)).get_config()
    assert "Fixed object" in repr(Fixed(0.5))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (schedules.LearningRateSchedule, "abstract"),
        (lambda: schedules.ExponentialDecay(0.1, 0, 0.5), "`decay_steps` must be greater than 0, got 0"),
        (lambda: schedules.CosineDecay(-0.1, 5), "`initial_learning_rate` must be .* at least 0"),
        (lambda: schedules.CosineDecay(0.1, 5, warmup_stps=3), "`warmup_stps`; did you mean 'warmup_steps'"),
        (lambda: schedules.CosineDecayRestarts(0.1, 5, t_mul=0.5), "`t_mul` must be .* at least 1"),
        (lambda: schedules.PiecewiseConstantDecay([1, 2], [0.1]), "got 1 values and 2 boundaries"),
        (lambda: schedules.PiecewiseConstantDecay([2, 1], [0.1, 0.2, 0.3]), "`boundaries` must rise, got"),
        (lambda: schedules.deserialize({"class_name": "CosinDecay"}), "unknown .* 'CosinDecay'"),
    ],
)
def test_bad_arguments(make: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_a_scheduled_rate_is_read_but_not_set(blobs: Blobs) -> None:
    schedule = schedules.PolynomialDecay(0.1, 10, 0.0)
    model = classifier(optimizer=optimizers.SGD(schedule))
    assert model.optimizer.learning_rate == 0.1
    model.fit(blobs.x, blobs.y, verbose=0)
    assert model.optimizer.learning_rate == schedule(5)
    with pytest.raises(TypeError, match=r"created with a `LearningRateSchedule` .* not settable"):
        model.optimizer.learning_rate = 0.1
    model.optimizer.learning_rate = schedules.PolynomialDecay(0.5, 10, 0.0)
    assert model.optimizer.learning_rate == 0.25
    free = optimizers.SGD(0.1)
    free.learning_rate = schedule
    assert free.learning_rate == 0.1
    with pytest.raises(TypeError, match="not settable"):
        free.learning_rate = 0.1
