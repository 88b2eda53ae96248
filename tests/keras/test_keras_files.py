"""Loads files of each library in the other: predictions and the next training step must agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from common import assert_all_close, compiled
from optimizer_cases import OPTIONS, RULES
from test_keras_layers import STACKS

import engine

RTOL, ATOL = 1e-6, 1e-6
# Compiling each model with XLA would take longer than the rest of the test.
EAGER = {"jit_compile": False}
FORMATS = [".keras", ".h5", ".weights.h5"]


def load(api: Any, path: Path, like: Any) -> Any:
    """Returns the model in the file, or a copy of `like` with the weights in the file."""
    if not path.name.endswith(".weights.h5"):
        return api.models.load_model(path)
    model = like(api)
    if api is keras:
        model.optimizer.build(model.trainable_variables)  # otherwise it would not load the optimizer state
    model.load_weights(path)
    return model


def check(  # noqa: PLR0917 # the parts of a case
    make: Any, x: Any, y: Any, tmp_path: Path, suffix: str, steps: int = 2, tolerance: float = 1e-6
) -> None:
    """Trains and saves in one library, loads in the other, and compares predictions, state and a further step."""
    for api, other in ((keras, engine), (engine, keras)):
        path = tmp_path / f"{api.__name__}{suffix}"
        model = make(api)
        for _ in range(steps):
            model.train_on_batch(x, y)
        (model.save_weights if suffix == ".weights.h5" else model.save)(path)
        again = load(other, path, make)
        for a, b in zip(again.get_weights(), model.get_weights(), strict=True):
            assert np.array_equal(a, b)
        predictions = [np.asarray(each.predict(x, verbose=0)) for each in (model, again)]
        np.testing.assert_allclose(predictions[1], predictions[0], rtol=RTOL, atol=ATOL)
        if other is keras and suffix == ".h5":
            continue  # in this case Keras does not restore the optimizer state
        state = [[np.asarray(v) for v in each.optimizer.variables] for each in (model, again)]
        assert len(state[0]) == len(state[1])
        for a, b in zip(*state, strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-6, atol=1e-12)
        for each in (model, again):
            each.train_on_batch(x, y)
        assert_all_close(again.get_weights(), model.get_weights(), rtol=tolerance, atol=tolerance)


def classifier(optimizer: Any) -> Any:
    def make(api: Any) -> Any:
        model = api.Sequential(
            [
                api.Input((12,)),
                api.layers.Dense(
                    17, "tanh", kernel_regularizer="l2", kernel_constraint=api.constraints.MaxNorm(3)
                ),
                api.layers.Dense(4, "softmax"),
            ]
        )
        model.compile(optimizer(api), "sparse_categorical_crossentropy", metrics=["accuracy"], **EAGER)
        return model

    return make


X = np.random.default_rng(0).normal(size=(32, 12)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 4, 32)


# Each optimizer with as much state as it can have.
LARGEST = [*{name: (name, options) for name, options in RULES}.values(), RULES[1], RULES[9]]


@pytest.mark.parametrize(("name", "options"), LARGEST, ids=str)
def test_optimizers(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    # Keras fails to save Adafactor in its older format.
    suffix = ".keras" if name == "Adafactor" else FORMATS[LARGEST.index((name, options)) % 3]
    check(classifier(lambda api: getattr(api.optimizers, name)(**options)), X, Y, tmp_path, suffix)


@pytest.mark.parametrize("options", OPTIONS[5:], ids=str)  # optimizers with state
def test_options_of_optimizers(options: dict[str, Any], tmp_path: Path) -> None:
    check(classifier(lambda api: api.optimizers.Adam(0.01, **options)), X, Y, tmp_path, ".keras", steps=4)


SCHEDULES = {
    "exponential": lambda s: s.ExponentialDecay(0.1, 2, 0.9, staircase=True),
    "piecewise": lambda s: s.PiecewiseConstantDecay([2, 4], [0.1, 0.05, 0.01]),
    "polynomial": lambda s: s.PolynomialDecay(0.1, 10, power=2.0, cycle=True),
    "inverse": lambda s: s.InverseTimeDecay(0.1, 2, 0.5),
    "cosine": lambda s: s.CosineDecay(0.01, 10, warmup_target=0.1, warmup_steps=2),
    "restarts": lambda s: s.CosineDecayRestarts(0.1, 3),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name: str, tmp_path: Path) -> None:
    make, suffix = SCHEDULES[name], FORMATS[list(SCHEDULES).index(name) % 2]
    optimizer = classifier(lambda api: api.optimizers.SGD(make(api.optimizers.schedules)))
    check(optimizer, X, Y, tmp_path, suffix)


@pytest.mark.parametrize("name", STACKS)
def test_layers(name: str, tmp_path: Path) -> None:
    shape, stack = STACKS[name]
    suffix = FORMATS[list(STACKS).index(name) % 2]
    rng = np.random.default_rng(2)
    tokens = "embedding" in name or "category" in name or "encoding" in name
    x = rng.integers(0, 4, (24, *shape)) if tokens else rng.normal(size=(24, *shape))
    if name == "normalization":
        x[..., 1] = 2  # a column without variance holds its mean

    def make(api: Any) -> Any:
        model = api.Sequential(
            [api.Input(shape), *stack(api.layers), api.layers.Flatten(), api.layers.Dense(2)]
        )
        return compiled(model, api.optimizers.SGD(0.01, momentum=0.9), "mse", **EAGER)

    check(make, x.astype(np.float32), rng.normal(size=(24, 2)).astype(np.float32), tmp_path, suffix)


NOISES = {
    "dropout": lambda k: k.Dropout(0.3, noise_shape=(None, 1)),
    "spatial": lambda k: k.SpatialDropout2D(0.2),
    "alpha": lambda k: k.AlphaDropout(0.2, seed=3),
    "gaussian": lambda k: k.GaussianDropout(0.2),
    "noise": lambda k: k.GaussianNoise(0.2),
    "translation": lambda k: k.RandomTranslation(0.1, (-0.1, 0.2), fill_mode="constant"),
    "rotation": lambda k: k.RandomRotation(0.1),
    "zoom": lambda k: k.RandomZoom(0.1, 0.2),
    "flip": lambda k: k.RandomFlip("horizontal"),
}


@pytest.mark.parametrize("name", NOISES)
def test_layers_with_noise(name: str, tmp_path: Path) -> None:
    """The models are not trained, since random numbers differ between the libraries."""
    shape = (9,) if name in ("dropout", "alpha", "gaussian", "noise") else (6, 5, 2)

    def make(api: Any) -> Any:
        model = api.Sequential(
            [api.Input(shape), NOISES[name](api.layers), api.layers.Flatten(), api.layers.Dense(2)]
        )
        return compiled(model, "adam", "mse")

    x = np.random.default_rng(0).random((4, *shape), np.float32)
    for api, other in ((keras, engine), (engine, keras)):
        model, path = make(api), tmp_path / f"{api.__name__}.keras"
        model.save(path)
        again = other.models.load_model(path)
        np.testing.assert_allclose(
            np.asarray(again.predict(x, verbose=0)), np.asarray(model.predict(x, verbose=0)), RTOL, ATOL
        )


def losses(api: Any) -> dict[str, Any]:
    m = api.losses
    return {
        "mse": "mse",
        "function": m.mean_absolute_error,
        "object": m.Huber(reduction="sum", name="mine"),
        "listed": ["mse"],
        "log_cosh": m.LogCosh(),
        "cosine": m.CosineSimilarity(axis=-1),
        "poisson": m.Poisson(),
    }


@pytest.mark.parametrize("name", losses(engine))
def test_losses_and_metrics(name: str, tmp_path: Path) -> None:
    suffix = FORMATS[list(losses(engine)).index(name) % 2]

    def make(api: Any) -> Any:
        model = api.Sequential([api.Input((12,)), api.layers.Dense(2, "softplus")])
        m = api.metrics
        listed = ["mae", m.RootMeanSquaredError(), m.MeanSquaredError(name="second"), m.R2Score()]
        model.compile("sgd", losses(api)[name], metrics=listed, weighted_metrics=["mse"], loss_weights=0.5)
        return model

    y = np.random.default_rng(3).random((32, 2)).astype(np.float32)
    for api, other in ((keras, engine), (engine, keras)):
        model, path = make(api), tmp_path / f"{api.__name__}{suffix}"
        model.train_on_batch(X, y)
        model.save(path)
        again = other.models.load_model(path)
        ours, theirs = (each.evaluate(X, y, verbose=0, return_dict=True) for each in (again, model))
        if suffix == ".keras":  # names differ if Keras has read the older format
            assert ours.keys() == theirs.keys()
        found = [sorted(each.values()) for each in (ours, theirs)]
        np.testing.assert_allclose(*found, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "name", ["AUC", "Precision", "Recall", "F1Score", "BinaryAccuracy", "TopKCategoricalAccuracy"]
)
def test_metrics_of_classes(name: str, tmp_path: Path) -> None:
    def make(api: Any) -> Any:
        model = api.Sequential([api.Input((12,)), api.layers.Dense(4, "softmax")])
        model.compile("sgd", "categorical_crossentropy", metrics=[getattr(api.metrics, name)(), "accuracy"])
        return model

    y = np.eye(4, dtype=np.float32)[Y]
    for api, other in ((keras, engine), (engine, keras)):
        model, path = make(api), tmp_path / f"{api.__name__}.keras"
        model.train_on_batch(X, y)
        model.save(path)
        again = other.models.load_model(path)
        assert_all_close(
            again.evaluate(X, y, verbose=0), model.evaluate(X, y, verbose=0), rtol=1e-5, atol=1e-6
        )


def test_json_goes_both_ways() -> None:
    make = classifier(lambda api: api.optimizers.Adam())
    for api, other in ((keras, engine), (engine, keras)):
        model = make(api)
        again = other.models.model_from_json(model.to_json())
        again.set_weights(model.get_weights())
        np.testing.assert_allclose(again.predict(X, verbose=0), model.predict(X, verbose=0), RTOL, ATOL)


@pytest.mark.parametrize("functional", [False, True])
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_sparse_inputs(functional: bool, suffix: str, tmp_path: Path) -> None:
    for api, other in ((keras, engine), (engine, keras)):
        inputs = api.Input((12,), sparse=True)
        if functional:
            model = api.Model(inputs, api.layers.Dense(2)(inputs))
        else:
            model = api.Sequential([inputs, api.layers.Dense(2)])
        model.save(tmp_path / f"{api.__name__}{suffix}")
        again = other.models.load_model(tmp_path / f"{api.__name__}{suffix}")
        start = again.inputs[0] if other is keras else again._built_graph.input_layers[0]
        assert start.sparse
        np.testing.assert_allclose(again.predict(X, verbose=0), model.predict(X, verbose=0), RTOL, ATOL)


def test_categories_as_sparse_arrays(tmp_path: Path) -> None:
    """The engine's outputs are dense. Keras does not save `sparse`, so loaded models have dense outputs too."""
    for api, other in ((keras, engine), (engine, keras)):
        model = api.Sequential(
            [api.Input((4,)), api.layers.CategoryEncoding(5, sparse=api is engine), api.layers.Dense(2)]
        )
        path = tmp_path / f"{api.__name__}.keras"
        model.save(path)
        again, x = other.models.load_model(path), np.arange(8).reshape(2, 4) % 5
        np.testing.assert_allclose(
            np.asarray(again.predict(x, verbose=0)), np.asarray(model.predict(x, verbose=0)), RTOL, ATOL
        )


