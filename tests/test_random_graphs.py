"""Random graphs are saved, loaded, copied, taken apart, trained and drawn without a change of what they compute."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_graphs import RandomGraph, arrays

import engine as keras

SEEDS = range(int(os.environ.get("RANDOM_GRAPHS", "50")))
SUFFIXES = (".keras", ".npz", ".safetensors", ".h5")


def assert_same(found: Any, wanted: Any) -> None:
    # A file in JSON makes a list of a tuple, as in Keras.
    assert isinstance(found, list if isinstance(found, list) and isinstance(wanted, tuple) else type(wanted))
    assert len(arrays(found)) == len(arrays(wanted))
    assert all(map(np.array_equal, arrays(found), arrays(wanted)))


@pytest.fixture(params=SEEDS)
def graph(request: pytest.FixtureRequest) -> RandomGraph:
    return RandomGraph(keras, request.param)


def test_files_and_copies(graph: RandomGraph, tmp_path: Path) -> None:
    model, x = graph.model, graph.x()
    outputs = model.predict(x, verbose=0)
    suffix = SUFFIXES[len(model.layers) % len(SUFFIXES)]
    model.save(tmp_path / f"model{suffix}")
    again = keras.models.load_model(tmp_path / f"model{suffix}")
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    from_config = keras.Model.from_config(model.get_config())
    from_config.set_weights(model.get_weights())
    for other in (again, copy, from_config, pickle.loads(pickle.dumps(model))):
        assert_same(other.predict(x, verbose=0), outputs)
        assert [layer.name for layer in other.layers] == [layer.name for layer in model.layers]
    texts: list[str] = []
    for each in (model, copy):
        each.summary(expand_nested=True, line_length=120, print_fn=texts.append)
    keras.utils.plot_model(model, tmp_path / "model.svg", expand_nested=True, show_shapes=True)
    assert (tmp_path / "model.svg").stat().st_size


def test_parts_and_calls(graph: RandomGraph) -> None:
    """A model of all intermediate outputs computes them, a call of the model does, and so does a model around it."""
    model, x = graph.model, graph.x()
    outputs = arrays(model.predict(x, verbose=0))
    for found, wanted in zip(arrays(model(x)), outputs, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    layers = [
        layer for layer in model.layers if not isinstance(layer, (keras.Model, keras.layers.InputLayer))
    ]
    parts = keras.Model(model.inputs, [*model.outputs, *(layer.output for layer in layers)])
    found = arrays(parts.predict(arrays(x), verbose=0))
    assert all(map(np.array_equal, found[: len(outputs)], outputs))
    assert [each.shape[1:] for each in found[len(outputs) :]] == [layer.output.shape[1:] for layer in layers]
    starts = [keras.Input(tensor.shape[1:]) for tensor in model.inputs]
    called = model(graph.packed_inputs(starts))
    around = keras.Model(starts, arrays(called))
    assert all(map(np.array_equal, arrays(around.predict(arrays(x), verbose=0)), outputs))


def test_training_a_copy_gives_the_same(graph: RandomGraph) -> None:
    model, x = graph.model, graph.x(16)
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    rng = np.random.default_rng(0)
    y = [rng.normal(size=(16, *tensor.shape[1:])) for tensor in model.outputs]
    keys = sorted(model.output) if isinstance(model.output, dict) else None
    targets: Any = dict(zip(keys, y, strict=True)) if keys else y if len(y) > 1 else y[0]
    results = []
    for each in (model, copy):
        for layer in each._leaves:
            layer.rate = 0.0  # no dropout: the seeds of a copy are others
        each.compile("sgd", "mse")
        history = each.fit(x, targets, batch_size=8, epochs=2, verbose=0, shuffle=False)
        results.append((history.history, each.get_weights()))
    assert results[0][0].keys() == results[1][0].keys()
    for one, other in zip(results[0][1], results[1][1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)
