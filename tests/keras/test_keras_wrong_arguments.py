"""Every argument of every class given what it can't be: what raises ValueError or TypeError in Keras does here as well.

The engine refuses more, where Keras takes nonsense in silence. An error of the engine's about a wrong type is both, as
Keras raises the one or the other.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from surface import ARGUMENTS, classes

HUGE = 10**400  # which overflows in one place of Keras or another
WRONG = [-1, 0, 2.5, "nonsense", None, object(), [1, 2], (), {}, float("nan"), b"x", HUGE, True]
# Bases, what is made of models or data, and a layer with arguments that exclude each other.
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
# What Keras refuses and the engine takes for what it means: by argument, the values.
UNDERSTOOD: dict[str, list[Any]] = {
    "trainable": [0],  # is False
    "learning_rate": [0],  # is 0.0
    "momentum": [0],  # the same
}
KINDS = (ValueError, TypeError)


def arguments_in_common(name: str) -> Iterator[str]:
    """Of the class in both libraries; Keras hands on what it doesn't name itself."""
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
    except Exception as error:  # whatever it is, it is looked at
        return error
    return None


def agree(theirs: BaseException | None, ours: BaseException | None, value: Any) -> bool:
    """Whether the engine raises what a script for Keras would catch; and nothing but the two kinds."""
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
