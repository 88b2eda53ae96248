"""Loops of one's own: optimizers with given gradients, variables, and steps that are methods of the user's model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common import Scale, assert_all_close

import engine as keras
from engine import layers, metrics, ops, optimizers

RNG = np.random.default_rng(3)
X = RNG.normal(size=(40, 3)).astype(np.float32)
Y = (X @ np.array([[1.0], [-2.0], [0.5]]) + 0.3).astype(np.float32)


def small_model() -> Any:
    return keras.Sequential([keras.Input((3,)), layers.Dense(4, activation="tanh"), layers.Dense(1)])


def loss_and_gradients(model: Any, optimizer: Any = None) -> tuple[Any, list[Any]]:
    """Returns the loss, and the gradients of the loss as the optimizer scales it."""
    with keras.GradientTape() as tape:
        loss = ops.mean(ops.square(model(X, training=True) - Y))
        scaled = loss if optimizer is None else optimizer.scale_loss(loss)
    return loss, tape.gradient(scaled, model.trainable_variables)


# Optimizers.


def test_the_optimizer_of_a_compiled_model_goes_on() -> None:
    model, other = small_model(), small_model()
    other.set_weights(model.get_weights())
    for each in (model, other):
        each.compile(optimizers.Adam(0.05), "mse")
    model.fit(X, Y, batch_size=len(X), epochs=2, verbose=0)
    _, gradients = loss_and_gradients(model)
    model.optimizer.apply(gradients, model.trainable_variables)
    model.fit(X, Y, batch_size=len(X), epochs=2, verbose=0)
    other.fit(X, Y, batch_size=len(X), epochs=5, verbose=0)
    assert_all_close(model.get_weights(), other.get_weights(), rtol=1e-4, atol=1e-5)
    assert model.optimizer.iterations == 5


def test_two_optimizers_for_parts_of_one_model() -> None:
    model = small_model()
    first, second = optimizers.SGD(0.1), optimizers.Adam(0.01)
    before = model.get_weights()
    _, gradients = loss_and_gradients(model)
    weights = model.trainable_variables
    first.apply(gradients[:2], weights[:2])
    second.apply(gradients[2:], weights[2:])
    np.testing.assert_allclose(model.layers[0].kernel, before[0] - 0.1 * np.asarray(gradients[0]), rtol=1e-5)
    np.testing.assert_allclose(np.abs(model.layers[1].kernel - before[2]), 0.01, rtol=1e-3)
    assert len(first.variables) == 2
    assert len(second.variables) == 2 + 2 * 2


def test_build_and_apply_without_variables() -> None:
    model, optimizer = small_model(), optimizers.SGD(0.1, momentum=0.9)
    with pytest.raises(ValueError, match=r"must already be built.*optimizer\.build"):
        optimizer.apply([np.zeros(1)])
    optimizer.build(model.trainable_variables)
    assert optimizer.built
    assert len(optimizer.variables) == 2 + 4
    _, gradients = loss_and_gradients(model)
    before = model.get_weights()
    optimizer.apply(gradients)
    np.testing.assert_allclose(model.get_weights()[0], before[0] - 0.1 * np.asarray(gradients[0]), rtol=1e-5)
    assert optimizer.iterations == 1


def test_missing_gradients() -> None:
    a, b = keras.Variable(1.0, name="a"), keras.Variable(2.0, name="b")
    optimizer = optimizers.SGD(0.5)
    with pytest.warns(UserWarning, match=r"Gradients do not exist for variables \['b'\]"):
        optimizer.apply_gradients([(2.0, a), (None, b)])
    assert (float(a), float(b)) == (0.0, 2.0)
    with pytest.raises(ValueError, match="No gradients provided for any variable"):
        optimizer.apply_gradients([(None, a)])
    optimizer.apply_gradients([])
    optimizer.apply_gradients([(1.0, b)])
    assert (float(a), float(b)) == (0.0, 1.5)
    assert optimizer.iterations == 2


def test_mistakes_with_variables() -> None:
    a, b = keras.Variable([1.0, 2.0]), keras.Variable(2.0)
    optimizer = optimizers.SGD(0.5)
    optimizer.build([a])
    with pytest.raises(ValueError, match=r"Unknown variable: .*recreate a new optimizer"):
        optimizer.apply([1.0], [b])
    with pytest.raises(ValueError, match=r"must have its shape \(2,\), got \(3,\)"):
        optimizer.apply([np.zeros(3)], [a])
    with pytest.raises(TypeError, match="steps weights and variables"):
        optimizer.apply([np.zeros(2)], [np.zeros(2)])
    with pytest.raises(ValueError, match="gradient for each of 1 weights, got 2"):
        optimizer.apply([np.zeros(2), 1.0], [a])
    with pytest.raises(ValueError, match="comes twice"):
        optimizers.SGD().build([a, a])
    with pytest.raises(TypeError, match="dtype int32"):
        optimizers.SGD().build([keras.Variable(1)])


def test_minimize() -> None:
    a = keras.Variable(4.0)
    optimizer = optimizers.SGD(0.25)
    assert optimizer.minimize(lambda: a * a, [a]) == 1
    assert float(a) == 2.0
    with keras.GradientTape() as tape:
        loss = a * a
    optimizer.minimize(loss, [a], tape=tape)
    assert float(a) == 1.0
    with pytest.raises(ValueError, match="`tape` is required"):
        optimizer.minimize(loss, [a])


def test_constraints_apply_after_steps() -> None:
    class Half(keras.constraints.Constraint):
        def __call__(self, w: Any) -> Any:
            return np.minimum(w, 0.5)

    for constraint in (keras.constraints.NonNeg(), Half()):
        layer = layers.Dense(2, kernel_constraint=constraint, kernel_initializer="ones")
        layer.build((None, 3))
        optimizers.SGD(1.0).apply([np.full((3, 2), 2.0)], [layer.kernel])
        expected = 0.0 if isinstance(constraint, keras.constraints.NonNeg) else -1.0
        np.testing.assert_array_equal(layer.kernel, np.full((3, 2), expected))


@pytest.mark.parametrize("wrapped", [lambda step: step, keras.function], ids=["python", "function"])
@pytest.mark.parametrize("kind", ["variable", "weight", "compiled"])
def test_steps_follow_constraints_that_are_assigned_later(wrapped: Any, kind: str) -> None:
    class Half(keras.constraints.Constraint):
        def __call__(self, w: Any) -> Any:
            return ops.minimum(w, 0.5)

    optimizer: Any = optimizers.SGD(0.25)
    layer = Scale()
    model = keras.Sequential([keras.Input((2,)), layer])
    variable: Any = keras.Variable([1.0, 1.0]) if kind == "variable" else layer.factor
    if kind == "compiled":
        model.compile(optimizer, "mse")
    else:
        optimizer.build([variable])

    @wrapped
    def step(target: Any) -> None:
        with keras.GradientTape() as tape:
            loss = ops.sum((variable - target) ** 2)
        optimizer.apply_gradients([(tape.gradient(loss, variable), variable)])

    for constraint, expected in (
        ("non_neg", [0.0, 3.0]),
        (None, [-1.5, 3.0]),
        (Half(), [-1.5, 0.5]),
        ("non_neg", [0.0, 3.0]),
    ):
        variable.constraint = constraint
        for _ in range(2):
            variable.assign([1.0, 1.0])
            step(np.float32([-4.0, 5.0]))
            np.testing.assert_array_equal(variable.numpy(), expected)
    assert optimizer.iterations == 8


def test_the_state_is_saved(tmp_path: Path) -> None:
    model = small_model()
    model.compile(optimizers.Adam(0.05), "mse")
    for _ in range(3):
        _, gradients = loss_and_gradients(model)
        model.optimizer.apply(gradients, model.trainable_variables)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert loaded.optimizer.iterations == 3
    for each in (model, loaded):
        _, gradients = loss_and_gradients(each)
        each.optimizer.apply(gradients, each.trainable_variables)
    assert_all_close(model.get_weights(), loaded.get_weights(), rtol=1e-6)


# Variables.


def test_variables() -> None:
    v = keras.Variable([[1.0, 2.0], [3.0, 4.0]], name="v")
    assert (v.name, v.shape, v.ndim, v.trainable, np.dtype(v.dtype)) == ("v", (2, 2), 2, True, np.float32)
    assert v.assign_add(np.ones((2, 2))) is v
    v.assign_sub([[1.0, 1.0], [0.0, 0.0]])
    assert v.numpy().tolist() == [[1.0, 2.0], [4.0, 5.0]]
    assert np.asarray(v * 2 + v[0]).tolist() == [[3.0, 6.0], [9.0, 12.0]]
    assert np.sum(v) == 12.0
    assert float(ops.max(v)) == 5.0
    with pytest.raises(ValueError, match=r"variable.shape=\(2, 2\), Received: value.shape=\(3,\)"):
        v.assign(np.zeros(3))
    steps = keras.Variable(0, trainable=False, dtype="int32")
    for _ in range(3):
        steps.assign_add(1)
    assert int(steps) == 3
    assert steps.numpy().dtype == np.int32
    assert keras.Variable("ones", shape=(2,)).numpy().tolist() == [1.0, 1.0]
    assert keras.Variable(lambda shape, dtype=None: np.full(shape, 3.0), shape=(1,)).numpy().tolist() == [3.0]
    with pytest.raises(ValueError, match="`shape` is missing"):
        keras.Variable("zeros")
    assert {v: 1}[v] == 1


def test_weights_can_be_assigned() -> None:
    layer = layers.Dense(2)
    layer.build((None, 3))
    layer.kernel.assign(np.ones((3, 2)))
    layer.kernel.assign_sub(0.25 * layer.kernel)
    np.testing.assert_array_equal(layer.kernel, np.full((3, 2), 0.75))
    with keras.GradientTape() as tape:
        value = ops.sum(layer(X))
    tape.gradient(value, layer.kernel).numpy()  # from now on a program holds the weights
    layer.bias.assign_add([1.0, 2.0])
    model = keras.Sequential([keras.Input((3,)), layer])
    np.testing.assert_allclose(model(X), X @ np.full((3, 2), 0.75) + [1.0, 2.0], rtol=1e-5)
    model.compile("sgd", "mse")
    model.fit(X, np.zeros((40, 2)), verbose=0)
    np.testing.assert_allclose(layer(X), X @ np.asarray(layer.kernel) + layer.bias, rtol=1e-5, atol=1e-6)


# Steps of the user's model.


class Steps(keras.Model):
    """A model whose training step is the default one, written out."""

    def train_step(self, data: Any) -> Any:
        x, y = data
        with keras.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(y=y, y_pred=y_pred)
        weights = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, y_pred)
        return {metric.name: metric.result() for metric in self.metrics}


def functional(cls: Any) -> Any:
    inputs = keras.Input((3,))
    return cls(inputs, layers.Dense(1)(layers.Dense(4, activation="tanh")(inputs)))


class WithLoss(keras.Model):
    """A model with a loss and metrics of its own."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.tracker = metrics.Mean(name="my_loss")

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        loss = ops.mean(ops.abs(y - y_pred))
        self.tracker.update_state(loss)
        return loss


