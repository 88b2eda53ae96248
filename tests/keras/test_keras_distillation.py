"""Compares knowledge distillation with Keras: losses, trained weights, messages, configs and files."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from common import assert_all_equal, compiled
from twins import assert_same_histories, twins

import engine

RNG = np.random.default_rng(0)
X = RNG.standard_normal((50, 4)).astype("float32")
Y = RNG.integers(0, 3, 50)
APIS = pytest.mark.parametrize("api", [keras, engine], ids=["keras", "engine"])


def network(api: Any, units: int) -> Any:
    return api.Sequential(
        [api.Input((4,)), api.layers.Dense(units, "tanh", name="hidden"), api.layers.Dense(3)]
    )


def own_network(api: Any, units: int) -> Any:
    """Returns a model with a `call` of its own."""

    class Own(api.Model):
        def __init__(self) -> None:
            super().__init__()
            self.hidden, self.head = api.layers.Dense(units, "relu"), api.layers.Dense(3)

        def call(self, inputs: Any, training: Any = None) -> Any:
            return self.head(self.hidden(inputs))

    model = Own()
    model(X[:2])
    return model


def cosine(api: Any) -> Any:
    """Returns a distillation loss of the user's own class."""

    class Cosine(api.distillation.DistillationLoss):
        def compute_loss(self, teacher_outputs: Any, student_outputs: Any, **kwargs: Any) -> Any:
            one, other = (api.ops.normalize(each, axis=-1) for each in (teacher_outputs, student_outputs))
            return 1 - api.ops.mean(api.ops.sum(one * other, axis=-1))

    return Cosine()


def features(api: Any, *arguments: Any) -> Any:
    return api.distillation.FeatureDistillation(*arguments)


def logits(api: Any, *arguments: Any) -> Any:
    return api.distillation.LogitsDistillation(*arguments)


LOSSES = {
    "default": logits,
    "softened": lambda api: logits(api, 4.0, api.losses.KLDivergence()),
    "by_name": lambda api: logits(api, 2, "mse"),
    "from_logits": lambda api: logits(api, 1.0, api.losses.BinaryCrossentropy(from_logits=True)),
    "of_outputs": features,
    "of_layers": lambda api: features(api, "mae", "hidden", "hidden"),
    "several": lambda api: [
        logits(api, 3.0, api.losses.KLDivergence()),
        features(api, "mse", "hidden", "hidden"),
    ],
    "of_user": cosine,
}


def make(losses: Any, network: Any = network, **options: Any) -> Any:
    """Returns a function that makes a compiled distiller with one of the libraries."""

    def made(api: Any) -> Any:
        distiller = api.distillation.Distiller(network(api, 5), network(api, 5), losses(api), **options)
        distiller(X[:1])
        loss = api.losses.SparseCategoricalCrossentropy(from_logits=True)
        return compiled(distiller, api.optimizers.Adam(0.01), loss, metrics=["accuracy"])

    return made


@pytest.mark.parametrize("losses", LOSSES.values(), ids=LOSSES)
def test_an_epoch(losses: Any) -> None:
    both = twins(make(losses))
    assert_same_histories(*both.fit(X, Y, epochs=2, batch_size=16, validation_data=(X[:20], Y[:20])))
    both.assert_same_weights()
    both.assert_same_outputs(X, atol=1e-5)
    theirs, ours = (each.evaluate(X, Y, verbose=0, return_dict=True) for each in both)
    assert list(ours) == list(theirs)
    np.testing.assert_allclose(list(ours.values()), list(theirs.values()), rtol=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"student_loss_weight": 0.0},
        {"student_loss_weight": 1},
        {"student_loss_weight": 0.2, "distillation_loss_weights": [0.7, 3]},
    ],
    ids=["teacher_alone", "targets_alone", "weighted"],
)
def test_weights_of_losses(options: Any) -> None:
    both = twins(make(LOSSES["several"], **options))
    assert_same_histories(*both.fit(X, Y))
    both.assert_same_weights()


def test_models_with_calls() -> None:
    both = twins(make(LOSSES["softened"], own_network))
    assert_same_histories(*both.fit(X, Y, epochs=2))
    both.assert_same_weights()


def towers(api: Any, units: int) -> Any:
    """Returns a model with two outputs."""
    inputs = api.Input((4,))
    hidden = api.layers.Dense(units, "relu")(inputs)
    return api.Model(inputs, [api.layers.Dense(3)(hidden), api.layers.Dense(2)(hidden)])


