"""Models whose inputs and outputs are nested lists, tuples and dicts: generators, edges, files and errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common import WrittenStep, compiled

import engine as keras
from engine import layers

X = [np.full((4, 2), 1.0, np.float32), [np.full((4, 2), 2.0, np.float32), np.full((4, 2), 3.0, np.float32)]]
Y = {"p": [np.ones((4, 1)), np.ones((4, 1))], "q": np.ones((4, 1))}


def model(ones: str = "ones") -> keras.Model:
    x, y, z = (keras.Input((2,), name=name) for name in "xyz")
    a, b, c = (
        layers.Dense(1, kernel_initializer=ones, name=name)(start)
        for name, start in zip("abc", (x, y, z), strict=True)
    )
    return keras.Model([x, [y, z]], {"p": [a, b], "q": c})


def test_one_sample_and_flat_lists() -> None:
    network = model()
    found = network.predict([X[0][:1], [each[:1] for each in X[1]]], verbose=0)
    assert found["p"][1].tolist() == [[4.0]]
    assert network.predict([X[0], *X[1]], verbose=0)["q"][0].tolist() == [6.0]
    assert network.predict({"x": X[0], "y": X[0], "z": X[0]}, verbose=0)["q"][0].tolist() == [2.0]


def test_generators_and_validation() -> None:
    def batches() -> Iterator[Any]:
        for _ in range(3):
            yield X, Y, {"p": [np.ones(4), np.zeros(4)], "q": np.ones(4)}

    network = compiled(model(), "sgd", loss="mse", metrics={"q": ["mae"]})
    history = network.fit(batches(), verbose=0, validation_data=(X, Y)).history
    assert [*history] == [
        "c_mae", "loss", "p/a_loss", "p/b_loss", "q_loss",
        "val_c_mae", "val_loss", "val_p/a_loss", "val_p/b_loss", "val_q_loss",
    ]  # fmt: skip
    assert history["p/b_loss"] == [0.0]
    assert network.fit(X, Y, validation_split=0.5, verbose=0).history["val_loss"]


def test_outputs_without_a_loss() -> None:
    network = compiled(model(), "sgd", loss={"p": ["mse", None]})
    assert [*network.fit(X, Y, verbose=0).history] == ["loss"]
    assert network.fit(X, {"p": [Y["p"][0], None]}, verbose=0).history["loss"][0] >= 0


def test_one_output_in_a_nested_form() -> None:
    x = keras.Input((2,))
    network = compiled(keras.Model([[x]], {"only": [layers.Dense(1)(x)]}), "sgd", loss={"only": ["mse"]})
    assert [*network.fit([[X[0]]], {"only": [Y["q"]]}, verbose=0).history] == ["loss"]
    assert network.predict([[X[0]]], verbose=0)["only"][0].shape == (4, 1)


class Nested(keras.Model):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.dense = layers.Dense(1)

    def call(self, inputs: Any) -> Any:
        first, (second, third) = inputs["x"], inputs["rest"]
        return [self.dense(first), {"sum": self.dense(second + third)}]


@pytest.mark.parametrize("eagerly", [False, True])
def test_steps_of_ones_own(eagerly: bool) -> None:
    weights = {"p": [np.ones(4), np.full(4, 0.5)], "q": np.ones(4)}
    plain = model()
    own = WrittenStep(plain.input, plain.output)
    losses = []
    for network, options in ((plain, {}), (own, {"run_eagerly": eagerly})):
        network.set_weights([np.ones(array.shape) for array in network.get_weights()])
        network.compile("sgd", loss="mse", **options)
        losses.append(network.fit(X, Y, sample_weight=weights, epochs=3, verbose=0).history["loss"])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)


def test_files_of_models_with_a_call(tmp_path: Path) -> None:
    network = Nested(name="nested")
    x = {"x": X[0], "rest": [*X[1]]}
    wanted = network.predict(x, verbose=0)
    network.save(tmp_path / "m.keras")
    read = keras.models.load_model(tmp_path / "m.keras", custom_objects={"Nested": Nested})
    found = read.predict(x, verbose=0)
    np.testing.assert_array_equal(found[0], wanted[0])
    np.testing.assert_array_equal(found[1]["sum"], wanted[1]["sum"])


def test_models_with_a_call_on_symbols(tmp_path: Path) -> None:
    starts = [keras.Input((2,)) for _ in range(3)]
    first, rest = Nested()({"x": starts[0], "rest": starts[1:]})
    outer = keras.Model(starts, [first, rest["sum"]])
    assert [each.shape for each in outer.predict([X[0], *X[1]], verbose=0)] == [(4, 1), (4, 1)]
    assert len(keras.models.clone_model(outer).get_weights()) == 2
    outer.save(tmp_path / "m.keras")
    read = keras.models.load_model(tmp_path / "m.keras", custom_objects={"Nested": Nested})
    np.testing.assert_array_equal(
        read.predict([X[0], *X[1]], verbose=0)[1], outer.predict([X[0], *X[1]], verbose=0)[1]
    )


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda m: m.predict([X[0], [X[0]]], verbose=0), r"`x` must be a list with one entry for each input.*"
         r"Or give it the form \['x', \['y', 'z'\]\]"),
        (lambda m: m.fit(X, {"p": [Y["q"]], "q": Y["q"]}), r"`y` must be .*Or give it the form \{'p': \['a', 'b'\], 'q': 'c'\}"),
        (lambda m: m.fit(X, {"p": Y["p"]}), r"`y\['c'\]` is missing"),
        (lambda m: m.compile("sgd", {"p": ["mse"], "q": "mse"}), r"`loss` must be .*the form \{'p': \['a', 'b'\]"),
        (lambda m: m.compile("sgd", "mse", metrics={"z": "mae"}), r"`metrics` must be .*the form \{'p'"),
        (lambda m: m([keras.Input((2,)), [keras.Input((2,))]]), "has 3 inputs|must be"),
    ],
)  # fmt: skip
def test_errors(action: Any, message: str) -> None:
    network = compiled(model(), "sgd", loss="mse")
    with pytest.raises((ValueError, TypeError), match=message):
        action(network)


def test_what_is_no_symbol_is_named() -> None:
    x = keras.Input((2,))
    with pytest.raises(TypeError, match="`outputs` must be what"):
        keras.Model(x, [layers.Dense(1)(x), [np.ones(3)]])
    with pytest.raises(ValueError, match="`inputs` must be different"):
        keras.Model([x, [x]], layers.Dense(1)(x))


@pytest.mark.parametrize("again", [False, True])
def test_a_list_for_a_dict_of_inputs(again: bool) -> None:
    """As in Keras: it is read in the order of the sorted keys, and refused where the model was made with another order."""
    first, second = keras.Input((1,), name="a"), keras.Input((1,), name="z")
    joined = layers.Concatenate()([second, first])
    arrays = [np.array([[1.0]]), np.array([[2.0]])]
    for inputs, accepted in (({"a": first, "z": second}, True), ({"z": second, "a": first}, False)):
        model = keras.Model(inputs, joined)
        model = keras.Model.from_config(model.get_config()) if again else model
        model.compile("sgd", "mse")
        by_name = dict(zip(("a", "z"), arrays, strict=True))
        np.testing.assert_array_equal(np.asarray(model(by_name)), [[2.0, 1.0]])
        for read in (model, model.predict, lambda x, model=model: model.fit(x, np.ones((1, 2)), verbose=0)):
            if accepted:
                with pytest.warns(UserWarning, match="structure of `inputs`"):
                    read(arrays)
                continue
            with pytest.raises(ValueError, match="must be a dict with the keys"):
                read(arrays)
