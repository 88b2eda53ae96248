"""Tests of utils.model_to_dot with a substitute for pydot that records its calls, and of utils.is_keras_tensor."""

from __future__ import annotations

import itertools
import sys
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

import engine as keras
from engine.utils import is_keras_tensor, model_to_dot


class Node:
    def __init__(self, name: str, **settings: Any) -> None:
        self.name, self.settings = name, settings


class Edge:
    def __init__(self, start: str, end: str) -> None:
        self.ends = start, end


class Graph:
    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.nodes: list[Node] = []
        self.edges: list[Edge] = []
        self.parts: list[Graph] = []
        self.add_node, self.add_edge, self.add_subgraph = (
            self.nodes.append,
            self.edges.append,
            self.parts.append,
        )

    def set_node_defaults(self, **settings: Any) -> None:
        self.defaults = settings


class Cluster(Graph):
    pass


@pytest.fixture(autouse=True)
def pydot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        sys.modules, "pydot", SimpleNamespace(Node=Node, Edge=Edge, Dot=Graph, Cluster=Cluster)
    )


def texts(node: Node) -> list[str]:
    label = node.settings["label"]
    assert label[0] == "<"
    assert label[-1] == ">"
    return [font.text or "" for font in ElementTree.fromstring(label[1:-1]).iter("font")]


def network() -> keras.Sequential:
    inner = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, name="a & b"), keras.layers.Dense(2, name="c")],
        name="inner",
    )
    return keras.Sequential(
        [keras.Input((4,)), inner, keras.layers.Dense(1, "relu", name="last", trainable=False)]
    )


def test_nodes_and_edges() -> None:
    graph = model_to_dot(
        network(), show_shapes=True, show_layer_activations=True, show_trainable=True, dpi=96
    )
    assert graph.settings == {"rankdir": "TB", "concentrate": True, "dpi": 96, "splines": "ortho"}
    names = [node.name for node in graph.nodes]
    assert [edge.ends for edge in graph.edges] == list(itertools.pairwise(names))
    assert texts(graph.nodes[-1]) == [
        "last (Dense)",
        "Activation: relu",
        "Input shape: (None, 2)",
        "Output shape: (None, 1)",
        "Non-trainable",
    ]
    assert texts(model_to_dot(network(), show_layer_names=False, show_dtype=True).nodes[-1]) == [
        "Dense",
        "Output dtype: float32",
    ]


def test_models_within() -> None:
    graph = model_to_dot(network(), expand_nested=True)
    (cluster,) = graph.parts
    assert isinstance(cluster, Cluster)
    assert cluster.settings["label"] == "inner"
    assert [texts(node)[0] for node in cluster.nodes][-2:] == ["a & b (Dense)", "c (Dense)"]
    assert (cluster.nodes[-1].name, graph.nodes[-1].name) in [edge.ends for edge in graph.edges]
    assert isinstance(model_to_dot(network(), subgraph=True), Cluster)


def test_what_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="not yet been built"):
        model_to_dot(keras.Sequential([keras.layers.Dense(2)]))
    with pytest.raises(ValueError, match=r"Unrecognized keyword arguments: \{'layer_range': None\}"):
        model_to_dot(network(), layer_range=None)
    with pytest.raises(ValueError, match="`rankdir` must be one of"):
        model_to_dot(network(), rankdir="UP")
    monkeypatch.setitem(sys.modules, "pydot", None)
    with pytest.raises(ImportError, match="pip install pydot, or use plot_model"):
        model_to_dot(network())


def test_what_is_a_tensor_to_come() -> None:
    symbol = keras.Input((3,))
    assert is_keras_tensor(keras.layers.Dense(2)(symbol))
    assert not is_keras_tensor([1.0])
    assert not is_keras_tensor(keras.ops.zeros((2,)))
