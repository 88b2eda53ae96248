"""Epochs of a compiled `train_step`: the core runs stretches of batches, with the bits of one batch after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from common import Largest, OwnStep, assert_all_equal, compiled
from optimizer_cases import OPTIONS, RULES, WITH_OPTIONS

import engine as keras
from engine import layers, metrics, ops, optimizers
from engine._core_interface.cpp import Dataset, FunctionSequence, Program, accumulate
from engine.optimizers.variables import Tracked

RNG = np.random.default_rng(11)
X = RNG.normal(size=(203, 6)).astype(np.float32)
LABELS = RNG.integers(0, 3, 203)
ROWS = 20  # in a batch; the last one has 3


class Plain(keras.Model):
    """The `train_step` of the guides."""

    calls = 0

    def train_step(self, data: Any) -> Any:
        self.calls += 1
        x, y, weights = (*data, None)[:3]
        with keras.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(y=y, y_pred=y_pred, sample_weight=weights)
        variables = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            elif weights is None:
                metric.update_state(y, y_pred)
            else:
                metric.update_state(y, y_pred, sample_weight=weights)
        return {metric.name: metric.result() for metric in self.metrics}


class Repeated(Plain):
    """Steps with one optimizer two times for each batch."""

    def train_step(self, data: Any) -> Any:
        x, y = data
        for factor in (1.0, 0.5):
            with keras.GradientTape() as tape:
                y_pred = self(x, training=True)
                loss = factor * self.compute_loss(y=y, y_pred=y_pred)
            variables = self.trainable_variables
            self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return {"loss": loss}


class Pair(keras.Model):
    """Two networks with an optimizer each, and random numbers between them."""

    def __init__(self) -> None:
        super().__init__()
        self.judge = keras.Sequential(
            [keras.Input((6,)), layers.Dense(8, activation="relu"), layers.Dense(1)]
        )
        self.maker = keras.Sequential(
            [keras.Input((2,)), layers.Dense(8, activation="relu"), layers.Dense(6)]
        )
        self.mean = metrics.Mean(name="judged")
        self.seed = keras.random.SeedGenerator(5)

    def train_step(self, real: Any) -> Any:
        rows = ops.shape(real)[0]
        made = self.maker(keras.random.normal((rows, 2), seed=self.seed))
        with keras.GradientTape() as tape:
            loss = ops.mean(ops.softplus(self.judge(made)) + ops.softplus(-self.judge(real)))
        weights = self.judge.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        with keras.GradientTape() as tape:
            made_loss = ops.mean(
                ops.softplus(-self.judge(self.maker(keras.random.normal((rows, 2), seed=self.seed))))
            )
        weights = self.maker.trainable_variables
        self.other.apply_gradients(zip(tape.gradient(made_loss, weights), weights, strict=True))
        self.mean.update_state(loss)
        return {"judged": self.mean.result(), "made": made_loss}


class EachBatch(keras.callbacks.Callback):
    """Watches single batches, so that these run one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.logs: list[dict[str, float]] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.logs.append(dict(logs))


def network(kind: type[keras.Model] = Plain, *, optimizer: Any = "adam", dropout: bool = False) -> Any:
    keras.utils.set_random_seed(4)
    x = keras.Input((6,))
    hidden = layers.Dense(16, activation="relu")(x)
    hidden = layers.Dropout(0.3)(hidden) if dropout else hidden
    model = kind(x, layers.Dense(3, activation="softmax")(hidden))
    model.compile(
        optimizer, "sparse_categorical_crossentropy", metrics=["accuracy", metrics.AUC(name="auc")][:1]
    )
    return model


def trained(make: Callable[[], Any], *data: Any, watched: bool = False, **options: Any) -> Any:
    """Returns history and weights after three epochs."""
    model, callback = make(), EachBatch()
    history = model.fit(
        *data, batch_size=ROWS, epochs=3, verbose=0, callbacks=[callback] if watched else [], **options
    ).history
    return model, history, [np.array(each) for each in model.get_weights()]


def assert_same(make: Callable[[], Any], *data: Any, **options: Any) -> Any:
    """Asserts that stretches and single batches give the same bits. Returns the model that ran stretches."""
    model, history, weights = trained(make, *data, **options)
    other, watched_history, watched_weights = trained(make, *data, watched=True, **options)
    assert not model._eager_steps
    assert history == watched_history
    for one, two in zip(weights, watched_weights, strict=True):
        np.testing.assert_array_equal(one, two)
    if model.optimizer is not None:
        assert model.optimizer.iterations == other.optimizer.iterations
        assert_all_equal(model.optimizer.variables, other.optimizer.variables)
    return model