def test_compute_loss_is_used_in_training_and_evaluation() -> None:
    model = functional(WithLoss)
    model.compile(optimizers.SGD(0.1), metrics=["mse"])
    history = model.fit(X, Y, epochs=3, verbose=0, batch_size=20)
    assert set(history.history) == {"loss", "my_loss", "mse"}
    assert history.history["loss"][-1] < history.history["loss"][0]
    np.testing.assert_allclose(history.history["loss"], history.history["my_loss"], rtol=1e-5)
    found = model.evaluate(X, Y, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(float(np.mean(np.abs(Y - model.predict(X, verbose=0)))), rel=1e-4)
    assert found["mse"] == pytest.approx(float(np.mean((Y - model.predict(X, verbose=0)) ** 2)), rel=1e-4)


def test_test_and_predict_steps() -> None:
    class Own(keras.Model):
        def test_step(self, data: Any) -> Any:
            x, y = data
            return {"largest": ops.max(ops.abs(self(x) - y))}

        def predict_step(self, data: Any) -> Any:
            return {"twice": self(data) * 2.0}

    model = functional(Own)
    model.compile("sgd", "mse")
    outputs = model(X)
    assert model.evaluate(X, Y, batch_size=40, verbose=0) == pytest.approx(
        float(np.abs(outputs - Y).max()), rel=1e-5
    )
    np.testing.assert_allclose(model.predict(X, batch_size=16, verbose=0)["twice"], outputs * 2, rtol=1e-5)
    np.testing.assert_allclose(model.predict_on_batch(X)["twice"], outputs * 2, rtol=1e-5)


def test_monte_carlo_dropout_by_a_predict_step() -> None:
    class Sampled(keras.Model):
        def predict_step(self, data: Any) -> Any:
            return ops.stack([self(data, training=True) for _ in range(5)], axis=1)

    inputs = keras.Input((3,))
    model = Sampled(inputs, layers.Dense(1)(layers.Dropout(0.5)(inputs)))
    found = model.predict(X, verbose=0)
    assert found.shape == (40, 5, 1)
    assert found.std(axis=1).max() > 0


class Pair(keras.Model):
    """Two networks that play against each other, without a `call`."""

    def __init__(self) -> None:
        super().__init__()
        self.critic = keras.Sequential(
            [keras.Input((2,)), layers.Dense(8, activation="relu"), layers.Dense(1)]
        )
        self.maker = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
        self.of_critic, self.of_maker = metrics.Mean(name="critic"), metrics.Mean(name="maker")

    def compile(self, critic_optimizer: Any, maker_optimizer: Any, loss: Any) -> None:
        super().compile()
        self.critic_optimizer, self.maker_optimizer, self.loss_fn = critic_optimizer, maker_optimizer, loss

    @property
    def metrics(self) -> list[Any]:
        return [self.of_critic, self.of_maker]

    def train_step(self, real: Any) -> Any:
        count = ops.shape(real)[0]
        noise = keras.random.normal((count, 3))
        labels = ops.concatenate([ops.ones((count, 1)), ops.zeros((count, 1))])
        with keras.GradientTape() as tape:
            scores = self.critic(ops.concatenate([self.maker(noise), real]))
            critic_loss = self.loss_fn(labels, scores)
        weights = self.critic.trainable_weights
        self.critic_optimizer.apply_gradients(zip(tape.gradient(critic_loss, weights), weights, strict=True))
        with keras.GradientTape() as tape:
            maker_loss = self.loss_fn(ops.zeros((count, 1)), self.critic(self.maker(noise)))
        weights = self.maker.trainable_weights
        self.maker_optimizer.apply_gradients(zip(tape.gradient(maker_loss, weights), weights, strict=True))
        self.of_critic.update_state(critic_loss)
        self.of_maker.update_state(maker_loss)
        return {"critic": self.of_critic.result(), "maker": self.of_maker.result()}


def test_a_model_of_two_networks_and_optimizers() -> None:
    pair = Pair()
    pair.compile(
        optimizers.Adam(0.01), optimizers.Adam(0.02), keras.losses.BinaryCrossentropy(from_logits=True)
    )
    before = pair.get_weights()
    batches: list[int] = []
    hook = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: batches.append(batch))
    history = pair.fit(RNG.normal(size=(50, 2)), epochs=2, batch_size=25, verbose=0, callbacks=[hook])
    assert batches == [0, 1, 0, 1]
    assert list(history.history) == ["critic", "maker"]
    assert pair.critic_optimizer.iterations == pair.maker_optimizer.iterations == 4
    assert all(np.abs(one - other).max() > 0 for one, other in zip(before, pair.get_weights(), strict=True))
    with pytest.raises(NotImplementedError, match=r"Model Pair does not have a `call\(\)` method"):
        pair(X)


