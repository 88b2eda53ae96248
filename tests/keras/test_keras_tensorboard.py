"""What `callbacks.TensorBoard` writes in Keras, where a recorder stands for TensorFlow's summaries, and here, in event files."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

import engine

sys.modules.setdefault("tensorboard.compat.notf", ModuleType("notf"))

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 4)).astype(np.float32)
Y, Z = (RNG.normal(size=(12, width)).astype(np.float32) for width in (1, 2))
Written = dict[tuple[str, str], list[tuple[int, float]]]
"""The steps and values of each tag of a folder."""


class Summaries:
    """Stands for the module `tensorflow.summary`: it keeps what is written."""

    def __init__(self) -> None:
        self.written: Written = {}
        self.histograms: set[str] = set()
        self._writers: list[tuple[str, Any]] = []
        self._records = [lambda: True]

    def create_file_writer(self, folder: str) -> Any:
        summaries = self

        class Writer:
            @contextmanager
            def as_default(self, step: Any = None) -> Iterator[None]:
                summaries._writers.append((Path(folder).name, step))
                yield
                summaries._writers.pop()

            def flush(self) -> None:
                """Does nothing."""

            close = flush

        return Writer()

    @contextmanager
    def record_if(self, records: Any) -> Iterator[None]:
        self._records.append(records)
        yield
        self._records.pop()

    def scalar(self, name: str, value: Any, step: Any = None) -> None:
        if self._writers and self._records[-1]():
            run, _ = self._writers[-1]
            self.written.setdefault((run, name), []).append((int(step), float(value)))

    def histogram(self, name: str, value: Any, step: Any = None) -> None:
        del value, step
        self.histograms.add(name)


def in_keras(monkeypatch: pytest.MonkeyPatch, folder: Path, build: Any, **options: Any) -> Summaries:
    summaries = Summaries()
    callback = keras.callbacks.TensorBoard(folder, write_graph=False, **options)
    monkeypatch.setattr(callback, "_summary_module", summaries)
    train(keras, build, callback)
    return summaries


def in_files(folder: Path, build: Any, **options: Any) -> tuple[Written, set[str]]:
    train(engine, build, engine.callbacks.TensorBoard(folder, write_graph=False, **options))
    written, histograms = Written(), set[str]()
    for run in ("train", "validation"):
        events = EventAccumulator(str(folder / run), size_guidance={"tensors": 0})
        events.Reload()
        for tag in events.Tags()["tensors"]:
            if events.SummaryMetadata(tag).plugin_data.plugin_name == "histograms":
                histograms.add(tag)
                continue
            written[run, tag] = [
                (event.step, float(make_ndarray(event.tensor_proto))) for event in events.Tensors(tag)
            ]
    return written, histograms


def two_outputs(api: Any, form: Any) -> Any:
    k, x = api.layers, api.Input((4,))
    hidden = k.Dense(3, "tanh", name="hidden")(x)
    return api.Model(x, form(k.Dense(1, name="one")(hidden), k.Dense(2, name="two")(hidden)))


class ModelOf:
    """A model with two outputs in a form, and its targets."""

    def __init__(self, form: Any) -> None:
        self.form = form

    def __call__(self, api: Any) -> Any:
        model = two_outputs(api, self.form)
        metrics = None if self.form is FORMS["nested"] else self.form(["mae"], ["mae", "mse"])
        model.compile(api.optimizers.SGD(0.05), loss="mse", metrics=metrics)
        return model, self.form(Y, Z)


FORMS = {
    "list": lambda a, b: [a, b],
    "dict": lambda a, b: {"first": a, "second": b},
    "nested": lambda a, b: [a, {"second": b}],
}


def train(api: Any, build: Any, callback: Any) -> None:
    model, y = build(api)
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=array.shape) for array in model.get_weights()])
    model.fit(
        X, y, batch_size=4, epochs=2, shuffle=False, verbose=0, validation_data=(X, y), callbacks=[callback]
    )


@pytest.mark.parametrize("update_freq", ["epoch", 2])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_scalars_of_several_outputs(
    form: Any, update_freq: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = in_keras(monkeypatch, tmp_path / "keras", ModelOf(form), update_freq=update_freq).written
    ours, _ = in_files(tmp_path / "engine", ModelOf(form), update_freq=update_freq)
    assert sorted(ours) == sorted(theirs)
    for key, wanted in theirs.items():
        found = dict(ours[key])
        # With `update_freq` Keras leaves out epochs whose last batch it doesn't write.
        assert len(found) == len(wanted) or (update_freq != "epoch" and not key[1].startswith("batch"))
        np.testing.assert_allclose(
            [found[step] for step, _ in wanted], [value for _, value in wanted], rtol=1e-4
        )


def block(api: Any) -> Any:
    layers = api.layers

    class Block(layers.Layer):  # type: ignore[misc, name-defined] # one of two classes
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.inner = layers.Dense(3, name="inner")

        def build(self, shape: Any) -> None:
            self.inner.build(shape)
            self.gain = self.add_weight(shape=(3,), initializer="ones", name="gain")

        def call(self, x: Any) -> Any:
            return self.inner(x) * self.gain

    return Block


def stack(api: Any) -> Any:
    model = api.Sequential(
        [api.Input((4,)), block(api)(name="block"), api.layers.Dense(1, name="last")], name="stack"
    )
    model.compile("sgd", loss="mse")
    return model, Y


def graph(api: Any) -> Any:
    k, x = api.layers, api.Input((4,))
    inner = api.Sequential([api.Input((3,)), k.Dense(2, name="a")], name="inner_model")
    model = api.Model(x, k.Dense(1, name="last")(inner(block(api)(name="block")(x))), name="graph")
    model.compile("sgd", loss="mse")
    return model, Y


@pytest.mark.parametrize("build", [stack, graph])
def test_names_of_histograms(build: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = in_keras(monkeypatch, tmp_path / "keras", build, histogram_freq=1)
    _, ours = in_files(tmp_path / "engine", build, histogram_freq=1)
    assert sorted(ours) == sorted(theirs.histograms)
