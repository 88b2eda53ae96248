"""How users choose a device, what goes on with models there, and what errors say."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common import assert_all_close, assert_all_equal, compiled

import engine as keras
from engine import layers
from engine._core_interface.cpp import build_info

X = np.random.default_rng(0).standard_normal((64, 6)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 64)


def build() -> keras.Model:
    model = keras.Sequential(
        [keras.Input((6,)), layers.Dense(8, activation="relu"), layers.Dense(3, activation="softmax")]
    )
    return compiled(model, "adam", "sparse_categorical_crossentropy", metrics=["accuracy"])


def test_set_device_is_about_models_that_are_built_later() -> None:
    before = build()
    keras.config.set_device("cuda:0")
    try:
        assert keras.config.get_device() == "cuda:0"
        assert build().device == "cuda:0"
    finally:
        keras.config.set_device("cpu")
    assert before.device == "cpu"
    assert build().device == "cpu"


def test_device_as_a_block() -> None:
    with keras.device("gpu:0"):
        assert keras.config.get_device() == "cuda:0"
        with keras.device("cpu"):
            assert build().device == "cpu"
        assert build().device == "cuda:0"
    assert keras.config.get_device() == "cpu"


def test_compile_moves_a_model_with_its_weights() -> None:
    model = build()
    weights = model.get_weights()
    predictions = model.predict(X, verbose=0)
    model.compile("adam", "sparse_categorical_crossentropy", device="cuda")
    assert model.device == "cuda:0"
    assert_all_equal(model.get_weights(), weights)
    np.testing.assert_allclose(model.predict(X, verbose=0), predictions, rtol=1e-5, atol=1e-6)
    model.fit(X, Y, verbose=0)
    model.compile("sgd", "sparse_categorical_crossentropy")  # stays where it is
    assert model.device == "cuda:0"
    trained = model.get_weights()
    model.compile("sgd", "sparse_categorical_crossentropy", device="cpu")
    assert model.device == "cpu"
    assert_all_equal(model.get_weights(), trained)


def test_a_layer_of_two_models_does_not_move() -> None:
    shared = layers.Dense(4)
    one = keras.Sequential([keras.Input((6,)), shared])
    other = keras.Sequential([keras.Input((6,)), shared, layers.Dense(2)])
    weights = one.get_weights()
    with pytest.raises(ValueError, match="is also in another model, which stays on 'cpu'"):
        other.compile("sgd", "mse", device="cuda")
    assert one.device == other.device == "cpu"
    np.testing.assert_array_equal(other.get_weights()[0], weights[0])
    other.compile("sgd", "mse")
    other.fit(X, np.zeros((64, 2), "float32"), verbose=0)


@pytest.mark.parametrize("name", ["", "tpu", "cuda:", "cuda:x", "cuda:-1", "CPU0"])
def test_names_that_are_no_device(name: str) -> None:
    with pytest.raises(ValueError, match="a device is 'cpu', 'cuda' or 'cuda:0'"):
        keras.config.set_device(name)


def test_a_card_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="there is no device 'cuda:99'"):
        keras.config.set_device("cuda:99")


def test_files(tmp_path: Path) -> None:
    with keras.device("cuda"):
        model = build()
        model.fit(X, Y, verbose=0)
        model.save(tmp_path / "m.keras")
        model.save_weights(tmp_path / "m.weights.h5")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    assert loaded.device == "cpu"
    np.testing.assert_allclose(
        loaded.predict(X, verbose=0), model.predict(X, verbose=0), rtol=1e-5, atol=1e-6
    )
    with keras.device("cuda"):
        other = build()
        other.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(other.predict(X, verbose=0), model.predict(X, verbose=0))


def test_training_goes_on_from_a_file(tmp_path: Path) -> None:
    """The optimizer's state goes through the file, too."""
    with keras.device("cuda"):
        model = build()
        model.fit(X, Y, verbose=0, shuffle=False)
        model.save(tmp_path / "m.keras")
        loaded = keras.saving.load_model(tmp_path / "m.keras")
        for each in (model, loaded):
            each.fit(X, Y, verbose=0, shuffle=False)
    assert_all_close(model.get_weights(), loaded.get_weights(), rtol=1e-6, atol=1e-7)


def test_callbacks(tmp_path: Path) -> None:
    with keras.device("cuda"):
        model = build()
        callbacks = [
            keras.callbacks.EarlyStopping(patience=1, restore_best_weights=True),
            keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", save_best_only=True),
            keras.callbacks.ReduceLROnPlateau(patience=1),
        ]
        history = model.fit(X, Y, epochs=4, validation_split=0.25, callbacks=callbacks, verbose=0).history
    assert set(history) >= {"loss", "val_loss", "accuracy", "val_accuracy", "learning_rate"}
    assert (tmp_path / "best.keras").exists()


def test_estimators_of_scikit_learn() -> None:
    from engine.sklearn import MLPClassifier

    def estimator() -> MLPClassifier:
        return MLPClassifier(
            hidden_layer_sizes=(8,), max_iter=3, tol=0.0, n_iter_no_change=100, random_state=0
        )

    with keras.device("cuda"), pytest.warns(UserWarning, match="Maximum iterations"):
        found = estimator().fit(X, Y)
    with pytest.warns(UserWarning, match="Maximum iterations"):
        expected = estimator().fit(X, Y)
    np.testing.assert_allclose(found.predict_proba(X), expected.predict_proba(X), rtol=1e-4, atol=1e-6)