@pytest.mark.parametrize("shuffle", [True, False, "batch"])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_stretch_has_the_bits_of_its_batches(shuffle: Any, threads: int) -> None:
    keras.config.set_threads(threads)
    try:
        model = assert_same(network, X, LABELS, shuffle=shuffle)
    finally:
        keras.config.set_threads(None)
    assert model.calls == 2, "the step is recorded for batches of 20 and of 3"


@pytest.mark.parametrize(("name", "options"), [*RULES, *WITH_OPTIONS[-len(OPTIONS) :]], ids=str)
def test_optimizers(name: str, options: dict[str, Any]) -> None:
    assert_same(lambda: network(optimizer=getattr(optimizers, name)(**options)), X, LABELS)


def test_schedules() -> None:
    rate = optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)
    assert_same(lambda: network(optimizer=optimizers.SGD(rate)), X, LABELS)


def test_random_layers_draw_anew_in_each_batch() -> None:
    assert_same(lambda: network(dropout=True), X, LABELS)


def test_an_optimizer_that_steps_twice_in_a_batch() -> None:
    model = assert_same(lambda: network(Repeated), X, LABELS)
    assert model.optimizer.iterations == 2 * 11 * 3
    schedule = optimizers.schedules.ExponentialDecay(0.1, 2, 0.7)
    assert_same(lambda: network(Repeated, optimizer=optimizers.SGD(schedule, momentum=0.5)), X, LABELS)


def test_two_networks_with_an_optimizer_each() -> None:
    def make() -> Any:
        keras.utils.set_random_seed(2)
        model = compiled(Pair(), optimizer=optimizers.Adam(0.01))
        model.other = optimizers.RMSprop(0.01)
        return model

    model = assert_same(make, X)
    assert set(model.history.history) == {"judged", "made"}


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float64, np.bool_, np.int16])
def test_dtypes_of_samples(dtype: Any) -> None:
    assert_same(network, (X > 0).astype(dtype), LABELS)


def test_weights_of_samples_and_classes() -> None:
    weights = RNG.uniform(0.5, 2.0, len(X)).astype(np.float32)
    assert_same(network, X, LABELS, sample_weight=weights)
    assert_same(network, X, LABELS, class_weight={0: 1.0, 1: 2.0, 2: 0.5})


def test_arrays_that_are_not_contiguous() -> None:
    assert_same(network, np.asfortranarray(X), LABELS[::-1])


def test_metrics_of_users_see_each_batch() -> None:
    def make() -> Any:
        return compiled(network(), "adam", "sparse_categorical_crossentropy", metrics=[Largest(), "accuracy"])

    model = assert_same(make, X, LABELS)
    largest = next(each for each in model.metrics if isinstance(each, Largest) or each.name == "largest")
    assert 0.3 < float(largest.result()) <= 1.0


def test_metrics_see_targets_as_the_step_passes_them() -> None:
    """In another shape or dtype than those of the batch, and in a step of two parts."""

    class Shaped(keras.Model):
        def train_step(self, data: Any) -> Any:
            x, y = data
            for _ in range(2):
                with keras.GradientTape() as tape:
                    loss = ops.mean(ops.square(self(x)[:, 0] - y))
                weights = self.trainable_variables
                self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
            self.rows.update_state(ops.reshape(y, (-1, 1)), self(x))
            self.whole.update_state(ops.cast(y, "int32"))
            return {"rows": self.rows.result(), "whole": self.whole.result()}

    def make() -> Any:
        keras.utils.set_random_seed(1)
        x = keras.Input((6,))
        model = Shaped(x, layers.Dense(1)(x))
        model.rows, model.whole = metrics.MeanSquaredError(name="rows"), metrics.Mean(name="whole")
        return compiled(model, optimizers.SGD(0.01))

    y = (X[:, 0] * 3).astype(np.float32)
    model = assert_same(make, X, y)
    assert model.history.history["whole"][-1] == pytest.approx(np.mean(y.astype(np.int32)), abs=1e-5)


