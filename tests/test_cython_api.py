"""Tests of `engine.cython_api` in a compiled module of another project."""

from __future__ import annotations

import gc
import importlib.machinery
import importlib.util
import inspect
import os
import pickle
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from common import Doubled
from numpy.typing import NDArray

import engine as keras
from engine.cython_api import Predictor

EXAMPLE = Path(__file__).parents[1] / "examples" / "cython"

ASKING = """# cython: language_level=3, freethreading_compatible=True
from engine.cython_api cimport GOOD, NO_INDEX, NOT_FINITE, Predictor

STATUS = (GOOD, NOT_FINITE, NO_INDEX)

def ask(Predictor predictor, const float[:, ::1] x, float[:, ::1] out, long times=1):
    cdef long i
    cdef int status = GOOD
    if x.shape[1] != predictor.inputs or out.shape[1] != predictor.outputs or x.shape[0] != out.shape[0]:
        raise ValueError("shapes")
    with nogil:
        for i in range(times):
            status = predictor.predict(&x[0, 0], x.shape[0], &out[0, 0])
            if status != GOOD:
                break
    return status
"""


def build(folder: Path, **environment: str) -> None:
    """Builds a Cython project in `folder` as a user does. It finds the same package as this process."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))} | environment
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def load(folder: Path, name: str) -> ModuleType:
    names = {name + suffix for suffix in importlib.machinery.EXTENSION_SUFFIXES}
    (path,) = (path for path in folder.iterdir() if path.name in names)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("asking")
    (folder / "asking.pyx").write_text(ASKING, encoding="utf-8")
    setup = (EXAMPLE / "setup.py").read_text(encoding="utf-8").replace("pendulum", "asking")
    (folder / "setup.py").write_text(setup, encoding="utf-8")
    build(folder, CFLAGS="-O0")
    return load(folder, "asking")


def network(*sizes: int, activation: str = "relu", last: str = "softmax") -> keras.Sequential:
    inner = [keras.layers.Dense(units, activation=activation) for units in sizes[1:-1]]
    return keras.Sequential(
        [keras.Input((sizes[0],)), *inner, keras.layers.Dense(sizes[-1], activation=last)]
    )


def answers(asking: Any, predictor: Predictor, x: NDArray[np.float32]) -> NDArray[np.float32]:
    out = np.full((len(x), predictor.outputs), np.nan, np.float32)
    assert asking.ask(predictor, x, out) == asking.STATUS[0]
    return out


@pytest.mark.parametrize("together", [1, 3, 64])
@pytest.mark.parametrize("sizes", [(4, 32, 2), (784, 128, 10), (3, 1), (30, 64, 64, 1)])
def test_the_bits_are_those_of_predict(asking: Any, sizes: tuple[int, ...], together: int) -> None:
    model = network(*sizes)
    predictor = Predictor(model, inputs=sizes[0], outputs=sizes[-1], together=together)
    rng = np.random.default_rng(0)
    for rows in (1, 2, 7, 64, 65):
        x = rng.normal(size=(rows, sizes[0])).astype(np.float32)
        x[rng.random(x.shape) < 0.7] = 0.0
        assert answers(asking, predictor, x).tobytes() == model.predict(x).tobytes()


def test_layers_of_many_kinds(asking: Any) -> None:
    layers = keras.layers
    tied, norm = layers.Dense(40), layers.BatchNormalization()
    model = keras.Sequential(
        [
            keras.Input((6, 5)),
            layers.Rescaling(0.5, 0.1),
            layers.RandomRotation(0.1),
            layers.Flatten(),
            layers.Dense(40, activation="gelu"),
            norm,
            tied,
            tied,
            norm,
            layers.Dropout(0.5),
            layers.LayerNormalization(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    x = np.random.default_rng(0).random((9, 6, 5), np.float32)
    predictor = Predictor(model)
    assert (predictor.inputs, predictor.outputs, predictor.together) == (30, 3, 1)
    assert answers(asking, predictor, x.reshape(9, 30)).tobytes() == model.predict(x).tobytes()


def test_a_copy_of_the_weights_until_refresh(asking: Any) -> None:
    model = network(4, 8, 3)
    x = np.random.default_rng(0).random((5, 4), np.float32)
    before = model.predict(x)
    predictor = Predictor(model)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, np.arange(5) % 3, epochs=3, verbose=0)
    assert answers(asking, predictor, x).tobytes() == before.tobytes()
    predictor.refresh()
    after = model.predict(x)
    assert answers(asking, predictor, x).tobytes() == after.tobytes() != before.tobytes()
    model.add(keras.layers.Dense(2))
    with pytest.raises(ValueError, match="given other layers since: make a new Predictor"):
        predictor.refresh()
    del model
    gc.collect()
    assert answers(asking, predictor, x).tobytes() == after.tobytes()


def test_what_no_first_layer_takes_as_an_index_is_none(asking: Any) -> None:
    """Any number is accepted if a layer in front turns it into an index."""
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Rescaling(2.0),
            keras.layers.Embedding(5, 2),
            keras.layers.Flatten(),
        ]
    )
    x = np.array([[0.5, 1.0, 1.5, 2.0]], np.float32)
    assert answers(asking, Predictor(model), x).tobytes() == model.predict(x).tobytes()


def test_what_it_refuses_to_answer(asking: Any) -> None:
    predictor = Predictor(network(4, 8, 3))
    out = np.empty((2, 3), np.float32)
    for bad in (np.nan, np.inf, -np.inf):
        x = np.ones((2, 4), np.float32)
        x[1, 2] = bad
        assert asking.ask(predictor, x, out) == asking.STATUS[1]
    tokens = Predictor(
        keras.Sequential([keras.Input((4,)), keras.layers.Embedding(5, 2), keras.layers.Flatten()])
    )
    out = np.empty((2, 8), np.float32)
    assert asking.ask(tokens, np.full((2, 4), 4, np.float32), out) == asking.STATUS[0]
    for bad in (5.0, -1.0, 0.5, np.nan):
        assert asking.ask(tokens, np.full((2, 4), bad, np.float32), out) == asking.STATUS[2]


def test_what_is_no_model_for_it() -> None:
    with pytest.raises(TypeError, match="`model` must be a model such as Sequential, got str"):
        Predictor("net")
    with pytest.raises(ValueError, match="`model` has no weights yet"):
        Predictor(keras.Sequential([keras.layers.Dense(3)]))
    model = network(4, 8, 3)
    with pytest.raises(ValueError, match="`inputs` is 5, but the model has 4"):
        Predictor(model, inputs=5)
    with pytest.raises(ValueError, match="`outputs` is 2, but the model has 3"):
        Predictor(model, inputs=4, outputs=2)
    with pytest.raises(TypeError, match=r"`together` must be an integer, got 1\.5"):
        Predictor(model, together=1.5)
    with pytest.raises(ValueError, match="`together` must be at least 1, got 0"):
        Predictor(model, together=0)

    with pytest.raises(ValueError, match="a layer of the model is written in Python"):
        Predictor(keras.Sequential([keras.Input((4,)), Doubled(), keras.layers.Dense(1)]))


def test_it_cannot_be_pickled() -> None:
    with pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(Predictor(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])))


def test_its_method_tells_its_signature() -> None:
    assert list(inspect.signature(Predictor.refresh).parameters) == ["self"]
    assert inspect.getdoc(Predictor.refresh).startswith("Take the weights")


def test_threads_with_a_predictor_each(asking: Any) -> None:
    model = network(784, 128, 10)
    model.compile("adam", "sparse_categorical_crossentropy")
    x = np.random.default_rng(0).random((16, 784), np.float32)
    predictors = [Predictor(model) for _ in range(4)]
    outs = [np.empty((16, 10), np.float32) for _ in predictors]
    expected = model.predict(x)
    threads = [
        threading.Thread(target=asking.ask, args=(predictor, x, out, 50))
        for predictor, out in zip(predictors, outs, strict=True)
    ]
    for thread in threads:
        thread.start()
    model.fit(x, np.arange(16) % 10, epochs=20, verbose=0)  # trains while others predict
    for thread in threads:
        thread.join()
    assert all(out.tobytes() == expected.tobytes() for out in outs)


def test_the_example(tmp_path: Path) -> None:
    folder = shutil.copytree(EXAMPLE, tmp_path / "example")
    build(folder)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-W", "error", "run.py"]
    for _ in range(3):  # other processes may disturb one of the measurements
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "Steps upright: 1000000 of 1000000" in done.stdout
        times = re.search(r"(\d+) times as long$", done.stdout.strip())
        assert times is not None
        if int(times[1]) >= 10:
            break
    else:
        pytest.fail(done.stdout)
