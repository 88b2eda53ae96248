"""Tests of layers that several models share: all use the same weights."""

from __future__ import annotations

import gc
import threading
from typing import Any

import numpy as np
import pytest
from conftest import CLASSES, FEATURES, Blobs, classifier, same_weights

import engine as keras
from engine import layers
from engine._core_interface.cpp import Program


def features_of(model: Any, how: str) -> Any:
    if how == "stack":
        return keras.Sequential(model.layers[:-1])
    if how == "inputs":
        return keras.Model(inputs=model.inputs, outputs=model.layers[-2].output)
    return keras.Model(model.input, model.get_layer(index=-1).input)


@pytest.mark.parametrize("how", ["stack", "inputs", "input"])
def test_features_while_a_model_learns(how: str, blobs: Blobs) -> None:
    model = classifier()
    features = features_of(model, how)
    seen: list[Any] = []
    watch = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(features.predict(blobs.x, verbose=0))
    )
    model.fit(blobs.x, blobs.y, epochs=2, verbose=0, callbacks=[watch])
    kernel, bias, *_ = model.get_weights()
    np.testing.assert_allclose(seen[1], np.maximum(blobs.x @ kernel + bias, 0), rtol=1e-4, atol=1e-5)
    assert not np.array_equal(*seen)
    assert np.array_equal(features.predict(blobs.x, verbose=0), seen[1])
    assert features.layers[-1] is model.layers[-2]


def test_watching_changes_nothing(blobs: Blobs) -> None:
    """Making and compiling a model while another one trains does not change that training."""

    def trained(watched: bool) -> Any:
        keras.utils.set_random_seed(3)
        model = classifier()

        def watch(epoch: int, logs: Any) -> None:
            features = keras.Sequential(model.layers[:-1])
            features.predict(blobs.x, verbose=0)
            head = keras.Sequential([*model.layers[:-1], layers.Dense(2)])
            head.compile("sgd", "mse")

        callbacks = [keras.callbacks.LambdaCallback(on_epoch_end=watch)] if watched else []
        model.fit(blobs.x, blobs.y, epochs=3, verbose=0, shuffle=False, callbacks=callbacks)
        return model

    assert same_weights(trained(False), trained(True))


