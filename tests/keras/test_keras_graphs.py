"""Random graphs in Keras and here: weights, predictions, summaries, configs, copies, and files in both directions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
from random_graphs import RandomGraph, arrays

import engine

SEEDS = range(int(os.environ.get("RANDOM_GRAPHS_IN_KERAS", "4")))


def before_a_model(api: Any) -> Any:
    first = api.layers.Dense(3, name="first")
    last = api.layers.Dense(1, name="last")(first(api.Input((4,))))
    return api.Model(first.input, [first.output, last])


def a_sequential_within(api: Any) -> Any:
    k, x = api.layers, api.Input((4,))
    encoder = api.Sequential([api.Input((4,)), k.Dense(3, name="a"), k.Dense(2, name="b")], name="encoder")
    model = api.Model(x, k.Dense(1, name="c")(encoder(x)))
    return api.Model(model.input, model.get_layer("encoder").output)


def a_sequential_in_a_sequential(api: Any) -> Any:
    k = api.layers
    encoder = api.Sequential([api.Input((4,)), k.Dense(3, name="a")], name="encoder")
    decoder = api.Sequential([api.Input((3,)), k.Dense(4, name="b")], name="decoder")
    both = api.Sequential([api.Input((4,)), encoder, decoder])
    return api.Model(both.inputs, both.layers[0].output)


def every_layer_of_a_sequential(api: Any) -> Any:
    layers = [api.layers.Dense(3, name="a"), api.layers.Dense(2, name="b")]
    model = api.Sequential([api.Input((4,)), *layers])
    return api.Model(model.inputs, [layer.output for layer in model.layers])


def every_layer_of_a_graph(api: Any) -> Any:
    k, x = api.layers, api.Input((4,), name="x")
    joined = k.Concatenate(name="c")([k.Dense(3, name="a")(x), k.Dense(3, name="b")(x)])
    model = api.Model(x, joined)
    return api.Model(model.input, [layer.output for layer in model.layers])


def a_head_on_an_inner_layer(api: Any) -> Any:
    k = api.layers
    model = api.Sequential([api.Input((4,)), k.Dense(3, name="a"), k.Dense(2, name="b")], name="s")
    return api.Model(model.inputs, [k.Dense(1, name="new")(model.layers[-2].output), model.outputs[0]])


def a_layer_of_another_model(api: Any) -> Any:
    k, x, y = api.layers, api.Input((4,), name="x"), api.Input((4,), name="y")
    shared = k.Dense(3, name="shared")
    api.Model(x, shared(x))
    return api.Model(y, k.Add(name="sum")([shared(y), k.Dense(3, name="own")(y)]))


def a_layer_twice_in_a_chain(api: Any) -> Any:
    x, shared = api.Input((4,), name="x"), api.layers.Dense(4, name="shared")
    return api.Model(x, shared(api.layers.ReLU(name="between")(shared(x))))


def a_part_of_an_inner_model(api: Any) -> Any:
    k, x, z = api.layers, api.Input((4,), name="x"), api.Input((4,), name="z")
    inner = api.Model(x, k.Dense(3, name="last")(k.Dense(5, name="first")(x)), name="inner")
    outer = api.Model(z, k.Dense(1, name="outside")(inner(z)))
    found = outer.get_layer("inner")
    return api.Model(found.input, found.get_layer("first").output)


def an_output_of_a_dict(api: Any) -> Any:
    x = api.Input((4,), name="x")
    first = api.layers.Dense(3, name="first")(x)
    model = api.Model({"x": x}, {"u": api.layers.Dense(3, name="last")(first), "t": first})
    return api.Model(model.input, model.output["t"])


def an_input_that_nothing_reads(api: Any) -> Any:
    x, y = api.Input((4,), name="x"), api.Input((2,), name="y")
    return api.Model([x, y], api.layers.Dense(3, name="a")(x))


def more_layers_behind_a_model(api: Any) -> Any:
    x = api.Input((4,), name="x")
    model = api.Model(x, api.layers.Dense(2, name="a")(x))
    return api.Model(model.inputs, api.layers.ReLU(name="r")(model.outputs[0]))


PARTS = {
    make.__name__: make
    for make in (
        before_a_model,
        a_sequential_within,
        a_sequential_in_a_sequential,
        every_layer_of_a_sequential,
        every_layer_of_a_graph,
        a_head_on_an_inner_layer,
        a_layer_of_another_model,
        a_layer_twice_in_a_chain,
        a_part_of_an_inner_model,
        an_output_of_a_dict,
        an_input_that_nothing_reads,
        more_layers_behind_a_model,
    )
}


class Pair(NamedTuple):
    """A graph in Keras and the same here, with equal weights, and samples with the outputs in Keras."""

    keras: Any
    engine: Any
    x: Any
    outputs: Any

    @classmethod
    def of_seed(cls, seed: int) -> Pair:
        for api in (keras, engine):
            api.utils.clear_session()
        theirs, ours = RandomGraph(keras, seed), RandomGraph(engine, seed)
        ours.model.set_weights(theirs.model.get_weights())
        x = theirs.x()
        return cls(theirs.model, ours.model, x, theirs.model.predict(x, verbose=0))


def assert_close(found: Any, wanted: Any) -> None:
    for ours, theirs in zip(arrays(found), arrays(wanted), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.fixture(params=SEEDS, ids=str)
def pair(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Pair:
    monkeypatch.setenv("COLUMNS", "250")
    return Pair.of_seed(request.param)


def summary(model: Any, **options: Any) -> str:
    lines: list[str] = []
    model.summary(print_fn=lines.append, **options)
    return "\n".join(lines).strip()


@pytest.mark.parametrize("name", PARTS)
def test_parts_of_models(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    texts, outputs = list[str](), list[Any]()
    rng = np.random.default_rng(0)
    for api in (keras, engine):
        api.utils.clear_session()
        model = PARTS[name](api)
        texts.append(summary(model, expand_nested=True) + f"{model.input_shape} {model.output_shape}")
        weights = [np.cos(np.arange(weight.size)).reshape(weight.shape) for weight in model.get_weights()]
        model.set_weights(weights)
        x = [rng.normal(size=(5, *tensor.shape[1:])).astype(np.float32) for tensor in model.inputs]
        rng = np.random.default_rng(0)
        outputs.append(model.predict(x if len(x) > 1 else x[0], verbose=0))
    assert texts[1] == texts[0]
    assert_close(outputs[1], outputs[0])


def test_predictions_summaries_and_copies(pair: Pair) -> None:
    outputs = pair.engine.predict(pair.x, verbose=0)
    assert type(outputs) is type(pair.outputs)
    assert_close(outputs, pair.outputs)
    for options in ({}, {"expand_nested": True}, {"show_trainable": True, "line_length": 120}):
        assert summary(pair.engine, **options) == summary(pair.keras, **options)
    copies = [api.models.clone_model(model) for api, model in ((keras, pair.keras), (engine, pair.engine))]
    assert summary(copies[1], expand_nested=True) == summary(copies[0], expand_nested=True)
    copies[1].set_weights(pair.engine.get_weights())
    assert_close(copies[1].predict(pair.x, verbose=0), pair.outputs)


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".weights.h5", ".json"])
def test_files(pair: Pair, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    for (api, model), other in (((keras, pair.keras), engine), ((engine, pair.engine), keras)):
        if suffix == ".json":
            again = other.models.model_from_json(model.to_json())
            again.set_weights(model.get_weights())
        elif suffix == ".weights.h5":
            model.save_weights(path)
            again = other.models.model_from_json(model.to_json())
            again.load_weights(path)
        else:
            model.save(path)
            again = other.models.load_model(path)
        assert_close(again.predict(pair.x, verbose=0), pair.outputs)
        assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]
        assert summary(again, expand_nested=True) == summary(
            api.models.model_from_json(model.to_json()), expand_nested=True
        )


@pytest.mark.parametrize("keys", [("z", "a", "m"), ("m", "z"), ("a",)])
def test_losses_of_a_dict_of_outputs(keys: tuple[str, ...]) -> None:
    """Some outputs may have no loss, and the losses come in the order of their dict."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 3)).astype(np.float32), rng.normal(size=(12, 2)).astype(np.float32)
    targets = {"a": y, "m": y[:, :1], "z": y[:, 1:]}
    weights = {key: rng.uniform(size=12).astype(np.float32) for key in targets}
    found = []
    for api in (keras, engine):
        dense, inputs = api.layers.Dense, api.Input((3,))
        ends = {"z": dense(1)(inputs), "a": dense(2, "tanh")(inputs), "m": dense(1)(inputs)}
        model = api.Model(inputs, ends)
        model.set_weights([np.full(weight.shape, 0.1) for weight in model.get_weights()])
        model.compile(
            api.optimizers.SGD(0.1),
            dict.fromkeys(keys, "mse"),
            loss_weights={key: 0.5 + number for number, key in enumerate(keys)},
            metrics={"m": ["mae"], "a": ["mae"]},
            **({"jit_compile": False} if api is keras else {}),
        )
        history = model.fit(x, targets, sample_weight=weights, verbose=0, shuffle=False).history
        found.append([*history.items(), ("evaluate", model.evaluate(x, targets, verbose=0))])
    for (name, theirs), (ours_name, ours) in zip(*found, strict=True):
        assert ours_name == name
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def branches(api: Any) -> Any:
    k = api.layers
    a, b = api.Input((4,), name="a"), api.Input((3,), name="b")
    inner = api.Sequential([api.Input((5,), name="i"), k.Dense(5, name="within")], name="inner")
    x, y = api.Input((5,), name="x"), api.Input((5,), name="y")
    graph = api.Model([x, y], [k.Add(name="sum")([x, y]), k.Dense(2, name="last")(y)], name="graph")
    shared = k.Dense(5, "tanh", name="shared")
    left = shared(a)
    first, second = graph([inner(left), inner(shared(k.Dense(4, name="before")(b)))])
    end = k.Concatenate(name="end")([first, k.Dropout(0.3, name="drop")(second, training=True)])
    return api.Model({"a": a, "b": b}, {"end": end, "second": second}, name="whole")