def test_rows_that_are_not_finite_are_refused() -> None:
    x = X.copy()
    x[40, 2] = np.nan
    with keras.device("cuda"):
        model = build()
        weights = model.get_weights()
        with pytest.raises(ValueError, match=r"not finite|NaN|nan"):
            model.predict(x, verbose=0)
        with pytest.raises(ValueError, match=r"not finite|NaN|nan"):
            model.fit(x, Y, verbose=0)
    assert_all_equal(model.get_weights(), weights)


def test_compressed_rows_are_refused() -> None:
    sparse = pytest.importorskip("scipy.sparse").csr_matrix(X)
    with keras.device("cuda"):
        model = build()
        for call in (lambda: model.fit(sparse, Y, verbose=0), lambda: model.predict(sparse, verbose=0)):
            with pytest.raises(ValueError, match="a GPU reads no compressed rows yet"):
                call()


def test_what_a_gpu_can_not_run_yet_says_so_and_leaves_the_model() -> None:
    labels = np.arange(64) % 3
    with keras.device("cuda"):
        model = keras.Sequential([keras.Input((6,)), layers.Dense(3)])
        weights = model.get_weights()
        model.compile("sgd", keras.losses.Circle())  # which NumPy computes, on the host
        with pytest.raises(ValueError, match=r"a GPU can't run '\w+' yet.*set_device\('cpu'\)"):
            model.fit(X, labels, verbose=0)
    model.compile("sgd", keras.losses.Circle(), device="cpu")
    assert_all_equal(model.get_weights(), weights)
    model.fit(X, labels, verbose=0)


def test_penalties_are_divided_as_scikit_learn_does() -> None:
    """With a large `alpha`, a factor of the batch size in the penalty's gradient would be seen at once."""
    from engine.sklearn import MLPRegressor

    y = X[:, :1].ravel()

    def fitted() -> MLPRegressor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # too few epochs to converge
            return MLPRegressor(
                hidden_layer_sizes=(8,), alpha=3.0, max_iter=3, tol=0.0, batch_size=16, random_state=0
            ).fit(X, y)

    with keras.device("cuda"):
        found = fitted()
    expected = fitted()
    assert_all_close(found.coefs_, expected.coefs_, rtol=1e-4, atol=1e-6)


def test_explain_batch_prints_the_kernels() -> None:
    with keras.device("cuda"):
        text = str(keras.utils.explain_batch(build()))
    assert "the kernels that a GPU runs one after the other" in text
    assert "dense_weight_step" in text


emulated = pytest.mark.skipif(
    "Emulated" not in build_info()["cuda"], reason="a real GPU is neither taken away nor made smaller"
)


PROGRAM = """
import numpy as np
import engine as keras
model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(%d), keras.layers.Dense(3)])
model.compile("adam", "mse")
x, y = np.zeros((4, 6), "float32"), np.zeros((4, 3), "float32")
try:
    model.compile("adam", "mse", device="cuda")
    model.fit(x, y, verbose=0)
except (MemoryError, ValueError) as error:
    print(type(error).__name__, error)
model.compile("adam", "mse", device="cpu")
model.fit(x, y, verbose=0)
print(model.device)
"""


@emulated
def test_a_machine_without_a_gpu(run_program: Any) -> None:
    out = run_program(PROGRAM % 8, EMULATED_CUDA_DEVICES="0")
    assert "ValueError there is no device 'cuda:0': no device" in out
    assert out.endswith("cpu\n")


@emulated
def test_too_little_memory(run_program: Any) -> None:
    out = run_program(PROGRAM % 400_000, EMULATED_CUDA_MEMORY=str(24 << 20))
    assert "MemoryError the GPU can't hold another" in out
    assert "Either use a smaller `batch_size`, or use the CPU" in out
    assert out.endswith("cpu\n")


REFUSED = """
import numpy as np
import engine as keras
def way():
    lines = keras.utils.explain_batch(model, batch_size=8).splitlines()
    return next(line for line in lines if line.startswith("Execution"))
x = np.random.default_rng(0).standard_normal((100, 6)).astype("float32")
trained = []
for device in ("cuda", "cpu"):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(9, "relu"), keras.layers.Dense(3)])
    model.compile("adam", "mse", device=device)
    if device == "cuda":
        print(way())
    model.fit(x, x[:, :3], batch_size=8, epochs=2, verbose=0)
    if device == "cuda":
        print(way())
    trained.append(model.get_weights())
for ours, theirs in zip(*trained):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
"""


@emulated
@pytest.mark.parametrize("way", ["cluster:4", "grid:4"])
def test_a_card_that_refuses_the_one_kernel_trains_step_by_step(run_program: Any, way: str) -> None:
    out = run_program(REFUSED, EMULATED_CUDA_REFUSES_TEAMS="1", ENGINE_CUDA_EXECUTION=way)
    before, after = out.splitlines()
    assert "one kernel for many batches" in before
    assert "a kernel for each step: this GPU refused to start one kernel" in after


def test_info_names_the_cards(run_program: Any) -> None:
    assert "CUDA              cuda:0" in run_program("from engine.cli import main; main(['info'])")
