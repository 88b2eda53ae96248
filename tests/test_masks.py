"""Tests of means over timesteps with masks: expected numbers, and errors."""

from __future__ import annotations

import numpy as np
import pytest
from bits_worker import CASES, digest, train
from common import assert_all_close, compiled

import engine as keras
from engine import _core, layers

TOKENS = np.array([[1, 2, 0, 0], [3, 0, 0, 0], [0, 0, 0, 0]])


def test_padding_is_left_out_of_the_mean() -> None:
    table, mean = np.arange(12.0, dtype=np.float32).reshape(4, 3), layers.GlobalAveragePooling1D
    stack = [layers.Embedding(4, 3, weights=table, mask_zero=True), mean()]
    model = keras.Sequential([keras.Input((4,)), *stack])
    expected = [(table[1] + table[2]) / 2, table[3], [0, 0, 0]]  # the last row is NaN in Keras
    assert np.array_equal(model.predict(TOKENS), expected)
    model = keras.Sequential([keras.Input((4,)), layers.Embedding(4, 3, weights=table), mean()])
    assert model.predict(TOKENS) == pytest.approx(table[TOKENS].mean(axis=1))


def test_a_mask_goes_through_files(tmp_path: object) -> None:
    stack = [layers.Masking(2.0), layers.GlobalAveragePooling1D(keepdims=True)]
    model = keras.Sequential([keras.Input((3, 2)), *stack])
    x = np.array([[[1, 3], [2, 2], [3, 5]]], np.float32)
    assert model.predict(x).tolist() == [[[2, 4]]]
    again = keras.Sequential.from_config(model.get_config())
    assert again.predict(x).tolist() == [[[2, 4]]]
    model.save(f"{tmp_path}/model.npz")
    assert keras.models.load_model(f"{tmp_path}/model.npz").predict(x).tolist() == [[[2, 4]]]


