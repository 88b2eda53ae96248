"""Compares `engine.tree` with `keras.tree`."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

import engine

Point = namedtuple("Point", ["x", "y"])  # as in scripts
Other = namedtuple("Other", ["x", "y"])

STRUCTURES: list[Any] = [
    1,
    None,
    "text",
    [],
    (),
    {},
    [1],
    [[1, 2], (3, [4, {"b": 5, "a": (6,)}])],
    {"z": 1, "a": [2, None], "m": {"x": 3}},
    OrderedDict([("z", 1), ("a", (2, 3))]),
    defaultdict(list, {"b": [1], "a": 2}),
    Point(1, [2, 3]),
    deque([1, (2, 3)]),
    {2: "two", 1: "one"},
    [np.float32(1), "a", None, ()],
    (None, {"a": None}),
]
TREES = (keras.tree, engine.tree)


def result(call: Callable[[Any], Any], tree: Any) -> Any:
    try:
        return call(tree)
    except (TypeError, ValueError) as error:
        return type(error)


def assert_same(call: Callable[[Any], Any]) -> None:
    theirs, ours = (result(call, tree) for tree in TREES)
    assert ours == theirs
    assert type(ours) is type(theirs)
    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("structure", STRUCTURES, ids=repr)
def test_of_one(structure: Any) -> None:
    assert_same(lambda tree: tree.is_nested(structure))
    assert_same(lambda tree: tree.flatten(structure))
    assert_same(lambda tree: tree.flatten_with_path(structure))
    assert_same(lambda tree: tree.lists_to_tuples(structure))
    assert_same(lambda tree: tree.map_structure(lambda leaf: [leaf], structure))
    assert_same(lambda tree: tree.map_structure(lambda leaf: (leaf, 0), structure, none_is_leaf=False))
    count = len(keras.tree.flatten(structure))
    assert_same(lambda tree: tree.pack_sequence_as(structure, range(count)))
    assert_same(lambda tree: tree.pack_sequence_as(structure, range(count + 1)))
    assert_same(lambda tree: tree.map_structure(lambda one, other: (one, other), structure, structure))


@pytest.mark.parametrize("top_down", [True, False])
@pytest.mark.parametrize("structure", STRUCTURES, ids=repr)
def test_traverse(structure: Any, top_down: bool) -> None:
    def visited(tree: Any) -> Any:
        seen: list[str] = []
        made = tree.traverse(lambda part: seen.append(repr(part)), structure, top_down)
        return seen, made

    def changed(tree: Any) -> Any:
        def change(part: Any) -> Any:
            if isinstance(part, (tuple, deque)):
                return tree.MAP_TO_NONE
            return 10 if part == 1 else None

        return tree.traverse(change, structure, top_down)

    assert_same(visited)
    assert_same(changed)


@pytest.mark.parametrize("first", STRUCTURES, ids=repr)
@pytest.mark.parametrize("second", [*STRUCTURES, Other(1, [2, 3]), {"a": 1}, [[0, 0], (0, [0, 0])]], ids=repr)
def test_of_two(first: Any, second: Any) -> None:
    assert_same(lambda tree: tree.assert_same_structure(first, second))
    assert_same(lambda tree: tree.assert_same_paths(first, second))
    if None not in keras.tree.flatten(first):
        assert_same(lambda tree: tree.map_structure_up_to(first, repr, second))


def test_none_ends_a_shallow_structure() -> None:
    """So says the documentation of Keras, though its function raises an error."""
    assert engine.tree.map_structure_up_to([None, [None, None]], str, [[1, 1], [2, 2]]) == [
        "[1, 1]",
        ["2", "2"],
    ]


@pytest.mark.parametrize(
    "structure", [(2, 3), [(2, None), [4, 5]], {"a": (1, 2), "b": [[3]]}, [np.zeros(2)], ()], ids=repr
)
def test_shapes(structure: Any) -> None:
    assert_same(lambda tree: repr(tree.map_shape_structure(repr, structure)))


def test_wrong_arguments() -> None:
    for tree in TREES:
        with pytest.raises((TypeError, ValueError)):
            tree.map_structure(repr)
        with pytest.raises((TypeError, ValueError)):
            tree.map_structure_up_to([1], repr)
        with pytest.raises(TypeError):
            tree.map_structure(3, [1])
        with pytest.raises(TypeError):
            tree.pack_sequence_as([1], 3)
        with pytest.warns(DeprecationWarning, match="check_types"):
            tree.assert_same_structure([1], [2], check_types=True)