def test_metrics_of_the_core_see_a_stretch_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, rows = network(), list[int]()
    model.fit(X, LABELS, batch_size=2, epochs=1, verbose=0)

    def counted(metric: Any, predictions: Any, *rest: Any) -> Any:
        rows.append(len(predictions))
        return accumulate(metric, predictions, *rest)

    monkeypatch.setattr("engine.metrics.metric.accumulate", counted)
    model.fit(X, LABELS, batch_size=2, epochs=1, verbose=0)
    assert sum(rows) == len(X)
    assert len(rows) < 60, "102 batches one by one would be 102 calls"


def test_steps_of_an_epoch_and_validation() -> None:
    model, history, _ = trained(network, X, LABELS, steps_per_epoch=3, validation_split=0.2)
    assert model.optimizer.iterations == 9
    assert set(history) == {"accuracy", "loss", "val_accuracy", "val_loss"}
    assert_same(network, X, LABELS, steps_per_epoch=3, validation_split=0.2)


def test_a_test_step_evaluates_stretches() -> None:
    class Tested(keras.Model):
        def test_step(self, data: Any) -> Any:
            x, y = data
            y_pred = self(x, training=False)
            self.distance.update_state(ops.mean(ops.abs(ops.one_hot(y, 3) - y_pred)))
            return {"distance": self.distance.result()}

    model = network(Tested)
    model.distance = metrics.Mean(name="distance")
    found = model.evaluate(X, LABELS, batch_size=ROWS, verbose=0, return_dict=True)["distance"]
    distances = np.abs(np.eye(3)[LABELS] - model.predict(X, verbose=0)).mean(axis=1)
    parts = [distances[first : first + ROWS].mean() for first in range(0, len(X), ROWS)]
    assert found == pytest.approx(np.mean(parts), rel=1e-5)


def test_settings_of_the_optimizer_are_those_after_the_step() -> None:
    class Logged(Plain):
        def train_step(self, data: Any) -> Any:
            logs = super().train_step(data)
            return {**logs, "rate": self.optimizer.learning_rate, "steps": self.optimizer.iterations}

    model = network(Logged, optimizer=optimizers.SGD(optimizers.schedules.ExponentialDecay(0.1, 11, 0.5)))
    history = model.fit(X, LABELS, batch_size=ROWS, epochs=3, verbose=0).history
    assert not model._eager_steps
    assert history["steps"] == [11, 22, 33]
    np.testing.assert_allclose(history["rate"], [0.05, 0.025, 0.0125], rtol=1e-6)


def test_a_step_that_looks_at_the_number_of_steps_runs_as_it_is_written() -> None:
    class Rarely(Plain):
        def train_step(self, data: Any) -> Any:
            logs = super().train_step(data)
            if self.optimizer.iterations % 10 == 0:
                logs["tenth"] = 1.0
            return logs

    model = network(Rarely)
    with pytest.warns(UserWarning, match="Rarely.train_step can't be compiled.*optimizer.iterations"):
        model.fit(X[:20], LABELS[:20], batch_size=2, epochs=1, verbose=0)
    assert model.optimizer.iterations == 10


def test_a_batch_that_is_refused_leaves_the_step_compiled() -> None:
    model = network()
    with pytest.raises(ValueError, match="input shape"):
        model.fit(np.zeros((20, 5), np.float32), LABELS[:20], verbose=0)
    model.fit(X, LABELS, batch_size=ROWS, verbose=0)
    assert not model._eager_steps
    assert model.calls < 6, "the step is recorded, and not run for each of eleven batches"


def test_batches_must_hold_samples() -> None:
    class Whole(Plain):
        def test_step(self, data: Any) -> Any:
            return {"rows": float(len(data[0]))}

        def predict_step(self, data: Any) -> Any:
            return np.asarray(data)

    model = network(Whole)
    before = model.get_weights()
    none = X[:0], LABELS[:0]
    for call in (
        lambda: model.fit(*none, verbose=0),
        lambda: model.fit(X, LABELS, validation_data=none, verbose=0),
        lambda: model.train_on_batch(*none),
        lambda: model.evaluate(*none, verbose=0),
        lambda: model.test_on_batch(*none),
        lambda: model.predict(X[:0], verbose=0),
        lambda: model.predict_on_batch(X[:0]),
    ):
        with pytest.raises(ValueError, match=r"`(validation )?x` is empty: pass at least one sample"):
            call()
    for size in (0, -1):
        for call in (
            lambda size=size: model.fit(X, LABELS, batch_size=size, verbose=0),
            lambda size=size: model.evaluate(X, LABELS, batch_size=size, verbose=0),
            lambda size=size: model.predict(X, batch_size=size, verbose=0),
        ):
            with pytest.raises(ValueError, match=f"`batch_size` must be at least 1, got {size}"):
                call()
        with pytest.raises(ValueError, match=f"`validation_batch_size` must be at least 1, got {size}"):
            model.fit(X, LABELS, validation_batch_size=size, validation_data=(X, LABELS), verbose=0)
    assert_all_equal(before, model.get_weights())


