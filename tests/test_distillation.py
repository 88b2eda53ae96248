"""Knowledge distillation: steps are compiled, students are trained alone, and damaged files are refused."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine as keras
from engine import distillation, layers, ops

RNG = np.random.default_rng(1)
X = RNG.standard_normal((60, 4)).astype("float32")
Y = np.argmax(X[:, :3], axis=1)


def network(units: int) -> Any:
    return keras.Sequential(
        [keras.Input((4,)), layers.Dense(units, "relu", name="hidden"), layers.Dropout(0.2), layers.Dense(3)]
    )


class Counted(distillation.DistillationLoss):
    """The mean squared difference, which counts its calls."""

    calls = 0

    def compute_loss(self, teacher_outputs: Any, student_outputs: Any, **kwargs: Any) -> Any:
        self.calls += 1
        return ops.mean(ops.square(teacher_outputs - student_outputs))


class Mean(Counted):
    def get_config(self) -> dict[str, Any]:
        return {}


def distiller_with(losses: Any, **options: Any) -> Any:
    made = distillation.Distiller(network(8), network(4), losses, **options)
    made.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return made


def test_no_python_runs_in_an_epoch() -> None:
    loss = Counted()
    distiller = distiller_with([loss, distillation.LogitsDistillation(3.0, keras.losses.KLDivergence())])
    distiller.fit(X, Y, batch_size=10, epochs=5, verbose=0, validation_split=0.5)
    assert loss.calls == 2  # once with symbols for training, once for validation
    assert not distiller._eager_steps


def test_layers_of_different_widths_are_refused() -> None:
    distiller = distiller_with(distillation.FeatureDistillation("mae", "hidden", "hidden"))
    with pytest.raises(ValueError, match=r"the shape of `y_pred`, \(32, 4\), got \(32, 8\)"):
        distiller.fit(X, Y, verbose=0)


def test_a_student_learns_from_its_teacher_alone() -> None:
    distiller = distiller_with(distillation.FeatureDistillation("mse"), student_loss_weight=0.0)
    before = distiller.evaluate(X, Y, verbose=0, return_dict=True)
    distiller.fit(X, np.zeros(60, int), epochs=60, verbose=0)
    after = distiller.evaluate(X, Y, verbose=0, return_dict=True)
    assert after["loss"] < 0.6 * before["loss"]
    assert after["student_loss"] == 0


def test_models_are_not_built_before_the_first_batch(tmp_path: Path) -> None:
    teacher, student = (keras.Sequential([layers.Dense(units), layers.Dense(3)]) for units in (5, 2))
    distiller = distillation.Distiller(teacher, student, Counted())
    distiller.compile("sgd", "mse")
    distiller.fit(X, X[:, :3], verbose=0)
    assert student.built
    assert distiller.predict(X, verbose=0).shape == (60, 3)
    distiller.distillation_losses = [Mean()]
    distiller.save(tmp_path / "distiller.keras")
    loaded = keras.models.load_model(tmp_path / "distiller.keras", custom_objects={"Mean": Mean})
    np.testing.assert_array_equal(loaded(X), distiller(X))


def test_an_empty_list_of_losses_trains_on_the_targets() -> None:
    distiller = distiller_with([])
    history = distiller.fit(X, Y, verbose=0).history
    assert history["distillation_loss"] == [0.0]


def test_a_base_loss_computes_nothing() -> None:
    with pytest.raises(NotImplementedError, match="DistillationLoss must have a method `compute_loss"):
        distiller_with(distillation.DistillationLoss()).compute_loss(X, Y)


def test_structures_of_losses_and_outputs_are_compared() -> None:
    one, two = X, [X, X]
    for losses, outputs in ((["mse"], (one, one)), ("mse", (two, two)), (["mse", None], (two, one))):
        with pytest.raises(ValueError, match=r"structure|list"):
            distillation.FeatureDistillation(losses).validate_outputs(*outputs)
    distillation.FeatureDistillation(["mse", None]).validate_outputs(two, two)


def test_losses_of_a_class_of_ones_own_are_saved(tmp_path: Path) -> None:
    class Scaled(distillation.DistillationLoss):
        def __init__(self, factor: float) -> None:
            self.factor = factor

        def compute_loss(self, teacher_outputs: Any, student_outputs: Any, **kwargs: Any) -> Any:
            return self.factor * ops.mean(ops.abs(teacher_outputs - student_outputs))

        def get_config(self) -> dict[str, Any]:
            return {"factor": self.factor}

    distiller = distiller_with(Scaled(2.0))
    distiller.fit(X, Y, verbose=0)
    distiller.save(tmp_path / "distiller.keras")
    loaded = keras.models.load_model(tmp_path / "distiller.keras", custom_objects={"Scaled": Scaled})
    assert loaded.distillation_losses[0].factor == 2.0
    numbers = [each.evaluate(X, Y, verbose=0) for each in (distiller, loaded)]
    assert numbers[0] == numbers[1]
    loaded.fit(X, Y, verbose=0)  # it is compiled


def test_a_loss_without_a_config_can_not_be_saved(tmp_path: Path) -> None:
    distiller = distiller_with(Counted())
    distiller(X)
    with pytest.raises(TypeError, match=r"Counted.*get_config"):
        distiller.save(tmp_path / "distiller.keras")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".keras", ".npz", ".safetensors"])
def test_files(suffix: str, tmp_path: Path) -> None:
    distiller = distiller_with(distillation.LogitsDistillation(2.0, "mse"), student_loss_weight=0.25)
    distiller.fit(X, Y, verbose=0)
    path = tmp_path / f"distiller{suffix}"
    distiller.save(path)
    loaded = keras.models.load_model(path)
    np.testing.assert_array_equal(loaded(X), distiller(X))
    np.testing.assert_array_equal(loaded.teacher(X), distiller.teacher(X))
    assert not loaded.teacher.trainable
    assert loaded.student_loss_weight == 0.25
    for each in (distiller, loaded):
        keras.utils.set_random_seed(3)
        each.fit(X, Y, shuffle=False, verbose=0)
    np.testing.assert_allclose(loaded(X), distiller(X), atol=1e-6)


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_a_small_file_asks_for_no_large_weights(role: str, tmp_path: Path) -> None:
    distiller = distiller_with(Mean())
    distiller.fit(X, Y, verbose=0)
    path = tmp_path / "distiller.keras"
    distiller.save(path)
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(files["config.json"])
    config["config"][role]["config"]["layers"][1]["config"]["units"] = 10**6
    files["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    with pytest.raises(ValueError, match=r"needs weights of shapes \[\(4, 1000000\)"):
        keras.models.load_model(path, custom_objects={"Mean": Mean})


@pytest.mark.parametrize(
    "damage", [{}, {"teacher": None, "student": {}}, {"teacher": {"class_name": "Dense"}}, []]
)
def test_a_damaged_config_is_refused(damage: Any, tmp_path: Path) -> None:
    distiller = distiller_with(Mean())
    distiller(X)
    distiller.save(tmp_path / "whole.keras")
    with zipfile.ZipFile(tmp_path / "whole.keras") as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(files["config.json"]) | {"config": damage}
    files["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(tmp_path / "damaged.keras", "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    with pytest.raises(ValueError, match="Distiller must hold its 'teacher' and 'student'"):
        keras.models.load_model(tmp_path / "damaged.keras", custom_objects={"Mean": Mean})


def test_a_distiller_is_loaded_whose_teacher_has_no_weights_yet(tmp_path):
    teacher, student = (keras.Sequential([keras.layers.Dense(4), keras.layers.Dense(2)]) for _ in range(2))
    distiller = keras.distillation.Distiller(
        teacher, student, distillation_losses=keras.distillation.LogitsDistillation()
    )
    x = np.ones((2, 3), "float32")
    outputs = distiller(x)
    distiller.save(tmp_path / "distiller.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "distiller.keras")(x), outputs)