def test_data_of_steps() -> None:
    seen: list[Any] = []

    class Seen(keras.Model):
        def train_step(self, data: Any) -> Any:
            seen.append(data)
            return {"loss": 0.0}

    model = functional(Seen)
    model.compile("sgd", "mse", run_eagerly=True)
    model.fit(X, Y, batch_size=16, verbose=0, sample_weight=np.arange(40.0), shuffle=False)
    assert [len(each) for each in seen] == [3, 3, 3]
    assert [len(each[0]) for each in seen] == [16, 16, 8]
    np.testing.assert_array_equal(seen[1][2], np.arange(16.0, 32.0))
    seen.clear()
    model.fit(X, np.zeros(40, int), batch_size=40, verbose=0, class_weight={0: 3.0})
    assert np.asarray(seen[0][2]).tolist() == [3.0] * 40
    seen.clear()
    model.fit(((X[:4], Y[:4]) for _ in range(6)), steps_per_epoch=3, epochs=2, verbose=0)
    assert len(seen) == 6
    seen.clear()
    model.fit(X, Y, batch_size=20, epochs=1, verbose=0)
    assert not np.array_equal(seen[0][0], X[:20])
    np.testing.assert_array_equal(
        np.sort(np.concatenate([each[1] for each in seen]), axis=0), np.sort(Y, axis=0)
    )