@pytest.mark.parametrize("batches", [1, 3])
@pytest.mark.parametrize(
    ("count", "bins", "epsilon"), [(7, 4, 0.01), (1000, 10, 0.01), (3000, 50, 0.001), (9, 1, 0.1)]
)
def test_boundaries_of_bins(batches: int, count: int, bins: int, epsilon: float, tmp_path: Path) -> None:
    """The boundaries have the same bits. `adapt` of Keras needs TensorFlow."""
    data = np.random.default_rng(0).normal(size=(batches, count, 2)).astype(np.float32)
    theirs = keras.layers.Discretization(num_bins=bins, epsilon=epsilon)
    for batch in data:
        theirs.update_state(batch)
    theirs.finalize_state()
    ours = engine.layers.Discretization(num_bins=bins, epsilon=epsilon)
    ours.adapt(list(data))
    assert ours.bin_boundaries == theirs.bin_boundaries
    x = data.reshape(-1, 2)
    assert np.array_equal(ours(x), np.asarray(theirs(x)))
    assert np.asarray(ours(x)).dtype == np.asarray(theirs(x)).dtype
    for api, other, layer in ((keras, engine, theirs), (engine, keras, ours)):
        api.Sequential([api.Input((2,)), layer]).save(tmp_path / f"{api.__name__}.keras")
        again = other.models.load_model(tmp_path / f"{api.__name__}.keras")
        assert np.array_equal(np.asarray(again.predict(x, verbose=0)), np.asarray(theirs(x)))


