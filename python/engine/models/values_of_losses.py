"""Symbols of a model that functions of losses refer to, as in scripts for Keras 2.

Such a function is `def loss(y_true, y_pred): return mse(y_true, y_pred) * advantage`, where `advantage` is an input of the model,
or the loss of a variational autoencoder that refers to the symbols of mean and variance. It stands for the values that the
symbol has in the batch. A model with such a function is trained by its `train_step`, which computes these values as well.
"""

from __future__ import annotations

import dis
from collections.abc import Iterator
from contextlib import suppress
from types import CodeType, FunctionType
from typing import Any

from engine import tree
from engine._base.registered_objects import is_of_engine
from engine._tracing.symbolic import Symbolic
from engine.layers.symbols import KerasTensor


def symbols_read(losses: Any) -> list[Symbolic]:
    """Returns the symbols of models that functions refer to, also through other functions of the user's, each once.

    Args:
        losses: as `compile` gets them: anything, or lists and dicts of it. Only functions are looked at.
    """
    found: dict[int, Symbolic] = {}
    seen: set[int] = set()
    waiting = list(tree.flatten(losses))
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Symbolic):
            found[id(value)] = value
        elif isinstance(value, FunctionType) and not is_of_engine(value):
            for each in _values_of_names(value):
                waiting += tree.flatten(each) if isinstance(each, (list, tuple, dict)) else [each]
    return [each for each in found.values() if isinstance(each._as_tensor, KerasTensor)]


def _values_of_names(function: FunctionType) -> Iterator[Any]:
    """Yields the values of the variables outside of a function that its code reads."""
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # which is raised if the variable has no value yet
            yield cell.cell_contents
    for name in _globals_in(function.__code__):
        if name in function.__globals__:
            yield function.__globals__[name]


def _globals_in(code: CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname == "LOAD_GLOBAL":
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals_in(constant)