class Everywhere(Plain):
    """A model whose steps are all of its own."""

    def test_step(self, data: Any) -> Any:
        x, y = data
        return {"loss": self.compute_loss(y=y, y_pred=self(x, training=False))}

    def predict_step(self, data: Any) -> Any:
        return self(data)


def refused_by(model: Any, x: Any, y: Any, message: str) -> None:
    """Asserts that `fit`, `evaluate` and the methods of single batches refuse data, and that no weight changes."""
    if model.run_eagerly:
        x, y = x[:ROWS], y[:ROWS]  # the first batch
    before = model.get_weights()
    for call in (
        lambda: model.fit(x, y, verbose=0),
        lambda: model.train_on_batch(x, y),
        lambda: model.evaluate(x, y, batch_size=ROWS, verbose=0),
        lambda: model.test_on_batch(x, y),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    assert_all_equal(before, model.get_weights())


@pytest.mark.parametrize("eagerly", [False, True])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39])
def test_samples_must_be_finite(bad: float, eagerly: bool) -> None:
    model = network(Everywhere)
    model.run_eagerly = eagerly
    x = X.astype(np.float64)
    x[17, 2] = bad
    message = "`x` must be finite and within float32's range, but row 17 holds"
    refused_by(model, x, LABELS, message)
    with pytest.raises(ValueError, match=message):
        model.predict(x, verbose=0)
    with pytest.raises(ValueError, match=message):
        model.predict_on_batch(x)
    with pytest.raises(ValueError, match=r"`batch 1 x` must be finite.*row 7"):
        model.fit(((x[first : first + 10], LABELS[first : first + 10]) for first in (0, 10)), verbose=0)


def test_samples_of_several_inputs_must_be_finite() -> None:
    inputs = [keras.Input((6,), name="one"), keras.Input((6,), name="two")]
    x = X.copy()
    x[3, 1] = np.nan
    for given, place in (([X, x], r"x\[1\]"), ({"one": X, "two": x}, r"x\['two'\]")):
        model = compiled(OwnStep(inputs, layers.Dense(1)(layers.Add()(inputs))), "sgd", "mse")
        with pytest.raises(ValueError, match=f"`{place}` must be finite.*row 3"):
            model.fit(given, LABELS, verbose=0)


def test_a_loss_that_is_not_finite_is_told_once() -> None:
    class Logarithm(keras.Model):
        def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, **_: Any) -> Any:
            return ops.mean(ops.log(y_pred - 1e6))

    x = keras.Input((6,))
    model = compiled(Logarithm(x, layers.Dense(1)(x)), "sgd")
    with pytest.warns(UserWarning, match="'logarithm.*' is nan, and its weights are still finite") as told:
        model.fit(X, LABELS, epochs=3, verbose=0)
    assert len(told) == 1
    assert told[0].filename == __file__


def test_targets_need_not_be_finite() -> None:
    """A step of one's own may leave out missing targets."""

    class Masked(keras.Model):
        def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, **_: Any) -> Any:
            known = ops.logical_not(ops.isnan(y))
            return ops.mean(ops.where(known, ops.square(ops.where(known, y, 0.0) - y_pred[:, 0]), 0.0))

    x = keras.Input((6,))
    model = compiled(Masked(x, layers.Dense(1)(x)), "sgd")
    loss = model.fit(X, np.where(LABELS == 2, np.nan, LABELS), verbose=0).history["loss"][0]
    assert np.isfinite(loss)