def test_unbuilt_and_frozen_models(tmp_path: Path) -> None:
    for api, other in ((keras, engine), (engine, keras)):
        model = api.Sequential([api.layers.Dense(3, name="first"), api.layers.Dense(2, name="second")])
        model.build((None, 12))
        model.get_layer("first").trainable = False
        model.compile("adam", "mse")
        model.train_on_batch(X, X[:, :2])
        model.save(tmp_path / f"{api.__name__}.keras")
        again = other.models.load_model(tmp_path / f"{api.__name__}.keras")
        assert [layer.name for layer in again.layers] == ["first", "second"]
        assert [layer.trainable for layer in again.layers] == [False, True]
        for each in (model, again):
            each.train_on_batch(X, X[:, :2])
        assert_all_close(again.get_weights(), model.get_weights(), rtol=1e-5, atol=1e-6)


def test_folders(tmp_path: Path) -> None:
    make = classifier(lambda api: api.optimizers.Adam())
    for api, other in ((keras, engine), (engine, keras)):
        model = make(api)
        model.save(tmp_path / api.__name__, zipped=False)
        again = other.models.load_model(tmp_path / api.__name__)
        np.testing.assert_allclose(again.predict(X, verbose=0), model.predict(X, verbose=0), RTOL, ATOL)


