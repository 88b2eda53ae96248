"""The part of a model behind the layers that look up strings and integers, which other programs than Python can compute."""

from __future__ import annotations

from typing import Any

from engine._base.spec import free_name
from engine.layers.symbols import Call, KerasTensor
from engine.layers.values import ValueLayer


def symbols_after_values(calls: list[Call], outputs: list[KerasTensor]) -> list[KerasTensor]:
    """Returns the symbols at which a model would begin that has no layers of values, nor what these read.

    Args:
        calls: the calls of the layers of a model, in order.
        outputs: the outputs of the model.

    Returns:
        The symbols that the other layers read; none if the model has no layers of values.
    """
    before = set[Any]()  # the calls of layers of values, and those that lead to them
    for call in reversed(calls):
        if isinstance(call.layer, ValueLayer) or call in before:
            before |= {call, *(each._call for each in call.inputs)}
    if not before:
        return []
    after = [call for call in calls if call not in before]
    made = {output for call in after for output in call.outputs}
    read = [*(each for call in after for each in call.inputs), *outputs]
    return list(dict.fromkeys(each for each in read if each not in made))


def names_of(symbols: list[KerasTensor]) -> list[str]:
    """Returns a name for each symbol: that of its layer, with a number if it is taken."""
    found = list[str]()
    for symbol in symbols:
        found.append(free_name(symbol.name, found) if symbol.name in found else symbol.name)
    return found


def description_of(model: Any, begins: list[KerasTensor]) -> str:
    """Returns which inputs a file has in place of those of the model, for a warning."""
    given = [start.name for start in model._built_graph.input_layers]
    taken = [f"{name!r} {each.shape}" for name, each in zip(names_of(begins), begins, strict=True)]
    names = sorted({each.name for each in begins if each._call is not None})
    return (
        f"strings and indices are looked up in Python, so the file begins after that: in place of the inputs {given} it takes "
        f"{', '.join(taken)}. Get what is new by keras.Model(model.inputs, "
        f"[{', '.join(f'model.get_layer({name!r}).output' for name in names)}]).predict(x)"
    )
