"""Small trainings that cover the API, written once for Keras and the engine: `api` is one of them.

`tests/keras/make_golden.py` runs them in Keras and saves the results. `test_keras_golden.py` compares the engine with
these, so that it does not need Keras.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

GOLDEN = Path(__file__).parent / "data" / "keras.npz"

FEATURES, CLASSES, SAMPLES, BATCH, EPOCHS = 6, 3, 40, 16, 3


class Case(NamedTuple):
    """One training: functions of `api` that return the layers between input and output, and arguments of `compile`."""

    hidden: Callable[[Any], list[Any]]
    options: Callable[[Any], dict[str, Any]]
    y: str = "indices"
    output: str | None = "softmax"
    fit: Mapping[str, Any] = {}


def relu_layer(api: Any) -> list[Any]:
    return [api.layers.Dense(5, activation="relu")]


def no_options(_: Any) -> dict[str, Any]:
    return {}


def _optimizers() -> dict[str, Case]:
    def case(name: str, **options: Any) -> Case:
        return Case(relu_layer, lambda api: {"optimizer": getattr(api.optimizers, name)(**options)})

    names = "SGD Adam AdamW Adamax Nadam Lamb RMSprop Adagrad Adadelta Lion Ftrl Adafactor"
    cases = {f"optimizer {name}": case(name) for name in names.split()}
    cases |= {
        "optimizer SGD momentum": case("SGD", momentum=0.9),
        "optimizer SGD nesterov": case("SGD", momentum=0.9, nesterov=True),
        "optimizer Adam amsgrad": case("Adam", amsgrad=True),
        "optimizer RMSprop centered": case("RMSprop", centered=True, momentum=0.5),
        "optimizer weight_decay": case("RMSprop", weight_decay=0.01),
        "optimizer clipnorm": case("SGD", learning_rate=0.1, clipnorm=0.05),
        "optimizer clipvalue": case("SGD", learning_rate=0.1, clipvalue=0.02),
        "optimizer global_clipnorm": case("SGD", learning_rate=0.1, global_clipnorm=0.1),
        "optimizer use_ema": case("Adam", learning_rate=0.01, use_ema=True, ema_momentum=0.8),
        "optimizer accumulation": case("Adam", learning_rate=0.01, gradient_accumulation_steps=2),
    }
    return cases


def _losses() -> dict[str, Case]:
    def case(name: str, y: str, output: str | None, **options: Any) -> Case:
        return Case(relu_layer, lambda api: {"loss": getattr(api.losses, name)(**options)}, y, output)

    regressions = (
        "MeanSquaredError MeanAbsoluteError MeanAbsolutePercentageError Huber LogCosh CosineSimilarity"
    )
    cases = {f"loss {name}": case(name, "targets", None) for name in regressions.split()}
    for name in ("MeanSquaredLogarithmicError", "Poisson"):
        cases[f"loss {name}"] = case(name, "positive", "softplus")
    for name in ("Hinge", "SquaredHinge", "CategoricalHinge"):
        cases[f"loss {name}"] = case(name, "one_hot", None)
    for name in ("CategoricalCrossentropy", "CategoricalFocalCrossentropy", "KLDivergence"):
        cases[f"loss {name}"] = case(name, "one_hot", "softmax")
    for name in ("BinaryCrossentropy", "BinaryFocalCrossentropy"):
        cases[f"loss {name}"] = case(name, "one_hot", "sigmoid")
    return cases | {
        "loss SparseCategoricalCrossentropy": case("SparseCategoricalCrossentropy", "indices", "softmax"),
        "loss ignore_class": case(
            "SparseCategoricalCrossentropy", "indices", None, from_logits=True, ignore_class=1
        ),
        "loss label_smoothing": case(
            "CategoricalCrossentropy", "one_hot", None, from_logits=True, label_smoothing=0.2
        ),
        "loss binary from_logits": case(
            "BinaryCrossentropy", "one_hot", None, from_logits=True, label_smoothing=0.1
        ),
        "loss sum": case("MeanSquaredError", "targets", None, reduction="sum"),
    }


def _metrics() -> dict[str, Case]:
    def case(name: str, y: str = "one_hot", output: str | None = "softmax", **options: Any) -> Case:
        loss = "categorical_crossentropy" if output == "softmax" else "mse"
        return Case(
            relu_layer,
            lambda api: {
                "loss": loss,
                "metrics": [getattr(api.metrics, name)(name="plain", **options)],
                "weighted_metrics": [getattr(api.metrics, name)(name="weighed", **options)],
            },
            y,
            output,
            {"sample_weight": np.linspace(0.5, 2.0, SAMPLES, dtype=np.float32)},
        )

    classifiers = """
        BinaryAccuracy CategoricalAccuracy Precision Recall TruePositives FalsePositives TrueNegatives FalseNegatives
        AUC F1Score CategoricalHinge KLDivergence CategoricalCrossentropy BinaryCrossentropy"""
    cases = {f"metric {name}": case(name) for name in classifiers.split()}
    regressions = """
        MeanSquaredError RootMeanSquaredError MeanAbsoluteError MeanAbsolutePercentageError R2Score LogCoshError
        CosineSimilarity Hinge SquaredHinge"""
    cases |= {f"metric {name}": case(name, "targets", None) for name in regressions.split()}
    return cases | {
        "metric TopKCategoricalAccuracy": case("TopKCategoricalAccuracy", k=2),
        "metric AUC PR": case("AUC", curve="PR"),
        "metric SensitivityAtSpecificity": case("SensitivityAtSpecificity", specificity=0.6),
        "metric SpecificityAtSensitivity": case("SpecificityAtSensitivity", sensitivity=0.6),
        "metric PrecisionAtRecall": case("PrecisionAtRecall", recall=0.6),
        "metric RecallAtPrecision": case("RecallAtPrecision", precision=0.4),
        "metric FBetaScore": case("FBetaScore", average="weighted", beta=2.0, threshold=0.4),
        "metric Precision top_k": case("Precision", top_k=2, class_id=1),
    }


def _activations() -> dict[str, Case]:
    names = """
        relu relu6 leaky_relu elu selu celu gelu silu mish softplus softsign tanh hard_tanh tanh_shrink sigmoid
        hard_sigmoid log_sigmoid hard_silu soft_shrink hard_shrink exponential linear softmax log_softmax"""
    return {
        f"activation {name}": Case(lambda api, name=name: [api.layers.Dense(5, activation=name)], no_options)
        for name in names.split()
    }


def _layers() -> dict[str, Case]:
    def case(*layers: Callable[[Any], Any]) -> Case:
        return Case(
            lambda api: [api.layers.Dense(8, use_bias=False), *(layer(api.layers) for layer in layers)],
            no_options,
        )

    return {
        "layer BatchNormalization": case(lambda m: m.BatchNormalization(momentum=0.8)),
        "layer LayerNormalization": case(lambda m: m.LayerNormalization()),
        "layer RMSNormalization": case(lambda m: m.RMSNormalization()),
        "layer UnitNormalization": case(lambda m: m.UnitNormalization()),
        "layer PReLU": case(lambda m: m.PReLU()),
        "layer LeakyReLU": case(lambda m: m.LeakyReLU()),
        "layer ReLU": case(lambda m: m.ReLU(max_value=0.8, negative_slope=0.1, threshold=0.05)),
        "layer ELU": case(lambda m: m.ELU(alpha=0.7)),
        "layer Softmax": case(lambda m: m.Softmax()),
        "layer Reshape and Permute": case(
            lambda m: m.Reshape((4, 2)), lambda m: m.Permute((2, 1)), lambda m: m.Flatten()
        ),
        "layer RepeatVector": case(lambda m: m.RepeatVector(3), lambda m: m.Flatten()),
        "layer ActivityRegularization": case(lambda m: m.ActivityRegularization(l1=0.01, l2=0.02)),
        "layer Rescaling": case(lambda m: m.Rescaling(2.0, 0.5)),
    }


def _penalties() -> dict[str, Case]:
    def case(**options: Callable[[Any], Any]) -> Case:
        return Case(
            lambda api: [api.layers.Dense(5, **{name: make(api) for name, make in options.items()})],
            lambda api: {"optimizer": api.optimizers.SGD(0.5)},
        )

    return {
        "regularizer L1": case(kernel_regularizer=lambda api: api.regularizers.L1(0.01)),
        "regularizer L2": case(kernel_regularizer=lambda api: api.regularizers.L2(0.01)),
        "regularizer L1L2": case(bias_regularizer=lambda api: api.regularizers.L1L2(0.01, 0.02)),
        "regularizer Orthogonal": case(
            kernel_regularizer=lambda api: api.regularizers.OrthogonalRegularizer(0.01)
        ),
        "regularizer activity": case(activity_regularizer=lambda api: api.regularizers.L2(0.01)),
        "constraint MaxNorm": case(kernel_constraint=lambda api: api.constraints.MaxNorm(0.7)),
        "constraint NonNeg": case(kernel_constraint=lambda api: api.constraints.NonNeg()),
        "constraint UnitNorm": case(kernel_constraint=lambda api: api.constraints.UnitNorm()),
        "constraint MinMaxNorm": case(
            kernel_constraint=lambda api: api.constraints.MinMaxNorm(0.2, 0.6, 0.5)
        ),
    }


CASES = _optimizers() | _losses() | _metrics() | _activations() | _layers() | _penalties()


def data(kind: str) -> tuple[Array, Array]:
    """Returns x (SAMPLES, FEATURES) and targets of a `kind`, always the same."""
    rng = np.random.default_rng(5)
    x = rng.uniform(-1, 1, (SAMPLES, FEATURES)).astype(np.float32)
    labels = (x[:, :CLASSES] + 0.3 * x[:, CLASSES : 2 * CLASSES]).argmax(axis=1).astype(np.int32)
    targets = rng.uniform(-1, 1, (SAMPLES, CLASSES)).astype(np.float32)
    return x, {
        "indices": labels,
        "one_hot": np.eye(CLASSES, dtype=np.float32)[labels],
        "targets": targets,
        "positive": targets + np.float32(1.5),
    }[kind]


def run(api: Any, case: Case) -> dict[str, Array]:
    """Returns the results of a case in `api`: histories, trained weights, predictions, an evaluation."""
    model = api.Sequential(
        [api.Input((FEATURES,)), *case.hidden(api), api.layers.Dense(CLASSES, activation=case.output)]
    )
    model.compile(**({"optimizer": "adam", "loss": "sparse_categorical_crossentropy"} | case.options(api)))
    rng = np.random.default_rng(6)
    # Vectors keep their initial values, since a moving variance must not be negative.
    model.set_weights(
        [
            w if w.ndim == 1 else rng.uniform(-0.6, 0.6, w.shape).astype(np.float32)
            for w in model.get_weights()
        ]
    )
    x, y = data(case.y)
    history = model.fit(x, y, batch_size=BATCH, epochs=EPOCHS, shuffle=False, verbose=0, **case.fit).history
    found = {f"history {name}": np.asarray(values, np.float64) for name, values in history.items()}
    found |= {f"weight {i}": np.asarray(w) for i, w in enumerate(model.get_weights())}
    found["predictions"] = np.asarray(model.predict(x, verbose=0))
    evaluation = model.evaluate(x, y, verbose=0)
    parts = evaluation if isinstance(evaluation, list) else [evaluation]
    # F1Score has one value per class.
    found["evaluation"] = np.concatenate([np.ravel(part) for part in parts])
    return found
