"""Tests of KerasTuner with models of the engine."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine as keras

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # of KerasTuner and of its other packages
    pytest.mark.skipif(
        importlib.util.find_spec("keras_tuner") is None, reason="keras-tuner is not installed"
    ),
]

RNG = np.random.default_rng(0)
X = RNG.normal(size=(160, 8)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] > 0).astype(int)


@pytest.fixture
def kt() -> Any:
    from engine.wrappers import keras_tuner

    return keras_tuner


def build_model(hp: Any) -> Any:
    """The model of KerasTuner's own guide."""
    model = keras.Sequential([keras.Input((8,))])
    for i in range(hp.Int("num_layers", 1, 3)):
        model.add(
            keras.layers.Dense(
                units=hp.Int(f"units_{i}", min_value=32, max_value=512, step=32),
                activation=hp.Choice("activation", ["relu", "tanh"]),
            )
        )
    if hp.Boolean("dropout"):
        model.add(keras.layers.Dropout(rate=0.25))
    model.add(keras.layers.Dense(1, activation="sigmoid"))
    rate = hp.Float("lr", min_value=1e-4, max_value=1e-2, sampling="log")
    model.compile(keras.optimizers.Adam(learning_rate=rate), loss="binary_crossentropy", metrics=["accuracy"])
    return model


def test_random_search(kt: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build_model(kt.HyperParameters())
    tuner = kt.RandomSearch(
        hypermodel=build_model,
        objective="val_accuracy",
        max_trials=3,
        executions_per_trial=2,
        overwrite=True,
        directory=tmp_path,
        project_name="guide",
    )
    tuner.search_space_summary()
    stop = keras.callbacks.EarlyStopping(monitor="val_loss", patience=1)
    tuner.search(X, Y, epochs=3, validation_data=(X, Y), callbacks=[stop], verbose=0)
    tuner.results_summary()
    printed = capsys.readouterr().out
    assert "num_layers (Int)" in printed
    assert "Score:" in printed
    best = tuner.get_best_models(num_models=2)[0]
    values = tuner.get_best_hyperparameters(1)[0]
    assert isinstance(best, keras.Sequential)
    assert best.layers[0].units == values.get("units_0")
    score = best.evaluate(X, Y, verbose=0, return_dict=True)["accuracy"]
    assert score >= tuner.oracle.get_best_trials(1)[0].score - 0.1  # of two trainings the score is the mean
    history = tuner.hypermodel.build(values).fit(X, Y, epochs=1, verbose=0)
    assert history.epoch == [0]


@pytest.mark.parametrize("name", ["Hyperband", "BayesianOptimization", "GridSearch"])
def test_other_tuners(kt: Any, name: str, tmp_path: Path) -> None:
    def small(hp: Any) -> Any:
        model = keras.Sequential([keras.layers.Dense(hp.Choice("units", [4, 8])), keras.layers.Dense(1)])
        model.compile(hp.Choice("optimizer", ["sgd", "adam"]), "mse")
        return model

    options = {"max_epochs": 4, "factor": 2} if name == "Hyperband" else {"max_trials": 4}
    tuner = getattr(kt, name)(small, objective="val_loss", directory=tmp_path, project_name=name, **options)
    tuner.search(X, Y, epochs=2, validation_split=0.25, verbose=0)
    (best,) = tuner.get_best_models()
    assert best.predict(X, verbose=0).shape == (160, 1)


def test_a_hypermodel_with_a_fit_of_its_own(kt: Any, tmp_path: Path) -> None:
    class Own(kt.HyperModel):  # type: ignore[misc, name-defined]
        def build(self, hp: Any) -> Any:
            return build_model(hp)

        def fit(self, hp: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
            return model.fit(*args, batch_size=hp.Choice("batch_size", [16, 32]), **kwargs)

    objective = kt.Objective("val_accuracy", direction="max")
    tuner = kt.RandomSearch(Own(), objective=objective, max_trials=2, directory=tmp_path, project_name="own")
    tuner.search(X, Y, epochs=1, validation_data=(X, Y), verbose=0)
    assert tuner.get_best_hyperparameters()[0].get("batch_size") in (16, 32)


def test_a_search_goes_on_where_it_ended(kt: Any, tmp_path: Path) -> None:
    for trials in (1, 2):
        tuner = kt.RandomSearch(
            build_model, objective="val_loss", max_trials=trials, directory=tmp_path, project_name="again"
        )
        tuner.search(X, Y, epochs=1, validation_data=(X, Y), verbose=0)
    assert len(tuner.oracle.trials) == 2


def test_networks_for_images_say_why_they_are_missing(kt: Any) -> None:
    with pytest.raises(AttributeError, match="networks here are dense"):
        kt.applications.HyperResNet(input_shape=(32, 32, 3), classes=10).build(kt.HyperParameters())


def test_keras_stays_what_it_is(kt: Any) -> None:
    import keras as real

    assert real.Sequential is not keras.Sequential
    assert kt.Tuner.__module__.startswith("keras_tuner")
    import keras_tuner

    assert keras_tuner.RandomSearch is kt.RandomSearch


def test_names(kt: Any) -> None:
    assert "Hyperband" in dir(kt)
    with pytest.raises(AttributeError, match="Hyperbond"):
        _ = kt.Hyperbond


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_keras_is_not_imported() -> None:
    code = "import sys, engine; engine.wrappers.keras_tuner.Tuner; print({name.partition('.')[0] for name in sys.modules})"
    names = run(code)
    assert "'keras_tuner'" in names
    assert "'keras'" not in names


def test_one_process_has_one_of_both() -> None:
    code = (
        "import types, sys, engine.wrappers.keras_tuner; sys.modules['keras_tuner'] = types.ModuleType('keras_tuner');"
        "engine.wrappers.keras_tuner.Tuner"
    )
    assert "write `from engine.wrappers import keras_tuner` in place of `import keras_tuner`" in run(code)


def test_a_missing_package_is_named() -> None:
    code = "import sys; sys.modules['keras_tuner'] = None; from engine.wrappers.keras_tuner import Tuner"
    assert "pip install keras-tuner six" in run(code)


def test_the_example_of_the_documentation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "wrappers.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)  # KerasTuner writes into the current folder
    names: dict[str, Any] = {"x": X, "y": Y}
    exec(example.replace("max_epochs=30", "max_epochs=2"), names)
    assert names["model"].predict(X, verbose=0).shape == (160, 1)
