"""Tests of fit, evaluate, predict and the *_on_batch methods."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from common import compiled
from conftest import Blobs, classifier, same_weights
from numpy.typing import NDArray

import engine as keras

# Tolerance of sums of float32 losses: the engine sums in double precision, and NumPy in another order.
RTOL = 1e-5


def fitted(blobs: Blobs, **options: Any) -> keras.Sequential:
    """Builds a model with the same initial weights in every call, and returns it after `fit`."""
    keras.utils.set_random_seed(5)
    model = classifier()
    model.fit(blobs.x, blobs.y, **({"verbose": 0} | options))
    return model


def losses_of(model: keras.Sequential, blobs: Blobs) -> NDArray[np.float32]:
    return keras.losses.sparse_categorical_crossentropy(blobs.y, model.predict(blobs.x))


def test_fit_learns(blobs: Blobs) -> None:
    model = fitted(blobs, epochs=60)
    assert model.evaluate(blobs.x, blobs.y)[1] > 0.95
    assert model.history.history["loss"][-1] < 0.5 * model.history.history["loss"][0]


def test_history_has_one_float_per_epoch(blobs: Blobs) -> None:
    model = classifier()
    history = model.fit(blobs.x, blobs.y, epochs=3, validation_split=0.2, verbose=0)
    assert history is model.history
    assert list(history.history) == ["accuracy", "loss", "val_accuracy", "val_loss"]
    assert all(len(values) == 3 for values in history.history.values())
    assert all(isinstance(value, float) for values in history.history.values() for value in values)
    assert history.epoch == [0, 1, 2]
    assert history.params == {"verbose": 0, "epochs": 3, "steps": 4}


def test_reported_loss_is_weighted_by_batch_size(blobs: Blobs) -> None:
    # 150 samples: batches of 64, 64 and 22
    model = classifier(optimizer=keras.optimizers.SGD(0.0))
    expected = losses_of(model, blobs).mean()
    history = model.fit(blobs.x, blobs.y, batch_size=64, verbose=0)
    assert history.history["loss"] == [pytest.approx(expected, rel=RTOL)]
    assert model.optimizer.iterations == 3


def test_seeds_give_the_same_bits(blobs: Blobs) -> None:
    assert same_weights(fitted(blobs, epochs=2), fitted(blobs, epochs=2))
    keras.utils.set_random_seed(6)
    other = classifier()
    assert not same_weights(other, classifier())


def test_an_epoch_more_is_a_fit_more(blobs: Blobs) -> None:
    model = fitted(blobs, epochs=1)
    model.fit(blobs.x, blobs.y, epochs=3, initial_epoch=1, verbose=0)
    assert model.history.epoch == [1, 2]
    assert same_weights(model, fitted(blobs, epochs=3))


def test_shuffle(blobs: Blobs) -> None:
    in_order = fitted(blobs, shuffle=False)
    by_hand = fitted(blobs, epochs=0)
    for start in range(0, 150, 32):
        by_hand.train_on_batch(blobs.x[start : start + 32], blobs.y[start : start + 32])
    assert same_weights(in_order, by_hand)
    assert not same_weights(in_order, fitted(blobs, shuffle=True))
    assert not same_weights(in_order, fitted(blobs, shuffle="batch"))
    assert not same_weights(fitted(blobs, shuffle=True), fitted(blobs, shuffle="batch"))


def test_validation_split_takes_the_last_samples(blobs: Blobs) -> None:
    split = fitted(blobs, epochs=2, validation_split=0.3)
    x, y = blobs.x[:105], blobs.y[:105]
    keras.utils.set_random_seed(5)
    given = classifier()
    given.fit(x, y, epochs=2, validation_data=(blobs.x[105:], blobs.y[105:]), verbose=0)
    assert same_weights(split, given)
    assert split.history.history == given.history.history
    expected = split.evaluate(blobs.x[105:], blobs.y[105:])
    assert [split.history.history[f"val_{name}"][-1] for name in ("loss", "accuracy")] == expected


def test_validation_data_overrides_the_split_and_may_be_weighted(blobs: Blobs) -> None:
    weight = np.arange(10.0)
    model = fitted(blobs, validation_split=0.5, validation_data=(blobs.x[:10], blobs.y[:10], weight))
    assert model.history.params["steps"] == 5
    expected = (losses_of(model, blobs)[:10] * weight).mean()
    assert model.history.history["val_loss"] == [pytest.approx(expected, rel=RTOL)]


def test_validation_steps_and_freq(blobs: Blobs) -> None:
    model = fitted(blobs, epochs=5, validation_split=0.5, validation_freq=2)
    assert len(model.history.history["val_loss"]) == 2
    model = fitted(
        blobs,
        epochs=5,
        validation_data=(blobs.x, blobs.y),
        validation_freq=[1, 5],
        validation_steps=2,
        batch_size=32,
    )
    assert len(model.history.history["val_loss"]) == 2
    assert model.history.history["val_loss"][-1] == model.evaluate(blobs.x[:64], blobs.y[:64])[0]
    model = fitted(blobs, validation_data=(blobs.x, blobs.y), validation_batch_size=7, validation_steps=3)
    assert model.history.history["val_loss"] == [model.evaluate(blobs.x[:21], blobs.y[:21])[0]]


def test_steps_alone_cover_everything(blobs: Blobs) -> None:
    model = fitted(blobs, validation_data=(blobs.x, blobs.y), validation_steps=2)
    assert model.history.history["val_loss"] == [model.evaluate(blobs.x, blobs.y)[0]]
    assert model.evaluate(blobs.x, blobs.y, steps=4) == model.evaluate(blobs.x, blobs.y)
    assert len(model.predict(blobs.x, steps=7)) == 150


def test_sample_weights_scale_losses(blobs: Blobs, rng: np.random.Generator) -> None:
    weight = rng.uniform(0, 2, 150)
    model = classifier(optimizer=keras.optimizers.SGD(0.0))
    expected = (losses_of(model, blobs) * weight).mean()
    for shaped in (weight, weight[:, np.newaxis], weight.tolist()):
        history = model.fit(blobs.x, blobs.y, sample_weight=shaped, verbose=0)
        assert history.history["loss"] == [pytest.approx(expected, rel=RTOL)]
    nothing = fitted(blobs, sample_weight=np.zeros(150))
    assert same_weights(nothing, fitted(blobs, epochs=0))


def test_class_weights_are_sample_weights(blobs: Blobs) -> None:
    weight = np.where(blobs.y == 1, 3.0, np.where(blobs.y == 2, 0.5, 1.0))
    by_class = fitted(blobs, class_weight={1: 3.0, "2": 0.5}, epochs=2)
    assert same_weights(by_class, fitted(blobs, sample_weight=weight, epochs=2))
    both = fitted(blobs, class_weight={1: 3.0, 2: 0.5}, sample_weight=np.full(150, 2.0))
    assert same_weights(both, fitted(blobs, sample_weight=2 * weight))
    keras.utils.set_random_seed(5)
    one_hot = classifier(loss="categorical_crossentropy")
    one_hot.fit(blobs.x, blobs.one_hot, class_weight={1: 3.0, 2: 0.5}, epochs=2, verbose=0)
    assert same_weights(one_hot, by_class)


def test_class_weights_of_a_binary_model(blobs: Blobs) -> None:
    model = keras.Sequential([keras.layers.Dense(1, "sigmoid", input_shape=(6,))])
    model.compile(keras.optimizers.SGD(0.0), "binary_crossentropy")
    y = (blobs.y > 0).astype(float)[:, np.newaxis]
    expected = keras.losses.binary_crossentropy(y, model.predict(blobs.x)) * np.where(y[:, 0] > 0, 2, 1)
    history = model.fit(blobs.x, y, class_weight={1: 2.0}, verbose=0)
    assert history.history["loss"] == [pytest.approx(expected.mean(), rel=RTOL)]


def test_steps_per_epoch_goes_on_where_it_ended(blobs: Blobs) -> None:
    # 5 batches: 2 + 2 + 1, then from the start
    with pytest.warns(UserWarning, match="`steps_per_epoch=2` asks for more batches than the data has left"):
        model = fitted(blobs, steps_per_epoch=2, batch_size=32, epochs=4, shuffle=False)
    assert model.optimizer.iterations == 7
    by_hand = fitted(blobs, epochs=0)
    for batch in (0, 1, 2, 3, 4, 0, 1):
        by_hand.train_on_batch(blobs.x[batch * 32 : batch * 32 + 32], blobs.y[batch * 32 : batch * 32 + 32])
    assert same_weights(model, by_hand)


def test_steps_per_epoch_alone_sets_the_batch_size(blobs: Blobs) -> None:
    model = fitted(blobs, steps_per_epoch=4, epochs=2)
    assert same_weights(model, fitted(blobs, batch_size=38, epochs=2))
    assert model.history.params["steps"] == 4


def test_train_on_batch_reports_and_steps(blobs: Blobs) -> None:
    model = classifier()
    before = model.evaluate(blobs.x, blobs.y)
    assert model.train_on_batch(blobs.x, blobs.y) == pytest.approx(before, rel=RTOL)
    assert model.test_on_batch(blobs.x, blobs.y)[0] < before[0]
    assert model.test_on_batch(blobs.x, blobs.y) == pytest.approx(model.evaluate(blobs.x, blobs.y), rel=RTOL)
    named = model.train_on_batch(blobs.x, blobs.y, class_weight={0: 2.0}, return_dict=True)
    assert list(named) == ["accuracy", "loss"]
    assert list(model.test_on_batch(blobs.x, blobs.y, return_dict=True)) == ["accuracy", "loss"]


def test_evaluate_does_not_depend_on_the_batch_size(blobs: Blobs) -> None:
    model = classifier()
    expected = model.evaluate(blobs.x, blobs.y)
    assert expected[0] == pytest.approx(losses_of(model, blobs).mean(), rel=RTOL)
    assert model.evaluate(blobs.x, blobs.y, batch_size=7) == expected
    assert model.evaluate(blobs.x, blobs.y, steps=2, batch_size=10) == model.evaluate(
        blobs.x[:20], blobs.y[:20]
    )
    counted: list[int] = []
    hook = keras.callbacks.LambdaCallback(on_test_batch_end=lambda batch, logs: counted.append(batch))
    assert model.evaluate(blobs.x, blobs.y, batch_size=40, callbacks=[hook]) == pytest.approx(expected)
    assert counted == [0, 1, 2, 3]


def test_predict_is_the_same_row_by_row(blobs: Blobs) -> None:
    model = classifier()
    expected = model.predict(blobs.x)
    assert (expected.shape, expected.dtype) == ((150, 3), np.float32)
    assert np.array_equal(np.concatenate([model.predict(blobs.x[i : i + 1]) for i in range(150)]), expected)
    for again in (model(blobs.x), model.predict_on_batch(blobs.x), model.predict(blobs.x, batch_size=7)):
        assert np.array_equal(again, expected)
    assert np.array_equal(model.predict(blobs.x, batch_size=10, steps=2), expected[:20])


def test_float_class_indices_and_columns_are_labels(blobs: Blobs) -> None:
    expected = fitted(blobs)
    for y in (blobs.y.astype(float), blobs.y[:, np.newaxis], blobs.y.astype(np.uint8), blobs.y.tolist()):
        assert same_weights(fitted(blobs._replace(y=y)), expected)


def test_one_output_takes_flat_targets(blobs: Blobs) -> None:
    model = compiled(keras.Sequential([keras.layers.Dense(1, input_shape=(6,))]), "sgd", "mse")
    column = model.evaluate(blobs.x, blobs.x[:, :1])
    assert model.evaluate(blobs.x, blobs.x[:, 0]) == column
    single = compiled(keras.Sequential([keras.layers.Dense(1)]), "sgd", "mse")
    single.fit(blobs.x[:, 0], blobs.x[:, 0], verbose=0)
    assert single.input_shape == (None, 1)


def test_outputs_keep_their_shape(rng: np.random.Generator) -> None:
    model = compiled(keras.Sequential([keras.layers.Rescaling(2.0, input_shape=(2, 3))]), "sgd", "mse")
    x = rng.normal(0, 1, (5, 2, 3)).astype(np.float32)
    assert np.array_equal(model.predict(x), 2 * x)
    assert model.evaluate(x, np.zeros((5, 2, 3))) == pytest.approx(np.mean(4 * x**2), rel=RTOL)


def test_without_a_loss_there_is_nothing_to_learn(blobs: Blobs) -> None:
    model = classifier(loss=None, metrics=None)
    assert model.predict(blobs.x).shape == (150, 3)
    before = model.get_weights()
    with pytest.warns(UserWarning, match="compiled without a `loss`, and no layer adds to it"):
        history = model.fit(blobs.x, blobs.y, verbose=0)
    assert history.history == {"loss": [0.0]}
    assert all(np.array_equal(one, other) for one, other in zip(before, model.get_weights(), strict=True))


def test_results_do_not_depend_on_threads(blobs: Blobs) -> None:
    default = keras.config.get_threads()
    try:
        keras.config.set_threads(1)
        assert keras.config.get_threads() == 1
        alone = fitted(blobs, epochs=2)
        keras.config.set_threads(3)
        assert keras.config.get_threads() == 3
        assert same_weights(fitted(blobs, epochs=2), alone)
    finally:
        keras.config.set_threads(None)
    assert keras.config.get_threads() == default


def test_a_build_without_openmp_says_that_it_has_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine._core_interface.cpp.build_info", lambda: {"openmp": False})
    monkeypatch.setattr("engine._core_interface.cpp.set_threads", lambda n: None)
    with pytest.warns(UserWarning, match="has no OpenMP: it uses one thread"):
        keras.config.set_threads(2)
    keras.config.set_threads(1)


def test_a_thread_with_a_number_of_its_own_may_set_that_of_all() -> None:
    default = keras.config.get_threads()
    try:
        with keras.config.threads(1):
            keras.config.set_threads(2)  # without a warning
            assert keras.config.get_threads() == 1
        assert keras.config.get_threads() == 2
    finally:
        keras.config.set_threads(None)
    assert keras.config.get_threads() == default


def test_many_threads_predict_at_once(blobs: Blobs) -> None:
    model = keras.Sequential([keras.layers.Dense(8, "relu"), keras.layers.Dense(3, "softmax")])
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: model.predict(blobs.x), range(32)))
    assert all(np.array_equal(result, results[0]) for result in results)


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Enables Ctrl-C. Background processes of a shell ignore it, and their children inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_leaves_a_usable_model(blobs: Blobs) -> None:
    model = classifier()
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        model.fit(blobs.x, blobs.y, epochs=10**6, verbose=0)
    timer.join()
    steps = int(model.optimizer.iterations)
    assert steps > 0
    assert np.isfinite(model.predict(blobs.x)).all()
    model.fit(blobs.x, blobs.y, verbose=0)
    assert model.optimizer.iterations == steps + 5
    model.compile("sgd", "sparse_categorical_crossentropy")


def test_good_weights_end_a_divergence(blobs: Blobs) -> None:
    model = classifier()
    good, before = model.get_weights(), model.evaluate(blobs.x, blobs.y)
    model.set_weights([np.full_like(weight, np.nan) for weight in good])
    with pytest.warns(UserWarning, match="is nan, and its weights are lost"):
        model.fit(blobs.x, blobs.y, verbose=0)
    model.set_weights(good)
    assert model.evaluate(blobs.x, blobs.y) == before