@pytest.mark.parametrize("recursive", [False, True])
@pytest.mark.parametrize("how", ["call", "clone", "inputs", "inputs by name", "computed inputs"])
def test_clones(how: str, recursive: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    texts = []
    for api in (keras, engine):
        api.utils.clear_session()
        model = branches(api)

        def call(layer: Any, *inputs: Any, k: Any = api.layers, **arguments: Any) -> Any:
            outputs = layer(*inputs, **arguments)
            drops = isinstance(layer, k.Dense) and layer.name != "shared"
            return k.Dropout(0.5, name=f"{layer.name}_drop")(outputs) if drops else outputs

        def clone(layer: Any, k: Any = api.layers) -> Any:
            if isinstance(layer, k.Dense) and layer.name != "last":
                return k.Dense(layer.units, "relu", use_bias=False, name=f"{layer.name}_too")
            return type(layer).from_config(layer.get_config())

        a, b = api.Input((4,), name="first"), api.Input((3,), name="other")
        if how == "computed inputs":
            a = api.layers.ReLU(name="relu")(a)
        options = {
            "call": {"call_function": call},
            "clone": {"clone_function": clone},
            "inputs": {"input_tensors": {"a": a, "b": b}},
            "inputs by name": {"input_tensors": {"b": b, "a": a}},
            "computed inputs": {"input_tensors": {"a": a, "b": b}},
        }[how]
        copy = api.models.clone_model(model, recursive=recursive, **options)
        text = summary(copy, expand_nested=True)
        texts.append(text if how != "computed inputs" else [layer.name for layer in copy.layers][2:])
        assert sorted(copy.output) == ["end", "second"]
    assert texts[1] == texts[0]


def test_a_sequential_takes_no_call_function() -> None:
    for api in (keras, engine):
        model = api.Sequential([api.Input((3,)), api.layers.Dense(2)])
        with pytest.raises(ValueError, match=r"`call_function`.* Sequential"):
            api.models.clone_model(model, call_function=lambda layer, x: layer(x))
