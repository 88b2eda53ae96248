"""Corners in which a GPU once did another thing than the CPU, or crashed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from common import assert_all_close, assert_all_equal, compiled

import engine as keras
from engine import layers, ops
from engine._core_interface.cpp import build_info

EMULATED = "Emulated" in build_info()["cuda"]


def both_devices(build: Any) -> Any:
    """Builds the same model on a GPU and on the CPU."""
    models = []
    for device in ("cuda", "cpu"):
        with keras.device(device):
            keras.utils.set_random_seed(3)
            models.append(build())
    return models


def test_models_without_weights(same_training: Any, rng: np.random.Generator) -> None:
    def build() -> keras.Model:
        model = keras.Sequential([keras.Input((4,)), layers.Activation("softmax")])
        return compiled(model, "sgd", "sparse_categorical_crossentropy")

    x = rng.standard_normal((50, 4)).astype("float32")
    same_training(build, x, rng.integers(0, 4, 50), batch_size=4)


def test_calls_in_training_take_all_rows_as_one_batch(rng: np.random.Generator) -> None:
    """Batch normalization then standardizes by the moments of all rows, and moves its averages once."""

    def build() -> keras.Model:
        return keras.Sequential([keras.Input((3,)), layers.BatchNormalization()])

    x = rng.standard_normal((9000, 3)).astype("float32") + np.linspace(0, 5, 9000, dtype="float32")[:, None]
    gpu, cpu = both_devices(build)
    np.testing.assert_allclose(gpu(x, training=True), cpu(x, training=True), rtol=1e-4, atol=1e-5)
    assert_all_close(gpu.get_weights(), cpu.get_weights(), rtol=1e-4, atol=1e-5)


def test_slices_that_are_empty_in_small_batches() -> None:
    class FromTheSixth(layers.Layer):
        def call(self, x: Any) -> Any:
            return x + ops.sum(x[5:])

    def build() -> keras.Model:
        x = keras.Input((64,))
        y = layers.Dense(64, activation="relu")(FromTheSixth()(x))
        return keras.Model(x, layers.Dense(8)(y))

    gpu, cpu = both_devices(build)
    for rows in (3, 5, 6, 9):
        x = np.random.default_rng(rows).standard_normal((rows, 64)).astype("float32")
        np.testing.assert_allclose(
            gpu.predict(x, verbose=0), cpu.predict(x, verbose=0), rtol=1e-4, atol=1e-4, err_msg=f"{rows} rows"
        )


def test_a_refused_metric_leaves_the_model(rng: np.random.Generator) -> None:
    with keras.device("cuda"):
        model = keras.Sequential([keras.Input((4,)), layers.Dense(1, activation="sigmoid")])
    thresholds = sorted(rng.random(600))
    model.compile("adam", "binary_crossentropy", metrics=[keras.metrics.Precision(thresholds=thresholds)])
    x, y = rng.standard_normal((20, 4)).astype("float32"), rng.integers(0, 2, 20)
    before = model.get_weights()
    with pytest.raises(ValueError, match="thresholds"):
        model.fit(x, y, verbose=0)
    assert_all_equal(model.get_weights(), before)


def test_batches_that_no_card_can_hold() -> None:
    with keras.device("cuda"):
        model = keras.Sequential([keras.Input((1,)), layers.Dense(2**20), layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.zeros((2**21, 1), "float32")
    with pytest.raises((MemoryError, ValueError), match="smaller `batch_size`"):
        model.fit(x, x, batch_size=2**21, verbose=0)


@pytest.mark.skipif(not EMULATED, reason="a real GPU is not made smaller")
def test_a_data_set_that_does_not_fit_says_what_to_do(run_program: Any) -> None:
    out = run_program(
        """
import numpy as np
import engine as keras
with keras.device("cuda"):
    model = keras.Sequential([keras.Input((1000,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
try:
    model.fit(np.zeros((10_000, 1000), "float32"), np.zeros(10_000), verbose=0)
except MemoryError as error:
    print(error)
""",
        EMULATED_CUDA_MEMORY=str(24 << 20),
    )
    assert "fit on a part of the data at a time" in out


FORK = """
import os
import numpy as np
import engine as keras
%s
child = os.fork()
if child == 0:
    try:
        keras.config.set_device("cuda")
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        model.predict(np.zeros((2, 1)), verbose=0)
    except Exception as error:
        print(type(error).__name__, error, flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


@pytest.mark.parametrize(
    "use",
    [
        "from engine.cli import main; main(['info'])",
        "with keras.device('cuda'): keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])",
    ],
    ids=["asked", "used"],
)
def test_a_forked_process_says_how_to_start_it(use: str, run_program: Any) -> None:
    assert "spawn" in run_program(FORK % use)


@pytest.mark.skipif(not EMULATED, reason="needs two GPUs")
def test_several_cards_at_once(run_program: Any) -> None:
    out = run_program(
        """
import numpy as np
import engine as keras
x = np.ones((6, 3), "float32")
for name in ("cuda:1", "cuda:0", "cuda:1"):
    with keras.device(name):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    model.fit(x, x[:, :2], verbose=0)
    print(model.device, model.predict(x, verbose=0)[0])
""",
        EMULATED_CUDA_DEVICES="2",
    ).splitlines()
    assert [line.split()[0] for line in out] == ["cuda:1", "cuda:0", "cuda:1"]
    assert len({line.partition(" ")[2] for line in out}) == 1


@pytest.mark.skipif(not EMULATED, reason="a real GPU is not made smaller")
def test_values_of_a_batch_share_memory(run_program: Any) -> None:
    """Each of the 20 values takes 256 KiB."""
    out = run_program(
        """
import numpy as np
import engine as keras
with keras.device("cuda"):
    model = keras.Sequential([keras.Input((1024,)), *[keras.layers.Activation("tanh") for _ in range(20)]])
print(model.predict(np.zeros((64, 1024), "float32"), verbose=0).shape)
""",
        EMULATED_CUDA_MEMORY=str(3 << 20),
    )
    assert out == "(64, 1024)\n"
