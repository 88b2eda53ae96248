"""What `model.add_loss` adds to the loss of a model made of symbols, as variational autoencoders of Keras 2 do."""

from __future__ import annotations

from typing import Any

from engine.layers.layer import Layer, register
from engine.layers.symbols import KerasTensor, symbols_of


@register()
class AddLoss(Layer):
    """Adds its input to the loss of the batch. Keras 2 had such a layer, of the same name, in the same models."""

    def call(self, inputs: Any) -> Any:
        """Returns `inputs`."""
        self.add_loss(inputs)
        return inputs

    @property
    def _layers_of_weights(self) -> list[Layer]:
        return []  # files list those that have some, or a random state


def ends_of(model: str, loss: Any) -> list[KerasTensor]:
    """Returns the outputs of layers that add symbols to the loss.

    Args:
        model: the name of the model.
        loss: a symbol, or a list of symbols.

    Raises:
        TypeError: if it is something else.
    """
    symbols = symbols_of(loss)
    if symbols is None:
        msg = (
            f"`loss` of add_loss() in model {model!r} must be a symbol that is computed from the symbols of the model, or a "
            f"list of them, got {loss!r:.80}: what depends on no batch is a regularizer, and a layer adds the rest in its "
            "`call`"
        )
        raise TypeError(msg)
    return [AddLoss()(symbol) for symbol in symbols]