def test_steps_stop_when_asked() -> None:
    model = functional(Steps)
    model.compile("sgd", "mse")

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            assert set(logs) == {"loss"}
            self.model.stop_training = batch == 1

    history = model.fit(X, Y, batch_size=8, epochs=5, verbose=0, callbacks=[Stop()])
    assert len(history.history["loss"]) == 1
    assert model.optimizer.iterations == 2
    early = keras.callbacks.EarlyStopping(monitor="val_loss", patience=0, min_delta=1e9)
    history = model.fit(X, Y, epochs=5, verbose=0, validation_split=0.25, callbacks=[early])
    assert len(history.history["val_loss"]) == 2


def test_steps_on_batches() -> None:
    model = functional(Steps)
    model.compile("sgd", "mse", metrics=["mae"])
    loss, mae = model.train_on_batch(X, Y)
    assert loss == pytest.approx(float(model.metrics[0].result()))
    assert set(model.train_on_batch(X, Y, return_dict=True)) == {"loss", "mae"}
    assert mae > 0


def test_steps_must_return_dicts() -> None:
    class Wrong(keras.Model):
        def train_step(self, data: Any) -> Any:
            return 3.0

    model = functional(Wrong)
    model.compile("sgd", "mse")
    with pytest.raises(TypeError, match=r"must return a dict from names to numbers, got 3\.0"):
        model.fit(X, Y, verbose=0)