def distiller_of_towers(api: Any, share: float) -> Any:
    losses = [
        logits(api, 3.0, [api.losses.KLDivergence(), None]),
        features(api, ["mse", "mae"]),
        logits(api, 3.0, [None, "mse"]),
    ]
    made = api.distillation.Distiller(towers(api, 6), towers(api, 3), losses, student_loss_weight=share)
    made.compile("sgd", [api.losses.SparseCategoricalCrossentropy(from_logits=True), "mse"])
    made(X[:1])
    return made


def test_several_outputs() -> None:
    """Without losses of the student, which Keras 3.15 can't compute of lists."""
    both = twins(lambda api: distiller_of_towers(api, 0.0))
    theirs, ours = (each.fit(X, [Y, X[:, :2]], shuffle=False, verbose=0).history for each in both)
    assert_same_histories(theirs, ours)
    both.assert_same_weights()


def test_losses_of_several_outputs_add_up() -> None:
    distiller = distiller_of_towers(engine, 1.0)
    first, second = distiller(X)
    expected = engine.losses.SparseCategoricalCrossentropy(from_logits=True)(Y, first)
    expected += engine.losses.MeanSquaredError()(X[:, :2], second)
    np.testing.assert_allclose(distiller.compute_loss(X, [Y, X[:, :2]]), expected, rtol=1e-6)
    assert distiller.fit(X, [Y, X[:, :2]], verbose=0).history["distillation_loss"] == [0.0]


def test_calls_are_those_of_the_student() -> None:
    both = twins(make(LOSSES["softened"]))
    for each in both:
        assert not each.teacher.trainable
        assert each.student.trainable
        np.testing.assert_array_equal(each(X), each.student(X))
        assert [weight.path for weight in each.trainable_weights] == [
            weight.path for weight in each.student.trainable_weights
        ]
    frozen = [each.teacher.get_weights() for each in both]
    both.fit(X, Y)
    for each, before in zip(both, frozen, strict=True):
        assert_all_equal(each.teacher.get_weights(), before)


def test_losses_of_arrays() -> None:
    one, other = X[:, :3], X[:, 1:]
    for losses in (LOSSES["default"], LOSSES["softened"], LOSSES["by_name"], LOSSES["of_outputs"]):
        theirs, ours = (losses(api).compute_loss(one, other) for api in (keras, engine))
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.parametrize(
    "name", ["Distiller", "DistillationLoss", "FeatureDistillation", "LogitsDistillation"]
)
def test_arguments(name: str) -> None:
    theirs, ours = (inspect.signature(getattr(api.distillation, name)) for api in (keras, engine))
    assert [(each.name, each.default) for each in ours.parameters.values()] == [
        (each.name, each.default) for each in theirs.parameters.values()
    ]


def test_configs() -> None:
    def configs(api: Any) -> Any:
        losses = [
            logits(api, 2.0, [api.losses.KLDivergence(), "mse", None]),
            features(api, "mae", "hidden", "hidden"),
        ]
        return [each.get_config() for each in losses]

    theirs, ours = configs(keras), configs(engine)
    assert ours == theirs
    again = [
        cls.from_config(config).get_config()
        for cls, config in zip(
            (engine.distillation.LogitsDistillation, engine.distillation.FeatureDistillation),
            ours,
            strict=True,
        )
    ]
    assert again == theirs
    kept = ("name", "distillation_loss_weights", "student_loss_weight", "distillation_losses")
    theirs, ours = (make(LOSSES["several"])(api).get_config() for api in (keras, engine))
    assert [ours[name] for name in kept] == [theirs[name] for name in kept]


