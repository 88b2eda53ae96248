"""Weights of layers by their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.layers._state import Weighted


class NamedWeight:
    """An attribute: the layer's weight of its name as it is now, read-only; None where the layer goes without."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, layer: Weighted | None, owner: type) -> Any:
        if layer is None:
            return self
        names = layer._weight_names if layer.built else []
        return layer._weight_at(names.index(self._name)) if self._name in names else None