def test_compute_loss_of_a_model() -> None:
    model = functional(keras.Model)
    model.compile("sgd", "mse")
    outputs = model(X)
    assert float(model.compute_loss(X, Y, outputs)) == pytest.approx(
        float(np.mean((outputs - Y) ** 2)), rel=1e-5
    )
    weights = np.linspace(0, 2, 40)
    expected = float(np.mean(weights[:, None] * (outputs - Y) ** 2))
    assert float(model.compute_loss(X, Y, outputs, sample_weight=weights)) == pytest.approx(
        expected, rel=1e-5
    )
    model.compile("sgd")
    with pytest.raises(ValueError, match=r"No loss to compute. Provide a `loss` argument"):
        model.compute_loss(X, Y, outputs)


def test_crossentropy_of_labels_in_a_step() -> None:
    inputs = keras.Input((3,))
    model = Steps(inputs, layers.Dense(3, activation="softmax")(inputs))
    labels = np.argmax(X, axis=1)
    model.compile(optimizers.Adam(0.1), "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(X, labels, epochs=20, verbose=0)
    assert history.history["accuracy"][-1] > 0.9


# Compiled steps.


@pytest.mark.parametrize(
    "make", [lambda: optimizers.Adam(0.01), lambda: optimizers.SGD(0.05, momentum=0.9, use_ema=True)]
)
def test_compiled_and_eager_steps_agree(make: Callable[[], Any]) -> None:
    models = [functional(Steps) for _ in range(2)]
    for model, eager in zip(models, (True, False), strict=True):
        model.set_weights(models[0].get_weights())
        model.compile(make(), "mse", metrics=["mae"], run_eagerly=eager)
    options = {
        "batch_size": 16,
        "epochs": 3,
        "shuffle": False,
        "verbose": 0,
        "validation_data": (X[:5], Y[:5]),
    }
    one, other = (model.fit(X, Y, **options).history for model in models)
    assert not models[0]._compiled_steps
    assert len(models[1]._compiled_steps["train_step"]) == 2  # for 16 samples, and the last 8
    assert len(models[1]._compiled_steps["test_step"]) == 1  # for the 5 of the validation
    assert not models[1]._eager_steps
    for name, values in one.items():
        np.testing.assert_allclose(values, other[name], rtol=1e-4, err_msg=name)
    states = [[variable.numpy() for variable in model.optimizer.variables] for model in models]
    assert_all_close(*states, rtol=1e-3, atol=1e-6)
    assert models[1].optimizer.iterations == 9
    for model in models:
        model.train_on_batch(X, Y)
    np.testing.assert_allclose(
        models[0].predict(X, verbose=0), models[1].predict(X, verbose=0), rtol=1e-4, atol=1e-5
    )


def test_a_step_is_compiled_for_each_structure_of_batches() -> None:
    """A batch (x, y) is another one than a batch of two inputs, though their arrays have the same shapes."""

    class Telling(keras.Model):
        def test_step(self, data: Any) -> Any:
            return {"pairs": ops.max(ops.ones_like(data[0])) if len(data) == 2 else ops.max(data[0][1] * 0)}

    model = Telling()
    model.compile("sgd", "mse")
    assert model.evaluate(X, X, verbose=0) == 1
    assert model.evaluate([X, X], verbose=0) == 0
    assert not model._eager_steps


def test_a_step_with_two_optimizers_is_compiled() -> None:
    pair = Pair()
    pair.compile(
        optimizers.Adam(0.01), optimizers.SGD(0.02), keras.losses.BinaryCrossentropy(from_logits=True)
    )
    pair.fit(RNG.normal(size=(50, 2)), epochs=3, batch_size=25, verbose=0)
    assert len(pair._compiled_steps["train_step"]) == 1
    assert not pair._eager_steps
    assert pair.critic_optimizer.iterations == pair.maker_optimizer.iterations == 6
    assert np.abs(pair.critic_optimizer.variables[2].numpy()).max() > 0


def test_a_step_that_looks_at_numbers_runs_as_it_is_written() -> None:
    class Looking(keras.Model):
        def train_step(self, data: Any) -> Any:
            x, y = data
            with keras.GradientTape() as tape:
                loss = ops.mean(ops.square(self(x, training=True) - y))
                if float(loss) > 1e6:
                    loss = loss * 0.0
            weights = self.trainable_variables
            self.optimizer.apply(tape.gradient(loss, weights), weights)
            return {"loss": loss}

    model = functional(Looking)
    model.compile(optimizers.SGD(0.05))
    with pytest.warns(UserWarning, match=r"Looking.train_step can't be compiled.*has no value"):
        history = model.fit(X, Y, epochs=4, verbose=0).history["loss"]
    assert history[-1] < history[0]


@pytest.mark.parametrize(
    "hidden",
    [
        *(
            lambda each=each: layers.Dense(2, kernel_regularizer=each, kernel_constraint="non_neg")
            for each in ("l1", "l2", keras.regularizers.OrthogonalRegularizer(0.1, "columns"))
        ),
        layers.BatchNormalization,
    ],
)
def test_penalties_constraints_and_averages_are_those_of_fit(hidden: Any) -> None:
    weights = []
    for cls, eager in ((keras.Model, False), (Steps, False), (Steps, True)):
        keras.utils.set_random_seed(5)
        inputs = keras.Input((3,))
        model = cls(inputs, layers.Dense(1)(hidden()(inputs)))
        model.compile(optimizers.SGD(0.05), "mse", run_eagerly=eager)
        model.fit(X, Y, epochs=2, batch_size=20, shuffle=False, verbose=0)
        weights.append(model.get_weights())
    for others in weights[1:]:
        assert_all_close(weights[0], others, rtol=1e-4, atol=1e-5)


def test_dropout_and_noise_differ_from_step_to_step() -> None:
    class Noisy(keras.Model):
        def train_step(self, data: Any) -> Any:
            noise = keras.random.normal((4,))
            return {"dropped": ops.sum(self(ops.ones((4, 3)), training=True)), "noise": ops.sum(noise)}

    inputs = keras.Input((3,))
    model = Noisy(inputs, layers.Dropout(0.5)(inputs))
    model.compile("sgd")
    seen: list[tuple[float, float]] = []
    hook = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append((logs["dropped"], logs["noise"]))
    )
    model.fit(X, batch_size=4, verbose=0, callbacks=[hook])
    assert not model._eager_steps
    assert len({each[1] for each in seen}) == 10
    assert len({each[0] for each in seen}) > 1