REFUSED: dict[str, tuple[Any, str]] = {
    "no_teacher": (lambda api, t, s, d: d.Distiller("t", s, cosine(api)), "Teacher must be a keras.Model"),
    "no_student": (lambda api, t, s, d: d.Distiller(t, 3, cosine(api)), "Student must be a keras.Model"),
    "no_loss": (lambda api, t, s, d: d.Distiller(t, s, None), "'distillation_losses' cannot be `None`"),
    "too_large": (
        lambda api, t, s, d: d.Distiller(t, s, cosine(api), None, 1.5),
        "between 0.0 and 1.0, got 1.5",
    ),
    "no_number": (lambda api, t, s, d: d.Distiller(t, s, cosine(api), None, "1"), "must be a number"),
    "count": (
        lambda api, t, s, d: d.Distiller(t, s, [cosine(api)], [1, 2]),
        r"Number of distillation_loss_weights \(2\) must match number of distillation_losses \(1\)",
    ),
    "inputs": (
        lambda api, t, s, d: d.Distiller(
            t, api.Sequential([api.Input((5,)), api.layers.Dense(3)]), cosine(api)
        ),
        "input shapes are incompatible",
    ),
    "ranks": (
        lambda api, t, s, d: d.Distiller(
            t, api.Sequential([api.Input((1, 4)), api.layers.Dense(3)]), cosine(api)
        ),
        "input shapes have different dimensions",
    ),
    "several_outputs": (
        lambda api, t, s, d: d.Distiller(t, towers(api, 3), cosine(api)),
        "same outputs|structure|arity|children|number",
    ),
    "outputs": (
        lambda api, t, s, d: d.Distiller(
            t, api.Sequential([api.Input((4,)), api.layers.Dense(5)]), cosine(api)
        ),
        "output shapes are incompatible",
    ),
    "layer": (
        lambda api, t, s, d: d.Distiller(t, s, features(api, "mse", "x", "hidden")),
        "In teacher model: ",
    ),
    "student_layer": (
        lambda api, t, s, d: d.Distiller(t, s, features(api, "mse", None, "x")),
        "In student model: ",
    ),
    "layers_of_calls": (
        lambda api, t, s, d: d.Distiller(own_network(api, 2), s, features(api, "mse", "hidden", "hidden")),
        "FeatureDistillation with specific layer names requires Functional or Sequential models",
    ),
    "no_student_loss": (
        lambda api, t, s, d: d.Distiller(t, s, cosine(api)).compile(),
        "'loss' cannot be `None`",
    ),
    "metrics": (
        lambda api, t, s, d: d.Distiller(t, s, cosine(api)).compile("sgd", "mse", "mae"),
        "metrics must be a list or tuple",
    ),
    "temperature": (lambda api, t, s, d: d.LogitsDistillation(0), "temperature must be positive"),
    "no_temperature": (lambda api, t, s, d: d.LogitsDistillation("1"), "temperature must be a number"),
    "nothing": (
        lambda api, t, s, d: d.LogitsDistillation(loss=[None]),
        "At least one loss must be non-`None`",
    ),
    "no_feature": (
        lambda api, t, s, d: d.FeatureDistillation(None),
        "must contain at least one non-`None` value",
    ),
}


@APIS
@pytest.mark.parametrize(("refused", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(api: Any, refused: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        refused(api, network(api, 5), network(api, 5), api.distillation)


@APIS
def test_losses_that_are_no_scalars(api: Any) -> None:
    class Rows(api.distillation.DistillationLoss):
        def compute_loss(self, teacher_outputs: Any, student_outputs: Any, **kwargs: Any) -> Any:
            return api.ops.mean(teacher_outputs - student_outputs, axis=-1)

    distiller = api.distillation.Distiller(network(api, 3), network(api, 3), Rows())
    distiller.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    with pytest.raises(ValueError, match=r"Rows returned a non-scalar loss with shape \(50,\)"):
        distiller.compute_loss(X, Y)


@pytest.mark.parametrize(("writer", "reader"), [(keras, engine), (engine, keras), (engine, engine)])
@pytest.mark.parametrize("losses", ["softened", "several"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_files(writer: Any, reader: Any, losses: str, tmp_path: Path) -> None:
    distiller = make(LOSSES[losses])(writer)
    distiller.fit(X, Y, verbose=0)
    distiller.save(tmp_path / "distiller.keras")
    loaded = reader.models.load_model(tmp_path / "distiller.keras")
    assert type(loaded) is reader.distillation.Distiller
    np.testing.assert_allclose(loaded.predict(X, verbose=0), distiller.predict(X, verbose=0), atol=1e-6)
    np.testing.assert_allclose(loaded.teacher(X), distiller.teacher(X), atol=1e-6)
    distiller.save_weights(tmp_path / "distiller.weights.h5")
    fresh = make(LOSSES[losses])(reader)
    fresh.load_weights(tmp_path / "distiller.weights.h5")
    np.testing.assert_allclose(fresh.predict(X, verbose=0), distiller.predict(X, verbose=0), atol=1e-6)


def test_files_of_keras_hold_no_loss(tmp_path: Path) -> None:
    make(LOSSES["softened"])(keras).save(tmp_path / "distiller.keras")
    with pytest.warns(UserWarning, match="call compile"):
        engine.models.load_model(tmp_path / "distiller.keras")