def test_weights_in_several_files(tmp_path: Path) -> None:
    make = classifier(lambda api: api.optimizers.Adam())
    for api, other in ((keras, engine), (engine, keras)):
        model, again, path = make(api), make(other), tmp_path / f"{api.__name__}.weights.json"
        for _ in range(2):  # the second save replaces the first file
            model.train_on_batch(X, Y)
            model.save_weights(path, max_shard_size=1000 / 2**30)
        if other is keras:
            again.optimizer.build(again.trainable_variables)
        again.load_weights(path)
        for a, b in zip(again.get_weights(), model.get_weights(), strict=True):
            assert np.array_equal(a, b)
        assert_all_close(again.optimizer.variables, model.optimizer.variables, rtol=1e-6, atol=1e-12)


def test_layers_by_name_and_left_out(tmp_path: Path) -> None:
    make = classifier(lambda api: api.optimizers.Adam())
    for api, other in ((keras, engine), (engine, keras)):
        model = make(api)
        model.save(tmp_path / "m.h5")
        again = other.Sequential([other.Input((12,)), other.layers.Dense(17, name=model.layers[0].name)])
        again.load_weights(tmp_path / "m.h5", by_name=True)
        assert np.array_equal(again.get_weights()[0], model.get_weights()[0])
        model.save_weights(tmp_path / "m.weights.h5")
        again = make(other)
        before = again.get_weights()
        again.load_weights(tmp_path / "m.weights.h5", objects_to_skip=[again.layers[0]])
        for index, wanted in enumerate([*before[:2], *model.get_weights()[2:]]):
            assert np.array_equal(again.get_weights()[index], wanted)


def test_a_layer_that_the_engine_lacks(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3)])
    model.save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match=r"m\.keras: unknown `layer` 'Conv2D'"):
        engine.models.load_model(tmp_path / "m.keras")
    lambdas = keras.Sequential([keras.Input((8,)), keras.layers.Lambda(lambda x: x + 1)])
    lambdas.save(tmp_path / "l.keras")
    for safe_mode in (True, False):
        with pytest.raises(ValueError, match=r"l\.keras: .*Lambda"):
            engine.models.load_model(tmp_path / "l.keras", safe_mode=safe_mode)


def own(api: Any) -> Any:
    """Returns a model with layers in private attributes, one with two names, and names that end in numbers."""

    class Own(api.Model):
        def __init__(self) -> None:
            super().__init__()
            self._hidden = api.layers.Dense(4)
            self._blocks = [api.layers.Dense(4), api.layers.BatchNormalization()]
            self.dense9 = self.dense10 = api.layers.Dense(5)
            self.dense2 = api.layers.Dense(4)

        def call(self, inputs: Any) -> Any:
            for layer in (self._hidden, *self._blocks, self.dense10, self.dense2):
                inputs = layer(inputs)
            return inputs

    return compiled(Own(), "sgd", "mse")


def test_layers_in_private_attributes(tmp_path: Path) -> None:
    """Keras' files name them after all others, so they are stored as what `layers` lists."""
    x = np.random.default_rng(0).standard_normal((6, 3)).astype("float32")
    for api, other in ((keras, engine), (engine, keras)):
        model, again = own(api), own(other)
        model.fit(x, x[:, [0, 1, 2, 0]], verbose=0)
        model.save_weights(tmp_path / "own.weights.h5")
        again.fit(x, x[:, [0, 1, 2, 0]], verbose=0)
        again.load_weights(tmp_path / "own.weights.h5")
        np.testing.assert_allclose(
            again.predict(x, verbose=0), model.predict(x, verbose=0), rtol=RTOL, atol=ATOL
        )
