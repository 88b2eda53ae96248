"""Models whose inputs and outputs are nested lists, tuples and dicts, in Keras and here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import engine

RNG = np.random.default_rng(0)
X, Y, Z = (RNG.normal(size=(12, 2)).astype(np.float32) for _ in range(3))
A, B, C = (RNG.normal(size=(12, 1)).astype(np.float32) for _ in range(3))
WEIGHTS = RNG.uniform(0.5, 2, size=(3, 12)).astype(np.float32)

Form = Callable[[Any, Any, Any], Any]
FORMS: dict[str, Form] = {
    "a list in a list": lambda a, b, c: [a, [b, c]],
    "a tuple in a list": lambda a, b, c: [(a, b), c],
    "lists in a dict": lambda a, b, c: {"p": [a, b], "q": c},
    "a dict in a tuple": lambda a, b, c: (a, {"u": b, "v": c}),
    "dicts in dicts": lambda a, b, c: {"p": {"s": a, "r": b}, "q": {"t": c}},
    "lists of one": lambda a, b, c: [[a], [b], [c]],
    "three levels": lambda a, b, c: {"p": [{"q": (a, [b])}, c]},
}


def model_of(api: Any, inputs: Form, outputs: Form) -> Any:
    k = api.layers
    x, y, z = (api.Input((2,), name=name) for name in "xyz")
    rng = np.random.default_rng(1)
    ends = []
    for name, start in zip("abc", (x, y, z), strict=True):
        hidden = k.Dense(3, "tanh", name=f"{name}_hidden")(k.Concatenate(name=f"{name}_all")([start, x, y]))
        ends.append(k.Dense(1, name=name)(hidden))
    model = api.Model(inputs(x, y, z), outputs(*ends))
    model.set_weights([rng.normal(size=array.shape) for array in model.get_weights()])
    return model


def both(inputs: Form, outputs: Form) -> list[Any]:
    return [model_of(api, inputs, outputs) for api in (keras, engine)]


def assert_same(ours: Any, theirs: Any) -> None:
    """Compares nested arrays, and what holds them."""
    if isinstance(theirs, dict):
        assert isinstance(ours, dict)
        assert ours.keys() == theirs.keys()
        for key, each in theirs.items():
            assert_same(ours[key], each)
    elif isinstance(theirs, (list, tuple)):
        assert type(ours) is type(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_same(one, other)
    else:
        np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(
    ("inputs", "outputs"), zip(FORMS.values(), reversed([*FORMS.values()]), strict=True), ids=FORMS
)
def test_predictions_and_configs(inputs: Form, outputs: Form) -> None:
    theirs, ours = both(inputs, outputs)
    x = inputs(X, Y, Z)
    assert_same(ours.predict(x, verbose=0), theirs.predict(x, verbose=0))
    assert_same(ours.predict(x, batch_size=5, verbose=0), theirs.predict(x, verbose=0))
    assert_same(ours(x), theirs(x))
    assert_same(ours.predict_on_batch(x), theirs.predict_on_batch(x))
    for name in ("input_layers", "output_layers"):
        assert ours.get_config()[name] == theirs.get_config()[name]
    assert ours.output_names == theirs.output_names


@pytest.mark.parametrize("name", FORMS)
def test_training(name: str) -> None:
    form = FORMS[name]
    losses = ("mse", "mse", "mse") if name == "lists of one" else ("mse", "mae", "huber")
    results = []
    x, y, weights = form(X, Y, Z), form(A, B, C), form(*WEIGHTS)
    for model in both(form, form):
        loss = "mse" if len(set(losses)) == 1 else form(*losses)
        model.compile(
            (keras if model.__module__.startswith("keras") else engine).optimizers.SGD(0.01),
            loss=loss,
            metrics=form("mae", "mse", "mae"),
            run_eagerly=model.__module__.startswith("keras"),  # which is faster for few batches
        )
        fitted = model.fit(
            x, y, batch_size=4, epochs=2, shuffle=False, verbose=0, validation_data=(x, y)
        ).history
        weighted = model.fit(x, y, sample_weight=weights, batch_size=4, shuffle=False, verbose=0).history
        evaluated = model.evaluate(x, y, verbose=0, return_dict=True)
        batch = model.train_on_batch(x, y, return_dict=True)
        results.append((fitted, weighted, evaluated, batch, model.get_weights()))
    theirs, ours = results
    assert_same(ours[:4], theirs[:4])
    assert_same(ours[4], theirs[4])


def test_flat_lists_of_losses_weights_and_arrays() -> None:
    form = FORMS["a list in a list"]
    found = []
    for model in both(form, form):
        model.compile("sgd", loss=["mse", "mae", "mse"], loss_weights=[1.0, 0.5, 2.0])
        found.append(model.fit(form(X, Y, Z), form(A, B, C), shuffle=False, verbose=0).history)
        model.compile("sgd", loss={"a": "mse", "b": "mae", "c": "mse"})
        found[-1] |= model.evaluate(form(X, Y, Z), form(A, B, C), return_dict=True, verbose=0)
    assert_same(found[1], found[0])


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_files_of_both(form: Form, tmp_path: Path) -> None:
    """A tuple becomes a list in a file, as in Keras."""
    x, y = form(X, Y, Z), form(A, B, C)
    theirs, ours = both(form, form)
    for model, other, api in ((theirs, ours, engine), (ours, theirs, keras)):
        model.compile("sgd", loss="mse")
        wanted = model.evaluate(x, y, verbose=0, return_dict=True)
        model.save(tmp_path / "m.keras")
        read = api.models.load_model(tmp_path / "m.keras")
        again = (keras if api is engine else engine).models.load_model(tmp_path / "m.keras")
        assert read.get_config()["output_layers"] == again.get_config()["output_layers"]
        as_lists = again.predict(x, verbose=0)
        assert_same(read.predict(x, verbose=0), as_lists)
        assert_same(read.evaluate(x, y, verbose=0, return_dict=True), wanted)
        assert other.output_names == read.output_names


def test_models_called_on_nested_symbols() -> None:
    form = FORMS["a dict in a tuple"]
    found = []
    for model in both(form, form):
        api = keras if model.__module__.startswith("keras") else engine
        starts = [api.Input((2,)) for _ in range(3)]
        first, rest = model(form(*starts))
        outer = api.Model(starts, [first, rest["v"], api.layers.Add()([rest["u"], first])])
        copy = api.models.clone_model(outer)
        copy.set_weights(outer.get_weights())
        found.append([outer.predict([X, Y, Z], verbose=0), copy.predict([X, Y, Z], verbose=0)])
    assert_same(found[1], found[0])


def test_models_with_a_call() -> None:
    found = []
    for api in (keras, engine):

        class Nested(api.Model):  # type: ignore[misc, name-defined] # one of two classes
            def __init__(self, dense: Any) -> None:
                super().__init__()
                self.dense = dense

            def call(self, inputs: Any) -> Any:
                first, (second, third) = inputs["x"], inputs["rest"]
                return [self.dense(first), {"sum": self.dense(second + third)}]

        model = Nested(api.layers.Dense(1, kernel_initializer="ones"))
        x = {"x": X, "rest": (Y, Z)}
        before = model.predict(x, verbose=0)
        model.compile(api.optimizers.SGD(0.01), loss="mse")
        losses = model.fit(x, [A, {"sum": B}], batch_size=4, epochs=2, shuffle=False, verbose=0).history[
            "loss"
        ]
        found.append([before, losses, model.predict(x, verbose=0)])
    assert_same(found[1], found[0])
