"""A model that was put together by calling its layers one on the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engine._checks import label
from engine._custom import custom_object_scope
from engine._spec import auto_name
from engine.layers import Layer
from engine.layers.symbols import symbol_of
from engine.models.sequential import Sequential
from engine.models.stack import stack_from_config

if TYPE_CHECKING:
    from typing_extensions import Self


class Functional(Sequential):
    """A chain of layers from an input to an output; made by `Model(inputs, outputs)`.

    Args:
        inputs: what `Input` returned.
        outputs: what the last layer returned.
        name: default `functional` with a number.
        options: none; names of other arguments are refused.

    Raises:
        TypeError: for something else.
        ValueError: if the layers don't lead from one to the other.

    Example:
        >>> import engine as keras
        >>> inputs = keras.Input((4,))
        >>> hidden = keras.layers.Dense(8, activation="relu")(inputs)
        >>> outputs = keras.layers.Dense(3, activation="softmax")(hidden)
        >>> keras.Model(inputs, outputs).count_params()
        67
    """

    saved_as = Sequential  # the same layers in the same order, which Keras reads as well

    def __init__(
        self, inputs: Any = None, outputs: Any = None, name: str | None = None, **options: Any
    ) -> None:
        given = {"inputs": symbol_of(inputs), "outputs": symbol_of(outputs)}
        for argument, value in (("inputs", inputs), ("outputs", outputs)):
            if given[argument] is None:
                msg = (
                    f"`{argument}` must be what Input() or a layer called on it has returned, one of them, as models are "
                    f"chains of layers here; got {value!r}"
                )
                raise TypeError(msg)
        if options:
            msg = f"Model takes `inputs`, `outputs` and `name`, got {', '.join(map(repr, options))}"
            raise TypeError(msg)
        first, last = given["inputs"], given["outputs"]
        if first is None or last is None or first.layers or first.start is not last.start:
            msg = "`outputs` must come from `inputs`, an Input(), through layers alone: they belong to another one"
            raise ValueError(msg)
        layers: list[Any] = [first.start, *last.layers]
        super().__init__(layers, name=auto_name("functional") if name is None else label(name))

    @property
    def layers(self) -> list[Layer]:
        """The layers, the input layer first."""
        return [*([] if self._inputs is None else [self._inputs]), *super().layers]

    def _shown(self) -> list[Layer]:
        return [*([] if self._inputs is None else [self._inputs]), *self._layers]

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Self:
        """Make a model from what `get_config` returned.

        Args:
            config: what it returned.
            custom_objects: classes and functions of your own by name.
        """
        with custom_object_scope(custom_objects):
            start, *layers = stack_from_config(config)
        outputs: Any = start
        for layer in layers:
            outputs = layer(outputs)
        return cls(start, outputs, config["name"])