def test_trainings_take_turns(blobs: Blobs) -> None:
    """Each training continues with the weights of the other, and has its own optimizer."""
    shared = layers.Dense(8, "relu")
    models = [
        keras.Sequential([keras.Input((FEATURES,)), shared, layers.Dense(n, "softmax")]) for n in (CLASSES, 5)
    ]
    for model in models:
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy")
    alone = keras.Sequential([keras.Input((FEATURES,)), layers.Dense(8, "relu"), layers.Dense(5, "softmax")])
    alone.compile(keras.optimizers.SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy")
    models[0].fit(blobs.x, blobs.y, verbose=0)
    alone.set_weights(models[1].get_weights())
    for model in (models[1], alone):
        model.fit(blobs.x, blobs.y, verbose=0, shuffle=False)
    assert same_weights(models[1], alone)
    assert models[0].layers[0] is models[1].layers[0]
    for model in models:
        model.train_on_batch(blobs.x, blobs.y)
        assert np.array_equal(model.get_weights()[0], shared.kernel)


def test_models_of_a_chain_in_the_middle(blobs: Blobs) -> None:
    """As in scripts about autoencoders, the decoder is the last layer, called on a new input."""
    x = keras.Input((FEATURES,))
    code = layers.Dense(2, activation="relu", name="code")(x)
    whole = keras.Model(x, layers.Dense(FEATURES)(code))
    encoder = keras.Model(x, code)
    z = keras.Input((2,))
    decoders = [
        keras.Model(z, whole.layers[-1](z)),
        keras.Model(whole.get_layer("code").output, whole.output),
    ]
    whole.compile("adam", "mse")
    whole.fit(blobs.x, blobs.x, verbose=0)
    codes = encoder.predict(blobs.x, verbose=0)
    for decoder in decoders:
        assert np.array_equal(decoder.predict(codes, verbose=0), whole.predict(blobs.x, verbose=0))
    with pytest.raises(ValueError, match=r"depend on another Input\(\)"):
        keras.Model(whole.output, code)


def test_weights_stay_when_a_model_goes(blobs: Blobs) -> None:
    model = classifier()
    features = keras.Sequential(model.layers[:-1])
    expected = features.predict(blobs.x, verbose=0)
    del model
    gc.collect()
    features.add(layers.Dense(2))
    features.pop()
    assert np.array_equal(features.predict(blobs.x, verbose=0), expected)


def test_layers_that_leave_a_model() -> None:
    model = classifier()
    last = model.layers[-1]
    other = keras.Sequential([keras.Input((8,)), last])
    model.pop()
    assert model.layers[-1] is not last
    last.set_weights([np.ones_like(w) for w in last.get_weights()])
    assert all((w == 1).all() for w in other.get_weights())
    model.add(last)
    assert all((w == 1).all() for w in model.get_weights()[2:])


def test_a_layer_knows_the_first_model_that_has_it() -> None:
    model = classifier()
    shared = model.layers[0]
    other = keras.Sequential([keras.Input((FEATURES,)), layers.Dropout(0.1), shared])
    assert shared.input.start is model.input.start
    assert shared.output.shape == (None, 8)
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.layers[1].trainable = False
    model.compile("sgd", "sparse_categorical_crossentropy")  # each model has its own program
    assert shared.input.start is model.input.start
    del model
    gc.collect()
    assert shared.input._layer is other.layers[0]


def test_shapes_must_agree() -> None:
    shared = layers.Dense(2)
    model = keras.Sequential([keras.Input((3,)), shared])
    with pytest.raises(ValueError, match=r"kernel of shape \(3, 2\) but would need \(4, 2\)"):
        keras.Sequential([keras.Input((4,)), shared])
    assert model.predict(np.ones((1, 3)), verbose=0).shape == (1, 2)


def test_threads_that_train_and_ask(blobs: Blobs) -> None:
    """Predictions never see partly written weights: they wait for the end of a step of any model."""
    model = classifier()
    features = keras.Sequential(model.layers[:-1])
    both = keras.Sequential([features, layers.Dense(CLASSES, "softmax")])
    both.compile("adam", "sparse_categorical_crossentropy")
    errors: list[BaseException] = []

    def work(action: Any) -> None:
        try:
            for _ in range(20):
                action()
        except BaseException as error:
            errors.append(error)

    actions = [
        lambda: model.fit(blobs.x, blobs.y, verbose=0),
        lambda: both.fit(blobs.x, blobs.y, verbose=0),
        lambda: features.predict(blobs.x, verbose=0),
        lambda: features.set_weights(features.get_weights()),
    ]
    threads = [threading.Thread(target=work, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert np.isfinite(both.predict(blobs.x, verbose=0)).all()


DENSE = [{"kind": "dense", "units": 2, "use_bias": True}]


def test_programs_use_the_same_weights() -> None:
    first = Program(3, DENSE)
    second = Program(3, [*DENSE, *({**each, "units": 4} for each in DENSE)], 1, [*first.arrays, None, None])
    first.write_variables([np.ones((3, 2)), np.zeros(2)])
    second.write_variables([np.full(2, 7)], 1)
    assert [variable.flat[0] for variable in first.variables] == [1, 7]
    assert [variable.flat[0] for variable in second.variables] == [1, 7, 0, 0]
    del first
    gc.collect()
    assert second.read_variables(0, 1)[0].tolist() == [[1, 1]] * 3
    kernel, bias, *_ = second.arrays
    for arrays, message in (
        ([kernel], "an array or none for each of 2"),
        ([bias, None], "variable 0: .* another shape"),
    ):
        with pytest.raises(ValueError, match=message):
            Program(3, DENSE, 1, arrays)
    for values, place in (([np.zeros(2)] * 9, 0), ([np.zeros(2)], 9), ([np.zeros(2), np.zeros((2, 4))], 3)):
        with pytest.raises(ValueError, match="expected"):
            second.write_variables(values, place)