@pytest.mark.parametrize("eagerly", [False, True])
@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.float32])
@pytest.mark.parametrize("column", [False, True])
def test_labels_must_be_classes(dtype: Any, column: bool, eagerly: bool) -> None:
    model = network(Everywhere)
    model.run_eagerly = eagerly
    shape, row = (-1, 1) if column else (-1,), r"\d+" if eagerly else "15"
    for bad in [3, -1, 1.5, np.nan] if dtype == np.float32 else [3] if dtype == np.uint8 else [3, -1]:
        labels = LABELS.astype(dtype).reshape(shape)
        labels[15] = bad
        refused_by(
            model,
            X,
            labels,
            rf"`y_true` must hold class indices in \[0, 3\), (but row {row} holds|got) {dtype(bad)}",
        )
    model.fit(X, LABELS.astype(dtype).reshape(shape), verbose=0)


def test_a_label_that_is_ignored_is_no_class() -> None:
    model = compiled(network(Everywhere), "sgd", keras.losses.SparseCategoricalCrossentropy(ignore_class=-1))
    labels = np.where(LABELS == 1, -1, LABELS)
    model.fit(X, labels, verbose=0)
    labels[5] = -2
    refused_by(model, X, labels, "row 5 holds -2")


def test_labels_of_a_loss_within_the_step_must_be_classes() -> None:
    class Own(keras.Model):
        def train_step(self, data: Any) -> Any:
            x, labels = data
            with keras.GradientTape() as tape:
                loss = ops.mean(keras.losses.sparse_categorical_crossentropy(labels["wanted"], self(x)))
            weights = self.trainable_variables
            self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
            return {"loss": loss}

    model = network(Own)
    model.fit(X, {"wanted": LABELS}, batch_size=ROWS, verbose=0)
    assert not model._eager_steps
    before = model.get_weights()
    with pytest.raises(ValueError, match="row 202 holds 3"):
        model.fit(X, {"wanted": np.append(LABELS[:-1], 3)}, batch_size=ROWS, verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], before[0])


@pytest.mark.parametrize("eagerly", [False, True])
@pytest.mark.parametrize("bad", [5, -1, 1.5])
def test_samples_of_embeddings_must_be_indices(bad: float, eagerly: bool) -> None:
    class Sub(OwnStep):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.top = layers.Embedding(5, 3), layers.Dense(1)

        def call(self, x: Any) -> Any:
            return self.top(ops.mean(self.table(x), axis=1))

    x = keras.Input((2,))
    functional = OwnStep(x, layers.Dense(1)(layers.Flatten()(layers.Embedding(5, 3)(x))))
    samples = np.tile([[0.0, 1.0], [2.0, 4.0]], (20, 1))
    for model in (functional, Sub()):
        model.compile("sgd", "mse", run_eagerly=eagerly)
        model.fit(samples, np.ones((40, 1)), verbose=0)
        before = model.get_weights()
        wrong = samples.copy()
        wrong[37, 1] = bad
        with pytest.raises(ValueError, match=rf"must hold indices in \[0, 5\), but row \d+ holds {bad}"):
            model.fit(wrong, np.ones((40, 1)), batch_size=10, verbose=0, shuffle=False)
        if not eagerly:
            assert_all_equal(before, model.get_weights())


