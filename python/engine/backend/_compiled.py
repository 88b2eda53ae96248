"""Functions from symbols to symbols, as scripts for Keras 2 make them to look at the outputs of hidden layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from engine.layers.symbols import symbols_of
from engine.models.model import Model


def function(
    inputs: Any, outputs: Any, updates: Sequence[Any] | None = None, name: str | None = None
) -> Callable[[Any], Any]:
    """Returns a function that computes symbols from arrays.

    Args:
        inputs: a symbol or a list of them, such as `[model.input]`. The list may have `learning_phase()`, too, whose
            value in a call, 0 or 1, tells whether layers such as Dropout train.
        outputs: a symbol or a list of them, such as `[model.layers[1].output]`.
        updates: None or an empty list.
        name: without effect.

    Returns:
        A function of a list with an array for each input. It returns a list of arrays if `outputs` is one, and otherwise
        one array.

    Raises:
        ValueError: if there are updates, which the core makes in `fit`, or if the outputs are not computed from the inputs.

    >>> from engine import Sequential, layers
    >>> model = Sequential([layers.Input((3,)), layers.Dense(4), layers.Dense(1)])
    >>> hidden = function([model.input], [model.layers[0].output])
    >>> hidden([np.ones((2, 3))])[0].shape
    (2, 4)
    """
    del name
    if updates:
        msg = "`updates` must be None or empty: a training step is train_on_batch() or keras.function"
        raise ValueError(msg)
    given = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
    symbols = [each for each in given if symbols_of(each)]
    several = isinstance(outputs, list | tuple)
    model = Model(symbols, list(outputs) if several else [outputs])

    def compute(arrays: Any) -> Any:
        values = list(arrays) if isinstance(arrays, list | tuple) else [arrays]
        if len(values) != len(given):
            msg = f"the function takes {len(given)} inputs, got {len(values)}"
            raise ValueError(msg)
        pairs = list(zip(given, values, strict=True))
        training = any(bool(value) for each, value in pairs if not symbols_of(each))
        samples = [np.asarray(value) for each, value in pairs if symbols_of(each)]
        found = model(samples, training=training)
        results = list(found) if isinstance(found, list | tuple) else [found]
        return [np.asarray(each) for each in results] if several else np.asarray(results[0])

    return compute