def test_what_a_mask_leaves_out_costs_nothing() -> None:
    model = keras.Sequential([keras.Input((4,)), layers.Embedding(4, 3, mask_zero=True), layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse", weighted_metrics=["mae"])
    y = np.where(TOKENS[..., np.newaxis] == 0, 1e6, 1.0)
    assert model.evaluate(TOKENS, y)[0] < 10
    bias = model.layers[1].bias.numpy()
    model.fit(TOKENS[2:], y[2:], verbose=0)
    assert np.array_equal(model.layers[1].bias, bias)  # the mask excludes all rows of the batch
    others = keras.models.clone_model(model)
    others.set_weights(model.get_weights())
    others.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(TOKENS, y, class_weight={1: 2.0, 10**6: 3.0}, verbose=0)
    others.fit(TOKENS, y, sample_weight=np.full((3, 4), 2.0), verbose=0)
    assert all(map(np.array_equal, model.get_weights(), others.get_weights()))


def test_masks_of_outputs_that_all_threads_add_up() -> None:
    case = CASES["float32_one_output"]()
    x = np.where(np.arange(len(case.x))[:, np.newaxis] % 3, case.x, 0)
    stack = [{"kind": "mask", "value": 0.0}, *case.layers]
    masked = case._replace(x=x, layers=stack, loss={"kind": "mean_squared_error", "masked": True})
    found = set()
    for threads in (1, 2, 3, 4):
        _core.set_threads(threads)
        program, run = train(masked)
        found.add((digest(program.variables), run.totals.loss))
    _core.set_threads(0)
    assert len(found) == 1


def test_masks_at_other_places() -> None:
    masked = [keras.Input((4,)), layers.Embedding(4, 3, mask_zero=True)]
    model = keras.Sequential([*masked, layers.Dense(1)])
    assert model.predict(TOKENS).shape == (3, 4, 1)
    model.add(layers.GlobalAveragePooling1D())
    model.compile("sgd", "mse")
    model.fit(TOKENS, np.zeros((3, 1)), verbose=0)
    model.pop()
    model.fit(TOKENS, np.zeros((3, 4, 1)), verbose=0)
    for layer in (layers.BatchNormalization(axis=1), layers.GlobalAveragePooling1D("channels_first")):
        with pytest.raises(ValueError, match="must have its features on the last axis, as layer 'gaps'"):
            keras.Sequential([keras.Input((4, 2)), layers.Masking(name="gaps"), layer])


def normalized(threads: int, x: np.ndarray) -> keras.Sequential:
    """Returns a model after one training step on all of x (n, steps, features)."""
    keras.utils.set_random_seed(1)
    _core.set_threads(threads)
    norm = layers.BatchNormalization(momentum=0.0, epsilon=0.25)
    model = keras.Sequential([keras.Input(x.shape[1:]), layers.Dense(x.shape[-1]), layers.Masking(), norm])
    model.layers[0].set_weights([np.eye(x.shape[-1]), np.zeros(x.shape[-1])])
    model.compile(keras.optimizers.SGD(1.0), keras.losses.MeanSquaredError(reduction="sum"))
    model.fit(x, np.sin(x), batch_size=len(x), verbose=0)
    return model


def test_rows_left_out_of_statistics() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(1.0, 2.0, (40, 5, 3)).astype(np.float32)
    x[rng.uniform(size=(40, 5)) < 0.3] = 0.0
    model = normalized(1, x)
    rows = x.reshape(-1, 3).astype(float)
    counts = rows.any(axis=1)
    n, kept = counts.sum(), rows[counts]
    mean, variance = kept.mean(axis=0), kept.var(axis=0)
    np.testing.assert_allclose(model.layers[2].moving_mean, mean, rtol=1e-5)
    np.testing.assert_allclose(model.layers[2].moving_variance, variance, rtol=1e-5)

    def loss(kernel: np.ndarray) -> float:
        z = rows @ kernel
        centred = z - z[counts].mean(axis=0)
        y = centred / np.sqrt((centred[counts] ** 2).sum(axis=0) / n + 0.25)
        return float((((y - np.sin(rows)) ** 2).mean(axis=1) * counts).sum())

    gradient = np.zeros((3, 3))
    for at in np.ndindex(3, 3):
        step = np.zeros((3, 3))
        step[at] = 1e-5
        gradient[at] = (loss(np.eye(3) + step) - loss(np.eye(3) - step)) / 2e-5
    np.testing.assert_allclose(model.layers[0].kernel, np.eye(3) - gradient, rtol=1e-4, atol=1e-4)


def test_statistics_of_no_row() -> None:
    model = normalized(1, np.zeros((8, 5, 3), np.float32))
    assert not model.layers[2].moving_mean.numpy().any()
    assert not model.layers[2].moving_variance.numpy().any()
    assert np.array_equal(model.layers[0].kernel, np.eye(3))


def test_masked_statistics_have_the_same_bits_on_all_threads() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(300, 7, 48)).astype(np.float32) * (rng.uniform(size=(300, 7, 1)) > 0.4)
    found = [normalized(threads, x).get_weights() for threads in (1, 2, 3, 4)]
    _core.set_threads(0)
    for weights in found[1:]:
        assert all(map(np.array_equal, weights, found[0]))


def test_layers_of_ones_own_pass_masks_on_if_they_say_so() -> None:
    class Twice(layers.Layer):
        def call(self, inputs: np.ndarray) -> np.ndarray:
            return inputs * 2

    class FirstStep(layers.Layer):
        supports_masking = True

        def call(self, inputs: np.ndarray) -> np.ndarray:
            return inputs[:, 0]

    passing, dropping = Twice(), Twice()
    passing.supports_masking = True
    x = np.array([[[1.0], [0.0]]])
    mean = layers.GlobalAveragePooling1D
    assert keras.Sequential([layers.Masking(), passing, mean()]).predict(x).item() == 2
    with pytest.warns(UserWarning, match="was passed an input with a mask attached to it"):
        model = keras.Sequential([keras.Input((2, 1)), layers.Masking(), dropping, mean()])
    assert model.predict(x).item() == 1
    model = keras.Sequential([keras.Input((2, 1)), layers.Masking(name="gaps"), FirstStep()])
    with pytest.raises(ValueError, match=r"mask of layer 'gaps' .*\(n, 2\), but the loss has one value"):
        model.compile("sgd", "mse")
    program = _core.Program(4, [{"kind": "dense", "units": 2, "activation": "linear"}])
    with pytest.raises(ValueError, match="can be 'masked' where a mask is about the rows of outputs"):
        program.compile({"kind": "mean_squared_error", "masked": True}, {"kind": "sgd"}, [])


def test_shapes_that_have_no_rows() -> None:
    for layer, shape in ((layers.GlobalAveragePooling1D(), (4,)), (layers.GlobalAveragePooling2D(), (4, 3))):
        with pytest.raises(ValueError, match=r"takes samples with \d axes, .*but gets"):
            keras.Sequential([keras.Input(shape), layer])
    with pytest.raises(ValueError, match="`data_format` must be one of"):
        layers.GlobalAveragePooling1D("first")
    with pytest.raises(TypeError, match="`keepdims` must be True or False"):
        layers.GlobalAveragePooling1D(keepdims="yes")
    with pytest.raises(TypeError, match="`mask_value` must be a number"):
        layers.Masking("0")
    with pytest.raises(TypeError, match="`mask_zero` must be True or False"):
        layers.Embedding(3, 2, mask_zero="yes")
    with pytest.raises(ValueError, match="rows"):
        _core.Program(3, [{"kind": "mean", "groups": 2}])


class MeanOfSteps(layers.Layer):
    """A layer that computes the mean over the timesteps that the mask keeps."""

    def call(self, inputs: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        return np.sum(self.shares(inputs, mask) * inputs, axis=1)

    def compute_mask(self, inputs: np.ndarray, mask: np.ndarray | None = None) -> None:
        return None

    def gradient(
        self, inputs: np.ndarray, upstream: np.ndarray, mask: np.ndarray | None = None
    ) -> np.ndarray:
        return self.shares(inputs, mask) * upstream[:, np.newaxis]

    @staticmethod
    def shares(inputs: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
        counts = np.ones(inputs.shape[:-1]) if mask is None else mask
        assert mask is None or mask.dtype == bool
        return (counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))[..., np.newaxis].astype(np.float32)


def test_layers_of_ones_own_read_masks() -> None:
    rng = np.random.default_rng(0)
    tokens, y = rng.integers(0, 4, (40, 6)), rng.normal(size=(40, 1))
    models = []
    for mean in (layers.GlobalAveragePooling1D(), MeanOfSteps()):
        keras.utils.set_random_seed(1)
        stack = [layers.Embedding(4, 3, mask_zero=True), layers.LayerNormalization(), mean, layers.Dense(1)]
        models.append(keras.Sequential([keras.Input((6,)), *stack]))
        models[-1].compile(keras.optimizers.SGD(0.1), "mse")
        models[-1].fit(tokens, y, epochs=3, verbose=0)
    assert_all_close(models[1].get_weights(), models[0].get_weights(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(models[1].predict(tokens), models[0].predict(tokens), rtol=1e-4, atol=1e-6)
    x = rng.normal(size=(2, 3, 2)).astype(np.float32)
    np.testing.assert_allclose(MeanOfSteps()(x), x.mean(axis=1), rtol=1e-6)


def test_compute_mask_tells_whether_a_mask_goes_on() -> None:
    class Own(layers.Layer):
        def call(self, inputs: np.ndarray) -> np.ndarray:
            return inputs * 1

    class Passing(Own):
        def compute_mask(self, inputs: np.ndarray, mask: object = None) -> object:
            return super().compute_mask(inputs, mask)

    class Dropping(Own):
        def compute_mask(self, inputs: np.ndarray, mask: object = None) -> None:
            return None

    class Making(Own):
        def compute_mask(self, inputs: np.ndarray, mask: object = None) -> np.ndarray:
            return np.any(inputs != 0, axis=-1)

    assert [cls().supports_masking for cls in (Own, Passing, Dropping)] == [False, True, True]
    x = np.array([[[1.0], [0.0]]])
    mean = layers.GlobalAveragePooling1D
    assert keras.Sequential([layers.Masking(), Passing(), mean()]).predict(x).item() == 1
    assert keras.Sequential([layers.Masking(), Dropping(), mean()]).predict(x).item() == 0.5
    for before in ([], [layers.Masking()]):
        assert keras.Sequential([keras.Input((2, 1)), *before, Making(), mean()]).predict(x).item() == 1
    with pytest.raises(TypeError, match="Mine can't override `compute_mask` of Masking"):
        type("Mine", (layers.Masking,), {"compute_mask": lambda self, *_: None})


class Large(layers.Layer):
    """A layer that returns its inputs, with a mask of the rows above 1."""

    def call(self, inputs: np.ndarray) -> np.ndarray:
        return inputs * 1

    def compute_mask(self, inputs: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray | None:
        return None if inputs.shape[-1] == 4 and (inputs < 0).all() else inputs[..., 0] > 1

    def gradient(self, inputs: np.ndarray, upstream: np.ndarray) -> np.ndarray:
        return upstream


def test_masks_that_layers_make_have_the_same_bits_on_all_threads() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.normal(1.0, 1.0, (150, 5, 4)), rng.normal(size=(150, 5, 2))
    found = []
    for threads in (1, 2, 3, 4):
        _core.set_threads(threads)
        keras.utils.set_random_seed(2)
        stack = [layers.Dense(40, "relu"), Large(), layers.BatchNormalization(), layers.Dense(2)]
        model = compiled(keras.Sequential([keras.Input((5, 4)), *stack]), "adam", "mse")
        model.fit(x, y, epochs=2, verbose=0)
        found.append([*model.get_weights(), model.predict(x)])
    _core.set_threads(0)
    for weights in found[1:]:
        assert all(map(np.array_equal, weights, found[0]))


def test_masks_that_layers_make_and_don_t() -> None:
    """The mask is computed for each batch. None keeps all rows, and a wrong shape is an error."""
    mean = layers.GlobalAveragePooling1D
    model = keras.Sequential([keras.Input((3, 4)), Large(), mean(), layers.ActivityRegularization(l2=0.1)])
    x = np.random.default_rng(1).normal(1.0, 1.0, (5000, 3, 4)).astype(np.float32)
    counts = (x[..., :1] > 1).astype(float)
    expected = (x * counts).sum(axis=1) / np.maximum(counts.sum(axis=1), 1)
    np.testing.assert_allclose(model.predict(x), expected, rtol=1e-4, atol=1e-6)
    below = -np.abs(x[:4]) - 1
    np.testing.assert_allclose(model.predict(below), below.mean(axis=1), rtol=1e-5)

    class Wrong(Large):
        def compute_mask(self, inputs: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
            return inputs > 1

    model = keras.Sequential([keras.Input((3, 4)), Wrong(name="w"), mean()])
    with pytest.raises(ValueError, match=r"`compute_mask` of layer 'w' must return a mask of shape \(2, 3\)"):
        model.predict(x[:2])
    with pytest.raises(ValueError, match=r"`mask` must have shape \(2, 3\), one for each row"):
        mean()(x[:2], mask=np.ones(2))
    with pytest.raises(TypeError, match="layer 'd' takes no `mask`"):
        layers.Dense(2, name="d")(x[:2], mask=np.ones((2, 3)))
    custom = {"kind": "custom", "units": 4, "variables": [], "host": lambda: None}
    for rows in (-1, 3):
        with pytest.raises(ValueError, match="rows"):
            _core.Program(4, [custom | {"mask_rows": rows}])


def test_a_mask_that_is_broadcast_over_the_rows_of_a_batch_normalization() -> None:
    rng = np.random.default_rng(4)
    x, mask = rng.normal(size=(3, 2, 5, 4)), np.array([[[1], [0]], [[1], [1]], [[0], [1]]])
    outputs = [
        layers.BatchNormalization()(x, training=True, mask=each)
        for each in (mask, np.broadcast_to(mask, (3, 2, 5)))
    ]
    np.testing.assert_array_equal(*outputs)
    with pytest.raises(ValueError, match=r"must have shape \(3, 2, 5\), .* got \(3, 3, 1\)"):
        layers.BatchNormalization()(x, training=True, mask=np.ones((3, 3, 1)))


def test_masks_of_rows_need_the_features_last() -> None:
    x, mask = (
        np.random.default_rng(5).normal(size=(2, 3, 4)).astype("float32"),
        np.array([[1, 1, 0], [0, 1, 1]]),
    )
    message = "features on another axis than the last one, for which masks are left out"
    with pytest.raises(ValueError, match=message):
        layers.GlobalAveragePooling1D("channels_first")(x, mask=np.ones((2, 4)))
    layer = layers.BatchNormalization(axis=1)
    with pytest.raises(ValueError, match=message):
        layer(x, training=True, mask=mask)
    np.testing.assert_array_equal(layer(x, mask=mask), layer(x))  # the moving averages don't depend on it