def test_weights_that_change_between_epochs_are_used() -> None:
    """What a callback assigns between epochs, weights and learning rate, counts in the next epoch."""

    class Assign(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch == 1:
                self.model.layers[1].kernel.assign(np.zeros((6, 16)))
                self.model.optimizer.learning_rate = 0.0

    model = network(optimizer=optimizers.SGD(0.1))
    model.fit(X, LABELS, batch_size=ROWS, epochs=2, verbose=0, callbacks=[Assign()])
    np.testing.assert_array_equal(model.layers[1].get_weights()[0], np.zeros((6, 16)))


def test_a_model_that_is_compiled_again_starts_anew() -> None:
    model = network()
    model.fit(X, LABELS, batch_size=ROWS, verbose=0)
    model.compile(optimizers.SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy")
    model.fit(X, LABELS, batch_size=ROWS, verbose=0)
    assert model.optimizer.iterations == 11


def test_the_state_of_the_optimizer_is_shared_with_fit() -> None:
    """The state is in one place, whether a compiled step, a loop of one's own or `fit` steps the weights."""
    model = network(optimizer=optimizers.Adam(0.01))
    model.fit(X, LABELS, batch_size=ROWS, verbose=0)
    state = [np.array(each) for each in model.optimizer.variables]
    with keras.GradientTape() as tape:
        loss = ops.mean(model(X) ** 2)
    variables = model.trainable_variables
    model.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
    assert model.optimizer.iterations == 12
    after = [np.array(each) for each in model.optimizer.variables]
    assert any(not np.array_equal(one, two) for one, two in zip(state[2:], after[2:], strict=True))
    model.fit(X, LABELS, batch_size=ROWS, verbose=0)
    assert model.optimizer.iterations == 23


# Constraints of users.


class NotBelow(keras.constraints.Constraint):
    """A constraint of a class."""

    def __call__(self, w: Any) -> Any:
        return ops.maximum(w, 0.05)


def halved(w: Any) -> Any:
    return w * 0.5


def of_arrays(w: Any) -> Any:
    return np.minimum(np.asarray(w), 0.1)


@pytest.mark.parametrize("make", [lambda: optimizers.SGD(0.1), lambda: optimizers.Adam(0.01)])
@pytest.mark.parametrize("constraint", [halved, NotBelow(), lambda w: ops.clip(w, -0.1, 0.1)])
def test_constraints_of_users_are_recorded(constraint: Any, make: Callable[[], Any]) -> None:
    """They follow each step of the optimizer, beside those that the core knows, as in `fit`."""

    def model_of(kind: type[keras.Model], eagerly: bool = False) -> Any:
        keras.utils.set_random_seed(1)
        x = keras.Input((6,))
        hidden = layers.Dense(4, kernel_constraint=constraint, bias_constraint=constraint)(x)
        model = kind(x, layers.Dense(3, activation="softmax", bias_constraint="non_neg")(hidden))
        model.compile(make(), "sparse_categorical_crossentropy", run_eagerly=eagerly)
        model.fit(X, LABELS, batch_size=ROWS, epochs=2, shuffle=False, verbose=0)
        return model

    expected, found, eager = model_of(keras.Model), model_of(OwnStep), model_of(OwnStep, True)
    assert not found._eager_steps
    assert found.optimizer.iterations == 22
    for one, two, three in zip(expected.get_weights(), found.get_weights(), eager.get_weights(), strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(three, one, rtol=1e-4, atol=1e-5)


def test_a_constraint_that_only_python_can_compute_runs_there() -> None:
    x = keras.Input((6,))
    model = Plain(x, layers.Dense(3, activation="softmax", kernel_constraint=of_arrays)(x))
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.warns(UserWarning, match="can't be compiled.*a constraint that only Python can compute"):
        model.fit(X, LABELS, verbose=0)
    assert model.get_weights()[0].max() <= np.float32(0.1)


@pytest.mark.parametrize("module", [keras.constraints, keras.regularizers])
def test_functions_of_users_are_described_by_their_names(module: Any) -> None:
    """Both a function, and the object that `get` makes of it."""
    expected = {
        "module": "builtins",
        "class_name": "function",
        "config": "halved",
        "registered_name": "function",
    }
    assert module.serialize(halved) == module.serialize(module.get(halved)) == expected
    again = module.deserialize(expected, custom_objects={"halved": halved})
    assert again(np.float32(3.0)) == np.float32(1.5)
    assert module.deserialize(None) is None
    with pytest.raises(ValueError, match="halved"):
        module.deserialize(expected)


# The core's functions.


def doubled(rows: int) -> Program:
    """Returns a function of `rows` rows of two numbers: twice the argument."""
    shape = [[rows, 0], [2, 0]]
    nodes = [
        {"kind": "argument", "index": 0, "inputs": [], "input_shapes": [], "shape": shape},
        {
            "kind": "map",
            "inputs": [0],
            "input_shapes": [shape],
            "shape": shape,
            "operations": ["add"],
            "operands": [0, 0, -1],
            "numbers": [0.0],
        },
    ]
    program: Program = Program.function(nodes, [1], 1, [])
    return program


def run(sequence: Any, arrays: list[Any], order: Any = None, *, first: int = 0, batches: int = 2) -> Any:
    """Runs a sequence of one function on batches of three rows."""
    steps, rates = [np.ones(batches, np.int64)], [np.zeros(batches)]
    return sequence.run(arrays, order, first, 3, batches, steps, rates, [(0, 0)])


def test_functions_read_rows_in_their_order() -> None:
    sequence, x = FunctionSequence([(doubled(3), [0])]), np.arange(16, dtype=np.float32).reshape(8, 2)
    np.testing.assert_array_equal(run(sequence, [x])[0], 2 * x[:6].reshape(2, 3, 2))
    np.testing.assert_array_equal(run(sequence, [x], first=2)[0], 2 * x[2:].reshape(2, 3, 2))
    order = np.array([7, 0, 7, 1, 2, 5, 3], np.int32)
    np.testing.assert_array_equal(run(sequence, [x], order, first=1)[0], 2 * x[order[1:]].reshape(2, 3, 2))
    for dtype in (np.uint8, np.float64):
        np.testing.assert_array_equal(
            run(sequence, [x.astype(dtype)], order)[0], 2 * x[order[:6]].reshape(2, 3, 2)
        )
    assert run(sequence, [x], batches=0)[0].shape == (0, 3, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"arrays": [np.zeros((5, 2), np.float32)]}, "fewer rows than the batches"),
        ({"arrays": [np.zeros((8, 3), np.float32)]}, "another size"),
        ({"arrays": []}, "fewer arrays"),
        ({"arrays": [np.zeros((8, 2), np.int64)]}, "must be uint8, float32 or float64"),
        ({"arrays": [np.zeros((8, 2), np.float32)], "order": np.array([0, 1, 2], np.int32)}, "shorter"),
        ({"arrays": [np.zeros((8, 2), np.float32)], "order": np.arange(3, 9, dtype=np.int32)}, "fewer rows"),
        ({"arrays": [np.zeros((8, 2), np.float32)], "order": np.arange(-1, 5, dtype=np.int32)}, "negative"),
        ({"arrays": [np.zeros((8, 2), np.float32)], "order": np.arange(6)}, "int32"),
        ({"arrays": [np.zeros((8, 2), np.float32)], "first": -1}, "negative"),
    ],
)
def test_functions_refuse_rows_that_are_not_there(arguments: dict[str, Any], message: str) -> None:
    sequence = FunctionSequence([(doubled(3), [0])])
    with pytest.raises(ValueError, match=message):
        run(sequence, **arguments)