def test_layers_that_are_frozen_later_are_compiled_again() -> None:
    model = functional(Steps)
    model.compile(optimizers.SGD(0.05), "mse")
    model.fit(X, Y, epochs=1, verbose=0)
    model.layers[1].trainable = False
    before = model.get_weights()
    model.fit(X, Y, epochs=1, verbose=0)
    after = model.get_weights()
    np.testing.assert_array_equal(before[0], after[0])
    assert np.abs(before[2] - after[2]).max() > 0


def test_errors_of_steps_are_those_of_the_user() -> None:
    class Failing(keras.Model):
        def train_step(self, data: Any) -> Any:
            msg = "not today"
            raise ValueError(msg)

    model = functional(Failing)
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="not today"):
        model.fit(X, Y, verbose=0)


# Models that no network for batches of any size can compute.


class Single(keras.Model):
    """Returns one number for the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(1, kernel_initializer="ones")

    def call(self, inputs: Any) -> Any:
        return ops.mean(self.dense(inputs))


class AgainstFirst(Single):
    """Compares each sample with the first two of the batch."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        outputs = self.dense(inputs)
        return outputs - ops.mean(outputs[:2])


ROWS_OF_THREE = np.random.default_rng(5).normal(size=(8, 3)).astype(np.float32)


@pytest.mark.parametrize("compiled", [False, True])
def test_tapes_use_models_that_return_a_single_number(compiled: bool) -> None:
    model, optimizer = Single(), keras.optimizers.SGD(0.1)

    def step(x: Any) -> Any:
        with keras.GradientTape() as tape:
            loss = ops.square(model(x) - 1.0)
        weights = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss

    run = keras.function(step) if compiled else step
    losses = [float(run(ROWS_OF_THREE)) for _ in range(3)]
    assert losses[0] == pytest.approx((ROWS_OF_THREE.sum(axis=1).mean() - 1) ** 2, rel=1e-5)
    assert losses[2] < losses[1] < losses[0]
    assert not compiled or run.refusal is None


