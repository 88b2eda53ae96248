"""Tests of `Ensemble`: means, votes and spread, beside NumPy; its files and exports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine as keras
from engine import layers

RNG = np.random.default_rng(30)
X = RNG.normal(size=(41, 5)).astype(np.float32)
Y = RNG.integers(0, 3, 41)


def classifier(units: int = 4, outputs: int = 3) -> keras.Model:
    model = keras.Sequential(
        [
            keras.Input((5,)),
            layers.Dense(units, "relu"),
            layers.Dense(outputs, "softmax" if outputs > 1 else "sigmoid"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def predictions(models: list[Any]) -> Any:
    return np.stack([model.predict(X, verbose=0) for model in models]).astype(np.float64)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_mean_and_spread(count: int) -> None:
    models = [classifier(units) for units in range(1, count + 1)]
    ensemble = keras.Ensemble(models)
    expected = predictions(models)
    np.testing.assert_allclose(ensemble.predict(X, verbose=0), expected.mean(axis=0), rtol=1e-6)
    mean, std = ensemble.predict(X, verbose=0, return_std=True)
    np.testing.assert_array_equal(mean, ensemble.predict(X, verbose=0))
    np.testing.assert_allclose(std, expected.std(axis=0), rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(ensemble(X), mean)
    assert ensemble.members == models


def test_votes() -> None:
    models = [classifier(units) for units in (2, 3, 4, 5)]
    expected = np.stack([np.eye(3)[row.argmax(axis=1)] for row in predictions(models)]).mean(axis=0)
    np.testing.assert_allclose(
        keras.Ensemble(models, combine="vote").predict(X, verbose=0), expected, rtol=1e-6
    )
    mean, std = keras.Ensemble(models[:3], "vote").predict(X, verbose=0, return_std=True)
    votes = np.stack([np.eye(3)[row.argmax(axis=1)] for row in predictions(models[:3])])
    np.testing.assert_allclose(mean, votes.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(std, votes.std(axis=0), rtol=1e-5, atol=1e-6)
    models = [classifier(outputs=1) for _ in range(3)]
    expected = (predictions(models) > 0.5).mean(axis=0)
    np.testing.assert_allclose(keras.Ensemble(models, "vote").predict(X, verbose=0), expected, rtol=1e-6)


def test_votes_on_several_labels_and_logits() -> None:
    def build(loss: Any, activation: str | None) -> keras.Model:
        model = keras.Sequential([keras.Input((5,)), layers.Dense(3, activation)])
        model.compile("sgd", loss)
        return model

    models = [build("binary_crossentropy", "sigmoid") for _ in range(3)]
    expected = (predictions(models) > 0.5).mean(axis=0)
    np.testing.assert_allclose(keras.Ensemble(models, "vote").predict(X, verbose=0), expected, rtol=1e-6)
    logits = build(keras.losses.BinaryCrossentropy(from_logits=True), None)
    with pytest.raises(ValueError, match="votes are taken on probabilities"):
        keras.Ensemble([logits], "vote")


def test_members_that_share_layers(tmp_path: Path) -> None:
    shared, start = layers.Dense(4), keras.Input((5,))
    models = [keras.Model(start, layers.Dense(2)(shared(start))) for _ in range(2)]
    ensemble = keras.Ensemble(models)
    np.testing.assert_allclose(
        ensemble.predict(X, verbose=0), predictions(models).mean(axis=0), rtol=1e-5, atol=1e-6
    )
    with pytest.raises(
        ValueError, match="the members of the ensemble share layers, so that it can't be saved"
    ):
        ensemble.save(tmp_path / "a.keras")
    assert not list(tmp_path.iterdir())


def test_evaluation_is_that_of_the_mean() -> None:
    models = [classifier() for _ in range(3)]
    ensemble = keras.Ensemble(models)
    found = ensemble.evaluate(X, Y, verbose=0, return_dict=True)
    mean = predictions(models).mean(axis=0)
    assert found["accuracy"] == pytest.approx(np.mean(mean.argmax(axis=1) == Y))
    assert found["loss"] == pytest.approx(-np.log(mean[np.arange(41), Y]).mean(), rel=1e-5)
    with pytest.raises((ValueError, RuntimeError), match="optimizer"):
        ensemble.fit(X, Y, verbose=0)


def test_weights_are_those_of_the_members() -> None:
    models = [classifier() for _ in range(2)]
    ensemble = keras.Ensemble(models)
    before = ensemble.predict(X, verbose=0)
    models[0].fit(X, Y, epochs=3, verbose=0)
    after = ensemble.predict(X, verbose=0)
    assert not np.array_equal(before, after)
    np.testing.assert_allclose(after, predictions(models).mean(axis=0), rtol=1e-6)


def test_members_that_are_not_compiled() -> None:
    models = [keras.Sequential([keras.Input((5,)), layers.Dense(2)]) for _ in range(2)]
    ensemble = keras.Ensemble(models)
    assert not ensemble.compiled
    np.testing.assert_allclose(
        ensemble.predict(X, verbose=0), predictions(models).mean(axis=0), rtol=1e-6, atol=1e-7
    )


def test_several_inputs_and_outputs() -> None:
    def build() -> keras.Model:
        first, second = keras.Input((2,), name="a"), keras.Input((3,), name="b")
        joined = layers.concatenate([first, second])
        return keras.Model([first, second], [layers.Dense(2)(joined), layers.Dense(1)(joined)])

    models = [build() for _ in range(3)]
    ensemble = keras.Ensemble(models)
    data = [X[:, :2], X[:, 2:]]
    each = [model.predict(data, verbose=0) for model in models]
    outputs, stds = ensemble.predict(data, verbose=0, return_std=True)
    for number in range(2):
        expected = np.stack([outputs[number] for outputs in each]).astype(np.float64)
        np.testing.assert_allclose(outputs[number], expected.mean(axis=0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(stds[number], expected.std(axis=0), rtol=1e-5, atol=1e-6)


def test_members_of_one_name_and_of_own_classes() -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__(name="own")
            self.dense = layers.Dense(2)

        def call(self, x: Any) -> Any:
            return self.dense(x)

    models = [Own() for _ in range(2)]
    for model in models:
        model.build((None, 5))
    ensemble = keras.Ensemble(models, name="both")
    assert ensemble.name == "both"
    np.testing.assert_allclose(
        ensemble.predict(X, verbose=0), predictions(models).mean(axis=0), rtol=1e-6, atol=1e-7
    )


@pytest.mark.parametrize("combine", ["mean", "vote"])
def test_files(combine: str, tmp_path: Path) -> None:
    ensemble = keras.Ensemble([classifier(units) for units in (3, 4)], combine)
    ensemble.save(tmp_path / "ensemble.keras")
    loaded = keras.models.load_model(tmp_path / "ensemble.keras")
    assert type(loaded) is keras.Ensemble
    for ours, theirs in zip(
        ensemble.predict(X, return_std=True), loaded.predict(X, return_std=True), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert loaded.evaluate(X, Y, verbose=0) == ensemble.evaluate(X, Y, verbose=0)
    # A process that has not used the class loads it, too.
    code = (
        f"import engine; print(type(engine.models.load_model({str(tmp_path / 'ensemble.keras')!r})).__name__)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "Ensemble\n"


def test_exports(tmp_path: Path) -> None:
    models = [classifier(units) for units in (3, 4)]
    ensemble = keras.Ensemble(models)
    ensemble.export(tmp_path / "ensemble.h", format="c")
    assert "float" in (tmp_path / "ensemble.h").read_text(encoding="utf-8")
    onnx = pytest.importorskip("onnx")
    ensemble.export(tmp_path / "ensemble.onnx", format="onnx")
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(onnx.load(tmp_path / "ensemble.onnx"))
    (found,) = evaluator.run(None, {evaluator.input_names[0]: X})
    np.testing.assert_allclose(found, ensemble.predict(X, verbose=0), rtol=1e-5, atol=1e-6)


def test_ensembles_of_ensembles() -> None:
    models = [classifier(units) for units in (2, 3, 4)]
    inner = keras.Ensemble(models[:2])
    outer = keras.Ensemble([inner, models[2]])
    expected = (predictions(models[:2]).mean(axis=0) + predictions(models[2:])[0]) / 2
    np.testing.assert_allclose(outer.predict(X, verbose=0), expected, rtol=1e-6)


def test_wrong_members() -> None:
    model = classifier()
    unbuilt = keras.Sequential([layers.Dense(3)])
    with pytest.raises(ValueError, match="an Ensemble needs one model at least"):
        keras.Ensemble([])
    with pytest.raises(TypeError, match="an Ensemble is made of models, but entry 1 is 'a'"):
        keras.Ensemble([model, "a"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="model 1 of the ensemble isn't built"):
        keras.Ensemble([model, unbuilt])
    with pytest.raises(
        ValueError, match=r"the outputs of model 1 have the shapes \[\(None, 1\)\], but those of model 0 have"
    ):
        keras.Ensemble([model, classifier(outputs=1)])
    with pytest.raises(ValueError, match="an Ensemble of 2 models has one of them twice"):
        keras.Ensemble([model, model])
    with pytest.raises(ValueError, match="`combine` must be one of"):
        keras.Ensemble([model], combine="median")
    with pytest.raises(TypeError, match="`return_std`"):
        keras.Ensemble([model]).predict(X, return_std="yes", verbose=0)
    with pytest.raises(ValueError, match="`out` takes the outputs alone"):
        keras.Ensemble([model]).predict(X, out=np.empty((41, 3), np.float32), return_std=True, verbose=0)
    out = np.empty((41, 3), np.float32)
    assert keras.Ensemble([model]).predict(X, out=out, verbose=0) is out


def test_a_clone_is_an_ensemble_of_clones() -> None:
    ensemble = keras.Ensemble([classifier(2), classifier(3)], combine="vote")
    clone = keras.models.clone_model(ensemble)
    assert isinstance(clone, keras.Ensemble)
    assert clone.compiled
    assert [member.count_params() for member in clone.members] == [
        member.count_params() for member in ensemble.members
    ]
    assert not set(map(id, clone.members)) & set(map(id, ensemble.members))
    clone.set_weights(ensemble.get_weights())
    for ours, theirs in zip(
        clone.predict(X, verbose=0, return_std=True),
        ensemble.predict(X, verbose=0, return_std=True),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)
