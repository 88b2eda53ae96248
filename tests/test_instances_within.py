"""What objects of a class the attributes of models and layers hold: metrics, optimizers, variables, at any depth."""

from __future__ import annotations

from collections import OrderedDict, UserList
from typing import Any

import pytest

import engine as keras
from engine import layers, metrics, optimizers
from engine._core_interface.cpp import instances_within


class Kind:
    pass


class Derived(Kind):
    pass


def test_instances_at_any_depth_in_order_and_once_each() -> None:
    first, second, third, fourth = Kind(), Derived(), Kind(), Kind()
    held = [
        second,
        {"a": (first, [third]), "b": "text"},
        3,
        None,
        second,
        OrderedDict(x=fourth),
        UserList([Kind()]),
    ]
    assert instances_within(held, Kind) == [second, first, third, fourth]
    assert instances_within(held, Derived) == [second]
    assert instances_within(first, Kind) == [first]
    assert instances_within((first,), Kind) == [first]
    assert instances_within("text", Kind) == []
    assert instances_within({}, Kind) == []


def test_containers_that_hold_themselves() -> None:
    one, other = Kind(), Kind()
    ring: list[Any] = [one]
    inner = {"ring": ring, "other": other}
    ring.append(inner)
    assert instances_within(ring, Kind) == [one, other]
    assert instances_within([ring, inner], Kind) == [one, other]


def test_subclasses_of_containers_say_what_they_hold() -> None:
    one = Kind()

    class Always(dict[str, Any]):
        def values(self) -> Any:
            return [one]

    class Iterated(list[Any]):
        def __iter__(self) -> Any:
            return iter([one])

    class Failing(list[Any]):
        def __iter__(self) -> Any:
            raise RuntimeError

    assert instances_within(Always(), Kind) == [one]
    assert instances_within(Iterated(), Kind) == [one]
    with pytest.raises(RuntimeError):
        instances_within([Failing()], Kind)
    with pytest.raises(TypeError):
        instances_within([one], "Kind")  # type: ignore[arg-type]


def test_metrics_of_a_model_follow_its_attributes_and_lists() -> None:
    dense = layers.Dense(2)
    model: Any = keras.Sequential([keras.Input((4,)), dense])
    assert model.metrics == []
    one, two, three, four, five = (metrics.Mean(name=str(number)) for number in range(5))
    model.several = [one]
    assert model.metrics == [one]
    model.several.append(two)
    model.by_name = {"a": (three, [one])}
    assert model.metrics == [one, two, three]
    dense.seen = four
    assert model.metrics == [one, two, three, four]
    dense.several = []
    dense.several.append({"five": five})
    assert model.metrics == [one, two, three, four, five]
    assert dense.metrics == [four, five]
    del model.several[0], model.by_name["a"]
    assert model.metrics == [two, four, five]
    model.compile("sgd", "mse", metrics=["mae"])
    assert [each.name for each in model.metrics] == ["loss", "mae", "1", "3", "4"]


def test_optimizers_of_a_model_in_lists() -> None:
    model: Any = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    first, second = optimizers.SGD(), optimizers.Adam()
    model.optimizers = {"of": [first, second, first]}
    assert model._optimizers == [first, second]
    model.compile(second, "mse")
    assert model._optimizers == [second, first]
