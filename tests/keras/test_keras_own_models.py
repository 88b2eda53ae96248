"""Compares Model subclasses that pass `inputs` and `outputs` to Model with Keras: instances, copies, files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import engine

X = np.random.default_rng(0).standard_normal((16, 4)).astype("float32")
APIS = pytest.mark.parametrize("api", [keras, engine], ids=["keras", "engine"])


def classes(api: Any) -> dict[str, Any]:
    """Returns a class for each way to derive from Model."""

    class Plain(api.Model):
        """A subclass without its own arguments."""

    class Net(api.Model):
        def __init__(self, units: int = 3, **options: Any) -> None:
            inputs = api.Input((4,))
            super().__init__(inputs=inputs, outputs=api.layers.Dense(units)(inputs), **options)
            self.units = units

    class Deep(Net):
        pass

    class Deeper(Deep):
        def __init__(self) -> None:
            super().__init__(units=5)

    class Described(Net):
        def get_config(self) -> dict[str, Any]:
            return {"units": self.units, "name": self.name}

    class Stack(api.Sequential):
        def __init__(self, units: int = 3) -> None:
            super().__init__([api.Input((4,)), api.layers.Dense(units)])

    return {each.__name__: each for each in (Plain, Net, Deep, Deeper, Described, Stack)}


@APIS
def test_instances(api: Any) -> None:
    api.utils.clear_session()
    own = classes(api)
    facts = []
    for name in ("Net", "Net", "Deep", "Deep", "Deeper", "Deeper", "Net", "Described", "Stack"):
        model = own[name]()
        kinds = [isinstance(model, kind) for kind in (own[name], own["Net"], api.Model, api.Sequential)]
        facts.append((type(model).__name__, model.name, kinds, model.output_shape))
    chain, stack = [True, True, True, False], [True, False, True, True]
    assert facts == [
        ("Net", "net", chain, (None, 3)),
        ("Net", "net_1", chain, (None, 3)),
        ("Deep", "deep", chain, (None, 3)),
        ("Deep", "deep_1", chain, (None, 3)),
        ("Deeper", "deeper", chain, (None, 5)),
        ("Deeper", "deeper_1", chain, (None, 5)),
        ("Net", "net_2", chain, (None, 3)),
        ("Described", "described", chain, (None, 3)),
        ("Stack", "stack", stack, (None, 3)),
    ]
    assert own["Net"](units=2, name="given").name == "given"


@APIS
def test_copies(api: Any) -> None:
    own = classes(api)
    inputs = api.Input((4,))
    plain = own["Plain"](inputs, api.layers.Dense(2)(inputs))
    assert plain.name.startswith("plain")
    assert type(own["Plain"](inputs=inputs, outputs=plain.output)) is own["Plain"]
    assert type(own["Plain"].from_config(plain.get_config())) is own["Plain"]
    assert type(api.models.clone_model(plain)) is own["Plain"]
    model = own["Described"](units=2, name="given")
    for copy in (own["Described"].from_config(model.get_config()), own["Described"](**model.get_config())):
        assert (type(copy), copy.name, copy.output_shape) == (own["Described"], "given", (None, 2))
    clone = api.models.clone_model(model)
    assert (type(clone).__name__, clone.name, clone.output_shape) == ("Functional", "given", (None, 2))


@APIS
def test_files(api: Any, tmp_path: Path) -> None:
    own = classes(api)
    model = own["Described"](units=2)
    model.compile("adam", "mse")
    model.fit(X, X[:, :2], verbose=0)
    around = api.Sequential([api.Input((4,)), model, api.layers.Dense(1)])
    for each in (model, around):
        each.save(tmp_path / "own.keras")
        again = api.models.load_model(tmp_path / "own.keras", custom_objects=own)
        assert type(again) is type(each)
        np.testing.assert_allclose(again.predict(X, verbose=0), each.predict(X, verbose=0), rtol=1e-5)
    assert type(again.layers[0]) is own["Described"]


def test_our_files_in_keras(tmp_path: Path) -> None:
    model = classes(engine)["Described"](units=2)
    around = engine.Sequential([engine.Input((4,)), model, engine.layers.Dense(1)])
    for each in (model, around):
        each.save(tmp_path / "own.keras")
        theirs = keras.models.load_model(tmp_path / "own.keras", custom_objects=classes(keras))
        np.testing.assert_allclose(theirs.predict(X, verbose=0), each.predict(X), rtol=1e-5, atol=1e-6)
        theirs.save(tmp_path / "theirs.keras")
        back = engine.models.load_model(tmp_path / "theirs.keras", custom_objects=classes(engine))
        assert type(back).__name__ == type(each).__name__
        np.testing.assert_allclose(back.predict(X), each.predict(X), rtol=1e-5, atol=1e-6)