@pytest.mark.parametrize("eagerly", [False, True])
def test_steps_of_ones_own_use_models_that_take_some_samples(eagerly: bool) -> None:
    class Stepped(AgainstFirst):
        def train_step(self, data: Any) -> Any:
            return super().train_step(data)

    model = Stepped()
    model.compile(keras.optimizers.SGD(0.0), "mse", run_eagerly=eagerly)
    found = model.fit(ROWS_OF_THREE, np.zeros((8, 1)), batch_size=4, shuffle=False, verbose=0).history["loss"]
    sums = ROWS_OF_THREE.sum(axis=1).reshape(2, 4)
    expected = np.mean((sums - sums[:, :2].mean(axis=1, keepdims=True)) ** 2)
    np.testing.assert_allclose(found, [expected], rtol=1e-5)
    assert not model._eager_steps


def test_elsewhere_they_are_refused_with_what_to_write() -> None:
    for kind, message in (
        (Single, r"one row for each sample.*add_loss\(\), and a `train_step` of your own may use"),
        (
            AgainstFirst,
            r"takes 2 samples of each batch.*ops.arange\(ops.shape\(x\)\[0\]\) < 2.*`train_step` of your own",
        ),
    ):
        model = kind()
        model.compile("sgd", "mse")
        with pytest.raises((ValueError, IndexError), match=message):
            model.fit(ROWS_OF_THREE, np.zeros((8, 1)), verbose=0)

    class Weighted(Single):
        def call(self, inputs: Any) -> Any:
            outputs = self.dense(inputs)
            first = ops.cast(ops.arange(ops.shape(outputs)[0]) < 2, "float32")[:, None]  # as the message says
            return outputs - ops.sum(outputs * first) / ops.sum(first)

    model = Weighted()
    model.compile(keras.optimizers.SGD(0.0), "mse")
    sums = ROWS_OF_THREE.sum(axis=1)
    loss = model.fit(ROWS_OF_THREE, np.zeros((8, 1)), batch_size=8, verbose=0, shuffle=False).history["loss"]
    np.testing.assert_allclose(loss, [np.mean((sums - sums[:2].mean()) ** 2)], rtol=1e-5)


