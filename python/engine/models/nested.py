"""A model as a layer of another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from engine.layers import Layer
from engine.layers.base import register
from engine.utils.serialization import deserialize_keras_object, serialize_keras_object

if TYPE_CHECKING:
    from typing_extensions import Self

    from engine._program import Float32
    from engine.models.layered import Model


@register()
class Nested(Layer):
    """A model within another, whose weights stay its own: it is asked for its outputs, and never trained from outside.

    Args:
        model: a model with an input shape.
        options: `trainable`, as for every layer.
    """

    holds_own_weights = True

    def __init__(self, model: Model, **options: Any) -> None:
        super().__init__(**{"name": model.name, **options})
        self.model: Any = model
        self.shown_as = model
        inputs = getattr(model, "inputs", None)
        self.given_input_shape = None if inputs is None else inputs.shape

    def call(self, inputs: Any, training: bool = False) -> Any:
        """What the model gives."""
        return self.model(inputs, training=training)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """As of the model."""
        shape: tuple[int | None, ...] = self.model.compute_output_shape(input_shape)
        return shape

    def require_untrained(self) -> None:
        """Raise ValueError if training would have to change the weights of the model within."""
        if self.trainable and self.model.trainable and self.model.weights:
            msg = (
                f"the model {self.name!r} within another can't be trained there: set `trainable = False` for it, or add "
                "its layers one by one"
            )
            raise ValueError(msg)

    @property
    def built(self) -> bool:
        """Whether the weights exist."""
        return bool(self.model.built)

    @built.setter
    def built(self, value: bool) -> None:
        """It follows from the model."""

    @property
    def weights(self) -> list[Float32]:
        """Those of the model."""
        return list(self.model.weights)

    @property
    def trainable_weights(self) -> list[Float32]:
        """Those of the model, if it is trainable."""
        return list(self.model.trainable_weights) if self.trainable else []

    @property
    def non_trainable_weights(self) -> list[Float32]:
        """The others."""
        return list(self.model.non_trainable_weights if self.trainable else self.model.weights)

    def set_weights(self, weights: Sequence[ArrayLike]) -> None:
        """Take over `weights` for the model."""
        self.model.set_weights(weights)

    def initial_weights(self, input_shape: tuple[int, ...]) -> list[Float32]:
        """None that a program around the model would hold."""
        self.weights_for(input_shape)
        return []

    def count_params(self) -> int:
        """The number of weights of the model."""
        return int(self.model.count_params())

    def get_config(self) -> dict[str, Any]:
        """The model, in a description of its own."""
        return {"name": self.name, "trainable": self.trainable, "model": serialize_keras_object(self.model)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Make a layer from `config`, what `get_config` returned."""
        return cls(**{**config, "model": deserialize_keras_object(config["model"])})

    @property
    def variable_names(self) -> list[str]:
        """What the weights are called, in the order of `save_own_variables`."""
        return [f"{self.name}/{number}" for number in self._saved_order]

    @property
    def _saved_order(self) -> list[int]:
        return list(range(len(self.weights)))

    def __getattr__(self, name: str) -> Any:
        """What a layer hasn't got is asked of the model."""
        if name.startswith("_") or name == "model":
            raise AttributeError(name)
        return getattr(self.model, name)
