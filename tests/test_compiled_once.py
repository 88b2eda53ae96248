"""A compiled function is compiled anew after a change of what it reads, and of nothing else."""

from __future__ import annotations

import gc
import pickle
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import engine as keras
from engine import layers, ops
from engine._tracing.versions import Dependencies
from engine.models import functions

RNG = np.random.default_rng(40)
X = RNG.normal(size=(6, 3)).astype(np.float32)
Y = RNG.normal(size=(6, 1)).astype(np.float32)


class Scale(layers.Layer):
    """A layer with a number that `call` reads, and a weight."""

    def __init__(self, factor: float = 2.0, **options: Any) -> None:
        super().__init__(**options)
        self.factor = factor

    def build(self, input_shape: Any) -> None:
        self.weight = self.add_weight((int(input_shape[-1]),), "ones")

    def call(self, inputs: Any) -> Any:
        return inputs * self.weight * self.factor


class Around(layers.Layer):
    """A layer with one within."""

    def __init__(self, inner: Any, **options: Any) -> None:
        super().__init__(**options)
        self.inner = inner

    def call(self, inputs: Any) -> Any:
        return self.inner(inputs) + 1.0


def network() -> Any:
    return keras.Sequential([keras.Input((3,)), layers.Dense(4, activation="tanh"), layers.Dense(1)])