def test_wrong_shapes_in_calls_are_told() -> None:
    class Wrong(Single):
        def call(self, inputs: Any) -> Any:
            return ops.matmul(self.dense(inputs), np.ones((4, 2), np.float32))

    with keras.GradientTape(), pytest.raises(ValueError, match="can't be multiplied"):
        Wrong()(ops.convert_to_tensor(ROWS_OF_THREE))


class AddsLoss(keras.Model):
    """A model that adds to its loss, and behaves as in training unless told otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.dense, self.dropout = layers.Dense(4), layers.Dropout(0.5)

    def call(self, x: Any, training: bool = True) -> Any:
        y = self.dense(x)
        self.add_loss(ops.mean(y) * 0.1)
        return self.dropout(y, training=training)


def test_losses_that_a_model_adds_on_a_tape_are_those_of_its_last_call() -> None:
    model = AddsLoss()
    for rows in (8, 8, 5, 8):
        with keras.GradientTape() as tape:
            y = model(X[:rows], training=False)
            total = sum(model.losses)
        assert len(model.losses) == 1
        kernel, bias = model.dense.get_weights()
        np.testing.assert_allclose(y, X[:rows] @ kernel + bias, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(total, 0.1 * np.mean(X[:rows] @ kernel + bias), rtol=1e-4, atol=1e-6)
        gradient = tape.gradient(total, model.dense.kernel)
        np.testing.assert_allclose(
            gradient, np.outer(X[:rows].mean(axis=0), np.full(4, 0.025)), rtol=1e-4, atol=1e-6
        )


def test_a_model_that_adds_losses_keeps_its_default_of_training_on_a_tape() -> None:
    model = AddsLoss()
    for training, drops in ((None, True), (True, True), (False, False)):
        with keras.GradientTape():
            y = model(X, training=training)
        assert bool((np.asarray(y) == 0).any()) is drops
