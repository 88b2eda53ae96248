"""Training on a GPU does what training on the CPU does, to rounding."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from common import assert_all_close, assert_all_equal, compiled

import engine as keras
from engine import layers


def classifier(widths: tuple[int, ...] = (17,), inputs: int = 20, optimizer: Any = "adam") -> keras.Model:
    model = keras.Sequential([keras.Input((inputs,))])
    for width in widths:
        model.add(layers.Dense(width, activation="relu"))
    model.add(layers.Dense(5, activation="softmax"))
    return compiled(model, optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])


def samples(rng: np.random.Generator, rows: int = 70, inputs: int = 20) -> tuple[Any, Any]:
    return rng.standard_normal((rows, inputs)).astype("float32"), rng.integers(0, 5, rows)


@pytest.mark.parametrize("widths", [(), (1,), (31, 32), (33, 64), (129,)])
@pytest.mark.parametrize("batch_size", [1, 32, 33, 70])
def test_networks_of_any_width_train_alike(
    widths: tuple[int, ...], batch_size: int, same_training: Any, rng: Any
) -> None:
    rows = 7 if batch_size == 1 else 70
    same_training(lambda: classifier(widths), *samples(rng, rows), batch_size=batch_size)


def test_large_products(same_training: Any, rng: Any) -> None:
    """`make test-cuda` runs this test once more on a GPU of one multiprocessor, which takes large tiles for it."""
    same_training(lambda: classifier((300,), 140), *samples(rng, 160, 140), batch_size=150, epochs=1)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_rows_keep_their_dtype(dtype: str, same_training: Any, rng: Any) -> None:
    x = rng.integers(0, 255, (50, 12)).astype(dtype)

    def build() -> keras.Model:
        model = keras.Sequential([keras.Input((12,)), layers.Rescaling(1 / 255), layers.Dense(3)])
        return compiled(model, "sgd", "mse")

    same_training(build, x, rng.standard_normal((50, 3)).astype("float32"))


OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.1),
    "momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "nesterov": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "adam": lambda: keras.optimizers.Adam(0.01),
    "amsgrad": lambda: keras.optimizers.Adam(0.01, amsgrad=True),
    "adamw": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1),
    "rmsprop": lambda: keras.optimizers.RMSprop(0.01),
    "rmsprop centered": lambda: keras.optimizers.RMSprop(0.01, momentum=0.5, centered=True),
    "adamax": lambda: keras.optimizers.Adamax(0.01),
    "nadam": lambda: keras.optimizers.Nadam(0.01),
    "adagrad": lambda: keras.optimizers.Adagrad(0.1),
    "adadelta": lambda: keras.optimizers.Adadelta(1.0),
    "lion": lambda: keras.optimizers.Lion(0.001),
    "ftrl": lambda: keras.optimizers.Ftrl(0.1),
    "lamb": lambda: keras.optimizers.Lamb(0.01),
    "schedule-free": lambda: keras.optimizers.ScheduleFreeAdamW(0.01, warmup_steps=3),
    "adafactor": lambda: keras.optimizers.Adafactor(0.05),
    "muon": lambda: keras.optimizers.Muon(0.02),
    "muon with clipping": lambda: keras.optimizers.Muon(
        0.02, nesterov=False, clipnorm=0.5, weight_decay=0.01
    ),
    "clipvalue": lambda: keras.optimizers.SGD(0.1, clipvalue=0.01),
    "clipnorm": lambda: keras.optimizers.Adam(0.01, clipnorm=0.1),
    "global_clipnorm": lambda: keras.optimizers.Adam(0.01, global_clipnorm=0.1),
    "ema": lambda: keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.8, ema_overwrite_frequency=3),
    "accumulation": lambda: keras.optimizers.SGD(0.1, gradient_accumulation_steps=3),
    "schedule": lambda: keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.01, 2, 0.5)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name: str, same_training: Any, rng: Any) -> None:
    same_training(lambda: classifier(optimizer=OPTIMIZERS[name]()), *samples(rng), batch_size=16)


LOSSES = [
    "mean_squared_error", "mean_absolute_error", "mean_absolute_percentage_error", "mean_squared_logarithmic_error",
    "huber", "log_cosh", "cosine_similarity", "kl_divergence", "poisson", "hinge", "squared_hinge",
    "categorical_hinge", "binary_crossentropy", "categorical_crossentropy", "binary_focal_crossentropy",
    "categorical_focal_crossentropy",
]  # fmt: skip


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("columns", [1, 3, 40])
def test_losses(loss: str, columns: int, same_training: Any, rng: Any) -> None:
    if loss.startswith("categorical") and columns == 1:
        pytest.skip("refused on every device: there must be an output for each class")
    x, _ = samples(rng, 40)
    y = np.eye(columns, dtype="float32")[rng.integers(0, columns, 40)]

    def build() -> keras.Model:
        model = keras.Sequential([keras.Input((20,)), layers.Dense(columns, activation="sigmoid")])
        return compiled(model, keras.optimizers.SGD(0.01), loss, metrics=["mae"])

    same_training(build, x, y, batch_size=16)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_losses_of_logits(activation: str, same_training: Any, rng: Any) -> None:
    """An activation and its crossentropy become one formula of the logits."""
    x, _ = samples(rng, 40)
    y = np.eye(6, dtype="float32")[rng.integers(0, 6, 40)]

    def build() -> keras.Model:
        model = keras.Sequential([keras.Input((20,)), layers.Dense(6, activation=activation)])
        kind = "categorical" if activation == "softmax" else "binary"
        loss = {
            "categorical": keras.losses.CategoricalCrossentropy,
            "binary": keras.losses.BinaryCrossentropy,
        }
        model.compile("sgd", loss[kind](label_smoothing=0.1), metrics=["accuracy", f"{kind}_crossentropy"])
        return model

    same_training(build, x, y)


ACTIVATIONS = [
    "linear", "relu", "sigmoid", "tanh", "exponential", "silu", "gelu", "mish", "softplus", "log_sigmoid", "softsign",
    "tanh_shrink", "elu", "selu", "celu", "squareplus", "relu6", "leaky_relu", "hard_tanh", "hard_sigmoid",
    "hard_silu", "sparse_plus", "sparse_sigmoid", "soft_shrink", "hard_shrink", "softmax", "log_softmax", "sparsemax",
]  # fmt: skip


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(activation: str, same_training: Any, rng: Any) -> None:
    x, y = samples(rng, 40)

    def build() -> keras.Model:
        model = keras.Sequential(
            [
                keras.Input((20,)),
                layers.Dense(35, activation=activation, bias_initializer="normal"),
                layers.Dense(5),
            ]
        )
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        return compiled(model, keras.optimizers.SGD(0.01), loss)

    same_training(build, x, y, batch_size=16)


@pytest.mark.parametrize(
    "layer",
    [
        lambda: layers.Dropout(0.4, seed=1),
        lambda: layers.GaussianNoise(0.3, seed=1),
        lambda: layers.GaussianDropout(0.3, seed=1),
        lambda: layers.AlphaDropout(0.3, seed=1),
        lambda: layers.Rescaling(0.5, 0.1),
        lambda: layers.Reshape((4, 6)),
        lambda: layers.Dense(
            24, kernel_regularizer=keras.regularizers.L1L2(0.01, 0.02), bias_regularizer="l2"
        ),
        lambda: layers.Dense(24, kernel_constraint="non_neg"),
        lambda: layers.Dense(24, kernel_constraint="max_norm"),
        lambda: layers.Dense(24, kernel_constraint=keras.constraints.UnitNorm(axis=1)),
        lambda: layers.Dense(24, use_bias=False, trainable=False),
    ],
)
def test_layers(layer: Any, same_training: Any, rng: Any) -> None:
    x, y = samples(rng, 40)

    def build() -> keras.Model:
        model = keras.Sequential(
            [
                keras.Input((20,)),
                layers.Dense(24, activation="tanh"),
                layer(),
                layers.Flatten(),
                layers.Dense(5, activation="softmax"),
            ]
        )
        return compiled(model, keras.optimizers.SGD(0.05), "sparse_categorical_crossentropy")

    same_training(build, x, y, batch_size=16)


def test_graphs_with_branches(same_training: Any, rng: Any) -> None:
    x = {
        "a": rng.standard_normal((40, 6)).astype("float32"),
        "b": rng.standard_normal((40, 9)).astype("float32"),
    }
    y = {"first": rng.integers(0, 3, 40), "second": rng.standard_normal((40, 1)).astype("float32")}

    def build() -> keras.Model:
        a, b = keras.Input((6,), name="a"), keras.Input((9,), name="b")
        left, right = layers.Dense(8, activation="relu")(a), layers.Dense(8, activation="relu")(b)
        joined = layers.Concatenate()([layers.Add()([left, right]), right])
        outputs = {
            "first": layers.Dense(3, activation="softmax", name="first")(joined),
            "second": layers.Dense(1, name="second")(joined),
        }
        model = keras.Model({"a": a, "b": b}, outputs)
        losses = {"first": "sparse_categorical_crossentropy", "second": "mse"}
        return compiled(model, "adam", losses, loss_weights={"first": 1.0, "second": 0.3})

    ours, history = train(build, x, y, "cuda")
    expected, expected_history = train(build, x, y, "cpu")
    for name, values in expected_history.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-5, atol=2e-6, err_msg=name)
    for name, values in expected.predict(x, verbose=0).items():
        np.testing.assert_allclose(ours.predict(x, verbose=0)[name], values, rtol=1e-5, atol=2e-6)


def train(build: Any, x: Any, y: Any, device: str) -> tuple[keras.Model, dict[str, list[float]]]:
    with keras.device(device):
        keras.utils.set_random_seed(3)
        model = build()
        return model, model.fit(x, y, epochs=2, batch_size=16, verbose=0).history


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"])
def test_sample_weights(reduction: str, same_training: Any, rng: Any) -> None:
    x, y = samples(rng, 40)
    weights = rng.random(40).astype("float32")

    def build() -> keras.Model:
        model = classifier()
        loss = keras.losses.SparseCategoricalCrossentropy(reduction=reduction, ignore_class=2)
        return compiled(model, keras.optimizers.SGD(0.01), loss, weighted_metrics=["accuracy"])

    same_training(build, x, y, sample_weight=weights, batch_size=16)


@pytest.mark.parametrize(
    "metric", ["accuracy", "sparse_top_k_categorical_accuracy", "sparse_categorical_crossentropy"]
)
def test_metrics(metric: str, same_training: Any, rng: Any) -> None:
    x, y = samples(rng, 40)

    def build() -> keras.Model:
        model = keras.Sequential([keras.Input((20,)), layers.Dense(40, activation="softmax")])
        return compiled(model, "sgd", "sparse_categorical_crossentropy", metrics=[metric])

    same_training(build, x, y)


METRICS_OF_SUMS: dict[str, Any] = {
    "auc": lambda: keras.metrics.AUC(num_thresholds=50),
    "auc of labels": lambda: keras.metrics.AUC(multi_label=True, num_labels=4, num_thresholds=20),
    "auc of logits": lambda: keras.metrics.AUC(from_logits=True),
    "precision": keras.metrics.Precision,
    "recall of the two largest": lambda: keras.metrics.Recall(top_k=2),
    "precision of a class": lambda: keras.metrics.Precision(class_id=1, thresholds=[0.2, 0.3, 0.4]),
    "false positives": lambda: keras.metrics.FalsePositives(thresholds=[0.1, 0.3]),
    "sensitivity": lambda: keras.metrics.SensitivityAtSpecificity(0.5),
    "f1": lambda: keras.metrics.F1Score("macro"),
    "f1 with a threshold": lambda: keras.metrics.F1Score("micro", threshold=0.25),
    "confusion matrix": keras.metrics.ConfusionMatrix,
    "r2": keras.metrics.R2Score,
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", METRICS_OF_SUMS)
def test_metrics_of_sums(name: str, weighted: bool, same_training: Any, rng: Any) -> None:
    """Besides another metric that is made of sums, whose state lies behind that of the first."""
    x, _ = samples(rng, 40)
    y = np.eye(4, dtype="float32")[rng.integers(0, 4, 40)]
    options = {"sample_weight": rng.random(40).astype("float32")} if weighted else {}

    def build() -> keras.Model:
        model = keras.Sequential([keras.Input((20,)), layers.Dense(4, activation="softmax")])
        metrics = [METRICS_OF_SUMS[name](), "accuracy", keras.metrics.TruePositives()]
        return compiled(model, "sgd", "categorical_crossentropy", weighted_metrics=metrics)

    same_training(build, x, y, batch_size=16, **options)


def test_the_same_seed_gives_the_same_bits(rng: Any) -> None:
    x, y = samples(rng, 100)
    with keras.device("cuda"):
        runs = []
        for _ in range(2):
            keras.utils.set_random_seed(5)
            model = classifier((33, 18))
            model.add(layers.Dropout(0.1))
            model.compile("adam", "sparse_categorical_crossentropy")
            model.fit(x, y, epochs=2, batch_size=32, verbose=0)
            runs.append(model.get_weights())
    assert_all_equal(*runs)


@pytest.mark.parametrize("weighted", [False, True])
def test_estimators_of_scikit_learn(weighted: bool, rng: Any) -> None:
    """Their penalties are divided as the losses are."""
    estimators = pytest.importorskip("engine.sklearn", exc_type=ImportError)
    x, y = samples(rng, 40)
    options = {"sample_weight": rng.random(40)} if weighted else {}
    found = []
    for device in ("cuda", "cpu"):
        with keras.device(device):
            estimator = estimators.MLPClassifier((9,), alpha=0.5, max_iter=3, batch_size=16, random_state=1)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it has not converged
                estimator.fit(x, y, **options)
        found.append([*estimator.coefs_, *estimator.intercepts_, np.float32(estimator.loss_curve_)])
    assert_all_close(*found, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("batch_size", [4, 5])
def test_many_batches_are_started_as_graphs(batch_size: int, same_training: Any, rng: Any) -> None:
    """Adagrad has no kernel for a whole epoch, so that each step has its own, and batches are captured after a while."""
    x, y = samples(rng, 401)
    model = same_training(
        lambda: classifier(optimizer=keras.optimizers.Adagrad(0.05)), x, y, batch_size=batch_size, epochs=2
    )
    before = model.get_weights()
    other = rng.standard_normal(x.shape).astype("float32")  # another data set needs other graphs
    model.fit(other, y, batch_size=batch_size, epochs=1, verbose=0)
    assert all(np.abs(one - two).max() > 0 for one, two in zip(model.get_weights(), before, strict=True))
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(x, y, batch_size=batch_size, epochs=1, verbose=0)
