"""Which model trains which layer, since models that are trained at once must not change each other's weights."""

from __future__ import annotations

from weakref import ReferenceType, ref

from engine.models import Model


class Owners:
    """The layers with trained weights, and the optimizers, of models that are trained together."""

    def __init__(self) -> None:
        self._owners: dict[int, tuple[ReferenceType[object], int]] = {}

    def claim(self, model: Model, number: int) -> None:
        """Notes what a model trains. Several threads may call it.

        Raises:
            ValueError: if another model trains a part of it.
        """
        for part in (*(layer for layer in model._leaves if layer.trainable_weights), *model._optimizers):
            known, other = self._owners.setdefault(id(part), (ref(part), number))
            if known() is not part:  # an object of this address is gone
                self._owners[id(part)] = (ref(part), number)
            elif other != number:
                msg = (
                    f"models {other} and {number} share {part!r}: they can't be trained at once, as each would change the other. Give "
                    "each its own: keras.models.clone_model(model)"
                )
                raise ValueError(msg)
