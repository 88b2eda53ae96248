"""Every public name of Keras and every member of its classes exists or is listed as left out."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
from surface import ARGUMENTS, NO_OBJECTS, PLACES, classes, find, public

import engine
from engine._base.lazy_imports import LeftOut
from engine._base.left_out import MEMBERS, NAMES, names_of


@pytest.mark.parametrize("place", PLACES)
def test_names(place: str) -> None:
    ours = find(engine, place)
    missing = {name for name in public(find(keras, place)) if isinstance(getattr(ours, name), LeftOut)}
    assert missing == {name for name, _ in names_of(NAMES.get(place, {}))}


@pytest.mark.parametrize("place", NAMES)
def test_what_is_left_out_is_said(place: str) -> None:
    for name, reason in names_of(NAMES[place]):
        stand_in = getattr(find(engine, place), name)
        with pytest.raises(AttributeError) as caught:
            stand_in()
        assert repr(name) in str(caught.value)
        assert str(caught.value).endswith(f". Keras has it, but {reason}")


def test_unknown_names() -> None:
    for place in PLACES:
        with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
            find(engine, place).nothing  # noqa: B018 # the error is what it is about


def members(name: str, cls: Any) -> set[str]:
    """Returns the members of a class and, if one is easily made, of an object, with properties that raise errors."""
    found = public(cls)
    if name not in NO_OBJECTS and not inspect.isabstract(cls):
        start = engine.Input((2,))
        chain = (start, engine.layers.Dense(1)(start))
        made = cls(*(chain if name == "Model" else ARGUMENTS.get(name, ())))
        found |= public(type(made))
        found |= {member for member in vars(made) if not member.startswith("_")}
    return found


def left_out_of(cls: Any) -> Iterator[tuple[str, str]]:
    for base in cls.__mro__:
        yield from names_of(MEMBERS.get(base.__name__, {}))


@pytest.mark.parametrize("name", sorted(classes()))
def test_members(name: str) -> None:
    """Compares methods and properties, but not other public attributes of Keras' objects."""
    theirs, ours = classes()[name]
    missing = public(theirs) - members(name, ours)
    assert missing - set(dict(left_out_of(ours))) == set()


def test_every_member_in_the_list_is_one_of_keras() -> None:
    for base, reasons in MEMBERS.items():
        pairs = [
            (theirs, ours)
            for theirs, ours in classes().values()
            if base in {each.__name__ for each in ours.__mro__}
        ]
        for name, _ in names_of(reasons):
            assert any(hasattr(theirs, name) and not hasattr(ours, name) for theirs, ours in pairs), (
                base,
                name,
            )


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: engine.layers.Dense(2), "quantize"),
        (engine.layers.RandomFlip, "transform_images"),
        (engine.Sequential, "make_train_function"),
        (engine.optimizers.Adam, "stateless_apply"),
        (engine.metrics.AUC, "stateless_result"),
    ],
)
def test_members_left_out_are_said(make: Any, name: str) -> None:
    made = make()
    assert not hasattr(made, name)
    with pytest.raises(AttributeError, match=f"has no attribute '{name}'. Keras has it, but "):
        getattr(made, name)


def test_properties_keep_their_own_messages() -> None:
    with pytest.raises(AttributeError, match="has no weights yet, so no kernel"):
        engine.layers.Dense(2).kernel  # noqa: B018 # the error is what it is about
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        engine.layers.Dense(2).nothing  # noqa: B018 # the same
    assert np.asarray(engine.layers.Dense(2)(np.ones((1, 3)))).shape == (1, 2)