class Counting:
    """A function that counts how often it is recorded."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.count = 0

        def counted(*args: Any) -> Any:
            self.count += 1
            return function(*args)

        self.call = keras.function(counted)


class OwnSteps(keras.Model):
    """A model with steps of its own, which count how often they are recorded."""

    def __init__(self, layer: Any = None) -> None:
        super().__init__()
        self.hidden = layers.Dense(4, activation="tanh") if layer is None else layer
        self.last = layers.Dense(1)
        self.counts = {"train": 0, "test": 0}

    def call(self, inputs: Any) -> Any:
        return self.last(self.hidden(inputs))

    def train_step(self, data: Any) -> Any:
        self.counts["train"] += 1
        return super().train_step(data)

    def test_step(self, data: Any) -> Any:
        self.counts["test"] += 1
        return super().test_step(data)


def own_steps(layer: Any = None) -> OwnSteps:
    model = OwnSteps(layer)
    model.compile(keras.optimizers.SGD(0.01), "mse")
    model.fit(X, Y, batch_size=2, epochs=1, verbose=0)
    model.evaluate(X, Y, batch_size=2, verbose=0)
    assert model.counts == {"train": 1, "test": 1}
    return model


def live_with_others() -> None:
    """Builds, trains, changes, freezes, copies and drops models that nothing else knows."""
    other = network()
    other.compile("adam", "mse")
    other.fit(X, Y, epochs=1, verbose=0)
    other.layers[0].trainable = False
    other.compile("adam", "mse")
    other.dtype_policy = "mixed_bfloat16"
    other.add(layers.Dense(2))
    other.pop()
    own_steps(Around(Scale()))
    custom = Scale()
    custom(X)
    custom.factor = 5.0
    custom.weight.regularizer = "l2"
    free = keras.Variable(1.0)
    free.trainable = False
    keras.models.clone_model(other)
    pickle.loads(pickle.dumps(other))
    inner = network()
    keras.Model(inner.inputs, layers.Dense(1)(inner.outputs[0]))
    with keras.GradientTape() as tape:
        loss = ops.mean(custom(X))
    tape.gradient(loss, custom.weight)
    del other, inner, custom
    gc.collect()


def test_other_models_leave_a_function_as_it_is() -> None:
    model, layer, variable = network(), Around(Scale()), keras.Variable(2.0)
    optimizer = keras.optimizers.SGD(0.01)

    def step(x: Any) -> Any:
        with keras.GradientTape() as tape:
            loss = ops.mean(ops.square(model(layer(x)) * variable))
        weights = [*model.trainable_variables, *layer.trainable_variables, variable]
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss

    compiled = Counting(step)
    compiled.call(X)
    for _ in range(2):
        live_with_others()
        compiled.call(X)
    assert compiled.count == 1


def test_other_models_leave_own_steps_as_they_are() -> None:
    model = own_steps()
    for _ in range(2):
        live_with_others()
        model.fit(X, Y, batch_size=2, epochs=2, verbose=0)
        model.train_on_batch(X[:2], Y[:2])
        model.evaluate(X, Y, batch_size=2, verbose=0)
    assert model.counts == {"train": 1, "test": 1}


def test_other_models_leave_what_tapes_have_compiled_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = list[Any]()
    real = functions._compiled

    def counted(request: Any, varying: Any) -> Any:
        compiled.append(request)
        return real(request, varying)

    monkeypatch.setattr(functions, "_compiled", counted)
    model, norm = network(), layers.BatchNormalization()

    def step() -> None:
        with keras.GradientTape() as tape:
            loss = ops.mean(norm(model(X), training=True))
        tape.gradient(loss, model.trainable_variables)[0].numpy()

    step()
    step()
    before = len(compiled)
    live_with_others()
    step()
    assert before > 0
    others = [each for each in compiled[before:] if any(_uses(entry, model) for entry in each.trace.entries)]
    assert others == []


def _uses(entry: Any, part: Any) -> bool:
    return getattr(entry, "part", None) is part


def test_threads_that_build_models_leave_a_function_as_it_is() -> None:
    model = network()
    compiled = Counting(lambda x: ops.sum(model(x)))
    compiled.call(X)
    stop = threading.Event()

    def build() -> None:
        while not stop.is_set():
            other = network()
            other.trainable = False

    threads = [threading.Thread(target=build) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(50):
            compiled.call(X)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert compiled.count == 1


def freeze(model: Any, layer: Any, inner: Any, variable: Any) -> None:
    del layer, inner, variable
    model.layers[0].trainable = False


def freeze_inner(model: Any, layer: Any, inner: Any, variable: Any) -> None:
    del model, layer, variable
    inner.trainable = False


def freeze_all(model: Any, layer: Any, inner: Any, variable: Any) -> None:
    del layer, inner, variable
    model.trainable = False


def policy(model: Any, layer: Any, inner: Any, variable: Any) -> None:
    del layer, inner, variable
    model.layers[1].dtype_policy = "mixed_bfloat16"


def attribute(model: Any, layer: Any, inner: Any, variable: Any) -> None:
    del model, layer, variable
    inner.factor = 3.0


def regularizer(model: Any, layer: Any, inner: Any, variable: Any) -> None:
    del model, layer, variable
    inner.weight.regularizer = "l2"


def constraint(model: Any, layer: Any, inner: Any, variable: Any) -> None:
    del model, layer, variable
    inner.weight.constraint = "non_neg"


def other_layers(model: Any, layer: Any, inner: Any, variable: Any) -> None:
    del layer, inner, variable
    model.add(layers.Dense(1, kernel_initializer="ones"))


def compile_it(model: Any, layer: Any, inner: Any, variable: Any) -> None:
    del layer, inner, variable
    model.compile("sgd", "mae")


def other_inner(model: Any, layer: Any, inner: Any, variable: Any) -> None:
    del model, inner, variable
    layer.inner = Scale(4.0)


def of_variable(model: Any, layer: Any, inner: Any, variable: Any) -> None:
    del model, layer, inner
    variable.trainable = False


CHANGES = [
    freeze, freeze_inner, freeze_all, policy, attribute, regularizer, constraint, other_layers, compile_it, other_inner,
    of_variable,
]  # fmt: skip


@pytest.mark.parametrize("in_a_thread", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_what_a_function_reads_compiles_it_anew(
    change: Callable[..., None], in_a_thread: bool
) -> None:
    inner, variable = Scale(), keras.Variable(2.0)
    model, layer = network(), Around(Around(inner))
    layer(X)
    outer = keras.Sequential([keras.Input((3,)), model])

    def read(x: Any) -> Any:
        return ops.sum(outer(layer(x)) * variable)

    compiled = Counting(read)
    compiled.call(X)
    if in_a_thread:
        thread = threading.Thread(target=change, args=(model, layer.inner, inner, variable))
        thread.start()
        thread.join()
    else:
        change(model, layer.inner, inner, variable)
    found = [float(compiled.call(X)) for _ in range(2)]
    assert compiled.count == 2
    assert found == pytest.approx([float(read(X))] * 2, rel=1e-5)


def test_own_steps_follow_a_layer_at_depth() -> None:
    inner = Scale()
    model = own_steps(Around(Around(inner)))
    inner.trainable = False
    kept = np.array(inner.weight)
    model.train_on_batch(X[:2], Y[:2])
    np.testing.assert_array_equal(inner.weight, kept)
    assert model.counts["train"] == 2
    inner.trainable = True
    model.train_on_batch(X[:2], Y[:2])
    assert (np.array(inner.weight) != kept).any()
    inner.factor = 0.0
    outputs = np.asarray(model.last(np.full((2, 3), 2.0, np.float32)))  # each layer around adds 1
    assert model.test_on_batch(X[:2], Y[:2]) == pytest.approx(
        float(np.mean((outputs - Y[:2]) ** 2)), rel=1e-5
    )
    assert model.counts == {"train": 3, "test": 2}


def test_a_change_while_another_thread_records_is_not_lost() -> None:
    layer = Scale()
    layer(X)
    reached, changed = threading.Event(), threading.Event()

    @keras.function
    def scaled(x: Any) -> Any:
        found = ops.sum(layer(x))
        reached.set()
        assert changed.wait(60)
        return found

    def change() -> None:
        assert reached.wait(60)
        layer.factor = 10.0
        changed.set()

    thread = threading.Thread(target=change)
    thread.start()
    scaled(X)
    thread.join()
    assert float(scaled(X)) == pytest.approx(10.0 * X.sum(), rel=1e-4)


def test_what_a_function_changes_itself_is_part_of_it() -> None:
    class Annealed(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.scale = Scale()
            self.recorded = 0

        def call(self, inputs: Any) -> Any:
            return self.scale(inputs)

        def train_step(self, data: Any) -> Any:
            self.recorded += 1
            self.scale.factor = self.scale.factor * 0.5
            return super().train_step(data)

    model = Annealed()
    model.compile("sgd", "mse")
    model.fit(X, X, batch_size=2, epochs=2, verbose=0)
    assert (model.recorded, model.scale.factor) == (1, 1.0)


def test_compiled_functions_keep_no_model_alive() -> None:
    model = OwnSteps()
    model.compile("sgd", "mse")
    model.fit(X, Y, batch_size=2, verbose=0)
    inside = network()

    @keras.function
    def predicted(model: Any, x: Any) -> Any:
        return model(x)

    held = weakref.ref(model.hidden)
    dependencies = Dependencies()
    dependencies.add(model)
    dependencies.add(inside)
    del model
    gc.collect()
    assert held() is None
    assert dependencies.are_unchanged
    assert np.asarray(predicted(inside, X)).shape == (6, 1)
    inside.trainable = False
    assert not dependencies.are_unchanged
