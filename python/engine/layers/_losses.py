"""What layers add to the loss: penalties on their outputs, and what `call` hands to `add_loss`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import regularizers
from engine._base.checks import REAL, Shape
from engine._base.cpp import Operation
from engine.layers._state import Weighted
from engine.regularizers import Regularizer

# What `call` adds on the way, by the id of its layer: that of one thread is none of another's.
_added: ContextVar[Mapping[int, list[float]]] = ContextVar("_added", default={})  # noqa: B039 # nobody writes to it


class Penalised(Weighted):
    """What a layer adds to the loss.

    Args:
        activity_regularizer: penalty on the outputs, divided by the batch size.
    """

    def __init__(self, activity_regularizer: object) -> None:
        super().__init__()
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self._added: list[float] = []  # by the last `call`, or those of one batch
        self._penalties: list[float] = []  # on the outputs of the last call
        # By use, of a layer that is used again: what its `call` has assigned.
        self._kept: dict[int, dict[str, Any]] = {}

    def add_loss(self, loss: Any) -> None:
        """Adds a term to the loss of this batch. Call it in `call`; `gradient` must then include its gradient.

        Args:
            loss: a number, or a list of numbers.
        """
        parts = loss if isinstance(loss, (list, tuple)) else [loss]
        _added.get().get(id(self), self._added).extend(
            scalar(part, f"`loss` of add_loss() in layer {self.name!r}") for part in parts
        )

    @property
    def losses(self) -> list[float]:
        """The terms that the last call added to the loss, and the penalties on the current weights.

        The terms of the last call are those of `add_loss` and, if the layer or its model was called directly, the
        penalty on the outputs. `fit`, `evaluate` and `predict` don't record the penalty on outputs here.
        """
        return [*self._losses_of_call, *self._losses_of_weights]

    @property
    def _losses_of_call(self) -> list[float]:
        return [*self._penalties, *self._added]

    @property
    def _losses_of_weights(self) -> list[float]:
        return [
            w.regularizer(x)
            for w, x in zip(self._trainable_specs, self.trainable_weights, strict=False)
            if w.regularizer
        ]

    def _note_penalty(self, outputs: NDArray[Any]) -> None:
        """Keep the penalty on the `outputs` of a call, (n, ...), for `losses`."""
        if self.activity_regularizer is not None:
            value = scalar(
                self.activity_regularizer(outputs), f"`activity_regularizer` of layer {self.name!r}"
            )
            self._penalties = [value / len(outputs)]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments as plain Python values."""
        config = super().get_config()
        if self.activity_regularizer is None:  # as in Keras
            config.pop("activity_regularizer", None)
        return config

    @contextmanager
    def _adding(self) -> Iterator[list[float]]:
        """What `add_loss` is given within the block, by this thread."""
        added: list[float] = []
        token = _added.set({**_added.get(), id(self): added})
        try:
            yield added
        finally:
            _added.reset(token)

    def _penalty_on_outputs(self, shape: Shape) -> Operation:
        """The operation that penalises outputs whose samples have `shape`."""
        regularizer = self.activity_regularizer or regularizers.L1L2()
        fields = regularizer._lower("activity")
        if fields.keys() <= {"activity_l1", "activity_l2"}:
            factors = {key.removeprefix("activity_"): value for key, value in fields.items()}
            return {"kind": "activity_regularization", **factors}
        return {"kind": "activity_regularization", "host": PenaltyHost(self.name, regularizer, shape)}


class PenaltyHost:
    """A penalty that NumPy computes, as the core calls it: `host()` is the function.

    Args:
        name: of the layer, for messages.
        regularizer: the penalty on the outputs of a batch; it is divided by their number.
        shape: of one sample.
    """

    def __init__(self, name: str, regularizer: Regularizer, shape: Shape) -> None:
        self._name, self._regularizer, self._shape = name, regularizer, shape

    def __call__(self) -> Any:
        return self.run

    def run(self, views: Mapping[str, Any]) -> None:
        """Do a step of the core's: the penalty, or the gradient that it joins."""
        outputs = views["inputs"].reshape(-1, *self._shape)
        if "losses" in views:
            views["losses"][:] = scalar(self._regularizer(outputs), self._what) / len(outputs)
            return
        slope = np.asarray(self._regularizer.gradient(outputs))
        if slope.shape != outputs.shape:
            msg = f"the gradient of {self._what} must have the shape {outputs.shape} of the outputs, got {slope.shape}"
            raise ValueError(msg)
        gradient = views["gradient"]
        gradient += (slope / len(outputs)).reshape(gradient.shape)

    @property
    def _what(self) -> str:
        return f"`activity_regularizer` of layer {self._name!r}"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PenaltyHost):
            return False
        return self._regularizer is other._regularizer and self._shape == other._shape

    def __hash__(self) -> int:
        return hash((id(self._regularizer), self._shape))


def scalar(value: Any, what: str) -> float:
    """`value`, a single number, as a float.

    Raises:
        ValueError: if it is none; the message calls it `what`.
    """
    array: NDArray[Any] = np.asarray(value)
    if array.dtype.kind not in REAL or array.size != 1:
        msg = f"{what} must be a single number, got {value!r}"
        raise ValueError(msg)
    return float(array.reshape(()))
