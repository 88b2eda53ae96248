"""Graphs of layers with several inputs and outputs, in Keras and here: losses, weights, predictions, names, files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from common import assert_all_close
from twins import ATOL, RTOL, assert_same_histories, twins

import engine

EAGER = {"jit_compile": False}
RANDOM = np.random.default_rng(0)
COUNT = 40
X = [RANDOM.normal(size=(COUNT, size)).astype(np.float32) for size in (4, 3)]
Y = [RANDOM.integers(0, 3, COUNT), RANDOM.normal(size=(COUNT, 2)).astype(np.float32)]
WEIGHTS = [RANDOM.uniform(size=COUNT).astype(np.float32) for _ in range(2)]
LOSSES = {"kind": "sparse_categorical_crossentropy", "size": "mse"}


def two_by_two(api: Any) -> tuple[Any, Any]:
    k = api.layers
    a, b = api.Input((4,), name="a"), api.Input((3,), name="b")
    left, right = k.Dense(5, "tanh", name="left")(a), k.Dense(5, "relu", name="right")(b)
    both = k.Add(name="both")([left, right])
    joined = k.Concatenate(name="joined")([both, b, left])
    kind = k.Dense(3, "softmax", name="kind")(joined)
    return [a, b], [kind, k.Dense(2, name="size")(both)]


def shared(api: Any) -> tuple[Any, Any]:
    """A layer that reads both inputs, one after the other, and a model within."""
    k = api.layers
    a, b = api.Input((4,), name="a"), api.Input((3,), name="b")
    first = k.Dense(4, name="first")(b)
    same = k.Dense(6, "tanh", name="same")
    x = api.Input((6,))
    inner = api.Model(
        x, k.Dense(4, "relu", name="inner_last")(k.BatchNormalization(name="norm")(x)), name="inner"
    )
    joined = k.Concatenate(name="joined")([inner(same(a)), inner(same(first)), same(a)])
    size = k.Dense(2, name="size")(k.Dense(4, "tanh", name="late")(joined))
    return [a, b], [k.Dense(3, "softmax", name="kind")(joined), size]


def nested(api: Any) -> tuple[Any, Any]:
    """A model with two inputs and two outputs within another one."""
    k = api.layers
    inner = api.Model(*two_by_two(api), name="inner")
    a, b = api.Input((4,), name="a"), api.Input((3,), name="b")
    kind, size = inner([k.Dense(4, name="before")(a), b])
    return [a, b], [
        k.Dense(3, "softmax", name="kind_again")(kind),
        k.Add(name="size_again")([size, k.Dense(2, name="more")(b)]),
    ]


GRAPHS = {make.__name__: make for make in (two_by_two, shared, nested)}


def compiled(graph: Callable[[Any], tuple[Any, Any]] = two_by_two, **options: Any) -> Callable[[Any], Any]:
    def make(api: Any) -> Any:
        model = api.Model(*graph(api), name="whole")
        given = {"loss": list(LOSSES.values())} | options
        model.compile(api.optimizers.SGD(0.1, momentum=0.9), **given, **EAGER)
        return model

    return make


def flat(results: Any) -> Iterator[Any]:
    """The arrays in lists and dicts."""
    if isinstance(results, dict):
        results = [results[key] for key in sorted(results)]
    if isinstance(results, (list, tuple)):
        for each in results:
            yield from flat(each)
    else:
        yield np.asarray(results)


def assert_same(theirs: Any, ours: Any, rtol: float = RTOL) -> None:
    assert isinstance(ours, type(theirs)) or isinstance(theirs, type(ours))
    if isinstance(theirs, dict):
        assert list(ours) == list(theirs)
    assert_all_close(flat(ours), flat(theirs), rtol=rtol, atol=ATOL)


@pytest.mark.parametrize("how", GRAPHS)
def test_training(how: str) -> None:
    pair = twins(compiled(GRAPHS[how]))
    assert [layer.name for layer in pair.engine.layers] == [layer.name for layer in pair.keras.layers]
    assert pair.engine.output_names == pair.keras.output_names
    assert_same_histories(*pair.fit(X, Y, epochs=3, batch_size=16, validation_data=(X, Y)))
    pair.assert_same_weights(rtol=1e-4, atol=1e-5)
    assert_same(*(model.predict(X, verbose=0) for model in pair), rtol=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"loss": "mse"},
        {"loss": LOSSES},
        {"loss": LOSSES, "loss_weights": {"kind": 0.5, "size": 2.0}},
        {"loss_weights": [0.5, 2.0]},
        {"loss": {"kind": None, "size": "mse"}},
        {"loss": [None, "mse"], "metrics": [["accuracy"], ["mae"]]},
        {"metrics": {"kind": "accuracy"}},
        {"metrics": {"kind": ["accuracy", "sparse_top_k_categorical_accuracy"], "size": ["mae", "mse"]}},
        {"metrics": ["accuracy", "mae"], "weighted_metrics": ["accuracy", ["mae", "mae"]]},
        {"metrics": [["accuracy", "accuracy"], []]},
        {"metrics": [None, "mae"], "weighted_metrics": {"size": "mae"}},
    ],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_arguments_of_compile(options: dict[str, Any], weighted: bool) -> None:
    y = Y if options.get("loss") != "mse" else [np.eye(3, dtype=np.float32)[Y[0]], Y[1]]
    data = {"sample_weight": WEIGHTS} if weighted else {}
    pair = twins(compiled(**options))
    assert_same_histories(*pair.fit(X, y, epochs=2, batch_size=16, **data))
    pair.assert_same_weights(rtol=1e-4, atol=1e-5)
    for as_dict in (False, True):
        results = [
            model.evaluate(X, y, verbose=0, batch_size=COUNT, return_dict=as_dict, **data) for model in pair
        ]
        assert_same(*results, rtol=1e-4)
        results = [model.train_on_batch(X, y, return_dict=as_dict, **data) for model in pair]
        assert_same(*results, rtol=1e-4)


@pytest.mark.parametrize("kind", [list, tuple, dict])
def test_forms_of_inputs_and_outputs(kind: type) -> None:
    def pack(values: Any, keys: str) -> Any:
        return dict(zip(keys.split(), values, strict=True)) if kind is dict else kind(values)

    def make(api: Any) -> Any:
        inputs, outputs = two_by_two(api)
        model = api.Model(pack(inputs, "a b"), pack(outputs, "one two"))
        loss = pack(LOSSES.values(), "one two")
        model.compile(api.optimizers.SGD(0.1), loss, metrics=pack(["accuracy", "mae"], "one two"), **EAGER)
        return model

    pair = twins(make)
    x, y = pack(X, "a b"), pack(Y, "one two")
    if kind is dict:
        x["unused"] = x.pop("b"), x.pop("unused", None)
        x = dict(zip("ba", X[::-1], strict=True))
    assert_same_histories(*pair.fit(x, y, epochs=2))
    for method in ("predict_on_batch", "__call__"):
        assert_same(*[engine.tree.map_structure(np.asarray, getattr(model, method)(x)) for model in pair])
    assert_same(*(model.predict(x, verbose=0, batch_size=16) for model in pair))
    assert_same(*(model.test_on_batch(x, y) for model in pair))
    ends = [(model.input, model.output, model.input_shape, model.output_shape) for model in pair]
    assert [type(end) for end in ends[1][:2]] == [type(end) for end in ends[0][:2]]


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".weights.h5"])
@pytest.mark.parametrize("how", GRAPHS)
def test_files(how: str, suffix: str, tmp_path: Path) -> None:
    for api, other in ((keras, engine), (engine, keras)):
        model = compiled(GRAPHS[how], metrics=[["accuracy"], ["mae"]])(api)
        model.fit(X, Y, verbose=0, shuffle=False)
        path = tmp_path / f"{api.__name__}{suffix}"
        if suffix != ".weights.h5":
            model.save(path)
            again = other.models.load_model(path)
        else:
            model.save_weights(path)
            again = compiled(GRAPHS[how], metrics=[["accuracy"], ["mae"]])(other)
            if other is keras:
                again.optimizer.build(again.trainable_variables)
            again.load_weights(path)
        for one, two in zip(model.get_weights(), again.get_weights(), strict=True):
            assert np.array_equal(one, two)
        assert_same(model.predict(X, verbose=0), again.predict(X, verbose=0))
        if other is keras and suffix == ".h5":
            continue  # Keras builds the optimizer for no weights there, and drops their state
        assert_same(*[each.train_on_batch(X, Y, return_dict=True) for each in (model, again)])
        assert_all_close(again.get_weights(), model.get_weights(), rtol=1e-5, atol=1e-6)
        assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]


@pytest.mark.parametrize(
    "options", [{}, {"expand_nested": True}, {"show_trainable": True}, {"line_length": 112}]
)
@pytest.mark.parametrize("how", GRAPHS)
def test_summaries(how: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    texts = []
    for api in (keras, engine):
        api.utils.clear_session()
        lines: list[str] = []
        api.Model(*GRAPHS[how](api), name="whole").summary(print_fn=lines.append, **options)
        texts.append("\n".join(lines).strip())
    assert texts[1] == texts[0]


def test_configs_are_keras_own() -> None:
    for make in GRAPHS.values():
        configs = []
        for api in (keras, engine):
            api.utils.clear_session()
            config = api.Model(*make(api), name="whole").get_config()
            ends = {key: config[key] for key in ("input_layers", "output_layers")}
            nodes = [(layer["name"], _nodes_of(layer["inbound_nodes"])) for layer in config["layers"]]
            configs.append((ends, nodes))
        assert configs[1] == configs[0]


def _nodes_of(nodes: Any) -> Any:
    """What each node reads."""
    if isinstance(nodes, dict):
        if nodes.get("class_name") == "__keras_tensor__":
            return list(nodes["config"]["keras_history"])
        return [_nodes_of(nodes[key]) for key in sorted(nodes) if key == "args" or key not in ("kwargs",)]
    return [_nodes_of(each) for each in nodes] if isinstance(nodes, (list, tuple)) else nodes


def test_parts_of_graphs() -> None:
    found = []
    for api in (keras, engine):
        whole = api.Model(*two_by_two(api))
        parts = [
            api.Model(whole.inputs, whole.get_layer("both").output),
            api.Model(whole.input, [whole.get_layer("left").output, whole.output[1]]),
            api.Model(whole.get_layer("both").output, whole.output[1]),
            api.Model(whole.get_layer("joined").input, whole.output[0]),
        ]
        whole.set_weights([np.full_like(weight, 0.1) for weight in whole.get_weights()])
        ones = [np.ones((2, 5)), np.ones((2, 3)), np.ones((2, 5))]
        found.append(
            [
                parts[0].predict(X, verbose=0),
                parts[1].predict(X, verbose=0),
                parts[2].predict(ones[0], verbose=0),
                parts[3].predict(ones, verbose=0),
                api.models.clone_model(whole).count_params(),
            ]
        )
    assert_same(*found)
