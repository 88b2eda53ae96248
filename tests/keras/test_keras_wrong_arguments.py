"""Passes wrong values for every argument of every class: if Keras raises ValueError or TypeError, so must the engine.

The engine refuses more wrong values than Keras. Its errors about wrong types are both ValueError and TypeError, since
Keras raises one or the other.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from surface import ARGUMENTS, classes

HUGE = 10**400  # some conversions in Keras overflow
WRONG = [-1, 0, 2.5, "nonsense", None, object(), [1, 2], (), {}, float("nan"), b"x", HUGE, True]
# Base classes, classes made from models or data, and a layer with arguments that exclude each other.
LEFT_ALONE = {
    "CallbackList",
    "Constraint",
    "CustomObjectScope",
    "Discretization",
    "Initializer",
    "KerasTensor",
    "LearningRateSchedule",
    "Model",
    "PyDataset",
    "Regularizer",
    "Sequence",
    "Sequential",
}
# Values that Keras refuses and the engine accepts, by argument.
UNDERSTOOD: dict[str, list[Any]] = {
    "trainable": [0],  # means False
    "learning_rate": [0],  # means 0.0
    "momentum": [0],  # the same
}
KINDS = (ValueError, TypeError)


def arguments_in_common(name: str) -> Iterator[str]:
    """Returns the arguments of a class in both libraries. Keras passes on those that it does not name."""
    theirs, ours = (inspect.signature(cls).parameters for cls in classes()[name])
    hands_on = any(one.kind is one.VAR_KEYWORD for one in theirs.values())
    for one in ours.values():
        known = one.name in theirs or (
            hands_on and one.name in {"dtype", "name", "trainable", "weight_decay", "clipnorm", "use_ema"}
        )
        if known and one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL):
            yield one.name


def raised(cls: Any, options: dict[str, Any]) -> BaseException | None:
    try:
        cls(**options)
    except Exception as error:  # any exception is compared
        return error
    return None


def agree(theirs: BaseException | None, ours: BaseException | None, value: Any) -> bool:
    """Returns whether the engine raises an error that a script for Keras would catch, and no other kinds."""
    if ours is not None and not isinstance(ours, KINDS):
        return False
    if not isinstance(theirs, KINDS):
        return True
    if value is HUGE:
        return ours is not None
    return any(isinstance(theirs, kind) and isinstance(ours, kind) for kind in KINDS)


@pytest.mark.parametrize("name", sorted(classes().keys() - LEFT_ALONE))
def test_wrong_arguments(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    required = dict(
        zip(inspect.signature(classes()[name][1]).parameters, ARGUMENTS.get(name, ()), strict=False)
    )
    different = []
    for argument in arguments_in_common(name):
        for value in WRONG:
            if value in UNDERSTOOD.get(argument, ()):
                continue
            theirs, ours = (raised(cls, required | {argument: value}) for cls in classes()[name])
            if not agree(theirs, ours, value):
                different.append((argument, value, theirs, ours))
    assert different == []