def test_whole_arrays_have_no_order() -> None:
    sequence, steps, rates = FunctionSequence([(doubled(3), [0])]), [np.ones(1, np.int64)], [np.zeros(1)]
    x = np.ones((3, 2), np.float32)
    (found,) = sequence.run([x], None, 0, 0, 1, steps, rates, [(0, 0)])
    np.testing.assert_array_equal(found, [2 * x])
    with pytest.raises(ValueError, match="another size"):
        sequence.run([x], np.zeros(1, np.int32), 0, 0, 1, steps, rates, [(0, 0)])


def test_functions_refuse_arguments_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="takes 1 arguments, got 0"):
        FunctionSequence([(doubled(3), [])])
    with pytest.raises(ValueError, match="result of an earlier function"):
        FunctionSequence([(doubled(3), [(0, 0)])])
    with pytest.raises(ValueError, match="argument 0 must have 8 numbers, got a result of 6"):
        FunctionSequence([(doubled(3), [0]), (doubled(4), [(0, 0)])])
    with pytest.raises(ValueError, match="must have the shape"):
        FunctionSequence([(doubled(3), [np.zeros((2, 2), np.float32)])])
    with pytest.raises(ValueError, match="a model is no function"):
        FunctionSequence([(Program(2, [{"kind": "activation", "activation": "relu"}]), [0])])


def test_functions_pass_results_on() -> None:
    constant = np.ones((3, 2), np.float32)
    sequence = FunctionSequence([(doubled(3), [constant]), (doubled(3), [(0, 0)])])
    steps, rates = [np.ones(2, np.int64)] * 2, [np.zeros(2)] * 2
    (found,) = sequence.run([], None, 0, 3, 2, steps, rates, [(1, 0)])
    np.testing.assert_array_equal(found, np.full((2, 3, 2), 4.0))
    with pytest.raises(ValueError, match="kept only once"):
        sequence.run([], None, 0, 3, 2, steps, rates, [(1, 0), (1, 0)])
    with pytest.raises(ValueError, match="no such result"):
        sequence.run([], None, 0, 3, 2, steps, rates, [(2, 0)])
    with pytest.raises(ValueError, match="for each batch"):
        sequence.run([], None, 0, 3, 3, steps, rates, [])


def test_programs_of_the_same_weights_use_one_state() -> None:
    weight = {
        "kind": "variable",
        "inputs": [],
        "input_shapes": [],
        "shape": [2, 3],
        "trainable": True,
        "flat": False,
    }
    shape = [[2, 0], [3, 0]]
    argument = {"kind": "argument", "index": 0, "inputs": [], "input_shapes": [], "shape": shape}
    step = {"kind": "step", "inputs": [0, 1], "input_shapes": [shape, shape], "shape": shape}
    adam, sgd = (each._lower([Tracked("", True)]) for each in (optimizers.Adam(), optimizers.SGD()))

    home = Program.function([weight, argument, step], [], 1)
    function = Program.function([weight, argument, step], [], 1, home.arrays)
    home.compile([], adam, [])
    with pytest.raises(ValueError, match="compile a program before"):
        function.use_state(home.state)
    function.compile([], adam, [], state=home.state)
    gradient = np.ones((2, 3), np.float32)
    home.call([gradient], 1, 0.5)
    function.call([gradient], 2, 0.5)
    assert home.state.iterations == function.state.iterations == 2
    alone = compiled(Program.function([weight, argument, step], [], 1), [], adam, [])
    for number in (1, 2):
        alone.call([gradient], number, 0.5)
    assert alone.variables[0].tobytes() == home.variables[0].tobytes()
    assert alone.state.read("slot", 1)[0].tobytes() == home.state.read("slot", 1)[0].tobytes()

    simple = compiled(Program.function([weight, argument, step], [], 1, home.arrays), [], sgd, [])
    with pytest.raises(ValueError, match="of another optimizer"):
        home.use_state(simple.state)
    home.use_state(alone.state)
    with pytest.raises(ValueError, match="lacks a variable"):
        home.call([gradient], 3, 0.5)


def test_steps_within_products_want_the_state_of_their_variable() -> None:
    x, kernel = [[4, 0], [6, 0]], [[6, 0], [3, 0]]
    y, number = [[4, 0], [3, 0]], list[list[int]]()
    product = [
        {"kind": "argument", "index": 0, "inputs": [], "input_shapes": [], "shape": x},
        {
            "kind": "dense",
            "inputs": [0],
            "units": 3,
            "activation": "linear",
            "use_bias": False,
            "trainable": True,
        },
    ]
    total = {
        "kind": "reduce",
        "reduction": "sum",
        "axes": [0, 1],
        "inputs": [1],
        "input_shapes": [y],
        "shape": number,
    }
    weight = {
        "kind": "weight",
        "variable": 0,
        "trainable": True,
        "inputs": [],
        "input_shapes": [],
        "shape": kernel,
    }
    gradients = {"kind": "gradients", "inputs": [2, 3], "input_shapes": [number, kernel], "shape": number}
    gradient = {"kind": "gradient", "index": 0, "inputs": [4], "input_shapes": [number], "shape": kernel}
    step = {"kind": "step", "inputs": [3, 5], "input_shapes": [kernel, kernel], "shape": kernel}
    adam = optimizers.Adam()._lower([Tracked("", True)])

    home, other = (
        Program.function([*product, total, weight, gradients, gradient, step], [2], 4) for _ in range(2)
    )
    for program in (home, other):
        program.compile([], adam, [])
    ones = np.ones((4, 6), np.float32)
    home.call([ones], 1, 0.5)
    stepped, slot = home.variables[0], home.state.read("slot", 0)[0]
    assert np.all(stepped < 0)
    assert np.all(slot > 0)
    other.use_state(home.state)
    with pytest.raises(ValueError, match="lacks a variable that the program steps: number 0; use a state"):
        other.call([ones], 1, 0.5)
    assert not np.any(other.variables[0])
    assert home.state.read("slot", 0)[0].tobytes() == slot.tobytes()

    model = Program(6, [product[1] | {"inputs": [-1]}])
    loss = {"kind": "mean_squared_error"}
    model.compile([loss], adam, [], state=home.state)
    run = model.begin("train", Dataset(ones, np.ones((4, 3), np.float32)), 4)
    with pytest.raises(ValueError, match="lacks a variable"):
        run.advance(0, 1, np.array([0.5]))
    assert not np.any(model.variables[0])
